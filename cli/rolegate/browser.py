"""Is there a browser to sign in with, and how is it opened. Addresses that are opened hold no secret: other people see them in `ps`."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# In this order; www-browser and its like are left out where they would draw into the terminal.
_OPENERS = (
    "xdg-open",
    "gio",
    "x-www-browser",
    "firefox",
    "google-chrome",
    "chromium",
    "chromium-browser",
    "microsoft-edge",
)
_OF_WINDOWS = ("wslview", "powershell.exe")
WITHOUT = frozenset({"ci", "ssh", "container", "no display", "no opener"})


def is_wsl() -> bool:
    """Whether this is Linux inside Windows."""
    try:
        with open("/proc/sys/kernel/osrelease") as file:
            return "microsoft" in file.read().lower()
    except OSError:
        return False


def found(name: str) -> str | None:
    """The path of a program that is on the person's path."""
    import shutil  # loads every compressor that there is

    return shutil.which(name)


def situation(
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    wsl: Callable[[], bool] = is_wsl,
    has: Callable[[str], object] = found,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """Where we are: "desktop" or "wsl" where a browser can be opened, else why not (one of WITHOUT).

    BROWSER counts before all else: editors that work on another machine set it to a helper that opens the browser here.
    """
    env = os.environ if environ is None else environ
    if env.get("CI"):
        return "ci"
    if env.get("BROWSER"):
        return "desktop"
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return "ssh"
    if platform in {"darwin", "win32"}:
        return "desktop"
    if env.get("container") or exists("/.dockerenv") or exists("/run/.containerenv"):
        return "container"
    if wsl() and any(has(name) for name in _OF_WINDOWS):
        return "wsl"
    if not (env.get("DISPLAY") or env.get("WAYLAND_DISPLAY")):
        return "no display"
    return "desktop" if any(has(name) for name in _OPENERS) else "no opener"


def commands(
    url: str, environ: Mapping[str, str], *, platform: str = sys.platform, wsl: Callable[[], bool] = is_wsl
) -> list[list[str]]:
    """What opens the address, the best first. An address of `login.discover` or our own: no quote is in it."""
    chosen = environ.get("BROWSER", "")
    if chosen:
        import shlex

        made = []
        for part in chosen.split(";" if platform == "win32" else ":"):
            words = shlex.split(part, posix=platform != "win32")
            if words:
                made.append([word.replace("%s", url) for word in words] if "%s" in part else [*words, url])
        return made
    if platform == "darwin":
        return [["/usr/bin/open", url]]
    windows = (
        [["wslview", url], ["powershell.exe", "-NoProfile", "-Command", f"Start-Process '{url}'"]] if wsl() else []
    )
    return [*windows, *([name, "open", url] if name == "gio" else [name, url] for name in _OPENERS)]


def open_url(url: str) -> bool:
    """Opens the address in the person's browser. Its output goes nowhere: ours is read by an AWS SDK. False: nothing could be started."""
    import subprocess  # slow to load, and seldom needed

    if sys.platform == "win32" and not os.environ.get("BROWSER"):
        try:
            os.startfile(url)
        except OSError:
            return False
        return True
    for command in commands(url, os.environ):
        path = found(command[0])
        if path is None:
            continue
        try:
            process = subprocess.Popen(  # noqa: S603  no shell
                [path, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            continue
        try:
            # An opener that fails does so at once; a browser in the foreground stays.
            if process.wait(timeout=1.5) == 0:
                return True
        except subprocess.TimeoutExpired:
            return True
    return False
