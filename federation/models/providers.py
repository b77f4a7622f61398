"""What was last fetched from each identity provider: the good copy that works on when the provider cannot be reached."""

from __future__ import annotations

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
