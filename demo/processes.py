"""The gateway's own processes as the demo starts them: each in a process group of its own, its output in a log file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests

STOP_SECONDS = 10
LINES_SHOWN = 15


class DemoFailed(Exception):
    """The demo cannot go on; the text is for the person who started it."""


class Child:
    """A program beside the demo. `name` is what people read."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        # A group of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises DemoFailed with the log's end when the program has ended."""
        code = self._process.poll()
        if code is not None:
            raise DemoFailed(f"{self.name} has ended (status {code}). The end of {self.log}:\n{tail(self.log)}")

    def stop(self) -> None:
        """Ask it to end, then end what is left of its group.

        Only the program itself is asked: its children are its own to end, and a worker whose child dies calls that an error.
        """
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LINES_SHOWN:])


def run(name: str, command: Sequence[str], environment: Mapping[str, str], fine: Sequence[int] = (0,)) -> str:
    """A command that must succeed, out of reach of Ctrl-C as every child is. Returns what it wrote to standard output.

    `fine`: the exit statuses that are no failure. Raises DemoFailed with what it said.
    """
    done = subprocess.run(
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        start_new_session=True,
    )  # fmt: skip
    if done.returncode not in fine:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-LINES_SHOWN:])
        raise DemoFailed(f"{name} did not work:\n{said}")
    return done.stdout


def wait_for(url: str, child: Child, seconds: float = 60) -> None:
    """Until `url` answers 200. Raises DemoFailed when the child ends or the time is over."""
    deadline = time.monotonic() + seconds
    said = "nothing"
    while time.monotonic() < deadline:
        child.check()
        try:
            answer = requests.get(url, timeout=5, allow_redirects=False)
        except requests.RequestException as error:
            said = type(error).__name__
        else:
            if answer.status_code == 200:
                return
            said = f"{answer.status_code} {answer.text[:300]}"
        time.sleep(0.2)
    raise DemoFailed(
        f"{child.name} is not ready after {seconds:.0f} s; {url} said: {said}\nThe end of {child.log}:\n{tail(child.log)}"
    )
