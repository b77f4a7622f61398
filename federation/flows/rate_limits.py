"""Rate limits per person and per address, counted in the database: right with Redis gone and across processes.

Two fixed windows are weighed together (a sliding estimate), so that the edge of a window gives nobody a double share.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.conf import settings

from federation.errors import RateLimited
from federation.models import compiled
from federation.models.access import RateWindow

Scope = Literal["sign_in", "token", "device", "credentials", "scim", "staff_refused", "requests", "explain"]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `person` uses by one person and `address` by one network address, in `seconds`.

    `refused`: what a refused attempt counts for.
    """

    seconds: int
    person: int
    address: int
    refused: int = 1


# A whole company signs in behind one NAT at nine in the morning, two requests each, and fetches credentials: the limits
# of an address stop floods, not people. A refused attempt weighs more, so that forgeries and guesses end far earlier. What was
# begun here is counted apart from the rest: else one colleague's forgeries would be the end of everybody's morning.
LIMITS: dict[Scope, Limit] = {
    "sign_in": Limit(60, 20, 30_000, refused=10),
    "token": Limit(60, 60, 30_000, refused=10),
    "device": Limit(60, 10, 600),
    "credentials": Limit(60, 600, 30_000),
    # The first load of a company is some thousand requests by one token, as fast as they are answered.
    "scim": Limit(60, 12_000, 600, refused=10),
    # Asking for access: each request may send letters to a whole team.
    "requests": Limit(60, 30, 3_000),
    # What a page, or a program that a person has paired, works out anew at each question: a loop of one person's would
    # take the processors that everybody else signs in with.
    "explain": Limit(60, 600, 30_000),
    # Only refusals are counted: somebody who tries every door of the console is recorded, but does not fill the log.
    "staff_refused": Limit(60, 60, 600),
}


def _counting(key: str, slot: int, weight: int = 1) -> compiled.Statement:
    """The statement that adds `weight` to `slot` of `key` and tells the counts of this slot and of the one before; atomic."""
    table = compiled.table(RateWindow)
    before = f"(SELECT earlier.count FROM {table} earlier WHERE earlier.key = %s AND earlier.slot = %s)"  # noqa: S608  ours
    sql = (
        f"INSERT INTO {table} (key, slot, count) VALUES (%s, %s, %s) "  # noqa: S608  the table's name is ours
        f"ON CONFLICT (key, slot) DO UPDATE SET count = {table}.count + EXCLUDED.count RETURNING count, {before}"
    )
    return sql, [key, slot, weight, key, slot - 1]


def _count(
    key: str, slot: int, weight: int = 1, *, beside: Sequence[compiled.Statement] = ()
) -> tuple[int, int, list[compiled.Answer]]:
    """Count; returns the counts of this slot and of the one before, and what the statements `beside` gave. One round trip.

    Not waited for until it is on the disk: behind a company's one address everybody counts in one row, and would queue for
    the disk at nine in the morning. A database that crashes forgets the counts of its last second.
    """
    counted, *others = compiled.ask(_counting(key, slot, weight), *beside, durable=False)
    now, before = counted.rows[0]
    return now, before or 0, others


def _key(scope: Scope, who: str) -> str:
    return f"{scope}:{hashlib.sha256(who.encode()).hexdigest()[:48]}"


def _check(
    scope: Scope, who: str, most: int, limit: Limit, now: datetime, *, beside: Sequence[compiled.Statement] = ()
) -> list[compiled.Answer]:
    seconds = limit.seconds
    stamp = now.timestamp()
    slot = int(stamp // seconds)
    current, before, others = _count(_key(scope, who), slot, beside=beside)
    elapsed = (stamp % seconds) / seconds
    over = current + before * (1 - elapsed) - most
    if over > 0:
        wait = seconds * _windows_to_wait(current, before, elapsed, most)
        raise RateLimited(
            f"{scope}_rate", retry_after=max(1, math.ceil(round(wait, 3))), told=(_key(scope, f"told {who}"), slot)
        )
    return others


def _windows_to_wait(current: int, before: int, elapsed: float, most: int) -> float:
    """After how many window lengths one more use would pass, if none comes until then.

    Not merely the rest of the window: what was used in it fades away only as the next one passes.
    """
    if current + 1 <= most:
        return 1 - (most - current - 1) / before - elapsed  # enough of the window before has faded within this one
    return 1 - elapsed + max(0.0, 1 - (most - 1) / current)


def is_worth_an_event(error: Exception) -> bool:
    """False for a refusal by a limit that was told of in this window already: of a flood, the audit log tells once a window.

    Otherwise the flood would grow the log without end, and hold the lock that every sign-in and every mint waits for. Asking
    counts as telling, so that of many who are refused at once one writes: ask once, outside the transaction that failed.
    """
    told = error.context.get("told") if isinstance(error, RateLimited) else None
    return told is None or _count(*told)[0] == 1


def _network(address: str) -> str:
    """What is counted as one address: of IPv6 the /64 that one customer gets, or a flood would have 2^64 addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def hit(scope: Scope, *, person: str | None, address: str, now: datetime, begun: bool = False) -> None:
    """Count one use and raise RateLimited (with `retry_after` seconds) above the limit. Call outside transactions:
    a refused attempt must count too.

    `begun`: it begins something, or brings back once what was begun here; then it is counted apart from what anybody may send,
    and from what is refused.
    """
    if person:
        limit = LIMITS[scope]
        _check(scope, f"person {person}", limit.person * settings.ROLEGATE_RATE_FACTOR, limit, now)
    if address:
        _check_address(scope, address, now, begun=begun)


def hit_and_ask(
    scope: Scope, *, address: str, now: datetime, question: compiled.Statement, begun: bool = False
) -> compiled.Answer:
    """`hit` by an address, and in the same round trip a question that only reads. Returns its answer; raises as `hit`."""
    if not address:
        return compiled.ask(question)[0]
    return _check_address(scope, address, now, begun=begun, beside=[question])[0]


def _check_address(
    scope: Scope, address: str, now: datetime, *, begun: bool, beside: Sequence[compiled.Statement] = ()
) -> list[compiled.Answer]:
    limit = LIMITS[scope]
    most = limit.address * settings.ROLEGATE_RATE_FACTOR
    return _check(scope, _of_address(address, begun=begun), most, limit, now, beside=beside)


def _of_address(address: str, *, begun: bool) -> str:
    return f"address {_network(address)}{' begun' if begun else ''}"


def count_refusal(scope: Scope, *, address: str, now: datetime) -> None:
    """Let a refused attempt weigh more than one use. Never raises: the refusal itself is what the caller answers with."""
    limit = LIMITS[scope]
    if address and limit.refused > 1:
        slot = int(now.timestamp() // limit.seconds)
        _count(_key(scope, _of_address(address, begun=False)), slot, limit.refused - 1)
