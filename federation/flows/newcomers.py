"""People whom a directory lists and who have never signed in: what previews and reports take them for. Never for a mint.

Nothing is proved of them but what the directory says. They are taken to come with a second factor, so that a preview does not
hide what they would gain; of their attributes nothing is known, so a rule that asks for one does not count for them. They are
rows of no table.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final
from uuid import UUID

from federation.flows.latest_word import subject_column
from federation.mapping.rules import Directory
from federation.models.directory import DirectoryUser
from federation.models.people import Person

AT_ONCE: Final = 500  # people


def newcomer(directory: Directory, subject: str, name: str, email: str, *, now: datetime) -> Person:
    """The person as they would be after a first sign-in, as far as that is known. Never to be saved.

    Their groups are not known until the directory is asked (`flows.latest_word`), and not at all where claims count besides.
    """
    return Person(
        provider=directory.provider, subject=subject, session_name=session_name(directory, subject), name=name or subject,
        email=email, groups=[], groups_complete=False, mfa=True, claims_at=now, authenticated_at=now,
    )  # fmt: skip


def session_name(directory: Directory, subject: str) -> str:
    """Attack: one who is listed under the session name of another is not to be taken for them. No such name has a slash."""
    return f"{directory.slug}/{subject}"


def is_newcomer(actor: str) -> bool:
    """Whether `Person.actor` is that of one of these: see `session_name`."""
    return "/" in actor.partition(":")[2]


def newcomers(directory: Directory, *, now: datetime) -> Iterator[list[Person]]:
    """Everybody whom the directory lists as active and who has never signed in, at most AT_ONCE at a time, by id.

    Two statements for so many.
    """
    column = subject_column(directory)
    rows = DirectoryUser.objects.filter(directory=directory.slug, active=True, deleted_at=None).order_by("pk")
    last: UUID | None = None
    while True:
        after = rows if last is None else rows.filter(pk__gt=last)
        found = list(after.values_list("pk", column, "user_name", "name", "email")[:AT_ONCE])
        if not found:
            return
        last = found[-1][0]
        listed = {str(subject): (name or user_name, email) for _, subject, user_name, name, email in found if subject}
        known = Person.objects.filter(provider=directory.provider, subject__in=listed).values_list("subject", flat=True)
        people = [
            newcomer(directory, subject, *listed[subject], now=now) for subject in sorted(listed.keys() - set(known))
        ]
        if people:
            yield people
