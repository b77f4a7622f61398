"""Whom a change can concern: found without deciding anything anew. Pure.

Somebody for whom none of the changed rules holds, neither as it was nor as it is, has what they had: the rules that do hold
for them are the same ones in the same order (tests/mapping/test_concerned.py). So after a change of one rule among
thousands, only those are worked out again whom `Concerned` names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from federation.identity import Identity
from federation.mapping.company import Company, reach_of
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.rules import Document, Rule


def changed_rules(old: Sequence[Rule], new: Sequence[Rule]) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """(rules of `old`, rules of `new`) that are not the same in the other: another text, gone, new, or moved past others.

    Which rules count as moved is the smallest choice that leaves the others in one order. `line` does not count.
    """
    before = {rule.name: (place, rule) for place, rule in enumerate(old)}
    same = [(before[rule.name][0], rule.name) for rule in new if before.get(rule.name, (0, None))[1] == rule]
    staying = {same[index][1] for index in longest_rising([place for place, _ in same])}
    return (
        tuple(rule for rule in old if rule.name not in staying),
        tuple(rule for rule in new if rule.name not in staying),
    )


def longest_rising(numbers: Sequence[int]) -> list[int]:
    """Indexes of a longest rising subsequence of distinct numbers, by patience sorting."""
    tops: list[int] = []
    at: list[int] = []
    below: list[int] = []
    for index, number in enumerate(numbers):
        pile = bisect_left(tops, number)
        below.append(at[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(number)
            at.append(index)
        else:
            tops[pile], at[pile] = number, index
    found: list[int] = []
    last = at[-1] if at else -1
    while last >= 0:
        found.append(last)
        last = below[last]
    return found[::-1]


def rules_into(mapping: CompiledMapping, account_ids: Collection[str]) -> tuple[Rule, ...]:
    """The allow rules for which the listing of one of these accounts matters. A deny is told the role, and asks no listing."""
    wanted = frozenset(account_ids)
    return tuple(
        compiled.rule
        for compiled in mapping.rules
        if not compiled.denies and not wanted.isdisjoint(reach_of(mapping, [compiled]).accounts)
    )


def turned(rules: Iterable[Rule], since: datetime, until: datetime) -> tuple[Rule, ...]:
    """The rules that begin or cease to count after `since` and not after `until`."""
    return tuple(
        rule
        for rule in rules
        if any(moment is not None and since < moment <= until for moment in (rule.when.from_, rule.when.until))
    )


class Concerned:
    """Asks of one person after another whether any of some rules could have to do with them. For one thread."""

    def __init__(self, document: Document, rules: Iterable[Rule], now: datetime) -> None:
        """`rules` with the document's accounts; whether they count at this moment does not matter here."""
        whenever = tuple(replace(rule, when=replace(rule.when, from_=None, until=None)) for rule in rules)
        named = tuple(replace(rule, name=f"{number}") for number, rule in enumerate(whenever))
        self._company = (
            Company(compile_mapping(replace(document, rules=named, staff=(), delegations=())), now) if named else None
        )

    def __call__(self, identity: Identity) -> bool:
        """False: none of the rules holds for them, and no deny among them is in doubt."""
        if self._company is None:
            return False
        # In doubt: an expression of one rule leaves unsaid what another rule says for certain where that one is not there.
        return bool(self._company.standing(identity).rules) or self._company.is_in_doubt(identity)
