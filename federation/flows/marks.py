"""Favourites and what was used last: for the order of a person's own list. A preference, so no event tells of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from federation.models import compiled
from federation.models.marks import RoleMark
from federation.models.people import Person

MOST_FAVOURITES = 200
_of_person = compiled.Latest(RoleMark, "person_id", by="used_at", most=MOST_FAVOURITES * 2)


def marks_of(person_id: UUID) -> list[RoleMark]:
    """What the person has marked, the latest use first. One statement."""
    return _of_person(person_id)


def favourite(person: Person, role_arn: str, *, wanted: bool, now: datetime) -> None:
    """Make a role a favourite, or not. Beyond two hundred nothing is added: a list of favourites is short."""
    marks = RoleMark.objects.filter(person=person)
    if not wanted:
        marks.filter(role_arn=role_arn).update(favourite_at=None)
    elif marks.exclude(favourite_at=None).count() < MOST_FAVOURITES:
        RoleMark.objects.update_or_create(person=person, role_arn=role_arn, defaults={"favourite_at": now})


def used(person: Person, role_arn: str, *, destination: str | None, now: datetime) -> None:
    """Remember a use, and the page of the console that it went to (None: not by the console)."""
    page = {} if destination is None else {"destination": destination[:2048]}
    RoleMark.objects.update_or_create(person=person, role_arn=role_arn, defaults={"used_at": now, **page})
