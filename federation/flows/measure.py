"""What a gateway can be measured by, out of the database: the same numbers whichever process is asked, and after a restart.

Counters are the audit log's: it has every sign-in, mint and refusal already, committed, and nothing is counted twice or lost
with a process. How long requests take, the proxy or the server in front measures better.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.conf import settings
from django.db.models import Count, Max

from federation.flows import doctor
from federation.models import current
from federation.models.audit import AuditEvent, AuditHead
from federation.models.clients import TokenFamily
from federation.models.keys import SigningKey
from federation.models.people import Person
from federation.models.sessions import PortalSession
from federation.models.sync import HeldAnswer, Source, TaskRun


@dataclass(frozen=True, slots=True)
class Metric:
    """One family as Prometheus knows them: `labels` are the labels' names, `samples` their values and the number."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]


class _Counted:
    """The audit log's events by kind, outcome and reason. Each is read once a process: a scrape counts what is new since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._upto, self._counts = 0, Counter[tuple[str, ...]]()

    def counts(self) -> dict[tuple[str, ...], int]:
        head = AuditHead.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
        with self._lock:
            if head < self._upto:  # a restored database
                self._upto, self._counts = 0, Counter()
            new = AuditEvent.objects.filter(seq__gt=self._upto, seq__lte=head).order_by()
            for *what, count in new.values_list("kind", "outcome", "reason").annotate(Count("seq")):
                self._counts[tuple(what)] += count
            self._upto = head
            return dict(self._counts)


_events = _Counted()


def metrics(*, now: datetime) -> Iterator[Metric]:
    """Every metric, in a number of statements that does not grow with anything."""
    yield Metric("rolegate_info", "gauge", "The version that runs.", ("version",), (((settings.ROLEGATE_VERSION,), 1),))
    yield Metric(
        "rolegate_audit_events", "counter", "Events in the audit log: sign-ins, mints, refusals, changes.",
        ("kind", "outcome", "reason"), tuple(sorted(_events.counts().items())),
    )  # fmt: skip
    yield _plain("rolegate_sessions", "Portal sessions that have not ended.", _sessions(now))
    yield _plain(
        "rolegate_pairings", "Command lines that are paired with a person.",
        TokenFamily.objects.filter(revoked_at=None, expires__gt=now).count(),
    )  # fmt: skip
    people = dict(Person.objects.order_by().values_list("active").annotate(Count("pk")))
    yield Metric(
        "rolegate_people", "gauge", "People who have ever signed in.", ("state",),
        ((("active",), people.get(True, 0)), (("disabled",), people.get(False, 0))),
    )  # fmt: skip
    yield _plain("rolegate_mapping_revision", "The revision of the mapping that is in force.", current.mapping().number)
    yield _keys(now)
    yield from _background()
    yield _findings(now)


def _plain(name: str, text: str, value: float) -> Metric:
    return Metric(name, "gauge", text, (), (((), value),))


def _sessions(now: datetime) -> int:
    return PortalSession.objects.filter(expire_date__gt=now).count()


def _keys(now: datetime) -> Metric:
    rows = SigningKey.objects.filter(state=SigningKey.State.ACTIVE).order_by("purpose", "algorithm")
    return Metric(
        "rolegate_signing_key_age_seconds", "gauge", "For how long the active key has been signing.", ("purpose", "algorithm"),
        tuple(((row.purpose, row.algorithm), (now - (row.activated_at or row.created_at)).total_seconds()) for row in rows),
    )  # fmt: skip


def _background() -> Iterator[Metric]:
    last = TaskRun.objects.exclude(finished_at=None).order_by("task", "outcome")
    yield Metric(
        "rolegate_task_last_run_timestamp_seconds", "gauge", "When a background task last ended so.", ("task", "outcome"),
        tuple(((task, outcome), at.timestamp()) for task, outcome, at in last.values_list("task", "outcome").annotate(Max("finished_at"))),
    )  # fmt: skip
    states: Counter[tuple[str, ...]] = Counter()
    for key, state in Source.objects.values_list("key", "state").iterator():
        states[key.partition(":")[0], state] += 1
    yield Metric(
        "rolegate_sources", "gauge", "Accounts, organization and directories by how their last reading ended.", ("kind", "state"),
        tuple(sorted(states.items())),
    )  # fmt: skip
    yield _plain(
        "rolegate_held_answers", "Answers that take away so much that they wait for a person.",
        HeldAnswer.objects.filter(decision=HeldAnswer.Decision.WAITING).count(),
    )  # fmt: skip


def _findings(now: datetime) -> Metric:
    """What `manage.py doctor --offline` would find: alert on state="problem"."""
    found: Counter[tuple[str, ...]] = Counter()
    for report in doctor.examine(now=now, network=False):
        for finding in report.findings:
            found[report.name, finding.code, str(finding.state)] += 1
    return Metric(
        "rolegate_doctor_findings", "gauge", "What the doctor finds without asking other hosts.", ("check", "code", "state"),
        tuple(sorted(found.items())),
    )  # fmt: skip
