"""`/cli/`: how a command line gets in, and the ones that are paired."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from federation.flows import pair_cli
from portal.views.guard import origin_of, person_of, signed_in


@require_safe
@signed_in
def command_line(request: HttpRequest) -> HttpResponse:
    """The addresses that a client needs, and the list of paired clients."""
    context = {
        "here": "cli",
        "base": settings.ROLEGATE_URL,
        "client_id": pair_cli.CLI.id,
        "grants": pair_cli.list_grants(person_of(request).pk, now=timezone.now()),
        "revoked": "revoked" in request.GET,
    }
    return render(request, "portal/cli.html", context)


@require_POST
@signed_in
def revoke(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """Unpairs one of the person's own command lines; its tokens are dead at once."""
    pair_cli.revoke_grant(grant_id, person_id=person_of(request).pk, origin=origin_of(request), now=timezone.now())
    return HttpResponseRedirect("/cli/?revoked")
