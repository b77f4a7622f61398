"""Three versions of a text become one: what two people have changed since the same base. Pure, line by line.

Lines that only one of them touched come from that one; lines that both touched, and not alike, are a conflict and never a
guess. The result still has to be parsed and previewed like any other text.
"""

from __future__ import annotations

from collections.abc import Sequence

from federation.mapping.textdiff import opcodes
from federation.said import say

_SHOWN = 20
_Span = tuple[int, int, list[str]]


def merged(base: str, mine: str, theirs: str) -> tuple[str, tuple[str, ...]]:
    """(the merged text, ()) or ("", the conflicts as sentences with the lines of `mine`)."""
    old = base.splitlines(keepends=True)
    ours, others = _changes(old, mine), _changes(old, theirs)
    result: list[str] = []
    conflicts: list[str] = []
    at = i = j = 0
    while i < len(ours) or j < len(others):
        one = ours[i] if i < len(ours) else None
        other = others[j] if j < len(others) else None
        if one is not None and other is not None and _touch(one, other):
            if one == other:
                at = _take(result, old, at, one)
                i, j = i + 1, j + 1
                continue
            lines = "".join(one[2] or old[one[0] : one[1]]).strip()
            conflicts.append(say("line {line}: {message}", line=str(one[0] + 1), message=lines[:200]))
            i, j = i + 1, j + 1
            continue
        if other is None or (one is not None and (one[0], one[1]) <= (other[0], other[1])):
            if one is not None:
                at = _take(result, old, at, one)
            i += 1
        else:
            at = _take(result, old, at, other)
            j += 1
    if conflicts:
        return "", tuple(conflicts[:_SHOWN])
    result += old[at:]
    return "".join(result), ()


def _changes(old: Sequence[str], text: str) -> list[_Span]:
    new = text.splitlines(keepends=True)
    return [(start, end, new[first:last]) for tag, start, end, first, last in opcodes(old, new) if tag != "equal"]


def _touch(one: _Span, other: _Span) -> bool:
    """Whether both change the same lines, or stand at the same place: beside each other is too near to be told apart."""
    return one[0] <= other[1] and other[0] <= one[1]


def _take(result: list[str], old: Sequence[str], at: int, change: _Span) -> int:
    result += old[at : change[0]]
    result += change[2]
    return change[1]
