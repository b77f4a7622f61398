"""`/staff/mapping/`: the rules in force, the drafts, and the history with its differences."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from federation.flows import mapping_drafts
from federation.mapping.capabilities import Capability
from federation.queries import mapping as queries
from portal.staff.guard import staff
from portal.staff.page import page
from portal.views.guard import is_partial, origin_of, person_of

_MAX_QUERY = 200


def number_in(text: str) -> int | None:
    """A whole number out of an address or a form, None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@staff(Capability.SEE_MAPPING)
@require_safe
def mapping(request: HttpRequest) -> HttpResponse:
    """The rules in force, searched on the server, and the drafts; for htmx the rules alone."""
    query = request.GET.get("q", "").strip()[:_MAX_QUERY]
    at = max(1, number_in(request.GET.get("page", "")) or 1)
    found = queries.in_force(query=query, page=at)
    pages = max(1, -(-found.found // queries.PAGE))

    def address(number: int) -> str:
        return "?" + urlencode({**({"q": query} if query else {}), "page": number})

    context = {
        "force": found, "query": query, "pages": pages,
        "earlier": address(at - 1) if 1 < at <= pages else "", "later": address(at + 1) if at < pages else "",
    }  # fmt: skip
    if is_partial(request):
        return page(request, "staff/mapping/_in_force.html", context)
    return page(request, "staff/mapping/mapping.html", {**context, "drafts": queries.drafts(person_of(request))})


@staff(Capability.EDIT_MAPPING)
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """A new draft: of what is in force, or of an earlier revision to go back to."""
    number = number_in(request.POST.get("revision", ""))
    comment = _("Back to revision %(number)s") % {"number": number} if number else ""
    draft = mapping_drafts.begin(
        person_of(request), origin=origin_of(request), now=timezone.now(), from_revision=number, comment=comment
    )
    then = (
        "staff-mapping-preview"
        if number
        else "staff-mapping-add"
        if request.POST.get("then") == "add"
        else "staff-mapping-draft"
    )
    return HttpResponseRedirect(reverse(then, args=[draft.pk]))


@staff(Capability.SEE_MAPPING)
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """Every revision, the newest first."""
    shown, following = queries.history(before=number_in(request.GET.get("before", "")))
    context = {"revisions": shown, "later": f"?before={following}" if following else ""}
    return page(request, "staff/mapping/history.html", context)


@staff(Capability.SEE_MAPPING)
@require_safe
def revision(request: HttpRequest, number: int) -> HttpResponse:
    """One revision: its difference, and what it did to whom."""
    row = queries.known_revision(number)
    newest = mapping_drafts.newest()
    names = queries.called([row.author, row.published_by])
    context = {
        "revision": row, "author": names.get(row.author, ""), "publisher": names.get(row.published_by, ""), "impact": row.impact, "in_force": newest is not None and newest.number == number,
        "just_published": "published" in request.GET,
    }  # fmt: skip
    return page(request, "staff/mapping/revision.html", context)


@staff(Capability.SEE_MAPPING)
@require_safe
def text(request: HttpRequest, number: int) -> HttpResponse:
    """A revision as a file, letter by letter as it was published: what `manage.py export` prints. Secrets are references there."""
    row = queries.known_revision(number)
    answer = HttpResponse(row.text, content_type="application/yaml")  # RFC 9512
    answer["Content-Disposition"] = f'attachment; filename="rolegate-mapping-{number}.yaml"'
    return answer
