"""What was last fetched from each identity provider, the good copy that works on when the provider cannot be reached; and
entries that somebody tries before they are in force.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class ProviderMetadata(models.Model):
    """The SAML metadata of one provider. `source` is the URL or file and `pin` the pinned certificate's hash it was
    fetched under: a changed configuration never uses the old copy.
    """

    provider = models.CharField(max_length=64, primary_key=True)
    source = models.CharField(max_length=2048)
    document = models.TextField()
    fetched_at = models.DateTimeField()
    checked_at = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True, default="")

    def __str__(self) -> str:
        return self.provider


class ProviderTrial(models.Model):
    """An identity provider's entry that is not in force, and how the last test sign-in with it went. Kept for a day.

    `text`: a mapping document with this one provider, its secret sealed. `handle`: SHA-256 of RelayState or state, by which
    the answer finds its test; `request_id`: of the SAML request that it must answer. `sample`: every claim that was received
    and verified, for the person who tries it alone. `proven`: the digest of what a successful test was about.
    """

    class Outcome(models.TextChoices):
        """How the last test sign-in ended; empty before one has."""

        OK = "ok"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="provider_trials")
    slug = models.CharField(max_length=64)
    text = models.TextField()
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField(db_index=True)
    handle = models.CharField(max_length=64, blank=True, default="", db_index=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    nonce = models.CharField(max_length=128, blank=True, default="")
    code_verifier = models.CharField(max_length=128, blank=True, default="")
    begun_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, blank=True, default="")
    reason = models.CharField(max_length=128, blank=True, default="")
    code = models.CharField(max_length=64, blank=True, default="")
    detail = models.CharField(max_length=1000, blank=True, default="")
    sample: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    proven = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["person", "-changed_at"], name="trials_of_person")]

    def __str__(self) -> str:
        return f"trial of {self.slug}"


class ProviderKeyUse(models.Model):
    """When a certificate of a SAML provider last signed a sign-in, to some minutes. `fingerprint`: SHA-256, hex.

    While a key rolls, it says which of the certificates the provider signs with now.
    """

    provider = models.CharField(max_length=64)
    fingerprint = models.CharField(max_length=64)
    last_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["provider", "fingerprint"], name="key_use_of_provider")
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.fingerprint[:16]}"


class OpenIdDocument(models.Model):
    """The last good copy of a discovery document or key set, for every process. `key`: SHA-256 of `url`, hex."""

    key = models.CharField(max_length=64, primary_key=True)
    url = models.CharField(max_length=2048)
    body = models.TextField()
    fetched_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.url
