"""What a check says: findings with a stable code, a sentence about what is, and one about what to do. Plain frozen data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


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


def counted(number: int, noun: str) -> str:
    """So many of something, as people say it: "1 account", "40 accounts"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span(length: timedelta) -> str:
    """A length of time as people say it: its largest unit, rounded down."""
    seconds = int(abs(length.total_seconds()))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(seconds // size, unit)
    return counted(seconds, "second")
