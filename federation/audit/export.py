"""The audit log as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator

from federation.audit.record import content
from federation.models.audit import AuditEvent


def lines(*, since: int = 0) -> Iterator[str]:
    """One JSON object a line, in order, from the event after number `since`; each with `seq` and `mac`."""
    for event in AuditEvent.objects.filter(seq__gt=since).order_by("seq").iterator(chunk_size=2000):
        yield json.dumps({"seq": event.seq, **content(event), "mac": event.mac}, ensure_ascii=False, sort_keys=True)
