"""Amazon Resource Names of roles and identity providers: read strictly, written exactly. Pure.

Owns the grammar (IAM user guide, "IAM identifiers"; IAM API reference, CreateRole, CreateSAMLProvider,
CreateOpenIDConnectProvider). A role ARN ends up in the assertion's Role attribute next to the provider's ARN,
with a comma between: anything that is not exactly a role ARN is refused here, so that no comma, newline, markup
or second ARN out of a display name can reach that attribute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from federation.aws.partitions import PARTITION_NAMES
from federation.errors import BadRequest

MAX_ARN_LENGTH = 2048
_ACCOUNT = re.compile(r"[0-9]{12}")
_ROLE = re.compile(
    r"arn:(?P<partition>[a-z][a-z-]{2,20}):iam::(?P<account>[0-9]{12}):role"
    r"(?P<path>/(?:[A-Za-z0-9_+=.@/-]{1,510}/)?)(?P<name>[A-Za-z0-9_+=,.@-]{1,64})"
)
_PROVIDER_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?|\[::1\]"
)
_ISSUER_PATH = re.compile(r"(?:/[A-Za-z0-9._~%+=@-]+)*/?")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ArnInvalid(BadRequest):
    """Not an ARN of the wanted kind; `reason` says what is wrong with it."""

    code = "arn_invalid"
    sentence = "This is not the ARN of an IAM role, such as arn:aws:iam::111122223333:role/ReadOnly."


@dataclass(frozen=True, slots=True, order=True)
class RoleArn:
    """A role's ARN in its parts. `path` begins and ends with "/"; `name` is the part after it (≤ 64 characters)."""

    partition: str
    account_id: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}:role{self.path}{self.name}"


def parse_role_arn(text: str) -> RoleArn:
    """Read a role ARN. Raises ArnInvalid: arn_not_ascii, arn_too_long, arn_not_a_role, arn_partition_unknown.

    A path may hold what a role's name may, without the comma, although IAM allows every printable ASCII character there: a
    comma in the Role attribute would begin a second, forged entry, and nobody needs markup in a path. (A comma in the name
    stays readable here, since OpenID Connect can use such a role; the minting of assertions refuses it.)
    """
    if not text.isascii():
        raise ArnInvalid("arn_not_ascii", detail=ascii(text)[:200])
    if len(text) > MAX_ARN_LENGTH:
        raise ArnInvalid("arn_too_long", detail=f"{len(text)} characters")
    found = _ROLE.fullmatch(text)
    if found is None:
        raise ArnInvalid("arn_not_a_role", detail=repr(text)[:200])
    if found["partition"] not in PARTITION_NAMES:
        raise ArnInvalid("arn_partition_unknown", detail=found["partition"])
    return RoleArn(found["partition"], found["account"], found["path"], found["name"])


def _check_account(partition: str, account_id: str) -> None:
    if partition not in PARTITION_NAMES:
        raise ArnInvalid("arn_partition_unknown", detail=repr(partition)[:100])
    if not _ACCOUNT.fullmatch(account_id):
        raise ArnInvalid("account_id_malformed", detail=repr(account_id)[:100])


def role_arn(partition: str, account_id: str, name: str, path: str = "/") -> RoleArn:
    """A role's ARN from its parts, checked like one that was read. Raises ArnInvalid."""
    return parse_role_arn(str(RoleArn(partition, account_id, path, name)))


def saml_provider_arn(partition: str, account_id: str, name: str) -> str:
    """The ARN of the IAM SAML provider `name`.

    Raises ArnInvalid: arn_partition_unknown, account_id_malformed, provider_name_malformed.
    """
    _check_account(partition, account_id)
    if not _PROVIDER_NAME.fullmatch(name):
        raise ArnInvalid("provider_name_malformed", detail=repr(name)[:200])
    return f"arn:{partition}:iam::{account_id}:saml-provider/{name}"


def oidc_provider_path(issuer_url: str) -> str:
    """An issuer URL as IAM writes it in ARNs and condition keys: without its scheme.

    https, no port, no user info, no query, no fragment, ≤ 255 characters (CreateOpenIDConnectProvider). Plain http
    and a port pass on loopback alone, for a local AWS: the real one never accepts them.
    Raises ArnInvalid: issuer_url_malformed.
    """
    try:
        parts = urlsplit(issuer_url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ArnInvalid("issuer_url_malformed", detail=f"{issuer_url!r}: {error}"[:300]) from error
    local = host in _LOOPBACK
    bare = f"[{host}]" if ":" in host else host
    # Rebuilding and comparing catches what urlsplit forgives: tabs and newlines inside, user info, "?" and "#" with nothing after.
    rebuilt = f"{parts.scheme}://{bare}{'' if port is None else f':{port}'}{parts.path}"
    if (
        issuer_url != rebuilt
        or len(issuer_url) > 255
        or not _HOST.fullmatch(bare)
        or not _ISSUER_PATH.fullmatch(parts.path)
        or not (parts.scheme == "https" or (parts.scheme == "http" and local))
        or (port is not None and not local)
    ):
        raise ArnInvalid("issuer_url_malformed", detail=repr(issuer_url)[:300])
    return issuer_url.split("://", 1)[1]


def oidc_provider_arn(partition: str, account_id: str, issuer_url: str) -> str:
    """The ARN of the IAM OpenID Connect provider for `issuer_url`.

    Raises ArnInvalid: arn_partition_unknown, account_id_malformed, issuer_url_malformed.
    """
    _check_account(partition, account_id)
    return f"arn:{partition}:iam::{account_id}:oidc-provider/{oidc_provider_path(issuer_url)}"
