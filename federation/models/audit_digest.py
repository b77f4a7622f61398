"""What reports need of the audit log, added up: who uses which role by which rule, and how much happened on each day.

Derived from the log alone and in its order, by `flows.digest_audit`; emptied, it is filled again from the beginning. Small
whatever the log's size: a person's uses of a role are one row, and a day is a few dozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import connection, models

from federation.models import compiled


class RoleUse(models.Model):
    """A person has used a role (credentials or console) by a rule: how often, and when first and last."""

    pk = models.CompositePrimaryKey("rule", "role_arn", "person_id")
    rule = models.CharField(max_length=1024)
    role_arn = models.CharField(max_length=2048)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    first_used_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    uses = models.PositiveBigIntegerField()

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["person", "role_arn"], name="role_use_of_person"),
            models.Index(fields=["role_arn", "last_used_at"], name="role_use_of_role"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} used {self.role_arn} by {self.rule}"


class DailyCount(models.Model):
    """How many events of one kind, outcome and reason there were on a day (UTC)."""

    pk = models.CompositePrimaryKey("day", "kind", "outcome", "reason")
    day = models.DateField()
    kind = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16)
    reason = models.CharField(max_length=128, blank=True)
    events = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.events} {self.kind} {self.outcome} on {self.day}"


class AuditDigest(models.Model):
    """How far the log has been added up: to the event number `seq`, of the moment `at`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"added up to {self.seq}"


def add_uses(uses: Mapping[tuple[str, str, UUID], tuple[datetime, datetime, int]]) -> None:
    """Add what was seen of (rule, role ARN, person): (first, last, how often). One statement a row."""
    table = compiled.table(RoleUse)
    least, most = ("LEAST", "GREATEST") if connection.vendor == "postgresql" else ("MIN", "MAX")
    sql = (
        f"INSERT INTO {table} (rule, role_arn, person_id, first_used_at, last_used_at, uses) VALUES (%s, %s, %s, %s, %s, %s) "  # noqa: S608
        f"ON CONFLICT (rule, role_arn, person_id) DO UPDATE SET uses = {table}.uses + EXCLUDED.uses, "
        f"first_used_at = {least}({table}.first_used_at, EXCLUDED.first_used_at), "
        f"last_used_at = {most}({table}.last_used_at, EXCLUDED.last_used_at)"
    )
    rows = [
        compiled.adapt(
            RoleUse, rule=rule, role_arn=arn, person_id=who, first_used_at=first, last_used_at=last, uses=count
        )
        for (rule, arn, who), (first, last, count) in sorted(uses.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def add_counts(counts: Mapping[tuple[date, str, str, str], int]) -> None:
    """Add so many events to each (day, kind, outcome, reason). One statement a row."""
    table = compiled.table(DailyCount)
    sql = (
        f"INSERT INTO {table} (day, kind, outcome, reason, events) VALUES (%s, %s, %s, %s, %s) "  # noqa: S608  ours
        f"ON CONFLICT (day, kind, outcome, reason) DO UPDATE SET events = {table}.events + EXCLUDED.events"
    )
    rows = [
        compiled.adapt(DailyCount, day=day, kind=kind, outcome=outcome, reason=reason, events=count)
        for (day, kind, outcome, reason), count in sorted(counts.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)
