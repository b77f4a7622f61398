"""What the identity provider remembers, in memory: sign-ins that wait for a password, single sign-on sessions, logouts under way."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from demo.cast import Actor

SESSION_LIFETIME = timedelta(hours=8)
PENDING_LIFETIME = timedelta(minutes=10)
MAX_KEPT = 20_000
T = TypeVar("T")


class Expiring(Generic[T]):
    """Random key -> thing, until a moment. The oldest go when too many are kept."""

    def __init__(self, lifetime: timedelta) -> None:
        self._lifetime = lifetime
        self._kept: dict[str, tuple[datetime, T]] = {}
        self._lock = threading.Lock()

    def put(self, thing: T, now: datetime) -> str:
        key = secrets.token_urlsafe(24)
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                for old in list(self._kept)[: MAX_KEPT // 10]:
                    del self._kept[old]
            self._kept[key] = (now + self._lifetime, thing)
        return key

    def get(self, key: str | None, now: datetime) -> T | None:
        until, thing = self._kept.get(key or "", (now, None))
        return thing if until > now else None

    def pop(self, key: str | None, now: datetime) -> T | None:
        """Take it out: the second caller with the same key gets nothing."""
        with self._lock:
            until, thing = self._kept.pop(key or "", (now, None))
        return thing if until > now else None

    def values(self) -> list[T]:
        return [thing for _, thing in self._kept.values()]


@dataclass
class Session:
    """One browser signed in here. `saml`: entity id -> SessionIndex; `oidc`: client ids that got a token in this session."""

    actor: Actor
    authenticated_at: datetime
    until: datetime
    sid: str = field(default_factory=lambda: secrets.token_hex(16))
    saml: dict[str, str] = field(default_factory=dict)
    oidc: set[str] = field(default_factory=set)
    ended: bool = False


@dataclass
class Pending:
    """A sign-in that waits for a password. `proceed` makes the answer once somebody is signed in."""

    asker: str
    proceed: Callable[[Session], object]


@dataclass
class Logout:
    """A single logout under way: service providers still to visit, and where it ends."""

    session: Session
    remaining: list[str]
    finish: Callable[[], object]
    awaited: str = ""
