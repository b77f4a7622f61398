"""`/staff/`: the way in. Leads to the first page that the person may open."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_safe

from federation.mapping.capabilities import Capability
from portal.staff.guard import powers_in, staff
from portal.staff.navigation import links
from portal.staff.page import page


@staff(Capability.OPEN_CONSOLE)
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """To the first page of the navigation; a page that says so where a right opens none of them."""
    sections = links(powers_in(request), request.path)
    if sections:
        return HttpResponseRedirect(sections[0][1][0].url)
    return page(request, "staff/nothing.html", {})
