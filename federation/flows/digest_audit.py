"""Add the audit log up for reports and charts: what has been written since the last time, each event once.

The log's numbers have no gap and are committed in their order (each writer holds the head until it commits), so "the events
after this number" are all of them. The sums and the number are written in one transaction, under a lock of the row that has
the number: killed, or run twice at once, every event still counts once.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from federation.audit.events import Kind
from federation.flows import runs
from federation.models.audit import AuditEvent
from federation.models.audit_digest import AuditDigest, DailyCount, RoleUse, add_counts, add_uses

TASK: Final = "digest_audit"
_AT_ONCE: Final = 2_000  # events a transaction: some 30 ms
_USES: Final = frozenset({Kind.CREDENTIALS.value, Kind.CONSOLE.value})


def digest(*, most: timedelta = timedelta(minutes=4)) -> int:
    """Add up what is new, for `most` at the longest. Returns the number of events; the rest is for the next time."""
    started = datetime.now(UTC)
    total = 0
    while done := _some():
        total += done
        if done < _AT_ONCE or datetime.now(UTC) - started > most:
            break
    runs.still_alive(TASK, {"events": total})
    return total


def start_again() -> None:
    """Forget every sum: the next `digest` begins at the first event."""
    with transaction.atomic():
        AuditDigest.objects.filter(pk=1).delete()
        RoleUse.objects.all().delete()
        DailyCount.objects.all().delete()


def _some() -> int:
    AuditDigest.objects.get_or_create(pk=1)
    with transaction.atomic():
        reached = AuditDigest.objects.select_for_update().get(pk=1)
        events = list(AuditEvent.objects.filter(seq__gt=reached.seq).order_by("seq")[:_AT_ONCE])
        if events:
            _add(events)
            reached.seq, reached.at = events[-1].seq, events[-1].at
            reached.save(update_fields=["seq", "at"])
    return len(events)


def _add(events: Iterable[AuditEvent]) -> None:
    counts: Counter[tuple[date, str, str, str]] = Counter()
    uses: dict[tuple[str, str, UUID], tuple[datetime, datetime, int]] = {}
    for event in events:
        counts[event.at.astimezone(UTC).date(), event.kind, event.outcome, event.reason] += 1
        if event.kind in _USES and event.outcome == "ok" and (key := _use(event)) is not None:
            first, last, so_far = uses.get(key, (event.at, event.at, 0))
            uses[key] = min(first, event.at), max(last, event.at), so_far + 1
    add_counts(counts)
    if uses:
        add_uses(uses)


def _use(event: AuditEvent) -> tuple[str, str, UUID] | None:
    """(rule, role ARN, person) of a use of a role; None where the event does not say them."""
    rule, arn, person = (event.data.get(key) for key in ("rule", "role_arn", "person"))
    if isinstance(rule, str) and isinstance(arn, str) and isinstance(person, str):
        with contextlib.suppress(ValueError):
            return rule, arn, UUID(person)
    return None
