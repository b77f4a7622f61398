"""Publish a mapping document as the next revision: parsed whole or refused whole, once per text."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import lock_head, record
from federation.errors import RolegateError
from federation.flows import written_mapping
from federation.flows.closed_providers import Ended, end_closed
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.textdiff import unified
from federation.models import current
from federation.models.mapping import MappingRevision
from federation.models.secrets import in_clear, sealed_text


class RevisionMovedOn(RolegateError):
    """The change was made on, and its effect worked out for, a revision that is no longer the newest one."""

    code = "revision_moved_on"
    status = 409
    sentence = (
        "Somebody has published another revision in the meantime; nothing was changed. "
        "Bring the draft up to date, and look at what it would do now."
    )


@dataclass(frozen=True, slots=True)
class Published:
    """What applying did: `number` is the revision in force, `changed` False where the text was already in force."""

    number: int
    changed: bool
    diff: str


def publish(
    text: str,
    *,
    author: str,
    comment: str,
    origin: Origin,
    now: datetime,
    dry_run: bool = False,
    only_on: int | None = None,
    impact: Mapping[str, Any] | None = None,
    published_by: str = "",
) -> Published:
    """Make `text` the mapping in force. All-or-nothing and idempotent. Raises DocumentError with every fault, SecretNotSealable,
    RevisionMovedOn.

    `only_on`: the number of the revision that must still be the newest one. `impact`: what was previewed, kept with the
    revision. `published_by`: the second person. A client secret in clear is sealed before anything is stored or shown.

    Whoever is signed in by a provider that is not enabled any more, or that is another one by now (`closed_providers`), is signed
    out with it, command lines too.
    """
    document = parse(text, published=written_mapping.was_published(text))
    compile_mapping(document)
    stored = sealed_text(text, document)
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(_Overtaken), transaction.atomic():
            newest = _newest()
            number = newest.number if newest else 0
            ended = Ended()
            if not dry_run:
                # Whoever ends sessions locks people and sessions before the audit head; so does this.
                ended = end_closed(document, now=now)
                # Two admins publish at once: the audit head is the one lock that every change takes, so they take turns.
                lock_head()
                if current.newest_number() != number:
                    raise _Overtaken
            if only_on is not None and only_on != number:
                raise RevisionMovedOn("revision_moved_on", detail=f"{only_on} is not {number}")
            if newest is not None and text in {newest.text, in_clear(newest.text)}:
                return Published(newest.number, changed=False, diff="")
            written_mapping.check(text)
            digest = hashlib.sha256(stored.encode()).hexdigest()
            # Under the lock that every mint waits for: this must stay a matter of milliseconds (`mapping.textdiff`).
            diff = unified(newest.text if newest else "", stored, f"revision {number}", f"revision {number + 1}")
            if dry_run:
                return Published(number, changed=True, diff=diff)
            revision = MappingRevision(
                number=number + 1, text=stored, sha256=digest, author=author, comment=comment, diff=diff, published_at=now,
                impact=dict(impact or {}), published_by=published_by,
            )  # fmt: skip
            revision.save(force_insert=True)
            record(
                Kind.MAPPING_PUBLISHED,
                actor=published_by or author,
                outcome="ok",
                origin=origin,
                now=now,
                revision=revision.number,
                sha256=digest,
                comment=comment,
                author=author,
                impact=dict(impact["counts"]) if impact else None,
                impact_digest=impact["digest"] if impact else None,
                sessions_ended=ended.sessions or None,
                people_signed_out=ended.people or None,
            )
            return Published(revision.number, changed=True, diff=diff)
    raise RevisionMovedOn("revision_moved_on", detail=f"{_ATTEMPTS} times while this was published")


_ATTEMPTS = 20
"""Each that is lost is another's revision that came into force: so many admins at once all get their turn."""


class _Overtaken(Exception):
    """Another revision was published between the look at the newest one and the lock."""


def _newest() -> MappingRevision | None:
    return MappingRevision.objects.order_by("-number").first()
