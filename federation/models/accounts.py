"""The catalogue: what is known of the organization's accounts and of the roles in each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Coalesce


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


LONGEST_SEARCH_TEXT = 500  # an index entry has 2,700 bytes, and a tag's value may be Japanese
# When a role was last used, for sorting; one that never was comes as if before all others.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
NEVER_USED = Coalesce(models.F("last_used_at"), models.Value(NEVER))


def search_text(path: str, name: str, tags: Mapping[str, str]) -> str:
    """What a search finds a role by: its path and name, and its tags as `key=value`; lower case, cut to what an index holds."""
    words = [f"{path}/{name}" if path else name, *(f"{key}={value}" for key, value in sorted(tags.items()))]
    return " ".join(words).lower()[:LONGEST_SEARCH_TEXT]


class PolicyDocument(models.Model):
    """The text of an IAM policy, kept once however many roles have it. `digest`: SHA-256 of the text, hex."""

    digest = models.CharField(max_length=64, primary_key=True)
    text = models.TextField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.digest[:16]


class Role(models.Model):
    """An IAM role that is known to exist, or to have existed (`present` False since `removed_at`).

    `path` without its outer slashes. `max_session_duration` in seconds, null where it is not known. `trust_policy`: the
    document as IAM gives it, decoded. `digest`: of everything that was read, so that an unchanged role is not written.
    `search`: what a search of the catalogue looks at, lower case (`search_text`). `policies`: what gives the role its permissions, as
    [{"name", "arn", "document", "boundary"}] with the digest of a `PolicyDocument` or ""; null until they have been read.
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
    search = models.CharField(max_length=LONGEST_SEARCH_TEXT, blank=True, default="")
    policies: models.JSONField[list[dict[str, Any]] | None, list[dict[str, Any]] | None] = models.JSONField(
        null=True, blank=True
    )
    present = models.BooleanField(default=True)
    seen_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # A page asks for the names that the person's rules give, in the accounts that they choose.
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["account_id", "name"], name="roles_of_account_by_name"),
            # The list of the whole catalogue, read out of the index alone: 200,000 roles are 20 MB there and 150 MB as rows.
            models.Index(
                fields=["name", "id"], include=["search", "present", "account_id", "last_used_at"], name="roles_by_name"
            ),
            models.Index(NEVER_USED, "id", name="roles_by_last_use"),
        ]

    def __str__(self) -> str:
        return self.arn


class PastRole(models.Model):
    """An IAM role of this ARN that was there until `until`; the next one of the ARN counts from `back_at`. For past moments alone.

    `since`: when it was made, or came back; null where that is not known. `path` and `max_session_duration` as of Role.
    """

    arn = models.CharField(max_length=2048)
    account_id = models.CharField(max_length=12)
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=512, blank=True, default="")
    max_session_duration = models.PositiveIntegerField(null=True, blank=True)
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField()
    back_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["account_id", "back_at"], name="past_roles_of_account")]

    def __str__(self) -> str:
        return f"{self.arn} until {self.until:%Y-%m-%d %H:%M}"
