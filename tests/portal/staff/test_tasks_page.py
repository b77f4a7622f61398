"""Background work: what the page says of each task, and starting one by hand over a real broker."""

from datetime import timedelta

import pytest
from django.conf import settings as django_settings

from federation.flows import background
from federation.models import AuditEvent, TaskRun
from portal.staff.tasks import WORDS
from tests import cast
from tests.portal.conftest import soup, text_of


def row(answer, task):
    return next(tr for tr in soup(answer).select("#tasks tbody tr") if tr.find(id=f"task-{task}"))


def said(answer, task):
    return " ".join(row(answer, task).get_text(" ").split())


def ran(clock, task="refresh_catalogue", *, ago=600, took=75, **more):
    started = clock.now - timedelta(seconds=ago)
    finished = None if more.get("outcome") == "running" else started + timedelta(seconds=took)
    return TaskRun.objects.create(
        **{"task": task, "started_at": started, "finished_at": finished, "outcome": "ok", **more}
    )


def test_every_scheduled_task_is_listed_in_words(owner):
    answer = owner.get("/staff/tasks/")
    assert {a["id"].removeprefix("task-") for a in soup(answer).select("#tasks th a")} == set(background.scheduled())
    assert set(background.scheduled()) <= set(WORDS)


def test_a_task_that_never_ran_says_so(owner):
    assert "has not run yet" in said(owner.get("/staff/tasks/"), "purge_expired")


def test_a_run_that_ended_well_says_when_and_how_long_and_when_next(owner, clock):
    ran(clock, detail={"ok": 40, "failed": 1})
    shown = said(owner.get("/staff/tasks/"), "refresh_catalogue")
    assert "1 min 15 s" in shown
    assert "ended well" in shown
    assert "read : 40 failed : 1" in shown
    every = django_settings.CELERY_BEAT_SCHEDULE["refresh-catalogue"]["schedule"]
    assert f"{clock.now - timedelta(seconds=600) + every:%Y-%m-%d %H:%M} UTC" in shown


def test_a_failure_names_its_cause_and_the_last_good_run(owner, clock):
    good = ran(clock, ago=9000)
    ran(clock, outcome="failed", error_code="organization_role_unset")
    shown = said(owner.get("/staff/tasks/"), "refresh_catalogue")
    assert "failed cause: organization_role_unset" in shown
    assert f"last ended well: {good.started_at:%Y-%m-%d %H:%M} UTC" in shown


def test_a_failure_that_was_never_otherwise_says_that(owner, clock):
    ran(clock, outcome="lost")
    shown = said(owner.get("/staff/tasks/"), "refresh_catalogue")
    assert "its worker died" in shown
    assert "never ended well" in shown


def test_work_under_way_shows_how_far_and_is_looked_at_again_soon(owner, clock):
    ran(clock, outcome="running", done=12, total=40)
    answer = owner.get("/staff/tasks/")
    assert "12 of 40" in said(answer, "refresh_catalogue")
    bar = row(answer, "refresh_catalogue").progress
    assert (bar["value"], bar["max"]) == ("12", "40")
    assert not row(answer, "refresh_catalogue").form
    assert soup(answer).find(id="tasks")["hx-trigger"] == "every 3s"


def test_a_skipped_run_does_not_hide_the_real_one(owner, clock):
    ran(clock, ago=600)
    ran(clock, ago=10, took=0, outcome="skipped")
    assert "ended well" in said(owner.get("/staff/tasks/"), "refresh_catalogue")
    assert "skipped another worker was at it" in text_of(owner.get("/staff/tasks/refresh_catalogue/"))


def test_a_task_well_past_its_time_is_overdue(owner, clock):
    ran(clock, ago=3600 * 5)
    shown = said(owner.get("/staff/tasks/"), "refresh_catalogue")
    assert "overdue" in shown
    assert "Are beat and a worker running?" in shown


def test_for_htmx_the_table_comes_alone(owner):
    piece = owner.get("/staff/tasks/", headers={"hx-request": "true"})
    assert soup(piece).find(id="tasks")
    assert not soup(piece).find("html")


def test_the_page_costs_the_same_queries_whatever_has_run(owner, clock, django_assert_num_queries):
    for number in range(40):
        ran(clock, ago=number * 60 + 1)
        ran(clock, "purge_expired", ago=number * 60 + 1, outcome="failed")
    owner.get("/staff/tasks/")
    with django_assert_num_queries(5):  # session, person, revision in force; newest runs, newest good ones
        owner.get("/staff/tasks/")
    with django_assert_num_queries(6):
        owner.get("/staff/tasks/refresh_catalogue/")


def test_a_task_that_is_not_scheduled_is_not_found(owner):
    assert owner.get("/staff/tasks/os-system/").status_code == 404
    answer = owner.submit(owner.get("/staff/tasks/"), "/staff/tasks/purge_expired/run")
    assert answer.status_code == 302
    assert owner.post(
        "/staff/tasks/os-system/run", {"csrfmiddlewaretoken": owner.cookies["rolegate_csrf"].value}
    ).status_code in {403, 404}


def test_starting_a_task_puts_one_message_with_nothing_but_its_name_on_the_broker_and_one_event_in_the_log(owner):
    queue = background._celery().connection_for_read().SimpleQueue("celery")
    queue.clear()
    page = owner.get("/staff/tasks/")
    answer = owner.submit(page, "/staff/tasks/refresh_catalogue/run")
    assert answer["Location"] == "/staff/tasks/?asked=refresh_catalogue"
    message = queue.get(timeout=30)
    assert message.headers["task"] == "federation.tasks.refresh_catalogue"
    assert message.payload[:2] == [[], {}]
    message.ack()
    event = AuditEvent.objects.order_by("-seq").first()
    assert (event.kind, event.outcome, event.data) == ("task.asked", "ok", {"task": "refresh_catalogue"})
    shown = owner.get(answer["Location"])
    assert "Accounts and roles: asked for." in text_of(shown)
    assert soup(shown).find(id="tasks")["hx-trigger"] == "every 3s"


def test_without_a_worker_the_page_says_so(owner):
    assert "No worker answers." in text_of(owner.get("/staff/workers"))


def test_an_account_owner_who_verifies_is_told_too(console):
    """The page that waits asks for it: a refusal would stand on it, and in the log."""
    browser = console("account-owner")
    page = browser.submit(
        browser.get(f"/staff/accounts/{cast.STAGING}/verify"), f"/staff/accounts/{cast.STAGING}/verify/start"
    )
    assert page.status_code == 302
    waiting = soup(browser.get(page["Location"]))
    for asked in waiting.select("main [hx-get]"):
        assert browser.get(asked["hx-get"]).status_code == 200, asked["hx-get"]
    assert "No worker answers." in text_of(browser.get("/staff/workers"))


def test_with_workers_it_says_how_many(owner, monkeypatch):
    monkeypatch.setattr("portal.staff.tasks.background.workers", lambda: 2)
    assert "2 workers answer" in text_of(owner.get("/staff/workers"))


@pytest.mark.parametrize("what", ["run", "workers"])
def test_a_broker_that_is_away_is_said_and_nothing_hangs(owner, settings, what):
    background._celery.cache_clear()
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:9/0"
    try:
        page = owner.get("/staff/tasks/")
        if what == "run":
            answer = owner.submit(page, "/staff/tasks/refresh_catalogue/run")
        else:
            answer = owner.get("/staff/workers")
        assert answer.status_code == 503
        assert b"broker_unavailable" in answer.content
        assert answer["Retry-After"] == "30"
    finally:
        background._celery.cache_clear()


def test_an_auditor_sees_the_work_and_cannot_start_it(console):
    answer = console("auditor").get("/staff/tasks/")
    assert not soup(answer).select("#tasks form")
