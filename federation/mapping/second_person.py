"""When publishing a revision takes a second person, and which parts of the document only an owner may change. Pure.

Judged on the rules themselves as well as on today's people: a rule for a group that is empty today, or that counts from
tomorrow on, must not slip past because nobody gains by it now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

from federation.identity import Identity
from federation.mapping.company import Company
from federation.mapping.engine import CompiledMapping, CompiledRule, compile_mapping
from federation.mapping.impact import Impact, Option, option_changes
from federation.mapping.rules import Catalogue, Document, Rule, When, is_production

SecondPersonCode = Literal["self", "production", "unmarked", "people", "staff", "sign_in", "delegations"]

OWNERS_ONLY: Final = frozenset({"staff", "identity_providers", "directories"})
"""Sections that say who rules here and who is who: whoever may change them can become anybody."""
_OPENING: Final = frozenset({"longer", "console_longer", "policy_lifted", "policy_changed", "tags_changed"})

SENTENCES: Final[Mapping[SecondPersonCode, str]] = MappingProxyType(
    {
        "self": "The author gains by it.",
        "production": "It changes what is given in production.",
        "unmarked": "Accounts are no longer marked as production.",
        "people": "It affects many people.",
        "staff": "It changes who may do what in the gateway itself.",
        "sign_in": "It changes how people sign in, or where their groups come from.",
        "delegations": "It changes what the owners of accounts may give by themselves.",
    }
)


@dataclass(frozen=True, slots=True)
class Draftsman:
    """Whoever wrote the new text: their key among the people of the impact, and their identity, None if it is not known."""

    key: str
    identity: Identity | None


def needs_second_person(
    before: CompiledMapping,
    after: CompiledMapping,
    impact: Impact,
    author: Draftsman | None,
    *,
    now: datetime,
    most_people: int,
    catalogue: Catalogue,
) -> tuple[SecondPersonCode, ...]:
    """Why a second person must publish; () where the author may. `most_people`: how many may be affected without one."""
    found: list[SecondPersonCode] = []
    if author is not None:
        known = author.identity
        of = None if known is None else _Author(replace(known, directory_stale=False), now, catalogue)
        if _gains(before, after, impact, author.key, of):
            found.append("self")
    if impact.production or _reaches_production(before, after):
        found.append("production")
    if impact.unmarked:
        found.append("unmarked")
    if impact.counts["people_affected"] > most_people:
        found.append("people")
    if "staff" in impact.sections or impact.rights:
        found.append("staff")
    if not {"identity_providers", "directories"}.isdisjoint(impact.sections):
        found.append("sign_in")
    if "delegations" in impact.sections:
        found.append("delegations")
    return tuple(found)


def _reaches_production(before: CompiledMapping, after: CompiledMapping) -> bool:
    """Whether a rule gives in a production account what it did not, or a deny leaves one, whomever it concerns today."""
    production = {a.id for mapping in (before, after) for a in mapping.document.accounts if is_production(a)}
    old = {compiled.rule.name: compiled for compiled in before.rules}
    new = {compiled.rule.name: compiled for compiled in after.rules}
    for wide, narrow, denies in ((new, old, False), (old, new, True)):
        for name, compiled in wide.items():
            if compiled.denies is not denies:
                continue
            other = narrow.get(name)
            alike = other is not None and _gives_no_more(other.rule, compiled.rule)
            left = _accounts(compiled) & production
            if left and (not alike or not left <= _accounts(other)):
                return True
    return False


def _gives_no_more(one: Rule, other: Rule) -> bool:
    """Whether the second rule is the first one, or the same with nothing but its sessions and its approval made narrower."""
    if one == other:
        return True
    if replace(other, session=one.session, approval=one.approval) != one:
        return False
    # Another circle of approvers may be a wider one.
    return one.approval in {None, other.approval} and not _opens(one, other)


def _accounts(compiled: CompiledRule | None) -> frozenset[str]:
    return compiled.target.accounts if compiled is not None else frozenset()


@dataclass(frozen=True, slots=True)
class _Author:
    """The author at a moment: what they would have under other rules, were it for their groups alone."""

    identity: Identity
    now: datetime
    catalogue: Catalogue

    def given(self, mapping: CompiledMapping, rules: Iterable[Rule]) -> dict[str, Rule]:
        """Role ARN -> the one of these rules that gives it."""
        relaxed = {rule.name: _by_groups_alone(rule) for rule in rules if rule.allow is not None}
        if not relaxed:
            return {}
        compiled = compile_mapping(Document(accounts=mapping.document.accounts, rules=tuple(relaxed.values())))
        known = {account_id: roles for account_id, roles in self.catalogue.items() if account_id in compiled.accounts}
        standing = Company(compiled, self.now, known).standing(self.identity)
        return {given.role_arn: relaxed[given.rule] for given in standing.grants}

    def is_matched(self, mapping: CompiledMapping, rules: Iterable[Rule]) -> bool:
        """Whether the conditions of one of these rules hold, or may hold."""
        relaxed = tuple(_by_groups_alone(rule) for rule in rules)
        document = Document(accounts=mapping.document.accounts, rules=relaxed)
        return bool(relaxed and compile_mapping(document).matching_rules(self.identity, self.now))

    def holds_now(self, mapping: CompiledMapping) -> set[str]:
        """ARNs of the roles that the author has without asking anybody."""
        known = {account_id: roles for account_id, roles in self.catalogue.items() if account_id in mapping.accounts}
        standing = Company(mapping, self.now, known).standing(self.identity)
        return {given.role_arn for given in standing.grants if not given.needs_approval}


def _gains(before: CompiledMapping, after: CompiledMapping, impact: Impact, key: str, author: _Author | None) -> bool:
    """Whether the author may do more: today, or as soon as a second factor was used or a time has come."""
    if any(change.widens for change in impact.of(key)):
        return True
    if any(change.person.key == key and change.gained for change in impact.rights):
        return True
    if author is None:
        return False
    old, new = ({rule.name: rule for rule in mapping.document.rules} for mapping in (before, after))
    different = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    opened = author.given(after, (new[name] for name in different if name in new))
    if opened:
        had = author.given(before, (old[name] for name in different if name in old))
        holding = author.holds_now(before)
        for arn, rule in opened.items():
            earlier = had.get(arn)
            if _opens(earlier, rule) if earlier is not None else arn not in holding:
                return True
    # A deny that is changed or gone, and that may have held the author back: what it kept closed cannot be listed.
    guards = [old[name] for name in different if name in old and old[name].deny is not None]
    return author.is_matched(before, guards)


def _opens(one: Rule, other: Rule) -> bool:
    if one.approval is not None and other.approval is None:
        return True
    found: tuple[Option, ...] = option_changes(one.session, other.session, None)
    return any(option.code in _OPENING for option in found)


def _by_groups_alone(rule: Rule) -> Rule:
    when = rule.when
    return replace(rule, when=When(groups=when.groups, all_of=when.all_of, none_of=when.none_of))
