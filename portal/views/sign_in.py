"""Signing in: the choice of a provider, the way there, and the return of a SAML sign-in to its own browser."""

from __future__ import annotations

import re
import secrets
from urllib.parse import quote, urlencode

from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods

from federation import queries
from federation.flows import sign_in as flow
from portal.sessions import remember
from portal.views.guard import HOME, navigations, origin_of, safe_next

BINDING_SECONDS = 600
_BINDING = re.compile(r"[A-Za-z0-9_-]{43}")
_BACKEND = "portal.auth.FederatedBackend"


@require_http_methods(["GET", "HEAD", "POST"])
def choose(request: HttpRequest) -> HttpResponse:
    """`/signin/`: one button a provider; a POST finds the provider by the domain of an e-mail address.

    POST and not GET: an address in a query would be in every access log on the way.
    """
    next_path = safe_next(request.POST.get("next") or request.GET.get("next"))
    choices = queries.sign_in_choices()
    context = {
        "choices": choices,
        "by_email": any(choice.email_domains for choice in choices),
        "next": next_path,
        "email": request.POST.get("email", "").strip()[:320],
        "notice": "" if next_path == HOME else gettext("Sign in to go on to the page that you asked for."),
    }
    if request.method != "POST":
        return render(request, "portal/signin.html", context)
    _, at, domain = str(context["email"]).rpartition("@")
    for choice in choices:
        if at and domain.lower() in {known.lower() for known in choice.email_domains}:
            path = f"/signin/{quote(choice.slug, safe='')}/"
            url = path if next_path == HOME else f"{path}?{urlencode({'next': next_path})}"
            return leave(
                request,
                url,
                heading=gettext("Off to your provider"),
                explanation=gettext("You sign in at %(name)s.") % {"name": choice.name},
            )
    context["fault"] = (
        gettext("No provider is set up for this e-mail domain. Check the address, or choose a provider below.")
        if at
        else gettext("Enter your work e-mail address, such as alice@example.com.")
    )
    return render(request, "portal/signin.html", context, status=422)


def leave(request: HttpRequest, url: str, *, heading: str, explanation: str) -> HttpResponse:
    """The page that leads from a form to another site.

    Not a redirect: Chromium would hold it to this page's form-action, and naming every provider there would let an
    injected form post to them.
    """
    return render(request, "portal/leaving.html", {"url": url, "heading": heading, "explanation": explanation})


def binding_of(request: HttpRequest) -> str:
    """The random string that binds a sign-in to this browser, "" where it has none."""
    return request.COOKIES.get(settings.ROLEGATE_BINDING_COOKIE, "")


@navigations
@require_GET
def begin(request: HttpRequest, provider: str) -> HttpResponse:
    """`/signin/<provider>/?next=`: binds the browser and sends it to the provider."""
    held = binding_of(request)
    # A second tab keeps the first one's binding, or only the tab that was opened last could finish.
    binding = held if _BINDING.fullmatch(held) else secrets.token_urlsafe(32)
    started = flow.begin(
        provider,
        next_path=safe_next(request.GET.get("next")),
        binding=binding,
        origin=origin_of(request),
        now=timezone.now(),
    )
    response = HttpResponseRedirect(started.url)
    response.set_cookie(
        settings.ROLEGATE_BINDING_COOKIE,
        binding,
        max_age=BINDING_SECONDS,
        path="/",
        httponly=True,
        samesite="Lax",  # the provider's answer ends in a top-level GET to us, which carries Lax cookies
        secure=settings.SESSION_COOKIE_SECURE,
    )
    return response


@navigations
@require_http_methods(["GET", "POST"])
def complete(request: HttpRequest, provider: str) -> HttpResponse:
    """`/signin/<provider>/complete`: a verified SAML answer becomes a session in the browser that began it.

    A POST is the person's own confirmation of a sign-in that the provider started; Django's CSRF check guards it.
    """
    fields = request.POST if request.method == "POST" else request.GET
    code = fields.get("code", "")
    signed_in = flow.complete_saml(
        provider,
        code=code,
        binding=binding_of(request),
        confirmed=request.method == "POST",
        origin=origin_of(request),
        now=timezone.now(),
    )
    if isinstance(signed_in, flow.Unconfirmed):
        # Login CSRF: an unsolicited answer may have been sent to this browser by somebody else.
        context = {"identity": signed_in.identity, "code": code}
        return render(request, "portal/signin_confirm.html", context)
    return establish(request, signed_in)


def establish(request: HttpRequest, signed_in: flow.SignedIn) -> HttpResponse:
    """Make the session and go on to where the person wanted.

    The session gets a new key whatever the browser brought (fixation): `login` alone would keep that of the same person's
    earlier session, and a stolen one would live on. It makes a new CSRF secret too. The binding cookie stays until it
    expires: it proves nothing without an answer that has not been used, and another tab may still need it.
    """
    request.session.flush()
    login(request, signed_in.person, backend=_BACKEND)
    remember(request.session, signed_in, origin_of(request))
    return HttpResponseRedirect(safe_next(signed_in.next_path))
