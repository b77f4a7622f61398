"""Reading a mapping document that somebody wants in force: what a reviewer cannot see is refused, but for the way back."""

from __future__ import annotations

import hashlib

from federation.mapping.document import DocumentError, parse, refuse_unseen
from federation.mapping.rules import Document
from federation.models.mapping import MappingRevision


def read(text: str) -> Document:
    """The document, if nothing is wrong with it and `check` has nothing against it. Raises DocumentError."""
    document = parse(text, published=was_published(text))
    check(text)
    return document


def was_published(text: str) -> bool:
    """Whether this very text is a revision's: one of a day on which less was asked stays within reach."""
    return MappingRevision.objects.filter(sha256=hashlib.sha256(text.encode()).hexdigest()).exists()


def check(text: str) -> None:
    """Raises DocumentError for what nobody sees (`document.refuse_unseen`), unless the very text has been in force before: a
    revision of a day on which that was not asked must not be out of reach when somebody has to go back to it.
    """
    try:
        refuse_unseen(text)
    except DocumentError:
        if not was_published(text):
            raise
