"""Where each rule stands in the text of a mapping document, and changing one rule there without touching anything else. Pure.

A document that people keep has comments, an order and a layout; writing it anew out of the parsed rules would lose them. So
a rule is changed by its own lines, and what comes out is compared with what was there: every other rule must still be
letter by letter what it was, or nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from federation.mapping.yamltree import read

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTION: Final = "mapping"
# What YAML 1.1's reader counts as the end of a line; the lines here must be its lines.
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class CannotPlace(Exception):
    """The rule cannot be changed by its lines here: the section is written in one line, or as JSON. Edit the text itself."""


@dataclass(frozen=True, slots=True)
class RuleSpan:
    """One rule's lines, `first` to `last` (from 1, both belong to it); `indent`: spaces before its dash. `name` "" if it has none."""

    number: int
    name: str
    first: int
    last: int
    indent: int


def rule_spans(text: str) -> tuple[RuleSpan, ...]:
    """The rules of a block-style section `mapping`, in order; () where there is none. Raises Unreadable, CannotPlace."""
    section = _section(text)
    return () if section is None else section.spans


def rule_text(text: str, number: int) -> str:
    """One rule as it stands there, its dash at the margin; ends with a line break. Raises Unreadable, CannotPlace, IndexError."""
    return _texts(text)[number]


def with_rule(text: str, number: int, snippet: str) -> str:
    """The text with this in the place of one rule; "" takes the rule out. Raises Unreadable, CannotPlace, IndexError."""
    spans = rule_spans(text)
    span = spans[number]
    lines = _lines(text)
    new = _indented(snippet, span.indent)
    if not new and len(spans) == 1:
        new = [" " * (span.indent or 2) + "[]\n"]
    changed = "".join([*lines[: span.first - 1], *new, *lines[span.last :]])
    there, found = _texts(text), _texts(changed)
    before, behind = there[:number], there[number + 1 :]
    if found[: len(before)] != before or found[len(found) - len(behind) :] != behind:
        raise CannotPlace("other rules would change")
    return changed


def with_new_rule(text: str, snippet: str) -> str:
    """The text with this rule behind all others; the section is made where it is missing. Raises Unreadable, CannotPlace."""
    section = _section(text)
    before = _texts(text)
    lines = _lines(text)
    if section is None:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        changed = "".join([*lines, "mapping:\n", *_indented(snippet, 2)])
    elif not section.spans:
        head = f"{' ' * section.key_column}mapping:\n"
        changed = "".join([*lines[: section.key_line], head, *_indented(snippet, 2), *lines[section.last + 1 :]])
    else:
        last = section.spans[-1]
        if not lines[last.last - 1].endswith("\n"):
            lines[last.last - 1] += "\n"
        changed = "".join([*lines[: last.last], *_indented(snippet, last.indent), *lines[last.last :]])
    found = [_ended(one) for one in _texts(changed)]
    if found[: len(before)] != [_ended(one) for one in before] or len(found) == len(before):
        raise CannotPlace("other rules would change")
    return changed


def moved(text: str, number: int, by: int) -> str:
    """The text with one rule moved past its neighbour: `by` is -1 or 1. Comments between the two stay between them.

    Raises Unreadable, CannotPlace, IndexError.
    """
    spans = rule_spans(text)
    first, second = sorted((number, number + by))
    if first < 0:
        raise IndexError(number)
    one, other = spans[first], spans[second]
    lines = _lines(text)
    for index in (one.last - 1, other.last - 1):
        if not lines[index].endswith("\n"):
            lines[index] += "\n"
    changed = "".join(
        [
            *lines[: one.first - 1],
            *lines[other.first - 1 : other.last],
            *lines[one.last : other.first - 1],
            *lines[one.first - 1 : one.last],
            *lines[other.last :],
        ]
    )
    expected = _texts(text)
    expected[first], expected[second] = expected[second], expected[first]
    if [_ended(found) for found in _texts(changed)] != [_ended(one) for one in expected]:
        raise CannotPlace("other rules would change")
    return changed


def compose_rule(
    *,
    name: str,
    group: str,
    roles: Sequence[str],
    accounts: Sequence[str] = (),
    environment: str = "",
    duration: str = "",
    read_only: bool = False,
    approvers: str = "",
    at_most: str = "4h",
) -> str:
    """A rule as a newcomer means it: whoever is in `group` gets `roles` in `accounts` (ids or names) or in an environment."""
    listed = ", ".join(scalar(account) for account in accounts)
    where = f"{{tags: {{environment: {scalar(environment)}}}}}" if environment else f"[{listed}]" if listed else ""
    allow = f"roles: [{', '.join(scalar(role) for role in roles)}]" + (f", accounts: {where}" if where else "")
    session = ", ".join(
        part for part in (f"duration: {duration}" if duration else "", "policy: read-only" if read_only else "") if part
    )
    lines = [f"- name: {scalar(name)}", f"  when: {{groups: [{scalar(group)}]}}", f"  allow: {{{allow}}}"]
    if session:
        lines.append(f"  session: {{{session}}}")
    if approvers:
        lines.append(f"  approval: {{by: [{scalar(approvers)}], at_most: {at_most}}}")
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """`text` as YAML text: plain where nobody can read it as anything else, else in quotes."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


# --- Finding the lines --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """The section `mapping`: `key_line` and `last` from 0, of its key and of its last line."""

    spans: tuple[RuleSpan, ...]
    key_line: int
    key_column: int
    last: int


def _section(text: str) -> _Section | None:
    tree = read(text)  # everything that a document may not have is refused before it is looked at by its lines
    names = next((node for key, _, node in tree.entries if key == _SECTION), None)
    if names is None:
        return None
    if text.removeprefix("\ufeff").lstrip()[:1] == "{":
        raise CannotPlace("json")
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    next(events), next(events)  # the stream and the document
    next(events)  # the root, a mapping: its section was found
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        if key.value != _SECTION:
            _skip(events)
            continue
        start: Any = next(events)
        if isinstance(start, yaml.ScalarEvent):
            return _Section((), key.start_mark.line, key.start_mark.column, _line(start))
        found, end = _items(events, start)
        if start.flow_style and found:
            raise CannotPlace("flow")
        if not found:
            return _Section((), key.start_mark.line, key.start_mark.column, end)
        spans = []
        lines = _lines(text)
        for number, (line, last) in enumerate(found):
            named = next((node.text for key_, _, node in names.items[number].entries if key_ == "name"), "")
            dash = _dash(lines, line, start.start_mark.column)
            while last > dash and not lines[last].strip():
                last -= 1  # noqa: PLW2901  a block of text takes the empty lines behind it along
            spans.append(RuleSpan(number, named, dash + 1, last + 1, start.start_mark.column))
        return _Section(tuple(spans), key.start_mark.line, key.start_mark.column, spans[-1].last - 1)
    return None


def _items(events: Iterator[Any], start: Any) -> tuple[list[tuple[int, int]], int]:
    """(first line, last line) of each item of a sequence, and the line of its end, from 0."""
    if not isinstance(start, yaml.SequenceStartEvent):
        raise CannotPlace("no list")
    found = []
    event: Any
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        found.append((int(event.start_mark.line), _last_line(events, event)))
    return found, _line(event)


def _last_line(events: Iterator[Any], event: Any) -> int:
    """The last line, from 0, that an item has anything on: a block collection's own end is where the next token begins."""
    if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
        return _end(event)
    last = int(event.start_mark.line)
    depth = 1
    while depth:
        inner: Any = next(events)
        if isinstance(inner, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            depth += 1
        elif isinstance(inner, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            depth -= 1
            # Only a flow collection ends with a character of its own, on the line where that stands.
            if _has_length(inner):
                last = max(last, _line(inner))
        else:
            last = max(last, _end(inner))
    return last


def _has_length(event: Any) -> bool:
    return bool(event.end_mark.index > event.start_mark.index)


def _line(event: Any) -> int:
    return int(event.end_mark.line)


def _end(event: Any) -> int:
    mark = event.end_mark
    # A block scalar ends at the beginning of the line behind it.
    return int(mark.line) - 1 if mark.column == 0 and mark.line > event.start_mark.line else int(mark.line)


def _skip(events: Iterator[Any]) -> None:
    depth = 0
    while True:
        event = next(events)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            depth += 1
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            depth -= 1
        if depth == 0:
            return


def _dash(lines: Sequence[str], line: int, column: int) -> int:
    """The line of the item's dash, which may stand above the item."""
    while line > 0 and lines[line][column : column + 1] != "-":
        line -= 1
    return line


def _lines(text: str) -> list[str]:
    """The lines with their ends."""
    found, at = [], 0
    for match in _BREAK.finditer(text):
        found.append(text[at : match.end()])
        at = match.end()
    if at < len(text):
        found.append(text[at:])
    return found


# --- Changing them ---------------------------------------------------------------------------------------


def _outdented(line: str, indent: int) -> str:
    blank = len(line) - len(line.lstrip(" "))
    return line[min(blank, indent) :]


def _indented(snippet: str, indent: int) -> list[str]:
    lines = _lines(snippet.rstrip() + "\n") if snippet.strip() else []
    return [" " * indent + line if line.strip() else line for line in lines]


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _texts(text: str) -> list[str]:
    lines = _lines(text)
    return [
        "".join(_outdented(line, span.indent) for line in lines[span.first - 1 : span.last])
        for span in rule_spans(text)
    ]
