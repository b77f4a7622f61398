"""What stands before the pages: who is signed in, where a browser may be sent next, which hosts a form may reach."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, gettext_lazy
from django_htmx.http import HttpResponseClientRedirect

from federation import queries
from federation.aws.partitions import PARTITION_NAMES, partition
from federation.errors import BadRequest as BadInput
from federation.errors import ClaimsTooOld, NotSignedIn
from federation.flows import access
from federation.flows.origin import Origin
from federation.models.people import Person

HOME = "/"
MAX_NEXT = 2048
# A sign-in younger than this that is "too old" already is a fault, not age: no second trip to the provider.
_JUST_SIGNED_IN = timedelta(seconds=60)

_P = ParamSpec("_P")
View = Callable[Concatenate[HttpRequest, _P], HttpResponse]


def safe_next(wanted: str | None, *, circle: bool = False) -> str:
    r"""`wanted` if it is a path of this gateway, otherwise the home page. Never raises: a bad link still signs in.

    `circle`: whether it may be a page of signing in or out, as it may not where that is what one comes from.

    Open redirect: an absolute URL, `//host`, a backslash (browsers read it as a slash) and control characters (browsers
    drop them, so that "/\t/host" is "//host") all lead home.
    """
    if not wanted or len(wanted) > MAX_NEXT or not wanted.startswith("/") or wanted.startswith("//"):
        return HOME
    if "\\" in wanted or any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in wanted):
        return HOME
    if not url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return HOME
    return HOME if not circle and wanted.startswith(("/signin/", "/signout/")) else wanted


def origin_of(request: HttpRequest) -> Origin:
    """The origin that the middleware has put on the request."""
    origin: Origin = request.origin  # type: ignore[attr-defined]
    return origin


class NotByAPerson(BadInput):
    """Sent by a page of another site, without anybody's doing; `reason`: not_a_navigation, not_by_a_program."""

    sentence = "This was sent by a page of another site, and not by you. Open the address in a window of its own."


class FormUnreadable(Exception):
    """A form or query that cannot be read: too large, too many fields, files, broken parts. Its text is Django's own name for it."""


def fields_of(request: HttpRequest) -> dict[str, str]:
    """What was sent, of a name that came twice the last: the form of a POST, otherwise the query. Raises FormUnreadable.

    Left to itself, Django would answer 400 where it meets the fault, and the audit log would not know.
    """
    try:
        sent = request.POST if request.method == "POST" else request.GET
    except (SuspiciousOperation, BadRequest, MultiPartParserError) as error:
        raise FormUnreadable(error.__class__.__name__) from error
    return {name: str(value) for name, value in sent.items()}


def is_navigation(request: HttpRequest, *, frames: bool = False) -> bool:
    """Whether a browser goes here, in a window of its own (with `frames`: or in a frame); True for what is no browser.

    By the headers of Fetch Metadata (W3C), which no page can write. Browsers without them are let through: these are limits on
    floods, and no check of anybody.
    """
    headers = request.headers
    window = frames or headers.get("Sec-Fetch-Dest", "document") == "document"
    return window and headers.get("Sec-Fetch-Mode", "navigate") == "navigate"


def navigations(view: View[_P], *, frames: bool = False) -> View[_P]:
    """Refuses, before anything is counted, what a page on another site sends by itself: a picture, a fetch, a frame.

    Attack: a page that one person in an office opens uses up the limits of the office's address, and nobody there signs in.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponse:
        if not is_navigation(request, frames=frames):
            raise NotByAPerson("not_a_navigation")
        return view(request, *args, **kwargs)

    return wrapped


def programs(view: View[_P]) -> View[_P]:
    """As `navigations`, for what programs and servers ask: no page of another site has any business here."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponse:
        if request.headers.get("Sec-Fetch-Site", "none") in {"cross-site", "same-site"}:
            raise NotByAPerson("not_by_a_program")
        return view(request, *args, **kwargs)

    return wrapped


def person_of(request: HttpRequest) -> Person:
    """The person who is signed in. Raises NotSignedIn."""
    if not isinstance(request.user, Person):
        raise NotSignedIn("no_session")
    return request.user


def is_partial(request: HttpRequest) -> bool:
    """Whether htmx asks, for a piece of the page that it is on (and not for the whole page, as after the Back button)."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.history_restore_request


def _off(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    """Where htmx asked, the whole browser goes: a redirect would put the sign-in page into a corner of this one."""
    return HttpResponseClientRedirect(answer["Location"]) if getattr(request, "htmx", None) else answer


def _sign_in_url(request: HttpRequest, provider: str = "") -> str:
    path = f"/signin/{provider}/" if provider else "/signin/"
    # The way back leads to the page that the person sees, not to the piece of it that htmx asked for.
    htmx = getattr(request, "htmx", None)
    wanted = safe_next(htmx.current_url_abs_path if htmx else _page_of(request))
    return path if wanted == HOME else f"{path}?{urlencode({'next': wanted})}"


def _page_of(request: HttpRequest) -> str:
    """The page that is open: that of a form is where it was sent from, as most forms' own addresses cannot be opened."""
    came = urlsplit(request.META.get("HTTP_REFERER", ""))
    if request.method in {"GET", "HEAD"} or came.netloc != request.get_host():
        return request.get_full_path()
    return f"{came.path}?{came.query}" if came.query else came.path


def open_page(request: HttpRequest) -> str:
    """The page of ours that is open in the browser, for a link that loads it anew; "" where that is not known."""
    came = urlsplit(request.META.get("HTTP_REFERER", ""))
    known = request.method in {"GET", "HEAD"} or came.netloc == request.get_host()
    page = safe_next(_page_of(request)) if known else ""
    # What a provider has sent is used once: its code is not to be sent again, and stands on no page.
    return "" if page.startswith(("/oidc/", "/saml/")) else page


# What people write, by the name of its field: worth more than a redirect, which would throw it away.
_WRITTEN = {
    "reason": gettext_lazy("Reason"), "comment": gettext_lazy("Comment"), "why": gettext_lazy("Why"), "note": gettext_lazy("Note"),
    "text": gettext_lazy("Text"), "rule": gettext_lazy("Rule"),
}  # fmt: skip


def _sign_in_again(request: HttpRequest) -> HttpResponse:
    """To the sign-in; with what was typed on the page where somebody sent a form after their session had ended.

    The form had its token, so it is the browser's own: nobody else can have their text shown here.
    """
    url = _sign_in_url(request)
    kept = [] if request.method in {"GET", "HEAD"} or getattr(request, "htmx", None) else [
        (name, label, request.POST[name]) for name, label in _WRITTEN.items() if request.POST.get(name, "").strip()
    ]  # fmt: skip
    if not kept:
        return HttpResponseRedirect(url)
    context = {
        "choices": queries.sign_in_choices(),
        "next": safe_next(_page_of(request)),
        "notice": gettext("Your session has ended. Sign in again; what you had typed is kept below."),
        "kept": kept,
    }
    return render(request, "portal/signin.html", context, status=401)


def _again(request: HttpRequest, error: NotSignedIn | ClaimsTooOld, now: datetime) -> HttpResponse:
    person = request.user if isinstance(request.user, Person) else None
    if person is None or isinstance(error, NotSignedIn):
        return _sign_in_again(request)
    if person.claims_at is not None and now - person.claims_at < _JUST_SIGNED_IN:
        raise error
    # After a form, the browser holds every redirect to form-action (CSP), and the provider is not on that list: stop at
    # our own sign-in page. After a link, go straight to the provider: mostly nobody sees more than a flicker.
    if request.method not in {"GET", "HEAD"}:
        return _sign_in_again(request)
    return HttpResponseRedirect(_sign_in_url(request, person.provider))


def with_fresh_claims(request: HttpRequest, back: str) -> HttpResponse | None:
    """The way to the provider and `back`, where nothing would be decided on the claims of this session; None where it would.

    For pages on which access is given without being decided: a pairing agreed to on claims that are too old would be
    refused at its first use, and agreed to again, for as long as the session lasts. Raises ClaimsTooOld in a circle.
    """
    person, now = person_of(request), timezone.now()
    try:
        access.refuse_old_claims(person, now=now)
    except ClaimsTooOld:
        if person.claims_at is not None and now - person.claims_at < _JUST_SIGNED_IN:
            raise
        return HttpResponseRedirect(f"/signin/{person.provider}/?{urlencode({'next': back})}")
    return None


def signed_in(view: View[_P]) -> View[_P]:
    """Sends whoever has no session, or claims that are too old, to the sign-in with the way back."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _off(request, _sign_in_again(request))
        try:
            return view(request, *args, **kwargs)
        except (NotSignedIn, ClaimsTooOld) as error:
            return _off(request, _again(request, error, timezone.now()))

    return wrapped


@cache
def _aws_hosts() -> tuple[str, ...]:
    hosts: list[str] = []
    for name in PARTITION_NAMES:
        of = partition(name)
        hosts += [f"https://{prefix}{host}" for host in (of.signin_domain, *of.console_hosts) for prefix in ("", "*.")]
    return tuple(hosts)


def reaches_aws(response: HttpResponse) -> HttpResponse:
    """Lets the forms of this page reach AWS's sign-in and console hosts, and nothing else beyond the gateway.

    Chromium holds the redirects that follow a form to its page's form-action as well. `portal.middleware` reads this.
    """
    extra = [getattr(settings, name, "") for name in ("ROLEGATE_SIGNIN_ENDPOINT_URL", "ROLEGATE_SAML_ENDPOINT_URL")]
    origins = [f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in extra if url]
    holder: Any = response
    holder.form_action = (*_aws_hosts(), *dict.fromkeys(origins))
    return response
