"""What is wrong with the roles' trust, kept so that a list of all accounts can be shown: derived, and worked out again when
an account's listing or the mapping changes (`flows.refresh_findings`). Nothing is ever decided on it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models


class TrustFinding(models.Model):
    """One finding of `aws.trust` on one role that matters: it keeps people out, or lets others in.

    `pieces`: the sentence as `said.packed` keeps it, for readers of another language; None of a row that the version before wrote.
    `severity`: its rank, 0 the worst (`SEVERITIES` of flows.refresh_findings). `rules`: names of the rules that point at the
    role. `correctable`: whether a corrected policy is known.
    """

    account_id = models.CharField(max_length=12)
    role_arn = models.CharField(max_length=2048)
    code = models.CharField(max_length=64)
    statement = models.PositiveSmallIntegerField(default=0)
    severity = models.PositiveSmallIntegerField()
    sentence = models.TextField()
    pieces: models.JSONField[Any, Any] = models.JSONField(null=True)
    rules: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    correctable = models.BooleanField(default=False)
    found_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["role_arn", "code", "statement"], name="one_trust_finding_of_a_kind")
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["severity", "account_id", "id"], name="trust_finding_by_severity"),
            models.Index(fields=["account_id", "severity", "id"], name="trust_finding_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.role_arn} {self.code}"


class ExaminedAccount(models.Model):
    """On what an account's findings rest: `stamp` names the versions of listing and mapping; another one means: look again."""

    account_id = models.CharField(max_length=12, primary_key=True)
    stamp = models.CharField(max_length=200)
    examined_at = models.DateTimeField()
    roles = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.account_id} examined"
