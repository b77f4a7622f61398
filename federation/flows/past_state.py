"""Who was shut out at a past moment, by the gateway or by the directory: read off the audit log, for explaining. Never for a mint.

What came last before the moment counts; where nothing did, what came first after it tells what was before; where neither did,
it is as it is today.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from federation.audit.events import Kind
from federation.flows.latest_word import nestings_then, subject_column
from federation.mapping.rules import Directory
from federation.models.audit import AuditEvent
from federation.models.directory import DirectoryUser, Nestings
from federation.models.people import Person

Shut = Literal["", "person_disabled", "directory_inactive", "directory_deleted", "not_in_directory"]
_DISABLING, _ENABLING = frozenset({"disabled", "deleted"}), frozenset({"enabled"})


@dataclass(slots=True)
class PastState:
    """A past moment. Asked of many people it reads the log once, and each directory's groups within groups once."""

    at: datetime
    _disabled: dict[Hashable, bool] | None = None
    _inactive: dict[str, dict[Hashable, bool]] = field(default_factory=dict)
    _nestings: dict[str, Nestings] = field(default_factory=dict)

    def shut(self, person: Person, directory: Directory | None) -> Shut:
        """Why nothing would have been minted for this person then, whatever the mapping said; "" where something would."""
        if self._disabled is None:
            self._disabled = self._told_of_people()
        if self._disabled.get(str(person.pk), not person.active):
            return "person_disabled"
        return self._in_directory(person, directory) if directory is not None else ""

    def nestings(self, directory: Directory) -> Nestings:
        """Which groups were in which then."""
        if directory.slug not in self._nestings:
            self._nestings[directory.slug] = nestings_then(directory, self.at)
        return self._nestings[directory.slug]

    def _in_directory(self, person: Person, directory: Directory) -> Shut:
        column = subject_column(directory)
        if column == "id" and not _is_id(person.subject):
            rows = []
        else:
            of_person = DirectoryUser.objects.filter(
                directory=directory.slug, created_at__lte=self.at, **{column: person.subject}
            )
            rows = list(of_person.values_list("pk", "active", "deleted_at"))
        there = [(pk, active) for pk, active, deleted_at in rows if deleted_at is None or deleted_at > self.at]
        if rows and not there:
            return "directory_deleted"
        if len(there) != 1:
            return "" if directory.groups == "add" and not there else "not_in_directory"
        (pk, active), *_ = there
        if directory.slug not in self._inactive:
            self._inactive[directory.slug] = self._told_of_users(directory)
        return "directory_inactive" if self._inactive[directory.slug].get(str(pk), not active) else ""

    def _told_of_people(self) -> dict[Hashable, bool]:
        """Whether somebody was disabled here, of those of whom the log tells."""
        events = AuditEvent.objects.filter(kind=Kind.REVOKED).order_by("seq").values_list("at", "data")
        told = []
        for at, data in events.iterator():
            if data.get("disabled"):
                told.append((at, data.get("person"), True))
            elif "sessions" not in data:  # let in again; everything else ends sessions and disables nobody
                told.append((at, data.get("person"), False))
        return self._then(told)

    def _told_of_users(self, directory: Directory) -> dict[Hashable, bool]:
        events = AuditEvent.objects.filter(kind=Kind.DIRECTORY_PERSON, data__directory=directory.slug)
        told = []
        for at, data in events.order_by("seq").values_list("at", "data").iterator():
            if data.get("change") in _DISABLING | _ENABLING:
                told.append((at, data.get("user"), data["change"] in _DISABLING))
        return self._then(told)

    def _then(self, told: Iterable[tuple[datetime, Hashable, bool]]) -> dict[Hashable, bool]:
        """By whom it is told of: whether they were shut out at the moment."""
        found = dict[Hashable, bool]()
        for at, who, closed in told:
            if at <= self.at:
                found[who] = closed
            else:
                found.setdefault(who, not closed)
        return found


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
