"""The whole company, read a few hundred people at a time: for lists, reports and previews, never for a mint.

`everybody` with `mapping.company.standings` says who has what, on today's mapping or on another one:

    mapping = current.mapping()
    members = [member for member in everybody(mapping, now=now) if member.identity]
    grants = grants_of_everyone(mapping.compiled, (member.identity for member in members), now, reachable)

`models.catalogue.reachable` is the reader of the catalogue: it is asked once, for what the rules of that mapping can reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings

from federation.errors import RolegateError
from federation.flows.access import fresh_identities
from federation.identity import Identity
from federation.models import current
from federation.models.people import Person

AT_ONCE: Final = 500  # people; with 200 groups each some 10 MB


@dataclass(frozen=True, slots=True)
class Member:
    """A person, and what the mapping would be asked about them: the claims of their last sign-in and the directory's latest
    word. `identity` None: nothing can be decided, and `stopped_by` is the error's code (person_disabled, not_in_directory,
    groups_incomplete, unknown_provider, claims_too_old of somebody without any). `needs_sign_in`: their claims are too old
    to mint on, so that they must sign in again first; what they then get is most likely what these claims give.
    """

    person: Person
    identity: Identity | None
    stopped_by: str
    needs_sign_in: bool


def everybody(mapping: current.CurrentMapping, *, now: datetime, at_once: int = AT_ONCE) -> Iterator[Member]:
    """Everybody who has ever signed in, by id. At most `at_once` in memory; two or three statements for so many."""
    last: UUID | None = None
    while True:
        rows = Person.objects.order_by("pk") if last is None else Person.objects.filter(pk__gt=last).order_by("pk")
        people = list(rows[:at_once])
        yield from members(people, mapping, now=now)
        if len(people) < at_once:
            return
        last = people[-1].pk


def members(people: list[Person], mapping: current.CurrentMapping, *, now: datetime) -> Iterator[Member]:
    """These people, in their order. One statement for each directory."""
    for person, found in zip(people, fresh_identities(people, mapping, now=now, any_age=True), strict=True):
        if isinstance(found, RolegateError):
            yield Member(person, None, found.code, needs_sign_in=False)
        else:
            yield Member(person, found, "", must_sign_in(person, now))


def must_sign_in(person: Person, now: datetime) -> bool:
    """Whether a person's claims are too old to mint on."""
    old = person.claims_at is None or now - person.claims_at > settings.ROLEGATE_CLAIMS_MAX_AGE
    return old or (person.claims_expire_at is not None and person.claims_expire_at <= now)
