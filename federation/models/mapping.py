"""Revisions of the mapping document: immutable and numbered; the newest is in force. And drafts, of which they come."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from federation.models.people import Person


class RevisionIsImmutable(Exception):
    """A stored revision was about to be changed or deleted: publish a new one instead."""


class MappingRevision(models.Model):
    """One published document. `text` is exactly what was applied (comments kept); references such as
    `${ENTRA_SECRET}` stay references: no secret is in it.

    `impact`: what it did to the people of that moment, as previewed (`Impact.as_dict`). `published_by`: the second person,
    "" where the author published it alone.
    """

    number = models.BigAutoField(primary_key=True)
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    author = models.CharField(max_length=255)
    comment = models.CharField(max_length=1000, blank=True, default="")
    diff = models.TextField(blank=True, default="")
    impact: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    published_by = models.CharField(max_length=255, blank=True, default="")
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


class MappingDraft(models.Model):
    """A change of the mapping that is not in force: whose it is, on which revision it stands, and how far it has come.

    `text` may have faults, and never a client secret in clear. `version` goes up with every change of the text, so that two
    windows do not overwrite each other. `preview` and `digest`: what its author saw when they asked for a second person.
    `note`: what the second person said who gave it back. `decided_by`: who published or withdrew it, as the audit log names them.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        WAITING = "waiting"
        PUBLISHED = "published"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    author = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="mapping_drafts")
    base = models.BigIntegerField()
    text = models.TextField()
    sha256 = models.CharField(max_length=64)
    comment = models.CharField(max_length=1000, blank=True, default="")
    note = models.CharField(max_length=1000, blank=True, default="")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.DRAFT)
    version = models.PositiveIntegerField(default=1)
    preview: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=255, blank=True, default="")
    revision = models.BigIntegerField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["status", "-changed_at"], name="drafts_by_status")]

    def __str__(self) -> str:
        return f"draft {self.pk} on revision {self.base}"
