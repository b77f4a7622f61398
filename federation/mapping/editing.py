"""Changes of a few keys in the text of a mapping document: everything else stays letter by letter, comments too. Pure.

An entry of a list (`identity_providers` by `slug`, `mapping` by `name`, `accounts` by `id`) is found by PyYAML's marks, and only
the keys whose values differ are written anew. What comes out is parsed again: if it does not say exactly what was wanted,
nothing is returned. The document's own faults are `document.parse`'s to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from federation.mapping.writing import plain_yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WIDTH = 160  # of an entry that is written on one line, as its neighbours are


class NotEditable(Exception):
    """The text cannot be changed at this place without rewriting more of it: change it by hand. The text says where."""


@dataclass(frozen=True, slots=True)
class _Splice:
    """`text` instead of what stands from `start` to `end` (offsets in characters)."""

    start: int
    end: int
    text: str


def put(text: str, section: str, key: str, entry: Mapping[str, Any]) -> str:
    """The text with `entry` in the list `section`: instead of the one with the same `key`, or at its end.

    `entry`: plain data as YAML has it. Raises NotEditable.
    """
    before = _plain(text, section)
    wanted = {**before, section: _with(list(before.get(section) or []), key, entry)}
    root = _root(text)
    held = _child(root, section)
    if held is None:
        changed = _with_section(text, section, entry)
    else:
        items = _items(held, section)
        node = next((item for item in items if _scalar(item, key) == str(entry[key])), None)
        if node is None:
            changed = _appended(text, root, held, items, entry)
        else:
            changed = text
            for step in (_replaced_values, _added_keys, _removed_keys):  # in this order: nothing is ever left empty
                changed = _spliced(changed, _walk(changed, _entry(changed, section, key, entry), entry, step))
    return _checked(changed, wanted)


def remove(text: str, section: str, key: str, value: str) -> str:
    """The text without the entry of `section` whose `key` is `value`, and without its comments. Raises NotEditable."""
    before = _plain(text, section)
    left = [one for one in before.get(section) or [] if str(one.get(key)) != value]
    wanted = {**before, section: left}
    held = _child(_root(text), section)
    items = [] if held is None else _items(held, section)
    node = next((item for item in items if _scalar(item, key) == value), None)
    if held is None or node is None:
        raise NotEditable(f"{section} has no entry whose {key} is {value}")
    if held.flow_style or len(items) == 1:
        raise NotEditable(f"{section} is written in a way in which one entry cannot be taken out")
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    return _checked(_spliced(text, [_Splice(start, _end_of_lines(text, node), "")]), wanted)


# --- Reading ------------------------------------------------------------------------------------------


def _plain(text: str, section: str = "") -> dict[str, Any]:
    try:
        loaded = yaml.load(text, Loader=_StrictText)  # noqa: S506  a safe loader: plain data alone
    except yaml.YAMLError as error:
        raise NotEditable("the document cannot be read") from error
    if not isinstance(loaded, dict):
        raise NotEditable("the document is no mapping")
    entries = loaded.get(section) or []
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise NotEditable(f"{section} is no list of entries")
    return loaded


class _StrictText(_LOADER):  # type: ignore[misc]
    """Every plain scalar stays text, so that comparing documents does not depend on what YAML 1.1 makes of `no`."""


_StrictText.yaml_implicit_resolvers = {}


def _root(text: str) -> yaml.MappingNode:
    node = yaml.compose(text, Loader=yaml.SafeLoader)  # the Python loader: its marks have offsets in characters
    if not isinstance(node, yaml.MappingNode):
        raise NotEditable("the document is no mapping")
    return node


def _child(node: yaml.MappingNode, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), None)


def _items(node: Any, section: str) -> list[yaml.MappingNode]:
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(item, yaml.MappingNode) for item in node.value):
        raise NotEditable(f"{section} is no list of entries")
    return list(node.value)


def _scalar(node: yaml.MappingNode, key: str) -> str:
    found = _child(node, key)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""


def _with(entries: list[Any], key: str, entry: Mapping[str, Any]) -> list[Any]:
    plain = _texts(entry)
    replaced = [plain if str(one.get(key)) == str(entry[key]) else one for one in entries]
    return replaced if plain in replaced else [*replaced, plain]


def _texts(value: Any) -> Any:
    """Plain data as `_StrictText` reads it back."""
    if isinstance(value, Mapping):
        return {str(key): _texts(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_texts(one) for one in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


# --- Writing ------------------------------------------------------------------------------------------


_Step = Callable[[str, yaml.MappingNode, Mapping[str, Any]], list[_Splice]]


def _entry(text: str, section: str, key: str, entry: Mapping[str, Any]) -> yaml.MappingNode:
    items = _items(_child(_root(text), section), section)
    return next(item for item in items if _scalar(item, key) == str(entry[key]))


def _walk(text: str, node: yaml.MappingNode, new: Mapping[str, Any], step: _Step) -> list[_Splice]:
    """One step for the entry at `node` and for the mappings in it that stay mappings."""
    splices = step(text, node, new)
    for key, value in new.items():
        if _both_mappings(_child(node, key), value):
            splices += _walk(text, _child(node, key), value, step)
    return splices


def _both_mappings(held: Any, value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and isinstance(held, yaml.MappingNode)


def _replaced_values(text: str, node: yaml.MappingNode, new: Mapping[str, Any]) -> list[_Splice]:
    splices = []
    for key, value in new.items():
        held = _child(node, key)
        if held is not None and not _both_mappings(held, value) and _read(held) != _texts(value):
            splices.append(_replaced(text, node, key, held, value))
    return splices


def _added_keys(text: str, node: yaml.MappingNode, new: Mapping[str, Any]) -> list[_Splice]:
    missing = {key: value for key, value in new.items() if _child(node, key) is None}
    return [_added(text, node, missing)] if missing else []


def _removed_keys(text: str, node: yaml.MappingNode, new: Mapping[str, Any]) -> list[_Splice]:
    return [_removed(text, node, name) for name, _ in node.value if name.value not in new]


def _read(node: Any) -> Any:
    """A node as `_StrictText` reads it."""
    if isinstance(node, yaml.MappingNode):
        return {name.value: _read(value) for name, value in node.value}
    return [_read(one) for one in node.value] if isinstance(node, yaml.SequenceNode) else node.value


def _replaced(text: str, node: yaml.MappingNode, key: str, held: Any, value: Any) -> _Splice:
    """The value of one key. In a flow mapping, and where the old one stood on one line, the new one does."""
    end = _end(text, held)
    multiline = isinstance(value, str) and "\n" in value
    if node.flow_style or (held.start_mark.line == _line_of(text, end) and not multiline):
        return _Splice(held.start_mark.index, end, _flow(value))
    name = next(name for name, _ in node.value if name.value == key)
    return _Splice(name.start_mark.index, end, _block({key: value}, node.start_mark.column))


def _added(text: str, node: yaml.MappingNode, values: Mapping[str, Any]) -> _Splice:
    if node.flow_style:
        at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        pairs = ", ".join(f"{_flow(key)}: {_flow(value)}" for key, value in values.items())
        return _Splice(at, at, f", {pairs}" if node.value else pairs)
    at, indent = _end_of_line(text, _end(text, node)), node.start_mark.column
    lines = "".join(
        f"\n{' ' * indent}{_flow(key)}: {_flow(value)}"
        if _fits(key, value, indent)
        else f"\n{' ' * indent}{_block({key: value}, indent)}"
        for key, value in values.items()
    )
    return _Splice(at, at, lines)


def _removed(text: str, node: yaml.MappingNode, name: Any) -> _Splice:
    pairs = node.value
    place = next(number for number, (found, _) in enumerate(pairs) if found is name)
    if node.flow_style:
        if len(pairs) == 1:
            return _Splice(name.start_mark.index, pairs[0][1].end_mark.index, "")
        if place:
            return _Splice(pairs[place - 1][1].end_mark.index, pairs[place][1].end_mark.index, "")
        return _Splice(name.start_mark.index, pairs[1][0].start_mark.index, "")
    if not place:  # it stands behind the dash: the next key takes its place
        return _Splice(name.start_mark.index, pairs[1][0].start_mark.index, "")
    start = text.rfind("\n", 0, name.start_mark.index)
    return _Splice(start, _end_of_line(text, _end(text, pairs[place][1])), "")


def _with_section(text: str, section: str, entry: Mapping[str, Any]) -> str:
    if text.lstrip()[:1] == "{":
        raise NotEditable(f"the document is JSON and has no {section}")
    return f"{text.rstrip()}\n\n{section}:\n  - {_block(entry, 4)}\n"


def _appended(text: str, root: Any, held: Any, items: list[yaml.MappingNode], entry: Mapping[str, Any]) -> str:
    if held.flow_style:
        at = items[-1].end_mark.index if items else held.start_mark.index + 1
        return _spliced(text, [_Splice(at, at, f", {_flow(entry)}" if items else _flow(entry))])
    last = items[-1]
    dash = text.rfind("-", 0, last.start_mark.index)
    indent = " " * (dash - text.rfind("\n", 0, dash) - 1)
    # As its neighbours are written: on one line, or key by key.
    body = _flow(entry) if last.flow_style and len(_flow(entry)) <= _WIDTH else _block(entry, len(indent) + 2)
    at = _end_of_line(text, _end(text, last))
    gap = "\n" if not last.flow_style and _spaced(text, items) else ""
    return _spliced(text, [_Splice(at, at, f"\n{gap}{indent}- {body}")])


def _spaced(text: str, items: list[yaml.MappingNode]) -> bool:
    """Whether an empty line stands between the entries."""
    return len(items) > 1 and "\n\n" in text[_end(text, items[-2]) : items[-1].start_mark.index]


def _spliced(text: str, splices: Sequence[_Splice]) -> str:
    for splice in sorted(splices, key=lambda one: -one.start):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def _checked(text: str, wanted: Mapping[str, Any]) -> str:
    if _plain(text) != wanted:
        raise NotEditable("the text is written in a way in which this place cannot be changed by itself")
    return text


# --- Where a node ends --------------------------------------------------------------------------------


def _end(text: str, node: Any) -> int:
    """Where a node ends, without the blank lines and comments behind it that PyYAML counts to a block."""
    if isinstance(node, yaml.ScalarNode) and node.style not in {"|", ">"}:
        return int(node.end_mark.index)
    if isinstance(node, yaml.CollectionNode) and node.flow_style:
        return int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode):
        return len(text[: node.end_mark.index].rstrip("\n "))
    if not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(text, last[1] if isinstance(last, tuple) else last)


def _end_of_line(text: str, index: int) -> int:
    """Behind a comment that stands on the same line."""
    at = text.find("\n", index)
    return len(text) if at < 0 else at


def _end_of_lines(text: str, node: Any) -> int:
    """Where the line after the node begins, blank lines behind it taken along."""
    at = text.find("\n", _end(text, node))
    at = len(text) if at < 0 else at + 1
    while text[at : at + 1] == "\n":
        at += 1
    return at


def _line_of(text: str, index: int) -> int:
    return text.count("\n", 0, index)


def _flow(value: Any) -> str:
    return plain_yaml(value, flow=True)


def _fits(key: str, value: Any, indent: int) -> bool:
    return not _has_lines(value) and indent + len(key) + 2 + len(_flow(value)) <= _WIDTH


def _has_lines(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_lines(one) for one in value.values())
    if isinstance(value, str):
        return "\n" in value
    return isinstance(value, Sequence) and any(_has_lines(one) for one in value)


def _block(value: Mapping[str, Any], indent: int) -> str:
    """A block mapping whose first line has no indent of its own; what fits stands on one line."""
    lines = []
    for key, one in value.items():
        if _fits(key, one, indent):
            lines.append(f"{_flow(key)}: {_flow(one)}")
        else:
            lines += plain_yaml({key: one}).rstrip("\n").split("\n")
    return f"\n{' ' * indent}".join(lines).rstrip(" ")
