"""Who may be concerned by a revision at all, found out before anything is worked out for anybody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from federation.identity import Identity
from federation.mapping.company import Company
from federation.mapping.concerned import changed_rules
from federation.mapping.conditions import Answer, Facts, holds
from federation.mapping.engine import CompiledMapping, CompiledRule, compile_mapping
from federation.mapping.groups import Hits, PatternsUnusable
from federation.mapping.rules import Target


class Reached(NamedTuple):
    """Which of the rules that are not the same in both documents hold for a person: their numbers in the old document and in
    the new one. `whole`: the person is not the same under both, and anything may change.
    """

    old: tuple[int, ...]
    new: tuple[int, ...]
    whole: bool = False


class Touched:
    """Who may be concerned by a revision at all: whoever a rule matches that is not the same in both documents.

    Of 5,000 people a usual revision concerns some dozens; nothing has to be worked out for the others.
    """

    def __init__(self, before: CompiledMapping, after: CompiledMapping, now: datetime, company: Company) -> None:
        """`company`: of the new document at that moment; what it works out is shared."""
        self._company, self._after = company, _Holding(after, now)
        # A rule that moved past others counts as changed: the order says which one decides.
        changed = changed_rules(before.document.rules, after.document.rules)
        moved = {rule.name for rules in changed for rule in rules}
        accounts = _changed_accounts(before, after)
        old = {compiled.rule.name: compiled for compiled in before.rules}
        self._new = {
            number
            for number, compiled in enumerate(after.rules)
            if compiled.rule.name in moved or _reaches(old[compiled.rule.name], compiled, accounts)
        }
        numbers = {compiled.rule.name: number for number, compiled in enumerate(after.rules)}
        same = {compiled.rule.name for number, compiled in enumerate(after.rules) if number not in self._new}
        # A rule whose conditions are as they were holds for the same people: it is asked once.
        self._asked_alike: dict[int, int] = {}
        self._numbers: list[int] = []
        for number, compiled in enumerate(before.rules):
            now_at = numbers.get(compiled.rule.name)
            if now_at in self._new and after.rules[now_at].rule.when == compiled.rule.when:
                self._asked_alike[now_at] = number
            elif compiled.rule.name not in same:
                self._numbers.append(number)
        left = tuple(before.rules[number].rule for number in self._numbers)
        self._before = _Holding(compile_mapping(replace(before.document, rules=left, staff=())), now)

    def rules_of(self, identity: Identity | None) -> Sequence[int]:
        """Numbers of the new document's rules whose conditions hold, a deny that cannot be ruled out among them."""
        if identity is None:
            return ()
        known = self._company.holding(identity)
        return self._after.numbers(identity) if known is None else known

    def by(self, before: Identity | None, after: Identity | None, numbers: Iterable[int]) -> Reached | None:
        """What may change for a person, of whom `numbers` are the rules of the new document; None: nothing."""
        if before is not after:
            return Reached((), (), whole=True)
        if before is None:
            return None
        new = tuple(number for number in numbers if number in self._new)
        old = [self._asked_alike[number] for number in new if number in self._asked_alike]
        if self._numbers:
            old += [self._numbers[number] for number in self._before.numbers(before)]
        return Reached(tuple(old), new) if old or new else None


class _Holding:
    """Which rules' conditions hold for whom, groups that no rule names left out as early as can be."""

    def __init__(self, mapping: CompiledMapping, now: datetime) -> None:
        self._mapping, self._now = mapping, now
        self._silent: set[str] = set()
        self._hits: dict[str, Hits] = {}

    def numbers(self, identity: Identity) -> list[int]:
        """Numbers of the rules, a deny that cannot be ruled out among them."""
        matches: set[int] = set()
        rules: set[int] = set()
        complete = identity.groups_complete
        for group in identity.groups - self._silent:
            hits = self._hits.get(group)
            if hits is None:
                try:
                    hits = self._mapping.index.look(group)
                except PatternsUnusable:
                    complete = False
                    continue
                if not hits.matches:
                    self._silent.add(group)
                    continue
                self._hits[group] = hits
            matches.update(hits.matches)
            rules.update(hits.rules)
        facts = Facts(identity, self._now, matches, rules, complete, self._mapping.index)
        found = []
        for number in self._mapping.candidates(facts):
            compiled = self._mapping.rules[number]
            answer = holds(compiled.conditions, facts)
            if answer is Answer.YES or (compiled.denies and answer is not Answer.NO):
                found.append(number)
        return found


def _changed_accounts(before: CompiledMapping, after: CompiledMapping) -> frozenset[str]:
    ids = {**before.accounts, **after.accounts}
    return frozenset(one for one in ids if before.accounts.get(one) != after.accounts.get(one))


def _reaches(one: CompiledRule, other: CompiledRule, accounts: frozenset[str]) -> bool:
    """Whether a rule that stays may give or take something else, because accounts have changed."""
    if not accounts:
        return False
    arns = bool((other.rule.allow or other.rule.deny or Target()).arns)
    return arns or not accounts.isdisjoint(one.target.accounts | other.target.accounts)
