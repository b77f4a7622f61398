"""The web-identity token: a JWT that AssumeRoleWithWebIdentity exchanges for credentials.

Owns its claims (STS user guide, "Pass session tags using AssumeRoleWithWebIdentity" and "Monitor and control actions taken with assumed
roles"; RFC 7519; OpenID Connect Core 2). One token a call, five minutes at most. No `azp`: AWS is reported to read it as the audience.
The JWS is put together here (RFC 7515, 7.1) so that any Signer can be behind it, a KMS too.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import urlsplit

from federation.issuer.checks import (
    MAX_LIFETIME,
    MintRefused,
    check_lifetime,
    check_now,
    check_source_identity,
    check_tags,
    check_text,
)
from federation.issuer.signing import Signer, b64url

__all__ = ["MintRefused", "MintedToken", "TokenRequest", "mint_token"]

MAX_TOKEN = 20_000
TAGS_CLAIM = "https://aws.amazon.com/tags"
SOURCE_IDENTITY_CLAIM = "https://aws.amazon.com/source_identity"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What the token says.

    `issuer`: the provider URL in IAM, exactly. `audience`: the client id that IAM lists. `subject`: `sub`, what trust
    policies may match. `source_identity`: 2 to 64 characters or "". `tags`: session tags. `transitive_tags`: keys among them.
    """

    issuer: str
    audience: str
    subject: str
    source_identity: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    transitive_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A signed token. `jti` is what the audit event keeps; `token` is a bearer secret until `expires_at`."""

    jti: str
    token: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime


# Made once: json.dumps with options makes an encoder at each call.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _compact(document: Mapping[str, object]) -> str:
    return b64url(_encode(document).encode())


@lru_cache(maxsize=32)
def _header(algorithm: str, kid: str) -> str:
    return _compact({"alg": algorithm, "kid": kid, "typ": "JWT"})


@lru_cache(
    maxsize=32
)  # a gateway has one issuer URL; a refusal is raised anew each time, for lru_cache keeps no exceptions
def _check_issuer(issuer: str) -> None:
    check_text(issuer, "issuer_url_invalid", longest=255)
    try:
        parts = urlsplit(issuer)
        port = parts.port
    except ValueError as error:
        raise MintRefused("issuer_url_invalid", detail=ascii(issuer)[:200]) from error
    local = parts.hostname in (
        "localhost",
        "127.0.0.1",
        "::1",
    )  # the local AWS of demo and tests; the real one takes neither
    secure = parts.scheme == "https" or (parts.scheme == "http" and local)
    if (
        not secure
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or (port is not None and not local)
    ):
        raise MintRefused("issuer_url_invalid", detail=ascii(issuer)[:200])


def mint_token(
    request: TokenRequest, signer: Signer, *, now: datetime, lifetime: timedelta = MAX_LIFETIME
) -> MintedToken:
    """Sign one token for one call. `now`: aware, UTC; times in the token are whole seconds.

    Raises MintRefused: issuer_url_invalid, audience_invalid, subject_invalid, source_identity_invalid, tag_invalid, tag_duplicate,
    too_many_tags, transitive_tag_unknown, lifetime_out_of_range, now_not_utc, token_too_large.
    """
    issued_at = check_now(now)
    expires_at = issued_at + check_lifetime(lifetime)
    _check_issuer(request.issuer)
    check_text(request.audience, "audience_invalid", longest=255)
    check_text(request.subject, "subject_invalid", longest=255)  # OpenID Connect Core 2: at most 255
    check_source_identity(request.source_identity)
    check_tags(request.tags, request.transitive_tags)
    jti = secrets.token_hex(16)
    claims: dict[str, object] = {
        "iss": request.issuer,
        "sub": request.subject,
        "aud": request.audience,
        "iat": int(issued_at.timestamp()),
        "exp": int(expires_at.timestamp()),
        "jti": jti,
    }
    if request.tags:
        claims[TAGS_CLAIM] = {
            "principal_tags": {key: [value] for key, value in request.tags.items()},
            "transitive_tag_keys": list(request.transitive_tags),
        }
    if request.source_identity:
        claims[SOURCE_IDENTITY_CLAIM] = request.source_identity
    signing_input = f"{_header(signer.algorithm, signer.kid)}.{_compact(claims)}"
    # The signature's length is known before it is made: refuse first, sign after.
    if len(signing_input) + 1 + 684 > MAX_TOKEN:
        raise MintRefused("token_too_large", detail=f"{len(signing_input)} characters without signature")
    token = f"{signing_input}.{b64url(signer.sign(signing_input.encode()))}"
    return MintedToken(jti=jti, token=token, issued_at=issued_at, expires_at=expires_at)
