"""`/staff/tokens/`: tokens of programs. A new one is shown once, on the page that answers its making, and never again."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from federation.errors import BadRequest
from federation.flows import service_tokens
from federation.mapping.capabilities import Capability
from portal.staff import listing
from portal.staff.guard import actor_of, staff
from portal.staff.page import page
from portal.views.guard import origin_of

_LIVES = (30, 90, 180, 365)


def _context(**more: Any) -> dict[str, Any]:
    now = timezone.now()
    return {
        "tokens": [(row, row.expires_at <= now) for row in service_tokens.listed()],
        "scopes": service_tokens.scopes(), "lives": _LIVES, "faults": [], "given": {}, **more,
    }  # fmt: skip


@staff(Capability.SEE_TOKENS)
@require_safe
def tokens(request: HttpRequest) -> HttpResponse:
    """Every token that is not revoked, and the form for a new one."""
    return page(request, "staff/tokens.html", _context(revoked=bool(listing.asked(request, "revoked"))))


@staff(Capability.MANAGE_TOKENS)
@require_POST
def make(request: HttpRequest) -> HttpResponse:
    """Makes one and shows it, this once."""
    given = {name: request.POST.get(name, "").strip()[:200] for name in ("name", "scope", "days")}
    try:
        days = int(given["days"]) if given["days"].isdecimal() and len(given["days"]) < 6 else 0
        made = service_tokens.make(
            given["name"], scope=given["scope"], days=days, actor=actor_of(request), origin=origin_of(request), now=timezone.now()
        )  # fmt: skip
    except BadRequest as error:
        field = (
            "scope"
            if "scope" in error.reason or "directory" in error.reason
            else "days"
            if "days" in error.reason
            else "name"
        )
        context = _context(faults=[(field, error.public_sentence)], given=given)
        return page(request, "staff/tokens.html", context, status=422)
    return page(request, "staff/token_made.html", {"made": made})


@staff(Capability.MANAGE_TOKENS)
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """Ends one now."""
    name = request.POST.get("name", "")
    if not name:
        raise BadRequest("name_missing", sentence=_("Say which token."))
    service_tokens.revoke(name, actor=actor_of(request), origin=origin_of(request), now=timezone.now())
    return HttpResponseRedirect(f"{reverse('staff-tokens')}?revoked=1")
