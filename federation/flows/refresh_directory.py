"""Read the directories that are read (LDAP), and take over what is whole.

Each is read under a lease of its own and swapped in one transaction: a directory that cannot be read, answers half, or
suddenly knows far fewer people, groups or members keeps its last good state, and what was held waits for a person
(`flows.sources`). Whoever it disables, one by one, is disabled at once, whatever becomes of the rest of the answer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.directory import ldap
from federation.directory.snapshot import FEW, NOTHING, Difference, HoldReason, LetThrough, difference, hold
from federation.errors import NotFound, RolegateError
from federation.flows import leases, runs, sources
from federation.flows.directory_effect import Shift, closure, effect_of, turned
from federation.flows.directory_people import ANOTHERS, RENAMED, Channel, end_access, told_of_person
from federation.mapping.rules import Directory
from federation.models import current
from federation.models import directory as members
from federation.models.access_changes import note_providers, note_subjects
from federation.models.directory import SOURCE, DirectoryGroup, DirectoryUser, GroupNesting, Membership
from federation.models.secrets import reveal
from federation.models.sync import Source, TaskRun

log = structlog.get_logger(__name__)
TASK: Final = "refresh_directory"
_LEASE = timedelta(seconds=75)  # ends before the run's own: whoever takes over from a worker that died finds it free
_AGAIN_AFTER = timedelta(minutes=2)  # longer than the leases of the dead
_SEEN = timedelta(minutes=4)  # whoever looks at background work sees that this is alive, and not a run each minute
_BATCH = 500
_SHOWN = 50
_MOST_NAMED = 1_000  # where a change concerns more people, whatever is derived from it is worked out for all
_ORIGIN = Origin(request_id="directory", address="", user_agent=TASK)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of one directory: `outcome` ok, failed, held or skipped; `reason` where it is not ok.

    `people`, `groups`: how many it has; `written`: how many of both, and of memberships, were changed.
    """

    slug: str
    outcome: str
    reason: str = ""
    people: int = 0
    groups: int = 0
    written: int = 0


# --- All that are due -----------------------------------------------------------------------------------


def due(*, now: datetime) -> list[Directory]:
    """The directories whose interval is over, the one that was tried longest ago first.

    Each begins a little before it, by a tenth at most and always the same: several of one interval do not begin at once.
    """
    tried = dict(Source.objects.filter(key__startswith=SOURCE).values_list("key", "attempted_at"))
    found = list[tuple[str, Directory]]()
    for directory in _read_ones():
        last = tried.get(SOURCE + directory.slug)
        interval = directory.ldap.interval if directory.ldap else 0
        early = interval * (zlib.crc32(directory.slug.encode()) % 100) / 1_000
        if last is None or now - last >= timedelta(seconds=interval - early):
            found.append((str(last or ""), directory))
    return [directory for _, directory in sorted(found, key=lambda entry: (entry[0], entry[1].slug))]


def refresh_due(*, now: datetime) -> list[Refreshed] | None:
    """Read what is due; None where another worker is at it. Where nothing is, a run is left behind every few minutes alone."""
    if not due(now=now) and TaskRun.objects.filter(task=TASK, started_at__gt=now - _SEEN).exists():
        return []
    return refresh(lambda: due(now=timezone.now()))


def refresh_named(slug: str = "", *, say: Callable[[Refreshed], None] | None = None) -> list[Refreshed] | None:
    """Read one directory, or every one, now. Raises NotFound for a name that is none, or of a directory that pushes."""
    wanted = [directory for directory in _read_ones() if slug in ("", directory.slug)]
    if slug and not wanted:
        known = ", ".join(directory.slug for directory in _read_ones()) or "none"
        raise NotFound(
            "directory_unknown",
            sentence=f"No directory {slug} of the mapping is read over LDAP. Those that are: {known}.",
        )
    return refresh(lambda: wanted, say=say)


def refresh(
    which: Callable[[], Sequence[Directory]], *, say: Callable[[Refreshed], None] | None = None
) -> list[Refreshed] | None:
    """Read these, one after the other. Returns what became of each; None where another worker is at it. Raises LeaseLost.

    `which` is asked with the lease held: until then another worker may have read what was due.
    """
    results = list[Refreshed]()
    with runs.run(TASK) as run:
        if run is None:
            return None
        wanted = which()
        run.total(len(wanted))
        for directory in wanted:
            result = refresh_one(directory, now=timezone.now(), alive=run.alive)
            results.append(result)
            if say is not None:
                say(result)
            run.detail[directory.slug] = result.reason or result.outcome
            run.progress(len(results))
        run.detail["written"] = sum(result.written for result in results)
    return results


def _read_ones() -> list[Directory]:
    return [directory for directory in current.mapping().document.directories if directory.ldap is not None]


# --- One ------------------------------------------------------------------------------------------------


def _go_on() -> None:
    """Nothing ends this reading but itself."""


def refresh_one(directory: Directory, *, now: datetime, alive: Callable[[], None] = _go_on) -> Refreshed:
    """Read one directory and take it over, whole or not at all. Never raises for what the directory did.

    `alive` is called often; what it raises ends the reading.
    """
    key = SOURCE + directory.slug
    with leases.leased(key, _LEASE) as lease:
        if lease is None:
            return Refreshed(directory.slug, "skipped", "running_already")
        beat = leases.Heartbeat(lease, _LEASE)

        def still() -> None:
            alive()
            beat()

        try:
            # As if tried so long ago that it is due again in two minutes: a worker that dies says nothing more. Whoever
            # comes to an end says when.
            interval = timedelta(seconds=directory.ldap.interval if directory.ldap else 0)
            sources.attempted(key, now=min(now, now - interval + _AGAIN_AFTER))
            return _read_and_take(directory, lease, still, now)
        except leases.LeaseLost:
            log.warning("source_lease_lost", source=key)
            return Refreshed(directory.slug, "skipped", "lease_lost")
        except RolegateError as error:
            held = isinstance(error, sources.AnswerHeld)
            with transaction.atomic():
                if not lease.is_ours():
                    return Refreshed(directory.slug, "skipped", "lease_lost")
                sources.failed(key, error, now=now)
            log.warning(
                "answer_held" if held else "source_not_read", source=key, code=error.code, reason=error.reason, detail=error.detail[:300]
            )  # fmt: skip
            return Refreshed(directory.slug, "held" if held else "failed", error.reason)


def _read_and_take(directory: Directory, lease: leases.Held, still: Callable[[], None], now: datetime) -> Refreshed:
    config = directory.ldap
    assert config is not None  # noqa: S101  only those are asked for
    listing = ldap.read(config, reveal(config.password) if config.password else "", now=now, alive=still)
    if listing.passed_over:
        log.warning("directory_servers_passed_over", source=SOURCE + directory.slug, servers=list(listing.passed_over))
    if not listing.people and not DirectoryUser.objects.filter(directory=directory.slug, deleted_at=None).exists():
        # After somebody, nobody is held. At first it would lock everybody out of a directory that replaces the claims.
        raise ldap.LdapError("nobody_found", detail=f"{config.base_dn} {config.user_filter}"[:300])
    channel = Channel(directory, f"directory:{directory.slug}", "", _ORIGIN, now)
    change = compare(directory.slug, listing)
    why = change.why_held()
    if why:
        if not hold(change.disabling):
            _disable_at_once(channel, lease, change)
            # It is done, and no part of what waits: the next reading no longer finds it, and must be what was accepted.
            change.disabling = Difference((), (), (), unchanged=change.disabling.unchanged)
        sources.stop(
            SOURCE + directory.slug, why, change.as_one(), now=now, about=directory.slug,
            effect=lambda: effect_of(directory, change.shift(), now=now), beyond=change.why_held,
        )  # fmt: skip
    written = _take(channel, lease, change, still)
    return Refreshed(directory.slug, "ok", people=len(listing.people), groups=len(listing.groups), written=written)


# --- What an answer changes -----------------------------------------------------------------------------


@dataclass(slots=True)
class GroupChange:
    """What becomes of one group: keys of the people who come and go, of those who stay how many."""

    coming: frozenset[str]
    leaving: frozenset[str]
    staying: int

    @property
    def found(self) -> Difference[str]:
        """As the brake looks at it."""
        return Difference(tuple(sorted(self.coming)), (), tuple(sorted(self.leaving)), self.staying)


@dataclass(frozen=True, slots=True)
class _Part:
    """One thing that an answer takes away from, each removal as `word` says it to people; fewer than `least` pass."""

    found: Difference[str]
    word: Callable[[str], str]
    least: int = 0


@dataclass(slots=True)
class Change:
    """What an answer changes. Everything is named by its key; `rows_of_people` and `rows_of_groups` are the ids of what is there.

    `members`: who comes into a group and leaves it, themselves. `inside`: of each group that is there the groups within it.
    """

    listing: ldap.Listing
    people: Difference[str]
    groups: Difference[str]
    disabling: Difference[str]
    enabled: frozenset[str]
    rows_of_people: Mapping[str, UUID]
    rows_of_groups: Mapping[str, UUID]
    names_of_groups: Mapping[str, str]
    inside: Mapping[str, AbstractSet[str]]
    members: dict[str, GroupChange] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    nesting: bool = False  # whether a group that is in a group goes, or (once taken over) came or went

    def why_held(self, but: LetThrough = NOTHING) -> HoldReason:
        """Why the answer waits for a person; "" where it may pass. People, groups, members, names and the right to be there each
        count. `but`: removals that are no question any more.
        """
        back = but.not_in(self.as_one().removed) if but.prints else 0
        for part in self._parts():
            words = [part.word(key) for key in part.found.removed]
            if why := but.beyond_part(part.found, words, back=back, least=part.least):
                return why
        for found in self._through_groups(but):
            if len(found.removed) > FEW and (why := hold(found)):
                return why
        return ""

    def _parts(self) -> Iterator[_Part]:
        people, groups, found = self.names, self.names_of_groups, self.listing
        yield _Part(self.people, lambda key: f"person {people.get(key, key)}")
        yield _Part(self.disabling, lambda key: f"disabled {people.get(key, key)}")
        yield _Part(self.groups, lambda key: f"group {groups[key]}")
        # As for a directory that pushes: from a small group everybody may go.
        for key, group in self.members.items():
            yield _Part(group.found, partial(_member_said, groups.get(key, key), people), FEW + 1)
        # For the provider, and for us, they are others.
        other = _called_otherwise(people, {key: person.subject for key, person in found.people.items()})
        yield _Part(other, lambda key: f"person {people[key]}: {found.people[key].subject} now", FEW + 1)
        # Mishap: another attribute, and every rule points nowhere.
        other = _called_otherwise(groups, {key: group.name for key, group in found.groups.items()})
        yield _Part(other, lambda key: f"group {groups[key]}: {found.groups[key].name} now", FEW + 1)

    def parted(self) -> list[tuple[str, str]]:
        """(group, group within it) of those that are both still there, and no longer one in the other."""
        there = self.listing.groups
        return sorted(
            (parent, child)
            for parent, children in self.inside.items()
            if parent in there
            for child in children
            if child in there and child not in there[parent].groups
        )

    def _parted_said(self, parent: str, child: str) -> str:
        return f"{self.names_of_groups[parent]}: group {self.names_of_groups[child]}"

    def _through_groups(self, but: LetThrough) -> Iterator[Difference[str]]:
        """Of each group that loses people through a group within it: who is in it, however deep, and who no longer is.

        Attack, or mishap: of a group that has all its people through two others one is taken out, and no member has moved.
        """
        there = self.listing.groups
        going = {key for key in self.groups.removed if f"group {self.names_of_groups[key]}" not in but}
        losing = {parent for parent, child in self.parted() if self._parted_said(parent, child) not in but}
        losing |= {key for key in going if self.inside.get(key)}
        losing |= {parent for parent, children in self.inside.items() if not children.isdisjoint(going)}
        if not losing:
            return
        above = turned((parent, child) for parent, children in self.inside.items() for child in children)
        concerned = closure(losing, above)
        before = self._people_in(closure(concerned, self.inside))
        after = {key: group.people for key, group in there.items()}
        inside_after = {key: group.groups for key, group in there.items()}
        for key in sorted(concerned):
            had = _united(before, closure([key], self.inside))
            has = _united(after, closure([key], inside_after)) if key in there else set[str]()
            # As among the members themselves: whoever is gone is counted as a person.
            gone = (had - has) & self.listing.people.keys()
            yield Difference((), (), tuple(sorted(gone)), unchanged=len(had & has))

    def _people_in(self, groups: Iterable[str]) -> dict[str, set[str]]:
        """By group, keys of the people who are in it themselves."""
        keys = {self.rows_of_groups[key]: key for key in groups if key in self.rows_of_groups}
        people = {pk: key for key, pk in self.rows_of_people.items()}
        found = dict[str, set[str]]()
        ids = list(keys)
        for begin in range(0, len(ids), _BATCH):
            rows = Membership.objects.filter(group_id__in=ids[begin : begin + _BATCH]).values_list(
                "group_id", "user_id"
            )
            for group, person in rows.iterator():
                if person in people:
                    found.setdefault(keys[group], set()).add(people[person])
        return found

    def shift(self) -> Shift:
        """The same by ids of ours, for working out what it means. Who and what is new has an id for this alone."""
        found = self.listing
        people = {**self.rows_of_people, **{key: uuid4() for key in self.people.added}}
        groups = {**self.rows_of_groups, **{key: uuid4() for key in self.groups.added}}
        touched = (*self.groups.added, *self.groups.changed)
        # As whoever they are now, they have never signed in.
        renamed = [key for key in self.people.changed if found.people[key].subject != self.names[key]]
        return Shift(
            gone=frozenset(people[key] for key in (*self.people.removed, *self.disabling.removed, *renamed)),
            leaving={
                groups[key]: frozenset(people[person] for person in group.leaving if person in people)
                for key, group in self.members.items()
                if group.leaving
            },
            groups=frozenset(groups[key] for key in self.groups.removed),
            nestings=frozenset((groups[parent], groups[child]) for parent, child in self.parted()),
            back=frozenset(people[key] for key in self.enabled),
            new_people={people[key]: found.people[key] for key in self.people.added if found.people[key].active},
            coming={
                groups[key]: frozenset(people[person] for person in group.coming)
                for key, group in self.members.items()
                if group.coming
            },
            names={
                groups[key]: found.groups[key].name
                for key in touched
                if found.groups[key].name != self.names_of_groups.get(key)
            },
            nested=frozenset(
                (groups[key], groups[child])
                for key in touched
                for child in found.groups[key].groups - self.inside.get(key, frozenset())
            ),
        )

    def as_one(self) -> Difference[str]:
        """All of it as one difference, in words: what a person is shown, and lets through."""
        gone = [part.word(key) for part in self._parts() for key in part.found.removed]
        gone += [self._parted_said(parent, child) for parent, child in self.parted()]
        there = self.people.before + self.groups.before + sum(g.staying + len(g.leaving) for g in self.members.values())
        return Difference(
            added=(*self.people.added, *self.groups.added), changed=(*self.people.changed, *self.groups.changed),
            removed=tuple(sorted(gone)), unchanged=max(0, there - len(gone)),
        )  # fmt: skip


def compare(slug: str, listing: ldap.Listing) -> Change:
    """The answer beside what is in force."""
    # A row without a key is of a time when a directory of this name pushed: it goes with the first answer.
    listed = DirectoryUser.objects.filter(directory=slug, deleted_at=None)
    people = {row.external_id or f"row {row.pk}": row for row in listed}
    groups = {row.external_id or f"row {row.pk}": row for row in DirectoryGroup.objects.filter(directory=slug)}
    of_people = difference(
        {key: row.digest for key, row in people.items()}, {key: found.digest for key, found in listing.people.items()}
    )
    of_groups = difference(
        {key: row.digest for key, row in groups.items()}, {key: found.digest for key, found in listing.groups.items()}
    )
    active = {key for key, row in people.items() if row.active}
    disabled = tuple(key for key in of_people.changed if key in active and not listing.people[key].active)
    change = Change(
        listing=listing,
        people=of_people,
        groups=of_groups,
        disabling=Difference((), (), disabled, unchanged=len(active) - len(disabled)),
        enabled=frozenset(key for key in of_people.changed if key not in active and listing.people[key].active),
        rows_of_people={key: row.pk for key, row in people.items()},
        rows_of_groups={key: row.pk for key, row in groups.items()},
        names_of_groups={key: row.display_name for key, row in groups.items()},
        inside=_inside(groups),
        names={key: row.user_name for key, row in people.items()},
    )
    for key in (*of_groups.changed, *of_groups.removed):
        before = frozenset(
            Membership.objects.filter(group_id=groups[key].pk).values_list("user__external_id", flat=True)
        )
        after = listing.groups[key].people if key in listing.groups else frozenset[str]()
        # Whoever is gone is counted as a person, not once more in each of their groups.
        gone = (before - after) & listing.people.keys()
        change.members[key] = GroupChange(
            after - before, before - after if key in of_groups.removed else gone, len(before & after)
        )
    for key in of_groups.added:
        change.members[key] = GroupChange(listing.groups[key].people, frozenset(), 0)
    return change


def _member_said(group: str, people: Mapping[str, str], key: str) -> str:
    return f"{group}: {people.get(key, key)}"


def _called_otherwise(before: Mapping[str, str], after: Mapping[str, str]) -> Difference[str]:
    """Keys of those who stay and have another name, as if they went and others came: each name is somebody's own."""
    stay = before.keys() & after.keys()
    other = tuple(sorted(key for key in stay if before[key] != after[key]))
    return Difference(other, (), other, unchanged=len(stay) - len(other))


def _inside(groups: Mapping[str, DirectoryGroup]) -> dict[str, set[str]]:
    keys = {row.pk: key for key, row in groups.items()}
    found = dict[str, set[str]]()
    slug = next((row.directory for row in groups.values()), "")
    for parent, child in GroupNesting.objects.filter(parent__directory=slug).values_list("parent_id", "child_id"):
        found.setdefault(keys[parent], set()).add(keys[child])
    return found


def _united(people: Mapping[str, AbstractSet[str]], groups: Iterable[str]) -> set[str]:
    return set[str]().union(*(people.get(key, ()) for key in groups))


# --- Taking it over -------------------------------------------------------------------------------------


def _disable_at_once(channel: Channel, lease: leases.Held, change: Change) -> None:
    """An explicit word about a few people counts, though the rest of the answer waits."""
    keys = change.disabling.removed
    if not keys:
        return
    with transaction.atomic():
        _still_ours(lease)
        rows = list(DirectoryUser.objects.filter(pk__in=[change.rows_of_people[key] for key in keys]))
        # The digest stays: the rest of what is said of them is taken over with the answer.
        DirectoryUser.objects.filter(pk__in=[row.pk for row in rows]).update(
            active=False, version=F("version") + 1, modified_at=channel.now
        )
        _end(channel, rows, "disabled", "is inactive in")
        note_subjects(channel.directory.provider, [row.subject for row in rows], at=channel.now)
        Source.objects.filter(pk=lease.name).update(version=F("version") + 1)


def _still_ours(lease: leases.Held) -> None:
    if not lease.is_ours():
        raise leases.LeaseLost(lease.name)


def _end(channel: Channel, rows: Sequence[DirectoryUser], change: Any, why: str) -> None:
    for row in rows:
        end_access(channel, [row], why)
        told_of_person(channel, row, change, ("active",) if change == "disabled" else ())


def _take(channel: Channel, lease: leases.Held, change: Change, still: Callable[[], None]) -> int:
    """One transaction: all of it, or nothing."""
    with transaction.atomic():
        _still_ours(lease)
        ids = _take_people(channel, change)
        written = len(change.people.added) + len(change.people.changed) + len(change.people.removed)
        written += _take_groups(channel, change, ids, still)
        listing = change.listing
        counts = {"people": len(listing.people), "groups": len(listing.groups), **listing.left_out}
        if written:
            _note(channel, change)
            _tell(channel, change)
        sources.taken_over(lease.name, changed=bool(written), counts=counts, now=channel.now)
    return written


def _take_people(channel: Channel, change: Change) -> dict[str, UUID]:
    """Returns the id of everybody who is there now."""
    now, slug, found = channel.now, channel.directory.slug, change.listing.people
    ids = dict(change.rows_of_people)
    if change.people.removed:
        leaving = list(DirectoryUser.objects.filter(pk__in=[ids.pop(key) for key in change.people.removed]))
        for row in leaving:
            members.end_memberships_of(row, now)
        DirectoryUser.objects.filter(pk__in=[row.pk for row in leaving]).update(
            active=False, deleted_at=now, modified_at=now, name="", emails="", attributes={}
        )
        _end(channel, leaving, "deleted", "was deleted from")
    disabled = list(DirectoryUser.objects.filter(pk__in=[ids[key] for key in change.disabling.removed]))
    renamed = [key for key in change.people.changed if found[key].subject != change.names[key]]
    end_access(channel, DirectoryUser.objects.filter(pk__in=[ids[key] for key in renamed]), RENAMED)
    rows = [_row(found[key], slug, now, ids[key]) for key in change.people.changed]
    end_access(channel, [row for row in rows if row.subject != change.names[row.external_id]], ANOTHERS)
    before = DirectoryUser.objects.in_bulk([row.pk for row in rows])
    members.keep_old_names([(before[row.pk], row) for row in rows], now)
    DirectoryUser.objects.bulk_update(rows, _PERSON_COLUMNS, batch_size=_BATCH)
    DirectoryUser.objects.filter(pk__in=[row.pk for row in rows]).update(version=F("version") + 1)
    _end(channel, disabled, "disabled", "is inactive in")
    for key in sorted(change.enabled):
        told_of_person(channel, DirectoryUser.objects.get(pk=ids[key]), "enabled", ("active",))
    made = [_row(found[key], slug, now, None) for key in change.people.added]
    DirectoryUser.objects.bulk_create(made, batch_size=_BATCH)
    end_access(channel, [row for row in made if not row.active], "is inactive in")
    ids |= {row.external_id: row.pk for row in made}
    return ids


_PERSON_COLUMNS = ["user_name", "subject", "name", "email", "emails", "active", "digest", "modified_at"]


def _row(found: ldap.LdapPerson, slug: str, now: datetime, pk: UUID | None) -> DirectoryUser:
    email = found.email.lower()
    row = DirectoryUser(
        directory=slug, user_name=found.subject, user_name_key=found.key, external_id=found.key, subject=found.subject,
        name=found.name, email=email, emails=f"\t{email}" if email else "", active=found.active, digest=found.digest,
        created_at=now, modified_at=now,
    )  # fmt: skip
    if pk is not None:
        row.pk = pk
    return row


def _take_groups(channel: Channel, change: Change, people: Mapping[str, UUID], still: Callable[[], None]) -> int:
    """Groups that go first, so that another may have their name; then names, then members. Returns how many rows changed."""
    now, slug, found = channel.now, channel.directory.slug, change.listing.groups
    rows = {row.external_id: row for row in DirectoryGroup.objects.filter(pk__in=change.rows_of_groups.values())}
    written = len(change.groups.added) + len(change.groups.changed) + len(change.groups.removed)
    going = [change.rows_of_groups[key] for key in change.groups.removed]
    change.nesting = members.end_nestings(
        GroupNesting.objects.filter(Q(parent_id__in=going) | Q(child_id__in=going)), now
    )
    for key in change.groups.removed:
        members.end_members(rows[key], [str(pk) for pk in Membership.objects.filter(group=rows[key]).values_list("user_id", flat=True)], now)  # fmt: skip
        rows.pop(key).delete()
    renamed = [rows[key] for key in change.groups.changed if rows[key].display_name != found[key].name]
    for row in renamed:
        members.keep_under_old_name(row, now)
        # Two groups may change names with each other: no two have one at any moment.
        DirectoryGroup.objects.filter(pk=row.pk).update(display_name=f"renamed {row.pk}")
    for key in change.groups.changed:
        row = rows[key]
        row.display_name, row.digest, row.modified_at = found[key].name, found[key].digest, now
        row.version += 1
        row.save(update_fields=["display_name", "digest", "modified_at", "version"])
    for key in change.groups.added:
        rows[key] = DirectoryGroup.objects.create(
            directory=slug, display_name=found[key].name, external_id=key, digest=found[key].digest, created_at=now, modified_at=now
        )  # fmt: skip
    touched = (*change.groups.added, *change.groups.changed)
    for key in touched:
        still()
        moving = change.members[key]
        members.end_members(rows[key], [str(people[person]) for person in moving.leaving if person in people], now)
        members.add_members(rows[key], [str(people[person]) for person in moving.coming], now)
        written += len(moving.leaving) + len(moving.coming)
    change.nesting |= _nest({rows[key].pk: {rows[child].pk for child in found[key].groups} for key in touched}, now)
    return written


def _nest(wanted: Mapping[UUID, set[UUID]], now: datetime) -> bool:
    """Make these groups' member groups exactly these. Returns whether any came or went."""
    changed = False
    there = dict[UUID, set[UUID]]()
    for parent, child in GroupNesting.objects.filter(parent_id__in=wanted).values_list("parent_id", "child_id"):
        there.setdefault(parent, set()).add(child)
    for parent, children in wanted.items():
        if gone := there.get(parent, set()) - children:
            changed |= members.end_nestings(GroupNesting.objects.filter(parent_id=parent, child_id__in=gone), now)
    coming = [
        GroupNesting(parent_id=parent, child_id=child, since=now)
        for parent, children in wanted.items()
        for child in sorted(children - there.get(parent, set()))
    ]
    GroupNesting.objects.bulk_create(coming, batch_size=_BATCH)
    return changed or bool(coming)


def _note(channel: Channel, change: Change) -> None:
    """Whose access may have changed: by the names that the provider has, or had, for them."""
    provider, found = channel.directory.provider, change.listing
    keys = {*change.people.added, *change.people.changed, *change.people.removed}
    for group in change.members.values():
        keys |= group.coming | group.leaving
    renamed = any(found.groups[key].name != change.names_of_groups[key] for key in change.groups.changed)
    # Who is concerned by a group within a group is the derived state's own to find.
    if len(keys) > _MOST_NAMED or renamed or change.nesting:
        note_providers([provider], at=channel.now)
        return
    before = [change.names[key] for key in keys if key in change.names]
    note_subjects(
        provider, [*before, *(found.people[key].subject for key in keys if key in found.people)], at=channel.now
    )


def _tell(channel: Channel, change: Change) -> None:
    """One event for the whole change; of those who were disabled or have left there is one each besides."""
    found = change.listing
    record(
        Kind.DIRECTORY_READ, actor=channel.actor, outcome="ok", origin=channel.origin, now=channel.now,
        directory=channel.directory.slug,
        people={"added": len(change.people.added), "changed": len(change.people.changed), "removed": len(change.people.removed)},
        groups={"added": len(change.groups.added), "changed": len(change.groups.changed), "removed": len(change.groups.removed)},
        members={
            "added": sum(len(group.coming) for group in change.members.values()),
            "removed": sum(len(group.leaving) for group in change.members.values()),
        },
        examples=_few(
            (*(f"+{found.people[key].subject}" for key in change.people.added), *(f"-{change.names[key]}" for key in change.people.removed)),
            (*_members_said(change),),
        ),
    )  # fmt: skip


def _members_said(change: Change) -> Iterable[str]:
    for key, group in change.members.items():
        called = change.listing.groups[key].name if key in change.listing.groups else change.names_of_groups[key]
        for person in sorted(group.coming)[:_SHOWN]:
            yield f"+{change.listing.people[person].subject} {called}"
        for person in sorted(group.leaving)[:_SHOWN]:
            yield f"-{change.names.get(person, person)} {called}"


def _few(*lines: Sequence[str]) -> list[str]:
    return [line for some in lines for line in some[:_SHOWN]]
