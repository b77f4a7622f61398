"""The event by which credentials, or a console, leave the gateway: in the log's own order, nothing leaves behind what took it away."""

from __future__ import annotations

from datetime import datetime
from functools import cache, partial
from typing import Any

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import Guard, record
from federation.flows.access import Access, decide_anew
from federation.flows.minting import under_approval
from federation.models import compiled
from federation.models.mapping import MappingRevision
from federation.models.people import Person


class _Changed(Exception):
    """The person, or the revision in force, is not what the decision was taken on."""


def record_handed_out(access: Access, kind: Kind, *, channel: str, origin: Origin, now: datetime, **data: Any) -> None:
    """Write the event of a use under this grant. Call it last: what was made may leave once it returns.

    Attack: somebody is disabled, or their sign-ins are ended, after the decision, while STS answers or while another event has
    the head of the log. Whoever reads the log would find that access ended, and then that it was used. So the person is looked
    at once more where the event gets its place; where that, or the revision in force, has changed, the decision is taken again.
    Raises what `decide_anew` raises, and what `record` raises.
    """
    while True:
        try:
            with transaction.atomic():
                record(
                    kind,
                    actor=access.actor,
                    outcome="ok",
                    origin=origin,
                    now=now,
                    guard=Guard(_standing(access), partial(_refuse_what_changed, access)),
                    channel=channel,
                    person=str(access.person.pk),
                    role_arn=access.grant.role_arn,
                    rule=access.grant.rule,
                    revision=access.revision,
                    **under_approval(access),
                    source_identity=access.person.session_name,
                    **data,
                )
        except _Changed:
            # Outside the lock that everybody waits for: reading a large document for the first time takes a second.
            access = decide_anew(access, now=now)
        else:
            return


def _standing(access: Access) -> compiled.Statement:
    return _standing_sql(), compiled.adapt(Person, id=access.person.pk)


@cache
def _standing_sql() -> str:
    newest = f"(SELECT max(number) FROM {compiled.table(MappingRevision)})"  # noqa: S608  ours
    return f"SELECT active, session_epoch, {newest} FROM {compiled.table(Person)} WHERE id = %s"  # noqa: S608


def _refuse_what_changed(access: Access, answer: compiled.Answer) -> None:
    if not answer.rows:
        raise _Changed
    active, epoch, revision = answer.rows[0]
    if not active or (epoch, revision or 0) != (access.person.session_epoch, access.revision):
        raise _Changed
