"""`/`: the person's roles by account, searched on the server, and in the browser as one types."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from federation import queries
from federation.errors import GroupsIncomplete
from portal.views.guard import person_of, reaches_aws, signed_in

PAGE_SIZE = 100
MAX_QUERY = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A role as the page shows it. `page`: the beginning of its addresses. `search`: what a search looks at, lower case."""

    line: queries.RoleLine
    page: str
    search: str


@dataclass(frozen=True, slots=True)
class Card:
    """An account as the page shows it: roles that can be used now, and those that need an approval, apart."""

    account: queries.AccountRoles
    usable: tuple[Row, ...]
    by_approval: tuple[Row, ...]


def full_name(arn: str) -> str:
    """A role's path and name, without the leading slash: two roles of one name may live under two paths."""
    return arn.split(":role/", 1)[-1]


def _rows(accounts: tuple[queries.AccountRoles, ...]) -> list[tuple[queries.AccountRoles, Row]]:
    found = []
    for account in sorted(accounts, key=lambda a: (a.name.casefold(), a.account_id)):
        for line in sorted(account.roles, key=lambda r: (r.needs_approval, r.name.casefold(), r.arn)):
            words = (account.name, account.account_id, account.environment, line.arn)
            found.append(
                (account, Row(line, f"/roles/{account.account_id}/{full_name(line.arn)}", " ".join(words).lower()))
            )
    return found


def _cards(rows: list[tuple[queries.AccountRoles, Row]]) -> list[Card]:
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


def _page_number(text: str, pages: int) -> int:
    return min(max(int(text), 1), pages) if text.isascii() and text.isdigit() and len(text) < 6 else 1


@require_safe
@signed_in
def my_roles(request: HttpRequest) -> HttpResponse:
    """The list; each of its empty states says what is the matter and what to do."""
    person = person_of(request)
    mine = queries.my_roles(person, now=timezone.now())
    request.staff_powers = mine.staff  # type: ignore[attr-defined]  # for the link to the console
    if mine.problem is not None and not isinstance(mine.problem, GroupsIncomplete):
        raise mine.problem
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    words = query.lower().split()
    rows = [(account, row) for account, row in _rows(mine.accounts) if all(word in row.search for word in words)]
    pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = _page_number(request.GET.get("page", ""), pages)
    shown = rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]

    def address(number: int) -> str:
        return "/?" + urlencode({**({"q": query} if query else {}), "page": number})

    context = {
        "here": "roles",
        "cards": _cards(shown),
        "query": query,
        "found": len(rows),
        "total": mine.total,
        "first": (page - 1) * PAGE_SIZE + 1,
        "last": (page - 1) * PAGE_SIZE + len(shown),
        "pages": pages,
        "earlier": address(page - 1) if page > 1 else "",
        "later": address(page + 1) if page < pages else "",
        # The browser can filter only what it has: everything, or nothing.
        "filters_here": not query and pages == 1,
        "groups": mine.groups,
        "problem": mine.problem.public_sentence if mine.problem else "",
    }
    return reaches_aws(render(request, "portal/roles.html", context))
