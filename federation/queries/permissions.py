"""What roles may do, as their policies in AWS say: for whoever asks for a role, decides about it, or has it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from federation.aws.permissions import Permissions, Policy, summary
from federation.models.accounts import PolicyDocument, Role


@dataclass(frozen=True, slots=True)
class RolePermissions:
    """A role's policies and what they come to. `known`: whether they have been read."""

    known: bool
    policies: tuple[Policy, ...]
    summary: Permissions

    @property
    def texts(self) -> list[tuple[Policy, str]]:
        """Each policy with its text as people read it, "" where it is not known."""
        return [(policy, _pretty(policy.document)) for policy in self.policies]

    @property
    def meant(self) -> list[Policy]:
        """The policies that AWS has written and that are said in one line each; none where the role is an administrator anyway."""
        if self.summary.administrator:
            return []
        return [policy for policy in self.policies if policy.meaning and not policy.boundary]

    @property
    def reads_all(self) -> bool:
        """Whether every service can be read by more than what the lines of `meant` say, and more exactly."""
        others = [policy for policy in self.policies if policy not in self.meant]
        return self.summary.reads_all and summary(others).reads_all

    @property
    def unsaid(self) -> list[str]:
        """The names of policies whose text is not known, and that are not said in a line either."""
        said = {policy.name for policy in self.meant}
        return [name for name in self.summary.unread if name not in said]


UNKNOWN = RolePermissions(known=False, policies=(), summary=Permissions())


def of_roles(arns: Iterable[str]) -> dict[str, RolePermissions]:
    """Role ARN -> what it may do, for every ARN that is asked for. Two queries."""
    wanted = list(dict.fromkeys(arns))
    return of_held(wanted, dict(Role.objects.filter(arn__in=wanted, present=True).values_list("arn", "policies")))


def of_held(arns: Iterable[str], held: Mapping[str, list[dict[str, Any]] | None]) -> dict[str, RolePermissions]:
    """The same where the rows of the roles are at hand: ARN -> `Role.policies`. One query."""
    digests = {policy["document"] for policies in held.values() for policy in policies or () if policy["document"]}
    texts = dict(PolicyDocument.objects.filter(digest__in=digests).values_list("digest", "text"))
    found = {}
    for arn in arns:
        policies = held.get(arn)
        if policies is None:
            found[arn] = UNKNOWN
            continue
        read = tuple(
            Policy(one["name"], one["arn"], texts.get(one["document"]), boundary=one["boundary"]) for one in policies
        )
        found[arn] = RolePermissions(known=True, policies=read, summary=summary(read))
    return found


def of_role(arn: str) -> RolePermissions:
    """What one role may do. Two queries."""
    return of_roles([arn])[arn]


def _pretty(document: str | None) -> str:
    if document is None:
        return ""
    try:
        return json.dumps(json.loads(document), indent=2, ensure_ascii=False)
    except ValueError:
        return document
