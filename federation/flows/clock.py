"""Nothing is minted under a clock that is more than a minute off (THREATS.md, "Faults")."""

from __future__ import annotations

import time

from django.db import connection

from federation.aws import sts
from federation.aws.clock import TOLERANCE_SECONDS, ClockWrong
from federation.aws.partitions import Partition


def require_right_clock(where: Partition, region: str = "") -> None:
    """Hold our clock against AWS's; where AWS cannot be asked, against the database's. Raises ClockWrong, RegionInvalid."""
    if not sts.require_right_clock(where, region):
        _compare_with_database()


def _compare_with_database() -> None:
    """The second witness. An SQLite file has no clock but ours."""
    if connection.vendor != "postgresql":
        return
    sent = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        theirs = float(cursor.fetchone()[0])
    received = time.time()
    ahead = max(0.0, sent - theirs) + min(0.0, received - theirs)
    if abs(ahead) > TOLERANCE_SECONDS:
        raise ClockWrong(
            "clock_differs_from_database",
            detail=f"{abs(ahead):.0f} seconds {'ahead' if ahead > 0 else 'behind'}; AWS could not be asked",
            retry_after=5,
        )
