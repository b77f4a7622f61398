"""Statements sent together: all or none, whatever the database."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from federation.errors import RateLimited
from federation.flows import rate_limits
from federation.models import RateWindow, RoleMark, UsedCredential, compiled
from tests import saml_kit as kit

pytestmark = pytest.mark.django_db(transaction=True)


def insertion(key):
    return UsedCredential.insertion(key, expires_at=kit.NOW)


def renaming(old, new):
    return "UPDATE federation_usedcredential SET key = %s WHERE key = %s", [new, old]


def keys():
    return sorted(UsedCredential.objects.values_list("key", flat=True))


def test_each_says_how_many_rows_it_changed():
    assert compiled.together(insertion("a"), renaming("a", "b"), renaming("nobody", "c")) == [1, 1, 0]
    assert keys() == ["b"]


@pytest.mark.parametrize("order", [("b", "a"), ("a", "b")])
def test_one_that_fails_takes_the_others_with_it(order):
    compiled.together(insertion("a"))
    with pytest.raises(IntegrityError):
        compiled.together(*map(insertion, order))
    assert keys() == ["a"]
    compiled.together(insertion("c"))  # the connection is as good as before
    assert keys() == ["a", "c"]


def test_inside_a_transaction_they_are_part_of_it():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert compiled.together(insertion("a"), insertion("b")) == [1, 1]
        with pytest.raises(IntegrityError):
            compiled.together(insertion("c"), insertion("a"))
        assert keys() == ["a", "b"]
        raise ZeroDivisionError
    assert keys() == []


def test_a_value_stays_a_value():
    """One message of several statements is where a quote that is not quoted would become a statement."""
    hostile = "'); DELETE FROM federation_usedcredential; --"
    compiled.together(insertion("kept"), insertion(hostile), renaming("%s", "x"))
    assert keys() == sorted(["kept", hostile])


def test_postgresql_gets_one_message(monkeypatch):
    if connection.vendor != "postgresql":
        assert compiled.together(insertion("a"), insertion("b")) == [1, 1]  # one after the other, in a transaction
        return
    sent = []
    with connection.execute_wrapper(lambda run, sql, *rest: sent.append(sql) or run(sql, *rest)):
        compiled.together(insertion("a"), insertion("b"))
    assert len(sent) == 1
    assert sent[0].count("INSERT INTO") == 2


# --- Several questions in one message -----------------------------------------------------------------------


def reading(key):
    return "SELECT key, %s FROM federation_usedcredential WHERE key = %s", ["asked", key]


def test_each_question_has_its_own_answer():
    answers = compiled.ask(reading("a"), insertion("a"), reading("a"), renaming("a", "b"), reading("a"))
    assert [answer.rows for answer in answers] == [[], [], [("a", "asked")], [], []]
    assert [answer.changed for answer in answers][1:4:2] == [1, 1]


def synchronous_commit():
    return compiled.ask(("SELECT current_setting('synchronous_commit')", []))[0].rows[0][0]


def test_what_is_merely_counted_does_not_wait_for_the_disk():
    if connection.vendor != "postgresql":
        assert [answer.changed for answer in compiled.ask(insertion("a"), durable=False)] == [1]
        return
    inside = ("SELECT current_setting('synchronous_commit')", [])
    assert [answer.rows for answer in compiled.ask(insertion("a"), inside, durable=False)] == [[], [("off",)]]
    assert synchronous_commit() == "on"  # for that message alone


def test_inside_a_transaction_the_others_work_still_waits_for_the_disk():
    with transaction.atomic():
        compiled.ask(insertion("a"), durable=False)
        if connection.vendor == "postgresql":
            assert synchronous_commit() == "on"
    assert keys() == ["a"]


def test_a_refusal_counts_though_a_question_was_sent_along(monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 10, 2))
    question = ("SELECT 7", [])

    def hit():
        return rate_limits.hit_and_ask("token", address="192.0.2.1", now=kit.NOW, question=question)

    assert [hit().rows, hit().rows] == [[(7,)], [(7,)]]
    with pytest.raises(RateLimited):
        hit()
    assert RateWindow.objects.get().count == 3
    assert rate_limits.hit_and_ask("token", address="", now=kit.NOW, question=question).rows == [(7,)]
    assert RateWindow.objects.get().count == 3


def test_the_latest_rows_first_and_those_never_used_before_them(sign_in_as):
    person = sign_in_as()
    for number, used_at in enumerate([kit.NOW, None, kit.NOW + timedelta(days=1)]):
        RoleMark.objects.create(
            person=person, role_arn=f"arn:{number}", used_at=used_at, destination=f"https://{number}/"
        )
    latest = compiled.Latest(RoleMark, "person_id", by="used_at", most=2)
    assert [(mark.role_arn, mark.used_at) for mark in latest(person.pk)] == [
        ("arn:1", None),
        ("arn:2", kit.NOW + timedelta(days=1)),
    ]
    assert list(RoleMark.objects.filter(pk=latest(person.pk)[1].pk)) == [latest(person.pk)[1]]
    assert latest(uuid4()) == []
