"""Which group matches name a group: a dict for exact names, one RE2 set for all globs and expressions, a bounded memo.

A directory has few distinct groups, and a mapping thousands of patterns: each group is matched once, against all
patterns at the same time, and what came out is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import re2

from federation.mapping.patterns import (
    PatternError,
    compile_expression,
    composed,
    expression_of,
    in_any_form,
    required_prefix,
)
from federation.mapping.rules import GroupMatch

SET_MEMORY = 512 << 20
"""Bytes the automaton may use (measured: at RE2's default of 8 MiB it throws its states away, 17 times slower)."""
MEMO_SIZE = 65_536
LONGEST_PREFIX = 8
"""Characters of a pattern's beginning that are looked at before the automaton; bounds the number of lengths to try."""
LONGEST_GROUP = 1_024
"""A longer group name is matched each time instead of filling the memo: bounded memory against a flood of names."""


class Hits(NamedTuple):
    """`matches`: numbers of the group matches that name the group. `rules`: numbers of the rules to look at for it."""

    matches: tuple[int, ...]
    rules: tuple[int, ...]


class PatternsUnusable(Exception):
    """RE2 could not decide for this group: whoever asks treats the group as unknown, never as "no match"."""


class GroupIndex:
    """Every distinct `GroupMatch` of a mapping, numbered. Immutable once built, safe in threads."""

    def __init__(self, matches: Iterable[GroupMatch], rules_of: Mapping[GroupMatch, tuple[int, ...]]) -> None:
        self.matches: tuple[GroupMatch, ...] = tuple(dict.fromkeys(matches))
        self.number: dict[GroupMatch, int] = {match: number for number, match in enumerate(self.matches)}
        self._rules = tuple(rules_of.get(match, ()) for match in self.matches)
        self._exact: dict[str, int] = {}
        self._in_any_case: dict[str, list[int]] = {}
        prefixed: list[int] = []
        floating: list[int] = []
        prefixes: set[str] = set()
        for number, match in enumerate(self.matches):
            if match.kind == "exact" and match.fold:
                self._in_any_case.setdefault(in_any_form(match.pattern), []).append(number)
            elif match.kind == "exact":
                self._exact[match.pattern] = number
            elif prefix := required_prefix(match)[:LONGEST_PREFIX]:
                prefixes.add(prefix)
                prefixed.append(number)
            else:
                floating.append(number)
        # Most groups of a directory begin with nothing that a pattern wants: they need not meet the automaton at all.
        self._prefixes = frozenset(prefixes)
        self._lengths = tuple(sorted({len(prefix) for prefix in prefixes}))
        self._prefixed = PatternSet(self.matches, prefixed) if prefixed else None
        self._floating = PatternSet(self.matches, floating) if floating else None
        self.hits = lru_cache(maxsize=MEMO_SIZE)(self._hits)

    def look(self, group: str) -> Hits:
        """What names this group. Raises PatternsUnusable if that cannot be decided."""
        return self._hits(group) if len(group) > LONGEST_GROUP else self.hits(group)

    def _hits(self, group: str) -> Hits:
        found = []
        exact = self._exact.get(group)
        if exact is not None:
            found.append(exact)
        if self._in_any_case:
            found += self._in_any_case.get(in_any_form(group), ())
        if self._floating is not None:
            found += self._floating.matching(group)
            if (other := composed(group)) != group:
                more = self._floating.matching(other)  # what takes away speaks of the name in its composed form
                found += [number for number in more if self.matches[number].fold and number not in found]
        if self._prefixed is not None and any(group[:length] in self._prefixes for length in self._lengths):
            found += self._prefixed.matching(group)
        if not found:
            return NO_HITS
        rules = sorted({rule for number in found for rule in self._rules[number]})
        return Hits(tuple(found), tuple(rules))


class PatternSet:
    """Globs and expressions that are matched all at once. `numbers`: which of `matches` they are."""

    def __init__(self, matches: Sequence[GroupMatch], numbers: Sequence[int]) -> None:
        self._numbers = tuple(numbers)
        self._expressions = tuple(expression_of(matches[number]) for number in numbers)
        self._set = self._compile()

    def _compile(self) -> Any:
        options = re2.Options()
        options.max_mem = SET_MEMORY
        options.log_errors = False
        combined = re2.Set.FullMatchSet(options)
        # The sentinel matches everything. RE2's set answers "nothing matches" when it runs out of memory, and a deny
        # rule must not vanish that way: an answer without the sentinel is no answer.
        combined.Add("(?s).*")
        try:
            for expression in self._expressions:
                combined.Add(expression)
            combined.Compile()
        except re2.error:
            return None  # too large together: each is then run by itself, slower and as right
        return combined

    def matching(self, group: str) -> list[int]:
        """Numbers of the patterns that match the whole group. Raises PatternsUnusable if that cannot be decided."""
        try:
            if self._set is not None:
                answer = self._set.Match(group)
                if 0 in answer:
                    return [self._numbers[index - 1] for index in answer if index]
            # Without a set, or after it ran out of memory: a single expression falls back to an automaton that cannot.
            pairs = zip(self._numbers, self._expressions, strict=True)
            return [number for number, expression in pairs if compile_expression(expression).fullmatch(group)]
        except (re2.error, PatternError, UnicodeError) as error:
            raise PatternsUnusable(str(error)) from error


NO_HITS = Hits((), ())


@lru_cache(maxsize=16_384)
def captures(pattern: str, group: str) -> tuple[tuple[str, str], ...] | None:
    """The named captures of one expression on one group, those that took part; None if it does not match."""
    found = compile_expression(pattern).fullmatch(group)
    if found is None:
        return None
    return tuple((name, value) for name, value in found.groupdict().items() if value)
