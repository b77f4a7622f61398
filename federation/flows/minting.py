"""Minting for one call: an assertion or a token, one role, five minutes, with its audit event committed first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.aws import arns, policy
from federation.aws.partitions import Partition, partition
from federation.flows.access import Access
from federation.flows.clock import require_right_clock
from federation.issuer.assertion import AssertionRequest, MintedAssertion, mint_assertion
from federation.issuer.token import MintedToken, TokenRequest, mint_token
from federation.mapping.rules import Account
from federation.mapping.session import render_tags
from federation.models import current

TOKEN_AUDIENCE = "sts.amazonaws.com"
READER_SUBJECT = "gateway:reader"


@dataclass(frozen=True, slots=True)
class Session:
    """What one minted session will carry: its policy (after the caller's narrowing) and its tags."""

    partition: Partition
    policy: policy.SessionPolicy
    tags: Mapping[str, str]
    transitive_tags: tuple[str, ...]


def plan_session(access: Access, *, asked_policy: str | None) -> Session:
    """Policy and tags of a session under this grant, checked against AWS's limits before anything is minted.

    Raises SessionTooLarge, SessionPolicyInvalid, UnknownPartition.
    """
    grant = access.grant
    where = partition(grant.account.partition)
    ruled = policy.session_policy(grant.session.policy, grant.session.policy_arns, partition=where.name)
    narrowed = policy.narrow(ruled, asked_policy, partition=where.name)
    tags = render_tags(grant.session, access.identity, grant.captures)
    policy.preflight(narrowed, tags)
    transitive = tuple(key for key in grant.session.transitive_tags if key in tags)
    return Session(where, narrowed, tags, transitive)


def provider_arn(access: Access) -> str:
    """The IAM SAML provider that stands for this gateway in the role's account."""
    account = access.grant.account
    return arns.saml_provider_arn(account.partition, account.id, account.provider)


def mint_saml(
    access: Access,
    session: Session,
    *,
    region: str,
    console_duration: int | None,
    session_limit: int | None = None,
    channel: str,
    origin: Origin,
    now: datetime,
) -> MintedAssertion:
    """An assertion for AssumeRoleWithSAML (or the direct POST) in one region; its event is committed on return.

    Raises ClockWrong, and what the issuer raises.
    """
    require_right_clock(session.partition, region)
    request = AssertionRequest(
        issuer=settings.ROLEGATE_ISSUER_URL,
        recipient=session.partition.saml_recipient(region),
        audience=session.partition.saml_audience,
        role_arn=access.grant.role_arn,
        provider_arn=provider_arn(access),
        session_name=access.person.session_name,
        source_identity=access.person.session_name,
        name_id=access.person.session_name,
        session_duration=console_duration,
        session_limit=session_limit,
        tags=session.tags,
        transitive_tags=session.transitive_tags,
    )
    minted = mint_assertion(request, current.signer("saml"), now=now)
    with transaction.atomic(durable=True):  # never inside another: what leaves is committed
        record(
            Kind.MINT_ASSERTION,
            actor=access.actor,
            outcome="ok",
            origin=origin,
            now=now,
            channel=channel,
            assertion_id=minted.id,
            recipient=request.recipient,
            **_common(access, session),
        )
    return minted


def mint_web_identity(access: Access, session: Session, *, channel: str, origin: Origin, now: datetime) -> MintedToken:
    """A token for AssumeRoleWithWebIdentity; its event is committed on return. Raises ClockWrong, and what the issuer raises."""
    require_right_clock(session.partition, access.grant.account.region)
    request = TokenRequest(
        issuer=settings.ROLEGATE_ISSUER_URL,
        audience=TOKEN_AUDIENCE,
        # A prefix of its own: no person's subject can ever be that of the gateway's own reader role.
        subject=f"person:{access.person.session_name}",
        source_identity=access.person.session_name,
        tags=session.tags,
        transitive_tags=session.transitive_tags,
    )
    minted = mint_token(request, current.signer("token", settings.ROLEGATE_TOKEN_ALGORITHM), now=now)
    with transaction.atomic(durable=True):  # never inside another: what leaves is committed
        record(
            Kind.MINT_TOKEN,
            actor=access.actor,
            outcome="ok",
            origin=origin,
            now=now,
            channel=channel,
            token_id=minted.jti,
            **_common(access, session),
        )
    return minted


def under_approval(access: Access) -> dict[str, str]:
    """What an event of a use says of the approval that it stands on; nothing where the rule asks for none."""
    return {"approval": access.approval_id} if access.approved is not None else {}


def _common(access: Access, session: Session) -> dict[str, Any]:
    return {
        "person": str(access.person.pk),
        "role_arn": access.grant.role_arn,
        "rule": access.grant.rule,
        "revision": access.revision,
        **under_approval(access),
        "session_name": access.person.session_name,
        "source_identity": access.person.session_name,
        "tags": sorted(session.tags),
    }


def mint_reader_token(role_arn: str, *, origin: Origin, now: datetime) -> MintedToken:
    """A token for the gateway's own reader role in an account; its event is committed on return.

    Its subject is one that no person can have (people's begin with `person:`), and the reader's trust policy names it.
    Raises ArnInvalid, ClockWrong, and what the issuer raises.
    """
    require_right_clock(partition(arns.parse_role_arn(role_arn).partition))
    request = TokenRequest(issuer=settings.ROLEGATE_ISSUER_URL, audience=TOKEN_AUDIENCE, subject=READER_SUBJECT)
    minted = mint_token(request, current.signer("token", settings.ROLEGATE_TOKEN_ALGORITHM), now=now)
    with transaction.atomic(durable=True):
        record(
            Kind.MINT_TOKEN,
            actor=READER_SUBJECT,
            outcome="ok",
            origin=origin,
            now=now,
            channel="catalogue",
            token_id=minted.jti,
            role_arn=role_arn,
        )
    return minted


# --- In nobody's name: to verify an account -----------------------------------------------------------

# No person's: their subjects are person:<session name>, and no session name has a slash. Trust policies that take people take it.
PROBE_SUBJECT = "person:/gateway-verify"


def mint_probe_assertion(
    account: Account, role_arn: str, *, region: str, session_name: str, origin: Origin, now: datetime
) -> MintedAssertion:
    """An assertion for one role in nobody's name, to see whether it is taken; its event is committed on return.

    Whoever calls STS with it sets a session policy that denies everything, and throws the credentials away.
    Raises ClockWrong, UnknownPartition, ArnInvalid, and what the issuer raises.
    """
    where = partition(account.partition)
    require_right_clock(where, region)
    request = AssertionRequest(
        issuer=settings.ROLEGATE_ISSUER_URL, recipient=where.saml_recipient(region), audience=where.saml_audience,
        role_arn=role_arn, provider_arn=arns.saml_provider_arn(account.partition, account.id, account.provider),
        session_name=session_name, source_identity=session_name, name_id=session_name,
        session_duration=None, session_limit=None, tags={}, transitive_tags=(),
    )  # fmt: skip
    minted = mint_assertion(request, current.signer("saml"), now=now)
    with transaction.atomic(durable=True):
        record(
            Kind.MINT_ASSERTION, actor=PROBE_SUBJECT, outcome="ok", origin=origin, now=now, channel="verify",
            assertion_id=minted.id, recipient=request.recipient, role_arn=role_arn, source_identity=session_name,
        )  # fmt: skip
    return minted


def mint_probe_token(
    account: Account, role_arn: str, *, session_name: str, origin: Origin, now: datetime
) -> MintedToken:
    """The same as a web identity token."""
    require_right_clock(partition(account.partition), account.region)
    request = TokenRequest(
        issuer=settings.ROLEGATE_ISSUER_URL,
        audience=TOKEN_AUDIENCE,
        subject=PROBE_SUBJECT,
        source_identity=session_name,
    )
    minted = mint_token(request, current.signer("token", settings.ROLEGATE_TOKEN_ALGORITHM), now=now)
    with transaction.atomic(durable=True):
        record(
            Kind.MINT_TOKEN, actor=PROBE_SUBJECT, outcome="ok", origin=origin, now=now, channel="verify",
            token_id=minted.jti, role_arn=role_arn, source_identity=session_name,
        )  # fmt: skip
    return minted
