"""Background work whose worker has died: found by its lease, which nobody renews, and sent again.

A message that a dead worker had taken is given back by Redis after an hour. What beat sends often is done anew before that;
an hourly reading, or a check that somebody has started by hand, would wait. Sent twice, it is done once: the lease.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog

from federation.flows import background, verify_account, verify_audit
from federation.models.sync import Lease, TaskRun

log = structlog.get_logger(__name__)
TASK: Final = "resume_lost"
# Whatever ends its worker each time is not to end one each minute: beat goes on with it at its own time.
_MOST, _WITHIN = 3, timedelta(hours=1)


def resume_lost(*, now: datetime) -> list[str]:
    """Mark the runs "lost" whose worker has died, and send their work again. Returns which. Raises BrokerAway."""
    resumed = []
    for row in TaskRun.objects.filter(task__in=_running(), outcome=TaskRun.Outcome.RUNNING).order_by("started_at"):
        if Lease.objects.filter(pk=f"task:{row.task}", until__gt=now).exists():
            continue
        log.warning("run_lost", task=row.task, started_at=row.started_at.isoformat())
        if _may_be_sent(row.task, now):
            task, _, about = row.task.partition(":")
            background.send(task, *filter(None, [about]))
            resumed.append(row.task)
        # Not before it is sent: whoever dies here leaves it to the next one.
        TaskRun.objects.filter(pk=row.pk, outcome=TaskRun.Outcome.RUNNING).update(
            outcome=TaskRun.Outcome.LOST, finished_at=now
        )
    return resumed


def _running() -> list[str]:
    """Names of runs, of work that a message can start."""
    rows = TaskRun.objects.filter(outcome=TaskRun.Outcome.RUNNING).values_list("task", flat=True)
    known = {*background.scheduled(), verify_audit.TASK, verify_account.TASK}
    return [task for task in rows if task.partition(":")[0] in known]


def _may_be_sent(task: str, now: datetime) -> bool:
    lost = TaskRun.objects.filter(task=task, outcome=TaskRun.Outcome.LOST, started_at__gt=now - _WITHIN)
    if lost.count() < _MOST:
        return True
    log.error("run_lost_again_and_again", task=task)
    return False
