"""Where the refresh token rests: the system's keyring through its own command line tool, else the session's file.

No secret is ever an argument of a program: `secret-tool` and `security -i` read it from their standard input. DPAPI is a
function of Windows itself and needs no program. Which kind is used is decided at sign-in and noted in the session, so that
nothing is probed later.
"""

from __future__ import annotations

import os
import re
import sys

from rolegate.browser import found
from rolegate.errors import LocalFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILE, SECRET_SERVICE, KEYCHAIN, DPAPI = "file", "secret-service", "keychain", "dpapi"
KINDS = (FILE, SECRET_SERVICE, KEYCHAIN, DPAPI)
# Longer than a person takes to type the password that unlocks it.
UNLOCK_SECONDS = 60
NAMES = {
    FILE: "a file",
    SECRET_SERVICE: "the system keyring",
    KEYCHAIN: "the macOS keychain",
    DPAPI: "a file sealed by Windows",
}
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")


class KeyringAway(Exception):
    """The keyring is not there, is locked, or refuses. Its text says which, without any secret."""


def likely(
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    has: Callable[[str], object] = found,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """The kind that this machine seems to have."""
    env = os.environ if environ is None else environ
    if platform == "win32":
        return DPAPI
    if platform == "darwin":
        return KEYCHAIN if has("security") else FILE
    bus = env.get("DBUS_SESSION_BUS_ADDRESS") or (hasattr(os, "getuid") and exists(f"/run/user/{os.getuid()}/bus"))
    return SECRET_SERVICE if bus and has("secret-tool") else FILE


def put(kind: str, gateway: str, token: str) -> str:
    """Keeps the token; returns what the session's file holds for it. Raises KeyringAway."""
    if not _TOKEN.fullmatch(token):
        raise KeyringAway("the token has characters that a keyring's tool may not carry")
    if kind == SECRET_SERVICE:
        _run(
            ["secret-tool", "store", "--label", f"Rolegate {gateway}", "service", "rolegate", "gateway", gateway], token
        )
        return ""
    if kind == KEYCHAIN:
        # The line that `security -i` reads is not an argument: ps shows "security -i" alone.
        line = f'add-generic-password -U -s rolegate -a "{gateway}" -l "Rolegate {gateway}" -w "{token}"\n'
        _run(["security", "-i"], line)
        if get(kind, gateway, "") != token:  # `security -i` ends with 0 whatever its lines did
            raise KeyringAway("the keychain did not keep the token")
        return ""
    if kind == DPAPI:
        from base64 import b64encode

        return b64encode(_dpapi("CryptProtectData", token.encode())).decode()
    return token


def get(kind: str, gateway: str, held: str) -> str:
    """The token; `held` is what the session's file holds. Raises KeyringAway."""
    if kind == SECRET_SERVICE:
        return _run(["secret-tool", "lookup", "service", "rolegate", "gateway", gateway]).strip()
    if kind == KEYCHAIN:
        return _run(["security", "find-generic-password", "-s", "rolegate", "-a", gateway, "-w"]).strip()
    if kind == DPAPI:
        from base64 import b64decode

        return _dpapi("CryptUnprotectData", b64decode(held)).decode()
    return held


def remove(kind: str, gateway: str) -> None:
    """Removes the token from the keyring; of a file there is nothing to do. Raises KeyringAway."""
    if kind == SECRET_SERVICE:
        _run(["secret-tool", "clear", "service", "rolegate", "gateway", gateway])
    elif kind == KEYCHAIN:
        _run(["security", "delete-generic-password", "-s", "rolegate", "-a", gateway])


def _run(command: list[str], secret: str = "") -> str:
    import subprocess

    path = found(command[0])
    if path is None:
        raise KeyringAway(f"{command[0]} is not installed")
    try:
        done = subprocess.run(  # noqa: S603  the keyring's own tool, without a shell
            [path, *command[1:]], input=secret, capture_output=True, text=True, timeout=UNLOCK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeyringAway(f"{command[0]}: {type(error).__name__}") from None
    if done.returncode:
        raise KeyringAway(f"{command[0]} ended with {done.returncode}")
    return done.stdout


def _dpapi(function: str, data: bytes) -> bytes:
    """Sealed by, and readable to, this Windows user alone (CryptProtectData in the Windows documentation)."""
    if sys.platform != "win32":
        raise KeyringAway("DPAPI is of Windows alone")
    import ctypes
    from ctypes import wintypes

    class Blob(ctypes.Structure):
        _fields_ = (("size", wintypes.DWORD), ("data", ctypes.POINTER(ctypes.c_char)))

    given = Blob(len(data), ctypes.create_string_buffer(data, len(data)))
    made = Blob()
    no_window = 0x1  # CRYPTPROTECT_UI_FORBIDDEN
    call = getattr(ctypes.windll.crypt32, function)
    if not call(ctypes.byref(given), None, None, None, None, no_window, ctypes.byref(made)):
        raise KeyringAway(f"{function} refused")
    try:
        return ctypes.string_at(made.data, made.size)
    finally:
        ctypes.windll.kernel32.LocalFree(made.data)


def lost(gateway: str, why: str) -> LocalFiles:
    """What to tell somebody whose keyring does not give the token back."""
    return LocalFiles(
        f"The keyring does not give back the sign-in to {gateway} ({why}). Unlock it, or sign in again and keep it in a file: rolegate login --store file"
    )
