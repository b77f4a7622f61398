"""Signing out: asked for first, done by POST, gone on with at the provider where it offers that."""

from __future__ import annotations

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from federation.flows.sign_out import sign_out as flow
from portal.views.guard import origin_of, person_of
from portal.views.sign_in import leave

DONE = "/signout/done"


@require_http_methods(["GET", "HEAD", "POST"])
def sign_out(request: HttpRequest) -> HttpResponse:
    """`/signout/`: GET asks (a link or an image must not sign anybody out), POST does it."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(DONE)
    if request.method != "POST":
        return render(request, "portal/signout.html")
    url = flow(person_of(request), request.session.session_key, origin=origin_of(request), now=timezone.now())
    logout(request)  # ends the session whatever the provider does next
    if url is None:
        return HttpResponseRedirect(DONE)
    return leave(
        request,
        url,
        heading=gettext("Signing out"),
        explanation=gettext("You are signed out here. Now at your identity provider too."),
    )


@require_safe
def done(request: HttpRequest) -> HttpResponse:
    """`/signout/done`: says so, and waits: signing in again by itself would undo it."""
    return render(request, "portal/signout.html")
