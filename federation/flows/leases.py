"""Leases: of many workers, one does a piece of work at a time. In the database, so right without Redis.

A lease ends by itself when its holder dies. Its token is a fencing token: a holder that was paused past its end, and
wakes up, finds another token in the row and must not write.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from federation.models import compiled
from federation.models.sync import Lease


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that is ours until it ends or is taken over."""

    name: str
    holder: str
    token: int

    def is_ours(self) -> bool:
        """Whether nobody has taken it over. Inside a transaction the row stays locked: nobody can before the commit."""
        rows = Lease.objects.filter(pk=self.name, token=self.token, holder=self.holder)
        if connection.in_atomic_block:
            rows = rows.select_for_update()
        return rows.exists()

    def renew(self, life: timedelta) -> bool:
        """Prolong it. False where somebody else has it now."""
        rows = Lease.objects.filter(pk=self.name, token=self.token, holder=self.holder)
        return rows.update(until=timezone.now() + life) == 1


class LeaseLost(RuntimeError):
    """Another worker has taken the lease over: what was prepared under it must not be written."""


class Heartbeat:
    """Keeps a lease through a long piece of work: called often, renewing seldom. Raises LeaseLost."""

    def __init__(self, held: Held, life: timedelta) -> None:
        self._held, self._life = held, life
        self._due = time.monotonic() + self._every

    @property
    def _every(self) -> float:
        return self._life.total_seconds() / 6

    def __call__(self) -> None:
        """Renew the lease if a sixth of its life has gone by."""
        if time.monotonic() < self._due:
            return
        if not self._held.renew(self._life):
            raise LeaseLost(self._held.name)
        self._due = time.monotonic() + self._every


def take(name: str, life: timedelta) -> Held | None:
    """Take the lease for `life`, or None where somebody has it. One statement: of two at once, one gets it."""
    holder, now = secrets.token_hex(8), timezone.now()
    table = compiled.table(Lease)
    sql = (
        f"INSERT INTO {table} (name, holder, token, until) VALUES (%s, %s, 1, %s) "  # noqa: S608  the table's name is ours
        f"ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, token = {table}.token + 1, until = EXCLUDED.until "
        f"WHERE {table}.until <= %s RETURNING token"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            sql, compiled.adapt(Lease, name=name, holder=holder, until=now + life) + compiled.adapt(Lease, until=now)
        )
        row = cursor.fetchone()
    return Held(name, holder, int(row[0])) if row else None


def give_back(held: Held) -> None:
    """End the lease now, if it is still ours."""
    Lease.objects.filter(pk=held.name, token=held.token, holder=held.holder).update(until=timezone.now())


@contextmanager
def leased(name: str, life: timedelta) -> Iterator[Held | None]:
    """The lease for the block, given back at its end; None where somebody else has it."""
    held = take(name, life)
    try:
        yield held
    finally:
        if held is not None:
            give_back(held)
