"""What a role's policies let its holder do, in a form that can be said in a few words. Pure.

It is a reading for people who decide, not an evaluation: what a session may do is AWS's to say, with conditions, resource
policies and the organization's own limits on top. So it errs upwards: what may change something counts as changing, and
what is not understood is named as such, never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from federation.aws.managed_policies import NAMED, meaning

Level = Literal["read", "change", "all"]

ADMINISTRATOR: Final = "AdministratorAccess"
# AWS's own policies whose text everybody knows; of others the name says what AWS means by them.
_KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    ADMINISTRATOR: {"Effect": "Allow", "Action": "*", "Resource": "*"},
    "PowerUserAccess": {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"},
    "IAMFullAccess": {"Effect": "Allow", "Action": ["iam:*", "organizations:Describe*", "organizations:List*"], "Resource": "*"},
    **{
        name: {"Effect": "Allow", "Action": ["*:Get*", "*:List*", "*:Describe*"], "Resource": "*"}
        for name in ("ReadOnlyAccess", "ViewOnlyAccess", "SecurityAudit")
    },
}  # fmt: skip
# How API actions that change nothing begin (the access levels List and Read of AWS's service authorization reference).
_READS = re.compile(
    r"(?:Get|List|Describe|BatchGet|BatchDescribe|Head|Lookup|Search|Scan|Query|Select|View|Check|Preview|Estimate|Simulate|Filter|Discover|Read)(?:[A-Z*?]|\Z)"
)
_AWS = re.compile(r"arn:[a-z-]+:iam::aws:policy/")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of a role. `arn`: "" for one that stands in the role itself. `document`: its text, None where it is not known.

    `boundary`: it bounds what the others give, and gives nothing itself.
    """

    name: str
    arn: str = ""
    document: str | None = None
    boundary: bool = False

    @property
    def of_aws(self) -> bool:
        """Whether AWS wrote it: then it is the same everywhere, and public."""
        return bool(_AWS.match(self.arn))

    @property
    def meaning(self) -> str:
        """What AWS means by a policy of its own, in one line; "" for any other, and where its name says all that is known."""
        return meaning(self.name) if self.of_aws else ""


@dataclass(frozen=True, slots=True)
class Service:
    """What is allowed of one service, by its prefix in actions. `everywhere`: on every resource, and without a condition."""

    prefix: str
    level: Level
    everywhere: bool


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a role's policies come to.

    `everything`: every action of every service, less `but` (prefixes of services, or actions, that are left out). `reads_all`:
    every service can be read. `services`: what else, by prefix. `identities`: it can change who may do what, and so give itself
    more. `denies`: there are denials besides, which take something of this away. `bounded`: by a permissions boundary.
    `unread`: names of policies whose text is not known and whose name does not say enough.
    """

    everything: bool = False
    everywhere: bool = True
    but: tuple[str, ...] = ()
    reads_all: bool = False
    services: tuple[Service, ...] = ()
    identities: bool = False
    denies: bool = False
    bounded: bool = False
    unread: tuple[str, ...] = ()

    @property
    def administrator(self) -> bool:
        """Whether nothing is left out and nothing narrows it."""
        return self.everything and self.everywhere and not (self.but or self.denies or self.bounded)

    @property
    def nothing(self) -> bool:
        """Whether no policy gives anything that is known."""
        return not (self.everything or self.reads_all or self.services or self.unread)

    def of_level(self, *levels: Level) -> tuple[Service, ...]:
        """The services of these levels."""
        return tuple(one for one in self.services if one.level in levels)

    @property
    def changing(self) -> tuple[Service, ...]:
        """The services in which something can be changed."""
        return self.of_level("change", "all")

    @property
    def reading(self) -> tuple[Service, ...]:
        """The services of which something can be read, and nothing changed."""
        return self.of_level("read")


def summary(policies: Iterable[Policy]) -> Permissions:
    """What these policies of one role come to."""
    held = list(policies)
    allowed: list[Mapping[str, Any]] = []
    unread: list[str] = []
    denies = False
    for policy in held:
        if policy.boundary:
            continue
        statements = _statements(policy)
        if statements is None:
            unread.append(policy.name)
            continue
        denies = denies or any(one.get("Effect") == "Deny" for one in statements)
        allowed += [one for one in statements if one.get("Effect") == "Allow"]
    whole = [one for one in allowed if _is_everything(one)]
    open_whole = [one for one in whole if _is_everywhere(one)]
    # Of several, what one leaves out another may give: only what all leave out is left out.
    but = _left_out_of_all(open_whole or whole)
    found: dict[str, Service] = {}
    for statement in allowed:
        for action in _texts(statement.get("Action")):
            _note(found, action, everywhere=_is_everywhere(statement))
    but = tuple(name for name in but if not _given_back(name, found))
    reads_all = "*" in found and found["*"].level == "read"
    services = tuple(
        sorted((one for one in found.values() if not (reads_all and one.prefix == "*")), key=lambda one: one.prefix)
    )
    identities = any(_changes_identities(one) for one in allowed) or (bool(whole) and "iam" not in but)
    return Permissions(
        everything=bool(whole), everywhere=bool(open_whole) or not whole, but=but, reads_all=reads_all, services=services,
        identities=identities, denies=denies, bounded=any(one.boundary for one in held), unread=tuple(unread),
    )  # fmt: skip


def _statements(policy: Policy) -> list[Mapping[str, Any]] | None:
    """The statements of a policy, None where they cannot be known."""
    if policy.document is not None:
        try:
            found = json.loads(policy.document).get("Statement")
        except (ValueError, AttributeError, RecursionError):
            return None
        listed = found if isinstance(found, list) else [found]
        return [one for one in listed if isinstance(one, Mapping)]
    if not policy.of_aws:
        return None
    if policy.name in _KNOWN:
        return [_KNOWN[policy.name]]
    named = NAMED.match(policy.name)
    if named is None or named["service"].lower() not in _PREFIXES:
        return None
    actions = ["*"] if named["level"] == "Full" else ["Get*", "List*", "Describe*"]
    prefix = _PREFIXES[named["service"].lower()]
    return [{"Effect": "Allow", "Action": [f"{prefix}:{action}" for action in actions], "Resource": "*"}]


# Services that AWS names in its policies as in actions, in lower case; and those that it names otherwise.
_PREFIXES: Final[Mapping[str, str]] = {
    **{
        name: name
        for name in (
            "athena", "backup", "cloudfront", "cloudtrail", "cloudwatch", "dynamodb", "ec2", "ecs", "eks", "elasticache", "iam", "lambda",
            "rds", "redshift", "route53", "s3", "sagemaker", "ses", "sns", "sqs", "ssm",
        )
    },
    "cloudwatchlogs": "logs", "keymanagementservice": "kms", "stepfunctions": "states",
}  # fmt: skip


def _texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [one for one in values if isinstance(one, str)]


def _is_everywhere(statement: Mapping[str, Any]) -> bool:
    return (
        not statement.get("Condition") and "NotResource" not in statement and "*" in _texts(statement.get("Resource"))
    )


def _is_everything(statement: Mapping[str, Any]) -> bool:
    return "NotAction" in statement or any(action in {"*", "*:*"} for action in _texts(statement.get("Action")))


# A deployment hands some role to a service, as every one does. Any role to any service is all that any role may do.
_OF_DEPLOYMENTS = frozenset({"iam:passrole", "iam:createservicelinkedrole"})


def _changes_identities(statement: Mapping[str, Any]) -> bool:
    """Whether a statement lets somebody change users, roles or policies."""
    changing = {
        action.lower()
        for action in _texts(statement.get("Action"))
        if action.lower().startswith("iam:") and not _READS.match(action[4:])
    }
    return bool(changing - _OF_DEPLOYMENTS) or bool(changing and _is_everywhere(statement))


def _left_out_of_all(statements: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    left = [
        {_short(action) for action in _texts(one["NotAction"])} if "NotAction" in one else set[str]()
        for one in statements
    ]
    return tuple(sorted(set.intersection(*left))) if left else ()


def _short(action: str) -> str:
    prefix, _, name = action.partition(":")
    return prefix.lower() if name == "*" else f"{prefix.lower()}:{name}"


def _given_back(name: str, found: Mapping[str, Service]) -> bool:
    """Whether a service that one statement leaves out is given whole by another."""
    one = found.get(name)
    return one is not None and one.level == "all" and one.everywhere


_RANK: Final[Mapping[Level, int]] = {"read": 0, "change": 1, "all": 2}


def _note(found: dict[str, Service], action: str, *, everywhere: bool) -> None:
    prefix, _, name = action.partition(":")
    prefix = prefix.lower()
    if action in {"*", "*:*"}:
        return  # that is everything, which is said apart
    level: Level = "all" if name == "*" else "read" if _READS.match(name) else "change"
    before = found.get(prefix)
    if before is None or _RANK[level] > _RANK[before.level]:
        found[prefix] = Service(prefix, level, everywhere)
    elif level == before.level and everywhere and not before.everywhere:
        found[prefix] = Service(prefix, level, everywhere=True)
