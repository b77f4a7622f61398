"""What people are shown of the directories, and of the answers that the brake holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.db.models import Count, Q

from federation.flows import sources
from federation.flows.latest_word import group_column, subject_column
from federation.mapping.rules import Account, Directory
from federation.models import current
from federation.models.directory import SOURCE, DirectoryGroup, DirectoryUser, Entry, look_up
from federation.models.people import Person
from federation.models.sync import HeldAnswer, Source
from federation.queries.mapping import called


@dataclass(frozen=True, slots=True)
class DirectoryLine:
    """One directory of the mapping. `state` and `reason`: of the last attempt (never, ok, failed, held).

    `heard_at`: the last good reading, or the last push. `stale_at`: from when on it closes production without another; None
    where it never does. `left_out`: entries of no use, by why. `groups_held`: groups of which a change waits for a person.
    """

    slug: str
    provider: str
    way: Literal["scim", "ldap"]
    groups: Literal["replace", "add"]
    state: str
    reason: str
    attempted_at: datetime | None
    heard_at: datetime | None
    stale_at: datetime | None
    stale: bool
    people: int
    inactive: int
    group_count: int
    groups_held: int
    left_out: Mapping[str, int]


def directories(*, now: datetime) -> list[DirectoryLine]:
    """Every directory of the mapping in force, in the document's order. Three queries, however many there are."""
    listed = current.mapping().document.directories
    slugs = [directory.slug for directory in listed]
    states = Source.objects.in_bulk([SOURCE + slug for slug in slugs])
    people = dict[tuple[str, bool], int]()
    rows = DirectoryUser.objects.filter(directory__in=slugs, deleted_at=None).values_list("directory", "active")
    for slug, active, many in rows.annotate(many=Count("pk")):
        people[slug, active] = many
    groups = dict[str, tuple[int, int]]()
    counted = DirectoryGroup.objects.filter(directory__in=slugs).values_list("directory")
    for slug, many, held in counted.annotate(many=Count("pk"), held=Count("held_at")):
        groups[slug] = (many, held)
    return [
        _line(
            directory, states.get(SOURCE + directory.slug), active=people.get((directory.slug, True), 0),
            inactive=people.get((directory.slug, False), 0), groups=groups.get(directory.slug, (0, 0)), now=now,
        )
        for directory in listed
    ]  # fmt: skip


def _line(
    directory: Directory, source: Source | None, *, active: int, inactive: int, groups: tuple[int, int], now: datetime
) -> DirectoryLine:
    heard = source.succeeded_at if source else None
    stale_at = None
    if directory.stale_after is not None and heard is not None:
        stale_at = heard + timedelta(seconds=directory.stale_after)
    counts = source.counts if source else {}
    return DirectoryLine(
        slug=directory.slug, provider=directory.provider, way="scim" if directory.scim else "ldap", groups=directory.groups,
        state=source.state if source else Source.State.NEVER, reason=source.error_code if source else "",
        attempted_at=source.attempted_at if source else None, heard_at=heard, stale_at=stale_at,
        stale=directory.stale_after is not None and (stale_at is None or stale_at < now),
        people=active + inactive, inactive=inactive, group_count=groups[0], groups_held=groups[1],
        left_out={why: many for why, many in counts.items() if why not in ("people", "groups")},
    )  # fmt: skip


MOST_FOUND: Final = 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A person as one directory has them. `state`: active, inactive or deleted. `groups`: by the name that rules know, with
    those that they are in through others; None where several of that name are listed, so that nobody can say. `person_id`:
    of the person who signs in as them, None where nobody has yet.
    """

    directory: str
    user_name: str
    subject: str
    name: str
    email: str
    state: Literal["active", "inactive", "deleted"]
    changed_at: datetime
    groups: tuple[str, ...] | None
    person_id: UUID | None


def listed(words: str) -> list[Listed]:
    """What the directories say of whoever is called so: user name, e-mail or external id, in any case but whole; up to
    MOST_FOUND. Four queries, and one for each directory.
    """
    text = words.replace("\x00", "").strip()
    if not text:
        return []
    among = {one.slug: one for one in current.mapping().document.directories}
    called = Q(user_name__iexact=text) | Q(email__iexact=text) | Q(external_id=text)
    rows = list(
        DirectoryUser.objects.filter(called, directory__in=among).order_by("directory", "user_name")[:MOST_FOUND]
    )
    subjects = {row.pk: str(getattr(row, subject_column(among[row.directory]))) for row in rows}
    entries: dict[str, Mapping[str, Entry]] = {}
    people: dict[tuple[str, str], UUID] = {}
    for slug, directory in among.items():
        theirs = [subjects[row.pk] for row in rows if row.directory == slug]
        if theirs:
            entries[slug] = look_up(
                slug, theirs, subject_column=subject_column(directory), group_column=group_column(directory)
            )
            known = Person.objects.filter(provider=directory.provider, subject__in=theirs)
            people |= {(slug, subject): pk for subject, pk in known.values_list("subject", "pk")}
    return [
        _listed(row, subjects[row.pk], entries[row.directory][subjects[row.pk]], people.get((row.directory, subjects[row.pk])))
        for row in rows
    ]  # fmt: skip


def _listed(row: DirectoryUser, subject: str, entry: Entry, person_id: UUID | None) -> Listed:
    state: Literal["active", "inactive", "deleted"] = "active" if row.active else "inactive"
    groups: tuple[str, ...] | None = tuple(sorted(entry.groups)) if entry.known == 1 else None
    if row.deleted_at is not None:
        state, groups = "deleted", ()
    return Listed(
        row.directory, row.user_name, subject, row.name, row.email, state, row.deleted_at or row.modified_at, groups, person_id
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RoleEffect:
    """One role that people would lose or gain: how many, and the names of up to ten."""

    role_arn: str
    people: int
    who: tuple[str, ...]

    @property
    def named(self) -> int:
        """How many of them are named."""
        return len(self.who)


@dataclass(frozen=True, slots=True)
class HeldLine:
    """An answer that waits for a person. `source`: what `sources.decide` takes. `kind`: account, organization, directory,
    group or bulk. `examples`: what would go, up to two hundred of `removed`. `losers` None: nobody's roles were looked at.
    """

    source: str
    kind: str
    about: str
    why: str
    since: datetime
    before: int
    after: int
    added: int
    changed: int
    removed: int
    examples: tuple[str, ...]
    losers: int | None
    never_signed_in: int
    lost: tuple[RoleEffect, ...]
    gained: tuple[RoleEffect, ...]
    roles_lost: int
    roles_gained: int


@dataclass(frozen=True, slots=True)
class DecidedLine:
    """An answer that was decided, or overtaken by a later one (then `by` is ""). `about`, `by`: what people call source and person."""

    source: str
    about: str
    decision: str
    by: str
    at: datetime | None


def held() -> list[HeldLine]:
    """The answers that wait, oldest first. One query, and the mapping's where one waits."""
    rows = sources.waiting()
    accounts = current.mapping().compiled.accounts if rows else {}
    return [_held(row, accounts) for row in rows]


def decided(*, most: int) -> list[DecidedLine]:
    """The answers that were decided last. Two queries, and the mapping's."""
    rows = sources.decided(most=most)
    accounts = current.mapping().compiled.accounts if rows else {}
    names = called(row.decided_by for row in rows)
    return [
        DecidedLine(row.source_id, _about(row, accounts), row.decision, names.get(row.decided_by, ""), row.decided_at)
        for row in rows
    ]


def _about(row: HeldAnswer, accounts: Mapping[str, Account]) -> str:
    """What people call the source: an account by its name, as long as the mapping or the organization has it."""
    kind, _, key = row.source_id.partition(":")
    account = accounts.get(key) if kind == "account" else None
    return account.name if account is not None else str(row.summary.get("about", ""))


def _held(row: HeldAnswer, accounts: Mapping[str, Account]) -> HeldLine:
    said: Mapping[str, Any] = row.summary
    effect: Mapping[str, Any] = said.get("effect") or {}
    return HeldLine(
        source=row.source_id, kind=row.source_id.partition(":")[0], about=_about(row, accounts), why=str(said.get("why", "")),
        since=row.held_at, before=_number(said, "before"), after=_number(said, "after"), added=_number(said, "added"),
        changed=_number(said, "changed"), removed=_number(said, "removed"), examples=tuple(said.get("examples", ())),
        losers=_number(effect, "people") if effect else None, never_signed_in=_number(effect, "never_signed_in"),
        lost=_roles(effect, "lost"), gained=_roles(effect, "gained"), roles_lost=_number(effect, "roles_lost"),
        roles_gained=_number(effect, "roles_gained"),
    )  # fmt: skip


def _number(said: Mapping[str, Any], key: str) -> int:
    return int(said.get(key) or 0)


def _roles(effect: Mapping[str, Any], kind: str) -> tuple[RoleEffect, ...]:
    return tuple(RoleEffect(role["role"], role["people"], tuple(role["who"])) for role in effect.get(kind, ()))
