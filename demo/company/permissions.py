"""What each kind of role may do: its policies in IAM, as companies have them: AWS's own, the account's, and some in the role itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Held:
    """`attached`: names of AWS's managed policies. `inline`: name -> document."""

    attached: Sequence[str] = ()
    inline: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _allow(*actions: str, resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_NO_IAM = {"Effect": "Deny", "Action": ["iam:*", "organizations:*"], "Resource": "*"}
OF: Final[Mapping[str, Held]] = {
    "ReadOnly": Held(["ReadOnlyAccess"]),
    "Administrator": Held(["AdministratorAccess"]),
    "PowerUser": Held(["PowerUserAccess"]),
    "SecurityAudit": Held(["SecurityAudit"]),
    "BillingReader": Held(["AWSBillingReadOnlyAccess"]),
    "IncidentResponder": Held(
        ["SecurityAudit"],
        {
            "isolate": _policy(
                _allow("ec2:ModifyInstanceAttribute", "ec2:CreateSnapshot", "ec2:*SecurityGroup*", "guardduty:*"),
                _allow("iam:UpdateAccessKey", "iam:AttachUserPolicy", "iam:PutUserPolicy"),
            )
        },
    ),
    "Developer": Held(
        (),
        {
            "work-on-services": _policy(
                _allow("lambda:*", "dynamodb:*", "sqs:*", "sns:*", "ecs:*", "ecr:*", "logs:*", "cloudwatch:*"),
                _allow("s3:Get*", "s3:List*", "s3:PutObject", "s3:DeleteObject"),
                _allow("ec2:Describe*", "rds:Describe*", "cloudformation:Describe*", "cloudformation:List*"),
                _NO_IAM,
            )
        },
    ),
    "Deployer": Held(
        (),
        {
            "release": _policy(
                _allow("cloudformation:*", "ecs:UpdateService", "ecs:RegisterTaskDefinition", "ecs:Describe*"),
                _allow("lambda:UpdateFunctionCode", "lambda:PublishVersion", "lambda:UpdateAlias"),
                _allow("s3:GetObject", "s3:PutObject", resource="arn:aws:s3:::*-artifacts/*"),
                _allow("iam:PassRole", resource="arn:aws:iam::*:role/service/*"),
            )
        },
    ),
    "Operator": Held(
        ["CloudWatchReadOnlyAccess"],
        {
            "restart-and-scale": _policy(
                _allow("ecs:UpdateService", "ecs:StopTask", "ecs:Describe*", "ecs:List*", "autoscaling:*"),
                _allow("ec2:RebootInstances", "ec2:StartInstances", "ec2:StopInstances", "ec2:Describe*"),
                _allow("rds:RebootDBInstance", "rds:Describe*", "logs:Get*", "logs:FilterLogEvents", "logs:Describe*"),
            )
        },
    ),
    "DataScientist": Held(
        ["AmazonSageMakerFullAccess"],
        {"lake": _policy(_allow("s3:Get*", "s3:List*", resource="arn:aws:s3:::lake-curated/*"), _allow("athena:*"))},
    ),
    "DataEngineer": Held(
        ["AmazonAthenaFullAccess"], {"pipelines": _policy(_allow("glue:*", "s3:*", "states:*", "kms:Decrypt"))}
    ),
    "Analyst": Held((), {"query": _policy(_allow("redshift-data:*", "redshift:Describe*", "athena:Get*", "athena:List*"))}),
    "NetworkAdministrator": Held(["NetworkAdministrator"], {"dns": _policy(_allow("route53:*", "route53resolver:*"))}),
}  # fmt: skip


def of(role: str) -> Held:
    """The policies of a role by its name, with or without path. A machine's role reads and writes its own things."""
    name = role.rpartition("/")[2]
    if name in OF:
        return OF[name]
    own = f"arn:aws:s3:::{name.rpartition('-of-')[2]}-*"
    return Held((), {"its-own-things": _policy(_allow("s3:GetObject", "s3:PutObject", resource=own), _allow("logs:PutLogEvents"))})  # fmt: skip
