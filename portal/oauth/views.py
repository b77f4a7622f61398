"""The OAuth endpoints and the two pages on which a person decides about a command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from federation.errors import BadRequest, RateLimited, RolegateError
from federation.flows import pair_cli, rate_limits
from portal.oauth.server import FlowRefused, Request, build_server, metadata, with_issuer
from portal.views.guard import FormUnreadable, fields_of, navigations, origin_of, programs, with_fresh_claims

_SERVER = build_server()
_COUNTED = {"token", "revoke"}  # endpoints that count each request before they read it
_CARRIED = ("response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method")


def _now() -> datetime:
    return datetime.now(UTC)


@require_safe
def authorization_server_metadata(request: HttpRequest) -> HttpResponse:
    """RFC 8414."""
    response = JsonResponse(metadata())
    response["Cache-Control"] = "public, max-age=300"
    return response


# --- For the client: JSON, no cookies -----------------------------------------------------------------


@csrf_exempt
@programs
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """The token endpoint (RFC 6749 section 3.2)."""

    def answer(made: Request) -> Any:
        ours = pair_cli.was_given_here(
            code=made.form.get("code", ""), refresh_token=made.form.get("refresh_token", ""), now=made.now
        )
        rate_limits.hit("token", person=None, address=made.origin.address, now=made.now, begun=ours)
        return _SERVER.create_token_response(made)

    return _protocol(request, answer)


@csrf_exempt
@programs
@require_POST
def device_authorization(request: HttpRequest) -> HttpResponse:
    """The device authorization endpoint (RFC 8628 section 3.1)."""
    return _protocol(request, lambda made: _SERVER.create_endpoint_response("device_authorization", made))


@csrf_exempt
@programs
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """The revocation endpoint (RFC 7009)."""

    def answer(made: Request) -> Any:
        rate_limits.hit("token", person=None, address=made.origin.address, now=made.now)
        return _SERVER.create_endpoint_response("revocation", made)

    return _protocol(request, answer)


def _protocol(request: HttpRequest, answer: Any) -> HttpResponse:
    """Calls `answer` with Authlib's request; whatever is refused becomes the JSON of RFC 6749 section 5.2."""
    made: Request | None = None
    try:
        fields_of(request)  # once, where it can be refused: it is read again all over the protocol
        made = Request(request, _now())
        response: HttpResponse
        try:
            response = answer(made)
        except OAuth2Error as error:  # Authlib catches most of its own
            response = _SERVER.handle_error_response(made, error)
        if made.refused is not None:
            response = _said_no(request, made, made.refused, response, counted=_endpoint(request) in _COUNTED)
    except FormUnreadable as error:
        unreadable = _refusal(BadRequest("form_unreadable", detail=str(error)), "invalid_request")
        response = _said_no(request, made, error, unreadable, counted=False)
    except RolegateError as error:
        if isinstance(error, RateLimited):
            pair_cli.note_rate_limit(
                error, endpoint=_endpoint(request), client_id=_client_of(made), origin=origin_of(request), now=_now()
            )
        # RFC 6749 has no code for "wait"; a device that polls knows slow_down.
        waits = isinstance(error, RateLimited) and made is not None and made.payload.data.get("device_code")
        name = "slow_down" if waits else "temporarily_unavailable"
        response = _refusal(error, "invalid_request" if error.status < 429 else name)
    if response.status_code >= 400:
        body = {**json.loads(response.content), "request_id": request.request_id}  # type: ignore[attr-defined]
        response.content = json.dumps(body).encode()
    return response


def _said_no(
    request: HttpRequest, made: Request | None, error: Exception, response: HttpResponse, *, counted: bool
) -> HttpResponse:
    """`response` once the refusal is recorded, or the limit's where there were too many."""
    try:
        note_refused(request, made, error, counted=counted)
    except RateLimited as limited:
        return _refusal(limited, "temporarily_unavailable")
    return response


def note_refused(request: HttpRequest, made: Request | None, error: Exception, *, counted: bool = False) -> None:
    """Have a refused request audited. `counted`: whether the limit has counted it already. Raises RateLimited.

    What a flow refused (FlowRefused) it has recorded itself, in the transaction that decided it.
    """
    if isinstance(error, FlowRefused):
        return
    name = str(error.error) if isinstance(error, OAuth2Error) else "invalid_request"
    reason = getattr(error, "reason", name) if isinstance(error, OAuth2Error) else "form_unreadable"
    pair_cli.note_refused_request(
        _endpoint(request), reason, error=name, client_id=_client_of(made), counted=counted, origin=origin_of(request), now=_now()
    )  # fmt: skip


def _endpoint(request: HttpRequest) -> str:
    return request.path.rpartition("/")[2][:40]


def _client_of(made: Request | None) -> str:
    return str(made.payload.data.get("client_id", "")) if made is not None else ""


def _refusal(error: RolegateError, name: str) -> HttpResponse:
    body = {"error": name, "error_description": error.public_sentence, "code": error.code}
    response: HttpResponse = _SERVER.handle_response(
        error.status, body, [("Content-Type", "application/json"), ("Pragma", "no-cache")]
    )
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


# --- For the person: pages ----------------------------------------------------------------------------


@navigations
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """The authorization endpoint: asks the person, each time, and sends the answer to the client's loopback address."""
    try:
        fields_of(request)
    except FormUnreadable as error:
        note_refused(request, None, error)
        raise BadRequest("form_unreadable", detail=str(error)) from None
    made = Request(request, _now())
    try:
        grant = _SERVER.get_consent_grant(made, None)
    except OAuth2Error as error:
        note_refused(request, made, error)
        if error.redirect_uri:
            return with_issuer(_SERVER.handle_error_response(made, error))
        return _refused_page(request, error.error or "invalid_request", error.get_error_description() or "")
    # The client's own parameters and no others: on to the sign-in page, and through the form.
    carried = {name: made.payload.data[name] for name in _CARRIED if name in made.payload.data}
    back = f"{request.path}?{urlencode(carried)}"
    if not request.user.is_authenticated:
        return HttpResponseRedirect(f"/signin/?{urlencode({'next': back})}")
    if request.method != "POST" and (again := with_fresh_claims(request, back)) is not None:
        return again
    decision = request.POST.get("decision") if request.method == "POST" else None
    if decision in {"allow", "deny"}:
        person = request.user if decision == "allow" else None
        if person is None:
            pair_cli.deny(request.user.pk, client_id=grant.client.client_id, origin=made.origin, now=made.now)
        return with_issuer(_SERVER.create_authorization_response(made, grant_user=person, grant=grant))
    context = {
        "client": grant.client.client,
        "scopes": _in_words(made.scope),
        "ends": made.now + pair_cli.pairing_lifetime(),
        "redirect_uri": grant.redirect_uri,
        "address": made.origin.address,
        "carried": carried,
    }
    response = render(request, "oauth/consent.html", context)
    _let_form_reach(response, grant.redirect_uri)
    return response


def _let_form_reach(response: HttpResponse, redirect_uri: str) -> None:
    """Names the loopback address for `form-action`: browsers hold redirects after a form to it as well.

    A content security policy has no way to write an IPv6 address, so [::1] needs the scheme. The middleware that sets
    the policy reads this attribute.
    """
    parts = urlsplit(redirect_uri)
    target = "http:" if parts.netloc.startswith("[") else f"http://{parts.netloc}"
    response.form_action = (target,)  # type: ignore[attr-defined]


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """Where a person types a device's code, sees who asks for what, and decides (RFC 8628 section 3.3).

    A code in the query is ignored: a link that fills it in is how a stranger's device would be paired (section 5.4).
    """
    if not request.user.is_authenticated:
        return HttpResponseRedirect("/signin/?next=/device/")
    if request.method != "POST":
        if request.GET:
            return HttpResponseRedirect(request.path)  # out of the address bar too, and of every link that repeats it
        again = with_fresh_claims(request, request.path)
        return again if again is not None else render(request, "oauth/device.html", {})
    origin, now = request.origin, _now()  # type: ignore[attr-defined]
    person_id = request.user.pk
    typed = request.POST.get("user_code", "")
    decision = request.POST.get("decision")
    try:
        if decision in {"allow", "deny"}:
            pair_cli.decide_device(typed, person_id=person_id, allow=decision == "allow", origin=origin, now=now)
            return render(request, "oauth/device_done.html", {"allowed": decision == "allow"})
        asked = pair_cli.find_device(typed, person_id=person_id, origin=origin, now=now)
    except pair_cli.UserCodeRefused as error:
        response = render(
            request,
            "oauth/device.html",
            {"fault": error.public_sentence, "error_code": error.code},
            status=error.status,
        )
        if error.retry_after is not None:
            response["Retry-After"] = str(error.retry_after)
        return response
    context = {
        "asked": asked,
        "scopes": _in_words(asked.scope),
        "user_code": pair_cli.normalise_user_code(typed),
        "same_address": bool(asked.address) and asked.address == origin.address,
        "ends": now + pair_cli.pairing_lifetime(),
    }
    return render(request, "oauth/device_confirm.html", context)


def _in_words(scope: str) -> list[str]:
    return [pair_cli.SCOPES[name] for name in scope.split()]


def _refused_page(request: HttpRequest, code: str, sentence: str) -> HttpResponse:
    """A page, because nobody may be redirected to an address that was not checked (RFC 6749 section 4.1.2.1)."""
    context = {"error_code": code, "sentence": sentence, "request_id": request.request_id, "status": 400}  # type: ignore[attr-defined]
    return render(request, "oauth/refused.html", context, status=400)
