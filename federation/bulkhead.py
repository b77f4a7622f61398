"""Who does not answer holds a few threads, and never all of them. Pure: no network, no database; safe to share between threads.

A gateway's process has eight threads or so. An identity provider, or a region of STS, that hangs would keep each of them for as
long as a call may take, one sign-in after the other, and soon nobody gets through to anything: no console, no other provider,
no health probe. So calls are counted by whom they ask. While some have been waiting for longer than a call should take, and while
the last ones all failed, further ones are refused at once; of the latter, one at a time finds out whether it is over.

Sources: M. Nygard, "Release It!", the patterns Bulkheads and Circuit Breaker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

MOST_WAITING: Final = 3
"""Calls to one place that may have been waiting for longer than is usual before another is refused: of eight threads some are left
where two places hang."""
MOST_WAITING_TOGETHER: Final = 5
"""The same for all places together that stand in for one another."""
FAILURES: Final = 3
"""Failures in a row, without an answer in between, after which a place is asked by one call at a time: a single one means nothing."""
FORGOTTEN_AFTER: Final = 30.0
"""Seconds after the last failure from which on nothing is known any more."""


class Bulkhead:
    """`patience`: seconds after which a call has waited for longer than is usual. `together`: the places stand in for one another,
    each call goes from one to the next, and so one call at a time finds out about all of those that fail.
    """

    def __init__(self, patience: float, *, together: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._together, self._clock = patience, together, clock
        self._lock = threading.Lock()
        self._under_way: dict[str, list[float]] = {}
        self._failures: dict[str, tuple[int, float]] = {}

    def enter(self, place: str) -> float | None:
        """Begin a call: what `leave` wants, or None where it is not to be made now."""
        with self._lock:
            now = self._clock()
            if not self._is_open(place, now):
                return None
            self._under_way.setdefault(place, []).append(now)
            return now

    def is_open(self, place: str) -> bool:
        """Whether a call would be let in now: for whoever has to prepare it first."""
        with self._lock:
            return self._is_open(place, self._clock())

    def _is_open(self, place: str, now: float) -> bool:
        if self._waiting(place, now) >= MOST_WAITING:
            return False
        if self._together and sum(self._waiting(one, now) for one in self._under_way) >= MOST_WAITING_TOGETHER:
            return False
        if not self._fails(place, now):
            return True
        asked = [one for one in self._under_way if self._fails(one, now)] if self._together else [place]
        return not any(self._under_way.get(one) for one in asked)

    def _waiting(self, place: str, now: float) -> int:
        return sum(now - began > self._patience for began in self._under_way.get(place, ()))

    def _fails(self, place: str, now: float) -> bool:
        many, last = self._failures.get(place, (0, now))
        return many >= FAILURES and now - last < FORGOTTEN_AFTER

    def leave(self, place: str, began: float, *, answered: bool) -> None:
        """End a call. `answered`: whether there was an answer at all, whatever it said."""
        with self._lock:
            under_way = self._under_way[place]
            under_way.remove(began)
            if not under_way:
                del self._under_way[place]
            if answered:
                self._failures.pop(place, None)
            else:
                many, _ = self._failures.get(place, (0, 0.0))
                self._failures[place] = many + 1, self._clock()

    def forget(self) -> None:
        """Know of no failure, as a new process does."""
        with self._lock:
            self._failures.clear()
