"""People: one row per (provider, subject format, subject), with the claims of their last verified sign-in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import connection, models
from django.db.models.functions import Upper
from django.utils.crypto import salted_hmac

from federation.models import compiled


class PersonManager(BaseUserManager["Person"]):
    """People are made by a verified sign-in (flows.sign_in), never by a form or a command."""


class Person(AbstractBaseUser):
    """Somebody who has signed in. Has no password: the base class's columns are removed.

    `subject_format` is the SAML NameID format ("" for OIDC). `groups` and `attributes` are claims as verified at
    `claims_at`. `session_epoch` goes up to end every portal session and CLI token at once.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    password = None  # type: ignore[assignment]
    last_login = None  # the audit log knows; one UPDATE less at every sign-in
    provider = models.CharField(max_length=64)
    subject_format = models.CharField(max_length=255, blank=True, default="")
    subject = models.CharField(max_length=1024)
    # Two people never share a session name, a fortiori not a source identity: the database says so too.
    session_name = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=1024, blank=True, default="")
    email = models.CharField(max_length=1024, blank=True, default="")
    active = models.BooleanField(default=True)
    session_epoch = models.PositiveIntegerField(default=0)
    groups: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    groups_complete = models.BooleanField(default=True)
    attributes: models.JSONField[dict[str, list[str]], dict[str, list[str]]] = models.JSONField(default=dict)
    mfa = models.BooleanField(default=False)
    authenticated_at = models.DateTimeField(null=True, blank=True)
    claims_at = models.DateTimeField(null=True, blank=True)
    claims_expire_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "id"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["provider", "subject_format", "subject"], name="person_is_provider_and_subject"
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index("provider", Upper("subject"), name="person_by_subject_in_any_case")
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.subject}"

    @property
    def actor(self) -> str:
        """How the audit log names this person: what its events, searches and reports are joined by."""
        return f"{self.provider}:{self.session_name}"

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        """Django's name for `active`."""
        return self.active

    def get_session_auth_hash(self) -> str:
        """Ties every session to the person's epoch: raising it ends them all."""
        return salted_hmac("federation.session", f"{self.pk}:{self.session_epoch}", algorithm="sha256").hexdigest()

    def get_session_auth_fallback_hash(self) -> Any:
        """The same under each retired SECRET_KEY, so that rotating the key signs nobody out."""
        from django.conf import settings

        for key in settings.SECRET_KEY_FALLBACKS:
            yield salted_hmac(
                "federation.session", f"{self.pk}:{self.session_epoch}", secret=key, algorithm="sha256"
            ).hexdigest()


class PastClaims(models.Model):
    """The claims that a person's sign-ins proved from `since` on, until the next row: one row a change, not one a sign-in.

    For "who could use this role on 3 May"; nothing is ever decided on it. `digest`: of the claims.
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="past_claims")
    since = models.DateTimeField()
    digest = models.CharField(max_length=64)
    groups: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    groups_complete = models.BooleanField(default=True)
    attributes: models.JSONField[dict[str, list[str]], dict[str, list[str]]] = models.JSONField(default=dict)
    mfa = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["person", "-since"], name="past_claims_of_person")]

    def __str__(self) -> str:
        return f"claims of {self.person_id} since {self.since:%Y-%m-%d %H:%M}"


def called_in_any_case(provider: str, subjects: Iterable[str]) -> set[uuid.UUID]:
    """Ids of the provider's people who have one of these subjects, whatever the case. One statement."""
    values, params = compiled.texts(subjects)
    sql = f"SELECT p.id FROM {values} JOIN {compiled.table(Person)} p ON p.provider = %s AND UPPER(p.subject) = UPPER(v.value)"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, provider])
        return {found if isinstance(found, uuid.UUID) else uuid.UUID(str(found)) for (found,) in cursor.fetchall()}
