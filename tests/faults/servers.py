"""Redis and PostgreSQL servers of the tests' own, to be stopped, killed and started again; and Celery as operators run it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
import pytest

from demo.processes import Child
from tests.live import ROOT
from tests.processes import free_port, need_program

WAIT_SECONDS = 90  # how long something may take on a busy machine; nothing is proven by its being quicker


def wait_until(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> float:
    """Returns the seconds that it took. Fails with `what` after `seconds`."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            pytest.fail(f"not after {seconds:.0f} s: {what}")
        # Asking costs a connection, or a query: what takes longer is asked about less often.
        time.sleep(min(0.25, 0.05 + (time.monotonic() - begun) / 20))
    return time.monotonic() - begun


def listens(port: int) -> bool:
    """Whether something takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class RedisServer:
    """A Redis with an append-only file: what was queued survives its restart."""

    def __init__(self, folder: Path) -> None:
        self._program = need_program("redis-server", "redis-server")
        self._folder = folder
        self._child: Child | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder),
                   "--save", "", "--appendonly", "yes"]  # fmt: skip
        self._child = Child("Redis", command, dict(os.environ), self._folder / "redis.log")
        wait_until(lambda: listens(self.port), "Redis answers")
        return self

    def kill(self) -> None:
        """Without a word to anybody."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.stop()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


class PostgresCluster:
    """A PostgreSQL server with a data directory of its own, run as `postgres` where the tests run as root."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not programs:
            pytest.skip("initdb is not installed: apt-get install postgresql")
        self._bin = programs[-1].parent
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # initdb refuses root
        self._folder = Path(tempfile.mkdtemp(prefix="rolegate-pg-"))  # pytest's own folders are closed to that user
        self._data = self._folder / "data"
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/gateway"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        user = self._user if os.geteuid() == 0 else None
        done = subprocess.run(
            command, cwd=self._folder, user=user, group=user, extra_groups=[] if user else None, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")

    def make(self) -> PostgresCluster:
        """A cluster on durable storage as it comes (fsync and synchronous_commit on), with one empty database, running."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, self._user, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self._folder}'\n"
            )
        self.start()
        with psycopg.connect(self.url.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE gateway")
        return self

    def start(self) -> None:
        """Returns once it takes connections, recovery done."""
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "server.log"), "-w", "start")

    def stop(self, mode: str) -> None:
        """`fast` ends every connection and shuts down; `immediate` is a crash: recovery at the next start."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def value(self, query: str) -> object:
        """The first column of the first row."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        return row[0] if row else None

    def remove(self) -> None:
        """Stop it and delete its folder."""
        with contextlib.suppress(RuntimeError):
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)


class Celery:
    """A Celery program (`worker …` or `beat …`) of `config.celery`, started and stopped as the demo does it."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self._folder = folder
        self._log = folder / "celery.log"
        program = str(Path(sys.executable).parent / "celery")
        environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment}
        self._child = Child(
            "Celery", [program, "--workdir", str(ROOT), "-A", "config.celery", *arguments], environment, self._log
        )

    @property
    def log(self) -> str:
        """Everything that it printed."""
        return self._log.read_text(errors="replace")

    def said(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the log holds `text`, and fail if the program ends before."""

        def there() -> bool:
            self.check()
            return text in self.log

        try:
            wait_until(there, f"{text!r} in the log", seconds)
        except BaseException:
            sys.stdout.write(self.log)
            raise

    def check(self) -> None:
        """Raises DemoFailed when it has ended."""
        self._child.check()

    def process(self) -> psutil.Process:
        """The program itself."""
        return psutil.Process(self._child.pid)

    def children(self) -> list[psutil.Process]:
        """Its pool's processes, and an embedded beat."""
        return psutil.Process(self._child.pid).children(recursive=True)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._child.stop()


@contextlib.contextmanager
def celery(folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Celery]:
    """Celery for the length of a block."""
    folder.mkdir(parents=True, exist_ok=True)
    program = Celery(folder, environment, *arguments)
    try:
        yield program
    finally:
        program.stop()
