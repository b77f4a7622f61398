"""What a check says: findings with a stable code, a sentence about what is, and one about what to do. Plain frozen data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from federation.said import say


class State(StrEnum):
    """ok; warning: it works, and will not for ever, or not as it should; problem: something does not work now."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found. `code` is stable (docs/doctor.md), "ok" where all is well; `data` holds no secret."""

    state: State
    code: str
    says: str
    do: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[datetime], Iterator[Finding]]


def ok(says: str, **data: Any) -> Finding:
    """All is well."""
    return Finding(State.OK, "ok", says, data=data)


def warning(code: str, says: str, do: str, **data: Any) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(State.WARNING, code, says, do, data)


def problem(code: str, says: str, do: str, **data: Any) -> Finding:
    """It does not work."""
    return Finding(State.PROBLEM, code, says, do, data)


# Where a page shows a finding, "1 account" is said in its reader's language; `counted` is for the terminal alone.
def counted(number: int, noun: str) -> str:
    """So many of something, as people say it: "1 account", "40 accounts"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(length: timedelta) -> str:
    """A length of time as people say it: its largest unit, rounded down. Stands behind "ago", "in" or "for"."""
    seconds = int(abs(length.total_seconds()))
    if days := seconds // 86_400:
        return say("1 day") if days == 1 else say("{number} days", number=days)
    if hours := seconds // 3_600:
        return say("1 hour") if hours == 1 else say("{number} hours", number=hours)
    if minutes := seconds // 60:
        return say("1 minute") if minutes == 1 else say("{number} minutes", number=minutes)
    return say("1 second") if seconds == 1 else say("{number} seconds", number=seconds)
