"""The demo's broker: kombu's, over files, made safe for a reader that comes in the middle of a write.

kombu opens a message's file first and writes it then. A worker that looks in between finds a message of no bytes, calls that
an unrecoverable error, and ends. Here a message gets its name once it is whole. Never for production: that has Redis.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

T = TypeVar("T")
# The `type: ignore`s: kombu has no types, unless stubs for it are installed, which say other things than its code does.
_TRIES, _PAUSE = 100, 0.01


def _once_written(read: Callable[[], T]) -> T:
    """What `read` makes of a table that another process may just be writing for the first time."""
    for _ in range(_TRIES):
        try:
            return read()
        except ValueError:  # no JSON yet
            time.sleep(_PAUSE)
    return read()


class Channel(filesystem.Channel):  # type: ignore[misc,unused-ignore]
    """kombu's channel over files."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override,unused-ignore]
        # Readers take them by name. kombu counts milliseconds, in which two messages may fall and change places.
        name = f"{time.monotonic_ns():020}_{uuid.uuid4()}.{queue}.msg"
        # Not a queue's name to any reader, and on the same file system.
        fresh = Path(self.data_folder_out) / f"{name}.new"
        try:
            fresh.write_text(dumps(payload), encoding="utf-8")  # type: ignore[no-untyped-call,unused-ignore]
            fresh.replace(Path(self.data_folder_out) / name)
        except OSError as error:
            raise ChannelError(f"Cannot add {name!r} to {self.data_folder_out}") from error

    def get_table(self, exchange: str) -> Any:
        """Which queues an exchange leads to."""
        read = super().get_table
        return _once_written(lambda: read(exchange))  # type: ignore[no-untyped-call,unused-ignore]

    def _queue_bind(self, *args: Any) -> None:
        bind = super()._queue_bind
        _once_written(lambda: bind(*args))  # type: ignore[no-untyped-call,unused-ignore]


class Transport(filesystem.Transport):  # type: ignore[misc,unused-ignore]
    """kombu's transport over files, with our channel."""

    Channel = Channel
