"""In a terminal, which is tmux here: a choice among several roles, a code with its QR code, Ctrl-C; and the README's picture."""

from __future__ import annotations

import fcntl
import html
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.double import ACCOUNT, GatewayDouble
from tests.cli.laptop import ROOT, Laptop
from tests.cli.town import Town
from tests.processes import need_program

COLOURS = ("#15191e", "#e06c6c", "#7ec27e", "#d9b15f", "#7aa5e0", "#c08bd6", "#62b9b9", "#d5d9de")


class Terminal:
    """A tmux of the test's own, with a plain shell in it."""

    def __init__(self, laptop: Laptop, folder: Path, columns: int = 100, rows: int = 42, shell: str = "bash") -> None:
        self._tmux = [need_program("tmux", "tmux"), "-S", str(folder / "tmux"), "-f", "/dev/null"]
        prompt = {"PS1": "$ ", "HISTFILE": ""}
        self._environment = {**laptop.environment, **prompt, "PATH": f"{folder}:{laptop.environment['PATH']}"}
        (folder / "rolegate").write_text(f'#!/bin/sh\nexec {laptop.python} -m rolegate "$@"\n')
        (folder / "rolegate").chmod(0o755)
        plain = {"bash": ["bash", "--norc", "--noprofile"], "zsh": ["zsh", "-f"], "fish": ["fish", "--no-config"]}[
            shell
        ]
        command = [need_program(shell, shell), *plain[1:]]
        self.run("new-session", "-d", "-x", str(columns), "-y", str(rows), *command)

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._tmux, *arguments], env=self._environment, capture_output=True, text=True, check=True, timeout=20
        ).stdout

    def type(self, text: str) -> None:
        self.run("send-keys", "-l", text)
        self.run("send-keys", "Enter")

    def key(self, name: str) -> None:
        self.run("send-keys", name)

    def screen(self, *, colours: bool = False) -> str:
        return self.run("capture-pane", "-p", *(["-e"] if colours else []))

    def until(self, pattern: str, seconds: float = 30) -> str:
        """The screen once it holds the pattern. Raises AssertionError with what it holds instead."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, text := self.screen(), re.DOTALL if pattern.startswith(r"\A") else 0):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        return text

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened = []

    def make(laptop: Laptop, **options: Any) -> Terminal:
        opened.append(Terminal(laptop, tmp_path, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_a_choice_among_several(double: GatewayDouble, laptop: Laptop, terminal: Callable[..., Terminal]) -> None:
    double.roles = [
        double.role("shop-prod", ACCOUNT, "ReadOnly"),
        double.role("shop-dev", "222233334444", "ReadOnly", "development"),
    ]
    double.sign_in(laptop)
    screen = terminal(laptop)
    screen.type("rolegate exec ReadOnly -- sh -c 'echo chosen $ROLEGATE_ACCOUNT'")
    assert "shop-dev/ReadOnly" in screen.until(r"Which role\?")
    screen.type("prod")
    screen.until("chosen shop-prod")


def test_a_code_and_its_qr_code(stage: Town, laptop: Laptop, terminal: Callable[..., Terminal]) -> None:
    screen = terminal(laptop)
    screen.type(f"rolegate login {stage.url} --device")
    text = screen.until(r"Type  [A-Z]{4}-[A-Z]{4}")
    assert text.count("█") > 50
    screen.key("C-c")
    screen.type("echo status $?")
    screen.until("status 130")


def test_whoever_waits_for_another_sign_in_is_told(
    double: GatewayDouble, laptop: Laptop, terminal: Callable[..., Terminal]
) -> None:
    double.sign_in(laptop, access=False)
    with laptop.session_file().with_name("session.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        screen = terminal(laptop)
        screen.type("rolegate roles")
        screen.until("Another rolegate is signing in to")
    screen.until("shop-prod +111122223333")


def test_secrets_are_not_shown_unasked(
    double: GatewayDouble, laptop: Laptop, terminal: Callable[..., Terminal]
) -> None:
    double.sign_in(laptop)
    screen = terminal(laptop)
    screen.type("rolegate env shop-prod/ReadOnly")
    assert "secretOfTheDouble" not in screen.until("would show a secret")


def test_ctrl_c_reaches_the_child_once(
    double: GatewayDouble, laptop: Laptop, terminal: Callable[..., Terminal]
) -> None:
    """The terminal sends it to both; passed on as well, it would be a second one, which many programs take for "at once"."""
    double.sign_in(laptop)
    screen = terminal(laptop)
    screen.type(
        "rolegate exec shop-prod/ReadOnly -- bash -c 'trap \"echo got it\" INT; echo ready; for i in 1 2 3 4; do sleep 0.5; done; exit 3'; echo status $?"
    )
    screen.until("(?m)^ready")
    screen.key("C-c")
    assert len(re.findall("(?m)got it$", screen.until("status 3"))) == 1


_SETUP = {
    "bash": 'eval "$(rolegate completion bash)"',
    "zsh": 'autoload -U compinit && compinit -u -D && eval "$(rolegate completion zsh)"',
    "fish": "rolegate completion fish | source",
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(double: GatewayDouble, laptop: Laptop, terminal: Callable[..., Terminal], shell: str) -> None:
    """A word that is begun, one that is not, a value of an option, and a command behind the dashes."""
    double.sign_in(laptop)
    laptop.run("roles")
    (laptop.folder / "only-file-here").touch()
    screen = terminal(laptop, shell=shell)
    screen.type(f"cd {laptop.folder}; {_SETUP[shell]}; clear; echo rea''dy")
    screen.until("(?m)^ready")
    for typed, completed in (
        ("rolegate exec shop-p", "rolegate exec shop-prod/ReadOnly"),
        ("rolegate console ", "rolegate console shop-prod/ReadOnly"),
        ("rolegate credentials --format power", "rolegate credentials --format powershell"),
        ("rolegate exec --read", "rolegate exec --read-only"),
        ("rolegate conso", "rolegate console"),
        ("rolegate exec shop-prod/ReadOnly -- cat only-f", "-- cat only-file-here"),
    ):
        screen.run("send-keys", "-l", typed)
        screen.key("Tab")
        screen.until(re.escape(completed), 10)
        screen.key("C-u")
        screen.key("C-l")
        screen.until(r"\A((?!rolegate).)*\Z")


def test_the_story_of_the_readme(
    stage: Town, laptop: Laptop, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """From a machine that knows nothing to a listing of S3; with ROLEGATE_TEST_SCREENSHOTS=1 it becomes docs/images/cli.png."""
    aws = "/usr/bin/aws"
    if not Path(aws).exists():
        pytest.skip("the AWS CLI is not installed: apt-get install awscli")
    (tmp_path / "aws").write_text(f'#!/bin/sh\nexec env -u PYTHONPATH {aws} --endpoint-url {stage.aws.url} "$@"\n')
    (tmp_path / "aws").chmod(0o755)
    del laptop.environment["AWS_CONFIG_FILE"]
    screen = terminal(laptop, columns=104, rows=30)
    screen.type("clear")
    for command, expected in (
        (f"rolegate login {stage.url}", "Next: rolegate roles"),
        ("rolegate roles", "shop-staging +444455556666"),
        ("rolegate configure", "Try: aws --profile"),
        ("aws --profile shop-prod-ReadOnly s3 ls", "shop-prod-orders"),
        (
            "rolegate exec shop-prod/ReadOnly --read-only -- aws sts get-caller-identity --query Arn",
            ":assumed-role/ReadOnly/",
        ),
    ):
        screen.type(command)
        screen.until(rf"{expected}[^$]*\n\$\s*\Z", 60)  # with the next prompt: nothing is typed ahead
    if os.environ.get("ROLEGATE_TEST_SCREENSHOTS") == "1":
        _picture(screen.screen(colours=True), ROOT / "docs" / "images" / "cli.png")


def _picture(text: str, path: Path) -> None:
    """The screen with its colours, drawn by Chromium."""
    from playwright.sync_api import sync_playwright

    lines = []
    for line in text.rstrip().splitlines():
        made, style = "", ""
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b["):
                codes = [int(code or 0) for code in part[2:-1].split(";")]
                colour = next((COLOURS[code - 30] for code in codes if 30 <= code <= 37), "")
                style = (
                    f"color:{colour}"
                    if colour
                    else "font-weight:bold;color:#fff"
                    if 1 in codes
                    else "color:#8b95a1"
                    if 2 in codes
                    else ""
                )
            elif part:
                made += f'<span style="{style}">{html.escape(part)}</span>'
        lines.append(f'<b style="color:#7ec27e">$</b>{made.replace("$", "", 1)}' if line.startswith("$ ") else made)
    page = (
        '<body style="margin:0;background:#fff"><pre style="margin:0;padding:22px 26px;border-radius:10px;background:#15191e;color:#d5d9de;'
        'font:15px/1.42 \'DejaVu Sans Mono\',monospace;width:max-content">' + "\n".join(lines) + "</pre></body>"
    )  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need_program("chromium", "chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(device_scale_factor=1.5)
        view.set_content(page)
        view.locator("pre").screenshot(path=path)
        browser.close()
