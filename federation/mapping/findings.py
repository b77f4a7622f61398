"""What is wrong with the rules of a mapping, seen on today's people and today's catalogue. Pure.

A rule may be well written and still do nothing: match nobody, point nowhere, or give what others give or take already.
Owns those findings and the counts that they come from; it changes and decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from federation.mapping.company import Standing
from federation.mapping.engine import CompiledMapping, CompiledRule, Unresolved
from federation.mapping.patterns import glob_matches, is_glob
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import Catalogue
from federation.mapping.targets import CompiledTarget

FindingCode = Literal[
    "matches_nobody", "not_yet", "over", "shadowed", "takes_nothing", "no_account", "no_role", "role_unknown", "account_unknown"
]  # fmt: skip
_SHOWN = 10

SENTENCES: Mapping[str, str] = {
    "matches_nobody": "It matches nobody of today's people.",
    "not_yet": "It does not count yet: its time begins later.",
    "over": "It does not count any more: its time is over. It can be taken out.",
    "shadowed": "Everything that it gives is given, or taken, by other rules: without it nothing would change today.",
    "takes_nothing": "It takes nothing from anybody today.",
    "no_account": "It chooses no account.",
    "no_role": "None of the accounts that it chooses has this role",
    "role_unknown": "The account has no such role",
    "account_unknown": "No account that the gateway knows has this role",
}
"""What each code means; the last three are followed by what is meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one rule. `about`: the roles or ARNs that are meant. `is_new`: not so in the old document."""

    rule: str
    line: int
    code: FindingCode
    about: tuple[str, ...] = ()
    is_new: bool = False

    @property
    def sentence(self) -> str:
        """For a terminal."""
        if not self.about:
            return SENTENCES[self.code]
        more = f" and {len(self.about) - _SHOWN} more" if len(self.about) > _SHOWN else ""
        return f"{SENTENCES[self.code]}: {', '.join(self.about[:_SHOWN])}{more}."

    def as_dict(self) -> dict[str, Any]:
        """Plain data, bounded."""
        return {
            "rule": self.rule, "line": self.line, "code": self.code, "about": list(self.about[:_SHOWN]),
            "is_new": self.is_new, "sentence": self.sentence,
        }  # fmt: skip


class Tally:
    """What is known of each rule from the people that were looked at: how many it matches, and for whom it decides."""

    def __init__(self) -> None:
        self._numbers: Counter[int] = Counter()
        self._standings: dict[int, list[Any]] = {}
        self.deciding: set[str] = set()
        """Rules that decide for somebody: that give a role, or that are the first to deny one."""
        self.matched: set[str] = set()
        """Rules whose conditions hold for somebody whose standing was added."""
        self._alive: set[int] = set()

    def match(self, numbers: Iterable[int]) -> None:
        """Count one person, of whom `numbers` are the rules whose conditions hold."""
        self._numbers.update(numbers)

    def add(self, standing: Standing) -> None:
        """Take note of what one person has."""
        known = self._standings.get(id(standing))
        if known is not None:
            known[1] += 1
            return
        self._standings[id(standing)] = [standing, 1]  # kept, so that the number is given to no other
        self.deciding.update([given.rule for given in standing.grants])
        self.deciding.update([rule for _, rule in standing.denied])
        self.matched.update(standing.rules)

    def unsettled(self, numbers: Iterable[int], names: Sequence[str]) -> list[int]:
        """Those of the rules that are not known to decide for anybody: what is to be learnt from a person who has them."""
        found = []
        for number in numbers:
            if number not in self._alive:
                if names[number] in self.deciding:
                    self._alive.add(number)
                else:
                    found.append(number)
        return found

    def people(self, rules: Sequence[str]) -> dict[str, int]:
        """Rule -> how many people were counted for it; `rules`: all names, in the document's order."""
        return {name: self._numbers[number] for number, name in enumerate(rules)}

    def roles(self) -> dict[str, set[str]]:
        """Rule -> ARNs of the roles that somebody has by it, whether it decides or another does."""
        found: dict[str, set[str]] = {}
        for standing, _ in self._standings.values():
            for given in standing.grants:
                for name in given.rules:
                    found.setdefault(name, set()).add(given.role_arn)
        return found

    def people_of_standings(self) -> Counter[str]:
        """Rule -> how many people its conditions hold for, of those whose standings were added."""
        found: Counter[str] = Counter()
        for standing, count in self._standings.values():
            for name in standing.rules:
                found[name] += count
        return found


def findings_of(
    mapping: CompiledMapping, tally: Tally | None, now: datetime, catalogue: Catalogue
) -> tuple[Finding, ...]:
    """Every finding, in the document's order; of each rule the most telling one, and what it names that is not there.

    Without a tally only those that no people are needed for.
    """
    return tuple(finding for found in _findings(mapping, tally, now, catalogue) for finding in found)


def _findings(
    mapping: CompiledMapping, tally: Tally | None, now: datetime, catalogue: Catalogue
) -> Iterator[list[Finding]]:
    rules = [compiled.rule.name for compiled in mapping.rules]
    names, people = _Names(catalogue), {} if tally is None else tally.people(rules)
    for compiled in mapping.rules:
        rule = compiled.rule
        found = [
            Finding(rule.name, rule.line, code, about) for code, about in _nowhere(compiled, mapping, catalogue, names)
        ]
        code: FindingCode | None = None
        if rule.when.until is not None and now >= rule.when.until:
            code = "over"
        elif rule.when.from_ is not None and now < rule.when.from_:
            code = "not_yet"
        elif tally is not None and not people[rule.name]:
            code = "matches_nobody"
        elif tally is not None and rule.name not in tally.deciding and not found:
            code = "takes_nothing" if compiled.denies else "shadowed"
        if code is not None:
            found.insert(0, Finding(rule.name, rule.line, code))
        yield found


def _nowhere(
    compiled: CompiledRule, mapping: CompiledMapping, catalogue: Catalogue, names: _Names
) -> Iterator[tuple[FindingCode, tuple[str, ...]]]:
    """What a rule names that is not there. Where an account's roles have not been read, a name is taken on trust."""
    target = compiled.target
    if target.selector is not None and not target.accounts:
        yield "no_account", ()
        return
    if compiled.denies:
        return  # a deny of what is not there yet is a guard, not a mistake
    roles = compiled.rule.allow.roles if compiled.rule.allow is not None else ()
    missing = tuple(role for role in roles if names.lacks(role, target))
    if missing:
        yield "no_role", missing
    unknown: dict[FindingCode, list[str]] = {}
    for text in target.literals:
        place = mapping.resolve(text, catalogue)
        if isinstance(place, Unresolved):
            unknown.setdefault("role_unknown" if place.code == "role_unknown" else "account_unknown", []).append(text)
    for code, arns in unknown.items():
        yield code, tuple(arns)


class _Names:
    """The role names of each account that has been read, without and with their paths."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[str, frozenset[str]] = {}

    def lacks(self, role: str, target: CompiledTarget) -> bool:
        """True if every account that the target chooses has been read, and none has the role."""
        if not target.accounts or any(account_id not in self._catalogue for account_id in target.accounts):
            return False
        if is_glob(role):
            return not any(glob_matches(role, name) for account_id in target.accounts for name in self._of(account_id))
        return not any(role in self._of(account_id) for account_id in target.accounts)

    def _of(self, account_id: str) -> frozenset[str]:
        known = self._known.get(account_id)
        if known is None:
            arns = [arn for text in self._catalogue[account_id] if (arn := parse_role_arn(text)) is not None]
            known = frozenset([*(arn.name for arn in arns), *(arn.qualified for arn in arns)])
            self._known[account_id] = known
        return known
