"""Authlib's OAuth 2 server, with the gateway's flows behind it.

Authlib reads requests, authenticates the client, picks the grant and words the errors. Its usual way of redeeming
(look up, check, issue, delete) lets two requests redeem one code at once, so each grant here hands the presented
secret to one flow that spends it first.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import AuthorizationServer as AuthlibServer
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import BaseGrant, ClientMixin, OAuth2Payload, TokenEndpointMixin
from authlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidRequestError,
    InvalidScopeError,
    UnsupportedGrantTypeError,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from federation.errors import BadRequest
from federation.flows import pair_cli
from federation.flows.origin import Origin
from federation.said import say

# RFC 6749 section 5.1: a token must not stay in any cache.
JSON_HEADERS = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]


class FlowRefused(OAuth2Error):  # type: ignore[misc]
    """A refusal of `pair_cli` in the protocol's words; the precise reason stays in the audit log."""

    def __init__(self, cause: pair_cli.GrantRefused) -> None:
        super().__init__(error=cause.oauth_error, description=cause.public_sentence, status_code=400)


class Malformed(InvalidRequestError):  # type: ignore[misc]
    """An invalid_request with the precise reason, for the audit log."""

    def __init__(self, reason: str, description: str, **more: Any) -> None:
        super().__init__(description, **more)
        self.reason = reason


class PublicClient(ClientMixin):  # type: ignore[misc]
    """A client without a secret: it authenticates with nothing, so only PKCE and the loopback redirect protect it."""

    def __init__(self, client: pair_cli.Client) -> None:
        self.client = client

    @property
    def client_id(self) -> str:
        return self.client.id

    def get_client_id(self) -> str:
        return self.client.id

    def get_default_redirect_uri(self) -> None:
        """None: a redirect URI must always be named, the port differs each time."""
        return

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return pair_cli.is_loopback_redirect(redirect_uri)

    def check_client_secret(self, client_secret: str) -> bool:
        """False: there is no secret to be right."""
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in {"authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE}

    def get_allowed_scope(self, scope: str | None) -> str | None:
        try:
            return pair_cli.scope_of(scope or "")
        except BadRequest:
            return None


class Payload(OAuth2Payload):  # type: ignore[misc]
    """The parameters of one request: of the form for POST, of the query otherwise, never of both.

    Authlib's own Django integration merges the two; a token in a query would then work, and end up in access logs.
    """

    def __init__(self, request: HttpRequest) -> None:
        source = request.POST if request.method == "POST" else request.GET
        self._data = source.dict()
        self._lists: defaultdict[str, list[Any]] = defaultdict(
            list, {name: list(values) for name, values in source.lists()}
        )

    @property
    def data(self) -> dict[str, Any]:
        return self._data

    @property
    def datalist(self) -> defaultdict[str, list[Any]]:
        return self._lists


class Request(OAuth2Request):  # type: ignore[misc]
    """Authlib's view of a request, with the origin and the time that the flows want."""

    def __init__(self, request: HttpRequest, now: datetime) -> None:
        # The address comes from the configuration: a forged Host header must not decide anything here.
        super().__init__(method=request.method or "", uri=settings.ROLEGATE_URL + request.path, headers=request.headers)
        self.payload = Payload(request)
        self.origin: Origin = request.origin  # type: ignore[attr-defined]
        self.now = now
        self.refused: OAuth2Error | None = None  # what Authlib answered with an error

    @property
    def form(self) -> dict[str, Any]:
        data: dict[str, Any] = self.payload.data
        return data

    @property
    def args(self) -> dict[str, Any]:
        return self.form

    def required(self, name: str) -> str:
        """The parameter's value. Raises InvalidRequestError when it is missing, empty or there twice (RFC 6749 section 3.2)."""
        value = self.payload.data.get(name)
        if not value or len(self.payload.datalist[name]) > 1:
            raise Malformed(f"{name}_not_once", say("The parameter {name} must be there exactly once.", name=name))
        return str(value)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    """The authorization endpoint of the code grant: PKCE with S256, or nothing."""

    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def __init__(self, request: Request, server: Server) -> None:
        super().__init__(request, server)
        self.register_hook("after_validate_authorization_request_payload", _require_s256)

    @staticmethod
    def validate_authorization_redirect_uri(request: Request, client: PublicClient) -> str:
        """The redirect URI. An error here is shown, never redirected: there is no place yet that may be trusted."""
        uri = request.required("redirect_uri")
        if not client.check_redirect_uri(uri):
            raise Malformed(
                "redirect_uri_not_loopback",
                say("The redirect URI must be http://127.0.0.1:PORT/callback or http://[::1]:PORT/callback."),
            )
        return uri

    def create_authorization_response(
        self, redirect_uri: str, grant_user: Any
    ) -> tuple[int, str, list[tuple[str, str]]]:
        if grant_user is None:
            raise AccessDeniedError(redirect_uri=redirect_uri)
        code = pair_cli.issue_code(
            grant_user.pk,
            client_id=self.request.client.client_id,
            redirect_uri=redirect_uri,
            code_challenge=self.request.required("code_challenge"),
            scope=self.request.scope,
            origin=self.request.origin,
            now=self.request.now,
        )
        params = [("code", code)]
        if self.request.payload.state:
            params.append(("state", self.request.payload.state))
        return 302, "", [("Location", add_params_to_uri(redirect_uri, params))]

    def validate_token_request(self) -> None:
        self.request.client = self.authenticate_token_endpoint_client()

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        request = self.request
        return _answer(
            lambda: pair_cli.redeem_code(
                request.required("code"),
                client_id=request.client.client_id,
                redirect_uri=request.required("redirect_uri"),
                code_verifier=request.required("code_verifier"),
                origin=request.origin,
                now=request.now,
            )
        )


def _require_s256(grant: CodeGrant, _redirect_uri: str) -> None:
    """RFC 7636 lets "plain" be the default; whoever reads the request could then redeem the code."""
    if grant.request.required("code_challenge_method") != "S256":
        raise Malformed("code_challenge_method_not_s256", say("The code_challenge_method must be S256."))
    if not pair_cli.is_code_challenge(grant.request.required("code_challenge")):
        raise Malformed("code_challenge_malformed", say("The code_challenge must be 43 characters of base64url."))


class RefreshGrant(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """RFC 6749 section 6, with rotation. A scope asked for is left aside (section 3.3): the answer names the one granted."""

    GRANT_TYPE = "refresh_token"
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def validate_token_request(self) -> None:
        self.request.client = self.authenticate_token_endpoint_client()

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        request = self.request
        return _answer(
            lambda: pair_cli.rotate(
                request.required("refresh_token"),
                client_id=request.client.client_id,
                origin=request.origin,
                now=request.now,
            )
        )


class DeviceCodeGrant(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """RFC 8628 section 3.4."""

    GRANT_TYPE = DEVICE_CODE_GRANT_TYPE
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def validate_token_request(self) -> None:
        self.request.client = self.authenticate_token_endpoint_client()

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        request = self.request
        return _answer(
            lambda: pair_cli.poll_device(
                request.required("device_code"),
                client_id=request.client.client_id,
                origin=request.origin,
                now=request.now,
            )
        )


def _answer(redeem: Any) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
    try:
        tokens: pair_cli.Tokens = redeem()
    except pair_cli.GrantRefused as cause:
        raise FlowRefused(cause) from cause
    body = {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token,
        # Not in RFC 6749; what others call it too. Clients can say when the person must sign in again.
        "refresh_token_expires_in": tokens.refresh_expires_in,
        "scope": tokens.scope,
    }
    return 200, body, JSON_HEADERS


class DeviceEndpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    """RFC 8628 section 3.1. No verification_uri_complete: a code that is filled in is a code that is not read (section 5.4)."""

    CLIENT_AUTH_METHODS = ["none"]

    def create_endpoint_response(self, request: Request) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        client = self.authenticate_client(request)
        scope = client.get_allowed_scope(request.payload.scope)
        if scope is None:
            raise InvalidScopeError
        start = pair_cli.begin_device(client_id=client.client_id, scope=scope, origin=request.origin, now=request.now)
        body = {
            "device_code": start.device_code,
            "user_code": start.user_code,
            "verification_uri": f"{settings.ROLEGATE_URL}/device/",
            "expires_in": start.expires_in,
            "interval": start.interval,
        }
        return 200, body, JSON_HEADERS


class RevokeEndpoint(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009. Either token of a pairing ends the whole pairing; token_type_hint is not needed, the prefix tells."""

    CLIENT_AUTH_METHODS = ["none"]

    def create_endpoint_response(self, request: Request) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        client = self.authenticate_endpoint_client(request)
        pair_cli.revoke_token(
            request.required("token"), client_id=client.client_id, origin=request.origin, now=request.now
        )
        return 200, {}, JSON_HEADERS


class Server(AuthlibServer):  # type: ignore[misc]
    """The one server; holds no state between requests."""

    def query_client(self, client_id: str) -> PublicClient | None:
        client = pair_cli.CLIENTS.get(client_id)
        return None if client is None else PublicClient(client)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nothing: the flows write the audit events, in their own transactions."""

    def create_oauth2_request(self, request: Any) -> Request:
        made: Request = request  # the views build it, because they know the time
        return made

    def handle_error_response(self, request: Request, error: OAuth2Error) -> HttpResponse:
        """Authlib's answer; it catches its own errors, so what was refused is kept for the audit log."""
        request.refused = error
        response: HttpResponse = super().handle_error_response(request, error)
        return response

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> HttpResponse:
        content = json.dumps(body) if isinstance(body, dict) else body
        response = HttpResponse(content, status=status)
        for name, value in (*headers, ("Cache-Control", "no-store")):
            response[name] = value
        return response

    def get_token_grant(self, request: Request) -> Any:
        """Authlib would repeat the client's own words in the error; they need not be ASCII (RFC 6749 section 5.2)."""
        request.required("grant_type")
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError as cause:
            raise _error("unsupported_grant_type", "This grant type does not exist here.") from cause

    def get_authorization_grant(self, request: Request) -> Any:
        """The grant for the authorization endpoint; errors go back to the client once its redirect URI is known to be right."""
        client = self.query_client(request.required("client_id"))
        if client is None:
            raise _error("invalid_client", say("There is no such client here."))
        redirect_uri = CodeGrant.validate_authorization_redirect_uri(request, client)
        for name in ("response_type", "scope", "state", "code_challenge", "code_challenge_method"):
            if len(request.payload.datalist[name]) > 1:
                raise Malformed(
                    f"{name}_not_once", f"The parameter {name} must not be repeated.", redirect_uri=redirect_uri
                )
        if request.payload.response_type != "code":
            name, text = (
                ("unsupported_response_type", "Only the response type code exists here.")
                if request.payload.response_type
                else ("invalid_request", "The parameter response_type is missing.")
            )
            raise _error(name, text, redirect_uri=redirect_uri)
        return CodeGrant(request, self)


def _error(name: str, description: str, redirect_uri: str | None = None) -> OAuth2Error:
    return OAuth2Error(error=name, description=description, redirect_uri=redirect_uri, status_code=400)


def with_issuer(response: HttpResponse) -> HttpResponse:
    """Adds `iss` to an authorization response (RFC 9207): the client can tell two servers apart (mix-up attack)."""
    response["Location"] = add_params_to_uri(response["Location"], [("iss", settings.ROLEGATE_URL)])
    return response


def metadata() -> dict[str, Any]:
    """The authorization server's metadata (RFC 8414 section 2)."""
    url = settings.ROLEGATE_URL
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/oauth/authorize",
        "token_endpoint": f"{url}/oauth/token",
        "device_authorization_endpoint": f"{url}/oauth/device_authorization",
        "revocation_endpoint": f"{url}/oauth/revoke",
        "scopes_supported": list(pair_cli.SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def build_server() -> Server:
    """The server with its grants and endpoints registered."""
    server = Server(scopes_supported=list(pair_cli.SCOPES))
    for grant in (CodeGrant, RefreshGrant, DeviceCodeGrant):
        server.register_grant(grant)
    server.register_endpoint(DeviceEndpoint)
    server.register_endpoint(RevokeEndpoint)
    return server
