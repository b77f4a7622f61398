"""Command lines that people have paired with the gateway, and the tokens that they hold.

Owns the rows behind OAuth for the public client `rolegate-cli`. No row holds anything that could be presented
again: codes and tokens are kept as SHA-256 of 256 random bits (nothing to guess, so nothing to salt), user
codes, which are short, as an HMAC under the gateway's secret key. Only `federation.flows.pair_cli` writes here.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class TokenFamily(models.Model):
    """One paired client of one person; every access and refresh token belongs to exactly one family.

    `expires`: absolute end, whatever is refreshed. `session_epoch`: the person's epoch when the pairing was
    agreed to; when the person's epoch moves on ("sign out everywhere", disabled), the family is dead. `grant`: how it was
    paired, "authorization_code" or "device_code"; "" where that was before it was written down.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="token_families")
    client_id = models.CharField(max_length=100)
    label = models.CharField(max_length=200)
    grant = models.CharField(max_length=30, blank=True, default="", db_default="")
    scope = models.CharField(max_length=200)
    address = models.CharField(max_length=45, blank=True)
    session_epoch = models.BigIntegerField()
    created = models.DateTimeField()
    last_used = models.DateTimeField()
    expires = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=60, blank=True)

    class Meta:
        indexes = [models.Index(fields=["person", "revoked_at"], name="family_of_person")]

    def __str__(self) -> str:
        return f"{self.client_id} {self.id}"


class AccessToken(models.Model):
    """A bearer token for the JSON API; fifteen minutes. `hash`: SHA-256 of the token string, hex."""

    hash = models.CharField(max_length=64, primary_key=True)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="access_tokens")
    issued = models.DateTimeField()
    expires = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"access token of {self.family_id}"


class RefreshToken(models.Model):
    """A refresh token. Good for one use: `used_at` is set with the row's first presentation, `replaced_by` with its successor."""

    hash = models.CharField(max_length=64, primary_key=True)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="refresh_tokens")
    issued = models.DateTimeField()
    expires = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    def __str__(self) -> str:
        return f"refresh token of {self.family_id}"


class AuthorizationCode(models.Model):
    """The code of RFC 6749 section 4.1 between consent in the browser and the client's token request.

    `family`: what was issued for it, so that a second presentation can revoke that (RFC 6749 section 4.1.2).
    """

    hash = models.CharField(max_length=64, primary_key=True)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    client_id = models.CharField(max_length=100)
    redirect_uri = models.CharField(max_length=200)
    code_challenge = models.CharField(max_length=43)
    scope = models.CharField(max_length=200)
    session_epoch = models.BigIntegerField()
    created = models.DateTimeField()
    expires = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)
    family = models.ForeignKey(TokenFamily, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    def __str__(self) -> str:
        return f"authorization code for {self.client_id}"


class DeviceGrant(models.Model):
    """One run of the device authorization grant (RFC 8628).

    `address` and `user_agent` are those of the device that asked, shown to the person who decides.
    `interval`: seconds that the device must leave between two polls; grows by five with each `slow_down`.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        USED = "used"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    device_code_hash = models.CharField(max_length=64, unique=True)
    user_code_hash = models.CharField(max_length=64, unique=True)
    client_id = models.CharField(max_length=100)
    scope = models.CharField(max_length=200)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    created = models.DateTimeField()
    expires = models.DateTimeField(db_index=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    interval = models.PositiveSmallIntegerField()
    last_polled_at = models.DateTimeField(null=True, blank=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    session_epoch = models.BigIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"device grant {self.id} ({self.status})"


class WrongUserCode(models.Model):
    """One wrong code that a person typed at /device/; five within ten minutes and no further code is looked at.

    A wrong code belongs to no grant, so the tries are counted on the one who types (RFC 8628 section 5.1).
    """

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"wrong user code by {self.person_id}"
