"""Deciding on requests: who may, on what the request would give now; ending what was given; reviewing a break-glass.

Nobody decides on their own request, under whatever identity. An approver decides on what they saw: the terms of each role
have a digest, and where the mapping has changed between the page and the click, nothing is decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import MayNotDecide, NotFound, NotSignedIn, RequestRefused, RequestStale, RolegateError
from federation.flows import approvals, approvers, latest_word, letters, rate_limits
from federation.flows.access import catalogue_of, fresh_identity
from federation.flows.device_exclusion import refuse_by_pairing
from federation.flows.refusals import recorded
from federation.flows.request_access import LONGEST_REASON, end_item, letters_body, lock_request
from federation.flows.staff_rights import powers_of
from federation.identity import Identity
from federation.mapping.capabilities import Capability
from federation.mapping.durations import spoken_duration
from federation.mapping.engine import Grant
from federation.models import current
from federation.models.people import Person
from federation.models.requests import AccessRequest, RequestedRole
from federation.said import lines, say


@dataclass(frozen=True, slots=True)
class Terms:
    """What a yes to one role would give now. `grant` None: nothing, for the reason `code`. `seconds`: for how long.

    `seen`: digest of all that an approver is shown of it.
    """

    code: str
    grant: Grant | None
    seconds: int
    seen: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One role of a request, decided. `seen`: the digest that was shown with it."""

    item_id: int
    approve: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Decider:
    """Somebody who may have a say, with the identity that it is decided on, and the mapping in force."""

    person: Person
    identity: Identity
    mapping: current.CurrentMapping


def decider(person_id: UUID | str, *, now: datetime) -> Decider:
    """The person, on fresh claims. Raises NotSignedIn, ClaimsTooOld and what else `access.fresh_identity` raises."""
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise NotSignedIn("person_unknown")
    mapping = current.mapping()
    return Decider(person, fresh_identity(person, mapping, now=now), mapping)


def weigh(items: Sequence[RequestedRole], mapping: current.CurrentMapping, *, now: datetime) -> dict[int, Terms]:
    """The terms of each item now, by its id: a statement, however many they are. Items come with request and person."""
    people = list({item.person_id: item.request.person for item in items}.values())
    told = latest_word.identities_of(people, mapping, now=now)
    identities = {person.pk: identity for person, identity in zip(people, told, strict=True)}
    catalogue = catalogue_of(mapping, {item.role_arn for item in items})
    found = {}
    for item in items:
        identity = identities[item.person_id]
        if isinstance(identity, RolegateError) or not item.request.person.active:
            found[item.pk] = Terms(
                "person_disabled" if not isinstance(identity, RolegateError) else identity.code, None, 0, ""
            )
            continue
        verdict = mapping.compiled.verdict(identity, item.role_arn, now, catalogue)
        grant = verdict.grant
        if grant is None or grant.approval is None or verdict.code != "approval_required":
            found[item.pk] = Terms(verdict.code, None, 0, "")
        elif grant.rule != item.rule:
            found[item.pk] = Terms("rule_changed", None, 0, "")
        else:
            seconds = min(item.request.duration, grant.approval.at_most)
            found[item.pk] = Terms("approval_required", grant, seconds, _digest(grant, seconds))
    return found


def _digest(grant: Grant, seconds: int) -> str:
    told = repr((grant.role_arn, grant.rules, grant.approval, grant.session, grant.role_maximum, seconds))
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def why_not(who: Decider, request: AccessRequest, terms: Terms) -> str:
    """Why this person may not decide on a role with these terms: the reason's code, empty if they may."""
    if request.person_id == who.person.pk:
        return "own_request"
    # A person is (provider, subject), and nobody is ever let in by an address: kept out, they may be. Somebody with two
    # identities would otherwise say yes to themself.
    if who.person.email and who.person.email.casefold() == request.person.email.casefold():
        return "own_request_by_email"
    if terms.grant is None or terms.grant.approval is None:
        return "nothing_to_decide"
    if who.identity.directory_stale:
        return "approver_stale"  # the directory has been silent: whether they are still in that group nobody knows
    return "" if who.mapping.compiled.may_approve(who.identity, terms.grant.approval) else "not_an_approver"


def decide(
    person_id: UUID | str,
    request_id: UUID | str,
    choices: Sequence[Choice],
    *,
    comment: str,
    paired_by: str | None = None,
    channel: str,
    origin: Origin,
    now: datetime,
) -> AccessRequest:
    """Say yes or no to roles of a request; all of the choices, or none. Raises NotFound, MayNotDecide, RequestStale, RequestRefused.

    `paired_by`: how the calling client was paired, None for the portal itself; PairingTooWeak where a role is kept out of
    that. A refused attempt is recorded too.
    """
    with _recorded(Kind.ACCESS_DECIDED, person_id, request_id, channel=channel, origin=origin, now=now):
        rate_limits.hit("requests", person=str(person_id), address=origin.address, now=now)
        if len(comment) > LONGEST_REASON:
            raise RequestRefused(
                "comment_too_long", sentence=say("The comment has {number} characters at most.", number=LONGEST_REASON)
            )
        who = decider(person_id, now=now)
        with transaction.atomic():
            return _decide(
                who, request_id, choices, comment.strip(), paired_by=paired_by, channel=channel, origin=origin, now=now
            )


def _told(item: RequestedRole) -> str:
    if item.state == RequestedRole.State.APPROVED:
        return say("  approved: {role}", role=item.role_arn)
    return say("  refused: {role}", role=item.role_arn)


def _decide(
    who: Decider,
    request_id: UUID | str,
    choices: Sequence[Choice],
    comment: str,
    *,
    paired_by: str | None,
    channel: str,
    origin: Origin,
    now: datetime,
) -> AccessRequest:
    request = lock_request(request_id)
    items = {item.pk: item for item in request.items.select_related("request__person")}
    chosen = {choice.item_id: choice for choice in choices}
    if not chosen:
        raise RequestRefused("nothing_chosen", sentence="Approve or refuse at least one role.")
    if not chosen.keys() <= items.keys():
        raise NotFound("item_unknown")
    weighed = weigh(list(items.values()), who.mapping, now=now)
    for item_id, choice in chosen.items():
        _refuse_undecidable(who, request, weighed[item_id])
        grant = weighed[item_id].grant
        if choice.approve and grant is not None:
            # A stranger's device that an approver was talked into pairing must not say yes to the stranger's own request.
            refuse_by_pairing(grant.account, items[item_id].role_arn, paired_by)
        standing = items[item_id].standing(request.expires_at, now)
        if standing != "pending":
            raise RequestStale(f"already_{standing}")
        if choice.seen != weighed[item_id].seen:
            raise RequestStale("terms_changed")
    for item_id, choice in chosen.items():
        _write(who, items[item_id], weighed[item_id], comment, now, approve=choice.approve)
    decided = lines([_told(items[key]) for key in chosen])
    letters.write(
        [request.person.email],
        subject=say("{name} has decided on your request", name=approvers.name_of(who.person)),
        body=letters_body(
            say(
                "{name} has decided:\n\n{roles}\n\nFor {time}.{comment}",
                name=approvers.name_of(who.person),
                roles=decided,
                time=spoken_duration(request.duration),
                comment=f"\n\n{comment}" if comment else "",
            ),
            request,
        ),
        now=now,
    )
    for key in chosen:
        record(
            Kind.ACCESS_DECIDED,
            actor=who.person.actor,
            outcome="ok",
            origin=origin,
            now=now,
            channel=channel,
            decision=items[key].state,
            person=str(request.person_id),
            request=str(request.pk),
            role_arn=items[key].role_arn,
            rule=items[key].rule,
            revision=who.mapping.number,
            ends_at=items[key].ends_at,
            comment=comment,
        )
    return request


def _refuse_undecidable(who: Decider, request: AccessRequest, terms: Terms) -> None:
    reason = why_not(who, request, terms)
    if reason.startswith("own_request"):
        raise MayNotDecide(reason, sentence="Nobody decides on their own request: somebody else must.")
    if reason in {"not_an_approver", "approver_stale"}:
        raise MayNotDecide(reason)
    if terms.grant is None:
        raise RequestStale(
            f"gives_nothing:{terms.code}",
            sentence="The rule that this was asked under no longer gives the role. It has to be asked for anew.",
        )


def _write(who: Decider, item: RequestedRole, terms: Terms, comment: str, now: datetime, *, approve: bool) -> None:
    item.decided_by, item.decided_at, item.comment = who.person, now, comment
    item.state = item.State.APPROVED if approve else item.State.REFUSED
    if approve and terms.grant is not None and terms.grant.approval is not None:
        item.ends_at = now + timedelta(seconds=terms.seconds)
        named = who.mapping.compiled.matched(who.identity, terms.grant.approval.by)
        item.approved_as = [approvals.key_of(match) for match in named]
    item.save()


def take_back(
    person_id: UUID | str, request_id: UUID | str, item_id: int, *, origin: Origin, now: datetime
) -> AccessRequest:
    """An approver ends what was given before its time: whoever could say yes now. A refused attempt is recorded too.

    Raises NotFound, MayNotDecide, RequestStale, RateLimited.
    """
    with _recorded(Kind.ACCESS_ENDED, person_id, request_id, channel="portal", origin=origin, now=now):
        rate_limits.hit("requests", person=str(person_id), address=origin.address, now=now)
        who = decider(person_id, now=now)
        with transaction.atomic():
            request = lock_request(request_id)
            item = request.items.select_related("request__person").filter(pk=item_id).first()
            if item is None:
                raise NotFound("item_unknown")
            if not _could_approve(who, request, item, now):
                raise MayNotDecide("not_an_approver")
            end_item(request, item_id, by=who.person, origin=origin, now=now)
    return request


def _could_approve(who: Decider, request: AccessRequest, item: RequestedRole, now: datetime) -> bool:
    return not why_not(who, request, weigh([item], who.mapping, now=now)[item.pk])


def may_review(who: Decider, request: AccessRequest, terms: Sequence[Terms]) -> bool:
    """Whether this person may say what they think of a break-glass: who could have said yes, or the gateway's staff with the
    right to review; never whoever took it.
    """
    reasons = [why_not(who, request, one) for one in terms]
    if any(reason.startswith("own_request") for reason in reasons):
        return False
    return "" in reasons or powers_of(who.identity, who.mapping).may(Capability.REVIEW_REQUESTS)


def review(
    person_id: UUID | str,
    request_id: UUID | str,
    *,
    justified: bool,
    comment: str,
    origin: Origin,
    now: datetime,
) -> AccessRequest:
    """Write down what a break-glass was. Raises NotFound, MayNotDecide, RequestStale, RequestRefused."""
    with _recorded(Kind.ACCESS_REVIEWED, person_id, request_id, channel="portal", origin=origin, now=now):
        said = comment.strip()
        if len(said) < 3 or len(said) > LONGEST_REASON:
            raise RequestRefused("comment_missing", sentence="Say what you found, in a sentence.", field="comment")
        who = decider(person_id, now=now)
        with transaction.atomic():
            request = lock_request(request_id)
            if request.kind != AccessRequest.Way.BREAK_GLASS:
                raise NotFound("no_break_glass")
            items = list(request.items.select_related("request__person"))
            if not may_review(who, request, list(weigh(items, who.mapping, now=now).values())):
                raise MayNotDecide("not_a_reviewer")
            if request.reviewed_at is not None:
                raise RequestStale("already_reviewed", sentence="Somebody else has reviewed this already.")
            request.reviewed_at, request.reviewed_by, request.review_comment = now, who.person, said
            request.finding = request.Finding.JUSTIFIED if justified else request.Finding.NOT_JUSTIFIED
            request.save(update_fields=["reviewed_at", "reviewed_by", "review_comment", "finding"])
            record(
                Kind.ACCESS_REVIEWED,
                actor=who.person.actor,
                outcome="ok",
                origin=origin,
                now=now,
                person=str(request.person_id),
                request=str(request.pk),
                finding=request.finding,
                comment=said,
            )
    return request


def _recorded(
    kind: Kind, person_id: UUID | str, request_id: UUID | str, *, channel: str, origin: Origin, now: datetime
) -> AbstractContextManager[None]:
    """Record a decision that is refused inside the block."""
    return recorded(kind, actor=str(person_id), origin=origin, now=now, channel=channel, request=str(request_id)[:64])
