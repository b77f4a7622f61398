"""A directory is read by real workers, while real things break: nothing is half done, nothing is done twice.

slapd is stopped in the middle of its answer (SIGSTOP), and meanwhile the worker's process is killed, Redis is restarted, or
the same work is sent to another worker.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
import yaml

from tests.faults.servers import Celery, RedisServer, celery, wait_until
from tests.faults.test_workers import WORKER, Database, sender
from tests.live import mapping_document
from tests.peers.slapd import BASE, READER, READER_PASSWORD, Authority, Slapd, person_dn

READ, RESUME = "federation.tasks.refresh_directory", "federation.tasks.resume_lost"
PEOPLE = 40


class Town:
    """A database whose mapping reads a real slapd, and a Redis; workers are each test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._told_before = folder, 0
        self.slapd = Slapd(folder / "slapd", Authority())
        self.redis = RedisServer(folder)
        self.database = Database(folder / "gateway.sqlite3")
        self.environment = {
            **self.database.environment,
            "TEST_LDAP_PASSWORD": READER_PASSWORD,
            "REDIS_URL": self.redis.url,
        }

    def start(self) -> Town:
        self.redis.start()
        self.slapd.start().furnish()
        dns = self.slapd.people(f"p{number:02}" for number in range(PEOPLE))
        self.slapd.group("engineering", dns)
        provider = {
            "slug": "corp", "name": "Example Corp", "saml": {"metadata_url": "http://127.0.0.1:9/"},
            "claims": {"subject": "NameID", "groups": "memberOf"},
        }  # fmt: skip
        ldap = {
            "url": self.slapd.tls_url, "base_dn": BASE, "bind_dn": READER, "password": "${TEST_LDAP_PASSWORD}",
            "ca_certificate": self.slapd.authority.pem,
        }  # fmt: skip
        document = {**mapping_document([provider]), "directories": [{"slug": "ad", "provider": "corp", "ldap": ldap}]}
        (self.folder / "mapping.yaml").write_text(yaml.safe_dump(document))
        self.database.manage("migrate", "-v", "0")
        self.database.manage("apply", str(self.folder / "mapping.yaml"))
        return self

    def stop(self) -> None:
        self.slapd.stop()
        self.redis.stop()

    # --- What the database says ---

    def people(self) -> int:
        return int(
            str(self.database.ask("SELECT count(*) FROM federation_directoryuser WHERE deleted_at IS NULL")[0][0])
        )

    def memberships(self) -> int:
        return int(str(self.database.ask("SELECT count(*) FROM federation_membership")[0][0]))

    def runs(self) -> list[str]:
        """How the runs ended, oldest first; those that found nothing due are left out."""
        rows = self.database.ask(
            "SELECT outcome, detail FROM federation_taskrun WHERE task = 'refresh_directory' ORDER BY started_at"
        )
        return [str(outcome) for outcome, detail in rows if outcome != "ok" or "ad" in json.loads(str(detail))]

    def told(self) -> int:
        return int(
            str(self.database.ask("SELECT count(*) FROM federation_auditevent WHERE kind = 'directory.read'")[0][0])
        )

    def told_since(self) -> int:
        """Events of a change, since this test began: nobody can take them out of the log."""
        return self.told() - self._told_before

    def is_being_read(self) -> bool:
        return self.runs()[-1:] == ["running"]

    def queued(self) -> int:
        """Messages that wait, or are with a worker."""
        queue = redis.Redis.from_url(self.redis.url)
        return int(queue.llen("celery")) + int(queue.hlen("unacked"))

    def due_in_seconds(self) -> float:
        """Until the directory is read again: its interval is 900 s."""
        at = datetime.fromisoformat(str(self.database.ask("SELECT attempted_at FROM federation_source")[0][0]))
        return 900 - (datetime.now(UTC) - at.replace(tzinfo=UTC)).total_seconds()

    def forget(self) -> None:
        """As if nothing had ever been read."""
        self._told_before = self.told()
        for table in (
            "membership",
            "pastmembership",
            "directorygroup",
            "directoryuser",
            "taskrun",
            "lease",
            "heldanswer",
            "source",
        ):
            self.database.ask(f"DELETE FROM federation_{table}")

    def time_passes(self) -> None:
        """What the leases of a dead worker, and the interval, take."""
        self.database.ask("UPDATE federation_lease SET until = '2020-01-01 00:00:00'")
        self.database.ask("UPDATE federation_source SET attempted_at = NULL")

    def send(self) -> None:
        sender(self.redis.url).send_task(READ)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """slapd takes connections and answers nothing."""
        process = self.slapd._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    @contextmanager
    def worker(self, name: str) -> Iterator[Celery]:
        with celery(self.folder / name, self.environment, *WORKER, "-n", f"{name}@%h") as program:
            program.said(" ready.")
            yield program


@pytest.fixture(scope="module")
def whole_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("directory_workers"))
    try:
        yield town.start()
    finally:
        town.stop()


@pytest.fixture
def town(whole_town: Town) -> Town:
    whole_town.forget()
    return whole_town


def test_killed_in_the_middle_it_is_done_by_the_next_and_nothing_is_half(town: Town) -> None:
    with town.worker("killed") as worker:
        with town.stopped():
            town.send()
            wait_until(town.is_being_read, "the worker waits for the directory")
            (pool,) = worker.children()
            pool.kill()
            worker.said("exited with 'signal 9 (SIGKILL)'")
        assert (town.people(), town.memberships(), town.told_since()) == (0, 0, 0)
        # Its message was given back at once, and finds that it is being read: the dead one's lease still stands.
        wait_until(lambda: not town.queued(), "the message came back and was looked at")
        assert town.due_in_seconds() < 150
        town.time_passes()
        town.send()
        wait_until(lambda: town.memberships() == PEOPLE, "the next one does it")
        wait_until(lambda: town.runs()[-1] == "ok", "and says so")
    assert town.runs() == ["lost", "ok"]
    assert (town.people(), town.told_since()) == (PEOPLE, 1)


def test_killed_with_all_its_processes_its_work_does_not_wait_for_redis(town: Town) -> None:
    """A lost machine gives no message back, and Redis does after an hour: beat's next look finds the run by its lease."""
    with town.worker("lost") as worker, town.stopped():
        town.send()
        wait_until(town.is_being_read, "the worker waits for the directory")
        for process in (worker.process(), *worker.children()):
            process.kill()
    queue = redis.Redis.from_url(town.redis.url)
    assert (town.people(), int(queue.llen("celery")), int(queue.hlen("unacked"))) == (0, 0, 1)
    town.time_passes()
    with town.worker("next"):
        sender(town.redis.url).send_task(RESUME)
        wait_until(lambda: town.memberships() == PEOPLE, "the next one does it")
        wait_until(lambda: town.runs()[-1] == "ok", "and says so")
    assert town.runs() == ["lost", "ok"]
    assert (town.people(), town.told_since()) == (PEOPLE, 1)
    queue.delete("unacked", "unacked_index")


def test_two_workers_and_the_work_sent_many_times_do_it_once(town: Town) -> None:
    with town.worker("one"), town.worker("two"):
        with town.stopped():
            town.send()
            wait_until(town.is_being_read, "one is at it")
            for _ in range(4):  # as two beats would
                town.database.ask("UPDATE federation_source SET attempted_at = NULL")
                town.send()
            wait_until(lambda: "skipped" in town.runs(), "the other has looked, and left it to the first")
        wait_until(lambda: town.memberships() == PEOPLE, "it is done")
        wait_until(lambda: "running" not in town.runs(), "and over")
    assert (town.people(), town.memberships(), town.told_since()) == (PEOPLE, PEOPLE, 1)
    assert town.runs().count("ok") == 1
    assert set(town.runs()) <= {"ok", "skipped"}


def test_redis_restarted_in_the_middle_changes_nothing(town: Town) -> None:
    with town.worker("through") as worker:
        with town.stopped():
            town.send()
            wait_until(town.is_being_read, "the worker waits for the directory")
            town.redis.stop()
            town.redis.start()
        wait_until(lambda: town.memberships() == PEOPLE, "what was begun is done")
        wait_until(lambda: town.runs()[0] == "ok", "and says so")
        # A change after it, by the same worker: it has found its broker again.
        town.slapd.delete(person_dn("p00"))
        try:
            town.database.ask("UPDATE federation_source SET attempted_at = NULL")
            town.send()
            wait_until(lambda: town.people() == PEOPLE - 1, "the next change is read")
        finally:
            town.slapd.person("p00")
        worker.check()
    assert town.memberships() == PEOPLE - 1
    assert "failed" not in town.runs()


def test_a_directory_that_dies_in_the_middle_is_read_again_later(town: Town) -> None:
    with town.worker("patient"):
        town.send()
        wait_until(lambda: town.people() == PEOPLE, "read once")
        town.slapd.kill()
        town.time_passes()
        town.send()
        wait_until(
            lambda: bool(town.database.ask("SELECT 1 FROM federation_source WHERE state = 'failed'")), "it says so"
        )
        assert (town.people(), town.memberships()) == (PEOPLE, PEOPLE)
        town.slapd.start()
        town.time_passes()
        town.send()
        wait_until(lambda: bool(town.database.ask("SELECT 1 FROM federation_source WHERE key = 'directory:ad' AND state = 'ok'")), "read again")  # fmt: skip
    assert (town.people(), town.told_since()) == (PEOPLE, 1)
