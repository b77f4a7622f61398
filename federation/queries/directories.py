"""What people are shown of the directories, and of the answers that the brake holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db.models import Count

from federation.flows import sources
from federation.mapping.rules import Directory
from federation.models import current
from federation.models.directory import SOURCE, DirectoryGroup, DirectoryUser
from federation.models.sync import HeldAnswer, Source


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


@dataclass(frozen=True, slots=True)
class RoleEffect:
    """One role that people would lose or gain: how many, and the names of up to ten."""

    role_arn: str
    people: int
    who: tuple[str, ...]


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


def held() -> list[HeldLine]:
    """The answers that wait, oldest first. One query."""
    return [_held(row) for row in sources.waiting()]


def _held(row: HeldAnswer) -> HeldLine:
    said: Mapping[str, Any] = row.summary
    effect: Mapping[str, Any] = said.get("effect") or {}
    return HeldLine(
        source=row.source_id, kind=row.source_id.partition(":")[0], about=str(said.get("about", "")), why=str(said.get("why", "")),
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
