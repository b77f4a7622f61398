"""Two answers of one source, compared; and the brake that holds back an answer which takes too much away. Pure.

A directory or an account that suddenly answers "nothing", or half of what it was, is more often broken than right: a
filter was changed, a page got lost, a permission was withdrawn. Believing it at once would lock a company out at nine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

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
    return _held_for(len(found.removed), found.before, found.after)


def _held_for(gone: int, before: int, after: int) -> HoldReason:
    if before and not after:
        return "empty_answer"
    if gone > before * (MOST_OF_MANY if gone > FEW else MOST_OF_FEW) and gone > 1:
        return "too_many_removed"
    return ""


_PRINT: Final = 16  # bytes of a fingerprint


def fingerprints(removed: Iterable[str]) -> bytes:
    """What goes, as `LetThrough.of` reads it back: nobody's name, and small."""
    return b"".join(sorted({_fingerprint(word) for word in removed}))


def _fingerprint(word: str) -> bytes:
    return hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_PRINT).digest()


@dataclass(frozen=True, slots=True)
class LetThrough:
    """Removals that a person has decided on, by their fingerprints."""

    prints: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, kept: bytes) -> LetThrough:
        """What `fingerprints` has written."""
        return cls(frozenset(kept[begin : begin + _PRINT] for begin in range(0, len(kept), _PRINT)))

    def __contains__(self, word: str) -> bool:
        return bool(self.prints) and _fingerprint(word) in self.prints

    def beyond(self, found: Difference[str]) -> HoldReason:
        """Why an answer would be held if these were gone already: as the next answer after the one that was let through."""
        return self.beyond_part(found, found.removed, back=self.not_in(found.removed))

    def beyond_part(self, found: Difference[K], words: Sequence[str], *, back: int, least: int = 0) -> HoldReason:
        """The same of one part of an answer, whose removals are called `words`; fewer than `least` pass. `back`: how many of
        these do not go by the answer, and so would come by it; where other parts' are among them, the brake is the tighter.
        """
        gone = sum(1 for word in words if word not in self)
        if gone < least:
            return ""
        before = max(gone, found.before - (len(words) - gone) - back)
        return _held_for(gone, before, before - gone + len(found.added) + back)

    def not_in(self, words: Sequence[str]) -> int:
        """How many of these removals are not among `words`."""
        return len(self.prints) - sum(1 for word in words if word in self)

    def is_like(self, found: Difference[str]) -> bool:
        """Whether the answer takes most of these away, too: then it is the same question, a few people later."""
        return sum(1 for key in found.removed if key in self) >= len(self.prints) * (1 - MOST_OF_MANY)


NOTHING: Final = LetThrough()
