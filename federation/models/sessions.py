"""Sessions and everything one-use around signing in. The database is the truth; nothing here needs Redis."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from federation.models import compiled

LONGEST_SESSION_INDEX = 255
"""Characters of the provider's session that are kept; a longer one is cut, wherever it is compared as well."""


def session_row_key(cookie: str) -> str:
    """The primary key of the session whose cookie has this value: its SHA-256, hex."""
    return hashlib.sha256(b"rolegate session\0" + cookie.encode()).hexdigest()


class PortalSession(AbstractBaseSession):
    """A portal session. `session_key` is a hash of the cookie: a stolen table is not a stolen session.

    `session_index`: the provider's own session (SAML SessionIndex, OIDC sid), for single logout.
    """

    person = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="sessions")
    provider = models.CharField(max_length=64, blank=True, default="")
    session_index = models.CharField(max_length=LONGEST_SESSION_INDEX, blank=True, default="", db_index=True)
    name_id: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    session_key = models.CharField(max_length=64, primary_key=True)

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Django's hook; the store itself is the portal's."""
        from importlib import import_module

        return import_module(settings.SESSION_ENGINE).SessionStore


class SignInState(models.Model):
    """A sign-in on its way: made when the request goes out, used once when the answer comes.

    `key` is the SHA-256 of what travels (SAML request id or OIDC state). `binding` is the SHA-256 of the browser's
    binding cookie: an answer that another browser brings is login CSRF. `code` is the SHA-256 of the one-use code
    that carries a verified SAML sign-in from the cross-site POST to the same-site GET. `identity` is what it proved, kept
    until then; `subject` the digest of whose it is (identity.Subject), for ending what is on its way. `relay_state`: "" until an
    answer that came with the request's id, or with the state, was refused.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    key = models.CharField(max_length=64, unique=True)
    provider = models.CharField(max_length=64)
    binding = models.CharField(max_length=64, blank=True, default="")
    next_path = models.CharField(max_length=2048, blank=True, default="/")
    nonce = models.CharField(max_length=128, blank=True, default="")
    code_verifier = models.CharField(max_length=128, blank=True, default="")
    relay_state = models.CharField(max_length=128, blank=True, default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    received_at = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=64, null=True, blank=True, unique=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    unsolicited = models.BooleanField(default=False)
    subject = models.CharField(max_length=64, blank=True, default="", db_default="")
    identity: models.JSONField[dict[str, Any] | None, dict[str, Any] | None] = models.JSONField(null=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE
    )  # goes with the next release
    session_index = models.CharField(max_length=LONGEST_SESSION_INDEX, blank=True, default="")
    name_id: models.JSONField[dict[str, str], dict[str, str]] = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"sign-in at {self.provider}"


class UsedCredential(models.Model):
    """An assertion, ID token or logout token that has been used: inserting its key a second time fails."""

    key = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        indexes: ClassVar[list[Any]] = []

    def __str__(self) -> str:
        return self.key

    @classmethod
    def insertion(cls, key: str, *, expires_at: datetime) -> compiled.Statement:
        """The statement that inserts `key`: it raises IntegrityError where the key has been used before."""
        sql = f"INSERT INTO {compiled.table(cls)} (key, expires_at) VALUES (%s, %s)"  # noqa: S608  ours
        return sql, compiled.adapt(cls, key=key, expires_at=expires_at)

    @classmethod
    def use(cls, key: str, *, expires_at: datetime) -> bool:
        """Insert `key`; False where it has been used before. One statement: of many at once, one gets True."""
        return compiled.execute(*cls.using(key, expires_at=expires_at)) == 1

    @classmethod
    def using(cls, key: str, *, expires_at: datetime) -> compiled.Statement:
        """The statement of `use`: it changes nothing where the key has been used before."""
        sql, params = cls.insertion(key, expires_at=expires_at)
        return f"{sql} ON CONFLICT (key) DO NOTHING", params
