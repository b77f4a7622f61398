"""Asking for roles that need an approval: the requests, what became of each role in them, and the letters about it.

An approval is a row with an end. It gives nothing by itself: `flows.approvals` holds it against the mapping in force
at each use.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class AccessRequest(models.Model):
    """One request of one person: some roles, for one reason, for `duration` seconds from the moment of the yes.

    `expires_at`: nobody can decide on it any more from then on. `kind` "break_glass": the person took the roles at once, and
    somebody looks at it afterwards (`reviewed_…`).
    """

    class Way(models.TextChoices):
        """By whose word."""

        APPROVAL = "approval"
        BREAK_GLASS = "break_glass"

    class Finding(models.TextChoices):
        """What a review of a break-glass found."""

        JUSTIFIED = "justified"
        NOT_JUSTIFIED = "not_justified"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="access_requests")
    kind = models.CharField(max_length=16, choices=Way.choices, default=Way.APPROVAL)
    reason = models.CharField(max_length=1000, blank=True, default="")
    duration = models.PositiveIntegerField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    finding = models.CharField(max_length=16, choices=Finding.choices, blank=True, default="")
    review_comment = models.CharField(max_length=1000, blank=True, default="")

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["person", "-created_at"], name="requests_of_person"),
            models.Index(fields=["kind", "reviewed_at"], name="requests_to_review"),
        ]

    def __str__(self) -> str:
        return f"request {self.id}"


class RequestedRole(models.Model):
    """One role of a request, decided on by itself.

    `rule`: the mapping's rule that asks for the approval. `approved_as`: the groups (as the rule writes them) by which whoever
    said yes might say so: an approval counts only while the rule still names one of them.
    """

    class State(models.TextChoices):
        """What was said. That time has run out is not written down: it is compared."""

        PENDING = "pending"
        APPROVED = "approved"
        REFUSED = "refused"
        WITHDRAWN = "withdrawn"

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(AccessRequest, on_delete=models.CASCADE, related_name="items")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    role_arn = models.CharField(max_length=2048)
    rule = models.CharField(max_length=255)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PENDING)
    approved_as: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.CharField(max_length=1000, blank=True, default="")
    ends_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["request", "role_arn"], name="one_role_once_a_request")
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["person", "state", "ends_at"], name="requested_roles_of_person"),
            models.Index(fields=["state", "id"], name="requested_roles_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.role_arn} in {self.request_id}"

    def standing(self, expires_at: datetime, now: datetime) -> str:
        """`pending`, `expired`, `active`, `ended`, `refused` or `withdrawn` at that moment; `expires_at`: the request's."""
        if self.state == self.State.PENDING:
            return "pending" if now < expires_at else "expired"
        if self.state == self.State.APPROVED:
            over = self.ended_at is not None or self.ends_at is None or self.ends_at <= now
            return "ended" if over else "active"
        return self.state


class Letter(models.Model):
    """An e-mail that is to be sent, written in the transaction of what it tells of: a mail server that is away loses none.

    `next_try_at` null: sent, or given up (`gave_up_at`).
    """

    id = models.BigAutoField(primary_key=True)
    to = models.CharField(max_length=320)
    subject = models.CharField(max_length=255)
    body = models.TextField()
    created_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    gave_up_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["next_try_at"], name="letters_to_send")]

    def __str__(self) -> str:
        return f"letter {self.id}"
