"""Hundreds of roles and a whole organization put into moto at once, past HTTP: moto runs in this process. DEMO ONLY.

What is put here is moto's own state: it is read, changed and deleted over HTTP like anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from moto.iam.models import AWSManagedPolicy, iam_backends
from moto.iam.models import Role as Role_
from moto.organizations.models import FakeAccount, OrganizationsBackend, organizations_backends

from demo.aws.registry import Role

PARTITION = "aws"
_TEXT_IS_AWSS = '{"Version": "2012-10-17", "Statement": []}'


@dataclass(frozen=True)
class RoleFacts:
    """What IAM shows of a role beside its trust. `last_used`: aware, None for never (or longer ago than IAM tells)."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    last_used: datetime | None = None
    created: datetime | None = None


@dataclass(frozen=True)
class Member:
    """An account of the organization. `unit`: names from below the root, joined by `/`; empty for the root itself."""

    id: str
    name: str
    email: str
    unit: str
    tags: Mapping[str, str]
    state: str = "ACTIVE"


def put_roles(roles: Iterable[tuple[Role, RoleFacts]]) -> None:
    """Make each role, or change the one of that name, in its account's IAM."""
    for role, facts in roles:
        iam = iam_backends[role.account][PARTITION]
        path = "/" + role.arn.partition(":role/")[2].removesuffix(role.name)
        held = next((found for found in iam.get_roles() if found.name == role.name), None)
        if held is None:
            held = iam.create_role(
                role.name, json.dumps(role.trust_policy), path, None, facts.description,
                [{"Key": key, "Value": value} for key, value in facts.tags.items()], str(role.max_session_duration),
            )  # fmt: skip
        held.assume_role_policy_document = json.dumps(role.trust_policy)
        held.max_session_duration = str(role.max_session_duration)
        if facts.created is not None:
            held.create_date = facts.created.replace(tzinfo=None)
        tell_last_use(role.arn, facts.last_used)


def tell_last_use(arn: str, at: datetime | None) -> None:
    """When the role was last used, as IAM shows it; nothing happens where there is no such role or no such moment."""
    held = _role(arn)
    if held is not None and at is not None:
        held.last_used = at.replace(tzinfo=None, microsecond=0)


def tell_creation(arn: str, at: datetime) -> None:
    """Since when the role is there, as IAM shows it; nothing happens where there is no such role."""
    held = _role(arn)
    if held is not None:
        held.create_date = at.replace(tzinfo=None)


def describe(arn: str, description: str) -> None:
    """What the role is for, as IAM shows it."""
    held = _role(arn)
    if held is not None:
        held.description = description


def give_policies(arn: str, attached: Iterable[str], inline: Mapping[str, Mapping[str, object]]) -> None:
    """The role's policies: names of AWS's own, and those that stand in the role. Nothing is enforced by them here."""
    held = _role(arn)
    if held is None:
        return
    held.policies = {name: json.dumps(document) for name, document in inline.items()}
    held.managed_policies = {}
    for name in attached:
        policy = AWSManagedPolicy(name, account_id="aws", region="global", document=_TEXT_IS_AWSS, path="/")
        held.managed_policies[policy.arn] = policy


def _role(arn: str) -> Role_ | None:
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    return next((found for found in iam_backends[account][PARTITION].get_roles() if found.name == name), None)


def put_organization(management: str, members: Iterable[Member]) -> None:
    """An organization whose management account is `management`; the ids of its root and units are the same at each start."""
    backend: OrganizationsBackend = organizations_backends[management][PARTITION]
    backend.create_organization("us-east-1", FeatureSet="ALL")
    root = backend.ou[0]
    root.id = backend.org.root_id = "r-demo"
    units = {"": root.id}
    for member in members:
        parent = ""
        for name in filter(None, member.unit.split("/")):
            path = f"{parent}/{name}" if parent else name
            if path not in units:
                backend.create_organizational_unit(Name=name, ParentId=units[parent])
                # AWS's ids are random; these stay, so that the gateway's catalogue of the last start still fits.
                backend.ou[-1].id = units[path] = f"ou-demo-{len(units):08}"
            parent = path
        if member.id == management:
            account = backend.accounts[0]
            account.name, account.email, account.tags = member.name, member.email, dict(member.tags)
        else:
            account = FakeAccount(backend.org, AccountName=member.name, Email=member.email)
            backend.accounts.append(account)
        account.id, account.parent_id, account.tags = member.id, units[parent], dict(member.tags)
        account.status = account.state = member.state
        organizations_backends.master_accounts[member.id] = (management, PARTITION)
