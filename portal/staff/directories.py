"""`/staff/directories/`: where people and groups come from, how fresh that is, and what a directory says of somebody."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from federation.mapping.capabilities import Capability
from federation.queries import directories as queries
from portal.staff import listing
from portal.staff.guard import powers_in, staff
from portal.staff.page import page

# What `directory.ldap` leaves out, in the words of its counts.
LEFT_OUT: dict[str, str | Promise] = {
    "people without one subject": _("people without one subject"),
    "groups without a name": _("groups without a name"),
    "members that are nobody here": _("members that are nobody here"),
}


@staff(Capability.SEE_PROVIDERS)
@require_safe
def directories(request: HttpRequest) -> HttpResponse:
    """The directories, and for whoever may see people what they say of one."""
    words = listing.asked(request, "q") if powers_in(request).may(Capability.SEE_PEOPLE) else ""
    lines = queries.directories(now=timezone.now())
    context = {
        "lines": [
            (line, [(LEFT_OUT.get(why, why), many) for why, many in sorted(line.left_out.items())]) for line in lines
        ],
        "read": any(line.way == "ldap" for line in lines),
        "words": words,
        "found": queries.listed(words),
        "most": queries.MOST_FOUND,
    }
    return page(request, "staff/directories.html", context)
