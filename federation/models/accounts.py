"""The catalogue: what is known of the organization's accounts and of the roles in each."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models


class OrganizationAccount(models.Model):
    """An account as AWS Organizations lists it. `organizational_unit`: the path of names from the root, `/Workloads/Prod`;
    `organizational_unit_id`: the ids on the same way, the root's first, `r-ab12/ou-ab12-11111111`.

    `state`: Organizations' own word (ACTIVE, SUSPENDED, PENDING_CLOSURE …). `present` False: no longer listed; kept for history.
    """

    id = models.CharField(max_length=12, primary_key=True)
    name = models.CharField(max_length=128)
    email = models.CharField(max_length=320, blank=True, default="")
    partition = models.CharField(max_length=16, default="aws")
    state = models.CharField(max_length=32)
    organizational_unit = models.CharField(max_length=1024, blank=True, default="")
    organizational_unit_id = models.CharField(max_length=512, blank=True, default="")
    tags: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)
    present = models.BooleanField(default=True)
    first_seen_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class Role(models.Model):
    """An IAM role that is known to exist, or to have existed (`present` False since `removed_at`).

    `path` without its outer slashes. `max_session_duration` in seconds, null where it is not known. `trust_policy`: the
    document as IAM gives it, decoded. `digest`: of everything that was read, so that an unchanged role is not written.
    """

    arn = models.CharField(max_length=2048, unique=True)
    account_id = models.CharField(max_length=12)
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=512, blank=True, default="")
    description = models.CharField(max_length=1000, blank=True, default="")
    max_session_duration = models.PositiveIntegerField(null=True, blank=True)
    trust_policy = models.TextField(blank=True, default="")
    tags: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True, default="")
    present = models.BooleanField(default=True)
    seen_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # A page asks for the names that the person's rules give, in the accounts that they choose.
        indexes: ClassVar[list[Any]] = [models.Index(fields=["account_id", "name"], name="roles_of_account_by_name")]

    def __str__(self) -> str:
        return self.arn
