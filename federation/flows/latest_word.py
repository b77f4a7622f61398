"""The directory's latest word about people: still there, still active, and in which groups now.

Claims tell of the moment of a sign-in; where a provider has a directory, what it says since counts. Every decision asks
here: minting one person at a time (one statement), reports many at once (one statement for each directory).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from federation.errors import NotInDirectory, PersonDisabled, RolegateError
from federation.identity import Identity
from federation.mapping.rules import Directory
from federation.models import current
from federation.models.directory import (
    GROUP_COLUMNS,
    SUBJECT_COLUMNS,
    Entry,
    Nestings,
    UserThen,
    gone_in_any_case,
    groups_at,
    look_up,
    nestings_at,
    users_at,
)
from federation.models.people import Person


def identity_of(person: Person, mapping: current.CurrentMapping, *, now: datetime) -> Identity:
    """The person's identity with the directory's word instead of, or besides, the claims'. No statement without a directory.

    Raises PersonDisabled (directory_inactive, directory_deleted), NotInDirectory (not_in_directory, directory_ambiguous).
    """
    identity = current.identity_of(person)
    directory = mapping.directory_of(person.provider)
    return identity if directory is None else _told(identity, directory, _ask(directory, [person])[person.subject], now)


def refuse_inactive(person: Person, mapping: current.CurrentMapping) -> None:
    """Raise PersonDisabled if the directory says that the person has left: for a sign-in, which needs no groups."""
    directory = mapping.directory_of(person.provider)
    if directory is not None:
        _refuse_inactive(_ask(directory, [person])[person.subject])


def identities_of(
    people: Sequence[Person], mapping: current.CurrentMapping, *, now: datetime
) -> list[Identity | RolegateError]:
    """For each person what `identity_of` returns, or the error that it raises. One statement for each directory."""
    entries: dict[str, dict[str, Entry]] = {}
    for directory in mapping.document.directories:
        theirs = [person for person in people if person.provider == directory.provider]
        if theirs:
            entries[directory.provider] = _ask(directory, theirs)
    found: list[Identity | RolegateError] = []
    for person in people:
        identity = current.identity_of(person)
        theirs_now = mapping.directory_of(person.provider)
        if theirs_now is None:
            found.append(identity)
            continue
        try:
            found.append(_told(identity, theirs_now, entries[person.provider][person.subject], now))
        except RolegateError as error:
            found.append(error)
    return found


def users_then(directory: Directory, subjects: Iterable[str], at: datetime) -> dict[str, list[UserThen]]:
    """By subject, whom the directory called so at a past moment. One statement."""
    return users_at(directory.slug, subjects, at, subject_column=subject_column(directory))


def groups_then(
    directory: Directory, users: Mapping[str, Iterable[UserThen]], at: datetime, nestings: Nestings
) -> dict[str, frozenset[str]]:
    """By subject, the groups that the directory had at a past moment. `users`: `users_then`; `nestings`: `nestings_then`.

    Two statements.
    """
    return groups_at(users, at, group_column=group_column(directory), nestings=nestings)


def told_then(identity: Identity, directory: Directory, groups: frozenset[str]) -> Identity:
    """The identity with the groups that the directory had at a past moment, for explaining."""
    if directory.groups == "add":
        return replace(identity, groups=identity.groups | groups)
    return replace(identity, groups=groups, groups_complete=True)


def nestings_then(directory: Directory, at: datetime) -> Nestings:
    """Which of the directory's groups were in which at a past moment."""
    return nestings_at(directory.slug, at, group_column=group_column(directory))


def unknown_groups(person: Person) -> Identity:
    """The identity of somebody of whom the directory says nothing: unknown is not none."""
    return replace(current.identity_of(person), groups=frozenset(), groups_complete=False)


def subject_column(directory: Directory) -> str:
    """The column of DirectoryUser that equals the provider's name for a person."""
    return SUBJECT_COLUMNS[directory.subject if directory.scim else ""]


def group_column(directory: Directory) -> str:
    """The column of DirectoryGroup that rules know a group by."""
    return GROUP_COLUMNS[directory.scim.group_name if directory.scim else "displayName"]


def inactive_among(directory: Directory, people: Sequence[Person]) -> list[Person]:
    """Those of these people of its provider whom the directory now calls inactive, or has deleted. One or two statements."""
    entries = _ask(directory, people)
    return [one for one in people if (found := entries[one.subject]).deleted or (found.known == 1 and not found.active)]


def _ask(directory: Directory, people: Iterable[Person]) -> dict[str, Entry]:
    column = subject_column(directory)
    entries = look_up(
        directory.slug,
        [person.subject for person in people],
        subject_column=column,
        group_column=group_column(directory),
    )
    if directory.groups == "add":
        # Whom it does not know has the claims' groups. So its word that somebody has left must not miss them for a capital letter.
        unknown = [subject for subject, entry in entries.items() if not (entry.known or entry.deleted)]
        for subject, gone in gone_in_any_case(directory.slug, unknown, subject_column=column).items():
            entries[subject] = replace(gone, contact=entries[subject].contact)
    return entries


def _refuse_inactive(entry: Entry) -> None:
    if entry.deleted:
        raise PersonDisabled("directory_deleted")
    if entry.known == 1 and not entry.active:
        raise PersonDisabled("directory_inactive")


def _told(identity: Identity, directory: Directory, entry: Entry, now: datetime) -> Identity:
    _refuse_inactive(entry)
    if entry.known > 1:
        # The attribute that is to name one person names several: whose groups these are nobody can say.
        raise NotInDirectory("directory_ambiguous", detail=f"{directory.slug}: {entry.known} people")
    stale = _is_stale(directory, entry.contact, now)
    if directory.groups == "add":
        # What the provider left out stays unknown: the directory does not speak for the claims' groups.
        return replace(identity, groups=identity.groups | entry.groups, directory_stale=stale)
    if not entry.known:
        raise NotInDirectory("not_in_directory", detail=directory.slug)
    return replace(identity, groups=entry.groups, groups_complete=True, directory_stale=stale)


def _is_stale(directory: Directory, contact: datetime | None, now: datetime) -> bool:
    if directory.stale_after is None:
        return False
    return contact is None or now - contact > timedelta(seconds=directory.stale_after)
