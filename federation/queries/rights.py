"""Who may do what in the gateway itself, and by which group: for the page of rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from federation.errors import RolegateError
from federation.flows import latest_word
from federation.flows.access import fresh_identities
from federation.identity import Identity
from federation.mapping.rules import Account, AccountSelector, StaffRole, StaffRule
from federation.models import current
from federation.models.people import Person

_AT_ONCE = 500  # people


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the document's `staff`. `accounts`: those of an account-owner, None where the right is not bound to any.

    `chosen_by`: an account-owner's selector in words. `provider`: slugs of those whose people count, none: of all.
    """

    number: int
    role: StaffRole
    groups: tuple[str, ...]
    provider: tuple[str, ...]
    accounts: tuple[Account, ...] | None
    chosen_by: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who has a right, by these of their groups. `closed_by`: the code that keeps them out for now, or ""."""

    person_id: UUID
    name: str
    email: str
    provider: str
    subject: str
    groups: tuple[str, ...]
    claims_at: datetime | None
    closed_by: str


def entries() -> list[Entry]:
    """The entries of `staff` in force, in the document's order, numbered from 0."""
    compiled = current.mapping().compiled
    return [
        Entry(
            number, entry.role, tuple(str(match) for match in entry.groups), entry.provider,
            None if entry.accounts is None else compiled.accounts_of(entry.accounts), _words(entry.accounts),
        )
        for number, entry in enumerate(compiled.document.staff)
    ]  # fmt: skip


def holders(number: int, *, now: datetime) -> list[Holder]:
    """Everybody who is in a group of this entry, by name. Reads all people, a few hundred at a time. IndexError for no such entry."""
    mapping = current.mapping()
    entry = mapping.compiled.document.staff[number]
    everybody = Person.objects.order_by("name", "provider", "subject").iterator(chunk_size=_AT_ONCE)
    found: list[Holder] = []
    while people := list(islice(everybody, _AT_ONCE)):
        found += _holders_among(people, entry, mapping, now)
    return found


def _holders_among(
    people: Sequence[Person], entry: StaffRule, mapping: current.CurrentMapping, now: datetime
) -> list[Holder]:
    known = latest_word.identities_of(people, mapping, now=now)
    held = [
        (person, identity)
        for person, identity in zip(people, known, strict=True)
        if isinstance(identity, Identity) and mapping.compiled.has_right(identity, entry)
    ]
    fresh = fresh_identities([person for person, _ in held], mapping, now=now)
    return [
        Holder(
            person.pk, person.name, person.email, person.provider, person.subject, _because(identity, entry, mapping),
            person.claims_at, word.code if isinstance(word, RolegateError) else "",
        )
        for (person, identity), word in zip(held, fresh, strict=True)
    ]  # fmt: skip


def _because(identity: Identity, entry: StaffRule, mapping: current.CurrentMapping) -> tuple[str, ...]:
    """Those of the identity's groups that the entry names."""
    return tuple(sorted(mapping.compiled.groups_named(identity, entry.groups)))


def _words(selector: AccountSelector | None) -> str:
    if selector is None:
        return ""
    parts = [*selector.ids, *selector.names, *selector.organizational_units]
    parts += [f"{key}={' or '.join(values)}" for key, values in selector.tags.items()]
    return ", ".join(parts)
