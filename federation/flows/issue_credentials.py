"""Credentials for one role: decided now, minted for this call, exchanged at STS, recorded before they leave."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from federation.audit.events import Kind, Origin
from federation.aws import sts
from federation.aws.policy import READ_ONLY, session_policy
from federation.errors import BadRequest, RolegateError
from federation.flows import rate_limits
from federation.flows.access import Access, decide, decide_again
from federation.flows.device_exclusion import refuse_by_pairing
from federation.flows.handing_out import record_handed_out
from federation.flows.minting import Session, mint_saml, mint_web_identity, plan_session, provider_arn
from federation.flows.refusals import record_refusal, recorded
from federation.mapping.rules import Account
from federation.mapping.session import clamp_duration
from federation.said import say

# Every role's MaxSessionDuration is at least an hour (IAM CreateRole), so an hour can always be asked for.
ALWAYS_ALLOWED_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials on their way to their owner. `duration` in seconds; `notices`: sentences to show with them.

    `read_only`: whether ReadOnlyAccess and nothing besides bounds the session, by the mapping's word or the person's.
    """

    credentials: sts.Credentials
    account: Account
    role_arn: str
    duration: int
    notices: tuple[str, ...]
    read_only: bool

    @property
    def account_id(self) -> str:
        """Of the account that they are for."""
        return self.account.id


def issue_credentials(
    person_id: UUID | str,
    role_arn: str,
    *,
    duration: int | None,
    policy: str | None,
    paired_by: str | None = None,
    channel: str,
    origin: Origin,
    now: datetime,
) -> Issued:
    """Credentials of `role_arn` for this person. `paired_by`: how the calling client was paired, None for the portal itself.

    `duration` in seconds or None for the mapping's; `policy`: "read-only" or an inline policy that narrows further.
    Raises what `access.decide` and `plan_session` raise, RateLimited, BadRequest, AwsError. A refusal and a failure are
    recorded too.
    """
    with recorded_use(Kind.CREDENTIALS, person_id, role_arn, channel=channel, origin=origin, now=now):
        rate_limits.hit("credentials", person=str(person_id), address=origin.address, now=now)
        since = time.monotonic()
        access = decide(person_id, role_arn, now=now)
        refuse_by_pairing(access.grant.account, role_arn, paired_by)
        return _issue(access, duration=duration, policy=policy, channel=channel, origin=origin, now=now, since=since)


def recorded_use(
    kind: Kind, person_id: UUID | str, wanted: str, *, channel: str, origin: Origin, now: datetime
) -> AbstractContextManager[None]:
    """Record a use of the role `wanted` that is refused, or fails, inside the block."""
    return recorded(kind, actor=str(person_id), origin=origin, now=now, channel=channel, role_arn=wanted[:300])


def refuse_role(
    kind: Kind, person_id: UUID | str, wanted: str, error: RolegateError, *, channel: str, origin: Origin, now: datetime
) -> None:
    """Count and record the refusal of a role that a page could not even find among the person's. Raises RateLimited."""
    with recorded_use(kind, person_id, wanted, channel=channel, origin=origin, now=now):
        rate_limits.hit("credentials", person=str(person_id), address=origin.address, now=now)
    record_refusal(kind, error, actor=str(person_id), origin=origin, now=now, channel=channel, role_arn=wanted[:300])


def assume(
    access: Access, session: Session, seconds: int, *, channel: str, origin: Origin, now: datetime
) -> sts.Credentials:
    """One STS call under this grant, by the account's kind of federation, with fail-over to other regions."""
    account = access.grant.account

    def prepare(region: str) -> sts.SamlCall | sts.WebIdentityCall:
        if account.federation == "saml":
            minted = mint_saml(
                access, session, region=region, console_duration=None, channel=channel, origin=origin, now=now
            )
            return sts.SamlCall(
                role_arn=access.grant.role_arn,
                provider_arn=provider_arn(access),
                assertion=minted.saml_response,
                duration=seconds,
                policy=session.policy,
                tags=session.tags,
            )
        token = mint_web_identity(access, session, channel=channel, origin=origin, now=now)
        return sts.WebIdentityCall(
            role_arn=access.grant.role_arn,
            token=token.token,
            session_name=access.person.session_name,
            duration=seconds,
            policy=session.policy,
            tags=session.tags,
        )

    return sts.assume_role(
        prepare, regions=session.partition.regions_fail_over(account.region), partition=session.partition
    )


def assume_within_maximum(
    access: Access, session: Session, asked: int | None, *, channel: str, origin: Origin, now: datetime
) -> tuple[sts.Credentials, int, tuple[str, ...]]:
    """As `assume`, with the duration kept within what the mapping and the role allow; says so when it was shortened.

    Where the role's maximum is not known and AWS finds the duration too long, an hour is asked for instead.
    """
    wanted, notice = clamp_duration(asked, access.grant.session, access.role_maximum)
    notices = (notice,) if notice else ()
    seconds = access.bounded(wanted, now)
    if seconds < wanted:
        notices = (*notices, say("The credentials end with your approval."))
    try:
        return assume(access, session, seconds, channel=channel, origin=origin, now=now), seconds, notices
    except sts.StsDurationTooLong:
        if access.role_maximum is not None or seconds <= ALWAYS_ALLOWED_SECONDS:
            raise
    shortened = say("The role does not allow sessions that long: you have one hour.")
    # Shorter than `seconds`, so within the approval too.
    credentials = assume(access, session, ALWAYS_ALLOWED_SECONDS, channel=channel, origin=origin, now=now)
    return credentials, ALWAYS_ALLOWED_SECONDS, (*notices, shortened)


def _issue(
    access: Access,
    *,
    duration: int | None,
    policy: str | None,
    channel: str,
    origin: Origin,
    now: datetime,
    since: float,
) -> Issued:
    if duration is not None and not 900 <= duration <= 43_200:
        raise BadRequest("duration_out_of_range", sentence="The duration must be between 900 and 43200 seconds.")
    session = plan_session(access, asked_policy=policy)
    credentials, seconds, notices = assume_within_maximum(
        access, session, duration, channel=channel, origin=origin, now=now
    )
    access = decide_again(access, since=since, now=now)
    record_handed_out(
        access,
        Kind.CREDENTIALS,
        channel=channel,
        origin=origin,
        now=now,
        access_key_id=credentials.access_key_id,
        duration=seconds,
        expires_at=credentials.expiration,
    )
    read_only = session.policy == session_policy(READ_ONLY, partition=session.partition.name)
    return Issued(credentials, access.grant.account, access.grant.role_arn, seconds, notices, read_only)
