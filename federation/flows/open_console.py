"""The AWS console for one role: by a sign-in token, or by the browser posting an assertion to AWS itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from federation.audit.events import Kind, Origin
from federation.aws import console
from federation.errors import BadRequest
from federation.flows import rate_limits
from federation.flows.access import decide, decide_again
from federation.flows.device_exclusion import refuse_by_pairing
from federation.flows.handing_out import record_handed_out
from federation.flows.issue_credentials import ALWAYS_ALLOWED_SECONDS, assume_within_maximum, recorded_use
from federation.flows.minting import mint_saml, plan_session

# A sign-in token is good for 15 minutes (IAM user guide, "Enabling custom identity broker access").
# Without a SessionDuration, the console session lasts an hour (IAM user guide, "Configure SAML assertions").
DEFAULT_CONSOLE_SECONDS = 3600
URL_LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ConsoleOpening:
    """A console URL, a secret until it expires."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ConsoleForm:
    """What the browser posts to AWS: `action` URL, the assertion, and the destination as RelayState."""

    action: str
    saml_response: str = field(repr=False)
    relay_state: str


def open_console(
    person_id: UUID | str,
    role_arn: str,
    *,
    destination: str | None,
    duration: int | None = None,
    policy: str | None = None,
    paired_by: str | None = None,
    channel: str,
    origin: Origin,
    now: datetime,
) -> ConsoleOpening:
    """A console URL for this person and role. Raises as issue_credentials does, and DestinationNotAllowed.

    `duration`: seconds, can only shorten the console session; `policy`, `paired_by`: as in issue_credentials.
    """
    with recorded_use(Kind.CONSOLE, person_id, role_arn, channel=channel, origin=origin, now=now):
        rate_limits.hit("credentials", person=str(person_id), address=origin.address, now=now)
        since = time.monotonic()
        access = decide(person_id, role_arn, now=now)
        refuse_by_pairing(access.grant.account, role_arn, paired_by)
        session = plan_session(access, asked_policy=policy)
        region = access.grant.account.region
        console_duration = access.grant.session.console_duration
        if duration is not None:
            console_duration = min(duration, console_duration or DEFAULT_CONSOLE_SECONDS)
        if console_duration is not None:
            console_duration = access.bounded(console_duration, now)
        # Checked before the mint: a bad link costs no credentials.
        target = console.validate_destination(destination, session.partition, region)
        credentials, seconds, _ = assume_within_maximum(access, session, None, channel=channel, origin=origin, now=now)
        token = console.signin_token(
            credentials,
            partition=session.partition,
            region=region,
            session_duration=console_duration,
            endpoint_url=settings.ROLEGATE_SIGNIN_ENDPOINT_URL,
        )
        url = console.console_url(
            token,
            issuer=settings.ROLEGATE_URL,
            destination=target,
            partition=session.partition,
            region=region,
            endpoint_url=settings.ROLEGATE_SIGNIN_ENDPOINT_URL,
        )
        access = decide_again(access, since=since, now=now)
        record_handed_out(
            access,
            Kind.CONSOLE,
            channel=channel,
            origin=origin,
            now=now,
            way="sign-in token",
            access_key_id=credentials.access_key_id,
            duration=seconds,
            console_duration=console_duration,
            duration_dropped=token.duration_dropped,
            destination=target,
        )
    return ConsoleOpening(url, now + URL_LIFETIME)


def console_form(
    person_id: UUID | str, role_arn: str, *, destination: str | None, channel: str, origin: Origin, now: datetime
) -> ConsoleForm:
    """The direct way: an assertion for the browser to post to AWS. The gateway never learns the access key id.

    Only for accounts that federate by SAML, and only where the mapping sets no session policy: AWS takes none here, so
    the session would be wider than the mapping says. As long as the mapping and the role allow; an hour where the role's
    maximum is not known. Raises BadRequest(reason="console_form_…").
    """
    with recorded_use(Kind.CONSOLE, person_id, role_arn, channel=channel, origin=origin, now=now):
        rate_limits.hit("credentials", person=str(person_id), address=origin.address, now=now)
        access = decide(person_id, role_arn, now=now)
        account = access.grant.account
        session = plan_session(access, asked_policy=None)
        if account.federation != "saml":
            raise BadRequest(
                "console_form_needs_saml",
                sentence="This account federates by OpenID Connect: open its console the ordinary way.",
            )
        if session.policy:
            raise BadRequest(
                "console_form_drops_policy",
                sentence="This role comes with a session policy: open its console the ordinary way.",
            )
        target = console.validate_destination(destination, session.partition, account.region)
        wanted = access.grant.session.console_duration
        # Above the role's own maximum AWS refuses, in the browser, where nobody is left to ask for less.
        most = access.role_maximum or ALWAYS_ALLOWED_SECONDS
        length = access.bounded(min(wanted or DEFAULT_CONSOLE_SECONDS, most), now)
        minted = mint_saml(
            access,
            session,
            region=account.region,
            console_duration=None if wanted is None and access.approved is None else length,
            # The person holds this assertion: at STS they could ask for as long as the role allows, whatever the mapping says.
            session_limit=length,
            channel=channel,
            origin=origin,
            now=now,
        )
        record_handed_out(
            access,
            Kind.CONSOLE,
            channel=channel,
            origin=origin,
            now=now,
            way="assertion",
            assertion_id=minted.id,
            destination=target,
        )
    action = settings.ROLEGATE_SAML_ENDPOINT_URL or session.partition.saml_recipient(account.region)
    return ConsoleForm(action, minted.saml_response, target)
