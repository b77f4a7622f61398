"""A person ends their own other sessions: the browser that was left open elsewhere."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record_or_log
from federation.models.people import Person
from federation.models.sessions import PortalSession, session_row_key


def end_others(person: Person, kept_cookie: str | None, *, origin: Origin, now: datetime) -> int:
    """End every portal session of the person but the one with this cookie. Returns how many. Command lines stay paired."""
    with transaction.atomic():
        others = PortalSession.objects.filter(person=person)
        if kept_cookie:
            others = others.exclude(pk=session_row_key(kept_cookie))
        ended, _ = others.delete()
        record_or_log(
            Kind.SESSIONS_ENDED,
            actor=person.actor,
            outcome="ok",
            origin=origin,
            now=now,
            person=str(person.pk),
            sessions=ended,
        )
    return ended
