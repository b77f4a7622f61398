"""`/`: the person's roles by account, searched on the server, and in the browser as one types.

The page has fifty rows and an index of all roles, some ten bytes each: 2,000 rows of HTML would be 650 KB. The browser
searches the index and makes rows out of the page's own template.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from federation import queries
from federation.errors import GroupsIncomplete
from federation.flows import marks
from federation.models.marks import RoleMark
from portal.views.guard import person_of, reaches_aws, signed_in

PAGE_SIZE = 50
MAX_QUERY = 200
RECENT = 6
# Bits of a role in the index; portal/static/portal/roles.js knows them too.
APPROVAL, FAVOURITE, RECENTLY, ASKED = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Row:
    """A role as the page shows it. `page`: the beginning of its addresses. `search`: what a search looks at, lower case."""

    line: queries.RoleLine
    page: str
    search: str
    favourite: bool = False
    destination: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """An account as the page shows it: roles that can be used now, and those that need an approval, apart."""

    account: queries.AccountRoles
    usable: tuple[Row, ...]
    by_approval: tuple[Row, ...]


Found = list[tuple[queries.AccountRoles, Row]]


def full_name(arn: str) -> str:
    """A role's path and name, without the leading slash: two roles of one name may live under two paths."""
    return arn.split(":role/", 1)[-1]


def _rows(accounts: tuple[queries.AccountRoles, ...], marked: dict[str, RoleMark]) -> Found:
    found = []
    for account in sorted(accounts, key=lambda a: (a.name.casefold(), a.account_id)):
        for line in sorted(account.roles, key=lambda r: (r.needs_approval, r.name.casefold(), r.arn)):
            words = (account.name, account.account_id, account.environment, line.arn)
            mark = marked.get(line.arn)
            row = Row(
                line,
                f"/roles/{account.account_id}/{full_name(line.arn)}",
                " ".join(words).lower(),
                favourite=mark is not None and mark.favourite_at is not None,
                destination=mark.destination if mark else "",
            )
            found.append((account, row))
    return found


def _cards(rows: Found) -> list[Card]:
    grouped: dict[str, tuple[queries.AccountRoles, list[Row]]] = {}
    for account, row in rows:
        grouped.setdefault(account.account_id, (account, []))[1].append(row)
    return [
        Card(
            account,
            tuple(row for row in of_account if not row.line.needs_approval),
            tuple(row for row in of_account if row.line.needs_approval),
        )
        for account, of_account in grouped.values()
    ]


def _index(rows: Found, recent: set[str]) -> dict[str, Any]:
    """All roles, for the browser: `e` environments, `a` accounts (id, name, number of the environment), `n` names with path,
    `r` roles (number of the account, number of the name, bits).
    """
    environments: dict[str, int] = {}
    accounts: dict[str, int] = {}
    listed: list[tuple[str, str, int]] = []
    names: dict[str, int] = {}
    roles = []
    for account, row in rows:
        if account.account_id not in accounts:
            accounts[account.account_id] = len(accounts)
            environment = environments.setdefault(account.environment, len(environments))
            listed.append((account.account_id, account.name, environment))
        bits = (
            APPROVAL * row.line.needs_approval
            + FAVOURITE * row.favourite
            + RECENTLY * (row.line.arn in recent)
            + ASKED * (row.line.asked is not None)
        )
        name = names.setdefault(full_name(row.line.arn), len(names))
        roles.append((accounts[account.account_id], name, bits))
    return {"e": list(environments), "a": listed, "n": list(names), "r": roles}


def _page_number(text: str, pages: int) -> int:
    return min(max(int(text), 1), pages) if text.isascii() and text.isdigit() and len(text) < 6 else 1


@gzip_page  # rows and index are alike: a tenth. What is secret here, the form's token, is masked anew each time (BREACH)
@require_safe
@signed_in
def my_roles(request: HttpRequest) -> HttpResponse:
    """The list; each of its empty states says what is the matter and what to do."""
    person = person_of(request)
    mine = queries.my_roles(person, now=timezone.now())
    if mine.problem is not None and not isinstance(mine.problem, GroupsIncomplete):
        raise mine.problem
    request.staff_powers = mine.staff  # type: ignore[attr-defined]  # portal.context: the link to the console costs nothing more
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    words = query.lower().split()
    marked = {mark.role_arn: mark for mark in marks.marks_of(person.pk)}
    everything = _rows(mine.accounts, marked)
    rows = [(account, row) for account, row in everything if all(word in row.search for word in words)]
    by_arn = {row.line.arn: (account, row) for account, row in everything if not row.line.needs_approval}
    recent = [by_arn[arn] for arn, mark in marked.items() if mark.used_at is not None and arn in by_arn][:RECENT]
    lately = {row.line.arn for _, row in recent}
    favourites = [
        (account, row)
        for account, row in everything
        if row.favourite and not row.line.needs_approval and row.line.arn not in lately  # once is enough
    ]
    pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = _page_number(request.GET.get("page", ""), pages)
    shown = rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    index = _index(everything, lately)

    def address(number: int) -> str:
        return "/?" + urlencode({**({"q": query} if query else {}), "page": number})

    context = {
        "here": "roles",
        "cards": _cards(shown),
        "recent": recent if page == 1 and not query else [],
        "favourites": favourites if page == 1 and not query else [],
        "index": index,
        "environments": index["e"],
        "query": query,
        "found": len(rows),
        "total": mine.total,
        "first": (page - 1) * PAGE_SIZE + 1,
        "last": (page - 1) * PAGE_SIZE + len(shown),
        "pages": pages,
        "earlier": address(page - 1) if page > 1 else "",
        "later": address(page + 1) if page < pages else "",
        "groups": mine.groups,
        "closed": mine.closed,
        "problem": gettext(mine.problem.public_sentence) if mine.problem else "",
        "askable": any(row.line.needs_approval for _, row in everything),
    }
    return reaches_aws(render(request, "portal/roles.html", context))
