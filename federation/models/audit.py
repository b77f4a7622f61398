"""The audit log and its head. Written by `audit.record` alone; on PostgreSQL triggers refuse UPDATE, DELETE and TRUNCATE."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from django.db import connection, models


class AuditEvent(models.Model):
    """One event. `mac` = HMAC over the previous `mac` and the canonical form of this row (audit.chain)."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    kind = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16)
    actor = models.CharField(max_length=255)
    reason = models.CharField(max_length=128, blank=True, default="")
    request_id = models.CharField(max_length=64, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    data: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    mac = models.CharField(max_length=64)

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["kind", "at"], name="audit_kind_at"),
            models.Index(fields=["actor", "at"], name="audit_actor_at"),
            models.Index(fields=["request_id"], name="audit_request_id"),
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["address", "at"], name="audit_address_at"),
            models.Index(fields=["reason", "at"], condition=~models.Q(reason=""), name="audit_reason_at"),
            # What is searched for inside `data` has indexes on PostgreSQL (migration 0011).
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind} {self.outcome}"


class AuditHead(models.Model):
    """The end of the chain: locked by each writer, so that the log has one order. `mac` seals seq and the last mac."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    last_mac = models.CharField(max_length=64, default="")
    mac = models.CharField(max_length=64, default="")

    def __str__(self) -> str:
        return f"head at {self.seq}"


def text_in_data(key: Literal["person", "role_arn", "access_key_id", "rule", "user"]) -> models.Func:
    """The text under a key of an event's `data`, spelt as the indexes of migration 0011 spell it."""
    template = (
        f"(%(expressions)s ->> '{key}')"
        if connection.vendor == "postgresql"
        else f"JSON_EXTRACT(%(expressions)s, '$.{key}')"
    )
    return models.Func("data", template=template, output_field=models.CharField())
