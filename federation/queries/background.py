"""Background work as the staff see it: each task's last run, how long, when next, and why not; each source and how fresh it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from federation.flows.background import PREFIX, scheduled
from federation.models.sync import TaskRun

SHOWN_RUNS = 50
# Beat draws up to a tenth of the interval as jitter, and a worker may be busy: only what is later than that is late.
_LATE_SHARE = 0.5
_LATE_LEAST = timedelta(minutes=5)
# These look often whether there is something to do, and only what they did is a run: silence is no sign of anything.
_ONLY_WHERE_NEEDED = frozenset(
    {"refresh_entitlements", "refresh_directory", "digest_audit", "send_letters", "resume_lost"}
)


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run. `share`: percent done, None where nothing is counted."""

    started_at: datetime
    finished_at: datetime | None
    outcome: str
    done: int
    total: int
    error_code: str
    detail: dict[str, Any]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self.outcome == TaskRun.Outcome.RUNNING


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task of the beat schedule. `next_at`: when it is due by its last run; `late`: well past that.

    `last`: the last run that did something (or is at it); `last_ok`: the last that ended well. `quiet`: it looks at each
    interval whether there is something to do, and is a run only then.
    """

    name: str
    every: timedelta
    last: RunLine | None
    last_ok: datetime | None
    next_at: datetime | None
    late: bool
    quiet: bool


def tasks(*, now: datetime) -> list[TaskLine]:
    """Every task of the schedule. Two queries, however many tasks and runs there are."""
    every = {str(e["task"]).removeprefix(PREFIX): e["schedule"] for e in settings.CELERY_BEAT_SCHEDULE.values()}
    last = {row.task: _line(row) for row in _newest(every, skipped=False)}
    well = {row.task: row.started_at for row in _newest(every, only_ok=True)}
    return [_task(name, every[name], last.get(name), well.get(name), now) for name in scheduled()]


def runs(task: str) -> list[RunLine]:
    """The latest runs of one task, newest first, those too that were skipped because another worker was at it."""
    return [_line(row) for row in TaskRun.objects.filter(task=task).order_by("-started_at")[:SHOWN_RUNS]]


def _newest(names: Sequence[str] | dict[str, Any], *, skipped: bool = True, only_ok: bool = False) -> list[TaskRun]:
    rows = TaskRun.objects.filter(task__in=list(names))
    if not skipped:
        rows = rows.exclude(outcome=TaskRun.Outcome.SKIPPED)
    if only_ok:
        rows = rows.filter(outcome=TaskRun.Outcome.OK)
    rank = Window(RowNumber(), partition_by=[F("task")], order_by=F("started_at").desc())
    return list(rows.annotate(rank=rank).filter(rank=1))


def _line(row: TaskRun) -> RunLine:
    return RunLine(row.started_at, row.finished_at, row.outcome, row.done, row.total, row.error_code, dict(row.detail))


def _task(name: str, every: timedelta, last: RunLine | None, well: datetime | None, now: datetime) -> TaskLine:
    next_at = None if last is None else last.started_at + every
    running = last is not None and last.is_running
    quiet = name in _ONLY_WHERE_NEEDED
    late = next_at is not None and not running and not quiet and now - next_at > max(every * _LATE_SHARE, _LATE_LEAST)
    return TaskLine(name, every, last, well, next_at, late, quiet)
