"""Two answers of one source, compared; and the brake that holds back an answer which takes too much away. Pure.

A directory or an account that suddenly answers "nothing", or half of what it was, is more often broken than right: a
filter was changed, a page got lost, a permission was withdrawn. Believing it at once would lock a company out at nine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

K = TypeVar("K", bound=str)

# Up to so many removals an answer passes unless it takes more than half: a small account may lose two of its four roles.
FEW = 4
MOST_OF_MANY, MOST_OF_FEW = 0.2, 0.5

HoldReason = Literal["", "empty_answer", "too_many_removed"]


@dataclass(frozen=True, slots=True)
class Difference(Generic[K]):
    """What an answer changes: keys that come, change (their digest differs) and go; each sorted."""

    added: tuple[K, ...]
    changed: tuple[K, ...]
    removed: tuple[K, ...]
    unchanged: int

    @property
    def before(self) -> int:
        """How many keys were there."""
        return self.unchanged + len(self.changed) + len(self.removed)

    @property
    def after(self) -> int:
        """How many keys the answer has."""
        return self.unchanged + len(self.changed) + len(self.added)

    @property
    def is_empty(self) -> bool:
        """True if taking the answer over would write nothing."""
        return not (self.added or self.changed or self.removed)

    @property
    def removal_digest(self) -> str:
        """SHA-256 over what would go: a person lets exactly this through, and no later, larger removal."""
        return hashlib.sha256(json.dumps(self.removed).encode()).hexdigest()


def difference(before: Mapping[K, str], after: Mapping[K, str]) -> Difference[K]:
    """Compare two complete answers, each key -> digest of its content."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(key for key, digest in after.items() if key in before and before[key] != digest)),
        removed=tuple(sorted(before.keys() - after.keys())),
        unchanged=sum(1 for key, digest in after.items() if before.get(key) == digest),
    )


def hold(found: Difference[K]) -> HoldReason:
    """Why an answer must wait for a person; "" if it may pass.

    Nothing at all after something is never believed. An explicit disable of one person is no removal and never comes here.
    """
    gone = len(found.removed)
    if found.before and not found.after:
        return "empty_answer"
    if gone > found.before * (MOST_OF_MANY if gone > FEW else MOST_OF_FEW) and gone > 1:
        return "too_many_removed"
    return ""
