"""What an answer of AWS that waits for a person would mean: how many people lose which roles, and who would gain one.

In the form of `directory_effect.effect_of`; minting never looks here. What is gone is read off the entitlements, which lists
show. Accounts that are listed otherwise (another tag, another unit) can give as well as take, as a deny may have chosen them by
it: that is worked out on today's people. Roles that come with the same answer are not looked at: who would get them is the
mapping's to say once they are there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime
from typing import Any, Final

from federation.flows.assess_mapping import everybody
from federation.flows.newcomers import is_newcomer
from federation.mapping.company import Company
from federation.mapping.delegated import RULE_OF_TAGS
from federation.mapping.impact import both_reach
from federation.models import current
from federation.models.accounts import OrganizationAccount
from federation.models.catalogue import reachable
from federation.models.entitlements import Entitlement, EntitlementState

_MOST_ROLES: Final = 100
_NAMED: Final = 10  # people, of one role
_AT_ONCE: Final = 500  # roles or accounts, in one statement


def effect_of_roles(arns: Iterable[str]) -> dict[str, Any]:
    """What it means that these roles are gone; {} before entitlements were worked out at all. One statement for 500 of them."""
    return _effect("given__role_arn__in", arns)


def effect_of_tags(arns: Iterable[str]) -> dict[str, Any]:
    """What it means that these roles have lost their own tags: who has them by these alone, as `effect_of_roles`."""
    return _effect("given__role_arn__in", arns, given__rule__startswith=RULE_OF_TAGS)


def effect_of_accounts(account_ids: Iterable[str]) -> dict[str, Any]:
    """What it means that these accounts are gone, with all of their roles, as `effect_of_roles`. One statement for 500 of them."""
    return _effect("given__account_id__in", account_ids)


def effect_of_listing(listed: Iterable[OrganizationAccount], *, now: datetime) -> dict[str, Any]:
    """What it means that the organization lists these accounts, as they are here."""
    before, after = current.mapping(), current.in_force_with(listed)
    catalogue = reachable(both_reach(before.compiled, after.compiled))
    companies = (Company(before.compiled, now, catalogue), Company(after.compiled, now, catalogue))
    lost, gained, never_signed_in = _Found(), _Found(), 0
    for person in everybody(before, after, now=now):
        had, has = (
            {given.role_arn for given in company.standing(one).grants} if one is not None else set[str]()
            for company, one in zip(companies, (person.before, person.after), strict=True)
        )
        for arn in had - has:
            lost.note(person.key, arn, person.label)
        for arn in has - had:
            gained.note(person.key, arn, person.label)
        never_signed_in += had != has and is_newcomer(person.key)
    return _as_effect(lost, gained, never_signed_in)


def _effect(among: str, values: Iterable[str], **more: str) -> dict[str, Any]:
    if not EntitlementState.objects.exists():
        return {}  # not nobody: nobody knows
    wanted = sorted(values)
    found = _Found()
    for begin in range(0, len(wanted), _AT_ONCE):
        rows = Entitlement.objects.filter(**{among: wanted[begin : begin + _AT_ONCE]}, **more)
        for person, arn, name, subject in (
            rows.order_by("person__name", "person_id")
            .values_list("person_id", "given__role_arn", "person__name", "person__subject")
            .iterator()
        ):
            found.note(person, arn, name or subject)
    return _as_effect(found, _Found(), 0)


class _Found:
    """People by role, a few names of each."""

    def __init__(self) -> None:
        self.people = set[Hashable]()
        self._counts = dict[str, int]()
        self._named = dict[str, list[str]]()

    def note(self, person: Hashable, arn: str, label: str) -> None:
        self.people.add(person)
        self._counts[arn] = self._counts.get(arn, 0) + 1
        named = self._named.setdefault(arn, [])
        if len(named) < _NAMED:
            named.append(label)

    def roles(self) -> int:
        return len(self._counts)

    def listed(self) -> list[dict[str, Any]]:
        most = sorted(self._counts, key=lambda arn: (-self._counts[arn], arn))[:_MOST_ROLES]
        return [{"role": arn, "people": self._counts[arn], "who": self._named[arn]} for arn in most]


def _as_effect(lost: _Found, gained: _Found, never_signed_in: int) -> dict[str, Any]:
    return {
        "people": len(lost.people),
        "roles_lost": lost.roles(),
        "lost": lost.listed(),
        "roles_gained": gained.roles(),
        "gained": gained.listed(),
        "never_signed_in": never_signed_in,
    }
