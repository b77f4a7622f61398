"""Statements sent together: all or none, whatever the database."""

import pytest
from django.db import IntegrityError, connection, transaction

from federation.models import UsedCredential, compiled
from tests import saml_kit as kit

pytestmark = pytest.mark.django_db(transaction=True)

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
