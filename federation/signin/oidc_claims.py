"""What the claims of a verified token say: are they for us, are they for now, and who is the person. Pure.

Owns every judgement on the value of a claim; the signature has been checked before (`jwks`). Called by `oidc` alone.
Sources: OpenID Connect Core 1.0 sections 2, 3.1.3.7, 5.1 and 5.6.2; Entra ID's "groups overage claim".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from federation.identity import Identity, Subject
from federation.mapping.rules import IdentityProvider, OidcProvider
from federation.signin.oidc_reasons import Reason, refused
from federation.signin.values import MAX_GROUPS, MAX_VALUE, has_unseen

SKEW: Final = 60.0  # seconds
MAX_AGE: Final = 600.0  # seconds since iat
MAX_JWT_GROUPS: Final = 200  # Entra ID leaves groups out of a JWT from here on

_LAST_TIME: Final = 253402300799 - 86400  # a day before the last second that a datetime can say


def check_parties(claims: Mapping[str, Any], client: OidcProvider) -> None:
    """Check iss, aud and azp (OIDC Core 3.1.3.7, 2 to 5). Every comparison is exact: no prefix, no case folding."""
    if "iss" not in claims:
        raise refused(Reason.ISSUER_MISSING)
    if claims["iss"] != client.issuer:
        raise refused(Reason.ISSUER_MISMATCH, repr(claims["iss"])[:200])
    if "aud" not in claims:
        raise refused(Reason.AUDIENCE_MISSING)
    audience = claims["aud"]
    audiences = [audience] if isinstance(audience, str) else audience
    if (
        not isinstance(audiences, list)
        or not all(isinstance(one, str) for one in audiences)
        or client.client_id not in audiences
    ):
        raise refused(Reason.AUDIENCE_WRONG, repr(audience)[:200])
    if "azp" not in claims and len(audiences) > 1:
        raise refused(Reason.AZP_MISSING, repr(audience)[:200])
    if claims.get("azp", client.client_id) != client.client_id:
        # A token of another client that merely lists us among its audiences.
        raise refused(Reason.AZP_WRONG, repr(claims["azp"])[:200])


def check_times(claims: Mapping[str, Any], now: datetime) -> None:
    """Check exp, iat, nbf and auth_time against `now`, 60 seconds of skew allowed."""
    for name in ("exp", "iat"):
        if name not in claims:
            raise refused(Reason.TIME_MISSING, name)
    for name in ("exp", "iat", "nbf", "auth_time"):
        if name in claims and not _is_time(claims[name]):
            raise refused(Reason.TIME_MALFORMED, name)
    instant = now.timestamp()
    if claims["exp"] + SKEW <= instant:
        raise refused(Reason.EXPIRED, f"exp {claims['exp']}")
    for name in ("iat", "nbf", "auth_time"):
        if claims.get(name, 0) > instant + SKEW:
            raise refused(Reason.NOT_YET_VALID, f"{name} {claims[name]}")
    if claims["iat"] < instant - MAX_AGE:
        raise refused(Reason.TOO_OLD, f"iat {claims['iat']}")


def _is_time(value: object) -> bool:
    """True for a NumericDate that a datetime can hold; True and False are numbers to Python, but no dates."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_TIME


def check_subject(value: object) -> None:
    """Check a subject (OIDC Core 2: at most 255 characters). Raises OidcRefused: subject_missing, subject_malformed."""
    if value is None:
        raise refused(Reason.SUBJECT_MISSING)
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not _storable(value) or has_unseen(value):
        raise refused(Reason.SUBJECT_MALFORMED)


# --- Identity ----------------------------------------------------------------------------------------


def overage(claims: Mapping[str, Any], groups: str, *, signed: bool) -> bool:
    """True if the provider says, or the count shows, that it left groups out. Where it says to look is never read.

    OIDC Core 5.6.2 (distributed claims), Entra ID: `_claim_names`, `hasgroups`, and at most 200 groups in a JWT.
    `signed`: the claims come out of a JWT; userinfo has no such limit.
    """
    elsewhere = claims.get("_claim_names")
    if elsewhere is not None and (not isinstance(elsewhere, dict) or not {groups, "groups"}.isdisjoint(elsewhere)):
        return True
    if claims.get("hasgroups") not in (None, False, "false"):
        return True
    listed = _find(claims, groups)
    return signed and isinstance(listed, list) and len(listed) >= MAX_JWT_GROUPS


def incomplete(provider: IdentityProvider, claims: Mapping[str, Any]) -> bool:
    """True if a mapped claim is not in the ID token: many providers put them in userinfo only (OIDC Core 5.4)."""
    mapped = provider.claims
    names = (mapped.subject, mapped.groups, mapped.email, mapped.name, *mapped.attributes.values())
    return any(name and _find(claims, name) is None for name in names)


def identity(
    provider: IdentityProvider, claims: Mapping[str, Any], extra: Mapping[str, Any], *, partial: bool, now: datetime
) -> Identity:
    """The person whom the ID token's `claims` describe; `extra` (userinfo) only fills gaps in the mapped claims.

    `partial`: groups were left out (`overage`). A claim that is not text, or a list of texts, refuses the sign-in
    (OidcRefused): to drop a group that cannot be read could drop the one that a deny rule is about.
    """
    mapped = provider.claims

    def texts(name: str) -> tuple[str, ...]:
        return _texts(claims if not name or _find(claims, name) is not None else extra, name)

    subject = _find(claims, mapped.subject)
    subject = _find(extra, mapped.subject) if subject is None else subject
    check_subject(subject)
    groups = texts(mapped.groups)
    if len(groups) > MAX_GROUPS:
        raise refused(Reason.TOO_MANY_GROUPS, str(len(groups)))
    # How and when the person authenticated counts only where it is signed.
    references = {*_texts(claims, "amr"), *_texts(claims, "acr")}
    return Identity(
        subject=Subject(provider=provider.slug, format="", value=subject),
        name=next(iter(texts(mapped.name)), ""),
        email=next(iter(texts(mapped.email)), ""),
        groups=frozenset(groups),
        verified_at=now,
        authenticated_at=datetime.fromtimestamp(claims.get("auth_time", claims["iat"]), UTC),
        attributes={name: texts(claim) for name, claim in mapped.attributes.items()},
        mfa=not references.isdisjoint(mapped.mfa),
        groups_complete=not partial,
        session_index=short_text(claims, "sid"),
    )


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """The claim `name`; failing that, `a.b` finds member b of the object a (Keycloak's realm_access.roles)."""
    if name in claims or "." not in name:
        return claims.get(name)
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _texts(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The claim as texts: none if absent or null, one for a string, each of a list. Nothing else is guessed at."""
    value = _find(claims, name) if name else None
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and _storable(one) for one in values):
        raise refused(Reason.CLAIM_MALFORMED, name)
    if any(len(one) > MAX_VALUE for one in values):
        raise refused(Reason.VALUE_TOO_LONG, name)
    if any(map(has_unseen, values)):
        raise refused(Reason.CONTROL_CHARACTER, name)
    return tuple(values)


def _storable(text: str) -> bool:
    """True if PostgreSQL and UTF-8 can hold it: no NUL, no lone surrogate."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def short_text(claims: Mapping[str, Any], name: str, reason: Reason = Reason.CLAIM_MALFORMED) -> str:
    """An optional claim of at most 255 characters, "" if absent. Raises OidcRefused(`reason`)."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > 255 or not _storable(value):
        raise refused(reason, name)
    return value


def forget_after(claims: Mapping[str, Any]) -> datetime:
    """When no clock within the skew takes the token any more: its replay key may then be forgotten."""
    return datetime.fromtimestamp(min(float(claims["exp"]), claims["iat"] + MAX_AGE) + 2 * SKEW, UTC)
