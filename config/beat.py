"""Celery beat's scheduler, with jitter: what shares an interval does not start in the same second, nor do two gateways.

Loaded by beat alone (`CELERY_BEAT_SCHEDULER`): a web worker has no use for Celery's schedules.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry

SHARE = 0.1  # of the interval, at most


class JitteredEntry(ScheduleEntry):  # type: ignore[misc,unused-ignore]
    """An entry that is due up to a tenth of its interval late; how late is drawn anew for each run."""

    def is_due(self) -> Any:
        """Celery's answer, asked for a last run that was a little later: (whether it is due, seconds until to ask again)."""
        return self.schedule.is_due(self.last_run_at + self.jitter)

    @property
    def jitter(self) -> timedelta:
        """How late this run is. The same each time that beat asks, also after a restart, or it would never come to an end.

        What has no interval (Celery's own nightly entry is a crontab) has its own time.
        """
        every = getattr(self.schedule, "run_every", None)
        if every is None:
            return timedelta(0)
        drawn = random.Random(f"{self.name} {self.last_run_at.timestamp()}").random()  # noqa: S311  spreads load, hides nothing
        return drawn * SHARE * every  # type: ignore[no-any-return,unused-ignore]


class JitteredScheduler(PersistentScheduler):  # type: ignore[misc,unused-ignore]
    """Celery's own scheduler with such entries."""

    Entry = JitteredEntry
