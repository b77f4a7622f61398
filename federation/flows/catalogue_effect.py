"""What an answer of AWS that waits for a person would mean: how many people lose which roles if these are gone.

Read off the entitlements, which lists show; minting never looks here. In the form of `directory_effect.effect_of`. Roles that
come with the same answer are not looked at: who would get them is the mapping's to say once they are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from federation.models.entitlements import Entitlement

_MOST_ROLES: Final = 100
_NAMED: Final = 10  # people, of one role
_AT_ONCE: Final = 500  # roles or accounts, in one statement


def effect_of_roles(arns: Iterable[str]) -> dict[str, Any]:
    """What it means that these roles are gone. One statement for 500 of them."""
    return _effect("given__role_arn__in", arns)


def effect_of_accounts(account_ids: Iterable[str]) -> dict[str, Any]:
    """What it means that these accounts are gone, with all of their roles. One statement for 500 of them."""
    return _effect("given__account_id__in", account_ids)


def _effect(among: str, values: Iterable[str]) -> dict[str, Any]:
    wanted = sorted(values)
    found = _Found()
    for begin in range(0, len(wanted), _AT_ONCE):
        found.read(**{among: wanted[begin : begin + _AT_ONCE]})
    return found.as_effect()


class _Found:
    """People by role, a few names of each."""

    def __init__(self) -> None:
        self._people = set[UUID]()
        self._counts = dict[str, int]()
        self._named = dict[str, list[str]]()

    def read(self, **which: Any) -> None:
        rows = Entitlement.objects.filter(**which).order_by("person__name", "person_id")
        for person, arn, name, subject in rows.values_list(
            "person_id", "given__role_arn", "person__name", "person__subject"
        ).iterator():
            self._people.add(person)
            self._counts[arn] = self._counts.get(arn, 0) + 1
            named = self._named.setdefault(arn, [])
            if len(named) < _NAMED:
                named.append(name or subject)

    def as_effect(self) -> dict[str, Any]:
        most = sorted(self._counts, key=lambda arn: (-self._counts[arn], arn))[:_MOST_ROLES]
        return {
            "people": len(self._people),
            "roles_lost": len(self._counts),
            "lost": [{"role": arn, "people": self._counts[arn], "who": self._named[arn]} for arn in most],
            "roles_gained": 0,
            "gained": [],
            "never_signed_in": 0,
        }
