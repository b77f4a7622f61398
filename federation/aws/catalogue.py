"""The roles of one account, read from IAM: ListRoles joined with GetAccountAuthorizationDetails, no call per role.

ListRoles has MaxSessionDuration but neither tags nor last use, GetAccountAuthorizationDetails the other way round, and the
policies beside (IAM API Reference, both pages); they are joined on the ARN. Nothing is returned until the last page of both has come:
a partial listing is an error, never a shorter list. One account is held in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self
from urllib.parse import unquote
from xml.sax.saxutils import unescape

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.handlers import json_decode_policies
from botocore.utils import parse_timestamp

from federation.aws.arns import ArnInvalid, parse_role_arn
from federation.aws.partitions import Partition
from federation.aws.sts import Credentials, code_of
from federation.errors import AwsError
from federation.redaction import without_random

PAGE = 1000  # ListRoles' and GetAccountAuthorizationDetails' most
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
ATTEMPTS = 3  # of one request that fails otherwise than by throttling
PATIENCE_SECONDS = 120  # with one request that is throttled
PAUSE_FIRST_SECONDS, PAUSE_MOST_SECONDS, PAUSE_KEPT = 0.1, 5.0, 0.7
_THROTTLED = frozenset(
    {"Throttling", "Throttled", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "BandwidthLimitExceeded"}
)  # fmt: skip


class CatalogueUnreadable(AwsError):
    """An account, or the organization, could not be read whole; `reason` says at what, `aws_code` is AWS's own code."""

    code = "catalogue_unreadable"
    sentence = (
        "The account's roles could not be read. Check that the role rolegate-reader is in the account and trusts the "
        "gateway's OIDC provider: `manage.py onboard ACCOUNT` writes both. The last good listing stays in force."
    )


@dataclass(frozen=True, slots=True)
class HeldPolicy:
    """A policy of a role. `arn`: "" for one that stands in the role itself. `document`: SHA-256 of its text, "" where IAM does not give
    it (AWS's own). `boundary`: it bounds what the others give.
    """

    name: str
    arn: str = ""
    document: str = ""
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """A role as IAM has it. `path` without its outer slashes; `max_session_duration` in seconds; moments aware, UTC.

    `trust_policy`: the document as JSON text (ASCII), or IAM's own text where that is not JSON. `policies`: what gives it its
    permissions, its own first, then those attached, by name.
    """

    arn: str
    account_id: str
    name: str
    path: str
    description: str
    max_session_duration: int | None
    trust_policy: str
    tags: Mapping[str, str] = field(default_factory=dict)
    last_used_at: datetime | None = None
    created_at: datetime | None = None
    policies: tuple[HeldPolicy, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over everything but the last use, whose every change would be a write; that is kept to the day.

        `created_at` is in it: a role deleted and made again under its old name is another role.
        """
        used = self.last_used_at.date().isoformat() if self.last_used_at else ""
        created = self.created_at.isoformat() if self.created_at else ""
        tags = json.dumps(dict(self.tags), sort_keys=True)
        held = [f"{one.name} {one.arn} {one.document} {one.boundary}" for one in self.policies]
        parts = (
            self.arn,
            self.description,
            str(self.max_session_duration),
            self.trust_policy,
            tags,
            used,
            created,
            *held,
        )
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


# --- Clients and pages, shared with organizations.py --------------------------------------------------

_lock = threading.Lock()
_session: boto3.session.Session | None = None


def _timestamp(value: Any) -> datetime:
    """AWS's ISO 8601 by the standard library: dateutil, botocore's own choice, takes a third of the time of a listing."""
    if isinstance(value, str) and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    return parse_timestamp(value)  # type: ignore[no-any-return]


# What makes the details of a role long, and is not looked at: its trust, which ListRoles has given, and its instance profiles.
_UNWANTED = re.compile(rb"<(InstanceProfileList|AssumeRolePolicyDocument)>.*?</\1>", re.DOTALL)
# A role's policies: read by ourselves, once for the many roles that have the same ones.
_POLICIES = re.compile(rb"<(RolePolicyList|AttachedManagedPolicies)>(.*?)</\1>", re.DOTALL)
_FRAGMENTS = "Fragments"


def _leave_out(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Half of the time of a listing is spent on parsing what is thrown away, or was parsed for another role. Text in XML has no bare
    `<`, so that these are elements and nothing else; one that is cut off is not matched, and the parser finds it broken.

    In the place of a list of policies stands the number of its text in `Fragments`.
    """
    fragments: list[bytes] = []

    def numbered(found: re.Match[bytes]) -> bytes:
        fragments.append(found[2])
        return b"<%b><member><PolicyName>%d</PolicyName></member></%b>" % (found[1], len(fragments) - 1, found[1])

    response_dict["body"] = _POLICIES.sub(numbered, _UNWANTED.sub(b"", response_dict["body"]))
    customized_response_dict[_FRAGMENTS] = fragments


_MEMBER = re.compile(rb"<member>(.*?)</member>", re.DOTALL)
_PART = re.compile(rb"<(PolicyName|PolicyArn|PolicyDocument)>(.*?)</\1>", re.DOTALL)


@lru_cache(maxsize=1024)
def _policies_in(fragment: bytes) -> tuple[tuple[HeldPolicy, str], ...]:
    """(policy, its text, "" where it is attached) of one role's list, as XML."""
    found = []
    for member in _MEMBER.findall(fragment):
        part = {name.decode(): unescape(value.decode("utf-8", "replace")) for name, value in _PART.findall(member)}
        said = _policy_text(part["PolicyDocument"]) if part.get("PolicyDocument") else ""
        name, arn = storable(part.get("PolicyName", ""))[:128], storable(part.get("PolicyArn", ""))[:512]
        found.append((HeldPolicy(name, arn, digest_of(said) if said else ""), said))
    return tuple(sorted(found, key=lambda one: one[0].name))


def digest_of(document: str) -> str:
    """What a policy's text is kept under: its SHA-256, hex."""
    return hashlib.sha256(document.encode()).hexdigest()


def _shared_session() -> boto3.session.Session:
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    # botocore decodes every policy of every role; the trust policy is the one that is wanted, and `_policy_text` does that.
    session.unregister("after-call.iam", json_decode_policies)
    session.register("before-parse.iam.GetAccountAuthorizationDetails", _leave_out)
    return boto3.session.Session(botocore_session=session)


class Reader:
    """One account's (or the organization's) listings, read page by page; a context manager, for one thread.

    Adaptive: where AWS throttles, it waits, twice as long each time, and remembers a part of that for the next time, so that
    it settles at the pace that the account allows. botocore's own adaptive mode is not used: it measures the pace of a new
    client as none and then lets one call through in two seconds, four times slower than IAM's limit (bench/catalogue.py).
    `alive` is called before each request and may raise, to end the reading.
    """

    def __init__(
        self, service: str, credentials: Credentials, partition: Partition, alive: Callable[[], None] = lambda: None
    ) -> None:
        global _session  # noqa: PLW0603  one Session a process; making clients from it is what the lock is for
        self._token = "NextToken" if service == "organizations" else "Marker"
        self._pause = 0.0
        self._alive = alive
        with _lock:
            _session = _session or _shared_session()
            self._client = _session.client(
                service,
                region_name=partition.default_region,
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
                aws_session_token=credentials.session_token,
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": 1},  # `ask` retries
                    max_pool_connections=1,
                ),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def pages(self, operation: str, wanted: str, **parameters: Any) -> Iterator[list[Mapping[str, Any]]]:
        """The pages of one listing, to the last. An empty page is no end, only a missing token is.

        As `answers`, of which only the list is wanted.
        """
        for answer in self.answers(operation, wanted, **parameters):
            yield answer[wanted]

    def answers(self, operation: str, wanted: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """The answers of one listing, to the last, each with a list of objects under `wanted`.

        Raises CatalogueUnreadable: `<operation>_refused` by AWS, `_unreadable` (no answer, or none that parses), `_page_broken`
        (not a list, or cut short: IAM says that there is more, and not where), `_in_a_circle`. boto3's own paginator takes a
        page that is cut short for the last one, and follows a circle of two pages for ever.
        """
        seen: set[str] = set()
        while True:
            answer = self.ask(operation, parameters)
            items, token, more = (
                answer.get(wanted),
                answer.get(self._token) or "",
                answer.get("IsTruncated"),
            )
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise CatalogueUnreadable(f"{operation}_page_broken", detail=f"{wanted} is no list")
            if not isinstance(token, str) or (self._token == "Marker" and more is not bool(token)):
                raise CatalogueUnreadable(
                    f"{operation}_page_broken", detail=f"IsTruncated {more!r}, {self._token} {token!r}"[:200]
                )
            yield answer
            if not token:
                return
            if token in seen:
                raise CatalogueUnreadable(f"{operation}_in_a_circle", detail=token[:80])
            seen.add(token)
            parameters = {**parameters, self._token: token}

    def ask(self, operation: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """One answer that comes in one piece. Raises CatalogueUnreadable: `<operation>_refused`, `_unreadable`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        failures = 0
        while True:
            self._alive()
            try:
                answer: Mapping[str, Any] = getattr(self._client, operation)(**parameters)
            except ClientError as error:
                failure, throttled, transient = _refusal(operation, error)
            except Exception as error:  # noqa: BLE001  a broken body ends in nearly any exception inside botocore's parsers
                said = without_random(f"{error.__class__.__name__}: {error}")[:300]
                failure, throttled, transient = CatalogueUnreadable(f"{operation}_unreadable", detail=said), False, True
            else:
                self._pause *= PAUSE_KEPT
                return answer
            failures += not throttled
            if not (throttled or (transient and failures < ATTEMPTS)) or time.monotonic() >= deadline:
                raise failure
            self._pause = min(PAUSE_MOST_SECONDS, max(PAUSE_FIRST_SECONDS, self._pause * 2))
            time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads load, keeps no secret


def _refusal(operation: str, error: ClientError) -> tuple[CatalogueUnreadable, bool, bool]:
    """The error to raise, whether AWS throttled, and whether it may answer when asked again."""
    said = error.response.get("Error", {})
    code, status = code_of(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # Where a signature does not match, AWS repeats the request that it has seen, the session token in it too.
    detail = without_random(str(said.get("Message", "")))[:300]
    failure = CatalogueUnreadable(f"{operation}_refused", aws_code=code, detail=detail)
    return failure, code.removesuffix("Exception") in _THROTTLED or status == 429, status >= 500


def text(entry: Mapping[str, Any], name: str, operation: str) -> str:
    """A text that every entry of a listing has. Raises CatalogueUnreadable (`<operation>_entry_broken`)."""
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise CatalogueUnreadable(f"{operation}_entry_broken", detail=f"{name}: {value!r}"[:200])
    return value


def tags_of(entries: Any, operation: str) -> dict[str, str]:
    """A list of `{"Key", "Value"}` as a mapping. Raises CatalogueUnreadable (`<operation>_entry_broken`)."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CatalogueUnreadable(f"{operation}_entry_broken", detail="tags are no list")
    return {storable(text(entry, "Key", operation)): storable(str(entry.get("Value", ""))) for entry in entries}


def storable(value: str) -> str:
    """`value` without what no database takes: NUL and lone surrogates, which JSON can say."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


# --- An account ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoleListing:
    """A whole account: its roles by ARN, and the ARNs of roles that no gateway can use (a comma or markup in the path).

    `documents`: digest -> text of the policies, each once however many roles have it.
    """

    roles: tuple[RoleRecord, ...]
    unusable: tuple[str, ...]
    documents: Mapping[str, str] = field(default_factory=dict)


def list_roles(
    credentials: Credentials, *, account_id: str, partition: Partition, alive: Callable[[], None] = lambda: None
) -> RoleListing:
    """Every role of the account that the credentials are for. A role that is gone before its details are read is left out.

    Raises CatalogueUnreadable: as `Reader.pages`, and `foreign_account` where the answer speaks of another account than the
    one asked, `reader_not_listed` where the very role that asks is missing, so that the answer cannot be whole. `alive`: as
    in Reader; what it raises comes through.
    """
    listed: dict[str, RoleRecord] = {}
    found: dict[str, RoleRecord] = {}
    unusable: list[str] = []
    documents: dict[str, str] = {}
    managed: dict[str, str] = {}
    size = {"MaxItems": PAGE}
    with Reader("iam", credentials, partition, alive) as iam:
        for page in iam.pages("list_roles", "Roles", **size):
            for role in page:
                record = _record(role, account_id, partition)
                if record is None:
                    unusable.append(text(role, "Arn", "list_roles")[:300])
                else:
                    listed[record.arn] = record
        # One made between the two listings comes with the next run.
        for answer in iam.answers("get_account_authorization_details", "RoleDetailList", Filter=["Role"], **size):
            for detail in answer["RoleDetailList"]:
                arn = text(detail, "Arn", "get_account_authorization_details")
                if arn in listed:
                    found[arn] = _with_details(listed[arn], detail, answer.get(_FRAGMENTS) or [], documents)
        # The account's own managed policies, where a role has one: AWS does not tell the text of its own here.
        if any(f"::{account_id}:policy/" in policy.arn for record in found.values() for policy in record.policies):
            for page in iam.pages(
                "get_account_authorization_details", "Policies", Filter=["LocalManagedPolicy"], **size
            ):
                managed |= _texts_of(page, documents)
    found = {arn: _resolved(record, managed) for arn, record in found.items()}
    reader = credentials.assumed_role_arn.partition(":assumed-role/")[2].partition("/")[0]
    if not any(record.name == reader for record in found.values()):
        raise CatalogueUnreadable("reader_not_listed", detail=f"{len(listed)} listed, {len(found)} with details")
    return RoleListing(tuple(found[arn] for arn in sorted(found)), tuple(sorted(unusable)), documents)


def _record(role: Mapping[str, Any], account_id: str, partition: Partition) -> RoleRecord | None:
    """The role, or None where its ARN is one that the gateway never uses. Raises CatalogueUnreadable."""
    written = text(role, "Arn", "list_roles")
    try:
        arn = parse_role_arn(written)
    except ArnInvalid:
        return None
    if (arn.account_id, arn.partition) != (account_id, partition.name):
        # The reader's credentials belong to another account: taking its listing over would remove every role of ours.
        raise CatalogueUnreadable("foreign_account", detail=f"{arn.partition} {arn.account_id} for {account_id}")
    longest = role.get("MaxSessionDuration")
    return RoleRecord(
        arn=written,
        account_id=account_id,
        name=arn.name,
        path=arn.path.strip("/"),
        description=storable(str(role.get("Description", "")))[:1000],
        max_session_duration=longest if isinstance(longest, int) and 0 < longest <= 43_200 else None,
        trust_policy=_policy_text(str(role.get("AssumeRolePolicyDocument", ""))),
        created_at=_moment(role.get("CreateDate")),
    )


@lru_cache(maxsize=512)  # most roles of an organization share a few trust policies
def _policy_text(document: str) -> str:
    """IAM's URL-encoded policy (RFC 3986: GetAccountAuthorizationDetails, "Important") as compact JSON, or as it is."""
    plain = unquote(document)
    try:
        return json.dumps(json.loads(plain), separators=(",", ":"))
    except (ValueError, RecursionError):
        return storable(plain)


def _moment(value: Any) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None


def _with_details(
    record: RoleRecord, detail: Mapping[str, Any], fragments: Sequence[bytes], documents: dict[str, str]
) -> RoleRecord:
    used = detail.get("RoleLastUsed") or {}
    tags = tags_of(detail.get("Tags") or [], "get_account_authorization_details")
    policies: list[HeldPolicy] = []
    for kind in ("RolePolicyList", "AttachedManagedPolicies"):
        for place in detail.get(kind) or []:
            number = str(place.get("PolicyName", ""))
            if not number.isdecimal() or int(number) >= len(fragments):
                raise CatalogueUnreadable(
                    "get_account_authorization_details_entry_broken", detail=f"{kind} of {record.arn}"
                )
            for policy, said in _policies_in(fragments[int(number)]):
                policies.append(policy)
                if said:
                    documents[policy.document] = said
    boundary = str((detail.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", ""))
    if boundary:
        policies.append(HeldPolicy(boundary.rpartition("/")[2][:128], boundary[:512], boundary=True))
    return replace(record, tags=tags, last_used_at=_moment(used.get("LastUsedDate")), policies=tuple(policies))


def _texts_of(page: Sequence[Mapping[str, Any]], documents: dict[str, str]) -> dict[str, str]:
    """ARN -> digest of the text in force, which goes into `documents`, of the customer managed policies on a page."""
    found = {str(policy.get("Arn", "")): _default_text(policy) for policy in page}
    documents.update({digest_of(said): said for said in found.values() if said})
    return {arn: digest_of(said) for arn, said in found.items() if said}


def _default_text(policy: Mapping[str, Any]) -> str:
    """The text of a customer managed policy that is in force, "" where it is not told."""
    for version in policy.get("PolicyVersionList") or []:
        if version.get("IsDefaultVersion") and version.get("Document"):
            return _policy_text(str(version["Document"]))
    return ""


def _resolved(record: RoleRecord, managed: Mapping[str, str]) -> RoleRecord:
    """With the texts of attached policies, which come on other pages than their roles."""
    if not any(policy.arn in managed for policy in record.policies):
        return record
    held = (replace(one, document=managed.get(one.arn, one.document)) if one.arn else one for one in record.policies)
    return replace(record, policies=tuple(held))
