"""Programs that the tests run beside themselves, each on a loopback port of its own, and how a missing one is skipped aloud."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import requests

START_SECONDS = 90  # of a gateway that shares the machine with four others, and then some
# Below those that Linux takes for connections (net.ipv4.ip_local_port_range begins with 32768).
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A loopback port that nothing listens on now, and that nobody else is given until the program is there to take it.

    Whoever asks the kernel for one (port 0) has it taken away again: between the question and a server's start it goes to
    the next connection of any process. So every test process of this user takes its ports from one counter in a file.
    """
    with (Path(tempfile.gettempdir()) / f"rolegate-test-port-{os.getuid()}").open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        last = int(counter.read() or PORTS[0])
        for step in range(1, len(PORTS) + 1):
            port = PORTS[(last - PORTS[0] + step) % len(PORTS)]
            with socket.socket() as listener:
                try:
                    listener.bind(("127.0.0.1", port))
                except OSError:
                    continue
            counter.truncate(0)
            counter.write(str(port))
            return port
    raise RuntimeError(f"none of the ports {PORTS[0]} to {PORTS[-1]} is free")


def need_program(name: str, package: str) -> str:
    """Its path, or skip saying which Debian package has it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path


def need_file(path: Path, package: str) -> Path:
    """The path, or skip saying which package brings that file."""
    if not path.exists():
        pytest.skip(f"{path} is missing: install {package}")
    return path


class Process:
    """A program in a process group of its own, ended as a whole; what it prints goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._command = command
        self._environment = dict(environment) if environment is not None else None
        self._folder = folder
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: str) -> Process:
        """Start, and return once the URL `ready` answers with a status below 500. Raises RuntimeError with the log's end."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=self._environment, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if requests.get(ready, timeout=5, allow_redirects=False).status_code < 500:
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"{self._command[0]} did not answer at {ready}:\n{self.tail()}")

    @property
    def pid(self) -> int:
        """The process's id. Raises AssertionError when it does not run."""
        assert self._process is not None
        return self._process.pid

    def tail(self, lines: int = 40) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the whole group: first asked, then made to."""
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            try:
                self._process.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
        self._process = None
