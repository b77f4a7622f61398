"""What every request passes: an id and an origin, one form for every error, and the headers that fence the browser."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable
from urllib.parse import urlencode

import structlog
from django.conf import settings
from django.db import DataError, InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render

from federation.errors import (
    AccessDenied,
    BadRequest,
    ClaimsTooOld,
    MethodNotAllowed,
    NotSignedIn,
    RateLimited,
    RolegateError,
    ServiceUnavailable,
)
from federation.flows.origin import Origin
from federation.models import Role
from portal.views.guard import open_page

log = structlog.get_logger(__name__)
Handler = Callable[[HttpRequest], HttpResponse]
# Away, starting, out of connections, of disk or of locks; InternalError: a standby that takes no writes yet, after a fail-over.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
_MACHINE_PATHS = ("/api/", "/scim/", "/metrics", "/oauth/token", "/oauth/revoke", "/oauth/device_authorization")
_FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_FORWARDED",
)


def _trusted(address: str) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network, strict=False) for network in settings.ROLEGATE_TRUSTED_PROXIES)


def client_address(request: HttpRequest) -> str:
    """The client's address: the peer, or what a trusted proxy says. Forwarded headers of anyone else are thrown away."""
    peer = str(request.META.get("REMOTE_ADDR", ""))
    peer = _address(peer) or peer  # ::ffff:10.0.0.1, as a socket for both families says it, is 10.0.0.1
    if not _trusted(peer):
        for name in _FORWARDED:
            request.META.pop(name, None)  # forged X-Forwarded-*: neither https nor another address is believed
        return peer
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
    for hop in reversed([hop.strip() for hop in forwarded.split(",") if hop.strip()]):
        address = _address(hop)
        if not address:
            return peer  # what a trusted proxy says cannot be read: whatever stands before it is anybody's word
        if not _trusted(address):
            return address
    return peer


def _address(hop: str) -> str:
    """The IP address of one hop, "" if it is none. Some proxies add the port, by which each connection would count alone."""
    bare = re.sub(r"^\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?$|^([0-9.]+):[0-9]{1,5}$", r"\1\2", hop)
    try:
        parsed = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class RequestContext:
    """Gives each request its id (always ours: a client's would let it write into our logs) and origin."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = secrets.token_hex(8)
        request.request_id = request_id  # type: ignore[attr-defined]
        agent = str(request.META.get("HTTP_USER_AGENT", ""))[:200]
        request.origin = Origin(request_id, client_address(request), agent)  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response


def wants_json(request: HttpRequest) -> bool:
    """Whether errors under this path are problem documents rather than pages."""
    return request.path.startswith(_MACHINE_PATHS) or request.path.endswith("/backchannel-logout")


def problem(request: HttpRequest, error: RolegateError) -> HttpResponse:
    """An RFC 9457 problem document."""
    body = {
        "type": f"{settings.ROLEGATE_URL}/errors#{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "detail": error.public_sentence,
        "code": error.code,
        "request_id": request.request_id,  # type: ignore[attr-defined]
    }
    if aws_code := getattr(error, "aws_code", ""):
        body["aws_code"] = aws_code
    return JsonResponse(body, status=error.status, content_type="application/problem+json")


def _why_url(request: HttpRequest, error: RolegateError) -> str:
    """Where whoever was refused a role, here or by AWS, learns why, and whom to ask; "" where it was no page of a role."""
    named = request.resolver_match.kwargs if request.resolver_match else {}
    if not {"account_id", "role_name"} <= named.keys():
        return ""
    account_id, name = named["account_id"], named["role_name"].rsplit("/", 1)[-1]
    # Only what the mapping gives or AWS has named: what somebody has pasted into the address, a token for one, is on no page.
    known = error.code == "sts_access_denied" or Role.objects.filter(account_id=account_id, name=name).exists()
    return "/why/?" + urlencode({"q": f"{account_id} {name}" if known else account_id})


def error_response(request: HttpRequest, error: RolegateError, *, back: str = "") -> HttpResponse:
    """The page or problem document for `error`; never more than its code, sentence and the request id.

    `back`: the page of ours that is to be loaded again, where that mends it.
    """
    if wants_json(request):
        response = problem(request, error)
        if isinstance(error, NotSignedIn | ClaimsTooOld):
            response["WWW-Authenticate"] = 'Bearer realm="rolegate"'
    else:
        context = {
            "error_code": error.code,
            "sentence": error.public_sentence,
            "request_id": request.request_id,  # type: ignore[attr-defined]
            "status": error.status,
            "retry_url": "/signin/",
            "aws_code": getattr(error, "aws_code", ""),
            "back_url": back,
            "again_url": open_page(request) if error.status == 503 else "",
            "why_url": _why_url(request, error)
            if isinstance(error, AccessDenied) or error.code == "sts_access_denied"
            else "",
            # Not where the console itself was refused: it would be again.
            "console_url": "/staff/" if request.path.startswith("/staff/") and error.status not in (401, 403) else "",
        }
        if getattr(request, "htmx", None):
            # A piece of a page was asked for: the error goes to the top of the page that is open, which stays as it is.
            response = render(request, "portal/_error_note.html", context, status=error.status)
            response["HX-Retarget"], response["HX-Reswap"] = "#problems", "innerHTML"
        else:
            response = render(request, "portal/error.html", context, status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    response["Cache-Control"] = "no-store"
    return response


def database_away(request: HttpRequest, error: Exception) -> HttpResponse:
    """503 with Retry-After. The log gets the database's first line alone: further ones may quote rows."""
    said = str(error).partition("\n")[0][:300]
    log.error("database_unavailable", path=request.path, kind=error.__class__.__name__, detail=said)
    return error_response(request, ServiceUnavailable("database_unavailable", retry_after=5))


def not_storable(request: HttpRequest, error: Exception) -> BadRequest | None:
    """What to say where a NUL was sent, which PostgreSQL keeps in no text; None for any other fault: that is one of ours."""
    if not isinstance(error, DataError):
        return None
    if request.content_type == "application/json":
        has_nul = b"\\u0000" in request.body
    else:
        fields = (value for sent in (request.GET, request.POST) for _, values in sent.lists() for value in values)
        has_nul = any("\x00" in str(value) for value in fields)
    return BadRequest("not_storable") if has_nul else None


class ErrorPages:
    """Turns our errors into answers, and a database that is away into 503 with Retry-After."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """What a view raised comes to process_exception, what else breaks to the 500 handler; Django's bare 405 gets its page here."""
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            allowed = response["Allow"]
            response = error_response(request, MethodNotAllowed("method_not_allowed"))
            response["Allow"] = allowed
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django's hook for what a view raised."""
        if isinstance(error, DATABASE_AWAY):
            return database_away(request, error)
        error = not_storable(request, error) or error
        if not isinstance(error, RolegateError):
            return None
        level = log.error if error.status >= 500 else log.info
        level(
            "refused" if error.status < 500 else "failed",
            code=error.code,
            reason=error.reason,
            detail=error.detail[:500],
            path=request.path,
        )
        if isinstance(error, RateLimited):
            log.warning("rate_limited", reason=error.reason)
        return error_response(request, error)


class SecurityHeaders:
    """A strict Content-Security-Policy and its companions on every answer; no-store on everything that is personal."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # form-action: Chromium applies it to the redirects that follow a form too, so a page whose form leads to the
        # provider or to AWS names those hosts in `response.form_action`.
        extra = " ".join(getattr(response, "form_action", ()))
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            f"connect-src 'self'; form-action 'self'{' ' + extra if extra else ''}; frame-ancestors 'none'; base-uri 'none'",
        )
        response.headers.setdefault(
            "Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        )
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if not request.path.startswith(settings.STATIC_URL):
            response.headers.setdefault("Cache-Control", "no-store")
        return response
