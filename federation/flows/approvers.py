"""Who could say yes: the people whom a rule's `approval` names, as far as the gateway knows them.

For showing and for letters. Whether somebody may decide is asked of the mapping when they do, on what their groups are then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast

from federation.errors import RolegateError
from federation.flows import latest_word
from federation.identity import Identity
from federation.mapping.rules import Directory, GroupMatch
from federation.models import current
from federation.models.directory import DirectoryGroup, DirectoryUser, GroupNesting, Membership
from federation.models.people import Person

MOST_NAMED = 50
_LOOKED_AT = 2_000
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Approvers:
    """`people`: those who are known, up to fifty, by name; `more`: whether there are others besides."""

    people: tuple[Person, ...]
    more: bool


class Named(NamedTuple):
    """Who is meant: whoever is in one of `groups`, by the word of one of `providers` (slugs; none: of any)."""

    groups: Sequence[GroupMatch]
    providers: Sequence[str] = ()


def known(
    named: Sequence[Named],
    mapping: current.CurrentMapping,
    may: Callable[[Identity], bool],
    *,
    but: Iterable[UUID],
    now: datetime,
) -> Approvers:
    """The active people, other than `but`, who `may`, which takes one that is `named`: a few statements whatever the company's
    size. Whom else a provider puts into a group of that name takes nobody's place, neither in the answer nor in what is looked at.
    """
    left_out = set(but)
    found: list[Person] = []
    candidates = _candidates(named, mapping)
    for start in range(0, len(candidates), _AT_ONCE):
        some = [person for person in candidates[start : start + _AT_ONCE] if person.pk not in left_out]
        for person, identity in zip(some, latest_word.identities_of(some, mapping, now=now), strict=True):
            if not isinstance(identity, RolegateError) and may(identity):
                found.append(person)
        if len(found) > MOST_NAMED:
            break
    found.sort(key=lambda person: (name_of(person).casefold(), person.pk))
    return Approvers(tuple(found[:MOST_NAMED]), more=len(found) > MOST_NAMED or len(candidates) >= _LOOKED_AT)


def name_of(person: Person) -> str:
    """What people call them: name, else e-mail, else the provider's own name for them."""
    return person.name or person.email or person.subject


def _candidates(named: Sequence[Named], mapping: current.CurrentMapping) -> list[Person]:
    """People who may be meant. A closer look follows; none that is meant may be missing."""
    wanted = Q(pk__in=[])
    for groups, providers in named:
        # Attack: many people of a lesser provider, in a group of that name, would leave no place for those who count.
        wanted |= _in_one_of(groups, mapping) & (Q(provider__in=providers) if providers else Q())
    people = Person.objects.filter(active=True).annotate(groups_text=Cast("groups", TextField())).filter(wanted)
    return list(people.order_by("-claims_at", "pk")[:_LOOKED_AT])


def _in_one_of(groups: Sequence[GroupMatch], mapping: current.CurrentMapping) -> Q:
    exact = [match.pattern for match in groups if match.kind == "exact"]
    if len(exact) < len(groups):
        return ~Q(pk__in=[])  # a glob or an expression: only the closer look tells
    found = Q(pk__in=[])
    for name in exact:
        # As JSON writes it: SQLite keeps what json.dumps made, PostgreSQL its own form.
        found |= Q(groups_text__contains=json.dumps(name)) | Q(
            groups_text__contains=json.dumps(name, ensure_ascii=False)
        )
    for directory in mapping.document.directories:
        subjects = subjects_in(directory, exact)[:_LOOKED_AT]
        if subjects:
            found |= Q(provider=directory.provider, subject__in=subjects)
    return found


def subjects_in(directory: Directory, names: Sequence[str]) -> list[str]:
    """What the provider calls the directory's members of these groups, through groups in groups."""
    column = latest_word.group_column(directory)
    groups = set(
        DirectoryGroup.objects.filter(directory=directory.slug, **{f"{column}__in": names}).values_list("pk", flat=True)
    )
    newest = groups
    while newest:
        newest = set(GroupNesting.objects.filter(parent__in=newest).values_list("child_id", flat=True)) - groups
        groups |= newest
    members = Membership.objects.filter(group__in=groups).values("user_id")
    subject = latest_word.subject_column(directory)
    rows = DirectoryUser.objects.filter(pk__in=members, deleted_at=None).values_list(subject, flat=True)
    return [str(value) for value in rows]
