"""What the owners of the demo's accounts have set up in them: the gateway as a provider, roles that trust it, a bucket each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import requests
import yaml

from demo.aws.registry import without_scheme
from demo.aws.server import LocalAws

MAPPING = Path(__file__).parent / "mapping.yaml"
AUDIENCE = "sts.amazonaws.com"
HOUR = 3600
# Role -> MaxSessionDuration in seconds. Every account has all of them, DataScientist beside.
ROLES = {
    "ReadOnly": 12 * HOUR,
    "Developer": 4 * HOUR,
    "Deployer": HOUR,
    "PowerUser": 12 * HOUR,
    "Administrator": 4 * HOUR,
    "SecurityAudit": HOUR,
    "DataScientist": 4 * HOUR,
}
# What the gateway reads the account's roles with; its trust names the one subject that no person can have.
READER, READER_SUBJECT = "rolegate-reader", "gateway:reader"
DEFAULT_REGION = "us-east-1"
# Several, so that sign-in goes on when a region fails: each regional host is a Recipient of its own.
SIGNIN_REGIONS = ("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-west-2", "eu-central-1", "eu-north-1")
SAML_AUDIENCES = [
    "https://signin.aws.amazon.com/saml",
    *(f"https://{region}.signin.aws.amazon.com/saml" for region in SIGNIN_REGIONS),
]


@functools.cache
def _document() -> dict[str, Any]:
    return dict(yaml.safe_load(MAPPING.read_text()))


def accounts() -> list[dict[str, Any]]:
    """The accounts that the mapping document names."""
    return list(_document()["accounts"])


def trust_policy(provider_arn: str, issuer: str) -> dict[str, Any]:
    """A role's trust in the gateway, by SAML or by OpenID Connect as the provider's ARN says."""
    if ":saml-provider/" in provider_arn:
        call, condition = "sts:AssumeRoleWithSAML", {"StringEquals": {"SAML:aud": SAML_AUDIENCES}}
    else:
        name = without_scheme(issuer)
        call, condition = "sts:AssumeRoleWithWebIdentity", {"StringEquals": {f"{name}:aud": AUDIENCE}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": [call, "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": condition,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def reader_trust(provider_arn: str, issuer: str) -> dict[str, Any]:
    """The reader's trust: the gateway's OpenID Connect provider, its audience and the reader's own subject, and nobody else."""
    name = without_scheme(issuer)
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{name}:aud": AUDIENCE, f"{name}:sub": READER_SUBJECT}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def furnish(aws: LocalAws, issuer: str) -> None:
    """Set every account up. `issuer`: the gateway's issuer URL, whose SAML metadata are fetched as an account owner would."""
    answer = requests.get(f"{issuer}/saml/metadata.xml", timeout=10)
    answer.raise_for_status()
    for account in accounts():
        identifier, region = account["id"], account.get("region", DEFAULT_REGION)
        provider = reader_provider = aws.register_oidc_provider(identifier, issuer, [AUDIENCE])
        if account["federation"] == "saml":
            provider = aws.register_saml_provider(identifier, account["provider"], answer.content)
        aws.create_role(identifier, READER, reader_trust(reader_provider, issuer))
        for role, seconds in ROLES.items():
            aws.create_role(identifier, role, trust_policy(provider, issuer), seconds)
        files = {"welcome.txt": f"This is the demo's account {account['name']}.\n".encode()}
        aws.create_bucket(identifier, f"{account['name']}-files", region, files)
