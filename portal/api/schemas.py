"""The bodies of the JSON API, as its OpenAPI document shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from ninja import Schema
from pydantic import ConfigDict, Field

_ROLE = "arn:aws:iam::111122223333:role/ReadOnly"
# The form only; whether there is such a role, and for whom, is the mapping's word. [0-9], because \d takes any script's digits.
_ROLE_ARN = r"^arn:aws[a-z-]{0,20}:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,577}$"

RoleArn = Annotated[str, Field(max_length=2048, pattern=_ROLE_ARN, description="The role's ARN.", examples=[_ROLE])]


Policy = (
    Annotated[
        str,
        Field(
            min_length=1,
            max_length=8192,
            description='Narrows the session: "read-only", managed policy ARNs, or an inline policy.',
        ),
    ]
    | None
)


class Body(Schema):
    """A request body: a key that is not known is refused, so that a misspelt `policy` never means "no policy"."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CredentialsRequest(Body):
    """Which role, for how long, and with what further limits."""

    role_arn: RoleArn
    duration: (
        Annotated[int, Field(ge=900, le=43_200, description="Seconds; at most what the mapping and the role allow.")]
        | None
    ) = None
    policy: Policy = None

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"role_arn": _ROLE, "duration": 3600}]}
    )


class ConsoleRequest(Body):
    """Which role, which page of the console, and with what further limits."""

    role_arn: RoleArn
    destination: (
        Annotated[str, Field(max_length=2048, description="A page of the AWS console in the role's partition.")] | None
    ) = None
    duration: (
        Annotated[int, Field(ge=900, le=43_200, description="Seconds; can only shorten what the mapping gives.")] | None
    ) = None
    policy: Policy = None

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"role_arn": _ROLE}]})


class CredentialProcess(Schema):
    """The document that an AWS SDK reads from `credential_process`."""

    Version: Annotated[int, Field(examples=[1])]
    AccessKeyId: Annotated[str, Field(examples=["ASIAIOSFODNN7EXAMPLE"])]
    SecretAccessKey: Annotated[str, Field(examples=["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"])]
    SessionToken: Annotated[str, Field(examples=["IQoJb3JpZ2luX2VjEXAMPLE"])]
    Expiration: Annotated[str, Field(description="ISO 8601, UTC.", examples=["2030-01-01T13:00:00Z"])]
    AccountId: Annotated[str, Field(examples=["111122223333"])]


class ConsoleUrl(Schema):
    """A sign-in URL of the AWS console, good once and for a short time."""

    url: Annotated[str, Field(examples=["https://signin.aws.amazon.com/federation?Action=login&Issuer=…"])]
    expires_at: Annotated[datetime, Field(examples=["2030-01-01T12:15:00Z"])]


class Me(Schema):
    """Who the token belongs to, as the identity provider last described them."""

    id: Annotated[str, Field(examples=["0b7c2e0a-9f4e-4c53-8f5e-2f8b5b1f6a11"])]
    provider: Annotated[str, Field(examples=["corp"])]
    subject: Annotated[str, Field(examples=["alice"])]
    name: Annotated[str, Field(examples=["Alice Example"])]
    email: Annotated[str, Field(examples=["alice@example.com"])]
    groups: Annotated[list[str], Field(examples=[["engineering"]])]
    mfa: bool
    claims_at: Annotated[datetime | None, Field(description="When the identity provider last said so.")]
    scope: Annotated[str, Field(examples=["roles credentials console requests"])]
    pairing_ends: Annotated[datetime, Field(description="When the client must pair again, whatever it refreshes.")]


class Role(Schema):
    """One role that the person can use now. Durations in seconds."""

    arn: Annotated[str, Field(examples=[_ROLE])]
    name: Annotated[str, Field(examples=["ReadOnly"])]
    max_duration: int
    console_duration: int | None
    needs_approval: bool
    rules: Annotated[
        list[str], Field(description="The names of the rules that give it.", examples=[["engineers-read-production"]])
    ]


class Account(Schema):
    """An AWS account with the person's roles in it."""

    account_id: Annotated[str, Field(examples=["111122223333"])]
    name: Annotated[str, Field(examples=["shop-prod"])]
    partition: Annotated[str, Field(examples=["aws"])]
    environment: Annotated[str, Field(examples=["production"])]
    region: Annotated[str, Field(examples=["eu-west-1"], description="Where work is done by default; may be empty.")]
    tags: Annotated[dict[str, str], Field(examples=[{"team": "shop"}])]
    roles: list[Role]


class Roles(Schema):
    """Everything that the person can use now."""

    accounts: list[Account]
    total: int


class AccessRequestBody(Body):
    """Which roles, for how long, and why."""

    role_arns: Annotated[list[RoleArn], Field(min_length=1, max_length=20)]
    duration: Annotated[
        int,
        Field(ge=1800, le=2_592_000, description="Seconds, from the moment of the yes; at most what the rules allow."),
    ]
    reason: Annotated[str, Field(max_length=1000)] = ""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"role_arns": [_ROLE], "duration": 3600, "reason": "Deploy 4711"}]},
    )


class Decision(Body):
    """A yes or no to one role of a request. `seen`: as the request showed it, so that nothing is decided that has changed since."""

    id: int
    approve: bool
    seen: Annotated[str, Field(max_length=64)]


class DecisionBody(Body):
    """What somebody decides: all of it, or nothing."""

    decisions: Annotated[list[Decision], Field(min_length=1, max_length=20)]
    comment: Annotated[str, Field(max_length=1000)] = ""


class RequestedRole(Schema):
    """One role of a request."""

    id: int
    role_arn: Annotated[str, Field(examples=[_ROLE])]
    rule: str
    standing: Annotated[
        str, Field(description="pending, expired, active, ended, refused or withdrawn", examples=["pending"])
    ]
    ends_at: datetime | None
    decided_by: str
    decided_at: datetime | None
    comment: str
    decidable: Annotated[bool, Field(description="Whether the token's person may decide on it now.")]
    seen: Annotated[str, Field(description="To send back with a decision; empty where there is nothing to decide.")]


class AccessRequest(Schema):
    """A request for access."""

    id: Annotated[str, Field(examples=["0b7c2e0a-9f4e-4c53-8f5e-2f8b5b1f6a11"])]
    kind: Annotated[str, Field(description="approval or break_glass", examples=["approval"])]
    asker: str
    reason: str
    duration: int
    created_at: datetime
    expires_at: datetime
    standing: str
    url: str
    roles: list[RequestedRole]


class AccessRequests(Schema):
    """The person's own newest requests, and those that wait for their decision."""

    mine: list[AccessRequest]
    waiting: list[AccessRequest]


class Problem(Schema):
    """RFC 9457. `code` is stable; `request_id` finds the cause in the gateway's log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[dict[str, str]] | None = None
    aws_code: str | None = None


class Reason(Schema):
    """Why: a stable code, a sentence, and the rule that it is about, if one."""

    code: Annotated[str, Field(examples=["denied_by_rule"])]
    sentence: str
    rule: str | None


class RuleExplanation(Schema):
    """One rule that concerns the role, and whether it has its effect on this person now."""

    name: Annotated[str, Field(examples=["engineers-read-production"])]
    line: Annotated[int, Field(description="Its line in the mapping document.")]
    matched: bool
    effect: Annotated[str, Field(description="allow, deny or approval", examples=["allow"])]
    reasons: list[str]


class Explanation(Schema):
    """Why the person has the role, or has not."""

    role_arn: Annotated[str, Field(examples=[_ROLE])]
    allowed: bool
    code: Annotated[str, Field(examples=["allowed"])]
    rule: Annotated[str | None, Field(description="The rule whose session options count.")]
    reasons: list[Reason]
    rules: list[RuleExplanation]
    at: Annotated[str, Field(description="The moment that it speaks of.")]
    revision: Annotated[int, Field(description="The mapping's revision that was in force then.")]
    claims_at: Annotated[str | None, Field(description="When the claims were proved that it is decided on.")]
    stopped_by: Annotated[str | None, Field(description="What would stop a mint although the mapping says yes.")]
    notes: list[str]
    trust: Annotated[list[str], Field(description="What in the role's trust policy keeps people out.")]
    trusted: Annotated[
        bool | None,
        Field(description="Whether the role's trust policy lets people in through the gateway; null: not known."),
    ]
    last_use: Annotated[
        dict[str, str] | None, Field(description="The last time that the person asked AWS for this role.")
    ]
