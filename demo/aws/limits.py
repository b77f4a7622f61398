"""The parameters of the two calls and their limits, as botocore's service model and the STS reference give them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.errors import AwsError, invalid_token, validation

ROLE_ARN = re.compile(r"^arn:(aws|aws-cn|aws-us-gov):iam::(\d{12}):role/([\w+=,.@/-]{1,512})$", re.ASCII)
POLICY_ARN = re.compile(r"^arn:[\w-]+:iam::(\d{12}|aws):policy/[\w+=,.@/-]{1,512}$", re.ASCII)
SESSION_NAME = re.compile(r"^[\w+=,.@-]{2,64}$", re.ASCII)
TAG_TEXT = re.compile(r"^[\w\s.:/=+@-]*$")
DURATION = (900, 43_200)
DEFAULT_DURATION = 3_600
MAX_POLICY_CHARACTERS = 2_048
MAX_POLICY_ARNS = 10
MAX_TAGS = 50
# AWS does not publish how it packs; here: zlib over everything, against as many bytes as a plain policy may have characters.
PACKED_BYTES = 2_048


@dataclass(frozen=True)
class SessionPolicy:
    """The session policy of a call: inline document and managed ARNs."""

    inline: str
    arns: tuple[str, ...]


@dataclass(frozen=True)
class Tags:
    """Session tags out of an assertion or a token, checked."""

    principal: Mapping[str, str]
    transitive: tuple[str, ...]
    source_identity: str


def sized(params: Mapping[str, str], name: str, least: int, most: int) -> str:
    """A required text of that many characters. Raises AwsError ValidationError."""
    value = params.get(name, "")
    member = name[0].lower() + name[1:]
    if len(value) < least:
        raise validation(member, value, f"Member must have length greater than or equal to {least}")
    if len(value) > most:
        raise validation(member, value, f"Member must have length less than or equal to {most}")
    return value


def role_arn(params: Mapping[str, str]) -> tuple[str, str, str]:
    """(ARN, partition, account) of RoleArn."""
    arn = sized(params, "RoleArn", 20, 2048)
    match = ROLE_ARN.match(arn)
    if match is None:
        raise AwsError("ValidationError", f"{arn} is invalid", "role_arn_invalid")
    if match.group(3).rpartition("/")[2].startswith("AWSReservedSSO_"):
        raise AwsError("AccessDenied", "Not authorized to perform sts:AssumeRole", "reserved_role")
    return arn, match.group(1), match.group(2)


def duration(params: Mapping[str, str], most: int) -> int:
    """DurationSeconds; the call fails, and nothing is clamped, above the role's maximum."""
    text = params.get("DurationSeconds", str(DEFAULT_DURATION))
    if not text.isascii() or not text.isdecimal():
        raise validation("durationSeconds", text, "Member must be an integer")
    seconds = int(text)
    if seconds < DURATION[0]:
        raise validation("durationSeconds", text, f"Member must have value greater than or equal to {DURATION[0]}")
    if seconds > DURATION[1]:
        raise validation("durationSeconds", text, f"Member must have value less than or equal to {DURATION[1]}")
    if seconds > most:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            "duration_over_maximum",
        )
    return seconds


def session_policy(params: Mapping[str, str]) -> SessionPolicy:
    """Policy and PolicyArns.member.N.arn. Raises AwsError ValidationError, MalformedPolicyDocument or PackedPolicyTooLarge."""
    inline = params.get("Policy", "")
    if "Policy" in params:
        sized(params, "Policy", 1, MAX_POLICY_CHARACTERS)
        _check_policy(inline)
    names = sorted(name for name in params if name.startswith("PolicyArns."))
    arns = tuple(params[name] for name in names)
    if len(arns) > MAX_POLICY_ARNS:
        raise validation(
            "policyArns", str(len(arns)), f"Member must have length less than or equal to {MAX_POLICY_ARNS}"
        )
    for arn in arns:
        if not POLICY_ARN.match(arn):
            raise AwsError("ValidationError", f"{arn} is invalid", "policy_arn_invalid")
    if len(inline) + sum(map(len, arns)) > MAX_POLICY_CHARACTERS:
        raise AwsError(
            "PackedPolicyTooLarge",
            "Policies exceed the plain text limit of 2048 characters.",
            "policies_over_plain_limit",
        )
    return SessionPolicy(inline, arns)


def _check_policy(text: str) -> None:
    problem = AwsError("MalformedPolicyDocument", "This policy contains invalid Json", "policy_malformed")
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise problem from error
    statements = document.get("Statement") if isinstance(document, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.", "policy_syntax")
    for statement in statements:
        complete = (
            isinstance(statement, dict)
            and statement.get("Effect") in {"Allow", "Deny"}
            and ("Action" in statement) != ("NotAction" in statement)
            and ("Resource" in statement) != ("NotResource" in statement)
            and "Principal" not in statement
        )
        if not complete:
            raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.", "policy_syntax")


def packed_percent(policy: SessionPolicy, tags: Tags) -> int:
    """PackedPolicySize, in percent of the limit. Raises AwsError PackedPolicyTooLarge above 100."""
    everything = json.dumps([policy.inline, policy.arns, dict(tags.principal), tags.transitive], ensure_ascii=False)
    size = len(zlib.compress(everything.encode(), 9)) if policy.inline or policy.arns or tags.principal else 0
    percent = -(-100 * size // PACKED_BYTES)
    if percent > 100:
        raise AwsError(
            "PackedPolicyTooLarge",
            f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
            "packed_too_large",
        )
    return percent


def check_tags(principal: Mapping[str, Any], transitive: tuple[Any, ...], source_identity: Any) -> Tags:
    """Session tags, transitive keys and source identity. Raises AwsError InvalidIdentityToken."""
    if len(principal) > MAX_TAGS:
        raise invalid_token(f"More than {MAX_TAGS} session tags.", "too_many_tags")
    folded = [key.lower() for key in principal]
    if len(set(folded)) != len(folded):
        raise invalid_token(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.", "tag_key_twice"
        )
    for key, value in principal.items():
        good = isinstance(value, str) and 1 <= len(key) <= 128 and len(value) <= 256
        if not good or key.lower().startswith("aws:") or not TAG_TEXT.match(key) or not TAG_TEXT.match(value):
            raise invalid_token(f"The session tag {key[:128]!r} is not allowed.", "tag_not_allowed")
    if not all(isinstance(key, str) and key in principal for key in transitive):
        raise invalid_token("A transitive tag key is not among the session tags.", "transitive_key_unknown")
    if source_identity != "" and (
        not isinstance(source_identity, str)
        or not SESSION_NAME.match(source_identity)
        or source_identity.lower().startswith("aws:")
    ):
        raise invalid_token(
            'Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with "aws:"', "source_identity_invalid"
        )
    return Tags(dict(principal), tuple(transitive), source_identity)
