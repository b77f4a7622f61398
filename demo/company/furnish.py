"""Puts the whole company into the local AWS: the organization, the other accounts and their roles. After `estate.furnish`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import requests

from demo import estate
from demo.aws import bulk, registry
from demo.aws.server import LocalAws
from demo.company import permissions
from demo.company.accounts import FOR_PEOPLE, MANAGEMENT, NOT_ONBOARDED, accounts, roles

READER_OF_ORGANIZATION = f"arn:aws:iam::{MANAGEMENT}:role/{estate.READER}"


def furnish(aws: LocalAws, issuer: str, last_used: Mapping[str, str], now: datetime) -> None:
    """Forty accounts with six hundred roles between them. `last_used`: role ARN -> when people last used it (ISO 8601)."""
    metadata = requests.get(f"{issuer}/saml/metadata.xml", timeout=10)
    metadata.raise_for_status()
    company = accounts()
    bulk.put_organization(
        MANAGEMENT,
        [bulk.Member(one.id, one.name, one.email, one.unit, one.tags, one.state) for one in company],
    )
    made: list[tuple[registry.Role, bulk.RoleFacts]] = []
    providers = {account["id"]: _provider_arn(account, issuer) for account in estate.accounts()}
    for account in company:
        if account.id in providers or account.state != "ACTIVE":
            continue
        providers[account.id] = aws.register_saml_provider(account.id, "rolegate", metadata.content)
        # Whoever tries `aws s3 ls` with what the portal gave them should see something, whichever role they clicked first.
        aws.create_bucket(
            account.id, f"{account.name}-files", files={"welcome.txt": f"The demo's {account.name}.\n".encode()}
        )
        if account.name != NOT_ONBOARDED:
            reader = aws.register_oidc_provider(account.id, issuer, [estate.AUDIENCE])
            trust = estate.reader_trust(reader, issuer)
            made.append(
                (
                    registry.role(account.id, estate.READER, trust, estate.HOUR, "aws"),
                    bulk.RoleFacts("Reads this account's roles for Rolegate"),
                )
            )
    for role in roles(providers, issuer):
        used = None if role.idle_days is None else now - timedelta(days=role.idle_days, hours=len(role.name))
        facts = bulk.RoleFacts(role.description, role.tags, used, now - timedelta(days=400 + len(role.name)))
        made.append((registry.role(role.account, role.name, role.trust, role.seconds, "aws"), facts))
    aws.put_roles(made)
    # The company has had them for longer than its history lasts: of a day in it, they are asked for too.
    for account in company:
        for name in (estate.READER, *estate.ROLES):
            bulk.tell_creation(f"arn:aws:iam::{account.id}:role/{name}", now - timedelta(days=400))
    for role, _ in made:
        if role.name != estate.READER:
            _give(role.arn)
    for account in estate.accounts():
        for name in estate.ROLES:
            arn = f"arn:aws:iam::{account['id']}:role/{name}"
            bulk.describe(arn, FOR_PEOPLE[name][1])
            _give(arn)
    for arn, at in last_used.items():
        bulk.tell_last_use(arn, datetime.fromisoformat(at))


def _give(arn: str) -> None:
    held = permissions.of(arn)
    bulk.give_policies(arn, held.attached, held.inline)


def _provider_arn(account: Mapping[str, str], issuer: str) -> str:
    if account["federation"] == "saml":
        return f"arn:aws:iam::{account['id']}:saml-provider/{account['provider']}"
    return f"arn:aws:iam::{account['id']}:oidc-provider/{registry.without_scheme(issuer)}"
