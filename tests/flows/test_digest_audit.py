"""The log is added up, each event once, whatever stops it and however often it is asked."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.flows import digest_audit
from federation.flows.digest_audit import digest
from federation.models import AuditDigest, DailyCount, RoleUse, TaskRun, audit_digest
from federation.queries.audit_log import causes, per_day
from tests.cast import DEV, NOW, PROD, role

ORIGIN = Origin("request", "192.0.2.7")
PERSON, OTHER = uuid4(), uuid4()
READ = role(PROD, "ReadOnly")


@pytest.fixture
def told(db):
    def do(kind=Kind.CREDENTIALS, *, days=0, outcome="ok", reason="", **data):
        with transaction.atomic():
            record(
                kind, actor="corp:x", outcome=outcome, origin=ORIGIN, now=NOW + timedelta(days), reason=reason, **data
            )

    return do


def used(person=PERSON, arn=READ, rule="r"):
    return {"person": str(person), "role_arn": arn, "rule": rule}


def uses():
    rows = RoleUse.objects.order_by("rule", "role_arn", "first_used_at")
    return [
        (u.rule, u.role_arn, u.person_id, (u.first_used_at - NOW).days, (u.last_used_at - NOW).days, u.uses)
        for u in rows
    ]


def test_uses_of_a_role_are_one_row_a_person_and_rule(told):
    told(**used())
    told(Kind.CONSOLE, days=3, **used())
    told(days=5, **used(rule="s"))
    told(days=1, **used(person=OTHER, arn=role(DEV, "X")))
    assert digest() == 4
    told(days=-2, **used())
    told(days=9, **used())
    assert digest() == 2
    assert uses() == [
        ("r", READ, PERSON, -2, 9, 4),
        ("r", role(DEV, "X"), OTHER, 1, 1, 1),
        ("s", READ, PERSON, 5, 5, 1),
    ]
    assert str(RoleUse.objects.get(rule="s")) == f"{PERSON} used {READ} by s"


def test_what_is_no_use_of_a_role_counts_for_the_day_alone(told):
    told(outcome="refused", reason="no_matching_rule", **used())
    told(Kind.MINT_ASSERTION, **used())
    told(role_arn=READ, rule="r", person="no id")
    told(role_arn=READ, rule="r", person=None)
    told(role_arn=READ)
    assert digest() == 5
    assert uses() == []
    assert sum(DailyCount.objects.values_list("events", flat=True)) == 5


def test_days_kinds_outcomes_and_reasons_are_counted_apart(told):
    for n in range(3):
        told(Kind.SIGN_IN, days=n)
        told(Kind.SIGN_IN, days=1, outcome="refused", reason="a" if n else "b")
    told(days=1, outcome="failed", reason="sts")
    digest()
    told(Kind.SIGN_IN, days=1)
    digest()
    assert DailyCount.objects.get(day=date(2026, 5, 4), kind="sign_in", outcome="ok").events == 2
    chart = per_day(["sign_in", "credentials"], until=NOW + timedelta(2), days=4)
    assert [(day.day.day, day.ok, day.refused, day.failed) for day in chart] == [
        (2, 0, 0, 0),
        (3, 1, 0, 0),
        (4, 2, 3, 1),
        (5, 1, 0, 0),
    ]
    assert causes(["sign_in"], until=NOW + timedelta(2)) == [("a", 2), ("b", 1)]
    assert causes(["sign_in"], until=NOW) == []
    assert "sign_in ok" in str(DailyCount.objects.filter(kind="sign_in").first())


def test_charts_cost_one_statement(told, django_assert_num_queries):
    told()
    digest()
    with django_assert_num_queries(1):
        per_day(["credentials"], until=NOW)
    with django_assert_num_queries(1):
        causes(["credentials"], until=NOW)


def test_a_long_log_is_added_up_in_pieces(told, monkeypatch):
    monkeypatch.setattr(digest_audit, "_AT_ONCE", 4)
    for _ in range(10):
        told(**used())
    assert digest(most=timedelta(0)) == 4
    assert digest() == 6
    assert uses()[0][-1] == 10
    assert str(AuditDigest.objects.get()) == "added up to 10"


def test_killed_in_the_middle_nothing_counts_twice(told, monkeypatch):
    told(**used())

    def die(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(digest_audit, "add_uses", die)
        with pytest.raises(KeyboardInterrupt):
            digest()
    assert not DailyCount.objects.exists()
    assert digest() == 1
    assert DailyCount.objects.get().events == 1


def test_emptied_it_is_filled_again(told):
    told(**used())
    digest()
    before = (uses(), list(DailyCount.objects.values()))
    digest_audit.start_again()
    assert uses() == []
    digest()
    assert (uses(), list(DailyCount.objects.values())) == before


def test_that_it_looked_is_noted_now_and_then(told, monkeypatch):
    for _ in range(3):
        digest()
    assert [(run.task, run.outcome) for run in TaskRun.objects.all()] == [("digest_audit", "ok")]
    assert audit_digest.add_counts({}) is None
