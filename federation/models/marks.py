"""What a person has marked: their favourite roles, and those that they used last."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class RoleMark(models.Model):
    """One person and one role: a favourite since then, used last then, with that page of the console.

    For the order of a list and nothing else: whether the person has the role is decided elsewhere, each time.
    """

    id = models.BigAutoField(primary_key=True)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    role_arn = models.CharField(max_length=2048)
    favourite_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    destination = models.CharField(max_length=2048, blank=True, default="")

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["person", "role_arn"], name="one_mark_per_person_and_role")
        ]

    def __str__(self) -> str:
        return f"{self.person_id} {self.role_arn}"
