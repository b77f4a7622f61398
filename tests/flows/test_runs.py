"""What the people who run the gateway see of background work."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from federation.errors import BadRequest
from federation.flows import leases, runs
from federation.models import Lease, TaskRun


def only():
    return TaskRun.objects.get()


def test_a_run_says_when_how_far_and_what(db):
    with runs.run("tidy") as run:
        assert (only().outcome, only().finished_at) == ("running", None)
        run.total(7)
        run.progress(3)
        run.detail["found"] = 4
    row = only()
    assert (row.task, row.outcome, row.done, row.total, row.detail, row.error_code) == (
        "tidy",
        "ok",
        3,
        7,
        {"found": 4},
        "",
    )
    assert row.started_at <= row.finished_at


def test_progress_is_written_once_a_second_at_most(db, django_assert_num_queries, monkeypatch):
    clock = [0.0]
    with runs.run("tidy") as run:
        monkeypatch.setattr(runs.time, "monotonic", lambda: clock[0])
        run._said = 0.0
        with django_assert_num_queries(0):
            run.progress(1)
        clock[0] = 1.5
        with django_assert_num_queries(1):
            run.progress(2)
        assert only().done == 2


@pytest.mark.parametrize(
    ("error", "code"), [(BadRequest("broken_page"), "broken_page"), (ZeroDivisionError("x"), "ZeroDivisionError")]
)
def test_a_failure_is_kept_with_its_cause_and_goes_on(db, error, code):
    with pytest.raises(type(error)), runs.run("tidy") as run:
        run.detail["before"] = 1
        raise error
    row = only()
    assert (row.outcome, row.error_code, row.detail) == ("failed", code, {"before": 1})
    assert row.finished_at is not None
    with runs.run("tidy") as again:  # the lease was given back
        assert again is not None


def test_a_second_run_at_the_same_time_is_skipped_and_says_so(db):
    with runs.run("tidy") as first, runs.run("tidy") as second:
        assert first is not None
        assert second is None
    assert sorted(TaskRun.objects.values_list("outcome", flat=True)) == ["ok", "skipped"]
    with runs.run("other") as other:
        assert other is not None


def test_of_many_at_once_one_runs(transactional_db):
    inside, barrier = [], threading.Barrier(6)

    def one():
        try:
            barrier.wait(60)
            with runs.run("tidy") as run:
                if run is not None:
                    inside.append(1)
                    threading.Event().wait(0.5)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 1
    assert sorted(TaskRun.objects.values_list("outcome", flat=True)) == ["ok"] + ["skipped"] * 5


def died(task, now):
    """A worker that was killed: its row says running, its lease runs out."""
    leases.take(f"task:{task}", runs.LEASE)
    row = TaskRun.objects.create(task=task, started_at=now)
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    return row


def test_the_run_of_a_worker_that_died_is_called_lost_by_the_next(db, now):
    row = died("tidy", now)
    other = TaskRun.objects.create(task="other", started_at=now)
    with runs.run("tidy") as run:
        row.refresh_from_db()
        assert (row.outcome, row.finished_at) == ("lost", run.row.started_at)
    other.refresh_from_db()
    assert other.outcome == "running"


def test_a_run_that_was_taken_over_stops_and_leaves_the_word_to_the_other(db):
    with pytest.raises(leases.LeaseLost), runs.run("tidy") as slow:
        Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
        with runs.run("tidy") as quick:
            assert quick is not None
        slow.alive._due = 0.0
        slow.progress(1)
    assert {row.pk: row.outcome for row in TaskRun.objects.all()} == {slow.row.pk: "lost", quick.row.pk: "ok"}


def test_a_lost_lease_of_something_else_is_a_failure(db):
    with pytest.raises(leases.LeaseLost), runs.run("tidy"):
        raise leases.LeaseLost("account:1")
    assert (only().outcome, only().error_code) == ("failed", "LeaseLost")


def test_old_runs_are_forgotten(db, now):
    TaskRun.objects.bulk_create(
        TaskRun(task="tidy", started_at=now - timedelta(hours=n), outcome="ok") for n in range(runs.KEPT + 20)
    )
    TaskRun.objects.create(task="other", started_at=now - timedelta(days=900), outcome="ok")
    with runs.run("tidy"):
        pass
    assert TaskRun.objects.filter(task="tidy").count() == runs.KEPT
    assert TaskRun.objects.filter(task="other").count() == 1
    assert TaskRun.objects.filter(started_at=now).exists()


def test_a_worker_that_is_told_to_stop_keeps_nobody_from_the_work(db):
    with pytest.raises(SystemExit), runs.run("work"):
        raise SystemExit
    assert TaskRun.objects.get().outcome == TaskRun.Outcome.RUNNING
    with runs.run("work") as run:
        assert run is not None
    assert sorted(TaskRun.objects.values_list("outcome", flat=True)) == ["lost", "ok"]


def waits_for_the_disk():
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return cursor.fetchone()[0]


def test_only_what_is_said_of_a_run_does_not_wait_for_the_disk(transactional_db, monkeypatch):
    if connection.vendor != "postgresql":
        assert not connection.in_atomic_block  # SQLite has no such setting: the run goes as ever
        with runs.run("tidy"):
            pass
        return
    said = []
    monkeypatch.setattr(
        runs, "_begun", lambda *a, of=runs._begun, **k: said.append(waits_for_the_disk()) or of(*a, **k)
    )
    monkeypatch.setattr(runs, "_end", lambda *a, of=runs._end: said.append(waits_for_the_disk()) or of(*a))
    with runs.run("tidy"), transaction.atomic():
        said.append(waits_for_the_disk())
    assert said == ["off", "on", "off"]
    said.clear()
    with transaction.atomic():
        with runs.run("tidy"):
            pass
        said.append(waits_for_the_disk())
    assert said == ["on", "on", "on"]
