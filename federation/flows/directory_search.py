"""What a directory asks the gateway for: people and groups by filter, in order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from federation.directory import scim, scim_about, scim_filter
from federation.directory.scim_filter import Both, Condition, Either, Neither, Test
from federation.models.directory import DirectoryGroup, DirectoryUser, GroupNesting, Membership

EVERYTHING = scim.Selection()
MOST_ENTRIES = 20_000  # members, or groups of people, in one page: it ends early rather than grow without end
_LOOKUPS: Final[Mapping[str, str]] = {
    "eq": "exact", "co": "contains", "sw": "startswith", "ew": "endswith", "gt": "gt", "ge": "gte", "lt": "lt", "le": "lte",
}  # fmt: skip
_FOLDED: Final[Mapping[str, str]] = {"eq": "iexact", "co": "icontains", "sw": "istartswith", "ew": "iendswith"}
_NEVER_EMPTY = frozenset({"id", "active", "created_at", "modified_at", "user_name_key", "display_name"})
_NOTHING = Q(pk__in=[])


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for. `start_index` from 1 (RFC 7644 section 3.4.2.4)."""

    filter: str = ""
    sort_by: str = ""
    sort_order: str = ""
    start_index: int = 1
    count: int = scim_about.PAGE
    selection: scim.Selection = EVERYTHING


def search(kind: str, directory: str, asked: Asked, base_url: str) -> dict[str, Any]:
    """One page of `User` or `Group` as a list response. Raises ScimRefused."""
    return search_all([kind], directory, asked, base_url)


def search_all(kinds: Sequence[str], directory: str, asked: Asked, base_url: str) -> dict[str, Any]:
    """One page over several kinds of resource, one kind behind the other. Raises ScimRefused."""
    skip, left = max(1, asked.start_index) - 1, min(max(0, asked.count), scim_about.MAX_RESULTS)
    total, found = 0, list[dict[str, Any]]()
    ended = False
    for kind in kinds:
        rows = _rows(kind, directory, asked)
        here = rows.count()
        first = max(0, skip - total)
        total += here
        wanted = left - len(found)
        if wanted > 0 and first < here and not ended:
            page = list(rows[first : first + wanted])
            shown = _SHOW[kind](page, asked.selection, base_url)
            found += shown
            ended = len(shown) < len(page)
    return scim.list_response(found, total=total, start_index=skip + 1)


def _rows(kind: str, directory: str, asked: Asked) -> QuerySet[Any]:
    rows: QuerySet[Any]
    if kind == "User":
        rows = DirectoryUser.objects.filter(directory=directory, deleted_at=None)
    else:
        rows = DirectoryGroup.objects.filter(directory=directory)
    condition = scim_filter.read_filter(asked.filter, kind)
    order = scim_filter.read_sort(asked.sort_by, asked.sort_order, kind) or "created_at"
    return (rows if condition is None else rows.filter(_q(condition))).order_by(order, "id")


def _q(condition: Condition) -> Q:
    match condition:
        case Both(terms):
            return reduce(and_, (_q(term) for term in terms))
        case Either(terms):
            return reduce(or_, (_q(term) for term in terms))
        case Neither(term):
            return ~_q(term)
        case Test():
            return _test(condition)


def _test(test: Test) -> Q:
    column, operator, value = test.column, test.operator, test.value
    if column in ("id", "members", "groups"):
        return _by_id(column, value if operator == "eq" else None)
    if column.startswith("attributes."):
        path = "__".join(("attributes", *column.removeprefix("attributes.").split("\n")))
        if operator == "pr":
            return Q(**{f"{path}__isnull": False})
        return Q(**{f"{path}__{(_FOLDED if test.folded else _LOOKUPS)[operator]}": value})
    if operator == "pr":
        return Q() if column in _NEVER_EMPTY else ~Q(**{column: ""})
    return Q(**{f"{column}__{_LOOKUPS[operator]}": value})


def _by_id(column: str, value: Any) -> Q:
    """By an id: their own, of a member, or of a group; None asks whether there is any."""
    if value is not None:
        try:
            value = UUID(str(value))
        except ValueError:
            return _NOTHING
    if column == "id":
        return Q() if value is None else Q(pk=value)
    if column == "groups":
        groups = Membership.objects.all() if value is None else Membership.objects.filter(group_id=value)
        return Q(pk__in=groups.values("user_id"))
    if value is None:
        return Q(pk__in=Membership.objects.values("group_id")) | Q(pk__in=GroupNesting.objects.values("parent_id"))
    return Q(pk__in=Membership.objects.filter(user_id=value).values("group_id")) | Q(
        pk__in=GroupNesting.objects.filter(child_id=value).values("parent_id")
    )


# --- Showing ----------------------------------------------------------------------------------------------


def shown(row: DirectoryUser | DirectoryGroup, base_url: str) -> scim.Shown:
    """What every resource says of itself."""
    return scim.Shown(str(row.pk), row.version, row.created_at, row.modified_at, base_url)


def show_people(rows: Sequence[DirectoryUser], selection: scim.Selection, base_url: str) -> list[dict[str, Any]]:
    """People as an answer has them; fewer than were given where their groups would be too many."""
    groups: dict[UUID, list[tuple[str, str]]] = {}
    if selection.wants("groups", unasked=False):
        rows = _few_enough(rows, _counted(Membership, "user_id", rows))
        listed = Membership.objects.filter(user_id__in=[row.pk for row in rows])
        for user_id, group_id, name in listed.values_list("user_id", "group_id", "group__display_name"):
            groups.setdefault(user_id, []).append((str(group_id), name))
    return [
        scim.show_person(row.attributes, shown(row, base_url), sorted(groups.get(row.pk, ())), selection)
        for row in rows
    ]


def show_groups(rows: Sequence[DirectoryGroup], selection: scim.Selection, base_url: str) -> list[dict[str, Any]]:
    """Groups as an answer has them; fewer than were given where their members would be too many."""
    members: dict[UUID, list[tuple[str, str, str]]] = {}
    if selection.wants("members", unasked=True):
        rows = _few_enough(rows, _counted(Membership, "group_id", rows))
        ids = [row.pk for row in rows]
        people = Membership.objects.filter(group_id__in=ids).order_by("user_id")
        for group_id, user_id, name, user_name in people.values_list(
            "group_id", "user_id", "user__name", "user__user_name"
        ):
            members.setdefault(group_id, []).append((str(user_id), "User", name or user_name))
        nested = GroupNesting.objects.filter(parent_id__in=ids).order_by("child_id")
        for group_id, child_id, name in nested.values_list("parent_id", "child_id", "child__display_name"):
            members.setdefault(group_id, []).append((str(child_id), "Group", name))
    return [
        scim.show_group(row.display_name, row.external_id, shown(row, base_url), members.get(row.pk, ()), selection)
        for row in rows
    ]


_SHOW: Final[Mapping[str, Callable[[Any, scim.Selection, str], list[dict[str, Any]]]]] = {
    "User": show_people,
    "Group": show_groups,
}


def _counted(model: type[Membership], column: str, rows: Sequence[Any]) -> dict[UUID, int]:
    if len(rows) < 2:
        return {}
    of = model.objects.filter(**{f"{column}__in": [row.pk for row in rows]}).values_list(column)
    return dict(of.annotate(many=Count(column)))


def _few_enough(rows: Sequence[Any], counts: Mapping[UUID, int]) -> Sequence[Any]:
    """The rows up to the one that brings too many entries; always the first."""
    entries = 0
    for number, row in enumerate(rows):
        entries += counts.get(row.pk, 0)
        if number and entries > MOST_ENTRIES:
            return rows[:number]
    return rows
