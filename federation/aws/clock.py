"""Whether this machine's clock agrees with AWS's, told by the Date header of every answer that AWS gives (RFC 9110, 6.6.1).

What is signed under a wrong clock AWS refuses at best; at worst it is good for longer than five minutes, or a removed
person's claims look fresh. So nothing is minted while the clock is known to be more than a minute off.

An answer pins AWS's time to the monotonic clock, which no step of the wall clock moves. From then on each mint compares
without asking anybody: a clock that is put wrong shows at once, and one that is put right again is right at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from federation.errors import RolegateError
from federation.said import say

TOLERANCE_SECONDS = 60.0
STALE_SECONDS = (
    24 * 3600.0
)  # without time service, both clocks of a machine drift alike, and agree about the wrong time
PROBE_WHILE_WRONG_SECONDS = 3.0
PROBE_WHILE_UNKNOWN_SECONDS = 30.0


class ClockWrong(RolegateError):
    """The clock is more than a minute off; `reason` says against whose: clock_differs_from_aws, clock_differs_from_database."""

    code = "clock_wrong"
    status = 503
    sentence = "The gateway's clock is wrong, and nothing is signed until it is right. Tell your administrators: they must set it."


@dataclass(frozen=True, slots=True)
class _Pin:
    """Another clock's time less our monotonic clock's, in seconds: somewhere between `low` and `high`. `at`: monotonic."""

    source: str
    low: float
    high: float
    at: float


class Watch:
    """What one process knows of the right time. Safe to use from any thread."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self.monotonic = wall, monotonic
        self._pin: _Pin | None = None
        self._probing = threading.Lock()
        self._probed_at: float | None = None

    def forget(self) -> None:
        """Know nothing, as a new process does."""
        self._pin = self._probed_at = None

    def pin(self, source: str, moment: float, *, resolution: float, sent: float) -> None:
        """`source` said, since `sent` (monotonic), that it is `moment` (Unix time), cut to `resolution` seconds."""
        received = self.monotonic()
        self._pin = _Pin(source, moment - received, moment + resolution - sent, received)

    def observe(self, source: str, date: str | None, *, sent: float, age: str | None = None) -> None:
        """Take note of an answer's Date header. One that is missing, broken, or out of a cache (Age) says nothing."""
        if not date or age:
            return
        try:
            moment = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        self.pin(source, moment, resolution=1.0, sent=sent)

    def skew(self) -> float | None:
        """By how many seconds our clock is ahead (behind: negative), at the least; 0.0 where it may be right; None if unknown."""
        pin, now = self._pin, self.monotonic()
        if pin is None or now - pin.at > STALE_SECONDS:
            return None
        wall = self._wall()
        return max(0.0, wall - now - pin.high) + min(0.0, wall - now - pin.low)

    @property
    def source(self) -> str:
        """Who said so last."""
        return "" if self._pin is None else self._pin.source

    def is_wrong(self) -> bool:
        """Whether it is known to be more than a minute off."""
        return abs(self.skew() or 0.0) > TOLERANCE_SECONDS

    def ask(self, probe: Callable[[], None]) -> None:
        """Have `probe` get an answer to observe, if one is wanted: nothing is known yet, or what is known is bad.

        At most one at a time, and one every few seconds: however many want to mint, AWS is not asked more often. Who finds
        the clock wrong does not wait for another's probe; who knows nothing yet does.
        """
        skew = self.skew()
        if skew is not None and not self.is_wrong():
            return
        if not self._probing.acquire(blocking=skew is None):
            return
        try:
            pause = PROBE_WHILE_UNKNOWN_SECONDS if self.skew() is None else PROBE_WHILE_WRONG_SECONDS
            now = self.monotonic()
            if (self.skew() is not None and not self.is_wrong()) or (
                self._probed_at is not None and now - self._probed_at < pause
            ):
                return
            self._probed_at = now
            probe()
        finally:
            self._probing.release()

    def require_right(self, reason: str = "clock_differs_from_aws") -> None:
        """Raises ClockWrong where the clock is known to be more than a minute off."""
        skew = self.skew()
        if skew is None or abs(skew) <= TOLERANCE_SECONDS:
            return
        way = "ahead" if skew > 0 else "behind"
        raise ClockWrong(
            reason,
            detail=f"{abs(skew):.0f} seconds {way} of {self.source}",
            sentence=say(
                "The gateway's clock is {number} seconds ahead, and nothing is signed until it is right. Tell your administrators: they must set it.",
                number=round(abs(skew)),
            )
            if skew > 0
            else say(
                "The gateway's clock is {number} seconds behind, and nothing is signed until it is right. Tell your administrators: they must set it.",
                number=round(abs(skew)),
            ),
            retry_after=5,
        )


watch = Watch()
