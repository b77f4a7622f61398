"""What the word of a directory means for a person, whether it is pushed or read: access that ends, and what the audit log says.

Apart from `push_directory`, so that a worker which reads directories does not load the models of SCIM, half of its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from federation.audit.events import Kind, Origin
from federation.audit.record import record, record_or_log
from federation.flows import latest_word, revoke
from federation.flows.latest_word import subject_column
from federation.mapping.rules import Directory
from federation.models.directory import DirectoryUser
from federation.models.people import Person, called_in_any_case


@dataclass(frozen=True, slots=True)
class Channel:
    """Through which a directory speaks: which one, by which token, at which address."""

    directory: Directory
    actor: str
    base_url: str
    origin: Origin
    now: datetime


# Attack: whoever is called so next would have their groups in the browser of the one who was called so before.
RENAMED: Final = "goes by another name in"
# Attack: whoever was called so until now, a guest whom no directory lists, would have the groups of the one who is called so now.
ANOTHERS: Final = "is another's name now in"


def end_access(channel: Channel, rows: Iterable[DirectoryUser], why: str) -> None:
    """End the sessions and command lines of whoever signs in as one of these: a person's row before and after the change."""
    subjects = {subject_of(channel, row) for row in rows} - {""}
    provider = channel.directory.provider
    people = list(Person.objects.filter(provider=provider, subject__in=subjects))
    if channel.directory.groups == "add" and why not in (RENAMED, ANOTHERS):
        # As `latest_word` refuses them: whoever it knows by another letter alone has left too.
        others = called_in_any_case(provider, subjects) - {person.pk for person in people}
        people += latest_word.inactive_among(channel.directory, list(Person.objects.filter(pk__in=others)))
    for person in people:
        revoke.revoke(
            person,
            disable=False,  # whether they may come back is the directory's to say, each time anew
            actor=channel.actor,
            why=f"{why} the directory {channel.directory.slug}",
            origin=channel.origin,
            now=channel.now,
            family_reason="renamed_in_directory" if why in (RENAMED, ANOTHERS) else "disabled_in_directory",
        )


def subject_of(channel: Channel, row: DirectoryUser) -> str:
    """What the identity provider calls them, "" where the directory does not say."""
    return str(getattr(row, subject_column(channel.directory)))


PersonChange = Literal["made", "changed", "disabled", "enabled", "deleted"]


def told_of_person(channel: Channel, row: DirectoryUser, change: PersonChange, attributes: Iterable[str]) -> None:
    """The audit event of a person's change."""
    # Taking access away must work with the audit storage full; giving it must not.
    write = record_or_log if change in ("disabled", "deleted") else record
    write(
        Kind.DIRECTORY_PERSON, actor=channel.actor, outcome="ok", origin=channel.origin, now=channel.now,
        directory=channel.directory.slug, change=change, user=str(row.pk), user_name=row.user_name, attributes=sorted(attributes),
    )  # fmt: skip
