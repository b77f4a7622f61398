"""Credentials as other programs want them: the credential_process document and shells' own syntaxes. Pure.

Owns quoting. Every value is quoted for the shell that will read it, whatever is in it: a value that closes its own
quotes would be a command in the employee's shell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol

from federation.errors import BadRequest

_PROFILE = re.compile(r"[A-Za-z0-9_.@:/+=-]{1,128}")


class FormatUnknown(BadRequest):
    """No such output format; `reason` is format_unknown."""

    code = "format_unknown"
    sentence = "There is no such format: use json, bash, fish, powershell or file."


class ProfileInvalid(BadRequest):
    """Not a profile name that the AWS configuration file can hold; `reason` is profile_malformed."""

    code = "profile_invalid"
    sentence = "A profile name has letters, digits and _.@:/+=- only, at most 128."


class HasCredentials(Protocol):
    """What is read here of `sts.Credentials`; named apart so that rendering needs no boto3."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...
    @property
    def session_token(self) -> str: ...
    @property
    def expiration(self) -> datetime: ...


def expiration_text(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, whole seconds: the form that every AWS SDK reads."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def process_document(credentials: HasCredentials, account_id: str = "") -> dict[str, object]:
    """The document that `credential_process` prints (AWS SDKs guide, "Process credential provider"). Version is an integer."""
    document: dict[str, object] = {
        "Version": 1,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": expiration_text(credentials.expiration),
    }
    return {**document, "AccountId": account_id} if account_id else document


def environment(credentials: HasCredentials, *, region: str = "", account_id: str = "") -> dict[str, str]:
    """The environment variables that AWS's SDKs read. AWS_CREDENTIAL_EXPIRATION lets them know the end."""
    variables = {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
        "AWS_CREDENTIAL_EXPIRATION": expiration_text(credentials.expiration),
    }
    if account_id:
        variables["AWS_ACCOUNT_ID"] = account_id
    if region:
        variables |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return variables


def quote_posix(value: str) -> str:
    """One word for bash, zsh and sh, whatever `value` holds."""
    return "'" + value.replace("'", "'\\''") + "'"


def quote_fish(value: str) -> str:
    """One word for fish: inside single quotes it reads backslash-backslash and backslash-quote."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_powershell(value: str) -> str:
    """One literal for PowerShell, which also takes typographic quotes (U+2018 to U+201B) for single quotes."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value) + "'"


def _bash(variables: Mapping[str, str]) -> str:
    return "".join(f"export {name}={quote_posix(value)}\n" for name, value in variables.items())


def _fish(variables: Mapping[str, str]) -> str:
    return "".join(f"set -gx {name} {quote_fish(value)}\n" for name, value in variables.items())


def _powershell(variables: Mapping[str, str]) -> str:
    return "".join(f"$Env:{name} = {quote_powershell(value)}\n" for name, value in variables.items())


_SHELLS: Mapping[str, Callable[[Mapping[str, str]], str]] = MappingProxyType(
    {"bash": _bash, "fish": _fish, "powershell": _powershell}
)
FORMATS: tuple[str, ...] = ("json", *_SHELLS, "file")


def profile_section(credentials: HasCredentials, profile: str, *, region: str = "") -> str:
    """A section for ~/.aws/credentials. Raises ProfileInvalid: a newline or "]" would begin a section of its own."""
    if not _PROFILE.fullmatch(profile):
        raise ProfileInvalid("profile_malformed", detail=repr(profile)[:200])
    lines = [
        f"[{profile}]",
        f"# expires {expiration_text(credentials.expiration)}",
        f"aws_access_key_id = {credentials.access_key_id}",
        f"aws_secret_access_key = {credentials.secret_access_key}",
        f"aws_session_token = {credentials.session_token}",
        *([f"region = {region}"] if region else []),
    ]
    return "\n".join(lines) + "\n"


def render(
    credentials: HasCredentials, fmt: str, *, account_id: str = "", region: str = "", profile: str = "rolegate"
) -> str:
    """The credentials as text in one of FORMATS. Raises FormatUnknown, ProfileInvalid."""
    if fmt == "json":
        return json.dumps(process_document(credentials, account_id), indent=2) + "\n"
    if fmt == "file":
        return profile_section(credentials, profile, region=region)
    if fmt not in _SHELLS:
        raise FormatUnknown("format_unknown", detail=repr(fmt)[:100])
    return _SHELLS[fmt](environment(credentials, region=region, account_id=account_id))
