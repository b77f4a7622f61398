"""Token families: what a paired command line holds, how it is renewed, ended and recognised.

Owns access and refresh tokens; `pair_cli` makes the pairings and re-exports this module's names, so that the faces
know one module. Sources: RFC 6749 section 6, RFC 7009, RFC 9700 section 4.14.

Two habits run through both modules. First, whatever is good for one use is spent by a conditional UPDATE that is
the transaction's first statement: it is atomic on PostgreSQL and on SQLite (where SELECT FOR UPDATE does nothing),
so twenty presentations at once give exactly one success. Second, a refusal is decided inside the transaction but
raised after it: the spent code, the revoked family and the audit event must be committed, not rolled back.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import models, transaction

from federation.audit.events import Kind
from federation.audit.record import record, record_or_log
from federation.errors import BadRequest, NotFound, NotSignedIn, RateLimited, RolegateError
from federation.flows import rate_limits
from federation.flows.origin import Origin
from federation.models.clients import AccessToken, AuthorizationCode, RefreshToken, TokenFamily
from federation.said import say

ACCESS_PREFIX: Final = "rlg_at_"
REFRESH_PREFIX: Final = "rlg_rt_"
# A prefix and 32 bytes in base64url. Prefixes let secret scanners find a leaked token, and keep kinds apart.
_TOKEN: Final = re.compile(r"rlg_(?:at|rt)_[A-Za-z0-9_-]{43}")

SCOPES: Final = {
    "roles": "see who you are and which roles you have",
    "credentials": "get temporary AWS credentials for your roles",
    "console": "open the AWS console in your roles",
    "requests": "ask for access in your name, and decide on requests where you may",
}
DEFAULT_SCOPE: Final = " ".join(SCOPES)

_LAST_USED_STEP: Final = timedelta(minutes=5)  # one write per five minutes, not one per call


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client: `name` is what a person is shown."""

    id: str
    name: str


CLI: Final = Client(id="rolegate-cli", name=say("Rolegate command line"))
CLIENTS: Final = {CLI.id: CLI}


class GrantRefused(RolegateError):
    """A code, device code or refresh token is not good (RFC 6749 section 5.2). `oauth_error`: the protocol's own code."""

    code = "invalid_grant"
    status = 400
    sentence = "This code or token is not valid, was already used, or has expired. Pair the command line again: rolegate login."
    oauth_error = "invalid_grant"


class TokenRefused(NotSignedIn):
    """The bearer token is missing, malformed, expired, revoked, or its person may not use it any more."""

    code = "invalid_token"
    sentence = (
        "The access token is not valid or has expired. Refresh it, or pair the command line again: rolegate login."
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint hands out, once. `expires_in`, `refresh_expires_in`: seconds of the two tokens' lives."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scope: str
    family_id: uuid.UUID
    refresh_expires_in: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose access token this is. `grant`: how the client was paired, as in `TokenFamily`; `ends`: when it must pair again."""

    person_id: uuid.UUID
    family_id: uuid.UUID
    scope: str
    client_id: str
    grant: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class PairedClient:
    """One line of the list of paired command lines."""

    id: uuid.UUID
    client: str
    label: str
    scope: str
    address: str
    created: datetime
    last_used: datetime
    expires: datetime


# --- Small rules ------------------------------------------------------------------------------------


def access_lifetime() -> timedelta:
    """ROLEGATE_ACCESS_TOKEN_AGE, fifteen minutes unless set."""
    return _lifetime("ROLEGATE_ACCESS_TOKEN_AGE", timedelta(minutes=15))


def refresh_lifetime() -> timedelta:
    """ROLEGATE_REFRESH_TOKEN_AGE, twelve hours unless set; each refresh starts it anew."""
    return _lifetime("ROLEGATE_REFRESH_TOKEN_AGE", timedelta(hours=12))


def pairing_lifetime() -> timedelta:
    """ROLEGATE_PAIRING_AGE, seven days unless set: no refresh goes beyond it."""
    return _lifetime("ROLEGATE_PAIRING_AGE", timedelta(days=7))


def _lifetime(name: str, default: timedelta) -> timedelta:
    value: timedelta = getattr(settings, name, default)
    return value


def scope_of(requested: str) -> str:
    """The scope to grant, in canonical order; all of it when nothing was asked for. Raises BadRequest for an unknown one."""
    names = set(requested.split())
    if not names <= SCOPES.keys():
        raise BadRequest("unknown_scope", sentence="A scope that was asked for does not exist here.")
    return " ".join(name for name in SCOPES if name in names) if names else DEFAULT_SCOPE


def digest(secret: str) -> str:
    """SHA-256, hex: how a code or token of 256 random bits is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def clean_text(text: str, length: int) -> str:
    """`text` without control and format characters: a user agent is shown to a person who decides by it (bidi tricks)."""
    return "".join(c for c in text if c.isprintable())[:length]


def refusal_of(person: Any, epoch: int | None) -> str:
    """Why this person may not hold tokens that were agreed to at `epoch`; "" when they may."""
    if not person.active:
        return "person_disabled"
    if person.session_epoch != epoch:
        return "session_ended"
    return ""


# --- Issuing ----------------------------------------------------------------------------------------


def _issue(family: TokenFamily, now: datetime) -> tuple[Tokens, RefreshToken]:
    """A new access and refresh token in `family`; only their hashes reach the database.

    Raises RateLimited, which undoes the caller's whole transaction: whoever is told to wait has spent nothing by it.
    """
    rate_limits.hit("token", person=str(family.person_id), address="", now=now)
    access = ACCESS_PREFIX + secrets.token_urlsafe(32)
    refresh = REFRESH_PREFIX + secrets.token_urlsafe(32)
    access_expires = min(now + access_lifetime(), family.expires)
    AccessToken.objects.create(hash=digest(access), family=family, issued=now, expires=access_expires)
    row = RefreshToken.objects.create(
        hash=digest(refresh), family=family, issued=now, expires=min(now + refresh_lifetime(), family.expires)
    )
    seconds, idle = (int((end - now).total_seconds()) for end in (access_expires, row.expires))
    return Tokens(access, refresh, seconds, family.scope, family.id, idle), row


def pair(
    *, person: Any, client_id: str, scope: str, label: str, address: str, how: str, origin: Origin, now: datetime
) -> tuple[TokenFamily, Tokens]:
    """A new family with its first tokens, and the audit event of the pairing."""
    family = TokenFamily.objects.create(
        person=person,
        client_id=client_id,
        label=clean_text(label, 200) or CLIENTS[client_id].name,
        grant=how,
        scope=scope,
        address=address,
        session_epoch=person.session_epoch,
        created=now,
        last_used=now,
        expires=now + pairing_lifetime(),
    )
    tokens, _ = _issue(family, now)
    record(
        Kind.CLIENT_PAIRED,
        actor=person.actor,
        outcome="ok",
        origin=origin,
        now=now,
        person=str(person.pk),
        client=client_id,
        family=str(family.id),
        grant=how,
        scope=scope,
    )
    return family, tokens


def refused(
    kind: Kind, error: RolegateError, *, actor: str, origin: Origin, now: datetime, **data: str
) -> RolegateError:
    """Writes the refusal into the audit log and returns it, to be raised after the commit.

    It hands nothing out, so an audit log that cannot be written does not undo it: the reused token's family stays
    revoked, the spent code spent, the wrong guess counted.
    """
    record_or_log(kind, actor=actor, outcome="refused", origin=origin, now=now, reason=error.reason, **data)
    return error


def note_refused_request(
    endpoint: str, reason: str, *, error: str, client_id: str, counted: bool, origin: Origin, now: datetime
) -> None:
    """A request at an OAuth endpoint that did not get as far as a code or token: audited, and counted as a guess is.

    `error`: the protocol's word for it. `counted`: whether the endpoint has counted this request already. Raises RateLimited,
    of which the log tells once a window.
    """
    try:
        if not counted:
            rate_limits.hit("token", person=None, address=origin.address, now=now)
        rate_limits.count_refusal("token", address=origin.address, now=now)
    except RateLimited as limited:
        note_rate_limit(limited, endpoint=endpoint, client_id=client_id, origin=origin, now=now)
        raise
    _note(reason, endpoint=endpoint, error=error, client_id=client_id, origin=origin, now=now)


def note_rate_limit(limited: RateLimited, *, endpoint: str, client_id: str, origin: Origin, now: datetime) -> None:
    """A limit refused a request at an OAuth endpoint: one event a window."""
    if rate_limits.is_worth_an_event(limited):
        _note(limited.reason, endpoint=endpoint, error=limited.code, client_id=client_id, origin=origin, now=now)


def _note(reason: str, *, endpoint: str, error: str, client_id: str, origin: Origin, now: datetime) -> None:
    # Only a client of ours by name: what stands there instead may be a code that somebody put into the wrong field.
    client = client_id if client_id in CLIENTS else "unknown"
    with transaction.atomic():
        record_or_log(
            Kind.OAUTH_REFUSED, actor="", outcome="refused", origin=origin, now=now, reason=reason,
            endpoint=endpoint, error=error, client=client,
        )  # fmt: skip


def raise_refusal(error: RolegateError, *, origin: Origin, now: datetime) -> NoReturn:
    """Raise what was decided in a transaction that has committed; it weighs more than an honest use (guesses, replays)."""
    rate_limits.count_refusal("token", address=origin.address, now=now)
    raise error


def was_given_here(*, code: str, refresh_token: str, now: datetime) -> bool:
    """Whether this is a code or a refresh token of ours that nobody has used yet: then its presentation is counted apart from what
    anybody can send (`rate_limits.hit`). It proves nothing else. One statement, none without either.
    """
    if refresh_token:
        return RefreshToken.objects.filter(hash=digest(refresh_token), used_at=None, expires__gt=now).exists()
    return bool(code) and AuthorizationCode.objects.filter(hash=digest(code), used_at=None, expires__gt=now).exists()


# --- Refreshing -------------------------------------------------------------------------------------


def rotate(refresh_token: str, *, client_id: str, origin: Origin, now: datetime) -> Tokens:
    """New tokens for `refresh_token`, which is spent by it.

    A second presentation means that a copy is about (RFC 9700 section 4.14.2): nobody can tell the thief from the
    owner, so the whole family is revoked. Raises GrantRefused: token_malformed, token_unknown, token_reused,
    token_expired, wrong_client, grant_revoked, grant_expired, person_disabled, session_ended.
    """
    if not refresh_token.startswith(REFRESH_PREFIX) or not _TOKEN.fullmatch(refresh_token):
        with transaction.atomic():
            malformed = refused(Kind.TOKEN_REFUSED, GrantRefused("token_malformed"), actor="", origin=origin, now=now)
        raise_refusal(malformed, origin=origin, now=now)
    outcome: Tokens | RolegateError
    with transaction.atomic():
        spent = RefreshToken.objects.filter(hash=digest(refresh_token), used_at__isnull=True).update(used_at=now)
        row = RefreshToken.objects.filter(hash=digest(refresh_token)).first()
        if row is None:
            outcome = refused(Kind.TOKEN_REFUSED, GrantRefused("token_unknown"), actor="", origin=origin, now=now)
        else:
            # Locked, so that a revocation and a rotation of one family come one after the other.
            family = _locked().get(pk=row.family_id)
            actor = family.person.actor
            reason = _dead(family, now) or refusal_of(family.person, family.session_epoch)
            if not spent:
                reason = "token_reused"
                revoke_family(family, "token_reused", actor=actor, origin=origin, now=now)
            elif family.client_id != client_id:
                reason = "wrong_client"
            elif not reason and row.expires <= now:
                reason = "token_expired"
            if reason:
                kind = Kind.TOKEN_REUSED if reason == "token_reused" else Kind.TOKEN_REFUSED
                outcome = refused(
                    kind,
                    GrantRefused(reason),
                    actor=actor,
                    origin=origin,
                    now=now,
                    family=str(family.id),
                    person=str(family.person_id),
                )
            else:
                outcome, successor = _issue(family, now)
                row.replaced_by = successor
                row.save(update_fields=["replaced_by"])
                family.last_used = now
                family.save(update_fields=["last_used"])
    if isinstance(outcome, RolegateError):
        raise_refusal(outcome, origin=origin, now=now)
    return outcome


def _locked() -> models.QuerySet[TokenFamily]:
    return TokenFamily.objects.select_for_update(of=("self",)).select_related("person")


def _dead(family: TokenFamily, now: datetime) -> str:
    if family.revoked_at is not None:
        return "grant_revoked"
    if family.expires <= now:
        return "grant_expired"
    return ""


# --- Revoking and listing ---------------------------------------------------------------------------


def revoke_family(family: TokenFamily, reason: str, *, actor: str, origin: Origin, now: datetime) -> bool:
    """Ends a family; every token of it is dead at once, because each use reads the family. False when it already was."""
    ended = TokenFamily.objects.filter(pk=family.pk, revoked_at__isnull=True).update(
        revoked_at=now, revoked_reason=reason
    )
    if ended:
        record_or_log(
            Kind.CLIENT_REVOKED,
            actor=actor,
            outcome="ok",
            origin=origin,
            now=now,
            family=str(family.pk),
            client=family.client_id,
            person=str(family.person_id),
            reason=reason,
        )
    return bool(ended)


def revoke_grant(family_id: uuid.UUID, *, person_id: uuid.UUID, origin: Origin, now: datetime) -> None:
    """The person unpairs one of their own command lines. Raises NotFound when it is not theirs or not there."""
    with transaction.atomic():
        family = _locked().filter(pk=family_id, person_id=person_id).first()
        if family is None:
            raise NotFound("grant_unknown")
        revoke_family(family, "by_person", actor=family.person.actor, origin=origin, now=now)


def revoke_token(token: str, *, client_id: str, origin: Origin, now: datetime) -> None:
    """RFC 7009: the client gives up its pairing, by its access or its refresh token. Unknown tokens are no error (section 2.2)."""
    if not _TOKEN.fullmatch(token):
        return
    kind: Any = AccessToken if token.startswith(ACCESS_PREFIX) else RefreshToken
    with transaction.atomic():
        family_id = (
            kind.objects.filter(hash=digest(token), family__client_id=client_id)
            .values_list("family_id", flat=True)
            .first()
        )
        if family_id is not None:
            family = _locked().get(pk=family_id)
            revoke_family(family, "by_client", actor=family.person.actor, origin=origin, now=now)


def list_grants(person_id: uuid.UUID, *, now: datetime) -> list[PairedClient]:
    """The person's paired command lines that still work, newest first."""
    rows = TokenFamily.objects.filter(
        person_id=person_id, revoked_at__isnull=True, expires__gt=now, session_epoch=_epoch_of(person_id)
    ).order_by("-created", "pk")
    return [
        PairedClient(
            f.id,
            CLIENTS[f.client_id].name if f.client_id in CLIENTS else f.client_id,
            f.label,
            f.scope,
            f.address,
            f.created,
            f.last_used,
            f.expires,
        )
        for f in rows
    ]


def _epoch_of(person_id: uuid.UUID) -> int:
    epoch = get_user_model().objects.filter(pk=person_id).values_list("session_epoch", flat=True).first()
    return -1 if epoch is None else int(epoch)


# --- Using ------------------------------------------------------------------------------------------


def authenticate(access_token: str, *, now: datetime, origin: Origin | None = None) -> Caller:
    """Whose token this is; one query. With `origin`, a refusal is counted against the address and audited.

    Raises TokenRefused: token_malformed, wrong_token_type, token_unknown, token_expired, grant_revoked,
    grant_expired, person_disabled, session_ended; RateLimited.
    """
    caller, reason = _caller(access_token, now)
    if caller is not None:
        return caller
    # An expired token is every command line's daily bread: neither counted nor audited.
    if origin is not None and reason != "token_expired":
        error: RolegateError = TokenRefused(reason)
        try:
            rate_limits.hit("token", person=None, address=origin.address, now=now)
            rate_limits.count_refusal("token", address=origin.address, now=now)
        except RateLimited as limited:
            error = limited
        if rate_limits.is_worth_an_event(error):
            with transaction.atomic():
                record(Kind.TOKEN_REFUSED, actor="", outcome="refused", origin=origin, now=now, reason=error.reason)
        raise error
    raise TokenRefused(reason)


def _caller(access_token: str, now: datetime) -> tuple[Caller | None, str]:
    if not _TOKEN.fullmatch(access_token):
        return None, "token_malformed"  # also an STS token, a JWT of our issuer: other formats, other keys
    if not access_token.startswith(ACCESS_PREFIX):
        return None, "wrong_token_type"
    row = (
        AccessToken.objects.filter(hash=digest(access_token))
        .values_list(
            "expires", "family_id", "family__person_id", "family__scope", "family__client_id", "family__revoked_at", "family__expires",
            "family__last_used", "family__session_epoch", "family__person__session_epoch", "family__person__active",
            "family__grant",
        )
        .first()
    )  # fmt: skip
    if row is None:
        return None, "token_unknown"
    (
        expires,
        family_id,
        person_id,
        scope,
        client_id,
        revoked_at,
        family_expires,
        last_used,
        epoch,
        person_epoch,
        active,
        grant,
    ) = row
    # Why the family is dead comes before the token's own expiry: it is what the person must be told.
    if revoked_at is not None:
        return None, "grant_revoked"
    if not active:
        return None, "person_disabled"
    if epoch != person_epoch:
        return None, "session_ended"
    if family_expires <= now:
        return None, "grant_expired"
    if expires <= now:
        return None, "token_expired"
    if now - last_used >= _LAST_USED_STEP:
        TokenFamily.objects.filter(pk=family_id, last_used=last_used).update(last_used=now)
    return Caller(person_id, family_id, scope, client_id, grant, family_expires), ""
