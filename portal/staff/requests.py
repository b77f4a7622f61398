"""`/staff/requests/`: everybody's requests for access, and what was taken without a yes. Decided is on the employees' pages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from federation.mapping.capabilities import Capability
from federation.queries import requests as queries
from portal.staff import listing
from portal.staff.guard import staff
from portal.staff.page import page
from portal.views.guard import is_partial

STATES: dict[str, str | Promise] = {"waiting": _("Waiting"), "active": _("In use"), "glass": _("Break-glass")}


@staff(Capability.SEE_REQUESTS)
@require_safe
def requests(request: HttpRequest) -> HttpResponse:
    """The list, searched and filtered, newest first."""
    wanted = queries.Wanted(words=listing.asked(request, "q"), state=listing.asked(request, "state", list(STATES)))
    cases, found = queries.every(wanted, request.GET.get("after", ""), now=timezone.now())
    query = request.GET
    context = {
        "cases": cases, "wanted": wanted, "chips": listing.chips(query, "state", STATES),
        "earlier": listing.page_at(query, found.earlier), "later": listing.page_at(query, found.later),
    }  # fmt: skip
    return page(request, "staff/_requests.html" if is_partial(request) else "staff/requests.html", context)
