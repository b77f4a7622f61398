"""Publish a mapping document as the next revision: parsed whole or refused whole, once per text."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import lock_head, record
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.models.mapping import MappingRevision
from federation.models.secrets import in_clear, sealed_text


@dataclass(frozen=True, slots=True)
class Published:
    """What applying did: `number` is the revision in force, `changed` False where the text was already in force."""

    number: int
    changed: bool
    diff: str


def publish(text: str, *, author: str, comment: str, origin: Origin, now: datetime, dry_run: bool = False) -> Published:
    """Make `text` the mapping in force. All-or-nothing and idempotent. Raises DocumentError with every fault, SecretNotSealable.

    A client secret in clear is sealed before anything is stored or shown.
    """
    document = parse(text)
    compile_mapping(document)
    stored = sealed_text(text, document)
    with transaction.atomic():
        if not dry_run:
            # Two admins publish at once: the audit head is the one lock that every change takes, so they take turns.
            lock_head()
        newest = MappingRevision.objects.order_by("-number").first()
        if newest is not None and text in {newest.text, in_clear(newest.text)}:
            return Published(newest.number, changed=False, diff="")
        digest = hashlib.sha256(stored.encode()).hexdigest()
        number = newest.number if newest else 0
        before = newest.text.splitlines(keepends=True) if newest else []
        diff = "".join(
            difflib.unified_diff(
                before, stored.splitlines(keepends=True), f"revision {number}", f"revision {number + 1}"
            )
        )
        if dry_run:
            return Published(number, changed=True, diff=diff)
        revision = MappingRevision(
            number=number + 1, text=stored, sha256=digest, author=author, comment=comment, diff=diff, published_at=now
        )
        revision.save(force_insert=True)
        record(
            Kind.MAPPING_PUBLISHED,
            actor=author,
            outcome="ok",
            origin=origin,
            now=now,
            revision=revision.number,
            sha256=digest,
            comment=comment,
        )
    return Published(revision.number, changed=True, diff=diff)
