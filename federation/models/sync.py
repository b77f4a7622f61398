"""What keeps the mapping true in the background: sources and their state, leases, runs, answers held for a person."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models


class Source(models.Model):
    """Something outside that is read again and again: an account's roles, the organization, a directory.

    `key`: `account:<id>`, `organization` or `directory:<slug>`. `version` goes up with each change that was taken over:
    whoever keeps something derived from the source compares it. `state`: how the last attempt ended; the last good
    answer stays in force whatever it is. `counts`: of the answer in force; of an account, `roles`, `unusable` (those whose ARN no
    gateway can use) and `examples` of these.
    """

    class State(models.TextChoices):
        """never: not read yet. ok: taken over. failed: could not be read. held: read, and waits for a person."""

        NEVER = "never"
        OK = "ok"
        FAILED = "failed"
        HELD = "held"

    key = models.CharField(max_length=80, primary_key=True)
    version = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.NEVER)
    attempted_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=64, blank=True, default="")
    error_detail = models.CharField(max_length=500, blank=True, default="")
    counts: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["attempted_at"], name="source_by_attempt")]

    def __str__(self) -> str:
        return f"{self.key} ({self.state})"


class HeldAnswer(models.Model):
    """An answer that the brake has stopped: empty, or suddenly much smaller. The last good state goes on meanwhile.

    `summary`: what taking it over would do. `digest`: of the answer, so that the same answer again is the same row, and
    so that what a person lets through is what they were shown. `removals`: what would go, as `directory.snapshot.fingerprints`
    has it, for as long as it may be asked for; None where it is too much to keep.
    """

    class Decision(models.TextChoices):
        """waiting, let through by a person, refused by a person, or overtaken by a later answer."""

        WAITING = "waiting"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        OVERTAKEN = "overtaken"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="held")
    digest = models.CharField(max_length=64)
    summary: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    removals = models.BinaryField(null=True, default=None)
    held_at = models.DateTimeField()
    decision = models.CharField(max_length=10, choices=Decision.choices, default=Decision.WAITING)
    decided_by = models.CharField(max_length=255, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["source"], condition=models.Q(decision="waiting"), name="one_answer_waits_per_source"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source_id} {self.decision}"


class Lease(models.Model):
    """Who works on what, until when. `token` goes up with every holder: an old holder that wakes up cannot write."""

    name = models.CharField(max_length=80, primary_key=True)
    holder = models.CharField(max_length=64)
    token = models.BigIntegerField(default=0)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class TaskRun(models.Model):
    """One run of a background task, for the people who run the gateway. `done` of `total` units; `detail` holds no secret."""

    class Outcome(models.TextChoices):
        """running; ok; failed (`error_code`); skipped: another worker had the lease; lost: its worker died."""

        RUNNING = "running"
        OK = "ok"
        FAILED = "failed"
        SKIPPED = "skipped"
        LOST = "lost"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.RUNNING)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=64, blank=True, default="")
    detail: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["task", "-started_at"], name="run_of_task")]

    def __str__(self) -> str:
        return f"{self.task} {self.outcome}"
