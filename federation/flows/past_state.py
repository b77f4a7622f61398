"""Who was shut out at a past moment, by the gateway or by the directory: read off the audit log, for explaining. Never for a mint.

What came last before the moment counts; where nothing did, what came first after it tells what was before; where neither did,
it is as it is today.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from federation.audit.events import Kind
from federation.flows.latest_word import nestings_then, users_then
from federation.mapping.rules import Directory
from federation.models.audit import AuditEvent, text_in_data
from federation.models.directory import Nestings, UserThen
from federation.models.people import Person

Shut = Literal["", "person_disabled", "directory_inactive", "directory_deleted", "not_in_directory"]
_DISABLING, _ENABLING = frozenset({"disabled", "deleted"}), frozenset({"enabled"})


@dataclass(slots=True)
class PastState:
    """A past moment. Of one person it reads what the log says of them; of many, the log once, and each directory's groups
    within groups once.
    """

    at: datetime
    _disabled: dict[Hashable, bool] | None = None
    _inactive: dict[str, dict[Hashable, bool]] = field(default_factory=dict)
    _nestings: dict[str, Nestings] = field(default_factory=dict)
    _users: dict[str, tuple[frozenset[str], dict[str, list[UserThen]]]] = field(default_factory=dict)

    def shut(self, people: Sequence[Person], directories: Sequence[Directory | None]) -> list[Shut]:
        """For each person why nothing would have been minted for them then, whatever the mapping said; "" where something would.

        `directories`: each person's. One statement for each directory, besides what is read once.
        """
        disabled = self._told_of_people(people)
        rows: dict[str, dict[str, list[UserThen]]] = {}
        for known in {one.slug: one for one in directories if one is not None}.values():
            theirs = [person.subject for person, of in zip(people, directories, strict=True) if of is known]
            rows[known.slug] = self.users(known, theirs)
        users = {
            slug: [str(user.id) for found in of_directory.values() for user in found]
            for slug, of_directory in rows.items()
        }
        found: list[Shut] = []
        for person, directory in zip(people, directories, strict=True):
            if disabled.get(str(person.pk), not person.active):
                found.append("person_disabled")
            elif directory is None:
                found.append("")
            else:
                called_so = rows[directory.slug].get(person.subject, [])
                found.append(self._in_directory(called_so, directory, users[directory.slug]))
        return found

    def users(self, directory: Directory, subjects: Iterable[str]) -> dict[str, list[UserThen]]:
        """Whom the directory called so then, by subject: of those that are asked for, and maybe of more."""
        wanted = frozenset(subjects)
        asked, found = self._users.get(directory.slug, (frozenset[str](), {}))
        if not wanted <= asked:
            found = users_then(directory, wanted, self.at)
            self._users[directory.slug] = wanted, found
        return found

    def nestings(self, directory: Directory) -> Nestings:
        """Which groups were in which then."""
        if directory.slug not in self._nestings:
            self._nestings[directory.slug] = nestings_then(directory, self.at)
        return self._nestings[directory.slug]

    def _in_directory(self, rows: list[UserThen], directory: Directory, users: list[str]) -> Shut:
        rows = [user for user in rows if user.created_at <= self.at]
        there = [user for user in rows if user.deleted_at is None or user.deleted_at > self.at]
        if rows and not there:
            return "directory_deleted"
        if len(there) != 1:
            return "" if directory.groups == "add" and not there else "not_in_directory"
        (user,) = there
        inactive = self._told_of_users(directory, users)
        return "directory_inactive" if inactive.get(str(user.id), not user.active) else ""

    def _told_of_people(self, people: Sequence[Person]) -> dict[Hashable, bool]:
        """Whether somebody was disabled here, of those of whom the log tells."""
        if self._disabled is not None:
            return self._disabled
        events = AuditEvent.objects.filter(kind=Kind.REVOKED)
        if len(people) == 1:
            # As text, for which there is an index.
            events = events.alias(who=text_in_data("person")).filter(who=str(people[0].pk))
        told = []
        for at, data in events.order_by("seq").values_list("at", "data").iterator():
            if data.get("disabled"):
                told.append((at, data.get("person"), True))
            elif "sessions" not in data:  # let in again; everything else ends sessions and disables nobody
                told.append((at, data.get("person"), False))
        found = self._then(told)
        if len(people) > 1:
            self._disabled = found
        return found

    def _told_of_users(self, directory: Directory, users: list[str]) -> dict[Hashable, bool]:
        if directory.slug in self._inactive:
            return self._inactive[directory.slug]
        events = AuditEvent.objects.filter(kind=Kind.DIRECTORY_PERSON, data__directory=directory.slug)
        if len(users) == 1:
            events = events.alias(who=text_in_data("user")).filter(who=users[0])
        told = []
        for at, data in events.order_by("seq").values_list("at", "data").iterator():
            if data.get("change") in _DISABLING | _ENABLING:
                told.append((at, data.get("user"), data["change"] in _DISABLING))
        found = self._then(told)
        if len(users) > 1:
            self._inactive[directory.slug] = found
        return found

    def _then(self, told: Iterable[tuple[datetime, Hashable, bool]]) -> dict[Hashable, bool]:
        """By whom it is told of: whether they were shut out at the moment."""
        found = dict[Hashable, bool]()
        for at, who, closed in told:
            if at <= self.at:
                found[who] = closed
            else:
                found.setdefault(who, not closed)
        return found
