"""Whether a kept connection to PostgreSQL still lives: seen on its socket, and asked only where that has something to say."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.backends.postgresql import base
from pytest_django.plugin import DjangoDbBlocker

from config.env import Environment
from config.postgresql.base import DatabaseWrapper
from tests.faults.servers import PostgresCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    own = PostgresCluster()
    try:
        yield own.make()
    finally:
        own.remove()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What Django's own question was answered with, each time it was asked."""
    answers: list[bool] = []
    own = base.DatabaseWrapper.is_usable

    def is_usable(wrapper: base.DatabaseWrapper) -> bool:
        answers.append(own(wrapper))
        return answers[-1]

    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", is_usable)
    return answers


@pytest.fixture
def kept(cluster: PostgresCluster, asked: list[bool], django_db_blocker: DjangoDbBlocker) -> Iterator[DatabaseWrapper]:
    """A connection as a request leaves it."""
    entry = Environment({"DATABASE_URL": cluster.url}).database("DATABASE_URL")
    wrapper = DatabaseWrapper({**connections["default"].settings_dict, **entry}, "kept")
    with django_db_blocker.unblock():  # a database of its own
        wrapper.ensure_connection()
        assert one(wrapper) == 1
        yield wrapper
        wrapper.close()


def one(wrapper: DatabaseWrapper) -> object:
    """What a statement of the next request gets."""
    wrapper.close_if_unusable_or_obsolete()
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone()[0]


def process(wrapper: DatabaseWrapper) -> int:
    return int(wrapper.connection.info.backend_pid)


def test_one_that_lives_is_not_asked(kept: DatabaseWrapper, asked: list[bool]) -> None:
    before = process(kept)
    assert [one(kept), one(kept)] == [1, 1]
    assert (process(kept), asked) == (before, [])


@pytest.mark.parametrize("fault", ["immediate", "fast"])
def test_the_first_after_a_restart_gets_a_new_one(
    kept: DatabaseWrapper, asked: list[bool], cluster: PostgresCluster, fault: str
) -> None:
    before = process(kept)
    cluster.stop(fault)
    cluster.start()
    assert one(kept) == 1
    assert process(kept) != before
    assert asked == [False]


def test_one_that_an_operator_ended_is_replaced(
    kept: DatabaseWrapper, asked: list[bool], cluster: PostgresCluster
) -> None:
    cluster.execute(f"SELECT pg_terminate_backend({process(kept)}, 5000)")
    assert one(kept) == 1
    assert asked == [False]


def test_one_that_has_been_told_something_lives(
    kept: DatabaseWrapper, asked: list[bool], cluster: PostgresCluster
) -> None:
    """Whatever comes unasked makes the socket readable: then Django's question decides, and nothing is closed for it."""
    with kept.cursor() as cursor:
        cursor.execute("LISTEN news")
    before = process(kept)
    cluster.execute("NOTIFY news")
    assert select.select([kept.connection.fileno()], [], [], 10)[0]
    assert (one(kept), process(kept), asked) == (1, before, [True])


def test_one_that_is_closed_is_not_usable(kept: DatabaseWrapper) -> None:
    kept.connection.close()
    assert not kept.is_usable()
    assert not DatabaseWrapper(kept.settings_dict, "never opened").is_usable()
