"""Folders, private files and locks: the one place that writes anything, and the one that refuses what others can read.

A private file is 0600 in a 0700 folder of the person's own, replaced as a whole: a reader sees the old or the new one,
and whoever is killed half way leaves at most a `.new` beside it, which the next writer overwrites. Locks are flock's:
the operating system drops them with the process, so none is ever stale. On Windows, folders below %LOCALAPPDATA% are the
person's own by inheritance, and locks are byte ranges of the lock file.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

from rolegate.errors import LocalFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Any

WINDOWS = sys.platform == "win32"
FILE_BYTES = 32 * 1024 * 1024


def root(
    variable: str,
    default: str,
    name: str,
    *,
    environ: Mapping[str, str],
    home: str,
    windows: bool = WINDOWS,
    path: Any = os.path,
) -> str:
    """A folder of ours: on Windows `name` below %LOCALAPPDATA%, else below the XDG variable or, of `home`, its default.

    `path`: ntpath or posixpath.
    """
    if windows:
        local = environ.get("LOCALAPPDATA") or path.join(home, "AppData", "Local")
        return str(path.join(local, "rolegate", *([name] if name else [])))
    given = environ.get(variable, "")
    # The XDG specification: a relative path is to be ignored.
    return str(path.join(given if path.isabs(given) else path.join(home, *default.split("/")), "rolegate"))


def _root(variable: str, default: str, name: str) -> str:
    return root(variable, default, name, environ=os.environ, home=os.path.expanduser("~"))


def config_folder() -> str:
    """Settings that hold no secret."""
    return _root("XDG_CONFIG_HOME", ".config", "config")


def state_folder() -> str:
    """Sessions: what must outlive a cleared cache."""
    return _root("XDG_STATE_HOME", ".local/state", "state")


def data_folder() -> str:
    """The script that profiles call."""
    return _root("XDG_DATA_HOME", ".local/share", "data")


def cache_folder() -> str:
    """Role lists and credentials."""
    return _root("XDG_CACHE_HOME", ".cache", "")


def escaped(text: str) -> str:
    """`text` as a part of a file's name, different for different texts, also where letters' case does not count."""
    made = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in ".-") else f"_{ord(letter):02x}"
        for letter in text
    )
    if len(made) > 120 or made.startswith("."):
        import hashlib

        made = f"{made.lstrip('.')[:80]}_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    return made


def make_folder(path: str) -> None:
    """The folder, 0700 where it is made here. Raises LocalFiles."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise LocalFiles(
            f"The folder {path} cannot be made: {error.strerror}. Make it, or set the XDG variables."
        ) from error


def _check_folder(path: str) -> None:
    if sys.platform == "win32":
        return
    status = os.stat(path)
    if status.st_uid != os.geteuid():
        raise LocalFiles(
            f"{path} belongs to somebody else. Remove it, or set HOME and the XDG variables to your own folders."
        )
    if status.st_mode & 0o077:
        raise LocalFiles(f"Others can enter {path}, where secrets are kept. Run: chmod -R go= {path}")


def check_private(handle: int, path: str) -> None:
    """Raises LocalFiles when this open file is not the person's own, or others can read or write it."""
    if sys.platform == "win32":
        return
    status = os.fstat(handle)
    if status.st_uid != os.geteuid():
        raise LocalFiles(f"{path} belongs to somebody else. Remove it.")
    if status.st_mode & 0o077:
        raise LocalFiles(
            f"Others can read {path}, which holds a secret. Run: chmod 600 {path}; then sign in anew, and think about who may have read it."
        )


def read_private(path: str) -> bytes | None:
    """The content, None where there is no such file. Raises LocalFiles when others can read it."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalFiles(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(handle, "rb") as file:
        _check_folder(os.path.dirname(path))
        check_private(file.fileno(), path)
        return file.read(FILE_BYTES)


def write_private(path: str, content: bytes, *, sync: bool = False, locked: bool = True) -> None:
    """Replaces the file as a whole. `sync`: also before a power cut. `locked`: the caller holds the lock that goes with it.

    Raises LocalFiles.
    """
    folder = os.path.dirname(path)
    make_folder(folder)
    _check_folder(folder)
    new = f"{path}.new" if locked else f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        handle = os.open(new, flags | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        replace(new, path)
    except OSError as error:
        raise LocalFiles(
            f"{path} cannot be written: {error.strerror}. Free some space, or correct the folder's rights."
        ) from error


def replace(new: str, path: str) -> None:
    """os.replace; on Windows again for a while where a reader has the file open."""
    for attempt in range(50):
        try:
            os.replace(new, path)
        except PermissionError:
            if not WINDOWS or attempt == 49:
                raise
            time.sleep(0.02)
        else:
            return


def remove(path: str) -> bool:
    """Whether there was such a file."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LocalFiles(f"{path} cannot be removed: {error.strerror}.") from error
    return True


def clear(folder: str, *, keep: str = ".lock") -> None:
    """Removes the folder's files, but not lock files: somebody may be waiting on one."""
    for name in names_in(folder):
        path = os.path.join(folder, name)
        if not name.endswith(keep) and stat.S_ISREG(os.lstat(path).st_mode):
            remove(path)


def names_in(folder: str) -> Iterator[str]:
    """The names of what is in the folder, nothing where there is none."""
    try:
        yield from sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return


class _Patience:
    """Says the sentence once, where a terminal is there to read it and the `with` lasts for longer than two seconds."""

    def __init__(self, sentence: str) -> None:
        self._timer: threading.Timer | None = None
        if sentence and sys.stderr is not None and sys.stderr.isatty():
            import threading

            self._timer = threading.Timer(2, lambda: print(sentence, file=sys.stderr, flush=True))
            self._timer.daemon = True

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # a thread that lingers would forbid the fork that renews


class Lock:
    """An exclusive lock, waited for, for the length of a `with`. `handle`: one that is held already and only to be released.
    One of another file is let go.

    `waiting`: a sentence for somebody who sits there and has waited for two seconds. Where the file system knows no locks, it
    goes on without: then two processes may do the same work.
    """

    def __init__(self, path: str, handle: int = -1, *, waiting: str = "") -> None:
        self.path = path
        self.handle = handle
        self.waiting = waiting

    def __enter__(self) -> Lock:
        if self.handle >= 0:
            if self._is_ours():
                return self
            os.close(self.handle)
        make_folder(os.path.dirname(self.path))
        try:
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            self._wait()
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EROFS, errno.ENOSPC}:
                raise LocalFiles(
                    f"{self.path} cannot be locked: {error.strerror}. Correct the folder's rights."
                ) from error
        return self

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.handle), os.stat(self.path))
        except OSError:
            return False

    def _wait(self) -> None:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with _Patience(self.waiting):
                    fcntl.flock(self.handle, fcntl.LOCK_EX)
            return
        import msvcrt

        while True:
            try:
                msvcrt.locking(self.handle, msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
