"""What an account's owner applies so that the gateway can work there, as CloudFormation or as Terraform. Pure: text from data.

Owns which resources these are: the gateway as an identity provider, its reader role, roles for people. The trust policies come from
`gateway_trust`, so what is written here is what `trust` finds good. Sources: AWS CloudFormation template reference
(AWS::IAM::SAMLProvider, AWS::IAM::OIDCProvider, AWS::IAM::Role, AWS::CloudFormation::StackSet), "CloudFormation quotas";
Terraform registry, hashicorp/aws (iam_saml_provider, iam_openid_connect_provider, cloudformation_stack_set).

No thumbprint is written: IAM fetches it itself where one is not given, and compares certificates with its own list of authorities first
(IAM API reference, CreateOpenIDConnectProvider, ThumbprintList: optional).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import yaml

from federation.aws import arns, hcl
from federation.aws.gateway_trust import (
    READER_ROLE,
    TOKEN_AUDIENCE,
    oidc_statement,
    policy_of,
    reader_statement,
    recipients,
    saml_statement,
)
from federation.aws.partitions import SamlUnavailable
from federation.aws.partitions import partition as partition_named
from federation.errors import BadRequest
from federation.mapping.rules import Federation
from federation.said import say

# The permissions of the reader role: what `catalogue` calls, and nothing that shows more of an account.
READER_ACTIONS = (
    "iam:ListRoles",
    "iam:GetAccountAuthorizationDetails",
    "iam:ListAccountAliases",
    # What `registration` calls, to verify an account: how the gateway itself is registered there.
    "iam:GetSAMLProvider",
    "iam:GetOpenIDConnectProvider",
)
# Beside these where it reads the organization: what `organizations` calls.
ORGANIZATION_ACTIONS = (
    "organizations:ListAccounts",
    "organizations:ListParents",
    "organizations:DescribeOrganizationalUnit",
    "organizations:ListTagsForResource",
    "organizations:ListOrganizationalUnitsForParent",
    "organizations:ListRoots",
    "organizations:ListAccountsForParent",
)
PEOPLE_SECONDS = 3600
READER_SECONDS = 3600  # the least that IAM has; the gateway asks for fifteen minutes
DIRECT_BYTES = 51_200  # of a template that is handed over in the request
STORED_BYTES = 1_000_000  # of one in S3
# From this version on aws_iam_openid_connect_provider needs no thumbprint_list.
TERRAFORM_PROVIDER = ">= 5.81"
_METADATA_CHARACTERS = (1_000, 10_000_000)
_ROLE_NAME = re.compile(r"[A-Za-z0-9_+=.@-]{1,64}")
_POLICY_ARN = re.compile(
    r"arn:(?P<partition>[a-z][a-z-]{2,20}):iam::(?P<owner>aws|[0-9]{12}):policy/(?:[A-Za-z0-9_+=.@/-]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,128}"
)


class OnboardingInvalid(BadRequest):
    """An account cannot be onboarded as asked; `reason` and the sentence say why."""

    code = "onboarding_invalid"
    sentence = "The account cannot be onboarded as asked."


@dataclass(frozen=True, slots=True)
class PeopleRole:
    """A role for people. `policy_arn`: the managed policy that says what it may do. `max_session_duration` in seconds."""

    name: str
    policy_arn: str
    max_session_duration: int = PEOPLE_SECONDS


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written for one account; for `whole_organization` for its member accounts too (a service-managed StackSet).

    `provider`: name of the IAM SAML provider. `saml_metadata`: the gateway's current metadata. `reads_organization`: its reader
    may list the organization as well. `register_providers` False: they are there already.
    """

    partition: str
    account_id: str
    account_name: str
    federation: Federation
    provider: str
    issuer_url: str
    saml_metadata: str
    region: str = ""
    roles: tuple[PeopleRole, ...] = ()
    reads_organization: bool = False
    register_providers: bool = True
    whole_organization: bool = False

    @property
    def issuer(self) -> str:
        """The issuer as IAM writes it."""
        return arns.oidc_provider_path(self.issuer_url)

    @property
    def home_region(self) -> str:
        """Where the stack goes: IAM is the same everywhere, so one region is enough."""
        return partition_named(self.partition).check_region(self.region)


def people_role(text: str, *, partition: str) -> PeopleRole:
    """A role out of NAME:POLICY_ARN. Raises OnboardingInvalid: role_malformed, role_name_reserved, policy_other_partition."""
    name, colon, policy_arn = text.partition(":")
    found = _POLICY_ARN.fullmatch(policy_arn)
    if not colon or not _ROLE_NAME.fullmatch(name) or found is None:
        raise OnboardingInvalid(
            "role_malformed",
            sentence="A role is given as NAME:POLICY_ARN, such as ReadOnly:arn:aws:iam::aws:policy/ReadOnlyAccess; its name has 1 to 64 letters, digits and _+=.@-.",
            detail=ascii(text)[:200],
        )
    if name.lower() == READER_ROLE or name.startswith("AWSReservedSSO_"):
        raise OnboardingInvalid(
            "role_name_reserved", sentence=say("The name {name} is taken: choose another one for people.", name=name)
        )
    if found["partition"] != partition:
        raise OnboardingInvalid(
            "policy_other_partition",
            sentence=say(
                "The policy of {name} is not in the account's partition {partition}.", name=name, partition=partition
            ),
        )
    return PeopleRole(name, policy_arn)


def check(plan: Plan) -> tuple[str, ...]:
    """Check a plan; returns what its reader should know before applying it, a sentence each.

    Raises OnboardingInvalid (role_twice, policy_of_one_account, policy_of_other_account, metadata_unusable), SamlUnavailable,
    UnknownPartition, RegionInvalid, ArnInvalid.
    """
    where = partition_named(plan.partition)
    arns.saml_provider_arn(plan.partition, plan.account_id, plan.provider)
    arns.oidc_provider_arn(plan.partition, plan.account_id, plan.issuer_url)
    where.check_region(plan.region)
    names = [role.name.lower() for role in plan.roles]  # IAM: names are unique without regard to case
    if len(set(names)) != len(names):
        raise OnboardingInvalid(
            "role_twice", sentence="A role is named twice (IAM does not tell upper and lower case apart)."
        )
    for role in plan.roles:
        owner = role.policy_arn.split(":")[4]
        if plan.whole_organization and owner != "aws":
            raise OnboardingInvalid(
                "policy_of_one_account",
                sentence=say(
                    "The policy of {name} exists in account {account} alone: for a whole organization name one of AWS's own (arn:{partition}:iam::aws:policy/…).",
                    name=role.name,
                    account=owner,
                    partition=plan.partition,
                ),
            )
        if owner not in ("aws", plan.account_id):
            raise OnboardingInvalid(
                "policy_of_other_account",
                sentence=say(
                    "The policy of {name} is in account {account}, not in {other}.",
                    name=role.name,
                    account=owner,
                    other=plan.account_id,
                ),
            )
    if plan.federation == "saml":
        where.saml_audience  # noqa: B018 - refuses the partitions where SAML cannot work
        least, most = _METADATA_CHARACTERS
        if not least <= len(plan.saml_metadata) <= most:
            raise OnboardingInvalid(
                "metadata_unusable",
                sentence=say(
                    "IAM takes SAML metadata of {least} to {most} characters; the gateway's has {number}.",
                    least=least,
                    most=most,
                    number=len(plan.saml_metadata),
                ),
            )
    notes = []
    if urlsplit(plan.issuer_url).scheme != "https":
        notes.append(
            say(
                "AWS will not accept the issuer {url}: it must be https, without a port, and reachable from the internet. Set ROLEGATE_ISSUER_URL.",
                url=plan.issuer_url,
            )
        )
    if plan.whole_organization:
        notes.append(
            say(
                "A service-managed StackSet needs trusted access between CloudFormation and Organizations, and never reaches the management account: what this file makes beside it is for the account in which it is applied."
            )
        )
    return tuple(notes)


# --- CloudFormation ------------------------------------------------------------------------------------


def cloudformation(plan: Plan) -> str:
    """The template, YAML. Raises what `check` raises, OnboardingInvalid(template_too_large)."""
    notes = check(plan)
    template = _template(plan)
    lines = [
        *_head(plan),
        "Apply it in that account:",
        f"  aws cloudformation deploy --template-file FILE --stack-name rolegate --capabilities CAPABILITY_NAMED_IAM --region {plan.home_region}"
        + (" --parameter-overrides OrganizationalUnitIds=r-xxxx" if plan.whole_organization else ""),
    ]
    text = _comment([*lines, *notes]) + _yaml(template)
    size = len(text.encode())
    if size > STORED_BYTES:
        raise OnboardingInvalid(
            "template_too_large",
            sentence=say(
                "The template has {number} bytes; CloudFormation takes {most}.", number=size, most=STORED_BYTES
            ),
        )
    if size > DIRECT_BYTES:
        text = _comment([*lines, *notes, _too_large(size)]) + _yaml(template)
    return text


def _too_large(size: int) -> str:
    return f"It has {size:,} bytes, more than the {DIRECT_BYTES:,} that go with the request: add --s3-bucket BUCKET to the command."


def _template(plan: Plan) -> dict[str, Any]:
    where = f"account {plan.account_id}" if plan.account_id and not plan.whole_organization else "AWS accounts"
    template: dict[str, Any] = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Rolegate ({plan.issuer_url}) as an identity provider of {where}, its reader role, and roles for people.",
    }
    if plan.whole_organization:
        template["Parameters"] = {
            "OrganizationalUnitIds": {
                "Type": "CommaDelimitedList",
                "Description": "The root (r-...) or the organizational units (ou-...) whose accounts, present and future, get the stack.",
            },
            "CallAs": {
                "Type": "String",
                "Default": "SELF",
                "AllowedValues": ["SELF", "DELEGATED_ADMIN"],
                "Description": "DELEGATED_ADMIN where this account is the delegated administrator of StackSets, not the management account.",
            },
        }
    template["Resources"] = _resources(plan)
    template["Outputs"] = {
        "ReaderRoleArn": {
            "Description": "The role with which the gateway reads this account"
            + ("; the value of ROLEGATE_ORGANIZATION_ROLE." if plan.reads_organization else "."),
            "Value": {"Fn::GetAtt": ["Reader", "Arn"]},
        }
    }
    return template


def _cf_arn(resource: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:{resource}"}


def _resources(plan: Plan) -> dict[str, Any]:
    saml = _cf_arn(f"saml-provider/{plan.provider}")
    oidc = _cf_arn(f"oidc-provider/{plan.issuer}")
    made: dict[str, Any] = {}
    if plan.register_providers and plan.federation == "saml":
        made["SamlProvider"] = {
            "Type": "AWS::IAM::SAMLProvider",
            "Properties": {"Name": plan.provider, "SamlMetadataDocument": plan.saml_metadata},
        }
    if plan.register_providers:
        made["OidcProvider"] = {
            "Type": "AWS::IAM::OIDCProvider",
            "Properties": {"Url": plan.issuer_url, "ClientIdList": [TOKEN_AUDIENCE]},
        }
    made["Reader"] = _cf_role(
        plan,
        "OidcProvider",
        {
            "RoleName": READER_ROLE,
            "Description": "Rolegate reads the roles of this account. No person can assume it.",
            "MaxSessionDuration": READER_SECONDS,
            "AssumeRolePolicyDocument": policy_of(reader_statement(oidc, plan.issuer)),
            "Policies": [{"PolicyName": READER_ROLE, "PolicyDocument": _reader_policy(plan)}],
        },
    )
    logical = _unique([re.sub(r"[^A-Za-z0-9]", "", role.name) for role in plan.roles], taken=("Reader",))
    for name, role in zip(logical, plan.roles, strict=True):
        made[f"Role{name}"] = _cf_role(
            plan,
            "SamlProvider" if plan.federation == "saml" else "OidcProvider",
            {
                "RoleName": role.name,
                "Description": "For people who come through Rolegate.",
                "MaxSessionDuration": role.max_session_duration,
                "AssumeRolePolicyDocument": _people_trust(plan, saml, oidc),
                "ManagedPolicyArns": [role.policy_arn],
            },
        )
    if plan.whole_organization:
        made["MemberAccounts"] = _stack_set(plan)
    return made


def _cf_role(plan: Plan, provider: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    # By name, not by Ref: the same policy is right where the provider is there already.
    after = {"DependsOn": provider} if plan.register_providers else {}
    return {"Type": "AWS::IAM::Role", **after, "Properties": dict(properties)}


def _people_trust(plan: Plan, saml: Any, oidc: Any) -> dict[str, Any]:
    if plan.federation == "saml":
        return policy_of(saml_statement(saml, recipients(plan.partition, plan.region)))
    return policy_of(oidc_statement(oidc, plan.issuer))


def _reader_policy(plan: Plan) -> dict[str, Any]:
    # None of these actions can be narrowed to a resource (Service Authorization Reference).
    statements = [{"Sid": "ReadRoles", "Effect": "Allow", "Action": list(READER_ACTIONS), "Resource": "*"}]
    if plan.reads_organization:
        statements.append(
            {"Sid": "ReadOrganization", "Effect": "Allow", "Action": list(ORGANIZATION_ACTIONS), "Resource": "*"}
        )
    return policy_of(*statements)


def _member(plan: Plan) -> Plan:
    """What each member account of the organization gets: the same, for any account, without the organization."""
    return replace(plan, account_id="", account_name="", reads_organization=False, whole_organization=False)


def _member_template(plan: Plan) -> str:
    return _yaml(_template(_member(plan)))


def _stack_set(plan: Plan) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudFormation::StackSet",
        "Properties": {
            "StackSetName": "rolegate",
            "Description": f"Rolegate ({plan.issuer_url}) in every account of the organization.",
            "PermissionModel": "SERVICE_MANAGED",
            "CallAs": {"Ref": "CallAs"},
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
            "ManagedExecution": {"Active": True},
            "OperationPreferences": {"MaxConcurrentPercentage": 25, "FailureTolerancePercentage": 25},
            "StackInstancesGroup": [
                {
                    "DeploymentTargets": {"OrganizationalUnitIds": {"Ref": "OrganizationalUnitIds"}},
                    "Regions": [plan.home_region],
                }
            ],
            "TemplateBody": _member_template(plan),
        },
    }


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, lists indented, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002  PyYAML's own
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _yaml(template: Mapping[str, Any]) -> str:
    return yaml.dump(template, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=False)


# --- Terraform -----------------------------------------------------------------------------------------


def terraform(plan: Plan) -> str:
    """The configuration, one file. Raises what `check` raises."""
    notes = check(plan)
    lines = [*_head(plan), "Apply it with credentials of that account: terraform init && terraform apply"]
    return _comment([*lines, *notes]) + hcl.document(_blocks(plan))


def _blocks(plan: Plan) -> list[hcl.Block]:
    version = {"source": "hashicorp/aws", "version": TERRAFORM_PROVIDER}
    blocks = [
        hcl.Block("terraform", (), {}, (hcl.Block("required_providers", (), {"aws": version}),)),
        hcl.Block("data", ("aws_caller_identity", "current"), {}),
    ]
    if plan.whole_organization:
        blocks += _tf_variables()
    saml: Any = arns.saml_provider_arn(plan.partition, plan.account_id, plan.provider)
    oidc: Any = arns.oidc_provider_arn(plan.partition, plan.account_id, plan.issuer_url)
    if plan.register_providers and plan.federation == "saml":
        attributes = {"name": plan.provider, "saml_metadata_document": hcl.Heredoc(plan.saml_metadata)}
        blocks.append(hcl.Block("resource", ("aws_iam_saml_provider", "rolegate"), attributes))
        saml = hcl.Expression("aws_iam_saml_provider.rolegate.arn")
    if plan.register_providers:
        attributes = {"url": plan.issuer_url, "client_id_list": [TOKEN_AUDIENCE]}
        blocks.append(hcl.Block("resource", ("aws_iam_openid_connect_provider", "rolegate"), attributes))
        oidc = hcl.Expression("aws_iam_openid_connect_provider.rolegate.arn")
    blocks += _tf_reader(plan, oidc)
    labels = _unique([re.sub(r"[^a-z0-9_]", "_", role.name.lower()) for role in plan.roles], taken=("reader",))
    for label, role in zip(labels, plan.roles, strict=True):
        blocks += _tf_people(role, f"rolegate_{label}", _people_trust(plan, saml, oidc))
    if plan.whole_organization:
        blocks += _tf_stack_set(plan)
    blocks.append(
        hcl.Block(
            "output", ("rolegate_reader_role_arn",), {"value": hcl.Expression("aws_iam_role.rolegate_reader.arn")}
        )
    )
    return blocks


def _tf_reader(plan: Plan, oidc: Any) -> list[hcl.Block]:
    label = "rolegate_reader"
    guard = hcl.Block(
        "precondition",
        (),
        {
            # The same file in another account would give that one's roles to this one's people.
            "condition": hcl.Expression(
                f"data.aws_caller_identity.current.account_id == {hcl.quoted(plan.account_id)}"
            ),
            "error_message": f"This configuration was written for account {plan.account_id}.",
        },
    )
    role = {
        "name": READER_ROLE,
        "description": "Rolegate reads the roles of this account. No person can assume it.",
        "max_session_duration": READER_SECONDS,
        "assume_role_policy": hcl.JsonEncode(policy_of(reader_statement(oidc, plan.issuer))),
    }
    policy = {
        "name": READER_ROLE,
        "role": hcl.Expression(f"aws_iam_role.{label}.name"),
        "policy": hcl.JsonEncode(_reader_policy(plan)),
    }
    return [
        hcl.Block("resource", ("aws_iam_role", label), role, (hcl.Block("lifecycle", (), {}, (guard,)),)),
        hcl.Block("resource", ("aws_iam_role_policy", label), policy),
    ]


def _tf_people(role: PeopleRole, label: str, trust: Mapping[str, Any]) -> list[hcl.Block]:
    attributes = {
        "name": role.name,
        "description": "For people who come through Rolegate.",
        "max_session_duration": role.max_session_duration,
        "assume_role_policy": hcl.JsonEncode(trust),
    }
    attachment = {"role": hcl.Expression(f"aws_iam_role.{label}.name"), "policy_arn": role.policy_arn}
    return [
        hcl.Block("resource", ("aws_iam_role", label), attributes),
        hcl.Block("resource", ("aws_iam_role_policy_attachment", label), attachment),
    ]


def _tf_variables() -> list[hcl.Block]:
    units = {
        "description": "The root (r-...) or the organizational units (ou-...) whose accounts, present and future, get the stack.",
        "type": hcl.Expression("list(string)"),
    }
    call_as = {
        "description": "DELEGATED_ADMIN where this account is the delegated administrator of StackSets, not the management account.",
        "type": hcl.Expression("string"),
        "default": "SELF",
    }
    return [hcl.Block("variable", ("organizational_unit_ids",), units), hcl.Block("variable", ("call_as",), call_as)]


def _tf_stack_set(plan: Plan) -> list[hcl.Block]:
    label = ("aws_cloudformation_stack_set", "rolegate")
    stack_set = {
        "name": "rolegate",
        "description": f"Rolegate ({plan.issuer_url}) in every account of the organization.",
        "permission_model": "SERVICE_MANAGED",
        "call_as": hcl.Expression("var.call_as"),
        "capabilities": ["CAPABILITY_NAMED_IAM"],
        "template_body": hcl.Heredoc(_member_template(plan)),
    }
    inner = (
        hcl.Block("auto_deployment", (), {"enabled": True, "retain_stacks_on_account_removal": False}),
        hcl.Block("managed_execution", (), {"active": True}),
        hcl.Block("operation_preferences", (), {"max_concurrent_percentage": 25, "failure_tolerance_percentage": 25}),
        # A service-managed StackSet has none, and the provider would plan to change it for ever.
        hcl.Block("lifecycle", (), {"ignore_changes": hcl.Expression("[administration_role_arn]")}),
    )
    instances = {
        "stack_set_name": hcl.Expression("aws_cloudformation_stack_set.rolegate.name"),
        "call_as": hcl.Expression("var.call_as"),
        "regions": [plan.home_region],
    }
    targets = hcl.Block(
        "deployment_targets", (), {"organizational_unit_ids": hcl.Expression("var.organizational_unit_ids")}
    )
    return [
        hcl.Block("resource", label, stack_set, inner),
        hcl.Block("resource", ("aws_cloudformation_stack_instances", "rolegate"), instances, (targets,)),
    ]


# --- Both ----------------------------------------------------------------------------------------------


def _head(plan: Plan) -> list[str]:
    name = f" ({plan.account_name})" if plan.account_name else ""
    scope = ", and for every other account of its organization" if plan.whole_organization else ""
    lines = [f"Rolegate at {plan.issuer_url}: access for account {plan.account_id}{name}{scope}."]
    if plan.register_providers and plan.federation == "saml":
        lines.append(
            "The SAML metadata holds the gateway's keys: write this file anew and apply it between the two steps of `manage.py keys rotate saml`."
        )
    return lines


def _comment(lines: Sequence[str]) -> str:
    # Whoever names an account could otherwise end the comment with a line break and go on with a resource.
    return "".join(f"# {''.join(c if c.isprintable() else '?' for c in line)}\n" for line in lines) + "\n"


def _unique(names: Sequence[str], *, taken: Sequence[str]) -> list[str]:
    """The names, with a number behind those that would come twice (case aside), or that are empty."""
    found: list[str] = []
    seen = {one.lower() for one in taken}
    for name in names:
        candidate, number = name or "X", 2
        while candidate.lower() in seen:
            candidate, number = f"{name or 'X'}{number}", number + 1
        seen.add(candidate.lower())
        found.append(candidate)
    return found


__all__ = [
    "DIRECT_BYTES",
    "ORGANIZATION_ACTIONS",
    "READER_ACTIONS",
    "OnboardingInvalid",
    "PeopleRole",
    "Plan",
    "SamlUnavailable",
    "check",
    "cloudformation",
    "people_role",
    "terraform",
]
