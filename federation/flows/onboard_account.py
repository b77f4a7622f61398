"""Onboard an account: what its owner applies so that the gateway can work there, with the gateway's current documents in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.conf import settings

from federation.aws import onboarding
from federation.aws.arns import parse_role_arn
from federation.errors import NotFound
from federation.flows.rotate_keys import saml_metadata
from federation.mapping.rules import Account, Federation
from federation.models import current
from federation.said import say

Format = Literal["cloudformation", "terraform"]
FORMATS: tuple[Format, ...] = ("cloudformation", "terraform")
_WRITERS = {"cloudformation": onboarding.cloudformation, "terraform": onboarding.terraform}
_FILES = {"cloudformation": "rolegate-{}.yaml", "terraform": "rolegate-{}.tf"}
_ACCOUNT_ID = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class Written:
    """The text to apply, a name for its file, the region to apply it in, and what to know before: `notes`, a sentence each."""

    text: str
    file_name: str
    account_id: str
    region: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted otherwise than the mapping document says, or for an account that is not in it; "" leaves a thing as it is.

    `roles`: NAME:POLICY_ARN each; None is one example, ReadOnly. `reads_organization` None: where ROLEGATE_ORGANIZATION_ROLE is in this
    account, and wherever a whole organization is onboarded.
    """

    partition: str = ""
    federation: Federation | Literal[""] = ""
    provider: str = ""
    region: str = ""
    roles: Sequence[str] | None = None
    reads_organization: bool | None = None
    register_providers: bool = True
    whole_organization: bool = False


def find_account(reference: str, wishes: Wishes) -> Account:
    """The account by its id or name, of the document in force and of the organization; by its id alone where neither has it. Raises NotFound."""
    known = next((a for a in current.mapping().compiled.accounts.values() if reference in (a.id, a.name)), None)
    if known is None and not _ACCOUNT_ID.fullmatch(reference):
        raise NotFound(
            "account_unknown",
            sentence="No account that the gateway knows has this id or name. For one that it does not know, give its id of 12 digits, and its partition, way in, provider or region where they are not aws, saml, rolegate and the default.",
            detail=ascii(reference)[:100],
        )
    known = known or Account(id=reference, name="")
    return Account(
        id=known.id,
        name=known.name,
        partition=wishes.partition or known.partition,
        federation=wishes.federation or known.federation,
        provider=wishes.provider or known.provider,
        region=wishes.region or known.region,
    )


def onboard(reference: str, output: Format, wishes: Wishes, *, now: datetime) -> Written:
    """Write what onboards an account. Changes nothing here: the documents in it are public.

    Raises NotFound, OnboardingInvalid, UnknownPartition, RegionInvalid, SamlUnavailable, ArnInvalid, PublishRefused.
    """
    account = find_account(reference, wishes)
    roles = wishes.roles
    if roles is None:
        roles = (f"ReadOnly:arn:{account.partition}:iam::aws:policy/ReadOnlyAccess",)
    plan = onboarding.Plan(
        partition=account.partition,
        account_id=account.id,
        account_name=account.name,
        federation=account.federation,
        provider=account.provider,
        issuer_url=settings.ROLEGATE_ISSUER_URL,
        saml_metadata=saml_metadata(now=now).decode() if account.federation == "saml" else "",
        region=account.region,
        roles=tuple(onboarding.people_role(role, partition=account.partition) for role in roles),
        reads_organization=_reads_organization(account, wishes),
        register_providers=wishes.register_providers,
        whole_organization=wishes.whole_organization,
    )
    text = _WRITERS[output](plan)
    return Written(
        text,
        _FILES[output].format(account.id),
        account.id,
        plan.home_region,
        (*_differences(account, wishes), *onboarding.check(plan)),
    )


def _reads_organization(account: Account, wishes: Wishes) -> bool:
    if wishes.reads_organization is not None:
        return wishes.reads_organization
    role = settings.ROLEGATE_ORGANIZATION_ROLE
    return wishes.whole_organization or bool(role and parse_role_arn(role).account_id == account.id)


def _differences(account: Account, wishes: Wishes) -> list[str]:
    """What the mapping document still has to say before the gateway uses what was written."""
    known = next((a for a in current.mapping().document.accounts if a.id == account.id), None)
    if known is None:
        return [
            say(
                "Account {account} is not in the mapping document: add {entry} under accounts, or nobody will find it.",
                account=account.id,
                entry=f'{{id: "{account.id}", name: …, partition: {account.partition}, federation: {account.federation}, provider: {account.provider}}}',
            )
        ]
    wanted = [
        f"{name}: {getattr(account, name)}"
        for name in ("partition", "federation", "provider", "region")
        if getattr(account, name) != getattr(known, name)
    ]
    return (
        [
            say(
                "The mapping document says otherwise: set {values} for account {account} there.",
                values=", ".join(wanted),
                account=account.id,
            )
        ]
        if wanted
        else []
    )
