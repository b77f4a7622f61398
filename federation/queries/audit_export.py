"""What a search of the audit log finds, as CSV or JSON lines: the same filter as the page, streamed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any, Final, Literal

from federation.audit.record import content
from federation.models.audit import AuditEvent
from federation.queries.audit_log import AuditSearch, search

Format = Literal["csv", "jsonl"]
MOST: Final = 100_000
_COLUMNS: Final = ("seq", "at", "kind", "outcome", "actor", "reason", "request_id", "address", "data")
_AT_ONCE: Final = 1_000


def lines(wanted: AuditSearch, output: Format) -> Iterator[str]:
    """The text, a thousand events at a time, newest first; at most MOST events.

    Where there are more, the last line says so: an export that is cut must not look whole.
    """
    if output == "csv":
        yield _row(_COLUMNS)
    written, cursor = 0, ""
    while True:
        page = search(wanted, cursor, size=_AT_ONCE)
        for event in page.events[: MOST - written]:
            yield _csv(event) if output == "csv" else _json(event)
        written += len(page.events)
        cursor = page.older
        if not cursor:
            return
        if written >= MOST:
            yield _cut(output)
            return


def _csv(event: AuditEvent) -> str:
    fields = content(event)
    at = event.at.astimezone(UTC).isoformat()
    data = json.dumps(fields["data"], ensure_ascii=False, sort_keys=True)
    return _row([event.seq, at, *(fields[name] for name in _COLUMNS[2:-1]), data])


def _row(cells: Any) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([harmless(cell) for cell in cells])
    return written.getvalue()


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs: text that begins as a formula gets an apostrophe (OWASP, "CSV Injection")."""
    if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}:
        return f"'{cell}"
    return cell


def _json(event: AuditEvent) -> str:
    return json.dumps({"seq": event.seq, **content(event), "mac": event.mac}, ensure_ascii=False, sort_keys=True) + "\n"


def _cut(output: Format) -> str:
    said = f"Cut after {MOST} events: narrow the search, or use manage.py audit export"
    return _row([said]) if output == "csv" else json.dumps({"cut": said}) + "\n"
