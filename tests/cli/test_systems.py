"""macOS, Windows and WSL, as far as they can be had here: what decides by the system as functions, and the helper's own branches."""

from __future__ import annotations

import json
import ntpath
import os
import posixpath
from pathlib import Path

import pytest

from tests.cli.double import ACCOUNT, ROLE, GatewayDouble
from tests.cli.laptop import ROOT, Laptop

ADDRESS = "https://gate.example.com/oauth/authorize?a=b&state=s"
DESKTOP = {"DISPLAY": ":0"}


# --- Folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "environ", "home", "folder"),
    [
        (posixpath, {"XDG_STATE_HOME": "/s"}, "/home/alice", "/s/rolegate"),
        (posixpath, {"XDG_STATE_HOME": "relative"}, "/home/alice", "/home/alice/.local/state/rolegate"),
        (posixpath, {}, "/Users/alice", "/Users/alice/.local/state/rolegate"),
        (ntpath, {"LOCALAPPDATA": r"D:\Local", "XDG_STATE_HOME": r"C:\x"}, r"C:\Users\Alice", r"D:\Local\rolegate\state"),
        (ntpath, {}, r"C:\Users\Alice", r"C:\Users\Alice\AppData\Local\rolegate\state"),
    ],
)  # fmt: skip
def test_folders(path, environ: dict[str, str], home: str, folder: str) -> None:
    from rolegate.files import root

    windows = path is ntpath
    found = root("XDG_STATE_HOME", ".local/state", "state", environ=environ, home=home, windows=windows, path=path)
    assert found == folder


def test_a_relative_cache_folder_is_ignored_by_the_fast_path_too(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    laptop.environment["XDG_CACHE_HOME"] = "relative"
    assert laptop.credentials(ROLE) == laptop.credentials(ROLE)
    assert not (laptop.folder / "relative").exists()
    assert len(list((laptop.folder / ".cache/rolegate/asked").iterdir())) == 1


# --- Browsers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "platform", "here", "found"),
    [
        (DESKTOP, "linux", {"xdg-open"}, "desktop"),
        ({"WAYLAND_DISPLAY": "w"}, "linux", {"firefox"}, "desktop"),
        ({}, "linux", {"xdg-open"}, "no display"),
        (DESKTOP, "linux", set(), "no opener"),
        ({**DESKTOP, "CI": "true", "BROWSER": "x"}, "linux", {"xdg-open"}, "ci"),
        ({**DESKTOP, "SSH_CONNECTION": "a"}, "linux", {"xdg-open"}, "ssh"),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", set(), "ssh"),
        ({"SSH_CONNECTION": "a", "BROWSER": "code --open-url"}, "linux", set(), "desktop"),
        ({**DESKTOP, "container": "podman"}, "linux", {"xdg-open"}, "container"),
        (DESKTOP, "linux", {"xdg-open", "/.dockerenv"}, "container"),
        ({}, "linux", {"/run/.containerenv"}, "container"),
        ({}, "linux", {"wsl", "wslview"}, "wsl"),
        ({}, "linux", {"wsl", "powershell.exe"}, "wsl"),
        ({}, "linux", {"wsl"}, "no display"),
        (DESKTOP, "linux", {"wsl", "firefox"}, "desktop"),  # WSLg with a browser of Linux
        ({}, "darwin", set(), "desktop"),
        ({}, "win32", set(), "desktop"),
    ],
)  # fmt: skip
def test_where_there_is_a_browser(environ: dict[str, str], platform: str, here: set[str], found: str) -> None:
    from rolegate.browser import situation

    told = situation(
        environ, platform=platform, wsl=lambda: "wsl" in here, has=here.__contains__, exists=here.__contains__
    )
    assert told == found


@pytest.mark.parametrize(
    ("environ", "platform", "wsl", "first"),
    [
        ({}, "darwin", False, ["/usr/bin/open", ADDRESS]),
        ({}, "linux", False, ["xdg-open", ADDRESS]),
        ({}, "linux", True, ["wslview", ADDRESS]),
        ({"BROWSER": "code --open-url"}, "linux", True, ["code", "--open-url", ADDRESS]),
        ({"BROWSER": "a --to=%s:b"}, "linux", False, ["a", f"--to={ADDRESS}"]),
        ({"BROWSER": r"C:\Browsers\it.exe -new"}, "win32", False, [r"C:\Browsers\it.exe", "-new", ADDRESS]),
    ],
)
def test_what_opens_it(environ: dict[str, str], platform: str, wsl: bool, first: list[str]) -> None:
    from rolegate.browser import commands

    told = commands(ADDRESS, environ, platform=platform, wsl=lambda: wsl)
    assert told[0] == first
    assert (["firefox", ADDRESS] in told) == (platform == "linux" and not environ)


def test_powershell_opens_it_on_wsl(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wslview that fails, then Windows' PowerShell; both DOUBLES that note their arguments."""
    from rolegate import browser

    for name, status in (("wslview", 1), ("powershell.exe", 0)):
        tool = laptop.folder / name
        tool.write_text(
            f'#!/bin/sh\n# A DOUBLE.\nfor one in {name} "$@"; do echo "$one"; done >> {laptop.folder}/asked\nexit {status}\n'
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{laptop.folder}:/usr/bin:/bin")
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setattr(browser.commands, "__kwdefaults__", {"platform": "linux", "wsl": lambda: True})
    assert browser.open_url(ADDRESS)
    asked = (laptop.folder / "asked").read_text().splitlines()
    assert asked == ["wslview", ADDRESS, "powershell.exe", "-NoProfile", "-Command", f"Start-Process '{ADDRESS}'"]


@pytest.mark.parametrize("mark", ["'; calc; '", "\u2019; calc; \u2019", " ", "?next=x", "/../x\n"])
def test_a_gateway_cannot_write_into_the_command_that_opens_the_browser(
    double: GatewayDouble, laptop: Laptop, mark: str
) -> None:
    """PowerShell takes typographic quotes for quotes; the address of the sign-in is the gateway's word."""
    usual = double._usual("/.well-known/oauth-authorization-server", b"", None)[1]
    evil = {**usual, "authorization_endpoint": f"{double.url}/oauth/authorize{mark}"}
    double.answers["/.well-known/oauth-authorization-server"] = (200, evil)
    assert "sends its sign-in elsewhere" in laptop.run("login", double.url, status=5).stderr
    assert laptop.tabs == []


# --- Keyrings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "platform", "here", "kind"),
    [
        ({}, "win32", set(), "dpapi"),
        ({}, "darwin", {"security"}, "keychain"),
        ({}, "darwin", set(), "file"),
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, "linux", {"secret-tool"}, "secret-service"),
        ({}, "linux", {"secret-tool", f"/run/user/{os.getuid()}/bus"}, "secret-service"),
        ({}, "linux", {"secret-tool"}, "file"),
        ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}, "linux", set(), "file"),
    ],
)
def test_which_keyring_there_is(environ: dict[str, str], platform: str, here: set[str], kind: str) -> None:
    from rolegate.keyring import likely

    assert likely(environ, platform=platform, has=here.__contains__, exists=here.__contains__) == kind


# --- The helper's own branches ------------------------------------------------------------------------


class ElsewhereLaptop(Laptop):
    """The helper as on another system: see `as_another_system`."""

    platform = ""

    def command(self, *arguments: str) -> list[str]:
        return [self.python, str(ROOT / "tests/cli/as_another_system.py"), self.platform, *arguments]


def _opener(laptop: Laptop, double: GatewayDouble) -> None:
    opener = laptop.folder / "browser"
    opener.write_text(
        "#!/usr/bin/env python3\nimport sys, urllib.request, urllib.parse as p\nq = p.parse_qs(p.urlsplit(sys.argv[1]).query)\n"
        f'urllib.request.urlopen(q["redirect_uri"][0] + "?" + p.urlencode({{"code": "c", "state": q["state"][0], "iss": {double.url!r}}}))\n'
    )
    opener.chmod(0o755)


@pytest.fixture
def windows(double: GatewayDouble, tmp_path: Path) -> ElsewhereLaptop:
    laptop = ElsewhereLaptop(tmp_path / "windows")
    laptop.platform = "win32"
    laptop.environment["LOCALAPPDATA"] = str(laptop.folder / "Local")
    _opener(laptop, double)
    return laptop


def test_windows_from_sign_in_to_sign_out(double: GatewayDouble, windows: ElsewhereLaptop) -> None:
    double.access_seconds = 1  # each command renews
    assert "a file sealed by Windows" in windows.run("login", double.url).stderr
    local = windows.folder / "Local" / "rolegate"
    (session,) = local.glob("state/*/session.json")
    kept = json.loads(session.read_text())
    assert kept["store"] == "dpapi"
    assert "rlg_rt_" not in session.read_text()
    document = windows.credentials("shop-prod/ReadOnly")
    assert windows.credentials("shop-prod/ReadOnly") == document
    assert json.loads(session.read_text())["refresh"] != kept["refresh"]
    assert double.reused == []
    assert {path.name for path in local.iterdir()} >= {"config", "state", "asked"}
    assert "Signed out" in windows.run("logout").stderr
    assert not session.exists()


def test_windows_waits_for_locks(double: GatewayDouble, windows: ElsewhereLaptop) -> None:
    windows.run("login", double.url)
    (session,) = (windows.folder / "Local/rolegate").glob("state/*/session.json")
    session.write_text(json.dumps({**json.loads(session.read_text()), "access_until": 0}))
    double.delay = 0.2
    before = double.asked["/oauth/token"]
    processes = [windows.start("credentials", "--role", ROLE) for _ in range(6)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 6
    assert len(answers) == 1
    assert double.asked["/oauth/token"] == before + 1


def test_windows_passes_the_exit_status_on(double: GatewayDouble, windows: ElsewhereLaptop) -> None:
    windows.run("login", double.url)
    script = 'import os, sys; print(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]); sys.exit(7)'
    done = windows.run("exec", ROLE, "--", windows.python, "-c", script, status=7)
    assert done.stdout.startswith("http://127.0.0.1:")
    assert "$Env:AWS_ACCESS_KEY_ID = 'ASIA" in windows.run("env", ROLE).stdout


def test_macos_from_sign_in_to_sign_out(double: GatewayDouble, tmp_path: Path) -> None:
    """`security` is a DOUBLE that keeps one item in a file and notes its arguments: no secret may be in one."""
    laptop = ElsewhereLaptop(tmp_path / "mac")
    laptop.platform = "darwin"
    _opener(laptop, double)
    tool = laptop.folder / "bin" / "security"
    tool.parent.mkdir()
    kept = laptop.folder / "item"
    tool.write_text(
        f'#!/bin/sh\n# A DOUBLE of macOS\'s security.\necho "$@" >> {laptop.folder}/arguments\n'
        f'case "$1" in\n  -i) cat > {kept} ;;\n  find-generic-password) sed -n \'s/.* -w "\\(.*\\)"/\\1/p\' {kept} ;;\n'
        f"  delete-generic-password) rm {kept} ;;\nesac\n"
    )
    tool.chmod(0o755)
    laptop.environment["PATH"] = f"{tool.parent}:{laptop.environment['PATH']}"
    double.access_seconds = 1
    assert "Kept in the macOS keychain" in laptop.run("login", double.url).stderr
    assert "rlg_rt_" not in laptop.session_file().read_text()
    first = kept.read_text()
    assert laptop.credentials("shop-prod/ReadOnly")["AccountId"] == ACCOUNT
    assert kept.read_text() != first  # renewed, without a fork: macOS's libraries do not stand one
    assert double.reused == []
    done = laptop.run("exec", ROLE, "--", "sh", "-c", "exit 7", status=7)
    assert done.stdout == ""
    laptop.run("logout")
    assert not kept.exists()
    arguments = (laptop.folder / "arguments").read_text()
    assert "delete-generic-password" in arguments
    assert "rlg_" not in arguments
