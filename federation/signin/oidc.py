"""OpenID Connect relying party: from the browser's redirect to a verified Identity. The one door to Authlib's client.

Authorization code flow with PKCE S256, state and nonce; ID tokens, userinfo and back-channel logout tokens. Authlib
builds the requests, joserfc (through `jwks`) verifies; what neither checks is checked here, one plain `if` each.
Never sees the ORM, keeps no token, and follows no URL that came out of one. The caller stores state, nonce and
code verifier, uses them once, and inserts `Verified.replay_key` once.

Every reason for a refusal is in `oidc_reasons`. Sources: OpenID Connect Core 1.0, RP-Initiated Logout 1.0,
Back-Channel Logout 1.0, RFC 6749, RFC 7636, RFC 9207, RFC 9700.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

from authlib.common.urls import add_params_to_uri, url_decode
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from joserfc.util import urlsafe_b64encode

from federation.errors import ConfigurationError, OidcRefused, ProviderUnavailable, UnknownProvider
from federation.identity import Identity
from federation.mapping.rules import IdentityProvider, OidcProvider
from federation.net import Answer
from federation.said import say
from federation.signin.jwks import (
    Discovery,
    ProviderDocumentRefused,
    ProviderDocuments,
    fetch_discovery,
    strict_json,
    verify_signature,
)
from federation.signin.oidc_claims import (
    check_parties,
    check_subject,
    check_times,
    forget_after,
    identity,
    incomplete,
    overage,
    short_text,
)
from federation.signin.oidc_reasons import Reason, refused
from federation.signin.protocol import NameId, Verified

__all__ = [
    "AuthorizationRequest",
    "Discovery",
    "LogoutToken",
    "ProviderDocumentRefused",
    "ProviderDocuments",
    "Reason",
    "begin",
    "complete",
    "end_session_url",
    "fetch_discovery",
    "verify_id_token",
    "verify_logout_token",
]

MAX_ANSWER_BYTES: Final = 256 * 1024
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_ID_TOKEN_TYPES: Final = frozenset({"", "jwt"})
_LOGOUT_TOKEN_TYPES: Final = frozenset({"", "jwt", "logout+jwt"})
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 4.1
# RFC 6749 4.1.2.1 and 5.2 allow any text; every registered code is words. Whatever else a provider sends, a code or a
# secret of ours even, is not for the log.
_OAUTH_ERROR: Final = re.compile(r"[a-z]+(?:_[a-z]+){0,5}")
_BEARER: Final = re.compile(r"[\x21-\x7e]+")
_ENDED: Final = say(
    "Your company's identity provider did not complete the sign-in. Start again from the sign-in page; if it happens again, tell your administrators."
)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A sign-in on its way out: `url` for the browser; the rest to be kept on the server until the callback.

    `state`, `nonce`: 256 random bits each; `code_verifier`: 512 (RFC 7636). None of them means anything.
    """

    url: str = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A verified back-channel logout: end the sessions of `sub`, or the one with `sid`; "" where not named.

    With both, only the session `sid` of `sub`. `jti` is to be taken once; it may be forgotten after `expires`.
    """

    sub: str
    sid: str
    jti: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """Everything that the provider said of a person: the ID token's claims, those of userinfo, whether groups were left out."""

    id_token: Mapping[str, Any] = field(repr=False)
    userinfo: Mapping[str, Any] = field(repr=False)
    partial: bool


Witness = Callable[[Received], None]


def identity_of(told: Received, provider: IdentityProvider, now: datetime) -> Identity:
    """The person that the claim map of `provider` finds in what was received: for trying another claim map.

    Raises OidcRefused as a sign-in does.
    """
    return identity(provider, told.id_token, told.userinfo, partial=told.partial, now=now)


# --- Begin -------------------------------------------------------------------------------------------


def begin(
    provider: IdentityProvider, documents: ProviderDocuments, *, redirect_uri: str, now: datetime, label: str = ""
) -> AuthorizationRequest:
    """A new authorization request (OIDC Core 3.1.2.1). `redirect_uri`: absolute, as registered at the provider.

    `label`: what the state begins with, to tell kinds of sign-ins apart; it proves nothing.

    Raises ProviderUnavailable, OidcRefused(pkce_unsupported), ConfigurationError, UnknownProvider.
    """
    client = _client_of(provider)
    discovery = documents.discovery(client.issuer, now=now)
    if not discovery.pkce_s256:
        # A provider that knows only `plain` would hand an intercepted code to whoever saw the request (RFC 9700 2.1.1).
        raise refused(Reason.PKCE_UNSUPPORTED)
    state, nonce, verifier = label + secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    scopes = client.scopes if "openid" in client.scopes else ("openid", *client.scopes)
    authlib = OAuth2Client(
        None,
        client_id=client.client_id,
        redirect_uri=redirect_uri,
        scope=" ".join(scopes),
        code_challenge_method="S256",
    )
    url, _ = authlib.create_authorization_url(
        discovery.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier
    )
    return AuthorizationRequest(url=url, state=state, nonce=nonce, code_verifier=verifier)


def _client_of(provider: IdentityProvider) -> OidcProvider:
    if not provider.enabled:
        raise UnknownProvider("provider_disabled", detail=provider.slug)
    if provider.oidc is None:
        raise ConfigurationError("not_an_oidc_provider", detail=provider.slug)
    return provider.oidc


# --- Complete ----------------------------------------------------------------------------------------


def complete(
    provider: IdentityProvider,
    documents: ProviderDocuments,
    *,
    client_secret: str,
    redirect_uri: str,
    params: Mapping[str, str],
    state: str,
    nonce: str,
    code_verifier: str,
    now: datetime,
    witness: Witness | None = None,
) -> Verified:
    """Turn the callback's `params` into a verified sign-in; one call to the token endpoint, at most one to userinfo.

    `witness`: told what was received once every check has passed, also where the claim map then finds no person in it.
    For it userinfo is asked too where the ID token would do.

    `state`, `nonce`, `code_verifier`: what `begin` gave for this browser; the caller has already used up the state.
    Raises OidcRefused with a reason of `oidc_reasons.Reason`, ProviderUnavailable, ConfigurationError, UnknownProvider.
    """
    client = _client_of(provider)
    discovery = documents.discovery(client.issuer, now=now)
    code = _check_callback(params, discovery, state=state)
    if not _VERIFIER.fullmatch(code_verifier):
        raise refused(Reason.PKCE_MISSING)
    if not nonce:
        # An empty expectation would switch the check off: exactly what a code injection needs.
        raise refused(Reason.NONCE_UNKNOWN)
    id_token, access_token = _exchange(
        client,
        discovery,
        documents,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        code=code,
        verifier=code_verifier,
    )
    claims = verify_id_token(provider, documents, id_token, nonce=nonce, access_token=access_token, code=code, now=now)
    partial, extra = overage(claims, provider.claims.groups, signed=True), {}
    # On overage nothing is asked: what the provider would not say here, the directory knows.
    if discovery.userinfo_endpoint and not partial and (incomplete(provider, claims) or (witness and access_token)):
        extra = _userinfo(documents, discovery.userinfo_endpoint, access_token, subject=claims["sub"])
        partial = overage(extra, provider.claims.groups, signed=False)
    if witness is not None:
        witness(Received(claims, extra, partial))
    person = identity(provider, claims, extra, partial=partial, now=now)
    unique = short_text(claims, "jti", Reason.JTI_MALFORMED) or id_token
    return Verified(
        identity=person,
        replay_key=_digest(provider.slug, client.issuer, unique),
        replay_until=forget_after(claims),
        in_response_to=state,
        name_id=NameId(value=claims["sub"], format=""),
        session_index=person.session_index,
        object_id=_object_id(claims),
    )


def _object_id(claims: Mapping[str, Any]) -> str:
    """Of use only for asking the directory: where it is no id, nothing is asked, and nobody is refused for it."""
    value = claims.get("oid")
    return value if isinstance(value, str) and len(value) == 36 else ""


def _check_callback(params: Mapping[str, str], discovery: Discovery, *, state: str) -> str:
    """Return the code of an authorization response that answers `state` and comes from this provider."""
    if not state or not params.get("state"):
        raise refused(Reason.STATE_MISSING)
    if not _same(params["state"], state):
        raise refused(Reason.STATE_WRONG)
    issuer = params.get("iss")
    if issuer is None and discovery.issuer_parameter:
        raise refused(Reason.CALLBACK_ISS_MISSING)
    if issuer is not None and issuer != discovery.issuer:
        # Mix-up: the code would be carried to the wrong provider's token endpoint (RFC 9207 2.4). Errors carry iss too.
        raise refused(Reason.CALLBACK_ISS_WRONG, repr(issuer)[:200])
    if "error" in params:
        error = _oauth_error(params["error"])
        raise OidcRefused(Reason.PROVIDER_ERROR.value, detail=error, sentence=_ENDED, error=error)
    code = params.get("code", "")
    if not code or len(code) > 8192:
        raise refused(Reason.CODE_MISSING)
    return code


def _oauth_error(value: object) -> str:
    known = isinstance(value, str) and len(value) <= 60 and _OAUTH_ERROR.fullmatch(value)
    return str(value) if known else "unprintable"


def _exchange(
    client: OidcProvider,
    discovery: Discovery,
    documents: ProviderDocuments,
    *,
    client_secret: str,
    redirect_uri: str,
    code: str,
    verifier: str,
) -> tuple[str, str]:
    """Return (ID token, access token or "") for the code (RFC 6749 4.1.3, RFC 7636 4.5). Never tried twice."""
    body = prepare_token_request("authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=verifier)
    data: dict[str, str] = dict(url_decode(body))
    auth: tuple[str, str] | None = None
    # A provider without a secret is a public client, PKCE its only proof.
    method = client.token_endpoint_auth_method if client_secret else "none"
    if method == "client_secret_basic":
        # RFC 6749 2.3.1: both are form-encoded first, or a secret with a `%`, `+` or `:` in it would not arrive.
        auth = (quote_plus(client.client_id), quote_plus(client_secret))
    elif method == "client_secret_post":
        data |= {"client_id": client.client_id, "client_secret": client_secret}
    elif method == "none":
        data["client_id"] = client.client_id
    else:
        raise ConfigurationError("token_endpoint_auth_method_unsupported", detail=method)
    answer = documents.request(
        "POST",
        discovery.token_endpoint,
        data=data,
        headers={"Accept": "application/json"},
        auth=auth,
        max_bytes=MAX_ANSWER_BYTES,
    )
    return _tokens(answer)


def _tokens(answer: Answer) -> tuple[str, str]:
    """Read a token endpoint's answer (OIDC Core 3.1.3.3, RFC 6749 5.2)."""
    if answer.status >= 500 or answer.status == 429:
        raise ProviderUnavailable("token_endpoint_failed", detail=f"HTTP {answer.status}")
    try:
        tokens = strict_json(answer.body)
    except ValueError as error:
        raise refused(Reason.TOKEN_RESPONSE_MALFORMED, f"HTTP {answer.status}: {error}") from error
    if answer.status != 200 or "error" in tokens:
        error_code = _oauth_error(tokens.get("error"))
        known = {"invalid_grant": Reason.CODE_REFUSED, "invalid_client": Reason.CLIENT_REFUSED}
        raise refused(known.get(error_code, Reason.TOKEN_REQUEST_REFUSED), f"HTTP {answer.status}: {error_code}")
    id_token, access_token = tokens.get("id_token"), tokens.get("access_token", "")
    if not isinstance(id_token, str) or not id_token:
        raise refused(Reason.ID_TOKEN_MISSING)
    if not isinstance(access_token, str) or (access_token and not _BEARER.fullmatch(access_token)):
        raise refused(Reason.TOKEN_RESPONSE_MALFORMED, "access_token")
    if access_token and str(tokens.get("token_type", "")).lower() != "bearer":
        # RFC 6749 7.1: a token of an unknown type must not be used.
        raise refused(Reason.TOKEN_RESPONSE_MALFORMED, "token_type")
    return id_token, access_token


# --- ID token ----------------------------------------------------------------------------------------


def verify_id_token(
    provider: IdentityProvider,
    documents: ProviderDocuments,
    id_token: str,
    *,
    nonce: str,
    access_token: str,
    code: str,
    now: datetime,
) -> dict[str, Any]:
    """Return the claims of an ID token that is meant for us, now, and for this sign-in (OIDC Core 3.1.3.7).

    `access_token`, `code`: what came with it, "" if nothing did. The values of other claims are not judged here.
    Raises OidcRefused or ProviderUnavailable.
    """
    client = _client_of(provider)
    claims, algorithm = verify_signature(id_token, client.issuer, documents, types=_ID_TOKEN_TYPES, now=now)
    check_parties(claims, client)
    check_times(claims, now)
    check_subject(claims.get("sub"))
    claimed = claims.get("nonce")
    if claimed is None:
        raise refused(Reason.NONCE_MISSING)
    if not nonce or not isinstance(claimed, str) or not _same(claimed, nonce):
        # Replay or code injection: the token was made for another sign-in.
        raise refused(Reason.NONCE_WRONG)
    for name, value, reason in (
        ("at_hash", access_token, Reason.AT_HASH_WRONG),
        ("c_hash", code, Reason.C_HASH_WRONG),
    ):
        expected = claims.get(name)
        if name in claims and not (isinstance(expected, str) and _same(expected, _half_hash(value, algorithm))):
            raise refused(reason)
    return claims


def _half_hash(value: str, algorithm: str) -> str:
    """The left half of the hash that goes with `algorithm`, base64url (OIDC Core 3.1.3.6)."""
    digest = hashlib.new(f"sha{algorithm[2:]}", value.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).decode()


def _same(left: str, right: str) -> bool:
    """Equality in constant time; a lone surrogate compares unequal instead of failing."""
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


def _userinfo(documents: ProviderDocuments, url: str, access_token: str, *, subject: str) -> dict[str, Any]:
    """The claims of the userinfo endpoint about `subject` (OIDC Core 5.3)."""
    if not access_token:
        raise refused(Reason.ACCESS_TOKEN_MISSING)
    answer = documents.request(
        "GET",
        url,
        headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
        max_bytes=MAX_ANSWER_BYTES,
    )
    if answer.status >= 500 or answer.status == 429:
        raise ProviderUnavailable("userinfo_failed", detail=f"HTTP {answer.status}")
    if answer.status != 200:
        raise refused(Reason.USERINFO_REFUSED, f"HTTP {answer.status}")
    try:
        claims = strict_json(answer.body)
    except ValueError as error:
        raise refused(Reason.USERINFO_MALFORMED, str(error)) from error
    if claims.get("sub") != subject:
        # Token substitution: "the UserInfo Response values MUST NOT be used" (OIDC Core 5.3.2).
        raise refused(Reason.USERINFO_SUBJECT_MISMATCH)
    return claims


def _digest(*parts: str) -> str:
    """SHA-256 of the length-prefixed parts, hex: no two lists of parts run into one another."""
    encoded = [part.encode() for part in parts]
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in encoded)).hexdigest()


# --- Logout ------------------------------------------------------------------------------------------


def end_session_url(
    provider: IdentityProvider,
    documents: ProviderDocuments,
    *,
    id_token_hint: str = "",
    post_logout_redirect_uri: str,
    state: str,
    now: datetime | None = None,
) -> str | None:
    """Where the browser goes to end the session at the provider too (RP-Initiated Logout 1.0 section 2).

    None if the provider has no such endpoint or cannot be reached: signing out here never waits for it to come back.
    The gateway keeps no ID token, so `client_id` says who asks. `now`: the clock's time if not given.
    """
    client = _client_of(provider)
    try:
        discovery = documents.discovery(client.issuer, now=now or datetime.now(UTC))
    except ProviderUnavailable:
        return None
    if not discovery.end_session_endpoint:
        return None
    params = [
        ("id_token_hint", id_token_hint),
        ("client_id", client.client_id),
        ("post_logout_redirect_uri", post_logout_redirect_uri),
        ("state", state),
    ]
    return str(add_params_to_uri(discovery.end_session_endpoint, [pair for pair in params if pair[1]]))


def verify_logout_token(
    provider: IdentityProvider, documents: ProviderDocuments, logout_token: str, *, now: datetime
) -> LogoutToken:
    """Verify a back-channel logout token (Back-Channel Logout 1.0 section 2.6). Anyone can post one: no call to the
    provider but the JWKS fetch that an unknown key id may cause once a minute.

    Raises OidcRefused or ProviderUnavailable. The caller takes each `jti` once.
    """
    client = _client_of(provider)
    claims, _ = verify_signature(logout_token, client.issuer, documents, types=_LOGOUT_TOKEN_TYPES, now=now)
    check_parties(claims, client)
    check_times(claims, now)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise refused(Reason.LOGOUT_EVENT_MISSING)
    if "nonce" in claims:
        # "MUST NOT": keeps an ID token, which anyone who signs in gets, from ending sessions.
        raise refused(Reason.LOGOUT_NONCE_PRESENT)
    subject, session = claims.get("sub", ""), short_text(claims, "sid")
    if "sub" in claims:
        check_subject(subject)
    if not subject and not session:
        raise refused(Reason.LOGOUT_TARGET_MISSING)
    unique = short_text(claims, "jti", Reason.JTI_MALFORMED)
    if not unique:
        raise refused(Reason.JTI_MISSING)
    return LogoutToken(sub=subject, sid=session, jti=unique, expires=forget_after(claims))
