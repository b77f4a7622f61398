"""Reads a web-identity token as AWS does: the issuer's discovery and keys fetched over HTTP, then every claim."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests

from demo.aws.errors import expired, invalid_token
from demo.aws.limits import Tags, check_tags
from demo.aws.registry import LOOPBACK_HOSTS, OidcProvider

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
TIMEOUT_SECONDS = 5
MAX_DOCUMENT_BYTES = 500_000
EARLY_SECONDS = 60
TAGS = "https://aws.amazon.com/tags"
SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
WANTED_IN_DISCOVERY = (
    "jwks_uri",
    "response_types_supported",
    "subject_types_supported",
    "id_token_signing_alg_values_supported",
)
NO_KEY = (
    "Couldn't retrieve verification key from your identity provider, "
    "please reference AssumeRoleWithWebIdentity documentation for requirements"
)


@dataclass(frozen=True)
class WebIdentity:
    """What a good token says. `audience`: the one that trust conditions see."""

    issuer: str
    subject: str
    audience: str
    amr: tuple[str, ...]
    tags: Tags


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(header, claims), not verified: only to find the provider and the key. Raises AwsError InvalidIdentityToken."""
    problem = invalid_token(
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)", "not_a_jwt"
    )
    parts = token.split(".")
    if len(parts) != 3:
        raise problem
    try:
        header, claims = (
            json.loads(jwt.utils.base64url_decode(part), object_pairs_hook=_no_duplicates) for part in parts[:2]
        )
    except ValueError as error:
        raise problem from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise problem
    return header, claims


def _fetch(url: str, reason: str) -> dict[str, Any]:
    """A JSON document of the issuer. Five seconds, no redirect. Raises AwsError with the one sentence AWS has for all of it."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS):
        raise invalid_token(NO_KEY, reason)
    try:
        answer = requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        document = answer.json() if answer.status_code == 200 and len(answer.content) <= MAX_DOCUMENT_BYTES else None
    except (requests.RequestException, ValueError) as error:
        raise invalid_token(NO_KEY, reason) from error
    if not isinstance(document, dict):
        raise invalid_token(NO_KEY, reason)
    return document


def _verification_key(provider: OidcProvider, kid: str, algorithm: str) -> Any:
    discovery = _fetch(f"{provider.url.rstrip('/')}/.well-known/openid-configuration", "discovery_unreachable")
    if discovery.get("issuer") != provider.url or any(not discovery.get(name) for name in WANTED_IN_DISCOVERY):
        raise invalid_token(NO_KEY, "discovery_incomplete")
    if algorithm not in discovery["id_token_signing_alg_values_supported"]:
        raise invalid_token(NO_KEY, "algorithm_not_announced")
    keys = _fetch(discovery["jwks_uri"], "jwks_unreachable").get("keys", [])
    found = [key for key in keys if isinstance(key, dict) and key.get("kid") == kid]
    if len(found) != 1:
        raise invalid_token(NO_KEY, "kid_unknown" if not found else "kid_twice")
    if found[0].get("use", "sig") != "sig" or found[0].get("alg", algorithm) != algorithm or "d" in found[0]:
        raise invalid_token(NO_KEY, "key_not_for_this")
    try:
        return jwt.PyJWK(found[0], algorithm).key
    except jwt.PyJWTError as error:
        raise invalid_token(NO_KEY, "key_unreadable") from error


def _whole(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid_token(f"Missing a required claim, or not an integer: {name}", f"{name}_not_integer")
    return value


def check(token: str, provider: OidcProvider, now: datetime) -> WebIdentity:
    """Every check on the token itself. Raises AwsError InvalidIdentityToken or ExpiredTokenException."""
    header, claims = peek(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise invalid_token("The algorithm of the token is not supported.", "algorithm")
    if not isinstance(kid, str) or not kid:
        raise invalid_token(NO_KEY, "no_kid")
    if {"jwk", "jku", "x5u", "crit"} & header.keys():
        raise invalid_token("The header of the token is not allowed.", "header_not_allowed")
    if claims.get("iss") != provider.url:
        raise invalid_token("Issuer must be the provider's URL.", "issuer")
    key = _verification_key(provider, kid, str(algorithm))
    try:
        # Only the signature is PyJWT's business here: the claims are checked below with the clock that was handed in.
        jwt.decode(token, key, algorithms=[str(algorithm)], options={"verify_signature": True, "verify_exp": False, "verify_iat": False,
                   "verify_nbf": False, "verify_aud": False, "verify_iss": False, "verify_sub": False, "verify_jti": False})  # fmt: skip
    except jwt.InvalidTokenError as error:
        raise invalid_token("The token's signature is not valid.", "signature_invalid") from error
    seconds = int(now.timestamp())
    issued, until = _whole(claims, "iat"), _whole(claims, "exp")
    if until <= seconds:
        raise expired(
            f"Token expired: current date/time {seconds} must be before the expiration date/time {until}",
            "token_expired",
        )
    if issued > seconds + EARLY_SECONDS or issued >= until:
        raise invalid_token("Token is not valid yet: iat is in the future.", "issued_in_future")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 255:
        raise invalid_token("Missing a required claim: sub", "subject")
    amr = claims.get("amr", [])
    return WebIdentity(
        provider.url,
        subject,
        _audience(claims, provider),
        tuple(amr) if isinstance(amr, list) else (str(amr),),
        _tags(claims),
    )


def _audience(claims: Mapping[str, Any], provider: OidcProvider) -> str:
    """The audience; azp instead where there is one (reported of AWS, not proven: refusing here is the safe side)."""
    given = claims.get("aud")
    listed = given if isinstance(given, list) else [given]
    effective = [claims["azp"]] if "azp" in claims else listed
    for audience in effective:
        if audience in provider.audiences:
            return str(audience)
    raise invalid_token("Incorrect token audience", "audience")


def _tags(claims: Mapping[str, Any]) -> Tags:
    given = claims.get(TAGS, {})
    principal = given.get("principal_tags", {}) if isinstance(given, dict) else None
    transitive = given.get("transitive_tag_keys", []) if isinstance(given, dict) else None
    if not isinstance(principal, dict) or not isinstance(transitive, list):
        raise invalid_token("The tags claim is malformed.", "tags_malformed")
    values: dict[str, Any] = {}
    for name, listed in principal.items():
        if not isinstance(listed, list) or len(listed) != 1:
            raise invalid_token("A principal tag must be a list of one value.", "tags_malformed")
        values[name] = listed[0]
    if SOURCE_IDENTITY in claims and not claims[SOURCE_IDENTITY]:
        raise invalid_token("Source identity is empty.", "source_identity_invalid")
    return check_tags(values, tuple(transitive), claims.get(SOURCE_IDENTITY, ""))


def fingerprint(token: str) -> str:
    """What a token is known by once it was redeemed."""
    return hashlib.sha256(token.encode()).hexdigest()
