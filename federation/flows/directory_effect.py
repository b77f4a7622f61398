"""What a change of a directory that waits for a person would mean: how many people lose which roles, and who would gain one.

Worked out on the mapping in force, by the evaluator that lists use; minting never looks here. Whoever has never signed in is
taken as the directory has them (`flows.newcomers`). A group that empties can give as well as take: it may be one that a rule
denies something to; and the answer that takes some people away may put others into a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from federation.flows.company import AT_ONCE, Member, members
from federation.flows.latest_word import group_column, subject_column
from federation.flows.newcomers import newcomer
from federation.identity import Identity
from federation.mapping.company import Company
from federation.mapping.rules import Directory
from federation.models import current
from federation.models.catalogue import reachable
from federation.models.directory import DirectoryGroup, DirectoryUser, GroupNesting, Membership
from federation.models.people import Person

K = TypeVar("K")

_MOST_ROLES = 100
_NAMED = 10  # people, of one role

Ids = AbstractSet[UUID]
_NOBODY: Final[Ids] = frozenset()


class Listed(Protocol):
    """A person as a directory lists them."""

    @property
    def subject(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Shift:
    """What a change takes away and brings, by ids of ours; who or what is new has an id for this alone.

    `gone`: people who are disabled or deleted. `leaving`: by group, the people who leave it. `groups`: those that go.
    `nestings`: (parent, child), of a group that leaves another. `back`: people who are active again. `new_people`: who is
    listed for the first time. `coming`: by group, the people who come into it. `names`: of groups that are new, or are called
    otherwise. `nested`: (parent, child), of a group that comes into another.
    """

    gone: Ids = _NOBODY
    leaving: Mapping[UUID, Ids] = field(default_factory=dict)
    groups: Ids = _NOBODY
    nestings: AbstractSet[tuple[UUID, UUID]] = frozenset()
    back: Ids = _NOBODY
    new_people: Mapping[UUID, Listed] = field(default_factory=dict)
    coming: Mapping[UUID, Ids] = field(default_factory=dict)
    names: Mapping[UUID, str] = field(default_factory=dict)
    nested: AbstractSet[tuple[UUID, UUID]] = frozenset()


def effect_of(directory: Directory, shift: Shift, *, now: datetime) -> dict[str, Any]:
    """The effect, as JSON: `people` who lose anything, `lost` and `gained`: roles, each with how many people and up to ten
    of their names; `roles_lost` and `roles_gained`: how many roles these are, listed or not; `never_signed_in`: people whom it
    concerns and who have never signed in, so that only what the directory says of them counts.
    """
    return _Effect(directory, shift, now).worked_out()


class _Effect:
    def __init__(self, directory: Directory, shift: Shift, now: datetime) -> None:
        self._directory, self._shift, self._now = directory, shift, now
        self._mapping = current.mapping()
        self._company = Company(self._mapping.compiled, now, reachable)
        edges = set(GroupNesting.objects.filter(parent__directory=directory.slug).values_list("parent_id", "child_id"))
        kept = {
            (parent, child)
            for parent, child in edges - shift.nestings
            if parent not in shift.groups and child not in shift.groups
        }
        self._edges, self._edges_after = edges, kept | shift.nested
        self._parents_after = turned(self._edges_after)
        names = DirectoryGroup.objects.filter(directory=directory.slug).values_list("pk", group_column(directory))
        self._names: dict[UUID, str] = {**dict(names), **shift.names}
        self._groups_of_coming = dict[UUID, set[UUID]]()
        for group, users in shift.coming.items():
            for user in users:
                self._groups_of_coming.setdefault(user, set()).add(group)
        self._is_open = any(
            p.slug == directory.provider and p.enabled for p in self._mapping.document.identity_providers
        )
        self._losers = 0
        self._unknown = 0
        self._lost = dict[str, list[str]]()
        self._gained = dict[str, list[str]]()
        self._counts: dict[str, dict[str, int]] = {"lost": {}, "gained": {}}

    def worked_out(self) -> dict[str, Any]:
        concerned = sorted(self._concerned())
        for begin in range(0, len(concerned), AT_ONCE):
            self._look_at(concerned[begin : begin + AT_ONCE])
        return {
            "people": self._losers,
            "roles_lost": len(self._lost),
            "lost": self._listed(self._lost, "lost"),
            "roles_gained": len(self._gained),
            "gained": self._listed(self._gained, "gained"),
            "never_signed_in": self._unknown,
        }

    def _listed(self, who: Mapping[str, list[str]], kind: str) -> list[dict[str, Any]]:
        counts = self._counts[kind]
        most = sorted(who, key=lambda arn: (-counts[arn], arn))[:_MOST_ROLES]
        return [{"role": arn, "people": counts[arn], "who": who[arn]} for arn in most]

    def _concerned(self) -> set[UUID]:
        """Ids of everybody in the directory whose groups, or whose right to be there, change."""
        shift = self._shift
        concerned = {*shift.gone, *shift.back, *shift.new_people, *self._groups_of_coming}
        concerned.update(user for users in shift.leaving.values() for user in users)
        # Whoever is in a group through this one leaves that group, or comes into it, too.
        through = {*shift.groups, *shift.names, *(child for _, child in shift.nestings | shift.nested)}
        below = closure(through, turned((child, parent) for parent, child in self._edges | self._edges_after))
        concerned.update(Membership.objects.filter(group_id__in=below).values_list("user_id", flat=True))
        return concerned

    def _look_at(self, ids: list[UUID]) -> None:
        """Some people: those who are known by their sign-in, and the others by what the directory says."""
        directory, shift = self._directory, self._shift
        column = subject_column(directory)
        rows = DirectoryUser.objects.filter(pk__in=ids, deleted_at=None)
        listed: dict[str, tuple[UUID, str, str]] = {
            str(subject): (pk, name or user_name, email)
            for pk, subject, user_name, name, email in rows.values_list("pk", column, "user_name", "name", "email")
            if subject
        }
        for pk in ids:
            if pk in shift.new_people:
                one = shift.new_people[pk]
                listed[one.subject] = (pk, one.name, one.email)
        known = list(Person.objects.filter(provider=directory.provider, subject__in=listed))
        strangers = listed.keys() - {person.subject for person in known}
        self._unknown += len(ids) - len(listed) + len(strangers)
        people = known + [
            newcomer(directory, subject, listed[subject][1], listed[subject][2], now=self._now)
            for subject in sorted(strangers)
        ]
        direct = dict[UUID, set[UUID]]()
        for user, group in Membership.objects.filter(user_id__in=ids).values_list("user_id", "group_id"):
            direct.setdefault(user, set()).add(group)
        for member in members(people, self._mapping, now=self._now):
            user = listed[member.person.subject][0]
            before, after = self._identities(member, user, direct.get(user, set()))
            self._compare(member.person, before, after)

    def _identities(self, member: Member, user: UUID, direct: Ids) -> tuple[Identity | None, Identity | None]:
        """As they are decided on before and after the change; None: nothing can be, and they have nothing."""
        before = member.identity
        if user in self._shift.gone:
            return before, None
        if before is not None:
            known = before
        elif self._comes(member.person, user):
            known = replace(current.identity_of(member.person), groups_complete=True)
        else:
            return None, None
        groups = self._groups_after(user, direct)
        if self._directory.groups == "add":
            groups |= frozenset(member.person.groups)
        return before, replace(known, groups=groups)

    def _comes(self, person: Person, user: UUID) -> bool:
        """Whether somebody of whom nothing could be decided comes in by the change."""
        of_claims = self._directory.groups == "add" and not person.groups_complete
        new = user in self._shift.back or user in self._shift.new_people
        return new and self._is_open and person.active and not of_claims

    def _compare(self, person: Person, before: Identity | None, after: Identity | None) -> None:
        had, has = (
            {given.role_arn for given in self._company.standing(one).grants} if one is not None else set[str]()
            for one in (before, after)
        )
        self._losers += bool(had - has)
        self._note("lost", self._lost, had - has, person)
        self._note("gained", self._gained, has - had, person)

    def _note(self, kind: str, who: dict[str, list[str]], arns: Iterable[str], person: Person) -> None:
        counts = self._counts[kind]
        for arn in arns:
            counts[arn] = counts.get(arn, 0) + 1
            named = who.setdefault(arn, [])
            if len(named) < _NAMED:
                named.append(person.name or person.subject)

    def _groups_after(self, user: UUID, direct: Ids) -> frozenset[str]:
        shift = self._shift
        left = {group for group in direct if user not in shift.leaving.get(group, _NOBODY)} - shift.groups
        left |= self._groups_of_coming.get(user, set())
        return frozenset(self._names[group] for group in closure(left, self._parents_after) if self._names.get(group))


def turned(edges: Iterable[tuple[K, K]]) -> dict[K, set[K]]:
    """(parent, child) as child -> parents, which is what `closure` goes along."""
    found = dict[K, set[K]]()
    for parent, child in edges:
        found.setdefault(child, set()).add(parent)
    return found


def closure(begin: Iterable[K], edges: Mapping[K, AbstractSet[K]]) -> set[K]:
    """What is reached from there, itself too; circles end."""
    found, waiting = set[K](), list(begin)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges.get(one, ())
    return found
