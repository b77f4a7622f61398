"""The hash chain of the audit log. Pure: rows and keys are handed in.

Each row's mac is HMAC-SHA256 over the mac before it and the row's canonical JSON, so an edited, removed, inserted or
reordered row breaks the chain at its place. The head's mac covers the last sequence number and mac under another
label, so cutting the tail shows too: the head of a shorter log cannot be computed without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation.said import say


@dataclass(frozen=True, slots=True)
class Link:
    """A stored row as the chain sees it: its number, its content and its mac (64 hex digits)."""

    seq: int
    content: Mapping[str, Any]
    mac: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the verifier names: the sequence number and what is wrong there."""

    seq: int
    problem: str


def canonical(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8: one form for one content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def chain_key(secret: str) -> bytes:
    """The chain's key, derived from the gateway's secret (32 bytes)."""
    return hmac.new(secret.encode(), b"rolegate audit chain v1", hashlib.sha256).digest()


def link_mac(key: bytes, previous: str, seq: int, content: Mapping[str, Any]) -> str:
    """The mac of a row: over the mac before it, its number and its content."""
    return hmac.new(
        key, b"row\0" + previous.encode() + b"\0" + str(seq).encode() + b"\0" + canonical(content), hashlib.sha256
    ).hexdigest()


def head_mac(key: bytes, seq: int, last: str) -> str:
    """The seal of the chain's end."""
    return hmac.new(key, b"head\0" + str(seq).encode() + b"\0" + last.encode(), hashlib.sha256).hexdigest()


def verify(
    links: Iterable[Link],
    *,
    head: tuple[int, str, str] | None,
    keys: Sequence[bytes],
    after: tuple[int, str] | None = None,
) -> Iterator[Finding]:
    """Name each broken place. `links` by number; `head` is (seq, last mac, seal); `keys` newest first, then retired ones.

    `after`: number and mac of the row before the first link, to check the end of a log alone; None from its beginning.
    """
    start, previous = after or (0, "")
    expected = start + 1
    for link in links:
        if link.seq != expected:
            yield Finding(
                expected,
                say("row {row} is missing", row=str(expected))
                if link.seq == expected + 1
                else say("rows {first} to {last} are missing", first=str(expected), last=str(link.seq - 1)),
            )
        # A row behind a gap cannot verify: the gap is what is named.
        fits = any(hmac.compare_digest(link_mac(key, previous, link.seq, link.content), link.mac) for key in keys)
        if link.seq == expected and not fits:
            yield Finding(link.seq, say("row {row} was edited, replaced or moved", row=str(link.seq)))
        previous, expected = link.mac, link.seq + 1
    last = expected - 1
    if head is None:
        if last:
            yield Finding(last, say("the head of the log is missing"))
        return
    seq, last_mac, seal = head
    if (seq or seal) and not any(hmac.compare_digest(head_mac(key, seq, last_mac), seal) for key in keys):
        yield Finding(seq, say("the head of the log was edited"))
    if seq > last:
        yield Finding(
            last + 1, say("the tail is cut: rows {first} to {last} are missing", first=str(last + 1), last=str(seq))
        )
    elif seq < last:
        yield Finding(
            seq + 1, say("rows {first} to {last} were added behind the head", first=str(seq + 1), last=str(last))
        )
    elif last and last_mac != previous:
        yield Finding(last, say("row {row} is not the one that the head names", row=str(last)))
