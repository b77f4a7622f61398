"""Somebody's machine with the helper on it: folders of their own, nothing of ours in the environment, and the lowest Python there is."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cli"
TIMEOUT = 60
# The package itself, for what is tested as a function.
sys.path.insert(0, str(PACKAGE))


@functools.cache
def lowest_python() -> str:
    """The lowest Python from 3.9 on that this machine has; at worst the one of the tests."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))).glob("versions/3.*/bin/python"))
    for minor in range(9, 15):
        of_pyenv = [str(path) for path in pyenv if path.parts[-3].split(".")[:2] == ["3", str(minor)]]
        for path in (shutil.which(f"python3.{minor}"), *of_pyenv):
            asked = [path or "false", "-I", "-c", "import ssl, ctypes, sys; print(*sys.version_info[:2])"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=TIMEOUT)
            if done.returncode == 0 and done.stdout.split() == ["3", str(minor)]:
                return str(path)
    return sys.executable


class Laptop:
    """One person's machine. `who` is whom its browser signs in as; `decision` what they click then."""

    def __init__(self, folder: Path, *, who: str = "alice", decision: str = "allow") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tabs_file = folder / "tabs"
        opener = folder / "browser"
        opener.write_text(
            f'#!/bin/sh\ncd {ROOT} && env -u PYTHONPATH {sys.executable} -m tests.cli.visitor_browser {who} {decision} {self.tabs_file} "$1" 2>>{folder}/browser.log\n'
        )
        opener.chmod(0o755)
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm-256color",
            "XDG_CONFIG_HOME": str(folder / "config"), "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"), "XDG_DATA_HOME": str(folder / "data"),
            "BROWSER": str(opener), "PYTHONPATH": str(PACKAGE), "ROLEGATE_DEBUG": "1",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(folder / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws-credentials"),
        }  # fmt: skip
        self.python = lowest_python()
        self.prelude = ""

    def command(self, *arguments: str) -> list[str]:
        """What is executed; after `prelude`, where a test shortens what the helper waits for."""
        if self.prelude:
            code = f"import sys; from rolegate import app, browser, files, login, web; {self.prelude}; sys.exit(app.run(sys.argv[1:]))"
            return [self.python, "-c", code, *arguments]
        return [self.python, "-m", "rolegate", *arguments]

    def run(self, *arguments: str, status: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """One command, ended; asserts its exit status unless that is None. No terminal."""
        done = subprocess.run(
            self.command(*arguments), env={**self.environment, **variables}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=TIMEOUT, check=False, cwd=self.folder,
        )  # fmt: skip
        if status is not None:
            assert done.returncode == status, (arguments, done.returncode, done.stdout[:300], done.stderr)
        return done

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """One command, running."""
        return subprocess.Popen(
            self.command(*arguments), env={**self.environment, **variables}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # xdist has its workers ignore it, and so would we
        )  # fmt: skip

    def credentials(self, role: str, *more: str, **variables: str) -> dict[str, Any]:
        """The document of credential_process."""
        return dict(json.loads(self.run("credentials", "--role", role, *more, **variables).stdout))

    @property
    def tabs(self) -> list[str]:
        """The addresses that were opened in the browser."""
        return self.tabs_file.read_text().splitlines() if self.tabs_file.exists() else []

    def cached(self, pattern: str = "*") -> list[Path]:
        """Files of the gateways' caches."""
        return sorted((self.folder / "cache" / "rolegate").glob(f"*/{pattern}"))

    def session_file(self) -> Path:
        """The one session.json."""
        (found,) = (self.folder / "state" / "rolegate").glob("*/session.json")
        return found
