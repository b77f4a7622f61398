"""Beat starts each task at its interval, a little late, and never all of them in the same second."""

from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab, schedule
from celery.utils.imports import symbol_by_name

from config.beat import SHARE, JitteredEntry
from config.celery import app

HOUR = timedelta(hours=1)
LAST = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)


def entry(name, last=LAST, now=LAST):
    return JitteredEntry(
        name=name, task="t", schedule=schedule(HOUR, nowfun=lambda: now, app=app), last_run_at=last, app=app
    )


def test_what_shares_an_interval_is_spread():
    late = [entry(f"task-{number}").jitter for number in range(200)]
    assert all(timedelta(0) <= each <= SHARE * HOUR for each in late)
    assert max(late) - min(late) > 0.8 * SHARE * HOUR
    assert len({round(each.total_seconds()) for each in late}) > 100


def test_each_run_is_drawn_anew_and_the_same_run_is_not():
    assert entry("one").jitter == entry("one").jitter
    assert entry("one").jitter != entry("one", last=LAST + HOUR).jitter


@pytest.mark.parametrize(("seconds", "due"), [(-1, False), (1, True)])
def test_it_is_due_at_the_interval_and_its_jitter(seconds, due):
    at = LAST + HOUR + entry("one").jitter + timedelta(seconds=seconds)
    is_due, ask_again = entry("one", now=at).is_due()
    assert is_due is due
    assert ask_again > 0


def test_it_is_never_due_before_the_interval():
    assert not any(entry(f"task-{number}", now=LAST + HOUR - timedelta(seconds=1)).is_due()[0] for number in range(50))


def test_celerys_own_nightly_entry_keeps_its_time():
    nightly = JitteredEntry(
        name="celery.backend_cleanup", task="t", schedule=crontab("0", "4", app=app), last_run_at=LAST, app=app
    )
    assert nightly.jitter == timedelta(0)
    nightly.is_due()


def test_beat_uses_it(settings):
    assert symbol_by_name(settings.CELERY_BEAT_SCHEDULER).Entry is JitteredEntry
