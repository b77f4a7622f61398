"""Pairing a command line with a person: authorization codes and device grants.

Owns every rule behind the OAuth endpoints; `portal.oauth` only speaks the protocol. What a pairing gives is in
`client_tokens`, whose names are offered here too. Sources: RFC 6749 section 4.1, RFC 7636 (PKCE), RFC 8252 (native
apps), RFC 8628 (device grant), RFC 9700 (security practice).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, Final, NoReturn

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac

from federation.audit.events import Kind
from federation.audit.record import record
from federation.errors import BadRequest, RateLimited, RolegateError
from federation.flows import rate_limits
from federation.flows.client_tokens import (
    ACCESS_PREFIX,
    CLI,
    CLIENTS,
    DEFAULT_SCOPE,
    REFRESH_PREFIX,
    SCOPES,
    Caller,
    Client,
    GrantRefused,
    PairedClient,
    TokenRefused,
    Tokens,
    authenticate,
    clean_text,
    digest,
    list_grants,
    note_rate_limit,
    note_refused_request,
    pair,
    pairing_lifetime,
    raise_refusal,
    refusal_of,
    refused,
    revoke_family,
    revoke_grant,
    revoke_token,
    rotate,
    scope_of,
    was_given_here,
)
from federation.flows.origin import Origin
from federation.models.clients import AuthorizationCode, DeviceGrant, WrongUserCode

__all__ = [
    "ACCESS_PREFIX",
    "CLI",
    "CLIENTS",
    "DEFAULT_SCOPE",
    "REFRESH_PREFIX",
    "SCOPES",
    "AuthorizationPending",
    "Caller",
    "Client",
    "DeviceDenied",
    "DeviceExpired",
    "DeviceRequest",
    "DeviceStart",
    "GrantRefused",
    "PairedClient",
    "SlowDown",
    "TokenRefused",
    "Tokens",
    "TooManyUserCodes",
    "UserCodeRefused",
    "authenticate",
    "begin_device",
    "decide_device",
    "deny",
    "find_device",
    "is_code_challenge",
    "is_loopback_redirect",
    "issue_code",
    "list_grants",
    "normalise_user_code",
    "note_rate_limit",
    "note_refused_request",
    "pairing_lifetime",
    "poll_device",
    "redeem_code",
    "revoke_grant",
    "revoke_token",
    "rotate",
    "scope_of",
    "was_given_here",
]

CODE_LIFETIME: Final = timedelta(seconds=60)
DEVICE_LIFETIME: Final = timedelta(minutes=10)
DEVICE_INTERVAL: Final = 5  # seconds; RFC 8628 section 3.2
DEVICE_TRIES: Final = 5
_JITTER: Final = timedelta(seconds=1)  # a poll that leaves on time may arrive a little early
_USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels (no words), no digits to mistake


# RFC 8252 section 7.3: the port is the operating system's choice, everything else is exact. `localhost` is left
# out on purpose (section 8.3): it can resolve to something that is not the loopback interface.
_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of a SHA-256
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1


class AuthorizationPending(GrantRefused):
    """The person has not decided yet (RFC 8628 section 3.5)."""

    code = "authorization_pending"
    sentence = "Nobody has decided on this device yet. Ask again after the interval."
    oauth_error = "authorization_pending"


class SlowDown(GrantRefused):
    """The device polls too fast; its interval has grown by five seconds (RFC 8628 section 3.5)."""

    code = "slow_down"
    sentence = "Asked too soon. Add five seconds to the interval."
    oauth_error = "slow_down"


class DeviceExpired(GrantRefused):
    """The device code's ten minutes are over (RFC 8628 section 3.5)."""

    code = "expired_token"
    sentence = "The code has expired. Start again: rolegate login."
    oauth_error = "expired_token"


class DeviceDenied(GrantRefused):
    """The person said no (RFC 8628 section 3.5)."""

    code = "access_denied"
    sentence = "The person at the browser denied this device."
    oauth_error = "access_denied"


class UserCodeRefused(BadRequest):
    """The typed code is wrong, expired or already decided on; one sentence for all three."""

    code = "user_code_refused"
    sentence = (
        "This code is not valid, or its ten minutes are over. Check what the command line shows, or start again there."
    )


class TooManyUserCodes(UserCodeRefused):
    """Five wrong codes within ten minutes: no further one is looked at."""

    code = "too_many_user_codes"
    status = 429
    sentence = "Too many wrong codes. Wait ten minutes, then start again on the command line."


@dataclass(frozen=True, slots=True)
class DeviceStart:
    """What a device is told: its own code, the code that the person types ("BCDF-GHJK"), seconds to live, seconds between polls."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """What the person is shown before deciding (RFC 8628 section 5.4)."""

    client: Client
    scope: str
    address: str
    user_agent: str
    created: datetime
    expires: datetime


# --- Small rules ------------------------------------------------------------------------------------


def is_loopback_redirect(uri: str) -> bool:
    """Whether `uri` is exactly http://127.0.0.1:<port>/callback or http://[::1]:<port>/callback."""
    match = _LOOPBACK.fullmatch(uri)
    return match is not None and int(match[1]) <= 65535


def is_code_challenge(value: str) -> bool:
    """Whether `value` has the form of an S256 challenge: 43 characters of base64url."""
    return _CHALLENGE.fullmatch(value) is not None


def normalise_user_code(typed: str) -> str:
    """The eight letters of a typed code, or "" when it cannot be one. Case, spaces and dashes do not count."""
    letters = re.sub(r"[\s\-\u2010-\u2015]", "", typed).upper()
    return letters if re.fullmatch(f"[{_USER_CODE_LETTERS}]{{8}}", letters) else ""


def _user_code_digest(letters: str) -> str:
    # Eight letters can be tried out by whoever has a copy of the table; not without the secret key.
    return salted_hmac("federation.flows.pair_cli.user_code", letters, algorithm="sha256").hexdigest()


def _verifies(verifier: str, challenge: str) -> bool:
    """RFC 7636 section 4.6, S256 only."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()
    return compare_digest(made, challenge)


# --- Authorization code (RFC 6749 section 4.1, with PKCE) ---------------------------------------------


def issue_code(
    person_id: uuid.UUID,
    *,
    client_id: str,
    redirect_uri: str,
    code_challenge: str,
    scope: str,
    origin: Origin,
    now: datetime,
) -> str:
    """A code that the client can redeem once within a minute. The person has consented.

    `code_challenge`: S256. Raises BadRequest when a parameter is not as registered, GrantRefused (person_disabled).
    """
    if client_id not in CLIENTS:
        raise BadRequest("unknown_client")
    if not is_loopback_redirect(redirect_uri):
        raise BadRequest("redirect_uri_not_loopback")
    if not is_code_challenge(code_challenge):
        raise BadRequest("code_challenge_malformed")
    person = get_user_model().objects.get(pk=person_id)
    if not person.active:
        _refuse_disabled(person, client_id, origin, now)
    code = secrets.token_urlsafe(32)
    AuthorizationCode.objects.create(
        hash=digest(code),
        person=person,
        client_id=client_id,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        scope=scope_of(scope),
        session_epoch=person.session_epoch,
        created=now,
        expires=now + CODE_LIFETIME,
    )
    return code


def deny(person_id: uuid.UUID, *, client_id: str, origin: Origin, now: datetime) -> None:
    """The person said no to a client that asked for a code."""
    person = get_user_model().objects.get(pk=person_id)
    with transaction.atomic():
        refused(
            Kind.CLIENT_PAIRING_DENIED, GrantRefused("denied_by_person"), actor=person.actor, origin=origin, now=now, client=client_id
        )  # fmt: skip


def _refuse_disabled(person: Any, client_id: str, origin: Origin, now: datetime) -> NoReturn:
    """Nobody who is disabled gives a device anything."""
    with transaction.atomic():
        error = refused(
            Kind.CLIENT_PAIRING_DENIED, GrantRefused("person_disabled"), actor=person.actor, origin=origin, now=now, client=client_id
        )  # fmt: skip
    raise error


def redeem_code(
    code: str, *, client_id: str, redirect_uri: str, code_verifier: str, origin: Origin, now: datetime
) -> Tokens:
    """The tokens for `code`. Any presentation spends it; a second one revokes what the first one gave (RFC 6749 section 4.1.2).

    Raises GrantRefused: code_unknown, code_reused, code_expired, wrong_client, wrong_redirect_uri, wrong_verifier,
    person_disabled, session_ended.
    """
    outcome: Tokens | RolegateError
    with transaction.atomic():
        spent = AuthorizationCode.objects.filter(hash=digest(code), used_at__isnull=True).update(used_at=now)
        row = AuthorizationCode.objects.select_related("person", "family").filter(hash=digest(code)).first()
        actor = row.person.actor if row else ""
        reason = ""
        if row is None:
            reason = "code_unknown"
        elif not spent:
            reason = "code_reused"
            if row.family is not None:
                revoke_family(row.family, "code_reused", actor=actor, origin=origin, now=now)
        elif row.expires <= now:
            reason = "code_expired"
        elif row.client_id != client_id:
            reason = "wrong_client"
        elif row.redirect_uri != redirect_uri:
            reason = "wrong_redirect_uri"
        elif not _verifies(code_verifier, row.code_challenge):
            reason = "wrong_verifier"
        else:
            reason = refusal_of(row.person, row.session_epoch)
        if row is None or reason:
            outcome = refused(
                Kind.CLIENT_PAIRING_DENIED,
                GrantRefused(reason),
                actor=actor,
                origin=origin,
                now=now,
                client=client_id[:100],
            )
        else:
            row.family, outcome = pair(
                person=row.person, client_id=client_id, scope=row.scope, label=origin.user_agent, address=origin.address,
                how="authorization_code", origin=origin, now=now,
            )  # fmt: skip
            row.save(update_fields=["family"])
    if isinstance(outcome, RolegateError):
        raise_refusal(outcome, origin=origin, now=now)
    return outcome


# --- Device grant (RFC 8628) ------------------------------------------------------------------------


def begin_device(*, client_id: str, scope: str, origin: Origin, now: datetime) -> DeviceStart:
    """Starts a device grant. Raises BadRequest (unknown_client, unknown_scope), RateLimited."""
    if client_id not in CLIENTS:
        raise BadRequest("unknown_client")
    granted = scope_of(scope)
    rate_limits.hit("device", person=None, address=origin.address, now=now)
    device_code = secrets.token_urlsafe(32)
    letters = ""
    for attempt in range(3):
        letters = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(8))
        try:
            with transaction.atomic():
                DeviceGrant.objects.create(
                    device_code_hash=digest(device_code),
                    user_code_hash=_user_code_digest(letters),
                    client_id=client_id,
                    scope=granted,
                    address=origin.address,
                    user_agent=clean_text(origin.user_agent, 200),
                    created=now,
                    expires=now + DEVICE_LIFETIME,
                    interval=DEVICE_INTERVAL,
                )
            break
        except IntegrityError:  # the same letters as another row: one in 25 thousand million
            if attempt == 2:
                raise
    return DeviceStart(
        device_code, f"{letters[:4]}-{letters[4:]}", int(DEVICE_LIFETIME.total_seconds()), DEVICE_INTERVAL
    )


def find_device(user_code: str, *, person_id: uuid.UUID, origin: Origin, now: datetime) -> DeviceRequest:
    """What is behind the code that this person typed, to show before they decide.

    Raises UserCodeRefused (user_code_unknown), TooManyUserCodes after five wrong ones within ten minutes, RateLimited.
    """
    try:
        rate_limits.hit("device", person=str(person_id), address=origin.address, now=now)
    except RateLimited as limited:
        note_rate_limit(limited, endpoint="device", client_id="", origin=origin, now=now)
        raise
    grant = _look_up(user_code, person_id=person_id, origin=origin, now=now)
    return DeviceRequest(
        CLIENTS[grant.client_id], grant.scope, grant.address, grant.user_agent, grant.created, grant.expires
    )


def decide_device(user_code: str, *, person_id: uuid.UUID, allow: bool, origin: Origin, now: datetime) -> None:
    """The person's answer; final. Raises what `find_device` raises, and UserCodeRefused (already_decided)."""
    grant = _look_up(user_code, person_id=person_id, origin=origin, now=now)
    outcome: RolegateError | None = None
    person = get_user_model().objects.get(pk=person_id)
    if not person.active:
        _refuse_disabled(person, grant.client_id, origin, now)
    with transaction.atomic():
        status = DeviceGrant.Status.APPROVED if allow else DeviceGrant.Status.DENIED
        decided = DeviceGrant.objects.filter(pk=grant.pk, status=DeviceGrant.Status.PENDING, expires__gt=now).update(
            status=status, person=person, session_epoch=person.session_epoch
        )
        if decided:
            record(
                Kind.CLIENT_PAIRING_ALLOWED if allow else Kind.CLIENT_PAIRING_DENIED, actor=person.actor, outcome="ok" if allow else "refused",
                origin=origin, now=now, reason="" if allow else "denied_by_person", client=grant.client_id, device_address=grant.address,
            )  # fmt: skip
        else:
            outcome = refused(
                Kind.CLIENT_PAIRING_DENIED,
                UserCodeRefused("already_decided"),
                actor=person.actor,
                origin=origin,
                now=now,
                client=grant.client_id,
            )
    if outcome is not None:
        raise outcome


def _look_up(user_code: str, *, person_id: uuid.UUID, origin: Origin, now: datetime) -> DeviceGrant:
    """The pending grant with this code; a wrong code is counted against the person who typed it.

    A guess must not be made faster by making it in parallel: the person's row is locked while the tries are counted.
    """
    letters = normalise_user_code(user_code)
    outcome: DeviceGrant | RolegateError
    with transaction.atomic():
        person = get_user_model().objects.select_for_update().get(pk=person_id)
        wrong = WrongUserCode.objects.filter(person_id=person_id, at__gt=now - DEVICE_LIFETIME).count()
        grant = None
        if letters and wrong < DEVICE_TRIES:
            grant = DeviceGrant.objects.filter(
                user_code_hash=_user_code_digest(letters), status=DeviceGrant.Status.PENDING, expires__gt=now
            ).first()
        if grant is not None:
            outcome = grant
        else:
            error: RolegateError = UserCodeRefused("user_code_unknown")
            if wrong >= DEVICE_TRIES:
                error = TooManyUserCodes("too_many_user_codes", retry_after=int(DEVICE_LIFETIME.total_seconds()))
            else:
                WrongUserCode.objects.create(person_id=person_id, at=now)
            outcome = refused(Kind.CLIENT_PAIRING_DENIED, error, actor=person.actor, origin=origin, now=now)
    if isinstance(outcome, RolegateError):
        raise outcome
    return outcome


def poll_device(device_code: str, *, client_id: str, origin: Origin, now: datetime) -> Tokens:
    """The tokens, once the person has allowed it.

    Raises AuthorizationPending, SlowDown, DeviceExpired, DeviceDenied, GrantRefused (device_code_unknown,
    device_code_reused, wrong_client, person_disabled, session_ended).
    """
    outcome: Tokens | RolegateError
    with transaction.atomic():
        mine = DeviceGrant.objects.filter(device_code_hash=digest(device_code), client_id=client_id)
        spent = mine.filter(status=DeviceGrant.Status.APPROVED, expires__gt=now).update(status=DeviceGrant.Status.USED)
        grant = mine.select_for_update(of=("self",)).select_related("person").first()
        if grant is None:
            outcome = refused(
                Kind.CLIENT_PAIRING_DENIED,
                GrantRefused("device_code_unknown"),
                actor="",
                origin=origin,
                now=now,
                client=client_id[:100],
            )
        elif not spent:
            outcome = _waiting(grant, now)
            if type(outcome) is GrantRefused:
                refused(
                    Kind.CLIENT_PAIRING_DENIED,
                    outcome,
                    actor=grant.person.actor if grant.person else "",
                    origin=origin,
                    now=now,
                    client=client_id,
                )
        elif reason := refusal_of(grant.person, grant.session_epoch):
            outcome = refused(
                Kind.CLIENT_PAIRING_DENIED,
                GrantRefused(reason),
                actor=grant.person.actor if grant.person else "",
                origin=origin,
                now=now,
                client=client_id,
            )
        else:
            _, outcome = pair(
                person=grant.person, client_id=client_id, scope=grant.scope, label=grant.user_agent, address=grant.address,
                how="device_code", origin=origin, now=now,
            )  # fmt: skip
    if isinstance(outcome, AuthorizationPending | SlowDown | DeviceExpired | DeviceDenied):
        raise outcome  # the answers of ordinary polling
    if isinstance(outcome, RolegateError):
        raise_refusal(outcome, origin=origin, now=now)
    return outcome


def _waiting(grant: DeviceGrant, now: datetime) -> RolegateError:
    """Why there are no tokens for this grant now. Ordinary polling is not an event for the audit log."""
    if grant.status == DeviceGrant.Status.USED:
        return GrantRefused("device_code_reused")
    if grant.status == DeviceGrant.Status.DENIED:
        return DeviceDenied("device_denied")
    if grant.expires <= now:
        return DeviceExpired("device_code_expired")
    too_soon = (
        grant.last_polled_at is not None and now - grant.last_polled_at < timedelta(seconds=grant.interval) - _JITTER
    )
    grant.last_polled_at = now
    if too_soon:
        grant.interval = min(grant.interval + 5, 300)  # RFC 8628 section 3.5: for this and all later requests
    grant.save(update_fields=["last_polled_at", "interval"])
    return SlowDown("polled_too_fast") if too_soon else AuthorizationPending("not_decided_yet")
