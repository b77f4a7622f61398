"""Start background work by hand: one message to Celery with the task's name, nothing else. The one place here that sends.

What a task may do, and on what, it reads from the database; a message is a wish. Celery is loaded when somebody asks, not
with the gateway: 10 MB and 130 ms that a web worker does not need.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import NotFound, ServiceUnavailable
from federation.models import current
from federation.models.directory import SOURCE
from federation.models.sync import Source

log = structlog.get_logger(__name__)
PREFIX = "federation.tasks."
_SECONDS_TO_CONNECT = 2
_SECONDS_TO_ANSWER = 0.7


class BrokerAway(ServiceUnavailable):
    """Celery's broker cannot be reached, so nothing can be started by hand. What is scheduled waits, and nothing is lost."""

    code = "broker_unavailable"
    sentence = "The broker of background work cannot be reached. Look at Redis and REDIS_URL; what is scheduled is done once it is back."


def scheduled() -> list[str]:
    """The tasks of the beat schedule by their short names, in the order of the settings."""
    return [str(entry["task"]).removeprefix(PREFIX) for entry in settings.CELERY_BEAT_SCHEDULE.values()]


def ask(task: str, *, actor: str, origin: Origin, now: datetime) -> None:
    """Ask a worker to run a scheduled task now; it begins when one is free. Raises NotFound, BrokerAway.

    The event is committed first: a run that somebody has started is never without it.
    """
    if task not in scheduled():
        raise NotFound("task_unknown")
    with transaction.atomic():
        if task == "refresh_directory":
            _every_directory_is_due()
        record(Kind.TASK_ASKED, actor=actor, outcome="ok", origin=origin, now=now, task=task)
    send(task)


def _every_directory_is_due() -> None:
    """The task reads those whose interval is over: whoever asks by hand wants all of them."""
    read = [SOURCE + directory.slug for directory in current.mapping().document.directories if directory.ldap]
    Source.objects.filter(pk__in=read).update(attempted_at=None)


def send(task: str, *ids: str) -> None:
    """Put one message on the broker: a task of ours, and ids of rows. Raises BrokerAway."""
    from kombu.exceptions import OperationalError

    app = _celery()
    try:
        with app.connection_for_write(connect_timeout=_SECONDS_TO_CONNECT) as connection:
            connection.ensure_connection(max_retries=1, timeout=_SECONDS_TO_CONNECT, interval_start=0)
            app.send_task(PREFIX + task, args=ids, connection=connection, retry=False)
    except (OperationalError, OSError) as error:
        log.warning("broker_unavailable", task=task, kind=error.__class__.__name__)
        raise BrokerAway("broker_unreachable", detail=error.__class__.__name__, retry_after=30) from error


def workers() -> int:
    """How many workers answer within a moment: 0 where none runs, or each has its hands full. Raises BrokerAway."""
    from kombu.exceptions import OperationalError

    app = _celery()
    try:
        with app.connection_for_write(connect_timeout=_SECONDS_TO_CONNECT) as connection:
            connection.ensure_connection(max_retries=1, timeout=_SECONDS_TO_CONNECT, interval_start=0)
            return len(app.control.ping(timeout=_SECONDS_TO_ANSWER, connection=connection))
    except (OperationalError, OSError) as error:
        raise BrokerAway("broker_unreachable", detail=error.__class__.__name__, retry_after=30) from error


@cache
def _celery() -> Any:
    """A sender with the gateway's own settings. Knows no task by more than its name."""
    from celery import Celery

    app = Celery("rolegate", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    return app
