"""Work whose worker has died: marked lost and sent again, once, and not without end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation import tasks
from federation.flows import background, leases, resume_lost, runs
from federation.models import TaskRun

MINUTE = timedelta(minutes=1)


@pytest.fixture
def sent(db, monkeypatch):
    found = []
    monkeypatch.setattr(background, "send", lambda task, *ids: found.append((task, *ids)))
    return found


def died(task, at, *, outcome="running"):
    """What a worker leaves that was killed: its run, and a lease that ends by itself."""
    return TaskRun.objects.create(task=task, started_at=at, outcome=outcome)


def outcomes():
    return list(TaskRun.objects.order_by("started_at").values_list("task", "outcome"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("refresh_catalogue", ("refresh_catalogue",)),
        ("verify_audit", ("verify_audit",)),
        ("verify_account:111122223333", ("verify_account", "111122223333")),
    ],
)
def test_lost_work_is_sent_again_once(sent, now, name, message):
    died(name, now)
    assert resume_lost.resume_lost(now=now + 2 * MINUTE) == [name]
    assert resume_lost.resume_lost(now=now + 3 * MINUTE) == []
    assert sent == [message]
    assert outcomes() == [(name, "lost")]


def test_work_that_is_being_done_is_left_alone(sent, now):
    from django.utils import timezone

    with runs.run("refresh_catalogue"):
        assert resume_lost.resume_lost(now=timezone.now()) == []
        assert resume_lost.resume_lost(now=timezone.now() + runs.LEASE + MINUTE) == ["refresh_catalogue"]
    died("something else", now)  # of a version to come, say: no message of ours starts it
    assert resume_lost.resume_lost(now=now + 2 * MINUTE) == []


def test_what_kills_its_worker_each_time_is_not_sent_each_minute(sent, now):
    for minute in range(3):
        died("refresh_catalogue", now + minute * MINUTE, outcome="lost")
    died("refresh_catalogue", now + 4 * MINUTE)
    assert resume_lost.resume_lost(now=now + 6 * MINUTE) == []
    assert (sent, outcomes()[-1]) == ([], ("refresh_catalogue", "lost"))
    died("refresh_catalogue", now + 65 * MINUTE)
    assert resume_lost.resume_lost(now=now + 67 * MINUTE) == ["refresh_catalogue"]


def test_where_the_broker_is_away_it_is_the_next_ones(db, now, monkeypatch):
    def away(task):
        raise background.BrokerAway("broker_unreachable")

    died("refresh_catalogue", now)
    with monkeypatch.context() as broken:
        broken.setattr(background, "send", away)
        with pytest.raises(background.BrokerAway):
            resume_lost.resume_lost(now=now + 2 * MINUTE)
    assert outcomes() == [("refresh_catalogue", "running")]


def test_the_task_tells_what_it_has_sent_and_now_and_then_that_it_looked(sent):
    tasks.resume_lost()
    tasks.resume_lost()
    assert [row.detail for row in TaskRun.objects.filter(task="resume_lost")] == [{"done": []}]
    with runs.run("refresh_catalogue") as run:
        leases.give_back(run.lease)
        tasks.resume_lost()
    newest = TaskRun.objects.filter(task="resume_lost").order_by("started_at").last()
    assert newest.detail == {"done": ["refresh_catalogue"]}
