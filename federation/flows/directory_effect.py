"""What a change of a directory that waits for a person would mean: how many people lose which roles, and who would gain one.

Worked out on the mapping in force and on the people who have signed in at least once; minting never looks here. A group that
empties can give as well as take: it may be one that a rule denies something to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from federation.flows.company import AT_ONCE, members
from federation.flows.latest_word import group_column, subject_column
from federation.mapping.company import Company
from federation.mapping.rules import Directory
from federation.models import current
from federation.models.catalogue import reachable
from federation.models.directory import DirectoryGroup, DirectoryUser, GroupNesting, Membership
from federation.models.people import Person

_MOST_ROLES = 100
_NAMED = 10  # people, of one role

Ids = AbstractSet[UUID]
_NOBODY: Final[Ids] = frozenset()


@dataclass(frozen=True, slots=True)
class Loss:
    """What a change takes away, by ids of ours. `gone`: people who are disabled or deleted. `leaving`: by group, the people
    who leave it. `groups`: those that go. `nestings`: (parent, child), of a group that leaves another.
    """

    gone: Ids = _NOBODY
    leaving: Mapping[UUID, Ids] = field(default_factory=dict)
    groups: Ids = _NOBODY
    nestings: AbstractSet[tuple[UUID, UUID]] = frozenset()


def effect_of(directory: Directory, loss: Loss, *, now: datetime) -> dict[str, Any]:
    """The effect, as JSON: `people` who lose anything, `lost` and `gained`: roles, each with how many people and up to ten
    of their names; `roles_lost` and `roles_gained`: how many roles these are, listed or not; `never_signed_in`: people of the
    directory whom it concerns and of whom nothing more is known.
    """
    return _Effect(directory, loss, now).worked_out()


class _Effect:
    def __init__(self, directory: Directory, loss: Loss, now: datetime) -> None:
        self._directory, self._loss, self._now = directory, loss, now
        self._mapping = current.mapping()
        self._company = Company(self._mapping.compiled, now, reachable)
        self._parents = dict[UUID, set[UUID]]()
        for parent, child in GroupNesting.objects.filter(parent__directory=directory.slug).values_list(
            "parent_id", "child_id"
        ):
            self._parents.setdefault(child, set()).add(parent)
        self._parents_after = {
            child: {parent for parent in above if (parent, child) not in loss.nestings} - loss.groups
            for child, above in self._parents.items()
            if child not in loss.groups
        }
        names = DirectoryGroup.objects.filter(directory=directory.slug).values_list("pk", group_column(directory))
        self._names: dict[UUID, str] = dict(names)
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
        loss = self._loss
        concerned = {*loss.gone, *(user for users in loss.leaving.values() for user in users)}
        # Whoever is in a group through this one leaves that group too.
        through = {*loss.groups, *(child for _, child in loss.nestings)}
        children = dict[UUID, set[UUID]]()
        for child, parents in self._parents.items():
            for parent in parents:
                children.setdefault(parent, set()).add(child)
        below = _closure(through, children)
        concerned.update(Membership.objects.filter(group_id__in=below).values_list("user_id", flat=True))
        return concerned

    def _look_at(self, ids: list[UUID]) -> None:
        column = subject_column(self._directory)
        rows = DirectoryUser.objects.filter(pk__in=ids, deleted_at=None).values_list("pk", column)
        subjects = {str(subject): pk for pk, subject in rows if subject}
        people = list(Person.objects.filter(provider=self._directory.provider, subject__in=subjects))
        self._unknown += len(ids) - len({person.subject for person in people})
        direct = dict[UUID, set[UUID]]()
        wanted = [subjects[person.subject] for person in people]
        for user, group in Membership.objects.filter(user_id__in=wanted).values_list("user_id", "group_id"):
            direct.setdefault(user, set()).add(group)
        for member in members(people, self._mapping, now=self._now):
            if member.identity is None:
                continue  # who has nothing loses nothing
            user = subjects[member.person.subject]
            before = {given.role_arn for given in self._company.standing(member.identity).grants}
            after = set[str]()
            if user not in self._loss.gone:
                groups = self._groups_after(user, direct.get(user, set()))
                if self._directory.groups == "add":
                    groups |= frozenset(member.person.groups)
                told = replace(member.identity, groups=groups)
                after = {given.role_arn for given in self._company.standing(told).grants}
            self._losers += bool(before - after)
            self._note("lost", self._lost, before - after, member.person)
            self._note("gained", self._gained, after - before, member.person)

    def _note(self, kind: str, who: dict[str, list[str]], arns: Iterable[str], person: Person) -> None:
        counts = self._counts[kind]
        for arn in arns:
            counts[arn] = counts.get(arn, 0) + 1
            named = who.setdefault(arn, [])
            if len(named) < _NAMED:
                named.append(person.name or person.subject)

    def _groups_after(self, user: UUID, direct: Ids) -> frozenset[str]:
        loss = self._loss
        left = {group for group in direct if user not in loss.leaving.get(group, _NOBODY)} - loss.groups
        return frozenset(self._names[group] for group in _closure(left, self._parents_after) if self._names.get(group))


def _closure(begin: Iterable[UUID], edges: Mapping[UUID, Ids]) -> set[UUID]:
    """What is reached from there, itself too; circles end."""
    found, waiting = set[UUID](), list(begin)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges.get(one, _NOBODY)
    return found
