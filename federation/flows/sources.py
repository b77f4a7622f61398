"""The state of each outside source, and the answers that the brake holds until a person has decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import F, QuerySet

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.directory.snapshot import Difference, HoldReason, LetThrough, fingerprints, hold
from federation.errors import BadRequest, NotFound, RolegateError
from federation.flows import background
from federation.models.sync import HeldAnswer, Source

log = structlog.get_logger(__name__)
_SHOWN = 200
_MOST_KEPT = 1_000_000  # removals whose fingerprints are kept: 16 MB


class AnswerHeld(RolegateError):
    """The brake stopped an answer; `reason` says why (empty_answer, too_many_removed). The last good state stays in force."""

    code = "answer_held"
    status = 409
    sentence = (
        "The answer takes away so much that it waits for a person: look at it with `manage.py held`, then accept or refuse it. "
        "The last good state stays in force."
    )


def attempted(key: str, *, now: datetime) -> Source:
    """The source's row, with this attempt noted."""
    source, _ = Source.objects.update_or_create(key=key, defaults={"attempted_at": now})
    return source


def failed(key: str, error: RolegateError, *, now: datetime) -> None:
    """Note that the source could not be read. What was taken over before stays."""
    state = Source.State.HELD if isinstance(error, AnswerHeld) else Source.State.FAILED
    aws_code = getattr(error, "aws_code", "")
    detail = f"{aws_code} {error.detail}".strip()[:500]
    Source.objects.update_or_create(
        key=key, defaults={"attempted_at": now, "state": state, "error_code": error.reason[:64], "error_detail": detail}
    )


def taken_over(key: str, *, changed: bool, counts: Mapping[str, Any], now: datetime) -> None:
    """Note that an answer is in force; `version` goes up where it changed anything. An answer that waited is overtaken."""
    Source.objects.filter(pk=key).update(
        state=Source.State.OK, attempted_at=now, succeeded_at=now, error_code="", error_detail="", counts=dict(counts)
    )
    if changed:
        Source.objects.filter(pk=key).update(version=F("version") + 1)
    held = HeldAnswer.objects.filter(source_id=key)
    held.filter(decision=HeldAnswer.Decision.WAITING).update(decision=HeldAnswer.Decision.OVERTAKEN, decided_at=now)
    held.exclude(removals=None).update(removals=None)


def moved_on(key: str, *, now: datetime) -> None:
    """Raise the version of a source that is derived from others (the roles' tags, out of the accounts' listings)."""
    Source.objects.get_or_create(key=key)
    Source.objects.filter(pk=key).update(
        version=F("version") + 1, state=Source.State.OK, attempted_at=now, succeeded_at=now
    )


def brake(
    key: str, found: Difference[Any], *, now: datetime, about: str = "", effect: Callable[[], Any] | None = None
) -> None:
    """Let the answer pass, or hold it and raise AnswerHeld. What a person has accepted passes, once: see `stop`.

    `about`: what people call the source, where its key says little. `effect`: as in `stop`. Call it outside a transaction:
    what it notes must outlast the error.
    """
    why = hold(found)
    if why:
        stop(key, why, found, now=now, about=about, effect=effect)


def stop(
    key: str,
    why: str,
    found: Difference[Any],
    *,
    now: datetime,
    about: str = "",
    effect: Callable[[], Any] | None = None,
    beyond: Callable[[LetThrough], HoldReason] | None = None,
) -> None:
    """Hold the answer for this reason and raise AnswerHeld, unless a person has accepted it. Call it as `brake`.

    Of a large company no two answers are alike: until one is accepted, somebody else has left. So whatever comes passes if the
    brake would let it pass with the accepted removals done already; it is what two answers in a row would be let do.

    `effect`: what it would mean for people, worked out where the answer is held for the first time and kept with it. `beyond`:
    why the answer would be held if these removals were done; by itself, what `hold` says of the rest of them.
    """
    why_beyond = beyond or (lambda accepted: accepted.beyond(found))
    ask = True
    for row in _since_last_answer(key).filter(decision__in=_DECIDED):
        prints = LetThrough.of(bytes(row.removals)) if row.removals else None
        same = row.digest == found.removal_digest or (prints is not None and not why_beyond(prints))
        if same and row.decision == HeldAnswer.Decision.ACCEPTED:
            return
        # Whoever has refused this is not asked again each hour.
        ask = ask and not (same and (prints is None or prints.is_like(found)))
    waits = HeldAnswer.objects.filter(source_id=key, digest=found.removal_digest, decision=HeldAnswer.Decision.WAITING)
    if ask and not waits.exists():
        summary = _summary(why, found, about)
        if effect is not None:
            summary["effect"] = effect()
        _hold(key, found, summary, ask=True, now=now)
    elif not ask:
        _hold(key, found, {}, ask=False, now=now)
    raise AnswerHeld(why, detail=f"{len(found.removed)} of {found.before} would go")


_DECIDED = (HeldAnswer.Decision.ACCEPTED, HeldAnswer.Decision.REFUSED)


def _since_last_answer(key: str) -> QuerySet[HeldAnswer]:
    """What was held since an answer of the source was last taken over.

    An older acceptance has been used, or overtaken: when the same roles come back and vanish again, it is a new question.
    """
    rows = HeldAnswer.objects.filter(source_id=key)
    succeeded = Source.objects.filter(pk=key).values_list("succeeded_at", flat=True).first()
    return rows if succeeded is None else rows.filter(held_at__gt=succeeded)


def _summary(why: str, found: Difference[Any], about: str) -> dict[str, Any]:
    return {
        "why": why,
        **({"about": about} if about else {}),
        "before": found.before,
        "after": found.after,
        "added": len(found.added),
        "changed": len(found.changed),
        "removed": len(found.removed),
        "examples": list(found.removed[:_SHOWN]),
    }


def _hold(key: str, found: Difference[Any], summary: Mapping[str, Any], *, ask: bool, now: datetime) -> None:
    """Keep at most one answer waiting: this one. `ask` False: not even this one."""
    digest = found.removal_digest
    kept = fingerprints(found.removed) if len(found.removed) <= _MOST_KEPT else None
    with transaction.atomic():
        waiting = HeldAnswer.objects.select_for_update().filter(
            source_id=key, decision=HeldAnswer.Decision.WAITING
        ).first()  # fmt: skip
        if waiting is not None and waiting.digest == digest:
            return
        if waiting is not None:
            waiting.decision, waiting.decided_at, waiting.removals = HeldAnswer.Decision.OVERTAKEN, now, None
            waiting.save(update_fields=["decision", "decided_at", "removals"])
        if ask:
            HeldAnswer.objects.create(source_id=key, digest=digest, summary=dict(summary), removals=kept, held_at=now)


def waiting() -> list[HeldAnswer]:
    """The answers that wait for a person, oldest first."""
    return list(HeldAnswer.objects.filter(decision=HeldAnswer.Decision.WAITING).defer("removals").order_by("held_at"))


def decided(*, most: int) -> list[HeldAnswer]:
    """The answers that were decided or overtaken, the latest first."""
    rows = HeldAnswer.objects.exclude(decision=HeldAnswer.Decision.WAITING).exclude(decided_at=None)
    return list(rows.defer("removals").order_by("-decided_at")[:most])


def decide(
    key: str, *, accept: bool, actor: str, origin: Origin, now: datetime, shown: datetime | None = None
) -> HeldAnswer:
    """Let the waiting answer of a source through, or refuse it. In force it comes with the next read, see `stop`: a source
    that the gateway reads is read again at once, if a worker is there. `shown`: `held_at` of the answer that was looked at.

    What was refused may be accepted after all, as long as no answer was taken over since.
    Raises NotFound where none waits, BadRequest where another has decided at the same moment (decided_already), or another
    answer than the one that was shown waits (answer_changed).
    """
    with transaction.atomic():
        held = HeldAnswer.objects.defer("removals").filter(source_id=key)
        row = held.filter(decision=HeldAnswer.Decision.WAITING).first()
        if row is None and accept:
            refused = _since_last_answer(key).filter(decision=HeldAnswer.Decision.REFUSED)
            row = refused.defer("removals").order_by("held_at").last()
        if row is None:
            raise NotFound("no_answer_waits", sentence="No answer of this source waits for a decision.")
        if shown is not None and shown != row.held_at:
            # Between the look and the word another answer has come, which takes away something else.
            raise BadRequest("answer_changed", sentence="Another answer has come meanwhile: look at it first.")
        decision = HeldAnswer.Decision.ACCEPTED if accept else HeldAnswer.Decision.REFUSED
        mine = HeldAnswer.objects.filter(pk=row.pk, decision=row.decision)
        if mine.update(decision=decision, decided_by=actor[:255], decided_at=now) != 1:
            raise BadRequest("decided_already", sentence="Somebody else has just decided this.")
        record(
            Kind.ANSWER_DECIDED,
            actor=actor,
            outcome="ok",
            origin=origin,
            now=now,
            source=key,
            decision=decision.value,
            removed=row.summary.get("removed", 0),
            digest=row.digest,
        )
        if accept:
            Source.objects.filter(pk=key).update(
                attempted_at=None
            )  # as if never tried: due at once, and before all others
    if accept:
        _read_again(key)
    row.decision = decision
    return row


_READ_BY: Final[Mapping[str, str]] = {
    "account": "refresh_catalogue", "organization": "refresh_catalogue", "directory": "refresh_directory",
}  # fmt: skip


def is_read(key: str) -> bool:
    """Whether the gateway reads the source itself: what pushes comes again by its own time."""
    return key.partition(":")[0] in _READ_BY


def _read_again(key: str) -> None:
    """The longer it takes, the more likely is another answer than the one that was accepted. What pushes sends it again."""
    task = _READ_BY.get(key.partition(":")[0])
    if task is None:
        return
    try:
        background.send(task)
    except background.BrokerAway as error:
        log.warning("source_not_read_at_once", source=key, reason=error.reason)  # it is at its own time
