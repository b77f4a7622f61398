"""Tokens of programs: a directory that pushes by SCIM. Kept as SHA-256 of 256 random bits, as those of command lines."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models


class ServiceToken(models.Model):
    """A bearer token of a program. `scope`: the one thing that it may do, `metrics` or `scim:corp`.

    `name`: what people call it; of those that are not revoked no two have the same. `last_used_at` is written once in five
    minutes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=80)
    hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=255)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_address = models.CharField(max_length=45, blank=True, default="")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(revoked_at=None), name="one_service_token_per_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.scope})"
