"""Durations as people write them, "1h30m", and whole seconds as the code holds them."""

from __future__ import annotations

import re

from federation.said import say

_DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?", re.ASCII)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def parse_duration(text: str) -> int | None:
    """Seconds of "1h", "90m", "1h30m", "45s", "2d"; None for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    return sum(int(number) * unit for number, (unit, _) in zip(found.groups(default="0"), _UNITS, strict=True))


def format_duration(seconds: int) -> str:
    """The shortest text that `parse_duration` reads back as `seconds`, hours at most: 129,600 is "36h"."""
    parts = []
    for unit, letter in _UNITS[1:]:
        count, seconds = divmod(seconds, unit)
        if count:
            parts.append(f"{count}{letter}")
    return "".join(parts) or "0s"


def spoken_duration(seconds: int) -> str:
    """For sentences: "1 hour 30 minutes"."""
    hours, minutes, rest = seconds // 3_600, seconds // 60 % 60, seconds % 60
    parts = []
    if hours:
        parts.append(say("1 hour") if hours == 1 else say("{number} hours", number=hours))
    if minutes:
        parts.append(say("1 minute") if minutes == 1 else say("{number} minutes", number=minutes))
    if rest or not parts:
        parts.append(say("1 second") if rest == 1 else say("{number} seconds", number=rest))
    told = parts[0]
    for part in parts[1:]:
        told = say("{longer} {shorter}", longer=told, shorter=part)
    return told
