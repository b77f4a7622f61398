"""Cached credentials, before anything else is imported: an AWS SDK runs this at the start of every process.

It runs in three ways: first of all in the installed command (`main`), at the head of the one-file .pyz (`main`), and
alone, as the script that `rolegate configure` writes into profiles (`configured`). It may serve credentials or pass on
to `app`; it decides nothing else. A cache file is a line "rolegate-1 FROM UNTIL" (seconds since 1970 by this machine's
clock, between which it may be served), then the document of credential_process.
"""

import sys
from time import time

if sys.platform == "win32":
    import nt as system
    from os import _exit
else:
    import posix as system
    from posix import _exit

FLAGS = system.O_RDONLY | getattr(system, "O_CLOEXEC", 0) | getattr(system, "O_BINARY", 0)


def read(path: str) -> bytes:
    """A small file's content, b"" where there is none, or where somebody else could have read or written it."""
    try:
        handle = system.open(path, FLAGS)
    except OSError:
        return b""
    try:
        status = system.fstat(handle)
        if sys.platform != "win32" and (status.st_uid != system.geteuid() or status.st_mode & 0o077):
            return b""
        return system.read(handle, 65536)
    finally:
        system.close(handle)


def fresh(path: str) -> bytes:
    """The document in this cache file, b"" unless it may be served now."""
    head, _, body = read(path).partition(b"\n")
    mark, _, span = head.partition(b" ")
    since, _, until = span.partition(b" ")
    if (
        mark == b"rolegate-1"
        and since.isdigit()
        and until.isdigit()
        and int(since) <= time() + 60
        and time() < int(until)
    ):
        return body
    return b""


def hold(path: str) -> int:
    """The lock of this cache file: at once, or when whoever has it and fetches what we want is done. -1 where there are no locks.

    Those who wait do so for a shared lock: all of them are let go at the same moment, not one after the other's end.
    """
    if sys.platform == "win32":
        return -1
    try:
        import fcntl

        handle = system.open(path + ".lock", system.O_RDWR | system.O_CREAT | system.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if not fresh(path):  # whoever had it has failed: the next one tries, alone
                fcntl.flock(handle, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return -1
    return handle


def serve(path: str) -> "int | None":
    """None once the document is written: it was fresh, or became so while we waited. Else the lock to go on with (-1: none)."""
    body, held = fresh(path), -1
    if not body:
        held = hold(path)
        body = fresh(path) if held >= 0 else b""
    if not body:
        return held
    try:
        while body:
            body = body[system.write(1, body) :]
    except OSError:
        _exit(1)  # whoever asked has gone
    return None


def configured(cache: str, library: str, arguments: "list[str]") -> int:
    """What the script of `configure` calls: with a cache file's name, then what the full helper is asked on a miss."""
    began = time()
    try:
        held = serve(cache + arguments[0])
        if held is None:
            _exit(0)  # what the interpreter would tidy up takes longer than all that was done, and we leave nothing
        sys.path.append(library)  # last: what lies beside us must not stand before the standard library
        from rolegate.app import run
    except KeyboardInterrupt:
        return 130
    except ImportError:
        sys.stderr.write(
            f"rolegate: the helper is no longer at {library}. Install it again, then run: rolegate configure\n"
        )
        return 1
    return run(["credentials", *arguments[1:]], held=held, since=began)


def note_of(arguments: "list[str]", environ: "dict[str, str]") -> "tuple[str, bytes]":
    """Where it is noted which cache file answered these very arguments last time: the note's path and its first line."""
    said = ascii([*arguments, environ.get("ROLEGATE_GATEWAY", "")])
    root = environ.get("XDG_CACHE_HOME", "")
    if sys.platform == "win32":
        root = environ.get("LOCALAPPDATA", "")
    elif root[:1] != "/":  # the XDG specification: a relative path is to be ignored
        root = environ.get("HOME", "") + "/.cache"
    name = "".join(letter if letter.isalnum() else "_" for letter in said)[-100:]
    return f"{root}/rolegate/asked/{name}", said.encode()


def main() -> int:
    """The command's entry point. Returns the exit status."""
    began, held, arguments = time(), -1, sys.argv[1:]
    try:
        if arguments and arguments[0] == "credentials":
            from os import environ  # loaded already, by the interpreter's own start

            path, said = note_of(arguments, environ)  # type: ignore[arg-type]
            line, _, target = read(path).partition(b"\n")
            if line == said and target:
                found = serve(target.decode())
                if found is None:
                    _exit(0)  # as in `configured`
                held = found
        if sys.version_info < (3, 9):
            sys.stderr.write("rolegate: this is Python %d.%d; rolegate needs 3.9 or newer\n" % sys.version_info[:2])
            return 1
        from rolegate.app import run
    except KeyboardInterrupt:
        return 130
    return run(arguments, held=held, since=began)
