"""Role ARNs, as far as the mapping needs them: one strict grammar for everything that may reach the Role attribute."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from federation.mapping.regions import PARTITIONS

ACCOUNT_ID = re.compile(r"[0-9]{12}")
# IAM also allows a comma in a role name. The SAML Role attribute separates its two ARNs by a comma (AWS.md), so a role
# with one cannot be named there without ambiguity: injection of a second ARN. Not granted, whatever the source.
ROLE_SEGMENT = re.compile(r"[A-Za-z0-9_+=.@-]{1,64}")
_PATH = re.compile(r"(?:[A-Za-z0-9_+=.@-]{1,128}/){1,32}")
_PREFIX = re.compile(r"arn:([a-z-]{1,20}):iam::([0-9]{12}):role/(.+)", re.DOTALL)
MAX_ARN = 700
RESERVED_PREFIX = "awsreservedsso_"
_RESERVED_PATHS = ("aws-reserved/", "aws-service-role/")


@dataclass(frozen=True, slots=True)
class RoleArn:
    """A parsed role ARN. `path` is "" or ends in a slash and never begins with one."""

    partition: str
    account_id: str
    path: str
    name: str

    @property
    def qualified(self) -> str:
        """Path and name, as a `roles` entry with a path writes it: "team/ReadOnly"."""
        return self.path + self.name

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}:role/{self.path}{self.name}"


@lru_cache(maxsize=16_384)  # 10 MB at most: an organization has more roles than a worker should remember
def parse_role_arn(text: str) -> RoleArn | None:
    """The role ARN in `text`, or None if it is not exactly one, in a known partition.

    Source: IAM user guide, "IAM identifiers". fullmatch throughout: `$` would let a final newline pass.
    """
    if len(text) > MAX_ARN:
        return None
    found = _PREFIX.fullmatch(text)
    if found is None or found[1] not in PARTITIONS:
        return None
    path, slash, name = found[3].rpartition("/")
    path += slash
    if ROLE_SEGMENT.fullmatch(name) is None or (path and _PATH.fullmatch(path) is None):
        return None
    return RoleArn(found[1], found[2], path, name)


def is_reserved(arn: RoleArn) -> bool:
    """True for roles that a federated call can never assume: Identity Center's and service-linked ones (AWS.md)."""
    return is_reserved_name(arn.name) or arn.path.casefold().startswith(_RESERVED_PATHS)


def is_reserved_name(name: str) -> bool:
    """True for AWSReservedSSO_*, in any case: IAM does not tell role names apart by case."""
    return name.casefold().startswith(RESERVED_PREFIX)
