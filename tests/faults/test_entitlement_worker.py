"""The entitlements by a real worker: asked twice at once, and killed in the middle, each row is there once or none is."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
import yaml
from celery import Celery as Sender

from tests.faults.servers import Celery, RedisServer, celery, wait_until
from tests.faults.test_workers import Database
from tests.live import mapping_document

TASK = "federation.tasks.refresh_entitlements"
PEOPLE, GROUPS = 1500, 30
_FILL = f"""
import os
from django.core.management import call_command
from django.utils import timezone
call_command("migrate", verbosity=0)
call_command("apply", os.environ["MAPPING"])
from federation.models import Person
now = timezone.now()
Person.objects.bulk_create(
    [
        Person(provider="corp", subject=f"p{{n}}", session_name=f"p{{n}}", groups=[f"g{{n % 7}}", *(f"mail {{n}} {{m}}" for m in range({GROUPS}))], claims_at=now)
        for n in range({PEOPLE})
    ],
    batch_size=200,
)
"""


class Company(Database):
    """The SQLite file that the workers share with a gateway."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Whoever wants to write waits until the end of the block."""
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A company of 1,500 people, of whom each has as many roles as the number of their group says."""
    folder = tmp_path_factory.mktemp("entitlements")
    database = Company(folder / "gateway.sqlite3")
    provider = {
        "slug": "corp",
        "name": "Example Corp",
        "saml": {"metadata_url": "http://127.0.0.1:9/metadata"},
        "claims": {"subject": "NameID", "groups": "memberOf"},
    }
    document = mapping_document([provider])
    account = document["accounts"][0]["id"]
    document["mapping"] = [
        {
            "name": f"r{n}",
            "when": {"groups": [f"g{m}" for m in range(n, 7)]},
            "allow": {"roles": [f"R{n}"], "accounts": {"ids": [account]}},
        }
        for n in range(1, 7)
    ]
    (folder / "mapping.yaml").write_text(yaml.safe_dump(document))
    database.environment["MAPPING"] = str(folder / "mapping.yaml")
    database.manage("shell", "-v", "0", "-c", _FILL)
    return database


EXPECTED = sum(n % 7 for n in range(PEOPLE))


def rows(database: Company) -> int:
    return int(str(database.ask("SELECT count(*) FROM federation_entitlement")[0][0]))


def runs(database: Company) -> list[str]:
    return [
        str(row[0])
        for row in database.ask(
            "SELECT outcome FROM federation_taskrun WHERE task = 'refresh_entitlements' ORDER BY started_at"
        )
    ]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def worker(database: Company, broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Celery]:
    """Two processes on Redis."""
    environment = {**database.environment, "REDIS_URL": broker.url}
    words = ("worker", "--concurrency", "2", "--loglevel", "INFO", "--without-mingle", "--without-gossip")
    with celery(tmp_path_factory.mktemp("worker"), environment, *words) as program:
        program.said(" ready.")
        yield program


def test_killed_in_the_middle_nothing_is_there_and_the_next_does_it_all(
    database: Company, broker: RedisServer, worker: Celery
) -> None:
    queue = Sender("test", broker=broker.url, set_as_current=False)
    before = worker.children()
    queue.send_task(TASK)
    wait_until(lambda: runs(database) == ["running"], "a process is at it")
    with database.locked():  # it cannot write now, however quick it is
        for process in before:
            process.kill()
        wait_until(lambda: not any(process.is_running() for process in before), "they are dead")
    assert rows(database) == 0
    assert database.ask("SELECT count(*) FROM federation_entitlementstate") == [(0,)]
    # The dead worker's lease keeps others from the work until it ends; its message was given back meanwhile.
    wait_until(lambda: "skipped" in runs(database), "the message came to another process")
    database.ask("UPDATE federation_lease SET until = '2020-01-01 00:00:00'")
    queue.send_task(TASK)
    wait_until(lambda: "ok" in runs(database), "the next one has done it", seconds=60)
    assert rows(database) == EXPECTED
    assert "lost" in runs(database)


def test_asked_many_times_at_once_it_is_done_once(database: Company, broker: RedisServer, worker: Celery) -> None:
    database.ask("DELETE FROM federation_entitlement")
    database.ask("DELETE FROM federation_entitlementstate")
    database.ask("DELETE FROM federation_taskrun")
    queue = Sender("test", broker=broker.url, set_as_current=False)
    said = len(worker.log)
    for _ in range(6):
        queue.send_task(TASK)
    wait_until(lambda: "ok" in runs(database), "one has done it", seconds=60)
    wait_until(lambda: "running" not in runs(database), "none is at it")
    assert runs(database).count("ok") == 1
    assert set(runs(database)) <= {"ok", "skipped"}
    assert rows(database) == EXPECTED
    (once,) = database.ask(
        "SELECT count(*) FROM (SELECT person_id, given_id FROM federation_entitlement GROUP BY person_id, given_id)"
    )
    assert once == (EXPECTED,)
    assert "Traceback" not in worker.log[said:]


def test_a_person_who_is_disabled_leaves_the_lists(database: Company, broker: RedisServer, worker: Celery) -> None:
    queue = Sender("test", broker=broker.url, set_as_current=False)
    database.manage("revoke", "p6", "--disable")
    queue.send_task(TASK)
    wait_until(lambda: rows(database) == EXPECTED - 6, "their rows are gone")
