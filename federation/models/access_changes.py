"""Notes of what may have changed somebody's access: written where it happens, read by whoever keeps something derived.

One small row in the transaction of the change, and nothing more: a sign-in or a push must not wait for what hangs on it.
Rows are only ever added, so that a change during a refresh is a new row and is not lost; the refresh deletes those that it
has read. What has a version of its own (the mapping, the catalogue) needs no note.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import models

from federation.models import compiled


class AccessChange(models.Model):
    """Something happened to these people. `keys`, by `kind`:

    person: ids of Person. subject: an identity provider's slug, then subjects of its people. member: ids of DirectoryUser.
    provider: slugs, of whose people every one may be concerned. everybody: none.
    """

    class About(models.TextChoices):
        """What `keys` are."""

        PERSON = "person"
        SUBJECT = "subject"
        MEMBER = "member"
        PROVIDER = "provider"
        EVERYBODY = "everybody"

    kind = models.CharField(max_length=10, choices=About.choices)
    keys: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    at = models.DateTimeField()

    objects: ClassVar[models.Manager[AccessChange]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.kind} of {len(self.keys)}"


def _note(kind: AccessChange.About, keys: Iterable[Any], at: datetime) -> None:
    found = [str(key) for key in keys]
    if found or kind is AccessChange.About.EVERYBODY:
        sql = f"INSERT INTO {compiled.table(AccessChange)} (kind, keys, at) VALUES (%s, %s, %s)"  # noqa: S608  ours
        compiled.execute(sql, compiled.adapt(AccessChange, kind=kind.value, keys=found, at=at))


def note_people(person_ids: Iterable[UUID], *, at: datetime) -> None:
    """The claims, or the state, of these people have changed. One statement, none for nobody."""
    _note(AccessChange.About.PERSON, person_ids, at)


def note_person_if(condition: compiled.Statement, person_id: UUID, *, at: datetime) -> compiled.Statement:
    """The statement of `note_people` for one person, which notes only where `condition` (SQL of a truth value) holds."""
    return compiled.insert_if(
        condition, AccessChange, kind=AccessChange.About.PERSON.value, keys=[str(person_id)], at=at
    )


def note_subjects(provider: str, subjects: Iterable[str], *, at: datetime) -> None:
    """A directory says something new of whoever signs in at `provider` by one of these names. One statement, none for nobody."""
    named = sorted({subject for subject in subjects if subject})
    if named:
        _note(AccessChange.About.SUBJECT, [provider, *named], at)


def note_members(user_ids: Iterable[Any], *, at: datetime) -> None:
    """These people of a directory (ids of DirectoryUser) have come into a group, or left one. One statement, none for nobody."""
    _note(AccessChange.About.MEMBER, user_ids, at)


def note_providers(slugs: Iterable[str], *, at: datetime) -> None:
    """All people of these identity providers may be concerned: a group was renamed, or put into another. One statement."""
    _note(AccessChange.About.PROVIDER, slugs, at)


def note_everybody(*, at: datetime) -> None:
    """Everything is to be worked out anew. One statement."""
    _note(AccessChange.About.EVERYBODY, (), at)
