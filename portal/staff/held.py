"""`/staff/held/`: answers that take away too much to be believed at once, and what letting them through would mean."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from federation.errors import BadRequest
from federation.flows import sources
from federation.mapping.capabilities import Capability
from federation.queries import directories as queries
from federation.queries.activity import account_names
from portal.staff import listing
from portal.staff.guard import actor_of, staff
from portal.staff.page import page
from portal.views.guard import origin_of

WHY = {
    "empty_answer": gettext_lazy("The answer was empty."),
    "too_many_removed": gettext_lazy("Far more is gone than usual."),
}


@staff(Capability.SEE_HELD)
@require_safe
def held(request: HttpRequest) -> HttpResponse:
    """What waits, and what was decided lately."""
    context = {
        "lines": [(line, WHY.get(line.why, line.why)) for line in queries.held()],
        "accounts": account_names(),
        "decided": queries.decided(most=20),
        "done": listing.asked(request, "done", ("accepted", "accepted-push", "refused")),
    }
    return page(request, "staff/held.html", context)


@staff(Capability.DECIDE_HELD)
@require_POST
def decide(request: HttpRequest) -> HttpResponse:
    """Lets one through, or refuses it: the very answer that was shown."""
    decision, source = request.POST.get("decision", ""), request.POST.get("source", "")
    if decision not in {"accept", "refuse"}:
        raise BadRequest("decision_unknown", sentence=_("Say whether to accept or to refuse it."))
    try:
        shown = datetime.fromisoformat(request.POST.get("since", ""))
    except ValueError as error:
        raise BadRequest("decision_unknown", sentence=_("Say whether to accept or to refuse it.")) from error
    row = sources.decide(
        source, accept=decision == "accept", actor=actor_of(request), origin=origin_of(request), now=timezone.now(),
        shown=shown,
    )  # fmt: skip
    comes_by = "" if decision == "refuse" or sources.is_read(source) else "-push"
    return HttpResponseRedirect(f"{reverse('staff-held')}?done={row.decision}{comes_by}")
