"""Who may be concerned by a revision at all, found out before anything is worked out for anybody. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from federation.identity import Identity
from federation.mapping.concerned import changed_rules
from federation.mapping.conditions import Answer, Facts, holds
from federation.mapping.engine import CompiledMapping, CompiledRule, compile_mapping
from federation.mapping.groups import Hits, PatternsUnusable
from federation.mapping.rules import Target


class Touched:
    """Who may be concerned by a revision at all: whoever a rule matches that is not the same in both documents.

    Of 5,000 people a usual revision concerns some dozens; nothing has to be worked out for the others.
    """

    def __init__(self, before: CompiledMapping, after: CompiledMapping, now: datetime) -> None:
        self._after = _Holding(after, now)
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
        same = {compiled.rule.name for number, compiled in enumerate(after.rules) if number not in self._new}
        left = tuple(rule for rule in before.document.rules if rule.name not in same)
        self._before = _Holding(compile_mapping(replace(before.document, rules=left, staff=())), now)

    def rules_of(self, identity: Identity | None) -> list[int]:
        """Numbers of the new document's rules whose conditions hold, a deny that cannot be ruled out among them."""
        return [] if identity is None else self._after.numbers(identity)

    def by(self, before: Identity | None, after: Identity | None, numbers: Iterable[int]) -> bool:
        """Whether anything may change for a person, of whom `numbers` are the rules of the new document."""
        if before is not after or not self._new.isdisjoint(numbers):
            return True
        return before is not None and bool(self._before.numbers(before))


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
