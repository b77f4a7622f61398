"""`/activity/`: what a person did here, from where, and what is still open."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from federation.flows import end_sessions
from federation.queries import activity as queries
from portal.views.guard import origin_of, person_of, signed_in


@require_safe
@signed_in
def activity(request: HttpRequest) -> HttpResponse:
    """The person's own: portal sessions, AWS sessions that still run, and the last deeds, fifty at a time."""
    person, now = person_of(request), timezone.now()
    before = _place(request.GET.get("before", ""))
    deeds, further = queries.deeds(person, before=before)
    cookie = request.session.session_key
    context = {
        "here": "activity",
        "deeds": deeds,
        "later": f"/activity/?{urlencode({'before': f'{further[0].isoformat()}/{further[1]}'})}" if further else "",
        "earlier": "/activity/" if before else "",
        "browsers": queries.browser_sessions(person, cookie, now=now) if before is None else [],
        "open": queries.open_sessions(person, now=now) if before is None else [],
        "accounts": queries.account_names(),
        "now": now,
        "ended": request.GET.get("ended", ""),
    }
    return render(request, "portal/activity.html", context)


def _place(text: str) -> tuple[datetime, int] | None:
    """Where an earlier page ended: a moment and a number; None for anything else."""
    moment, _, number = text.partition("/")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    known = at.tzinfo is not None and number.isascii() and number.isdigit() and len(number) < 19
    return (at, int(number)) if known else None


@require_POST
@signed_in
def end_others(request: HttpRequest) -> HttpResponse:
    """Ends every other portal session of the person."""
    end_sessions.end_others(
        person_of(request), request.session.session_key, origin=origin_of(request), now=timezone.now()
    )
    return HttpResponseRedirect("/activity/?ended=1")
