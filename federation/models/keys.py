"""Signing keys: private halves sealed at rest (issuer.signing), states next → active → retiring → retired."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models


class SigningKey(models.Model):
    """One key pair of the gateway.

    `purpose`: "saml" (assertions toward AWS), "token" (web identity tokens toward AWS) or "sp" (our requests to the
    corporate provider, and decryption of its assertions). `sealed_private_key` is AES-256-GCM under a key derived
    from ROLEGATE_SECRET_KEY.
    """

    class Purpose(models.TextChoices):
        """What the key signs."""

        SAML = "saml"
        TOKEN = "token"
        SERVICE_PROVIDER = "sp"

    class State(models.TextChoices):
        """next: published, not signing yet. active: signing. retiring: published, no longer signing. retired: gone."""

        NEXT = "next"
        ACTIVE = "active"
        RETIRING = "retiring"
        RETIRED = "retired"

    kid = models.CharField(max_length=64, primary_key=True)
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    algorithm = models.CharField(max_length=8)
    state = models.CharField(max_length=8, choices=State.choices)
    certificate = models.TextField()
    sealed_private_key = models.TextField()
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            # Two processes at first start race to make the first keys: one of them must lose.
            models.UniqueConstraint(
                fields=["purpose", "algorithm"], condition=models.Q(state="active"), name="one_active_key_per_purpose"
            ),
            models.UniqueConstraint(
                fields=["purpose", "algorithm"], condition=models.Q(state="next"), name="one_next_key_per_purpose"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.algorithm} {self.kid} ({self.state})"
