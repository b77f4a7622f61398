"""Runs of background work, as the people who run the gateway see them: when, how long, how far, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.utils import timezone

from federation.errors import RolegateError
from federation.flows import leases
from federation.models.sync import TaskRun
from federation.said import packed

log = structlog.get_logger(__name__)
# A worker that dies keeps others from its work for so long. Whoever holds it renews it every quarter of a minute.
LEASE = timedelta(seconds=90)
KEPT = 200  # runs of one task


class Run:
    """One run in progress. `lease` fences its writes; `alive` keeps it, and raises LeaseLost: call it at least once a minute."""

    def __init__(self, row: TaskRun, lease: leases.Held) -> None:
        self.row, self.lease = row, lease
        self.alive = leases.Heartbeat(lease, LEASE)
        self.detail: dict[str, Any] = {}
        self._said = time.monotonic()

    def total(self, units: int) -> None:
        """Say how much there is to do."""
        self.row.total = units
        self.row.save(update_fields=["total"])

    def tell(self, done: int, **detail: Any) -> None:
        """Say how much is done and what has been found so far, at once: for work of a few slow steps. Raises LeaseLost."""
        self.alive()
        self.row.done = done
        self.detail |= detail
        self.row.detail = self.detail
        self.row.save(update_fields=["done", "detail"])

    def progress(self, done: int) -> None:
        """Say how much is done (written at most once a second, and at the end); keeps the lease. Raises LeaseLost."""
        self.row.done = done
        self.alive()
        if time.monotonic() - self._said >= 1:
            self._said = time.monotonic()
            self.row.save(update_fields=["done"])


@contextmanager
def run(task: str) -> Iterator[Run | None]:
    """One run of `task` under its lease: None, and a row that says "skipped", where another worker is at it.

    A run whose worker died is found here by the next one and marked "lost". The lease and what is said of the run are written
    in one transaction, at the beginning and at the end, and neither waits for the disk (`_said_soon`).
    """
    with _said_soon():
        lease = leases.take(f"task:{task}", LEASE)
        row = _begun(task, alone=lease is not None)
    if lease is None:
        yield None
        return
    current = Run(row, lease)
    try:
        yield current
    except Exception as error:
        with _said_soon():
            if lease.is_ours():
                _finish(current, TaskRun.Outcome.FAILED, error)
            else:
                # Whoever has the lease now has marked this run "lost" and is at the work: nothing more is said here.
                log.warning("task_lease_lost", task=task)
            leases.give_back(lease)
        raise
    except BaseException:  # the worker is told to stop: the next one need not wait, and marks the run "lost"
        leases.give_back(lease)
        raise
    with _said_soon():
        _finish(current, TaskRun.Outcome.OK, None)
        leases.give_back(lease)


@contextmanager
def _said_soon() -> Iterator[None]:
    """A transaction that others see at once and that reaches the disk a moment later: most runs are short, and a third of one
    was waiting for the disk.

    A server that loses power in that moment forgets that a run has begun, whose writes then fail at their lease, or that it
    has ended, and the next one calls it lost. What the run has found is written in transactions of its own, which wait.
    """
    waits = connection.vendor != "postgresql" or connection.in_atomic_block  # a caller's transaction is the caller's
    with transaction.atomic():
        if not waits:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit TO off")
        yield


def _begun(task: str, *, alone: bool) -> TaskRun:
    now = timezone.now()
    if not alone:
        detail = {"why": "running already"}
        skipped = TaskRun.Outcome.SKIPPED
        return TaskRun.objects.create(task=task, started_at=now, finished_at=now, outcome=skipped, detail=detail)
    # We have the lease: whoever is still "running" is not.
    unfinished = TaskRun.objects.filter(task=task, outcome=TaskRun.Outcome.RUNNING)
    unfinished.update(outcome=TaskRun.Outcome.LOST, finished_at=now)
    return TaskRun.objects.create(task=task, started_at=now)


def noted(task: str, work: Callable[[], Mapping[str, Any] | Sequence[str]]) -> None:
    """Do a short piece of work that may be done twice at once, and note how it ended; what it returns is the detail.

    No lease: one that a dead worker holds would make whoever is given the work instead of it skip it.
    """
    row = TaskRun(task=task, started_at=timezone.now())
    try:
        found = work()
    except Exception as error:
        _end(row, TaskRun.Outcome.FAILED, error)
        raise
    row.detail = dict(found) if isinstance(found, Mapping) else {"done": [packed(one) for one in found]}
    _end(row, TaskRun.Outcome.OK, None)


def still_alive(task: str, detail: Mapping[str, Any], *, every: timedelta = timedelta(minutes=4)) -> None:
    """Note that a task which looks every few seconds, and mostly finds nothing to do, has looked: at most once in `every`."""
    now = timezone.now()
    if not TaskRun.objects.filter(task=task, started_at__gt=now - every).exists():
        noted(task, lambda: detail)


def told(task: str, done: Sequence[str]) -> None:
    """Note what a look every minute has done; where that was nothing, only now and then that it looked."""
    if done:
        noted(task, lambda: done)
    else:
        still_alive(task, {"done": []})


def _finish(current: Run, outcome: TaskRun.Outcome, error: Exception | None) -> None:
    current.row.detail = current.detail
    _end(current.row, outcome, error)


def _end(row: TaskRun, outcome: TaskRun.Outcome, error: Exception | None) -> None:
    row.finished_at = timezone.now()
    row.outcome = outcome
    if error is not None:
        row.error_code = (error.reason if isinstance(error, RolegateError) else error.__class__.__name__)[:64]
        log.error("task_failed", task=row.task, reason=row.error_code, detail=str(error)[:300])
    row.save()
    stale = TaskRun.objects.filter(task=row.task).order_by("-started_at").values_list("pk", flat=True)[KEPT:]
    TaskRun.objects.filter(pk__in=list(stale)).delete()
