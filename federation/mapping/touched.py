"""Who may be concerned by a revision at all, found out before anything is worked out for anybody. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from federation.identity import Identity
from federation.mapping.company import Company
from federation.mapping.concerned import changed_rules
from federation.mapping.engine import CompiledMapping, CompiledRule
from federation.mapping.rules import Target


class Reached(NamedTuple):
    """Which of the rules that are not the same in both documents hold for a person: their numbers in the old document and in
    the new one. `whole`: the person is not the same under both, and anything may change.
    """

    old: tuple[int, ...]
    new: tuple[int, ...]
    whole: bool = False


class Touched:
    """Who may be concerned by a revision at all: whoever a rule holds for that is not the same in both documents.

    Of 5,000 people a usual revision concerns some dozens; nothing has to be worked out for the others.
    """

    def __init__(self, before: Company, after: Company) -> None:
        """Both at the same moment; what they work out here is shared with whoever asks them next."""
        self._before, self._after = before, after
        old, new = before.mapping, after.mapping
        # A rule that moved past others counts as changed: the order says which one decides.
        changed = changed_rules(old.document.rules, new.document.rules)
        moved = {rule.name for rules in changed for rule in rules}
        accounts = _changed_accounts(old, new)
        numbers = {compiled.rule.name: number for number, compiled in enumerate(old.rules)}
        self._new = {
            number
            for number, compiled in enumerate(new.rules)
            if compiled.rule.name in moved or _reaches(old.rules[numbers[compiled.rule.name]], compiled, accounts)
        }
        same = {compiled.rule.name for number, compiled in enumerate(new.rules) if number not in self._new}
        self._old = {number for name, number in numbers.items() if name not in same}
        # A rule whose conditions are as they were holds for the same people. Where that is so of all that changed, as where
        # one rule gives another role, the old document need not be asked at all.
        self._alike: dict[int, int] = {}
        for number in self._new:
            rule = new.rules[number].rule
            was_at = numbers.get(rule.name)
            if was_at is not None and old.rules[was_at].rule.when == rule.when:
                self._alike[number] = was_at
        self._all_alike = self._old == set(self._alike.values())

    def by(self, before: Identity | None, after: Identity | None, numbers: Iterable[int]) -> Reached | None:
        """What may change for a person, of whom `numbers` are the rules of the new document; None: nothing."""
        if before is not after:
            return Reached((), (), whole=True)
        if before is None:
            return None
        new = tuple(number for number in numbers if number in self._new)
        if self._all_alike:
            old = tuple(self._alike[number] for number in new if number in self._alike)
        else:
            old = tuple(number for number in self._before.holding(before) if number in self._old)
        return Reached(old, new) if old or new else None


def _changed_accounts(before: CompiledMapping, after: CompiledMapping) -> frozenset[str]:
    ids = {**before.accounts, **after.accounts}
    return frozenset(one for one in ids if before.accounts.get(one) != after.accounts.get(one))


def _reaches(one: CompiledRule, other: CompiledRule, accounts: frozenset[str]) -> bool:
    """Whether a rule that stays may give or take something else, because accounts have changed."""
    if not accounts:
        return False
    arns = bool((other.rule.allow or other.rule.deny or Target()).arns)
    return arns or not accounts.isdisjoint(one.target.accounts | other.target.accounts)
