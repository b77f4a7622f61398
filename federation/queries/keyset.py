"""Paging by key: the page after this row, not page 4,000. What is read is what is shown, however far one has paged.

A cursor is the sort key of a row, as JSON in base64: it names a place and grants nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db.models import CharField, DateTimeField, F, Field, IntegerField, Model, Q, QuerySet, TextField, UUIDField

M = TypeVar("M", bound=Model)
PAGE_SIZE = 50
_LONGEST_CURSOR = 4096


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows of a list, in the list's order, and the cursors of the page before and the page after ("" where there is none)."""

    rows: tuple[M, ...]
    earlier: str
    later: str


def page(rows: QuerySet[M], keys: Sequence[str], cursor: str = "", *, size: int = PAGE_SIZE) -> Page[M]:
    """One page of `rows` in the order of `keys`: names of columns or annotations that hold no NULL, the last of them unique.

    All ascend, or all descend ("-name"). A cursor that cannot be read is the first page: whoever pastes half an address sees
    the list.
    """
    descending = keys[0].startswith("-")
    names = [key.lstrip("-") for key in keys]
    backwards, place = _read(cursor, len(names))
    if place is not None and not _fits(rows, names, place):
        place = None
    if place is not None:
        rows = rows.filter(_beyond(names, place, descending=descending != backwards))
    order = [F(name).desc() if descending != backwards else F(name).asc() for name in names]
    found = list(rows.order_by(*order)[: size + 1])
    more = len(found) > size
    found = found[:size]
    if backwards:
        found.reverse()
    before = more if backwards else place is not None
    after = bool(found) if backwards else more
    return Page(
        tuple(found),
        _write(found[0], names, backwards=True) if before and found else "",
        _write(found[-1], names, backwards=False) if after and found else "",
    )


# What a cursor's value may be by the kind of column; of others, the database's own word is enough.
_KINDS: Final[tuple[tuple[type[Field[Any, Any]], type], ...]] = (
    (UUIDField, UUID), (DateTimeField, datetime), (IntegerField, int), (CharField, str), (TextField, str),
)  # fmt: skip


def _fits(rows: QuerySet[Any], names: Sequence[str], place: Sequence[Any]) -> bool:
    """Whether a cursor is of this list: that of another has a moment where this one has a name, say."""
    for name, value in zip(names, place, strict=True):
        annotated = rows.query.annotations.get(name)
        field = annotated.output_field if annotated is not None else rows.model._meta.get_field(name)
        if any(isinstance(field, kind) and not isinstance(value, wanted) for kind, wanted in _KINDS):
            return False
    return True


def _beyond(names: Sequence[str], place: Sequence[Any], *, descending: bool) -> Q:
    """(a, b) > (x, y), spelt so that a planner can begin at x in an index on (a, b)."""
    beyond, at_least = ("lt", "lte") if descending else ("gt", "gte")
    condition = Q()
    for depth in range(len(names)):
        same = {names[i]: place[i] for i in range(depth)}
        condition |= Q(**same, **{f"{names[depth]}__{beyond}": place[depth]})
    return Q(**{f"{names[0]}__{at_least}": place[0]}) & condition


def _write(row: Model, names: Sequence[str], *, backwards: bool) -> str:
    values = [_plain(getattr(row, name)) for name in names]
    text = json.dumps([backwards, *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return {"u": str(value)}
    return {"t": value.isoformat()} if isinstance(value, datetime) else value


def _read(cursor: str, count: int) -> tuple[bool, list[Any] | None]:
    if not cursor or len(cursor) > _LONGEST_CURSOR:
        return False, None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        backwards, *values = read
        values = [_value(value) for value in values]
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, RecursionError):
        return False, None
    if not isinstance(backwards, bool) or len(values) != count:
        return False, None
    return backwards, values


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return UUID(value["u"]) if "u" in value else _aware(datetime.fromisoformat(value["t"]))
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError(value)  # PostgreSQL takes none
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62:
        return value
    raise ValueError(value)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(moment)
    return moment
