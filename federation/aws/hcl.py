"""Terraform's configuration language, written as `terraform fmt` leaves it. Pure.

Source: "HCL Syntax Specification" (hashicorp/hcl), "Strings and Templates" and "Style Conventions" (Terraform documentation):
two spaces, and the equals signs of attributes on neighbouring lines stand below each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_INLINE = 100
_END = "EOT"


@dataclass(frozen=True, slots=True)
class Expression:
    """Text that is written as it is: a reference, a function call."""

    text: str


@dataclass(frozen=True, slots=True)
class JsonEncode:
    """`jsonencode(...)` of a value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Several lines, written as they are; they must end with a line break."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """`kind "label" { … }`: attributes first, blocks after them."""

    kind: str
    labels: tuple[str, ...]
    attributes: Mapping[str, Any]
    blocks: tuple[Block, ...] = ()


def document(blocks: Sequence[Block]) -> str:
    """A configuration of these blocks, an empty line between them. Raises ValueError for what cannot be written."""
    return "\n".join("\n".join(_block(block, "")) + "\n" for block in blocks)


def quoted(text: str) -> str:
    """A quoted string in which nothing is interpolated. Raises ValueError for control characters."""
    if any(ord(c) < 0x20 and c not in "\n\t" for c in text):
        raise ValueError("a control character in a string")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{_literal(escaped)}"'


def _literal(text: str) -> str:
    # ${…} and %{…} would be evaluated: text out of a mapping document or a template must not be.
    return text.replace("${", "$${").replace("%{", "%%{")


def _block(block: Block, indent: str) -> list[str]:
    head = " ".join([block.kind, *map(quoted, block.labels), "{"])
    inside = indent + "  "
    lines = [indent + head, *_attributes(block.attributes, inside)]
    for number, child in enumerate(block.blocks):
        if block.attributes or number:
            lines.append("")
        lines += _block(child, inside)
    return [*lines, indent + "}"]


def _attributes(values: Mapping[str, Any], indent: str) -> list[str]:
    """`name = value` lines; a value of several lines ends the column of equals signs."""
    lines: list[str] = []
    column: list[tuple[str, str]] = []

    def flush() -> None:
        width = max((len(name) for name, _ in column), default=0)
        lines.extend(f"{indent}{name.ljust(width)} = {value}" for name, value in column)
        column.clear()

    for name, value in values.items():
        key = name if _IDENTIFIER.fullmatch(name) else quoted(name)
        written = _value(value, indent)
        if isinstance(value, Heredoc):
            # Its first line belongs to the column above it, and ends it.
            column.append((key, written))
            flush()
        elif "\n" in written:
            flush()
            lines += f"{indent}{key} = {written}".split("\n")
        else:
            column.append((key, written))
    flush()
    return lines


def _value(value: Any, indent: str) -> str:
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, JsonEncode):
        return f"jsonencode({_value(value.value, indent)})"
    if isinstance(value, Heredoc):
        if not value.text.endswith("\n") or any(line.strip() == _END for line in value.text.split("\n")):
            raise ValueError("a text that cannot be a heredoc")
        return f"<<{_END}\n{_literal(value.text)}{_END}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    inside = indent + "  "
    if isinstance(value, Mapping):
        return "\n".join(["{", *_attributes(value, inside), indent + "}"]) if value else "{}"
    items = [_value(item, inside) for item in value]
    short = "[" + ", ".join(items) + "]"
    if "\n" not in short and len(short) <= _INLINE:
        return short
    return "\n".join(["[", *(f"{inside}{item}," for item in items), indent + "]"])
