"""Background work by a real Celery worker and a real beat: over Redis as in production, over files as in the demo.

What a message may do is little, so the tests send what a Redis that strangers can write to would hold.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
import pickle
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import kombu
import psutil
import pytest
import redis
import requests
import yaml
from celery import Celery as Sender

from demo.idp.server import CorporateIdp
from tests.faults.servers import Celery, RedisServer, celery, wait_until
from tests.live import ROOT, mapping_document, migrate_sqlite

PURGE, REFRESH = "federation.tasks.purge_expired", "federation.tasks.refresh_provider_documents"
WORKER = ("worker", "--concurrency", "1", "--loglevel", "INFO", "--without-mingle", "--without-gossip")
REFUSED = "Refusing to deserialize untrusted content of type pickle"
ALARMS = ('"level": "error"', '"level": "critical"', "Traceback", "ERROR", "CRITICAL")


class Database:
    """The SQLite file that workers share with a gateway: what is to be purged goes in, what was fetched comes out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "DJANGO_SETTINGS_MODULE": "config.settings.development",
            "ROLEGATE_URL": "http://localhost:8000",
            "ROLEGATE_SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_URL": f"sqlite:///{path}",
        }

    def manage(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, check=True)

    def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def put_expired(self) -> None:
        """A row that the purge takes, and one that it must leave."""
        for key, slot in (("expired", 1), ("current", 10**9)):
            self.ask("INSERT OR REPLACE INTO federation_ratewindow (key, slot, count) VALUES (?, ?, 1)", key, slot)

    def windows(self) -> set[object]:
        return {row[0] for row in self.ask("SELECT key FROM federation_ratewindow")}

    def purged(self) -> bool:
        return "expired" not in self.windows()

    def fetched(self) -> bool:
        return bool(self.ask("SELECT provider FROM federation_providermetadata WHERE provider = 'corp'"))


class SlowHost:
    """Serves one document; while `held` is clear, it takes requests and answers none."""

    def __init__(self, document: bytes) -> None:
        self.held, self.asked = threading.Event(), 0
        self.held.set()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked += 1
                host.held.wait(60)
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may be dead by now
                    self.wfile.write(document)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/metadata"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def metadata_host() -> Iterator[SlowHost]:
    idp = CorporateIdp().start()
    host = SlowHost(requests.get(idp.metadata_url, timeout=10).content)
    idp.stop()
    yield host
    host.stop()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, metadata_host: SlowHost) -> Database:
    """Migrated, with a mapping whose one provider has its metadata at a URL."""
    folder = tmp_path_factory.mktemp("workers")
    database = Database(folder / "gateway.sqlite3")
    provider = {
        "slug": "corp",
        "name": "Example Corp",
        "saml": {"metadata_url": metadata_host.url},
        "claims": {"subject": "NameID", "groups": "memberOf"},
    }
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping_document([provider])))
    migrate_sqlite(database.path, lambda: database.manage("migrate", "-v", "0"))
    database.manage("apply", str(folder / "mapping.yaml"))
    return database


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def worker(database: Database, broker: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Celery]:
    """A worker on Redis."""
    environment = {**database.environment, "REDIS_URL": broker.url}
    with celery(tmp_path_factory.mktemp("worker"), environment, *WORKER) as program:
        program.said(" ready.")
        yield program


class Explosive:
    """Unpickled, it makes a file: what a pickle can do, any command can."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


def send_pickle(connection: kombu.Connection, canary: Path) -> None:
    """A task message of Celery's protocol 2 whose body is a pickle that makes the file `canary`."""
    body = ((Explosive(canary),), {}, {})
    pickle.loads(pickle.dumps(body))
    assert canary.exists()  # the weapon works
    canary.unlink()
    headers = {"lang": "py", "task": PURGE, "id": secrets.token_hex(8), "root_id": None, "parent_id": None}
    with connection:
        connection.Producer(serializer="pickle").publish(body, routing_key="celery", headers=headers)


def sender(url: str) -> Sender:
    return Sender("test", broker=url, set_as_current=False)


# --- What a message is ------------------------------------------------------------------------------


def test_tasks_take_nothing_but_ids() -> None:
    """A message is no authority: whoever can write to Redis can choose what is looked at, never what is true of it."""
    from config.celery import app

    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert {PURGE, REFRESH} <= ours.keys()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= ours.keys()
    for name, task in ours.items():
        for parameter in inspect.signature(task.run, eval_str=True).parameters.values():
            assert parameter.name.endswith("_id"), f"{name} takes {parameter}"
            assert parameter.annotation in {int, str, UUID}, f"{name} takes {parameter}"


def test_beat_sends_json_without_content_and_a_worker_does_the_work(
    database: Database, broker: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    queue = redis.Redis.from_url(broker.url, decode_responses=True)
    environment = {
        **database.environment, "REDIS_URL": broker.url, "DJANGO_SETTINGS_MODULE": "tests.faults.beating",
    }  # fmt: skip
    with celery(tmp_path, environment, "beat", "--schedule", str(tmp_path / "schedule")):
        wait_until(lambda: queue.llen("celery") >= 4, "beat has sent both tasks twice")
    messages = [json.loads(text) for text in queue.lrange("celery", 0, -1)]
    assert {message["headers"]["task"] for message in messages} == {PURGE, REFRESH}
    for message in messages:
        assert (message["content-type"], message["content-encoding"]) == ("application/json", "utf-8")
        arguments, named, _ = json.loads(base64.b64decode(message["body"]))
        assert (arguments, named) == ([], {})

    database.put_expired()
    worker: Celery = request.getfixturevalue("worker")
    wait_until(lambda: database.purged() and database.fetched() and not queue.llen("celery"), "the work is done")
    assert "current" in database.windows()
    # Beat had sent each job several times, as two beats would: doing it again is no error and changes nothing.
    assert not [alarm for alarm in ALARMS if alarm in worker.log], worker.log


def test_a_pickle_is_refused_unread(worker: Celery, database: Database, broker: RedisServer, tmp_path: Path) -> None:
    database.put_expired()
    send_pickle(kombu.Connection(broker.url), tmp_path / "canary")
    sender(broker.url).send_task(PURGE)
    wait_until(database.purged, "the message after the pickle is worked on")
    assert not (tmp_path / "canary").exists()
    assert REFUSED in worker.log


def test_a_message_cannot_say_what_the_time_is_or_which_code_to_run(
    worker: Celery, database: Database, broker: RedisServer
) -> None:
    """`now` from a message would purge what is alive: used assertion ids, so that a replay is taken."""
    database.put_expired()
    ours = sender(broker.url)
    ours.send_task(PURGE, kwargs={"now": "9999-01-01T00:00:00+00:00"})
    ours.send_task(REFRESH, args=["http://169.254.169.254/"])
    secret = "rlg_at_" + secrets.token_urlsafe(32)
    ours.send_task("os.system", args=[secret])
    ours.send_task("federation.flows.purge.purge_expired", kwargs={"now": "9999-01-01T00:00:00+00:00"})
    ours.send_task(PURGE)
    wait_until(database.purged, "the message after them is worked on")
    assert "current" in database.windows()
    for said in (
        "purge_expired() got an unexpected keyword argument 'now'",
        "refresh_provider_documents() takes 0 positional arguments but 1 was given",
        "unregistered task of type 'os.system'",
        "unregistered task of type 'federation.flows.purge.purge_expired'",
    ):
        worker.said(said, seconds=5)
    # Celery logs the body of what it does not know. Our logging stays in place in a worker too: JSON, and redacted.
    assert '"logger": "celery.worker.consumer.consumer"' in worker.log
    assert "[redacted]" in worker.log
    assert secret not in worker.log


# --- Redis away -------------------------------------------------------------------------------------


def test_background_work_waits_for_redis_and_is_done_later(
    database: Database, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Started before Redis, and through its restart: the worker and its beat wait, and nobody has to start them again."""
    server = RedisServer(tmp_path_factory.mktemp("restarting"))
    environment = {
        **database.environment, "REDIS_URL": server.url, "DJANGO_SETTINGS_MODULE": "tests.faults.beating",
    }  # fmt: skip
    try:
        with celery(
            tmp_path / "worker", environment, *WORKER, "-B", "--schedule", str(tmp_path / "schedule")
        ) as program:
            program.said("Cannot connect to redis://")
            database.put_expired()
            server.start()
            wait_until(database.purged, "the work is done once Redis is there")

            server.stop()
            program.said("Connection to broker lost")
            database.put_expired()
            time.sleep(1)
            program.check()
            assert not database.purged()
            server.start()
            wait_until(database.purged, "the work is done once Redis is back")
            program.check()
    finally:
        server.stop()


def test_work_that_is_killed_half_way_is_done_by_the_next(
    database: Database, broker: RedisServer, worker: Celery, metadata_host: SlowHost
) -> None:
    """Its message is given back (late acknowledgement), and nothing half done is in the way."""
    database.ask("DELETE FROM federation_providermetadata")
    metadata_host.held.clear()
    before = metadata_host.asked
    sender(broker.url).send_task(REFRESH)
    wait_until(lambda: metadata_host.asked > before, "the task is waiting for the provider")
    (pool,) = worker.children()
    pool.kill()
    metadata_host.held.set()
    wait_until(database.fetched, "the task is done after all")
    assert not pool.is_running()
    assert metadata_host.asked == before + 2
    worker.said("exited with 'signal 9 (SIGKILL)'")


# --- The embedded broker ----------------------------------------------------------------------------


def test_the_demos_worker_needs_no_server_and_ends_without_a_word(database: Database, tmp_path: Path) -> None:
    database.put_expired()
    broker = tmp_path / "broker"
    (broker / "in").mkdir(parents=True)
    options = {f"data_folder_{way}": str(broker / "in") for way in ("in", "out")}
    send_pickle(kombu.Connection("filesystem://", transport_options=options), tmp_path / "canary")
    assert len(list((broker / "in").iterdir())) == 1
    environment = {
        **database.environment, "DJANGO_SETTINGS_MODULE": "tests.faults.embedded", "ROLEGATE_TEST_FOLDER": str(broker),
    }  # fmt: skip
    with celery(tmp_path / "worker", environment, *WORKER, "-B", "--schedule", str(tmp_path / "schedule")) as program:
        wait_until(database.purged, "beat has sent and the worker has done")
        program.said(REFUSED)
        assert not (tmp_path / "canary").exists()
        said = len(program.log)
        family = program.children()
        assert len(family) >= 2  # beat, and the pool's process
        begun = time.monotonic()
        program.stop()
        assert time.monotonic() - begun < 8
        _, alive = psutil.wait_procs(family, timeout=2)
        assert alive == []
        assert not [alarm for alarm in ALARMS if alarm in program.log[said:]], program.log[said:]
