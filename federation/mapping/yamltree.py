"""YAML or JSON text -> a tree of nodes that know their line. Strict where YAML is lenient.

Refused: aliases and anchors (billion laughs), tags (object construction), duplicate keys (the reviewer reads one, the
loader takes the other), a second document, depth, size. Plain scalars follow YAML 1.2's core schema, so a group
called `no` stays text. Built from libyaml's events, never from a loader: nothing is ever constructed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from federation.said import say

MAX_BYTES = 2_000_000
MAX_DEPTH = 24
MAX_NODES = 400_000

Kind = Literal["mapping", "list", "text", "integer", "number", "boolean", "nothing"]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_SURROGATE_PAIR = re.compile(r"(\\\\)|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


@dataclass(frozen=True, slots=True)
class Node:
    """`text` holds a scalar as written; `entries` a mapping's keys and values; `items` a list's values. `line` from 1.

    None of them is in the repr: a client secret in clear may be among them.
    """

    kind: Kind
    line: int
    text: str = field(default="", repr=False)
    entries: tuple[tuple[str, int, Node], ...] = field(default=(), repr=False)
    items: tuple[Node, ...] = field(default=(), repr=False)


class Unreadable(Exception):
    """The text is no acceptable YAML or JSON at all; nothing past `line` was looked at."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")


_OPENED = ("while parsing a flow ", "while scanning a quoted scalar")  # as libyaml words it


def read(text: str) -> Node:
    """The one document in `text`. Raises Unreadable with the line and what would be right."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Unreadable(
            1,
            say(
                "the document is larger than {number} bytes; split it or name groups by an expression", number=MAX_BYTES
            ),
        )
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] == "{":
        text = _json_for_yaml(text)
    try:
        return _Builder(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        # A bracket or quotation mark without its partner is noticed in a line below: named is the line in which it opens. In
        # JSON everything lies in a bracket, and what is wrong is where it is noticed.
        if error.context_mark and (error.context or "").startswith(_OPENED) and text.lstrip()[:1] != "{":
            mark = error.context_mark
        line = mark.line + 1 if mark else 1
        # What libyaml has to say is English, and names what a search finds.
        told = (
            say("this is not valid YAML or JSON: {problem}", problem=error.problem)
            if error.problem
            else say("this is not valid YAML or JSON")
        )
        raise Unreadable(line, told) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise Unreadable(
            1, say("the text has characters that YAML does not allow, such as control characters")
        ) from error


def _json_for_yaml(text: str) -> str:
    """JSON's two liberties that YAML 1.1 lacks: tabs between tokens, and characters escaped as surrogate pairs.

    Inside a JSON string a raw tab is not allowed, so replacing tabs changes no valid document.
    """
    spaced = text.replace("\t", " ")
    return _SURROGATE_PAIR.sub(lambda found: found[0] if found[1] else str(json.loads(f'"{found[0]}"')), spaced)


class _Builder:
    """Turns the stream of events into nodes, and stops at the first sign of a bomb: events come one by one."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._nodes = 0

    def document(self) -> Node:
        next(self._events)  # StreamStart
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise Unreadable(1, say("the document is empty; it begins with `version: 1`"))
        root = self._node(next(self._events), 0)
        next(self._events)  # DocumentEnd
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise Unreadable(_line(after), say("a second document begins here; one file holds one document"))
        return root

    def _node(self, event: Any, depth: int) -> Node:
        line = _line(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unreadable(line, say("the document has more than {number} values", number=MAX_NODES))
        scalar = isinstance(event, yaml.ScalarEvent)
        if event.anchor is not None or (not scalar and isinstance(event, yaml.AliasEvent)):
            raise Unreadable(
                line,
                say(
                    "anchors (&) and aliases (*) are not accepted; write the value out (and quote text that begins with & or *)"
                ),
            )
        if event.tag is not None and event.tag != "!":
            raise Unreadable(
                line,
                say(
                    "tags (!) are not accepted; write plain text, numbers, lists and mappings (and quote text that begins with !)"
                ),
            )
        if depth > MAX_DEPTH:
            raise Unreadable(line, say("this is nested more than {number} levels deep", number=MAX_DEPTH))
        if scalar:
            return Node(_kind(event), line, event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1))
            return Node("list", line, items=tuple(items))
        return self._mapping(line, depth)

    def _mapping(self, line: int, depth: int) -> Node:
        entries: list[tuple[str, int, Node]] = []
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            if key.kind in ("mapping", "list"):
                raise Unreadable(key.line, say("a key must be text"))
            entries.append((key.text, key.line, self._node(next(self._events), depth + 1)))
        return Node("mapping", line, entries=tuple(entries))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _kind(event: Any) -> Kind:
    """What a scalar is: quoted and block scalars are text, plain ones follow the YAML 1.2 core schema (10.3.2)."""
    value: str = event.value
    if not event.implicit[0]:
        return "text"
    if value in ("", "~", "null", "Null", "NULL"):
        return "nothing"
    if value in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return "boolean"
    if _INTEGER.fullmatch(value):
        return "integer"
    return "number" if _NUMBER.fullmatch(value) else "text"
