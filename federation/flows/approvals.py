"""Whether an approval counts now. The one place where a stored yes meets the mapping in force.

An approval never outlives the rule that asked for it: it counts for the role while that rule, by name, still gives the role to
this person with an approval, and still names a group by which the yes was given, of a provider whose word counts. It ends when it says so, or earlier where
the rule now allows less. Nothing is copied out of the mapping but the rule's name and those groups' patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from federation.errors import ApprovalRequired
from federation.identity import Identity
from federation.mapping.engine import CompiledMapping, Grant
from federation.mapping.leaves import SHORTEST_SESSION
from federation.mapping.rules import GroupMatch
from federation.models.people import Person
from federation.models.requests import AccessRequest, RequestedRole

# STS takes some of it, and its clock is not ours: credentials end a little before the approval, never after it.
_ON_THE_WAY = timedelta(seconds=5)
_WITH = ("request", "decided_by")  # what `valid` looks at besides the row


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval that counts: which, until when, and whether the person gave it to themself (break-glass)."""

    item_id: int
    request_id: UUID
    ends_at: datetime
    break_glass: bool

    def seconds_left(self, now: datetime) -> int:
        """How long a session may be that begins now."""
        return int((self.ends_at - _ON_THE_WAY - now).total_seconds())


def key_of(match: GroupMatch) -> str:
    """How `approved_as` names a group of a rule: the glob `sre-*` is another word than the exact name `sre-*`."""
    return f"{match.kind}:{match.pattern}"


def open_of(person: Person, *, now: datetime) -> list[RequestedRole]:
    """What this person has asked for and is not over: open requests, and approvals that have not ended. One statement."""
    pending = Q(state=RequestedRole.State.PENDING, request__expires_at__gt=now)
    approved = Q(state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now)
    return list(RequestedRole.objects.filter(pending | approved, person=person).select_related(*_WITH))


def pending(person: Person, role_arns: Sequence[str], *, now: datetime) -> UUID | None:
    """The person's open request, on which nobody has decided yet, that names one of these roles. One statement."""
    rows = RequestedRole.objects.filter(
        person=person, role_arn__in=role_arns, state=RequestedRole.State.PENDING, request__expires_at__gt=now
    )
    return rows.values_list("request_id", flat=True).first()


def valid(
    rows: Iterable[RequestedRole], grant: Grant, identity: Identity, compiled: CompiledMapping, *, now: datetime
) -> Approved | None:
    """The approval among `rows` that counts for this grant the longest, or None."""
    counting = [found for row in rows if (found := _counts(row, grant, identity, compiled, now)) is not None]
    return max(counting, key=lambda found: found.ends_at, default=None)


def require(person: Person, grant: Grant, identity: Identity, compiled: CompiledMapping, *, now: datetime) -> Approved:
    """The approval under which a session of at least 15 minutes may begin now. One statement.

    Raises ApprovalRequired: approval_required without one; approval_ending where it ends too soon for the shortest session
    that AWS gives (STS AssumeRole: DurationSeconds is 900 at least).
    """
    rows = RequestedRole.objects.filter(
        person=person, state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now, role_arn=grant.role_arn
    ).select_related(*_WITH)
    approved = valid(rows, grant, identity, compiled, now=now)
    if approved is None:
        raise ApprovalRequired("approval_required", role_arn=grant.role_arn)
    if approved.seconds_left(now) < SHORTEST_SESSION:
        raise ApprovalRequired(
            "approval_ending",
            sentence="Your approval ends in less than 15 minutes, and AWS gives no session that short. Ask again.",
        )
    return approved


def _counts(
    row: RequestedRole, grant: Grant, identity: Identity, compiled: CompiledMapping, now: datetime
) -> Approved | None:
    rule = grant.approval
    if rule is None or row.role_arn != grant.role_arn or row.rule != grant.rule:
        return None
    if row.state != row.State.APPROVED or row.ended_at is not None or row.ends_at is None or row.decided_at is None:
        return None
    break_glass = row.request.kind == AccessRequest.Way.BREAK_GLASS
    if break_glass:
        if rule.break_glass is None or not compiled.may_break_glass(identity, rule):
            return None
        named, at_most = rule.break_glass.by, rule.break_glass.at_most
    else:
        named, at_most = rule.by, rule.at_most
        if rule.provider and (row.decided_by is None or row.decided_by.provider not in rule.provider):
            return None
    if not set(row.approved_as) & {key_of(match) for match in named}:
        return None
    ends_at = min(row.ends_at, row.decided_at + timedelta(seconds=at_most))
    if ends_at <= now:
        return None
    return Approved(row.pk, row.request_id, ends_at, break_glass)


def end_all(person: Person, *, now: datetime) -> Sequence[int]:
    """Take back every approval and every open request of a person whose access is revoked. Inside the caller's transaction."""
    rows = RequestedRole.objects.filter(person=person)
    open_now = Q(state=RequestedRole.State.PENDING) | Q(
        state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now
    )
    # Attack: a yes that is being written is committed behind this look, and lives on. Whoever decides holds the request first
    # and its roles then; in the other order the two would wait for each other, and the revocation might be the one that is given up.
    requests = AccessRequest.objects.filter(pk__in=rows.filter(open_now).values("request_id"))
    list(requests.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    ended = list(
        rows.filter(state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now).values_list("pk", flat=True)
    )
    RequestedRole.objects.filter(pk__in=ended).update(ended_at=now)
    rows.filter(state=RequestedRole.State.PENDING).update(state=RequestedRole.State.WITHDRAWN, decided_at=now)
    AccessRequest.objects.filter(
        person=person, kind=AccessRequest.Way.APPROVAL, withdrawn_at=None, expires_at__gt=now
    ).update(withdrawn_at=now)
    return ended
