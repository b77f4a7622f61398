"""May this person use this role now? The one place that decides it for every mint, on today's mapping and claims."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from federation.aws.arns import parse_role_arn
from federation.errors import (
    AccessDenied,
    ClaimsTooOld,
    GroupsIncomplete,
    NotSignedIn,
    PersonDisabled,
    RolegateError,
    ServiceUnavailable,
)
from federation.flows import approvals, latest_word
from federation.identity import Identity
from federation.mapping.engine import Grant
from federation.mapping.reach import reach
from federation.mapping.rules import Catalogue
from federation.models import compiled, current
from federation.models.catalogue import reachable
from federation.models.people import Person

# A decision stands for so long on the way to credentials; where AWS takes longer to answer, it is taken again.
STANDS_SECONDS = 1.0

_person_by_id = compiled.ByKey(Person, "id")


@dataclass(frozen=True, slots=True)
class Access:
    """A yes: who, by which grant of which revision, and the role's longest session in seconds where it is known.

    `approved`: the approval under which it is a yes, where the rule asks for one; no session outlives it.
    """

    person: Person
    identity: Identity
    grant: Grant
    revision: int
    role_maximum: int | None
    approved: approvals.Approved | None = None

    @property
    def actor(self) -> str:
        """How the audit log names the person."""
        return self.person.actor

    def bounded(self, seconds: int, now: datetime) -> int:
        """`seconds`, or what is left of the approval where that is less: the credentials end with it."""
        return seconds if self.approved is None else min(seconds, self.approved.seconds_left(now))

    @property
    def approval_id(self) -> str:
        """How the audit log names the approval, "" without one."""
        return "" if self.approved is None else f"{self.approved.request_id}/{self.approved.item_id}"


def fresh_identity(person: Person, mapping: current.CurrentMapping, *, now: datetime) -> Identity:
    """The person's identity if access may be decided on it: the claims, and the directory's latest word.

    Raises PersonDisabled, ClaimsTooOld (older than ROLEGATE_CLAIMS_MAX_AGE, or past the provider's own end of session),
    UnknownProvider, NotInDirectory, GroupsIncomplete (overage: unknown is not none).
    """
    _refuse_old(person, mapping, now)
    return _complete(latest_word.identity_of(person, mapping, now=now))


def fresh_identities(
    people: Sequence[Person], mapping: current.CurrentMapping, *, now: datetime, any_age: bool = False
) -> list[Identity | RolegateError]:
    """For each person what `fresh_identity` returns, or the error that it raises: for reports, a few hundred at a time.

    `any_age`: also of claims that are too old to mint on. A list of who has what must not be empty every morning.
    """
    found: list[Identity | RolegateError] = []
    for person, told in zip(people, latest_word.identities_of(people, mapping, now=now), strict=True):
        try:
            if any_age:
                _refuse_gone(person, mapping)
            else:
                _refuse_old(person, mapping, now)
            found.append(told if isinstance(told, RolegateError) else _complete(told))
        except RolegateError as error:
            found.append(error)
    return found


def refuse_old_claims(person: Person, *, now: datetime) -> None:
    """Raise ClaimsTooOld where nothing is decided on this person's claims before another sign-in.

    claims_too_old: older than ROLEGATE_CLAIMS_MAX_AGE. provider_session_ended: past the provider's own end of session.
    """
    if person.claims_at is None or now - person.claims_at > settings.ROLEGATE_CLAIMS_MAX_AGE:
        raise ClaimsTooOld("claims_too_old")
    if person.claims_expire_at is not None and person.claims_expire_at <= now:
        raise ClaimsTooOld("provider_session_ended")


def _refuse_old(person: Person, mapping: current.CurrentMapping, now: datetime) -> None:
    if not person.active:
        raise PersonDisabled("person_disabled")
    refuse_old_claims(person, now=now)
    mapping.provider(person.provider)


def _refuse_gone(person: Person, mapping: current.CurrentMapping) -> None:
    if not person.active:
        raise PersonDisabled("person_disabled")
    if person.claims_at is None:
        raise ClaimsTooOld("claims_too_old")  # nothing was ever proved of them
    mapping.provider(person.provider)


def _complete(identity: Identity) -> Identity:
    if not identity.groups_complete:
        raise GroupsIncomplete("group_overage", detail=identity.provider)
    return identity


def catalogue_of(mapping: current.CurrentMapping, arns: Iterable[str]) -> Catalogue:
    """What is known of these roles and their accounts. One statement, however many they are."""
    parsed = [(parse_role_arn(arn).account_id, arn) for arn in arns]
    return reachable(reach((), [(account, arn) for account, arn in parsed if account in mapping.compiled.accounts]))


def decide(person_id: UUID | str, role_arn: str, *, now: datetime) -> Access:
    """The grant of `role_arn` to this person. Asks the published mapping each time: a role withdrawn between the page
    and the click is gone.

    Raises NotSignedIn, PersonDisabled, ClaimsTooOld, NotInDirectory, GroupsIncomplete, UnknownProvider, ArnInvalid,
    AccessDenied (reason: the verdict's code), ApprovalRequired.
    """
    person = _person_by_id(person_id)
    if person is None:
        raise NotSignedIn("person_unknown")
    mapping = current.mapping()
    identity = fresh_identity(person, mapping, now=now)
    parse_role_arn(role_arn)
    verdict = mapping.compiled.verdict(identity, role_arn, now, reachable)
    if verdict.code == "approval_required" and verdict.grant is not None:
        approved = approvals.require(person, verdict.grant, identity, mapping.compiled, now=now)
        return Access(person, identity, verdict.grant, mapping.number, verdict.grant.role_maximum, approved)
    if not verdict.allowed or verdict.grant is None:
        raise AccessDenied(verdict.code, role_arn=role_arn)
    return Access(person, identity, verdict.grant, mapping.number, verdict.grant.role_maximum)


def decide_again(access: Access, *, since: float, now: datetime) -> Access:
    """Call it before credentials leave: decides anew where AWS has taken longer than STANDS_SECONDS. Raises as `decide_anew`.

    STS may answer after twelve seconds, in another region; whoever was disabled meanwhile gets nothing. `since`: time.monotonic()
    of the decision.
    """
    waited = time.monotonic() - since
    return decide_anew(access, now=now + timedelta(seconds=waited)) if waited > STANDS_SECONDS else access


def decide_anew(access: Access, *, now: datetime) -> Access:
    """The decision, taken again for credentials that are made already. Raises as `decide`; NotSignedIn (session_ended) where the
    person's sign-ins were ended meanwhile; ServiceUnavailable (given_otherwise_now) where the role is given on other terms now.
    """
    fresh = decide(access.person.pk, access.grant.role_arn, now=now)
    if fresh.person.session_epoch != access.person.session_epoch:
        raise NotSignedIn("session_ended")
    ends_sooner = fresh.approved is not None and (
        access.approved is None or fresh.approved.ends_at < access.approved.ends_at
    )
    if fresh.grant.session != access.grant.session or ends_sooner:
        # A session policy that came into force meanwhile would not bound what leaves. Asked once more, it does.
        raise ServiceUnavailable("given_otherwise_now", retry_after=1)
    return fresh
