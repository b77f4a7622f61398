"""People and groups as the company's directories last said, and the one read of them on the way to a mint.

A million memberships are no list in anybody's row: one row each, found by person (at every mint) and by group (when a group
changes). What ended is kept in `PastMembership`, for "who was in this group on 3 May".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, NamedTuple

from django.db import connection, models
from django.db.models.functions import Upper

from federation.models import compiled
from federation.models.people import Person
from federation.models.sync import Source

SOURCE: Final = "directory:"  # with the directory's slug behind it: the key of its source
HELD_BULK: Final = "bulk:"  # with the slug: the key under which a bulk request is held that disables many at once
HELD_GROUP: Final = "group:"  # with the group's id behind it: the key of the source under which its removals are held


class DirectoryUser(models.Model):
    """A person as one directory knows them. Whom the gateway knows by sign-in is a Person; `flows.latest_word` joins the two.

    `user_name_key`: the user name as it is compared for uniqueness (RFC 7643 section 4.1.1: case does not count).
    `subject`: what the provider calls the person, where the directory is read (LDAP); where it pushes, the mapping names
    one of the other columns. `emails`: every address in lower case, one a line behind its type in capitals and a tab.
    `attributes`: the rest, as SCIM has it. `version` goes up with each change. A deleted person's row stays, with
    `deleted_at`: that the directory has deleted somebody is a word too. `digest`: of what a directory that is read said of
    them last (`external_id` is then what stays when they are renamed, and `user_name_key` the same).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    directory = models.CharField(max_length=64)
    user_name = models.CharField(max_length=512)
    user_name_key = models.CharField(max_length=512)
    external_id = models.CharField(max_length=512, blank=True, default="")
    subject = models.CharField(max_length=512, blank=True, default="")
    active = models.BooleanField(default=True)
    name = models.CharField(max_length=512, blank=True, default="")
    email = models.CharField(max_length=512, blank=True, default="")
    emails = models.TextField(blank=True, default="")
    attributes: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, blank=True, default="")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["directory", "user_name_key"],
                condition=models.Q(deleted_at=None),
                name="one_directory_user_per_name",
            )
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["directory", "user_name"], name="directory_user_by_name"),
            models.Index(fields=["directory", "external_id"], name="directory_user_by_external_id"),
            models.Index(fields=["directory", "email"], name="directory_user_by_email"),
            models.Index(fields=["directory", "subject"], name="directory_user_by_subject"),
            models.Index(fields=["directory", "created_at", "id"], name="directory_user_in_order"),
            *(
                models.Index("directory", Upper(column), name=f"directory_user_any_{column}")
                for column in ("user_name", "external_id", "email", "subject")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.directory}:{self.user_name}"


class DirectoryGroup(models.Model):
    """A group of one directory. `held_at`: since when a change of it waits for a person (`flows.sources`).

    `digest`: of what a directory that is read said of it and its members last.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    directory = models.CharField(max_length=64)
    display_name = models.CharField(max_length=512)
    external_id = models.CharField(max_length=512, blank=True, default="")
    digest = models.CharField(max_length=64, blank=True, default="")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()
    held_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            # Two groups of one name would be one group to every rule.
            models.UniqueConstraint(fields=["directory", "display_name"], name="one_directory_group_per_name")
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["directory", "external_id"], name="directory_group_by_external_id"),
            models.Index(fields=["directory", "created_at", "id"], name="directory_group_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.directory}:{self.display_name}"


class Membership(models.Model):
    """A person is in a group, since then."""

    pk = models.CompositePrimaryKey("user_id", "group_id")
    user = models.ForeignKey(DirectoryUser, on_delete=models.CASCADE, related_name="+", db_index=False)
    group = models.ForeignKey(DirectoryGroup, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user_id} in {self.group_id}"


class GroupNesting(models.Model):
    """The group `child` is a member of the group `parent`: whoever is in `child` is in `parent`, through any depth."""

    pk = models.CompositePrimaryKey("parent_id", "child_id")
    parent = models.ForeignKey(DirectoryGroup, on_delete=models.CASCADE, related_name="+", db_index=False)
    child = models.ForeignKey(DirectoryGroup, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.child_id} in {self.parent_id}"


class PastName(models.Model):
    """What a directory called a person from `since` until `until`; the names are those of DirectoryUser.

    Whom the names meant then is asked for past moments alone: the next one of that name is another person.
    """

    directory = models.CharField(max_length=64)
    user = models.ForeignKey(DirectoryUser, on_delete=models.CASCADE, related_name="+", db_index=False)
    user_name = models.CharField(max_length=512)
    external_id = models.CharField(max_length=512, blank=True, default="")
    email = models.CharField(max_length=512, blank=True, default="")
    subject = models.CharField(max_length=512, blank=True, default="")
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["user", "until"], name="past_name_of_user"),
            models.Index(fields=["directory", "until"], name="past_name_of_directory"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} was called {self.user_name}"


class PastMembership(models.Model):
    """A membership that has ended, under the name that the group then had. Nothing is ever decided on it."""

    user = models.ForeignKey(DirectoryUser, on_delete=models.CASCADE, related_name="+", db_index=False)
    group_id = models.UUIDField()
    display_name = models.CharField(max_length=512)
    external_id = models.CharField(max_length=512, blank=True, default="")
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["user", "until"], name="past_membership_of_user"),
            models.Index(fields=["group_id", "until"], name="past_membership_of_group"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} was in {self.display_name}"


class PastNesting(models.Model):
    """A group was in another one, under the name that the outer one then had. Nothing is ever decided on it."""

    directory = models.CharField(max_length=64)
    parent_id = models.UUIDField()
    child_id = models.UUIDField()
    display_name = models.CharField(max_length=512)
    external_id = models.CharField(max_length=512, blank=True, default="")
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["directory", "until"], name="past_nesting_of_directory")]

    def __str__(self) -> str:
        return f"{self.child_id} was in {self.display_name}"


# --- The read on the way to a mint ---------------------------------------------------------------------------

# The column of DirectoryUser that a directory's `subject` names; a directory that is read has "subject" itself.
SUBJECT_COLUMNS: Final[Mapping[str, str]] = {
    "userName": "user_name", "externalId": "external_id", "id": "id", "emails": "email", "": "subject",
}  # fmt: skip
GROUP_COLUMNS: Final[Mapping[str, str]] = {"displayName": "display_name", "externalId": "external_id"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory says of one subject. `known`: how many people it could be. `contact`: when it was last heard of.

    `groups`: by the name that rules know them by, also those that the person is in through other groups.
    """

    known: int
    active: bool
    deleted: bool
    groups: frozenset[str]
    contact: datetime | None


def look_up(directory: str, subjects: Iterable[str], *, subject_column: str, group_column: str) -> dict[str, Entry]:
    """What the directory says of these subjects, compared letter by letter. One statement, however many they are."""
    wanted = list(subjects)
    ids = subject_column == "id"
    if ids:
        # An id of ours, as text: compared as what the column holds, or nobody.
        by_id = {key: text for text in wanted if (key := _as_id(text)) is not None}
        among, params = _among_ids(f"u.{compiled.column(DirectoryUser, 'id')}", list(by_id))
    else:
        among, params = compiled.among(f"u.{compiled.column(DirectoryUser, subject_column)}", wanted)
    # Of one person the groups above are found from their own, of many once for all groups.
    sql = _look_up_sql(subject_column, group_column, among, many=len(wanted) > 1)
    with connection.cursor() as cursor:
        cursor.execute(sql, [directory, *params, *([directory] if len(wanted) > 1 else []), SOURCE + directory])
        rows = cursor.fetchall()
    found: dict[str, list[tuple[bool, bool, frozenset[str]]]] = {}
    contact = _moment(rows[0][0]) if rows else None
    for _, value, active, deleted_at, groups in rows:
        if value is None:
            continue
        subject = by_id[str(uuid.UUID(str(value)))] if ids else str(value)
        named = json.loads(groups) if isinstance(groups, str) else groups or []
        found.setdefault(subject, []).append((bool(active), deleted_at is not None, frozenset(filter(None, named))))
    return {subject: _entry(found.get(subject, []), contact) for subject in wanted}


def gone_in_any_case(directory: str, subjects: Iterable[str], *, subject_column: str) -> dict[str, Entry]:
    """Of these subjects those whom the directory has under the same name in another case alone, and there calls inactive or has
    deleted; without groups, for such a name gives nothing. One statement, none for nobody.
    """
    wanted = list(subjects)
    if not wanted or subject_column == "id":
        return {}
    table, column = compiled.table(DirectoryUser), compiled.column(DirectoryUser, subject_column)
    values, params = compiled.texts(wanted)
    sql = (
        "SELECT v.value, max(CASE WHEN u.deleted_at IS NULL THEN 1 ELSE 0 END), "  # noqa: S608  ours
        "max(CASE WHEN u.deleted_at IS NULL AND NOT u.active THEN 1 ELSE 0 END) "
        f"FROM {values} JOIN {table} u ON u.directory = %s AND UPPER(u.{column}) = UPPER(v.value) "
        f"WHERE u.{column} <> v.value GROUP BY v.value"
    )
    return {
        str(subject): Entry(1, active=False, deleted=not present, groups=frozenset(), contact=None)
        for subject, present, inactive in _rows(sql, [*params, directory])
        if inactive or not present
    }


def differing_in_case(
    directory: str, provider: str, *, subject_column: str, most: int
) -> tuple[int, list[tuple[str, str]]]:
    """How many people sign in under a name that the directory has in another case alone, and some of them: (theirs, its own)."""
    if subject_column == "id":
        return 0, []
    user, person, column = (
        compiled.table(DirectoryUser), compiled.table(Person), compiled.column(DirectoryUser, subject_column),
    )  # fmt: skip
    sql = (
        f"SELECT p.subject, u.{column}, count(*) OVER () FROM {person} p JOIN {user} u ON u.directory = %s "  # noqa: S608  ours
        f"AND u.deleted_at IS NULL AND UPPER(u.{column}) = UPPER(p.subject) WHERE p.provider = %s AND NOT EXISTS "
        f"(SELECT 1 FROM {user} e WHERE e.directory = %s AND e.deleted_at IS NULL AND e.{column} = p.subject) "
        f"ORDER BY p.subject LIMIT %s"
    )
    rows = _rows(sql, [directory, provider, directory, most])
    return (int(rows[0][2]) if rows else 0), [(str(theirs), str(its)) for theirs, its, _ in rows]


Nestings = Mapping[uuid.UUID, Mapping[uuid.UUID, str]]


def nestings_at(directory: str, at: datetime, *, group_column: str) -> Nestings:
    """Which groups were in which at a past moment: child -> parent -> the parent's name then. Two statements."""
    found: dict[uuid.UUID, dict[uuid.UUID, str]] = {}
    still = GroupNesting.objects.filter(parent__directory=directory, since__lte=at)
    past = PastNesting.objects.filter(directory=directory, since__lte=at, until__gt=at)
    for child, parent, name in (
        *still.values_list("child_id", "parent_id", f"parent__{group_column}"),
        *past.values_list("child_id", "parent_id", group_column),
    ):
        found.setdefault(child, {})[parent] = name
    return found


class UserThen(NamedTuple):
    """A row that a subject named at a past moment; `active` and `deleted_at` are today's."""

    id: uuid.UUID
    active: bool
    created_at: datetime
    deleted_at: datetime | None


def users_at(
    directory: str, subjects: Iterable[str], at: datetime, *, subject_column: str
) -> dict[str, list[UserThen]]:
    """By subject, whom the directory called so at a past moment, who came later or was deleted before among them. One statement."""
    wanted = _usable(subjects, subject_column)
    if subject_column == "id":  # which nobody changes
        rows = DirectoryUser.objects.filter(directory=directory, pk__in=wanted)
        named = rows.values_list("id", "id", "active", "created_at", "deleted_at")
    else:
        renamed_since = PastName.objects.filter(user=models.OuterRef("pk"), until__gt=at)
        rows = DirectoryUser.objects.filter(directory=directory, **{f"{subject_column}__in": wanted})
        past = PastName.objects.filter(
            directory=directory, since__lte=at, until__gt=at, **{f"{subject_column}__in": wanted}
        )
        named = (
            rows.exclude(models.Exists(renamed_since))
            .values_list(subject_column, "id", "active", "created_at", "deleted_at")
            .union(
                past.values_list(subject_column, "user_id", "user__active", "user__created_at", "user__deleted_at"),
                all=True,
            )
        )
    found: dict[str, list[UserThen]] = {}
    for subject, pk, active, created_at, deleted_at in named:
        found.setdefault(str(subject), []).append(UserThen(pk, active, created_at, deleted_at))
    return found


def groups_at(
    users: Mapping[str, Iterable[UserThen]], at: datetime, *, group_column: str, nestings: Nestings
) -> dict[str, frozenset[str]]:
    """The groups that each of them (`users_at`) was in at a past moment, also through others (`nestings_at`); who was in none
    is not in it. Two statements, however many they are.
    """
    subject_of = {user.id: subject for subject, rows in users.items() for user in rows}
    of_people = {"user_id__in": list(subject_of), "since__lte": at}
    still = Membership.objects.filter(**of_people).values_list("user_id", "group_id", f"group__{group_column}")
    past = PastMembership.objects.filter(**of_people, until__gt=at).values_list("user_id", "group_id", group_column)
    found: dict[str, list[tuple[uuid.UUID, str]]] = {}
    for user, group, name in (*still, *past):
        found.setdefault(subject_of[user], []).append((group, name))
    return {subject: _with_those_above(groups, nestings) for subject, groups in found.items()}


def _with_those_above(groups: Iterable[tuple[uuid.UUID, str]], nestings: Nestings) -> frozenset[str]:
    named: dict[uuid.UUID, str] = {}
    waiting = list(groups)
    while waiting:
        group, name = waiting.pop()
        if group not in named:
            named[group] = name
            waiting += nestings.get(group, {}).items()
    return frozenset(filter(None, named.values()))


def _usable(subjects: Iterable[str], subject_column: str) -> list[str]:
    """Those that the column can hold: where it is the id, what is one."""
    return [subject for subject in subjects if subject_column != "id" or _as_id(subject) is not None]


def _entry(rows: list[tuple[bool, bool, frozenset[str]]], contact: datetime | None) -> Entry:
    """One word out of all rows of a subject: whoever was deleted and made anew is there."""
    present = [row for row in rows if not row[1]]
    if len(present) == 1:
        return Entry(1, present[0][0], deleted=False, groups=present[0][2], contact=contact)
    deleted = bool(rows) and not present
    return Entry(len(present) or int(deleted), active=False, deleted=deleted, groups=frozenset(), contact=contact)


def _look_up_sql(subject_column: str, group_column: str, among: str, *, many: bool) -> str:
    user, membership, nesting, group, source = (
        compiled.table(model) for model in (DirectoryUser, Membership, GroupNesting, DirectoryGroup, Source)
    )
    column, name = compiled.column(DirectoryUser, subject_column), compiled.column(DirectoryGroup, group_column)
    aggregate = "array_agg" if connection.vendor == "postgresql" else "json_group_array"
    # UNION, not UNION ALL: groups that contain one another end. The names are put together for all people in one pass: asked
    # for each of 500 people by themselves, they are looked for among everybody's memberships, 500 times.
    if many:
        mine = (
            f"up(group_id, above) AS (SELECT g.id, g.id FROM {group} g WHERE g.directory = %s "  # noqa: S608  ours
            f"UNION SELECT up.group_id, n.parent_id FROM up JOIN {nesting} n ON n.child_id = up.above), "
            f"mine(user_id, group_id) AS (SELECT m.user_id, up.above FROM {membership} m JOIN who ON m.user_id = who.id "
            f"JOIN up ON up.group_id = m.group_id), "
        )
    else:
        mine = (
            f"mine(user_id, group_id) AS (SELECT m.user_id, m.group_id FROM {membership} m JOIN who ON m.user_id = who.id "  # noqa: S608
            f"UNION SELECT mine.user_id, n.parent_id FROM mine JOIN {nesting} n ON n.child_id = mine.group_id), "
        )
    return (
        f"WITH RECURSIVE who AS (SELECT u.id, u.{column} AS subject, u.active, u.deleted_at FROM {user} u "  # noqa: S608  ours
        f"WHERE u.directory = %s AND {among}), {mine}"
        f"named(user_id, names) AS (SELECT mine.user_id, {aggregate}(g.{name}) FROM mine JOIN {group} g ON g.id = mine.group_id "
        f"GROUP BY mine.user_id) "
        f"SELECT (SELECT succeeded_at FROM {source} WHERE key = %s), who.subject, who.active, who.deleted_at, named.names "
        f"FROM (SELECT 1 AS one) one LEFT JOIN who ON 1 = 1 LEFT JOIN named ON named.user_id = who.id"
    )


def _among_ids(column: str, ids: Iterable[str]) -> compiled.Statement:
    """A condition that `column`, which holds ids of ours, is one of these, in canonical form."""
    if connection.vendor == "postgresql":
        return compiled.among(column, ids, "uuid")
    return compiled.among(column, (uuid.UUID(value).hex for value in ids))  # SQLite keeps them as 32 hexadecimal digits


def _as_id(text: str) -> str | None:
    try:
        canonical = str(uuid.UUID(text))
    except ValueError:
        return None
    return canonical if canonical == text else None


def _moment(value: Any) -> datetime | None:
    """SQLite gives it back without its zone, or as text."""
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# --- Members, many at a time ---------------------------------------------------------------------------------
#
# A group may have a hundred thousand members and one request name a thousand of them: each of these is one or two
# statements, and no row passes through Python but those that changed.


def present(model: type[DirectoryUser] | type[DirectoryGroup], directory: str, ids: Iterable[str]) -> set[str]:
    """Those of the ids (in canonical form) that the directory's people, or groups, have."""
    among, params = _among_ids(compiled.column(model, "id"), ids)
    there = " AND deleted_at IS NULL" if model is DirectoryUser else ""
    sql = f"SELECT id FROM {compiled.table(model)} WHERE directory = %s AND {among}{there}"  # noqa: S608  ours
    return {_canonical(row[0]) for row in _rows(sql, [directory, *params])}


def add_members(group: DirectoryGroup, user_ids: Iterable[str], at: datetime) -> list[str]:
    """Put people into a group. Returns the ids of those who were not in it; whoever is deleted meanwhile is not put there."""
    among, params = _among_ids(f"{compiled.table(DirectoryUser)}.{compiled.column(DirectoryUser, 'id')}", user_ids)
    # The lock that the foreign key takes at the commit: taken here, it waits for a deletion before the source's row is held,
    # which that deletion asks for, and then sees it. Otherwise the two block each other, or a member stays whom nobody can name.
    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""
    sql = (
        f"INSERT INTO {compiled.table(Membership)} (user_id, group_id, since) "  # noqa: S608  ours
        f"SELECT id, %s, %s FROM {compiled.table(DirectoryUser)} WHERE {among} AND deleted_at IS NULL{lock} "
        "ON CONFLICT (user_id, group_id) DO NOTHING RETURNING user_id"
    )
    return [
        _canonical(row[0]) for row in _rows(sql, [*compiled.adapt(Membership, group_id=group.pk, since=at), *params])
    ]


def members_that_go(group: DirectoryGroup, *, among: Iterable[str], but: bool) -> dict[str, str]:
    """Ids and user names of the members that are among these ids; with `but`, of all the others."""
    chosen, params = _among_ids(f"m.{compiled.column(Membership, 'user_id')}", among)
    sql = (
        f"SELECT m.user_id, u.user_name FROM {compiled.table(Membership)} m "  # noqa: S608  ours
        f"JOIN {compiled.table(DirectoryUser)} u ON u.id = m.user_id WHERE m.group_id = %s AND {'NOT ' if but else ''}({chosen})"
    )
    rows = _rows(sql, [*compiled.adapt(Membership, group_id=group.pk), *params])
    return {_canonical(user_id): user_name for user_id, user_name in rows}


def end_members(group: DirectoryGroup, user_ids: Iterable[str], at: datetime) -> None:
    """Take people out of a group; that they were in it is kept."""
    among, params = _among_ids(compiled.column(Membership, "user_id"), user_ids)
    group_id = compiled.adapt(Membership, group_id=group.pk)
    condition = f"group_id = %s AND {among}"
    _keep_past(condition, [*group_id, *params], at)
    _run(f"DELETE FROM {compiled.table(Membership)} WHERE {condition}", [*group_id, *params])  # noqa: S608  ours


def end_memberships_of(user: DirectoryUser, at: datetime) -> None:
    """Take a person out of every group; that they were there is kept."""
    user_id = compiled.adapt(Membership, user_id=user.pk)
    _keep_past("user_id = %s", user_id, at)
    _run(f"DELETE FROM {compiled.table(Membership)} WHERE user_id = %s", user_id)  # noqa: S608  ours


_NAMES: Final = ("user_name", "external_id", "email", "subject")


def keep_old_names(changes: Iterable[tuple[DirectoryUser, DirectoryUser]], at: datetime) -> None:
    """Of people who get other names: that they had the old ones until now. Each as (row before, row after). Two statements."""
    renamed = [old for old, new in changes if any(getattr(old, name) != getattr(new, name) for name in _NAMES)]
    if not renamed:
        return
    before = PastName.objects.filter(user__in=[old.pk for old in renamed]).order_by()
    since = dict(before.values_list("user_id").annotate(models.Max("until")))
    PastName.objects.bulk_create(
        [
            PastName(
                directory=old.directory, user_id=old.pk, since=since.get(old.pk, old.created_at), until=at,
                **{name: getattr(old, name) for name in _NAMES},
            )
            for old in renamed
        ],
        batch_size=500,
    )  # fmt: skip


def keep_under_old_name(group: DirectoryGroup, at: datetime) -> None:
    """Before a group gets another name: its members were in the old one until now, and are in the new one from now on."""
    group_id = compiled.adapt(Membership, group_id=group.pk)
    _keep_past("group_id = %s", group_id, at)
    sql = f"UPDATE {compiled.table(Membership)} SET since = %s WHERE group_id = %s"  # noqa: S608  ours
    _run(sql, [*compiled.adapt(Membership, since=at), *group_id])
    inside = GroupNesting.objects.filter(parent=group)
    _keep_past_nestings(inside, at)
    inside.update(since=at)


def end_nestings(rows: models.QuerySet[GroupNesting], at: datetime) -> bool:
    """Take groups out of groups; that they were in them is kept. Returns whether there were any."""
    _keep_past_nestings(rows, at)
    many, _ = rows.delete()
    return bool(many)


def _keep_past_nestings(rows: models.QuerySet[GroupNesting], at: datetime) -> None:
    PastNesting.objects.bulk_create(
        PastNesting(
            directory=row.parent.directory, parent_id=row.parent_id, child_id=row.child_id,
            display_name=row.parent.display_name, external_id=row.parent.external_id, since=row.since, until=at,
        )
        for row in rows.select_related("parent")
    )  # fmt: skip


def _keep_past(condition: str, params: list[Any], at: datetime) -> None:
    sql = (
        f"INSERT INTO {compiled.table(PastMembership)} (user_id, group_id, display_name, external_id, since, until) "  # noqa: S608
        f"SELECT m.user_id, m.group_id, g.display_name, g.external_id, m.since, %s FROM {compiled.table(Membership)} m "
        f"JOIN {compiled.table(DirectoryGroup)} g ON g.id = m.group_id WHERE {condition}"
    )
    _run(sql, [*compiled.adapt(PastMembership, until=at), *params])


def _rows(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _run(sql: str, params: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def _canonical(value: Any) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))
