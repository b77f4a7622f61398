"""Asking for roles that need an approval, taking them at once in an emergency, withdrawing, and giving back.

A request gives nothing. Who may say yes is `decide_requests`; whether a yes counts at a use is `approvals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import NotFound, NotSignedIn, PersonDisabled, RequestRefused, RequestStale
from federation.flows import approvals, approvers, letters, rate_limits
from federation.flows.access import catalogue_of, fresh_identity
from federation.flows.refusals import recorded
from federation.identity import Identity
from federation.mapping.durations import spoken_duration
from federation.mapping.engine import Grant
from federation.mapping.rules import GroupMatch
from federation.models import current
from federation.models.people import Person
from federation.models.requests import AccessRequest, RequestedRole
from federation.said import lines, say

PENDING_FOR = timedelta(days=3)
MOST_ROLES = 20
MOST_OPEN = 50
LONGEST_REASON = 1000
SHORTEST_SECONDS = 1_800
# Attack: asking and withdrawing in a loop would bury every approver in letters, and those about a break-glass with them.
WRITTEN_ABOUT_AN_HOUR = 10
_KINDS = {
    AccessRequest.Way.APPROVAL: Kind.ACCESS_REQUESTED,
    AccessRequest.Way.BREAK_GLASS: Kind.ACCESS_BREAK_GLASS,
}
_PRESETS = (1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400, 259_200, 604_800, 2_592_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request for these roles may be. `at_most` in seconds; `at_once`: for how long they may be taken without a yes.

    `grants`: in the order asked for, each with the approval that its rule asks for.
    """

    person: Person
    identity: Identity
    revision: int
    grants: tuple[Grant, ...]
    at_most: int
    at_once: int | None
    reason_required: bool

    @property
    def durations(self) -> tuple[int, ...]:
        """Presets up to `at_most`, in seconds."""
        return presets(self.at_most)

    @property
    def approvers(self) -> tuple[GroupMatch, ...]:
        """Every group that may say yes to one of the roles."""
        return tuple(dict.fromkeys(match for grant in self.grants if grant.approval for match in grant.approval.by))


def presets(at_most: int) -> tuple[int, ...]:
    """The lengths of time to offer, in seconds; `at_most` itself is the last."""
    return tuple(dict.fromkeys([seconds for seconds in _PRESETS if seconds < at_most] + [at_most]))


def plan(person_id: UUID | str, role_arns: Sequence[str], *, now: datetime) -> Plan:
    """What this person may ask for of these roles, by the mapping in force. Raises RequestRefused, and what `access` raises."""
    wanted = tuple(dict.fromkeys(role_arns))
    if not wanted:
        raise RequestRefused("no_role", sentence="Choose at least one role.")
    if len(wanted) > MOST_ROLES:
        raise RequestRefused(
            "too_many_roles", sentence=say("One request may name {number} roles at most.", number=MOST_ROLES)
        )
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise NotSignedIn("person_unknown")
    mapping = current.mapping()
    identity = fresh_identity(person, mapping, now=now)
    catalogue = catalogue_of(mapping, wanted)
    grants = []
    for arn in wanted:
        verdict = mapping.compiled.verdict(identity, arn, now, catalogue)
        if verdict.allowed:
            raise RequestRefused(
                "role_allowed", sentence="You can use this role already, without an approval.", role_arn=arn
            )
        if verdict.grant is None or verdict.grant.approval is None:
            raise RequestRefused(
                f"not_requestable:{verdict.code}",
                sentence="This role is not one that you can ask for. “Why?” on its page says what is missing, and whom to ask.",
                role_arn=arn,
            )
        grants.append(verdict.grant)
    rules = [grant.approval for grant in grants if grant.approval is not None]
    at_once = [
        rule.break_glass.at_most
        for rule in rules
        if rule.break_glass is not None and mapping.compiled.may_break_glass(identity, rule)
    ]
    return Plan(
        person=person,
        identity=identity,
        revision=mapping.number,
        grants=tuple(grants),
        at_most=min(rule.at_most for rule in rules),
        at_once=min(at_once) if len(at_once) == len(rules) else None,
        reason_required=any(rule.reason == "required" for rule in rules),
    )


def ask(
    person_id: UUID | str,
    role_arns: Sequence[str],
    *,
    reason: str,
    duration: int,
    channel: str,
    origin: Origin,
    now: datetime,
) -> AccessRequest:
    """A request for these roles, for `duration` seconds. Raises RequestRefused, RateLimited, and what `plan` raises.

    A refusal is recorded too.
    """
    with _recorded(Kind.ACCESS_REQUESTED, person_id, role_arns, channel=channel, origin=origin, now=now):
        rate_limits.hit("requests", person=str(person_id), address=origin.address, now=now)
        planned = plan(person_id, role_arns, now=now)
        said = _reason(reason, required=planned.reason_required)
        _check_duration(duration, planned.at_most)
        with transaction.atomic():
            _lock(planned.person)
            _refuse_doubles(planned, now)
            return _make(planned, AccessRequest.Way.APPROVAL, said, duration, channel=channel, origin=origin, now=now)


def break_glass(
    person_id: UUID | str,
    role_arns: Sequence[str],
    *,
    reason: str,
    duration: int,
    confirmation: str,
    channel: str,
    origin: Origin,
    now: datetime,
) -> AccessRequest:
    """Take roles of one account at once, where their rules allow that to this person; told aloud, reviewed afterwards.

    `confirmation`: the account's name, typed: the second look. A reason is always required. Raises as `ask` does.
    """
    with _recorded(Kind.ACCESS_BREAK_GLASS, person_id, role_arns, channel=channel, origin=origin, now=now):
        rate_limits.hit("requests", person=str(person_id), address=origin.address, now=now)
        planned = plan(person_id, role_arns, now=now)
        if planned.at_once is None:
            raise RequestRefused(
                "break_glass_not_allowed", sentence="The rule does not let you take this role without an approval."
            )
        accounts = {grant.account.id: grant.account.name for grant in planned.grants}
        if len(accounts) > 1:
            raise RequestRefused("break_glass_one_account", sentence="Take roles of one account at a time.")
        said = _reason(reason, required=True)
        _check_duration(duration, planned.at_once)
        if confirmation.strip() != next(iter(accounts.values())):
            raise RequestRefused("not_confirmed", sentence="Type the account's name, letter by letter, to confirm.")
        with transaction.atomic():
            _lock(planned.person)
            return _make(
                planned, AccessRequest.Way.BREAK_GLASS, said, duration, channel=channel, origin=origin, now=now,
                ends_at=now + timedelta(seconds=duration),
            )  # fmt: skip


def withdraw(person_id: UUID | str, request_id: UUID | str, *, origin: Origin, now: datetime) -> AccessRequest:
    """The asker takes back what nobody has decided on yet. Raises NotFound (also for somebody else's), RequestStale."""
    with transaction.atomic():
        request = lock_request(request_id)
        if str(request.person_id) != str(person_id):
            raise NotFound("request_of_another")
        items = request.items.filter(state=RequestedRole.State.PENDING)
        arns = list(items.values_list("role_arn", flat=True))
        if not arns or request.expires_at <= now:
            raise RequestStale(
                "nothing_to_withdraw", sentence="There is nothing left to withdraw: it was decided, or has expired."
            )
        items.update(state=RequestedRole.State.WITHDRAWN, decided_at=now)
        request.withdrawn_at = now
        request.save(update_fields=["withdrawn_at"])
        record(
            Kind.ACCESS_WITHDRAWN,
            actor=request.person.actor,
            outcome="ok",
            origin=origin,
            now=now,
            person=str(request.person_id),
            request=str(request.pk),
            roles=arns,
        )
    return request


def give_back(person_id: UUID | str, request_id: UUID | str, item_id: int, *, origin: Origin, now: datetime) -> None:
    """The person ends an approval of theirs before its time. Raises NotFound, RequestStale.

    Sessions that were made under it live on at AWS until they expire, as everywhere.
    """
    with transaction.atomic():
        request = lock_request(request_id)
        if str(request.person_id) != str(person_id):
            raise NotFound("request_of_another")
        end_item(request, item_id, by=request.person, origin=origin, now=now)


def end_item(request: AccessRequest, item_id: int, *, by: Person, origin: Origin, now: datetime) -> None:
    """End one approved role now, inside the caller's transaction, which has locked the request. Raises NotFound, RequestStale."""
    item = request.items.filter(pk=item_id).first()
    if item is None:
        raise NotFound("item_unknown")
    if item.standing(request.expires_at, now) != "active":
        raise RequestStale("not_active", sentence="This approval has already ended.")
    item.ended_at = now
    item.save(update_fields=["ended_at"])
    record(
        Kind.ACCESS_ENDED,
        actor=by.actor,
        outcome="ok",
        origin=origin,
        now=now,
        person=str(request.person_id),
        request=str(request.pk),
        role_arn=item.role_arn,
    )


def lock_request(request_id: UUID | str) -> AccessRequest:
    """The request, locked until the transaction ends: of a yes, a no and a withdrawal at once, one wins. Raises NotFound."""
    request = (
        AccessRequest.objects.select_for_update(of=("self",)).select_related("person").filter(pk=request_id).first()
    )
    if request is None:
        raise NotFound("request_unknown")
    return request


def who_can_approve(planned: Plan, *, now: datetime) -> approvers.Approvers:
    """The known people who could say yes to one of the roles."""
    mapping = current.mapping()
    rules = tuple(dict.fromkeys(grant.approval for grant in planned.grants if grant.approval))
    named = [approvers.Named(rule.by, rule.provider) for rule in rules]
    return approvers.known(
        named, mapping, lambda identity: any(mapping.compiled.may_approve(identity, rule) for rule in rules),
        but=[planned.person.pk], now=now,
    )  # fmt: skip


# --- Parts --------------------------------------------------------------------------------------------


def _recorded(
    kind: Kind, person_id: UUID | str, role_arns: Sequence[str], *, channel: str, origin: Origin, now: datetime
) -> AbstractContextManager[None]:
    """Record a request that is refused inside the block."""
    roles = [arn[:300] for arn in role_arns[:MOST_ROLES]]
    return recorded(kind, actor=str(person_id), origin=origin, now=now, channel=channel, roles=roles)


def _make(
    planned: Plan,
    way: AccessRequest.Way,
    reason: str,
    duration: int,
    *,
    channel: str,
    origin: Origin,
    now: datetime,
    **about: Any,
) -> AccessRequest:
    """Store a request, write to those who may say yes, record it: inside the caller's transaction, which has locked the person.

    `about`: what else its event says.
    """
    request = _store(planned, way, reason, duration, now)
    told = who_can_approve(planned, now=now).people if _is_written_about(request, now) else ()
    letters.write(
        [person.email for person in told],
        subject=_subject(way, approvers.name_of(planned.person), _named(planned.grants)),
        body=_letter(request, planned),
        now=now,
    )
    record(
        _KINDS[way],
        actor=planned.person.actor,
        outcome="ok",
        origin=origin,
        now=now,
        channel=channel,
        person=str(planned.person.pk),
        request=str(request.pk),
        roles=[grant.role_arn for grant in planned.grants],
        rules=[grant.rule for grant in planned.grants],
        revision=planned.revision,
        duration=duration,
        told=len(told),
        why=reason,
        **about,
    )
    return request


def _is_written_about(request: AccessRequest, now: datetime) -> bool:
    """Whether approvers get a letter: of a break-glass always, of the rest so many an hour. They find all on their page."""
    if request.kind == AccessRequest.Way.BREAK_GLASS:
        return True
    lately = AccessRequest.objects.filter(person=request.person, created_at__gt=now - timedelta(hours=1))
    return lately.exclude(kind=AccessRequest.Way.BREAK_GLASS).count() <= WRITTEN_ABOUT_AN_HOUR


def _lock(person: Person) -> None:
    """Two requests of one person at once take turns: each sees what the other asked for.

    Attack: everything is taken away from the person while they break the glass; what waited here would be stored after it.
    Raises NotSignedIn(session_ended), PersonDisabled.
    """
    held = Person.objects.select_for_update().filter(pk=person.pk).first()
    if held is None or held.session_epoch != person.session_epoch:
        if held is not None and not held.active:
            raise PersonDisabled("person_disabled")
        raise NotSignedIn("session_ended")


def _refuse_doubles(planned: Plan, now: datetime) -> None:
    pending = RequestedRole.objects.filter(
        person=planned.person, state=RequestedRole.State.PENDING, request__expires_at__gt=now
    )
    open_arns = set(pending.values_list("role_arn", flat=True))
    if open_arns & {grant.role_arn for grant in planned.grants}:
        raise RequestRefused(
            "already_asked", sentence="You have asked for one of these roles already, and nobody has decided yet."
        )
    if len(open_arns) >= MOST_OPEN:
        raise RequestRefused("too_many_open", sentence="Too many of your requests are open. Withdraw some first.")


def _store(planned: Plan, kind: AccessRequest.Way, reason: str, duration: int, now: datetime) -> AccessRequest:
    request = AccessRequest.objects.create(
        person=planned.person, kind=kind, reason=reason, duration=duration, created_at=now, expires_at=now + PENDING_FOR
    )
    at_once = kind == AccessRequest.Way.BREAK_GLASS
    rows = []
    for grant in planned.grants:
        row = RequestedRole(request=request, person=planned.person, role_arn=grant.role_arn, rule=grant.rule)
        if at_once and grant.approval is not None and grant.approval.break_glass is not None:
            named = current.mapping().compiled.matched(planned.identity, grant.approval.break_glass.by)
            row.state, row.decided_at = RequestedRole.State.APPROVED, now
            row.ends_at = now + timedelta(seconds=duration)
            row.approved_as = [approvals.key_of(match) for match in named]
        rows.append(row)
    RequestedRole.objects.bulk_create(rows)
    return request


def _reason(text: str, *, required: bool) -> str:
    said = text.strip()
    if required and len(said) < 3:
        raise RequestRefused(
            "reason_missing", sentence="Say what you need it for: whoever decides reads it.", field="reason"
        )
    if len(said) > LONGEST_REASON:
        raise RequestRefused(
            "reason_too_long",
            sentence=say("The reason has {number} characters at most.", number=LONGEST_REASON),
            field="reason",
        )
    return said


def _check_duration(seconds: int, at_most: int) -> None:
    if not SHORTEST_SECONDS <= seconds <= at_most:
        raise RequestRefused(
            "duration_out_of_range",
            sentence=say(
                "Ask for {shortest} to {longest}: the rule allows no more.",
                shortest=spoken_duration(SHORTEST_SECONDS),
                longest=spoken_duration(at_most),
            ),
            field="duration",
        )


def _named(grants: Sequence[Grant]) -> str:
    first = say("{role} in {account}", role=grants[0].role_name, account=grants[0].account.name)
    return first if len(grants) == 1 else say("{names} and {more} more", names=first, more=len(grants) - 1)


def _subject(way: AccessRequest.Way, name: str, roles: str) -> str:
    if way == AccessRequest.Way.BREAK_GLASS:
        return say("BREAK-GLASS: {name} took {roles}", name=name, roles=roles)
    return say("{name} asks for {roles}", name=name, roles=roles)


def _letter(request: AccessRequest, planned: Plan) -> str:
    person = planned.person
    pieces = {
        "name": approvers.name_of(person),
        "address": person.email or person.subject,
        "roles": lines(
            [
                say(
                    "  {role} in {account} ({arn})",
                    role=grant.role_name,
                    account=grant.account.name,
                    arn=grant.role_arn,
                )
                for grant in planned.grants
            ]
        ),
        "time": spoken_duration(request.duration),
        "reason": request.reason or say("none given"),
    }
    if request.kind == AccessRequest.Way.BREAK_GLASS:
        text = say(
            "{name} ({address}) took, without an approval,\n\n{roles}\n\nfor {time}.\n\nReason: {reason}", **pieces
        )
    else:
        text = say("{name} ({address}) asks for\n\n{roles}\n\nfor {time}.\n\nReason: {reason}", **pieces)
    return letters_body(text, request)


def letters_body(text: str, request: AccessRequest) -> str:
    """The text, and where to look at the request."""
    return letters.body(text, f"/requests/{request.pk}/")
