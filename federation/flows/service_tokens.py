"""Tokens of programs: made by an operator, shown once, kept hashed, ended by time or by hand."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record, record_or_log
from federation.errors import BadRequest, NotFound, NotSignedIn
from federation.flows import rate_limits
from federation.flows.refusals import recorded
from federation.models import compiled, current
from federation.models.service_tokens import ServiceToken
from federation.said import say

PREFIX: Final = "rlg_st_"  # lets secret scanners find a leaked one, and keeps kinds apart
_TOKEN: Final = re.compile(r"rlg_st_[A-Za-z0-9_-]{43}")
_SCOPE: Final = re.compile(r"metrics|(?P<kind>scim):(?P<of>[a-z0-9][a-z0-9-]*)")
LONGEST_DAYS: Final = 3_650
_LAST_USED_STEP: Final = timedelta(minutes=5)  # one write per five minutes, not one per request
_by_hash = compiled.ByKey(ServiceToken, "hash")


class ServiceTokenRefused(NotSignedIn):
    """The bearer token of a program is missing, malformed, unknown, expired or revoked."""

    code = "invalid_token"
    sentence = "The token is not valid, has expired, or was revoked. An administrator makes a new one: manage.py tokens create."


@dataclass(frozen=True, slots=True)
class Made:
    """A new token: `secret` is shown once and cannot be had again."""

    row: ServiceToken
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Service:
    """Which program asks: the token's id and name, what it may do (`kind`) and where (`of`). `first_since_long`: it had not
    been heard of for five minutes.
    """

    id: UUID
    name: str
    kind: str
    of: str
    first_since_long: bool

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return f"service:{self.name}"


def make(name: str, *, scope: str, days: int, actor: str, origin: Origin, now: datetime) -> Made:
    """A new token, good for `days`. Raises BadRequest for a scope that is none, a directory that does not push, a name in use."""
    if not name or len(name) > 100 or not name.isprintable():
        raise BadRequest("name_invalid", sentence="A token has a name of 1 to 100 characters.")
    if not 1 <= days <= LONGEST_DAYS:
        raise BadRequest("days_invalid", sentence=say("A token is good for 1 to {most} days.", most=LONGEST_DAYS))
    _check_scope(scope)
    secret = PREFIX + secrets.token_urlsafe(32)
    row = ServiceToken(
        name=name, scope=scope, hash=_digest(secret), created_at=now, created_by=actor[:255], expires_at=now + timedelta(days=days)
    )  # fmt: skip
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            record(
                Kind.SERVICE_TOKEN_MADE, actor=actor, outcome="ok", origin=origin, now=now,
                token=str(row.pk), name=name, scope=scope, expires_at=row.expires_at,
            )  # fmt: skip
    except IntegrityError as error:
        raise BadRequest(
            "name_in_use",
            sentence=say("There is a token {name} already: revoke it, or use another name.", name=repr(name)),
        ) from error
    return Made(row, secret)


def _check_scope(scope: str) -> None:
    found = _SCOPE.fullmatch(scope)
    if found is None:
        raise BadRequest("scope_unknown", sentence="The scope is metrics, or scim:DIRECTORY with a directory's slug.")
    if found["of"] is None:
        return
    directory = current.mapping().directory(found["of"])
    if directory is None or directory.scim is None:
        pushing = [d.slug for d in current.mapping().document.directories if d.scim is not None]
        raise BadRequest(
            "directory_unknown",
            sentence=say(
                "No directory {name} in the mapping document pushes by SCIM. Those that do: {known}.",
                name=found["of"],
                known=", ".join(pushing),
            )
            if pushing
            else say(
                "No directory {name} in the mapping document pushes by SCIM. Name it under `directories` and apply that first.",
                name=found["of"],
            ),
        )


def scopes() -> list[str]:
    """Every scope that a token can have now, by the mapping in force."""
    pushing = [f"scim:{d.slug}" for d in current.mapping().document.directories if d.scim is not None]
    return [*pushing, "metrics"]


def listed() -> list[ServiceToken]:
    """Every token that is not revoked, by name."""
    return list(ServiceToken.objects.filter(revoked_at=None).order_by("name"))


def revoke(name: str, *, actor: str, origin: Origin, now: datetime) -> None:
    """End a token now. Raises NotFound."""
    with transaction.atomic():
        row = ServiceToken.objects.select_for_update().filter(name=name, revoked_at=None).first()
        if row is None:
            raise NotFound(
                "token_unknown",
                sentence=say("There is no token {name}. `manage.py tokens list` names them.", name=repr(name)),
            )
        ServiceToken.objects.filter(pk=row.pk).update(revoked_at=now)
        record_or_log(
            Kind.SERVICE_TOKEN_REVOKED, actor=actor, outcome="ok", origin=origin, now=now,
            token=str(row.pk), name=name, scope=row.scope,
        )  # fmt: skip


def authenticate(token: str, *, origin: Origin, now: datetime) -> Service:
    """Which program this is. A refusal is counted against its address, and audited.

    Found by its SHA-256: comparing takes no time that tells anything about a token of 256 random bits.
    Raises ServiceTokenRefused (token_missing, token_malformed, token_unknown, token_expired, token_revoked), RateLimited.
    """
    row, reason = _row_of(token, now)
    if row is None or reason:
        _refuse(reason, row, origin, now)
    assert row is not None  # noqa: S101  _refuse has raised
    rate_limits.hit("scim", person=f"token {row.pk}", address="", now=now)
    long_ago = row.last_used_at is None or now - row.last_used_at >= _LAST_USED_STEP
    if long_ago:
        ServiceToken.objects.filter(pk=row.pk).update(last_used_at=now, last_address=origin.address[:45])
    kind, _, of = row.scope.partition(":")
    return Service(row.pk, row.name, kind, of, long_ago)


def _row_of(token: str, now: datetime) -> tuple[ServiceToken | None, str]:
    if not token:
        return None, "token_missing"
    if not _TOKEN.fullmatch(token):
        return None, "token_malformed"  # also a person's token, of another kind
    row = _by_hash(_digest(token))
    if row is None:
        return None, "token_unknown"
    if row.revoked_at is not None:
        return row, "token_revoked"
    return row, "token_expired" if row.expires_at <= now else ""


def _refuse(reason: str, row: ServiceToken | None, origin: Origin, now: datetime) -> None:
    actor = "" if row is None else f"service:{row.name}"
    with recorded(Kind.TOKEN_REFUSED, actor=actor, origin=origin, now=now):
        rate_limits.hit("scim", person=None, address=origin.address, now=now)
        rate_limits.count_refusal("scim", address=origin.address, now=now)
        raise ServiceTokenRefused(reason)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
