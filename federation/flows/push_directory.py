"""A directory tells the gateway of people and groups (SCIM): who is there, who has left, who is in which group.

Each request is one transaction: row, memberships, the source's version, and the audit event. An explicit word about one
person counts at once, whatever the number of such words: sessions, command lines and new credentials end with the commit.
A group that loses more than four and more than a fifth of its people in one request, also through a group that leaves it, is
another matter: that is mostly a directory that is broken or a filter that was changed. It waits for a person
(`flows.sources`), and the directory is told.
The same holds for one bulk request that disables so many. Where they are disabled, or leave a group, one by one, an alarm is
raised instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from federation.audit.events import Kind
from federation.audit.record import record, record_or_log
from federation.directory import scim
from federation.directory.snapshot import FEW, MOST_OF_MANY, Difference, HoldReason, LetThrough, hold
from federation.errors import NotFound, RolegateError, ServiceUnavailable
from federation.flows import sources
from federation.flows.directory_effect import Shift, closure, effect_of, turned
from federation.flows.directory_people import (
    ANOTHERS,
    RENAMED,
    Channel,
    PersonChange,
    end_access,
    subject_of,
    told_of_person,
)
from federation.flows.directory_search import EVERYTHING, show_groups, show_people
from federation.flows.latest_word import group_column
from federation.mapping.groups import PatternsUnusable
from federation.models import compiled, current
from federation.models import directory as members
from federation.models.access_changes import note_members, note_providers, note_subjects
from federation.models.audit import AuditEvent
from federation.models.directory import (
    HELD_BULK,
    HELD_GROUP,
    SOURCE,
    DirectoryGroup,
    DirectoryUser,
    GroupNesting,
    Membership,
    PastMembership,
)
from federation.models.sync import HeldAnswer, Source

log = structlog.get_logger(__name__)
_AN_HOUR = timedelta(hours=1)
_SHOWN = 50  # people named in one event
_AT_ONCE = 500  # ids in one statement


class VersionMismatch(RolegateError):
    """If-Match names another version than the resource has (RFC 7644 section 3.14)."""

    code = "version_mismatch"
    status = 412
    sentence = "The resource has changed since it was read. Read it again, then send the change."


class NoSuchResource(NotFound):
    """No person or group of this directory has this id (RFC 7644 section 3.12)."""

    sentence = "There is no such resource in this directory."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. `body` None where there is nothing to say. `version`: the entity tag, "" for what is gone."""

    status: int
    location: str
    version: str = ""
    body: dict[str, Any] | None = None


def heard_of(channel: Channel) -> None:
    """Note that the directory was there, also where it only asked."""
    _contact(channel, changed=False)


# --- People -------------------------------------------------------------------------------------------------


def create_person(channel: Channel, payload: Mapping[str, Any]) -> Outcome:
    """A new person. Raises ScimRefused, ScimConflict."""
    found = scim.read_person(payload)
    row = DirectoryUser(
        directory=channel.directory.slug, created_at=channel.now, modified_at=channel.now, **_person_columns(found)
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            _contact(channel, changed=True)
            note_subjects(channel.directory.provider, [subject_of(channel, row)], at=channel.now)
            if not row.active:
                end_access(channel, [row], "is inactive in")
            told_of_person(channel, row, "made", found.attributes)
    except IntegrityError as error:
        raise _taken(error) from error
    return _person_outcome(channel, row, status=201)


def made_already(channel: Channel, kind: str, payload: Mapping[str, Any]) -> str:
    """Where the person or group is that this creation would make, letter by letter; "" where there is none, or another one.

    Of a group, members aside. Raises ScimRefused.
    """
    slug = channel.directory.slug
    if kind == "User":
        person = scim.read_person(payload)
        row = DirectoryUser.objects.filter(directory=slug, user_name_key=person.user_name_key, deleted_at=None).first()
        same = row is not None and (row.attributes, row.active) == (person.attributes, person.active)
        return _location(channel, kind, row) if row is not None and same else ""
    group = scim.read_group(payload)
    named = DirectoryGroup.objects.filter(directory=slug, display_name=group.display_name).first()
    same = named is not None and named.external_id == group.external_id
    return _location(channel, kind, named) if named is not None and same else ""


def replace_person(channel: Channel, user_id: str, payload: Mapping[str, Any], *, if_match: str = "") -> Outcome:
    """A person said anew, whole. Raises NoSuchResource, VersionMismatch, ScimRefused, ScimConflict."""
    return _change_person(
        channel, user_id, if_match, lambda row: scim.replaced_person(row.attributes, payload, active=row.active)
    )


def patch_person(channel: Channel, user_id: str, payload: Mapping[str, Any], *, if_match: str = "") -> Outcome:
    """Some of a person changed. Raises as `replace_person`."""
    return _change_person(
        channel, user_id, if_match, lambda row: scim.patched_person(row.attributes, payload, active=row.active)
    )


def delete_person(channel: Channel, user_id: str, *, if_match: str = "") -> Outcome:
    """A person has left: their access ends with the commit. That the directory deleted them is remembered, the rest is not.

    Raises NoSuchResource, VersionMismatch.
    """
    with transaction.atomic():
        row = _locked(DirectoryUser, channel, user_id)
        _check_version(row, if_match)
        row.active, row.deleted_at, row.modified_at = False, channel.now, channel.now
        row.name, row.emails, row.attributes = "", "", {}
        row.save(update_fields=["active", "deleted_at", "modified_at", "name", "emails", "attributes"])
        members.end_memberships_of(row, channel.now)
        _contact(channel, changed=True)
        note_subjects(channel.directory.provider, [subject_of(channel, row)], at=channel.now)
        end_access(channel, [row], "was deleted from")
        told_of_person(channel, row, "deleted", ())
        _tell_where_many_go(channel)
    return Outcome(204, _location(channel, "User", row))


def _change_person(channel: Channel, user_id: str, if_match: str, read: Any) -> Outcome:
    try:
        with transaction.atomic():
            row = _locked(DirectoryUser, channel, user_id)
            _check_version(row, if_match)
            found: scim.PersonRecord = read(row)
            before = _unsaved_copy(row)
            changed = _changed(row.attributes, found.attributes)
            if changed or row.active != found.active:
                for column, value in _person_columns(found).items():
                    setattr(row, column, value)
                row.version += 1
                row.modified_at = channel.now
                row.save()
                members.keep_old_names([(before, row)], channel.now)
                _contact(channel, changed=True)
                named = [subject_of(channel, before), subject_of(channel, row)]
                note_subjects(channel.directory.provider, named, at=channel.now)
                if before.active and not row.active:
                    end_access(channel, [before, row], "is inactive in")
                elif named[0] != named[1]:
                    end_access(channel, [before], RENAMED)
                    end_access(channel, [row], ANOTHERS)
                change: PersonChange = "changed"
                if before.active != row.active:
                    change = "enabled" if row.active else "disabled"
                told_of_person(channel, row, change, changed)
                if change == "disabled":
                    _tell_where_many_go(channel)
    except IntegrityError as error:
        raise _taken(error) from error
    return _person_outcome(channel, row)


def _unsaved_copy(row: DirectoryUser) -> DirectoryUser:
    return DirectoryUser(
        **{field.attname: getattr(row, field.attname) for field in DirectoryUser._meta.concrete_fields}
    )


def _person_columns(found: scim.PersonRecord) -> dict[str, Any]:
    return {
        "user_name": found.user_name, "user_name_key": found.user_name_key, "external_id": found.external_id, "active": found.active,
        "name": found.name, "email": found.email, "emails": found.emails, "attributes": found.attributes,
    }  # fmt: skip


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of the attributes that differ."""
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))


def _person_outcome(channel: Channel, row: DirectoryUser, *, status: int = 200) -> Outcome:
    (body,) = show_people([row], EVERYTHING, channel.base_url)
    return Outcome(status, _location(channel, "User", row), scim.etag(row.version), body)


def disabling(channel: Channel, changes: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Iterator[str]:
    """Ids of the people whom these changes, (PUT or PATCH, id, payload) each, would disable: read as when they are done."""
    listed = [(method, key, payload) for method, text, payload in changes if (key := scim.canonical_id(text))]
    rows: dict[str, DirectoryUser] = {}
    for begin in range(0, len(listed), _AT_ONCE):
        some = DirectoryUser.objects.filter(
            directory=channel.directory.slug,
            deleted_at=None,
            pk__in=[key for _, key, _ in listed[begin : begin + _AT_ONCE]],
        )
        rows.update((str(row.pk), row) for row in some)
    for method, key, payload in listed:
        row = rows.get(key)
        if row is None:
            continue
        read = scim.replaced_person if method == "PUT" else scim.patched_person
        with contextlib.suppress(scim.ScimRefused):  # it will be refused again
            if not read(row.attributes, payload, active=row.active).active:
                yield key


def hold_departures(channel: Channel, user_ids: Iterable[str], group_ids: Iterable[str]) -> bool:
    """Return if one request may disable or delete all these people, and delete all these groups, else note it and raise AnswerHeld.

    True where a person has accepted it: call `let_through` when it is done.
    """
    slug = channel.directory.slug
    ids, of_groups = ({UUID(text) for text in texts if scim.canonical_id(text)} for texts in (user_ids, group_ids))
    active = DirectoryUser.objects.filter(directory=slug, deleted_at=None, active=True)
    known = DirectoryGroup.objects.filter(directory=slug)
    going = dict(active.filter(pk__in=ids).values_list("pk", "user_name"))
    groups = dict(known.filter(pk__in=of_groups).values_list("pk", "display_name"))
    people: Difference[str] = Difference((), (), tuple(sorted(going.values())), unchanged=active.count() - len(going))
    # Their people are counted group by group. Of many small groups, each may go.
    named = tuple(sorted(f"group:{name}" for name in groups.values()))
    others: Difference[str] = Difference((), (), named, unchanged=known.count() - len(groups))
    why = next((held for one in (people, others) if len(one.removed) > FEW and (held := hold(one))), "")
    if not why:
        return False
    key = f"{HELD_BULK}{slug}"
    # "72 of 293": of people where people go, of groups where groups go.
    stay = sum(one.unchanged for one in (people, others) if one.removed)
    both: Difference[str] = Difference((), (), tuple(sorted((*people.removed, *named))), unchanged=stay)
    sources.attempted(key, now=channel.now)
    try:
        sources.stop(
            key, why, both, now=channel.now, about=f"{slug}: many people or groups at once",
            effect=lambda: effect_of(channel.directory, Shift(gone=going.keys(), groups=groups.keys()), now=channel.now),
            beyond=lambda accepted: _beyond(accepted, (people, others), both),
        )  # fmt: skip
    except sources.AnswerHeld as error:
        sources.failed(key, error, now=channel.now)
        raise sources.AnswerHeld(
            error.reason,
            detail=error.detail,
            sentence=f"This disables or deletes {len(going)} of {people.before} people and {len(groups)} of {others.before} groups at once, "
            f"so it waits for a person at the gateway: manage.py held accept {key}. Nothing of it is done; send the same again "
            "afterwards. One person alone is disabled at once.",
        ) from error
    return True


def _beyond(accepted: LetThrough, parts: Iterable[Difference[str]], both: Difference[str]) -> HoldReason:
    back = accepted.not_in(both.removed)
    held = (accepted.beyond_part(one, one.removed, back=back, least=FEW + 1) for one in parts)
    return next((why for why in held if why), "")


def let_through(channel: Channel) -> None:
    """Note that what `hold_departures` held, and a person accepted, has been done: it is not accepted a second time."""
    sources.taken_over(f"{HELD_BULK}{channel.directory.slug}", changed=False, counts={}, now=channel.now)


def _tell_where_many_go(channel: Channel) -> None:
    """Alarm, once an hour, where more than a fifth of a directory's people were disabled within one, each by a word of its own."""
    slug, since = channel.directory.slug, channel.now - _AN_HOUR
    people = DirectoryUser.objects.filter(directory=slug)
    gone = people.filter(active=False, modified_at__gte=since).count()
    if gone <= FEW or gone <= MOST_OF_MANY * (gone + people.filter(active=True).count()):
        return
    told = AuditEvent.objects.filter(kind=Kind.DIRECTORY_DISABLES_MANY, at__gte=since, data__directory=slug)
    if told.exists():
        return
    log.error("directory_disables_many", directory=slug, people=gone)
    record_or_log(
        Kind.DIRECTORY_DISABLES_MANY, actor=channel.actor, outcome="ok", origin=channel.origin, now=channel.now, directory=slug,
        people=gone,
    )  # fmt: skip


def _tell_where_a_group_empties(channel: Channel, group: DirectoryGroup) -> None:
    """Alarm, once an hour, where more than a fifth of a group's people left it within one, by requests that each took a few.

    Directories mostly send members one by one, which no brake sees.
    """
    since = channel.now - _AN_HOUR
    still = Membership.objects.filter(group=group, user_id=OuterRef("user_id"))
    left = PastMembership.objects.filter(group_id=group.pk, until__gte=since).exclude(Exists(still))
    gone = left.values("user_id").distinct().count()
    if gone <= FEW or gone <= MOST_OF_MANY * (gone + Membership.objects.filter(group=group).count()):
        return
    told = AuditEvent.objects.filter(kind=Kind.DIRECTORY_EMPTIES_GROUP, at__gte=since, data__group=str(group.pk))
    if told.exists():
        return
    log.error("directory_empties_group", directory=group.directory, group=group.display_name, people=gone)
    record_or_log(
        Kind.DIRECTORY_EMPTIES_GROUP, actor=channel.actor, outcome="ok", origin=channel.origin, now=channel.now,
        directory=group.directory, group=str(group.pk), group_name=group.display_name, people=gone,
    )  # fmt: skip


# --- Groups -------------------------------------------------------------------------------------------------


class _Held(Exception):
    """The change is to wait: raised to undo it, so that what is noted outlasts it."""

    def __init__(self, group: DirectoryGroup, found: Difference[str], shift: Shift, does: str) -> None:
        """`does`: what the request does, as a sentence goes on behind "This"."""
        self.group, self.found, self.shift, self.does = group, found, shift, does
        super().__init__(group.display_name)


def create_group(channel: Channel, payload: Mapping[str, Any]) -> Outcome:
    """A new group. Raises ScimRefused, ScimConflict."""
    found = scim.read_group(payload)
    row = DirectoryGroup(
        directory=channel.directory.slug, display_name=found.display_name, external_id=found.external_id, created_at=channel.now,
        modified_at=channel.now,
    )  # fmt: skip
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            added, _ = _change_members(channel, row, found.members, accepted=frozenset())
            _contact(channel, changed=True)
            _refuse_one_name_twice(channel, row)
            _told_of_group(channel, row, "made", added=added)
    except IntegrityError as error:
        raise _taken(error) from error
    return _group_outcome(channel, row, status=201)


def _refuse_one_name_twice(channel: Channel, row: DirectoryGroup) -> None:
    """Two groups of one name would be one group to every rule; of the display name the database sees to it.

    Call it behind `_contact`, which lets one change of a directory through at a time.
    """
    by_id = channel.directory.scim is not None and channel.directory.scim.group_name == "externalId"
    same = DirectoryGroup.objects.filter(directory=row.directory, external_id=row.external_id).exclude(pk=row.pk)
    if by_id and row.external_id and same.exists():
        raise scim.ScimConflict("uniqueness", "There is a group of this externalId in this directory already.")


def replace_group(channel: Channel, group_id: str, payload: Mapping[str, Any], *, if_match: str = "") -> Outcome:
    """A group said anew. Raises NoSuchResource, VersionMismatch, ScimRefused, ScimConflict, AnswerHeld."""
    found = scim.replaced_group(payload)
    return _group_outcome(channel, _change_group(channel, group_id, if_match, lambda _: found))


def patch_group(channel: Channel, group_id: str, payload: Mapping[str, Any], *, if_match: str = "") -> Outcome:
    """Some of a group changed. Says nothing back: it may have a hundred thousand members. Raises as `replace_group`."""
    row = _change_group(
        channel, group_id, if_match, lambda row: scim.patched_group(row.display_name, row.external_id, payload)
    )
    return Outcome(204, _location(channel, "Group", row), scim.etag(row.version))


def delete_group(channel: Channel, group_id: str, *, if_match: str = "") -> Outcome:
    """A group is gone. Raises NoSuchResource, VersionMismatch, AnswerHeld: a deleted group is an emptied one."""

    def delete(accepted: AbstractSet[str]) -> DirectoryGroup:
        row: DirectoryGroup = _locked(DirectoryGroup, channel, group_id)
        _check_version(row, if_match)
        everything = scim.MemberChange(cleared=True)
        _, removed = _change_members(channel, row, everything, accepted=accepted)
        _contact(channel, changed=True)
        _told_of_group(channel, row, "deleted", removed=removed)
        members.end_nestings(GroupNesting.objects.filter(child=row), channel.now)
        Source.objects.filter(pk=f"{HELD_GROUP}{row.pk}").delete()
        DirectoryGroup.objects.filter(pk=row.pk).delete()
        return row

    return Outcome(204, _location(channel, "Group", _or_hold(channel, delete)))


def _change_group(channel: Channel, group_id: str, if_match: str, read: Any) -> DirectoryGroup:
    def change(accepted: AbstractSet[str]) -> DirectoryGroup:
        row: DirectoryGroup = _locked(DirectoryGroup, channel, group_id)
        _check_version(row, if_match)
        found: scim.GroupRecord = read(row)
        added, removed = _change_members(channel, row, found.members, accepted=accepted)
        renamed = (row.display_name, row.external_id) != (found.display_name, found.external_id)
        if renamed:
            _brake_on_name(channel, row, found, accepted)
            members.keep_under_old_name(row, channel.now)
            note_providers([channel.directory.provider], at=channel.now)
            row.display_name, row.external_id = found.display_name, found.external_id
        if row.held_at is not None and (found.members.cleared or accepted):
            # Its whole membership is said anew, or what was held has been let through: nothing waits any more.
            sources.taken_over(f"{HELD_GROUP}{row.pk}", changed=True, counts={}, now=channel.now)
            row.held_at = None
            row.save(update_fields=["held_at"])
        if added or removed or renamed:
            row.version += 1
            row.modified_at = channel.now
            row.save(update_fields=["display_name", "external_id", "version", "modified_at"])
            _contact(channel, changed=True)
            if renamed:
                _refuse_one_name_twice(channel, row)
            _told_of_group(channel, row, "changed", added=added, removed=removed)
            if removed and not accepted:
                _tell_where_a_group_empties(channel, row)
        return row

    try:
        return _or_hold(channel, change)
    except IntegrityError as error:
        raise _taken(error) from error


def _or_hold(channel: Channel, change: Any) -> DirectoryGroup:
    """Run `change` in a transaction; where it takes too much away, ask whether a person has accepted exactly that."""
    accepted = frozenset[str]()
    for _ in range(3):  # it may take members out, and be called otherwise
        try:
            with transaction.atomic():
                row: DirectoryGroup = change(accepted)
                return row
        except _Held as held:
            _brake(channel, held)
            accepted |= {held.found.removal_digest}
    # Between two attempts somebody else took members out, so that it is no longer what was accepted.
    raise ServiceUnavailable("group_changed_meanwhile", retry_after=1)


def _change_members(
    channel: Channel, group: DirectoryGroup, change: scim.MemberChange, *, accepted: AbstractSet[str]
) -> tuple[list[str], dict[str, str]]:
    """Take members out and put members in. Returns the ids of who came, and ids and names of who went.

    Raises ScimRefused for members that are nobody, _Held where too many would go, unless that is what was `accepted`.
    """
    if change.is_empty:
        return [], {}
    slug, now = channel.directory.slug, channel.now
    people = members.present(DirectoryUser, slug, change.added) if change.added else set()
    groups = members.present(DirectoryGroup, slug, change.added - people) if change.added - people else set()
    _refuse_strangers(group, change, people, groups)
    moving = _Moving(group, *_who_goes(group, change, people, groups), people, groups)
    removed, there = moving.removed, None
    if moving.leaving_groups:
        through, there = moving.through_groups()
        removed |= through
    found: Difference[str] = Difference(tuple(sorted(change.added)), (), tuple(sorted(removed)), unchanged=0)
    if len(removed) > FEW and found.removal_digest not in accepted:
        if there is None:
            there = Membership.objects.filter(group=group).count() + GroupNesting.objects.filter(parent=group).count()
        found = Difference(found.added, (), found.removed, unchanged=max(0, there - len(removed)))
        if hold(found):
            does = f"takes {len(found.removed)} of {found.before} members out of {group.display_name} at once"
            raise _Held(group, found, moving.shift(), does)
    leaving, leaving_groups = moving.leaving, moving.leaving_groups
    if leaving:
        members.end_members(group, leaving, now)
    if leaving_groups:
        members.end_nestings(GroupNesting.objects.filter(parent=group, child_id__in=_uuids(leaving_groups)), now)
    added = members.add_members(group, people, now) if people else []
    note_members([*leaving, *added], at=now)
    people_added = len(added)
    for child in _uuids(groups):
        _, made = GroupNesting.objects.get_or_create(parent=group, child_id=child, defaults={"since": now})
        added += [str(child)] * made
    if leaving_groups or len(added) > people_added:
        note_providers([channel.directory.provider], at=now)
    return added, {**leaving, **leaving_groups}


def _brake_on_name(
    channel: Channel, group: DirectoryGroup, found: scim.GroupRecord, accepted: AbstractSet[str]
) -> None:
    """Raise _Held where a group with more than a few people gets a name that rules do not know it by: all of them leave it at
    once. What is gained by the new name is an addition like any other.
    """
    column = group_column(channel.directory)
    old, new = str(getattr(group, column)), str(getattr(found, column))
    if old == new or not _is_named_less(old, new):
        return
    inside = turned(GroupNesting.objects.filter(parent__directory=group.directory).values_list("child_id", "parent_id"))
    people = sorted(_people_of(closure([group.pk], inside)))
    if len(people) <= FEW:
        return
    words = [f"{name}: {old}, {new} now" for name in _user_names(people)]
    # All of them go, and come under the other name.
    change: Difference[str] = Difference((new,), (), tuple(sorted(words)), unchanged=0)
    if change.removal_digest not in accepted:
        does = f'calls the group "{old}" "{new}", and rules of the mapping do not know its {len(words)} people by that name'
        raise _Held(group, change, Shift(names={group.pk: new}), does)


def _is_named_less(old: str, new: str) -> bool:
    """Whether something in the mapping in force names a group that is called `old`, and not one that is called `new`."""
    index = current.mapping().compiled.index
    try:
        return not set(index.look(old).matches) <= set(index.look(new).matches)
    except PatternsUnusable:
        return True


def _user_names(ids: Sequence[UUID]) -> set[str]:
    names = set[str]()
    for begin in range(0, len(ids), _AT_ONCE):
        some = DirectoryUser.objects.filter(pk__in=ids[begin : begin + _AT_ONCE])
        names.update(some.values_list("user_name", flat=True))
    return names


class _Moving(NamedTuple):
    """Who leaves a group and who comes into it: ids, and names of those who leave."""

    group: DirectoryGroup
    leaving: Mapping[str, str]
    leaving_groups: Mapping[str, str]
    people: set[str]
    groups: set[str]

    @property
    def removed(self) -> set[str]:
        """Names of those who leave, as a person is shown them."""
        return {*self.leaving.values(), *(f"group:{name}" for name in self.leaving_groups.values())}

    def shift(self) -> Shift:
        """The same, for working out what it means."""
        key = self.group.pk
        return Shift(
            leaving={key: frozenset(_uuids(self.leaving))},
            nestings=frozenset((key, child) for child in _uuids(self.leaving_groups)),
            coming={key: frozenset(_uuids(self.people))},
            nested=frozenset((key, child) for child in _uuids(self.groups)),
        )

    def through_groups(self) -> tuple[set[str], int]:
        """Names of those who are no longer in the group once the groups within it have left, and how many people are in it now,
        however deep, with the groups that are in it themselves: of a group of groups nobody may be a member themselves.
        """
        key = self.group.pk
        nested = GroupNesting.objects.filter(parent__directory=self.group.directory)
        inside = turned(nested.values_list("child_id", "parent_id"))
        own = inside.get(key, set())
        inside_after = {**inside, key: own - set(_uuids(self.leaving_groups)) | set(_uuids(self.groups))}
        had = _people_of(closure([key], inside))
        has = _people_of(closure([key], inside_after) - {key})
        has |= _people_of([key]) - set(_uuids(self.leaving)) | set(_uuids(self.people))
        return _user_names(sorted(had - has)), len(had) + len(own)


def _people_of(groups: Iterable[UUID]) -> set[UUID]:
    """Everybody who is in one of these groups themselves."""
    found, ids = set[UUID](), sorted(groups)
    for begin in range(0, len(ids), _AT_ONCE):
        rows = Membership.objects.filter(group_id__in=ids[begin : begin + _AT_ONCE])
        found.update(rows.values_list("user_id", flat=True))
    return found


def _refuse_strangers(group: DirectoryGroup, change: scim.MemberChange, people: set[str], groups: set[str]) -> None:
    strangers = [*change.unknown, *sorted(change.added - people - groups)]
    if strangers:
        listed = ", ".join(strangers[:5]) + (f" and {len(strangers) - 5} more" if len(strangers) > 5 else "")
        raise scim.ScimRefused("invalidValue", f"There is nobody with the id {listed} in this directory.")
    if str(group.pk) in groups:
        raise scim.ScimRefused("invalidValue", "A group cannot be a member of itself.")


def _who_goes(
    group: DirectoryGroup, change: scim.MemberChange, people: set[str], groups: set[str]
) -> tuple[dict[str, str], dict[str, str]]:
    nested = GroupNesting.objects.filter(parent=group)
    if change.cleared:
        leaving = members.members_that_go(group, among=people, but=True)
        nested = nested.exclude(child_id__in=_uuids(groups))
    elif change.removed:
        leaving = members.members_that_go(group, among=change.removed, but=False)
        nested = nested.filter(child_id__in=_uuids(change.removed))
    else:
        return {}, {}
    return leaving, {str(child): name for child, name in nested.values_list("child_id", "child__display_name")}


def _brake(channel: Channel, held: _Held) -> None:
    """Return if a person has accepted exactly this, else note it and raise AnswerHeld."""
    group, found = held.group, held.found
    key = f"{HELD_GROUP}{group.pk}"
    known = HeldAnswer.objects.filter(source_id=key, digest=found.removal_digest).exists()
    sources.attempted(key, now=channel.now)
    try:
        sources.brake(
            key, found, now=channel.now, about=f"{channel.directory.slug}: {group.display_name}",
            effect=lambda: effect_of(channel.directory, held.shift, now=channel.now),
        )  # fmt: skip
    except sources.AnswerHeld as error:
        sources.failed(key, error, now=channel.now)
        with transaction.atomic():
            DirectoryGroup.objects.filter(pk=group.pk, held_at=None).update(held_at=channel.now)
            _contact(channel, changed=False)
            if not known:  # of the same request again and again, the log tells once
                _told_of_group(
                    channel, group, "changed", removed=dict.fromkeys(found.removed, ""), refused=error.reason
                )
        raise sources.AnswerHeld(
            error.reason,
            detail=error.detail,
            sentence=f"This {held.does}, so it waits for a person at the gateway: manage.py held accept {key}. Until then the group stays as it is; send the same again afterwards.",
        ) from error


def _group_outcome(channel: Channel, row: DirectoryGroup, *, status: int = 200) -> Outcome:
    (body,) = show_groups([row], EVERYTHING, channel.base_url)
    return Outcome(status, _location(channel, "Group", row), scim.etag(row.version), body)


def _told_of_group(
    channel: Channel,
    row: DirectoryGroup,
    change: Literal["made", "changed", "deleted"],
    *,
    added: Iterable[str] = (),
    removed: Mapping[str, str] | None = None,
    refused: str = "",
) -> None:
    came, went = list(added), list((removed or {}).items())
    names = DirectoryUser.objects.filter(pk__in=came[:_SHOWN]).values_list("user_name", flat=True) if came else ()
    record(
        Kind.DIRECTORY_GROUP, actor=channel.actor, outcome="refused" if refused else "ok", origin=channel.origin, now=channel.now,
        reason=refused, directory=channel.directory.slug, change=change, group=str(row.pk), group_name=row.display_name,
        added=len(came), removed=len(went),
        people=[*(f"+{name}" for name in names), *(f"-{name or key}" for key, name in went)][:_SHOWN],
    )  # fmt: skip


# --- Both -------------------------------------------------------------------------------------------------


def _locked(model: Any, channel: Channel, resource_id: str) -> Any:
    rows = model.objects.select_for_update().filter(pk=_uuid(resource_id), directory=channel.directory.slug)
    if model is DirectoryUser:
        rows = rows.filter(deleted_at=None)
    row = rows.first()
    if row is None:
        raise NoSuchResource("resource_unknown")
    return row


def get(channel: Channel, kind: str, resource_id: str, selection: scim.Selection) -> Outcome:
    """One person or group. Raises NoSuchResource."""
    row: DirectoryUser | DirectoryGroup | None
    slug, found = channel.directory.slug, _uuid(resource_id)
    if kind == "User":
        row = DirectoryUser.objects.filter(pk=found, directory=slug, deleted_at=None).first()
        body = show_people([row], selection, channel.base_url)[0] if row else None
    else:
        row = DirectoryGroup.objects.filter(pk=found, directory=slug).first()
        body = show_groups([row], selection, channel.base_url)[0] if row else None
    if row is None:
        raise NoSuchResource("resource_unknown")
    return Outcome(200, _location(channel, kind, row), scim.etag(row.version), body)


def _uuids(texts: Iterable[str]) -> list[UUID]:
    return [UUID(text) for text in texts]


def _uuid(text: str) -> UUID:
    # In no other of the forms that UUID reads: what is held back by its id must not be done by another one.
    key = scim.canonical_id(text)
    if key is None:
        raise NoSuchResource("resource_unknown")
    return UUID(key)


def _check_version(row: DirectoryUser | DirectoryGroup, if_match: str) -> None:
    tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",") if tag.strip()}
    if tags and "*" not in tags and f'"{row.version}"' not in tags:
        raise VersionMismatch("version_mismatch")


def _location(channel: Channel, kind: str, row: DirectoryUser | DirectoryGroup) -> str:
    return f"{channel.base_url}/{scim.ENDPOINTS[kind]}/{row.pk}"


def _taken(error: IntegrityError) -> RolegateError:
    """Of two that were made at once, one is told so; whoever leant on a row that went at that moment tries again."""
    if "unique" in str(error).lower():
        return scim.ScimConflict("uniqueness", "There is a person or group of that name in this directory already.")
    return ServiceUnavailable("changed_meanwhile", retry_after=1)


def _contact(channel: Channel, *, changed: bool) -> None:
    """Note at the source that the directory was there, and that what is derived from it is old. One statement."""
    now, table = channel.now, compiled.table(Source)
    fresh = Source(
        key=f"{SOURCE}{channel.directory.slug}", version=int(changed), state=Source.State.OK, attempted_at=now, succeeded_at=now
    )  # fmt: skip
    names = [field.attname for field in Source._meta.concrete_fields]
    columns = ", ".join(compiled.column(Source, name) for name in names)
    compiled.execute(
        f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(names))}) ON CONFLICT (key) DO UPDATE SET "  # noqa: S608
        f"version = {table}.version + EXCLUDED.version, state = EXCLUDED.state, attempted_at = EXCLUDED.attempted_at, "
        "succeeded_at = EXCLUDED.succeeded_at",
        compiled.adapt(Source, **{name: getattr(fresh, name) for name in names}),
    )
