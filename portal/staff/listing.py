"""What the console's lists share: addresses that keep their filters, heads that sort, what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise

LONGEST_WORDS = 200


def asked(request: HttpRequest, name: str, allowed: Sequence[str] | None = None) -> str:
    """One parameter of the address: trimmed, cut, without control characters, and "" where it is none of `allowed`."""
    text = "".join(c for c in request.GET.get(name, "") if c.isprintable()).strip()[:LONGEST_WORDS]
    return text if allowed is None or text in allowed else ""


def with_changes(query: QueryDict, **changes: str) -> str:
    """The address of the same list with other parameters ("" takes one away); always from its first page on.

    It leads to the list itself: whoever sorts, filters or pages by keyboard goes on there, and does not begin at the top again.
    """
    return f"?{parameters(query, **changes)}#list"


def parameters(query: QueryDict, **changes: str) -> str:
    """The parameters of `with_changes` alone, for an address that goes on behind them."""
    kept = {name: value for name, value in query.items() if name not in {"after", *changes} and value}
    return urlencode({**kept, **{name: value for name, value in changes.items() if value}})


def page_at(query: QueryDict, cursor: str) -> str:
    """The address of the page at this cursor; "" where there is none."""
    return with_changes(query, after=cursor) if cursor else ""


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head. `url`: of the list sorted by it (the other way round where it is already), "" where it sorts nothing.

    `sorted`: ascending, descending or none, as aria-sort wants it.
    """

    label: str | Promise
    url: str = ""
    sorted: str = "none"
    kind: str = ""


def heads(
    query: QueryDict, columns: Sequence[tuple[str | Promise, str, str]], current: str, *, downwards: Sequence[str] = ()
) -> list[Head]:
    """The heads of a table: (label, sort key or "", class) each. `downwards`: keys whose first click sorts from the top down."""
    made = []
    for label, key, kind in columns:
        if not key:
            made.append(Head(label, kind=kind))
            continue
        is_current = current.lstrip("-") == key
        state = ("descending" if current.startswith("-") else "ascending") if is_current else "none"
        following = (
            (key if current.startswith("-") else f"-{key}") if is_current else (f"-{key}" if key in downwards else key)
        )
        made.append(Head(label, with_changes(query, sort=following), state, kind))
    return made


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on or can be: a link to the list with it changed. `stays`: it is on unless another is chosen."""

    label: str | Promise
    url: str
    on: bool
    stays: bool = False


def chips(query: QueryDict, name: str, choices: Mapping[str, str | Promise], *, usual: str = "") -> list[Chip]:
    """One chip a choice of the parameter `name`; the chip of the one that is on takes it away. `usual`: what is on where the
    address does not say.
    """
    now = query.get(name, "")
    now = now if now in choices else usual
    return [
        Chip(label, with_changes(query, **{name: "" if now == value else value}), now == value, value == usual)
        for value, label in choices.items()
    ]
