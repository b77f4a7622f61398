"""The only writer of the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from django.conf import settings
from django.db import DatabaseError, InternalError, OperationalError, connection, transaction

from federation.audit import chain
from federation.audit.events import Kind, Origin
from federation.errors import ServiceUnavailable
from federation.models import compiled
from federation.models.audit import AuditEvent, AuditHead
from federation.models.audit_digest import AuditDigest
from federation.models.keys import SigningKey
from federation.models.mapping import MappingRevision
from federation.redaction import without_secrets
from federation.said import say

log = structlog.get_logger(__name__)
Outcome = Literal["ok", "refused", "failed"]
_LONGEST_TEXT = 2048
_locked_head = compiled.ByKey(AuditHead, "id", for_update=True)
_append = compiled.Insert(AuditEvent)


_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is to be written: the arguments of `record`, for many at once."""

    kind: Kind
    actor: str
    outcome: Outcome
    origin: Origin
    now: datetime
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class AuditOutsideTransaction(RuntimeError):
    """An event was to be written outside a transaction: it could then survive, or miss, what it tells of."""


def _clean(value: Any) -> Any:
    """`value` as JSON that every database stores unchanged: no NUL, no lone surrogate, nothing endless; and no token that
    somebody pasted where a name belongs: what is in the log stays in it.
    """
    if isinstance(value, str):
        storable = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
        return without_secrets(storable[:_LONGEST_TEXT])
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dict):
        # The access key id is kept on purpose, where it is called so: it joins with CloudTrail.
        return {
            _clean(str(k)): v if k == "access_key_id" and isinstance(v, str) else _clean(v) for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = [_clean(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, bool | int):
        return value
    return _clean(str(value))


def content(event: AuditEvent) -> dict[str, Any]:
    """The part of a row that its mac covers: every column but the mac."""
    return {
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": event.kind,
        "outcome": event.outcome,
        "actor": event.actor,
        "reason": event.reason,
        "request_id": event.request_id,
        "address": event.address,
        "data": event.data,
    }


def keys() -> list[bytes]:
    """The chain's keys: the current one first, then those of retired secrets."""
    return [chain.chain_key(str(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


class AuditUnavailable(ServiceUnavailable):
    """The log cannot be written: its table is gone or closed to our role, or its head does not fit its rows."""

    sentence = "The gateway cannot record what it does, so it does nothing. Tell your administrators: `manage.py doctor` says why."


@contextmanager
def _storage() -> Iterator[None]:
    """A fault of the log's own storage is no bug of whoever acted: 503, as when the disk is full.

    What a database says when it is away, full or starting (OperationalError, InternalError) means that already.
    """
    try:
        yield
    except (OperationalError, InternalError):
        raise
    except DatabaseError as error:
        said = str(error).partition("\n")[0][:300]  # further lines may quote rows
        raise AuditUnavailable("audit_not_writable", detail=said, retry_after=30) from error


def lock_head() -> AuditHead:
    """The head of the log, locked until the transaction ends: whoever changes what is in force takes turns here.

    Raises AuditUnavailable, OperationalError, InternalError.
    """
    return _locked()[0]


def _locked(*questions: compiled.Statement) -> tuple[AuditHead, list[compiled.Answer]]:
    """`lock_head`, and the answers to questions that are asked once it is locked; one round trip."""
    with _storage():
        locked, *answers = compiled.ask(_locked_head.statement(1), *questions)
        head = _locked_head.found(locked)
        if head is None:
            AuditHead.objects.get_or_create(pk=1)
            head = AuditHead.objects.select_for_update().get(pk=1)
            answers = compiled.ask(*questions)
        return head, answers


@dataclass(frozen=True, slots=True)
class Guard:
    """A look at what is, once the head is locked: everything that the log tells of so far is committed then, and can be seen.

    `judge` takes the answer to `question`, which only reads; where it raises, nothing is written. So what it has looked at holds at
    the event's own place in the log, and not some time before.
    """

    question: compiled.Statement
    judge: Callable[[compiled.Answer], object]


def record(
    kind: Kind,
    *,
    actor: str,
    outcome: Outcome,
    origin: Origin,
    now: datetime,
    reason: str = "",
    guard: Guard | None = None,
    **data: Any,
) -> AuditEvent:
    """Write one event at the end of the chain, inside the caller's transaction.

    Call it last in the transaction: the head row stays locked until the commit. `data` must hold no secret. `guard`: may refuse it.
    Raises AuditOutsideTransaction, and AuditUnavailable, OperationalError or InternalError when the event cannot be stored:
    the caller's transaction then fails with it, and nothing leaves the gateway.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction(kind)
    head, answers = _locked(*([guard.question] if guard else ()))
    if guard is not None:
        guard.judge(answers[0])
    event = _linked(Entry(kind, actor, outcome, origin, now, reason, data), head.seq + 1, head.last_mac)
    with _storage():
        appended, _ = compiled.ask(_append.statement(event), _sealing(event))
    _append.stored(event, appended)
    return event


def record_all(entries: Iterable[Entry]) -> int:
    """Write many events at the end of the chain, in their order, inside the caller's transaction. Returns how many.

    As `record` writes each, with one statement for two thousand. Raises as it does.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction("record_all")
    head = lock_head()
    seq, mac, rows, written = head.seq, head.last_mac, [], 0
    for entry in entries:
        event = _linked(entry, seq + 1, mac)
        seq, mac, written = event.seq, event.mac, written + 1
        rows.append(event)
        if len(rows) >= _BATCH:
            _append_all(rows)
            rows = []
    if rows:
        _append_all(rows)
    return written


def _append_all(rows: list[AuditEvent]) -> None:
    with _storage():
        AuditEvent.objects.bulk_create(rows)
        compiled.execute(*_sealing(rows[-1]))


def _linked(entry: Entry, seq: int, previous: str) -> AuditEvent:
    """The row of an event, chained to the one before it."""
    event = AuditEvent(
        seq=seq,
        at=entry.now,
        kind=entry.kind.value,
        outcome=entry.outcome,
        actor=_clean(entry.actor)[:255],
        reason=entry.reason[:128],
        request_id=_clean(entry.origin.request_id)[:64],
        address=_clean(entry.origin.address)[:64],
        data=_clean(dict(entry.data)),
    )
    event.mac = chain.link_mac(chain.chain_key(str(settings.SECRET_KEY)), previous, seq, content(event))
    return event


def _sealing(last: AuditEvent) -> compiled.Statement:
    """The statement that moves the head to the last row."""
    key = chain.chain_key(str(settings.SECRET_KEY))
    sql = f"UPDATE {compiled.table(AuditHead)} SET seq = %s, last_mac = %s, mac = %s WHERE id = 1"  # noqa: S608  ours
    return sql, [last.seq, last.mac, chain.head_mac(key, last.seq, last.mac)]


def record_or_log(
    kind: Kind, *, actor: str, outcome: Outcome, origin: Origin, now: datetime, reason: str = "", **data: Any
) -> None:
    """Record what takes rights away: signing out, revoking. With the audit storage full these must still happen, so an
    event that cannot be stored goes to the log instead, as an alert. Never for what hands something out.

    Raises DatabaseError or AuditUnavailable when not the event alone but the caller's whole transaction is lost (the connection broke).
    """
    try:
        with transaction.atomic():
            record(kind, actor=actor, outcome=outcome, origin=origin, now=now, reason=reason, **data)
    except (DatabaseError, AuditUnavailable) as error:
        if connection.needs_rollback:
            # Not even the savepoint could be rolled back. Swallowed here, the caller's block would end in a silent
            # rollback, and a sign-out or a revocation that never happened would be reported as done.
            raise
        log.critical(
            "audit_event_lost",
            audit_kind=kind.value, actor=actor, outcome=outcome, reason=reason, kind=error.__class__.__name__, data=_clean(data),
        )  # fmt: skip


def links() -> Iterator[chain.Link]:
    """Every stored row in order, as the verifier wants it; memory bounded."""
    for event in AuditEvent.objects.order_by("seq").iterator(chunk_size=2000):
        yield chain.Link(event.seq, content(event), event.mac)


def verify() -> list[chain.Finding]:
    """Check the whole log. Returns every finding; empty means intact."""
    head = AuditHead.objects.filter(pk=1).first()
    found = list(chain.verify(links(), head=(head.seq, head.last_mac, head.mac) if head else None, keys=keys()))
    return found or list(untold(head.seq if head else 0))


def untold(seq: int) -> Iterator[chain.Finding]:
    """What the gateway has that its log does not tell of. A log that was emptied, or put back to what it was on an earlier
    day, is a whole chain: only what was recorded since betrays it. `seq`: the head's.
    """
    reached = AuditDigest.objects.filter(pk=1).first()
    if reached is not None and reached.seq:
        at = AuditEvent.objects.filter(pk=reached.seq).values_list("at", flat=True).first()
        if at != reached.at:
            # Attack: whoever writes to the database keeps a copy of the head, does what they want, and puts rows and head back.
            problem = say(
                "row {row} was added up for the reports, and is gone or another one: the log was put back to an earlier state",
                row=str(reached.seq),
            )
            yield chain.Finding(reached.seq, problem)
    if not seq and SigningKey.objects.exists():
        yield chain.Finding(1, "the log is empty, though there are signing keys, each of which was recorded")
        return
    told = set(
        AuditEvent.objects.filter(kind=Kind.MAPPING_PUBLISHED.value, outcome="ok").values_list(
            "data__revision", flat=True
        )
    )
    for number in MappingRevision.objects.order_by("number").values_list("number", flat=True):
        if number not in told:
            yield chain.Finding(
                seq + 1, f"revision {number} of the mapping was published and is not in the log: its end is cut"
            )
