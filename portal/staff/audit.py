"""`/staff/audit/`: the audit log, searched, watched, exported and verified. The sentence first, the event as JSON on demand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from federation.audit.events import Kind
from federation.audit.record import content, record
from federation.errors import NotFound
from federation.flows import verify_audit
from federation.mapping.capabilities import Capability
from federation.models.audit import AuditEvent
from federation.queries import audit_export, audit_log, background
from federation.queries.activity import account_names
from federation.queries.mapping import called
from portal.staff import listing
from portal.staff.guard import actor_of, staff
from portal.staff.page import page
from portal.staff.sentences import sentence
from portal.views.guard import is_partial, origin_of

# The fields of the form beside the free search: parameter -> key of the search language.
FIELDS = ("person", "role", "key", "request", "kind", "outcome", "since", "until")
_SINGLE = {"person": "person", "role": "role", "key": "access_key_id", "request": "request_id"}


def _wanted(parameters: Any) -> audit_log.AuditSearch:
    """What the address asks for: the free search, and the fields beside it, which narrow it. Raises SearchInvalid."""
    wanted = audit_log.parse_search(parameters.get("q", ""))
    changes: dict[str, Any] = {}
    for name in FIELDS:
        value = parameters.get(name, "").strip().replace("\x00", "")[:300]
        if not value:
            continue
        if name in _SINGLE:
            changes[_SINGLE[name]] = value
        else:
            found = audit_log.parse_search(f'{name}:"{value}"' if " " in value else f"{name}:{value}")
            for attribute in ("kinds", "outcomes", "since", "until"):
                if got := getattr(found, attribute):
                    changes[attribute] = got
    return replace(wanted, **changes)


def _lines(events: Any) -> list[tuple[AuditEvent, str]]:
    shown = list(events)
    names, accounts = called(event.actor for event in shown), account_names()
    return [(event, sentence(event, names, accounts)) for event in shown]


@staff(Capability.SEE_AUDIT)
@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """One page of what is found, newest first. A search that cannot be read comes back with what is wrong, and no list."""
    query = request.GET
    fault, found = "", None
    try:
        found = audit_log.search(_wanted(query), query.get("after", ""))
    except audit_log.SearchInvalid as error:
        fault = error.public_sentence
    context = {
        "fault": fault,
        "list": found,
        "lines": _lines(found.events) if found else [],
        "q": query.get("q", ""),
        "fields": {name: query.get(name, "") for name in FIELDS},
        "narrowed": any(query.get(name) for name in ("q", *FIELDS)),
        "kinds": sorted(kind.value for kind in Kind),
        "older": listing.page_at(query, found.older) if found else "",
        "newest": audit_log.newest() if found and not query.get("after") else 0,
        "query": listing.parameters(query),
        "most": audit_export.MOST,
    }
    status = 422 if fault else 200
    return page(request, "staff/_audit.html" if is_partial(request) else "staff/audit.html", context, status=status)


@staff(Capability.SEE_AUDIT)
@require_safe
def follow(request: HttpRequest) -> HttpResponse:
    """What has come since event `since_seq`: rows to put before the list, and the poller that asks on. For htmx."""
    after = request.GET.get("since_seq", "")
    last = int(after) if after.isdecimal() and len(after) < 19 else audit_log.newest()
    events, last = audit_log.follow(_wanted(request.GET), last, size=50)
    query = request.GET.copy()
    query.pop("since_seq", None)
    context = {
        "lines": list(reversed(_lines(events))),
        "last": last,
        "query": listing.parameters(query),
        "now": timezone.now(),
    }
    return page(request, "staff/_audit_new.html", context)


@staff(Capability.SEE_AUDIT)
@require_safe
def event(request: HttpRequest, seq: int) -> HttpResponse:
    """One event, with everything in it."""
    found = AuditEvent.objects.filter(pk=min(seq, 2**62)).first()
    if found is None:
        raise NotFound("event_unknown")
    whole = {"seq": found.seq, **content(found), "mac": found.mac}
    context = {
        "event": found,
        "sentence": sentence(found, called([found.actor]), account_names()),
        "json": json.dumps(whole, indent=2, ensure_ascii=False, sort_keys=True),
    }
    return page(request, "staff/_audit_json.html" if is_partial(request) else "staff/audit_event.html", context)


@staff(Capability.EXPORT_AUDIT)
@require_POST
def export(request: HttpRequest) -> HttpResponse:
    """What the search finds, as a file. That somebody took it is itself an event."""
    output: audit_export.Format = "csv" if request.POST.get("format") == "csv" else "jsonl"
    wanted = _wanted(request.POST)
    now = timezone.now()
    with transaction.atomic():
        record(
            Kind.AUDIT_EXPORTED, actor=actor_of(request), outcome="ok", origin=origin_of(request), now=now, format=output,
            search={name: request.POST[name][:300] for name in ("q", *FIELDS) if request.POST.get(name)},
        )  # fmt: skip
    kinds = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
    response = StreamingHttpResponse(audit_export.lines(_until(wanted, now), output), content_type=kinds[output])
    response["Content-Disposition"] = f'attachment; filename="rolegate-audit-{now:%Y%m%d-%H%M%S}.{output}"'
    return cast(
        "HttpResponse", response
    )  # what the guard and the middleware do with an answer, they do with this one too


def _until(wanted: audit_log.AuditSearch, now: datetime) -> audit_log.AuditSearch:
    """An export ends where it began: what is written while it streams is not in it."""
    return wanted if wanted.until is not None and wanted.until < now else replace(wanted, until=now)


@staff(Capability.VERIFY_AUDIT)
@require_safe
def verify(request: HttpRequest) -> HttpResponse:
    """The last checks of the log's chain, and one that is under way."""
    runs = background.runs(verify_audit.TASK)
    asked = listing.asked(request, "asked")
    context = {
        "runs": runs[:10],
        "waiting": _waits(asked, runs),
        "every": 2 if asked or (runs and runs[0].is_running) else 30,
        "address": request.get_full_path(),
        "count": audit_log.newest(),
    }
    return page(request, "staff/_audit_verify.html" if is_partial(request) else "staff/audit_verify.html", context)


@staff(Capability.VERIFY_AUDIT)
@require_POST
def verify_now(request: HttpRequest) -> HttpResponse:
    """Has a worker check it."""
    now = timezone.now()
    verify_audit.ask(actor=actor_of(request), origin=origin_of(request), now=now)
    return HttpResponseRedirect(f"{reverse('staff-audit-verify')}?asked={int(now.timestamp())}")


def _waits(asked: str, runs: list[background.RunLine]) -> str:
    """A sentence while what was asked for has not begun."""
    if not asked.isdecimal() or (runs and runs[0].started_at.timestamp() >= int(asked)):
        return ""
    return _("Asked for. It begins as soon as a worker is free.")
