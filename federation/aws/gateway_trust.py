"""What a role's trust policy must say to trust this gateway: the two ways in, and the statements that open them. Pure.

The one place where such a statement is built: what `onboarding` writes for an account and what `trust` proposes as a
correction are the same. Sources: IAM user guide, "Available keys for SAML-based federation", "Available keys for AWS OIDC federation";
STS user guide, "Pass session tags", "Monitor and control actions taken with assumed roles".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from federation.aws import arns
from federation.aws.partitions import SamlUnavailable
from federation.aws.partitions import partition as partition_named
from federation.aws.trust_policy import A_PERSON, ABSENT, NOT_KNOWN, CallContext, Fact
from federation.mapping.rules import Federation

TOKEN_AUDIENCE = "sts.amazonaws.com"
PERSON_PREFIX = "person:"
READER_SUBJECT = "gateway:reader"
READER_ROLE = "rolegate-reader"
CALLS: Mapping[Federation, str] = MappingProxyType(
    {"saml": "sts:AssumeRoleWithSAML", "oidc": "sts:AssumeRoleWithWebIdentity"}
)
TAG_SESSION = "sts:TagSession"
SET_SOURCE_IDENTITY = "sts:SetSourceIdentity"
POLICY_VERSION = "2012-10-17"

# Keys that no call of ours has, whatever the account: the calls are unsigned, so no IAM user and no MFA device of IAM stands behind
# them, and an external id is a parameter of AssumeRole alone (STS API reference).
_NEVER_THERE: Mapping[str, Fact] = MappingProxyType(
    dict.fromkeys(("sts:externalid", "aws:multifactorauthpresent", "aws:multifactorauthage", "aws:username"), ABSENT)
)
_BOTH: Mapping[str, Fact] = MappingProxyType(
    {**_NEVER_THERE, "sts:rolesessionname": A_PERSON, "sts:sourceidentity": A_PERSON}
)


def saml_statement(provider: Any, recipients: Sequence[str]) -> dict[str, Any]:
    """Trust in the gateway by SAML. `provider`: its ARN, or what stands for it in a template.

    `SAML:aud` is matched against the assertion's Recipient, one for each region's sign-in host: all of those that a fail-over may
    use are listed.
    """
    return _statement(
        provider,
        [CALLS["saml"], TAG_SESSION, SET_SOURCE_IDENTITY],
        {"StringEquals": {"SAML:aud": list(recipients)}},
    )


def oidc_statement(provider: Any, issuer: str, audience: str = TOKEN_AUDIENCE) -> dict[str, Any]:
    """People's trust by OpenID Connect. `issuer`: without its scheme.

    The subject keeps a token of the gateway's own reader, which no person stands behind, out of people's roles.
    """
    return _statement(
        provider,
        [CALLS["oidc"], TAG_SESSION, SET_SOURCE_IDENTITY],
        {"StringEquals": {f"{issuer}:aud": audience}, "StringLike": {f"{issuer}:sub": f"{PERSON_PREFIX}*"}},
    )


def reader_statement(provider: Any, issuer: str, audience: str = TOKEN_AUDIENCE) -> dict[str, Any]:
    """The reader role's trust: the one subject that no person's token has, and nothing but the call itself."""
    return _statement(
        provider,
        [CALLS["oidc"]],
        {"StringEquals": {f"{issuer}:aud": audience, f"{issuer}:sub": READER_SUBJECT}},
    )


def policy_of(*statements: dict[str, Any]) -> dict[str, Any]:
    """A policy document of these statements."""
    return {"Version": POLICY_VERSION, "Statement": list(statements)}


def _statement(provider: Any, actions: list[str], condition: dict[str, Any]) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Federated": provider}, "Action": actions, "Condition": condition}


@dataclass(frozen=True, slots=True)
class Way:
    """One way in: `saml` or `oidc`.

    `call`: the STS action. `provider`: its ARN in IAM. `audience_key`, `subject_key`: condition keys as they are written.
    `audiences`: the values that the gateway's calls may have, that of the first try first; empty where there is no such way.
    """

    kind: Federation
    call: str
    provider: str
    audience_key: str
    audiences: tuple[str, ...]
    subject_key: str
    facts: Mapping[str, Fact]

    @property
    def actions(self) -> tuple[str, ...]:
        """Everything that a person's call needs; tags only where the mapping sets some."""
        return (self.call, TAG_SESSION, SET_SOURCE_IDENTITY)

    def context(self, audience: str | None = None, subject: str | None = None) -> CallContext:
        """A call of anyone of the people (or of exactly `subject`), addressed to `audience` (or to the first)."""
        facts = dict(self.facts)
        facts[self.audience_key.lower()] = Fact(exact=self.audiences[0] if audience is None else audience)
        if subject is not None:
            facts[self.subject_key.lower()] = Fact(exact=subject)
        return CallContext(facts)

    def statement(self) -> dict[str, Any]:
        """The statement that opens this way to people."""
        if self.kind == "saml":
            return saml_statement(self.provider, self.audiences)
        return oidc_statement(self.provider, self.audience_key.removesuffix(":aud"), self.audiences[0])


@dataclass(frozen=True, slots=True)
class GatewayTrust:
    """The gateway as one account's trust policies see it.

    `federation`: the way that the gateway uses there. `issuer`: host and path, without the scheme, as IAM writes it.
    `saml_recipients`: what `SAML:aud` may be, the account's own region first; empty where SAML cannot work. `entity_id`: our SAML
    issuer, "" if it is not to be judged. `subject_prefix`: how the `sub` of every person's token begins.
    """

    account_id: str
    federation: Federation
    saml_provider_arn: str
    oidc_provider_arn: str
    issuer: str
    saml_recipients: tuple[str, ...]
    token_audience: str = TOKEN_AUDIENCE
    subject_prefix: str = PERSON_PREFIX
    reader_subject: str = READER_SUBJECT
    entity_id: str = ""

    @property
    def saml(self) -> Way:
        """By an assertion."""
        return _saml(self)

    @property
    def oidc(self) -> Way:
        """By a web identity token."""
        return _oidc(self)

    @property
    def way(self) -> Way:
        """The way that the gateway uses in this account."""
        return self.saml if self.federation == "saml" else self.oidc

    @property
    def other_way(self) -> Way:
        """The way that it does not use there."""
        return self.oidc if self.federation == "saml" else self.saml


# Asked for again and again while the roles of one account are examined.
@lru_cache(maxsize=1024)
def _saml(gateway: GatewayTrust) -> Way:
    name = gateway.saml_provider_arn.rpartition("/")[2]
    facts = {
        **_BOTH,
        "saml:sub": A_PERSON,
        "saml:sub_type": Fact(exact="persistent"),
        "saml:doc": Fact(exact=f"{gateway.account_id}/{name}"),
        "saml:iss": Fact(exact=gateway.entity_id) if gateway.entity_id else NOT_KNOWN,
        "saml:namequalifier": NOT_KNOWN,  # a hash of what the owner of a role rarely knows
    }
    return Way("saml", CALLS["saml"], gateway.saml_provider_arn, "SAML:aud", gateway.saml_recipients, "SAML:sub", facts)


@lru_cache(maxsize=1024)
def _oidc(gateway: GatewayTrust) -> Way:
    subject = f"{gateway.issuer}:sub"
    facts = {**_BOTH, subject.lower(): Fact(prefix=gateway.subject_prefix)}
    audiences = (gateway.token_audience,)
    return Way("oidc", CALLS["oidc"], gateway.oidc_provider_arn, f"{gateway.issuer}:aud", audiences, subject, facts)


def recipients(partition: str, region: str = "") -> tuple[str, ...]:
    """The `SAML:aud` values of `region` and of those tried after it; () where the partition's SAML audience is not known.

    Raises UnknownPartition, RegionInvalid.
    """
    where = partition_named(partition)
    try:
        return tuple(where.saml_recipient(each) for each in where.regions_fail_over(region))
    except SamlUnavailable:
        return ()


def gateway_trust(
    account_id: str, *, partition: str, federation: Federation, provider: str, issuer_url: str, region: str = ""
) -> GatewayTrust:
    """The gateway at `issuer_url` as the trust policies of one account see it.

    `provider`: name of the IAM SAML provider. `region`: the account's, "" for the partition's default.
    Raises ArnInvalid, UnknownPartition, RegionInvalid.
    """
    return GatewayTrust(
        account_id=account_id,
        federation=federation,
        saml_provider_arn=arns.saml_provider_arn(partition, account_id, provider),
        oidc_provider_arn=arns.oidc_provider_arn(partition, account_id, issuer_url),
        issuer=arns.oidc_provider_path(issuer_url),
        saml_recipients=recipients(partition, region),
        entity_id=issuer_url,
    )
