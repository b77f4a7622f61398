"""Rate windows: counters in the database, so that limits hold with Redis gone and across processes."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models


class RateWindow(models.Model):
    """How often `key` (scope and hashed person or address) was seen in the time slot numbered `slot` (Unix time / length)."""

    key = models.CharField(max_length=80)
    slot = models.BigIntegerField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["key", "slot"], name="one_rate_window_per_key")
        ]
        indexes: ClassVar[list[Any]] = [models.Index(fields=["slot"], name="rate_window_start")]

    def __str__(self) -> str:
        return f"{self.key}@{self.slot}"
