"""Revisions of the mapping document: immutable and numbered; the newest is in force."""

from __future__ import annotations

from typing import Any

from django.db import models


class RevisionIsImmutable(Exception):
    """A stored revision was about to be changed or deleted: publish a new one instead."""


class MappingRevision(models.Model):
    """One published document. `text` is exactly what was applied (comments kept); references such as
    `${ENTRA_SECRET}` stay references: no secret is in it.
    """

    number = models.BigAutoField(primary_key=True)
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    author = models.CharField(max_length=255)
    comment = models.CharField(max_length=1000, blank=True, default="")
    diff = models.TextField(blank=True, default="")
    published_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"revision {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only. Raises RevisionIsImmutable."""
        if not self._state.adding:
            raise RevisionIsImmutable(str(self))
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Never. Raises RevisionIsImmutable."""
        raise RevisionIsImmutable(str(self))
