"""What a person did here lately, and what of it still runs: for their own eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from federation.models import current
from federation.models.audit import AuditEvent
from federation.models.people import Person
from federation.models.sessions import PortalSession, session_row_key

PAGE = 50
# AWS gives no session longer than twelve hours: what began earlier has ended.
_LONGEST = timedelta(hours=12)
_MOST = 100
_SHOWN = (
    "sign_in", "sign_out", "sign_out.by_provider", "credentials", "console", "revoked", "client.paired",
    "client.pairing_allowed", "client.pairing_denied", "client.revoked", "token.reused", "access.requested",
    "access.decided", "access.withdrawn", "access.ended", "access.break_glass", "access.reviewed", "sessions.ended",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An AWS session that was made here and has not ended. `kind`: "credentials" or "console"."""

    role_arn: str
    kind: str
    began: datetime
    ends_at: datetime
    channel: str
    address: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One line of the activity, as the audit log has it."""

    seq: int
    at: datetime
    kind: str
    outcome: str
    address: str
    request_id: str
    reason: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A portal session. `address` and `agent`: from where it was begun, "" where that is not known any more."""

    created: datetime
    ends_at: datetime
    provider: str
    address: str
    agent: str
    is_this: bool


def open_sessions(person: Person, *, now: datetime, role_arn: str = "") -> list[OpenSession]:
    """The person's AWS sessions that still run, as far as the gateway made them; the one that ends last first. One query."""
    events = AuditEvent.objects.filter(
        actor=person.actor, at__gt=now - _LONGEST, kind__in=["credentials", "console"], outcome="ok"
    )
    if role_arn:
        events = events.filter(data__role_arn=role_arn)
    found = []
    for event in events.order_by("-at", "-seq")[:_MOST]:  # as the index of actors has it
        ends_at = _end(event)
        if ends_at > now:
            found.append(
                OpenSession(
                    event.data["role_arn"], event.kind, event.at, ends_at, event.data.get("channel", ""), event.address
                )
            )
    return sorted(found, key=lambda session: session.ends_at, reverse=True)


def deeds(
    person: Person, *, before: tuple[datetime, int] | None = None
) -> tuple[list[Deed], tuple[datetime, int] | None]:
    """What the person did, newest first, fifty at a time; the place to go on from, None at the end. One query.

    In the order of the index of actors: by number alone, a database reads the log backwards until it has met fifty.
    """
    events = AuditEvent.objects.filter(actor__in=[person.actor, str(person.pk)], kind__in=_SHOWN)
    if before is not None:
        events = events.filter(Q(at__lt=before[0]) | Q(at=before[0], seq__lt=before[1]))
    rows = list(events.order_by("-at", "-seq")[: PAGE + 1])
    shown = [
        Deed(row.seq, row.at, row.kind, row.outcome, row.address, row.request_id, row.reason, row.data)
        for row in rows[:PAGE]
    ]
    return shown, (shown[-1].at, shown[-1].seq) if len(rows) > PAGE else None


def account_names() -> dict[str, str]:
    """Account id -> what the mapping in force, or the organization, calls it."""
    return {account.id: account.name for account in current.mapping().document.accounts}


def browser_sessions(person: Person, cookie: str | None, *, now: datetime) -> Sequence[BrowserSession]:
    """The person's portal sessions, this one first. One query."""
    this = session_row_key(cookie) if cookie else ""
    found = []
    for row in PortalSession.objects.filter(person=person, expire_date__gt=now).order_by("-created_at")[:_MOST]:
        begun = row.get_decoded().get("rolegate_from", {})
        found.append(
            BrowserSession(
                row.created_at,
                row.expire_date,
                row.provider,
                begun.get("address", ""),
                begun.get("agent", ""),
                row.pk == this,
            )
        )
    return sorted(found, key=lambda session: not session.is_this)


def _end(event: AuditEvent) -> datetime:
    if event.kind == "credentials" and event.data.get("expires_at"):
        return datetime.fromisoformat(event.data["expires_at"])
    # AWS's console: what was asked for, else what the credentials behind it have (an hour where that is not known).
    seconds = event.data.get("console_duration") or event.data.get("duration") or 3600
    return event.at + timedelta(seconds=int(seconds))
