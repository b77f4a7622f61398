"""Runs the helper as on another system, on this one: its own branches are the real ones, what only that system has are DOUBLES.

    python tests/cli/as_another_system.py darwin|win32 ARGUMENTS

For Windows: `nt` is posix with what nt has, msvcrt's locks are fcntl's, and DPAPI turns every bit of what it is handed. What
Windows does not have is taken away. It shows what our code asks for and in which order, not how the system answers.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.server  # noqa: F401  before the platform is changed: these decide by it what they are
import os
import posix
import shutil  # noqa: F401
import signal  # noqa: F401
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import types
from ctypes import wintypes  # noqa: F401
from pathlib import Path

# Of what Windows does not have, what we could use; the standard library's own means of starting programs stay.
MISSING = ("fork", "setsid", "getuid", "geteuid", "fchmod", "O_NOFOLLOW", "O_CLOEXEC")


def _nt() -> types.ModuleType:
    made = types.ModuleType("nt")
    for name in ("open", "close", "read", "write", "fstat", "O_RDONLY", "O_RDWR", "O_CREAT"):
        setattr(made, name, getattr(posix, name))
    made.O_BINARY = 0  # type: ignore[attr-defined]
    return made


def _msvcrt() -> types.ModuleType:
    made = types.ModuleType("msvcrt")

    def locking(handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    made.LK_NBLCK, made.locking = 2, locking  # type: ignore[attr-defined]
    return made


class _Dpapi:
    """CryptProtectData and CryptUnprotectData, as their documentation has the parameters. Notes each call's name."""

    def __init__(self) -> None:
        self._kept: list[object] = []
        self.CryptProtectData = self.CryptUnprotectData = self._turn

    def _turn(
        self, given: object, text: None, entropy: None, reserved: None, prompt: None, flags: int, made: object
    ) -> int:
        source, target = given._obj, made._obj  # type: ignore[attr-defined]
        assert (text, entropy, reserved, prompt) == (None, None, None, None)
        assert flags == 1  # CRYPTPROTECT_UI_FORBIDDEN: no window may come up under an SDK
        data = bytes(byte ^ 255 for byte in ctypes.string_at(source.data, source.size))
        buffer = ctypes.create_string_buffer(data, len(data))
        self._kept.append(buffer)
        target.size, target.data = len(data), ctypes.cast(buffer, ctypes.POINTER(ctypes.c_char))
        return 1


def main() -> int:
    """The helper's own exit status."""
    platform, arguments = sys.argv[1], sys.argv[2:]
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cli"))
    if platform == "win32":
        sys.modules |= {"nt": _nt(), "msvcrt": _msvcrt()}
        ctypes.windll = types.SimpleNamespace(  # type: ignore[attr-defined]
            crypt32=_Dpapi(), kernel32=types.SimpleNamespace(LocalFree=lambda memory: None)
        )
        for name in MISSING:
            delattr(os, name)
    sys.platform = platform
    from rolegate.app import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
