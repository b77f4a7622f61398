"""The difference of two long texts, line by line. Pure.

difflib alone looks for the longest run of equal lines, again and again: on a mapping of thousands of rules, whose lines are
much alike, that takes seconds to minutes. Lines that stand once in both texts (a rule's name) are matched first, in the
longest order that both share (patience diff); difflib sees what is left between them, a few lines at a time.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from federation.mapping.concerned import longest_rising

Opcode = tuple[str, int, int, int, int]
_CONTEXT: Final = 3
_MOST: Final = 4_000_000  # lines times lines that difflib is asked to compare at once; what is more is one replacement


def opcodes(old: Sequence[str], new: Sequence[str]) -> list[Opcode]:
    """As `difflib.SequenceMatcher.get_opcodes`: (tag, old from, old to, new from, new to), one behind the other."""
    found: list[Opcode] = []
    for tag, i1, i2, j1, j2 in _pieces(old, new):
        if found and found[-1][0] == tag == "equal":
            found[-1] = (tag, found[-1][1], i2, found[-1][3], j2)
        elif found and found[-1][0] != "equal" and tag != "equal":
            _, a, _, c, _ = found[-1]
            found[-1] = ("replace" if i2 > a and j2 > c else "delete" if i2 > a else "insert", a, i2, c, j2)
        else:
            found.append((tag, i1, i2, j1, j2))
    return found


def unified(old: str, new: str, old_name: str, new_name: str) -> str:
    """The unified difference of two texts, "" where they are equal. A last line without its end gets one."""
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    return "".join(_unified(before, after, old_name, new_name))


def _unified(old: Sequence[str], new: Sequence[str], old_name: str, new_name: str) -> Iterator[str]:
    matcher = difflib.SequenceMatcher(None, "", "")
    matcher.opcodes = opcodes(old, new)  # type: ignore[attr-defined]  # what get_opcodes would have kept there
    begun = False
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        if not begun:
            begun = True
            yield f"--- {old_name}\n+++ {new_name}\n"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (f" {_ended(line)}" for line in old[i1:i2])
                continue
            yield from (f"-{_ended(line)}" for line in old[i1:i2])
            yield from (f"+{_ended(line)}" for line in new[j1:j2])


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n"


def _range(start: int, stop: int) -> str:
    """A range of a unified difference: its first line from 1, and its length unless that is 1."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _pieces(old: Sequence[str], new: Sequence[str]) -> Iterator[Opcode]:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    i, j = len(old), len(new)
    while i > start and j > start and old[i - 1] == new[j - 1]:
        i, j = i - 1, j - 1
    if start:
        yield "equal", 0, start, 0, start
    at = start, start
    for one, other in _anchors(old[start:i], new[start:j]):
        yield from _between(old, new, at, (start + one, start + other))
        yield "equal", start + one, start + one + 1, start + other, start + other + 1
        at = start + one + 1, start + other + 1
    yield from _between(old, new, at, (i, j))
    if i < len(old):
        yield "equal", i, len(old), j, len(new)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of lines that stand once in each text, rising in both."""
    once = [{line for line, count in Counter(text).items() if count == 1} for text in (old, new)]
    shared = once[0] & once[1]
    places = {line: number for number, line in enumerate(new) if line in shared}
    pairs = [(number, places[line]) for number, line in enumerate(old) if line in shared]
    return [pairs[index] for index in longest_rising([other for _, other in pairs])]


def _between(old: Sequence[str], new: Sequence[str], start: tuple[int, int], end: tuple[int, int]) -> Iterator[Opcode]:
    (i1, j1), (i2, j2) = start, end
    if i1 == i2 and j1 == j2:
        return
    if i1 == i2 or j1 == j2 or (i2 - i1) * (j2 - j1) > _MOST:
        yield "insert" if i1 == i2 else "delete" if j1 == j2 else "replace", i1, i2, j1, j2
        return
    matcher = difflib.SequenceMatcher(None, old[i1:i2], new[j1:j2], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        yield tag, i1 + a, i1 + b, j1 + c, j1 + d
