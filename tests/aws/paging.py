"""A PAGING AND THROTTLING DOUBLE of STS, IAM and Organizations: real HTTP on loopback, the two wire formats, nothing of AWS behind it.

Made for what moto never does: short and empty pages, a rate limit with `Throttling` answers, a delay, and answers that a
test has spoilt (`alter`). STS hands out keys that name the account, so that the double knows whose roles are asked for;
it checks no token: the demo's strict STS is there for that. `python -m tests.aws.paging` serves it for benchmarks.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from federation.aws.sts import Credentials

IAM, STS = "https://iam.amazonaws.com/doc/2010-05-08/", "https://sts.amazonaws.com/doc/2011-06-15/"
REQUEST = "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>"
CREATED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
READER = "rolegate-reader"
_ACCOUNT_HERE = "@ACCOUNT@"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Federated": "arn:aws:iam::111122223333:saml-provider/rolegate"},
            "Action": ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}},
        }
    ],
}
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}],
}


@dataclass(frozen=True)
class FakeRole:
    """A role of the double. `trust`: a document, or IAM's text as it would stand in the XML after URL-decoding."""

    name: str
    path: str = "/"
    longest: int = 3600
    trust: object = field(default_factory=lambda: TRUST)
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    used: datetime | None = None
    created: datetime = CREATED
    inline: Mapping[str, object] = field(default_factory=lambda: {"inline": _POLICY})
    attached: Sequence[str] = ("arn:aws:iam::aws:policy/ReadOnlyAccess",)
    boundary: str = ""


@dataclass(frozen=True)
class Member:
    """An account of the double's organization; `parent`: id of a root or a unit."""

    id: str
    name: str
    parent: str = "r-root"
    state: str = "ACTIVE"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """What was asked: `operation` as AWS names it, the account of the keys ("" for STS), the parameters."""

    operation: str
    account: str
    fields: Mapping[str, object]

    @property
    def page(self) -> int:
        """From 0."""
        token = str(self.fields.get("Marker") or self.fields.get("NextToken") or "")
        return int(token.removeprefix("page-")) if token.startswith("page-") else 0


@dataclass(frozen=True)
class Reply:
    """`cut`: so many bytes of the body are sent under the whole one's Content-Length, then the connection ends."""

    body: str
    status: int = 200
    content_type: str = "text/xml"
    cut: int | None = None


class Bucket:
    """A token bucket: `rate` calls a second, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = burst, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


def throttled(call: Call) -> Reply:
    """How each of the services says that it is asked too often."""
    if call.operation.startswith("organizations."):
        return Reply(
            json.dumps({"__type": "TooManyRequestsException", "Message": "Rate exceeded"}),
            400,
            "application/x-amz-json-1.1",
        )
    return Reply(xml_error("Throttling", "Rate exceeded"), 400)


def xml_error(code: str, message: str) -> str:
    return (
        f'<ErrorResponse xmlns="{IAM}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>'
        "<RequestId>0</RequestId></ErrorResponse>"
    )


def roles(*names: str, reader: bool = True, **more: object) -> list[FakeRole]:
    """Roles of these names, the gateway's own reader among them as in every account that it can read."""
    made = [FakeRole(name, **more) for name in names]  # type: ignore[arg-type]
    return [*made, *([FakeRole(READER)] if reader else [])]


@dataclass
class Double:
    """`accounts`: their roles. `managed`: name -> text of the policies that each account has of its own. `page`: roles on a page. `units`: id -> (name, parent). `limit`, `limit_each`: of all calls, of each account's.

    `alter` sees each answer before it leaves and may give another. `calls` is what was asked and answered with which status.
    """

    accounts: dict[str, Sequence[FakeRole]] = field(default_factory=dict)
    managed: Mapping[str, object] = field(default_factory=dict)
    page: int = 1000
    members: list[Member] = field(default_factory=list)
    units: dict[str, tuple[str, str]] = field(default_factory=dict)
    delay: float = 0.0
    limit: Bucket | None = None
    limit_each: Callable[[], Bucket] | None = None
    alter: Callable[[Call, Reply], Reply | None] | None = None
    url: str = ""
    calls: list[tuple[Call, int]] = field(default_factory=list)
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _pages: dict[tuple[str, int, int], tuple[Sequence[FakeRole], list[str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, operation: str, account: str = "", *, status: int = 200) -> int:
        """How many calls of an operation (of an account, if given) were answered with `status`."""
        return sum(
            1
            for call, said in self.calls
            if call.operation == operation and account in {"", call.account} and said == status
        )

    @property
    def counts(self) -> dict[str, int]:
        """Calls by operation, those that were throttled apart."""
        return dict(Counter(f"{c.operation}{'' if s == 200 else f' {s}'}" for c, s in self.calls))

    def answer(self, call: Call) -> Reply:
        time.sleep(self.delay)
        reply = throttled(call) if self._over_limit(call) else self._right_answer(call)
        if self.alter is not None:
            reply = self.alter(call, reply) or reply
        with self._lock:
            self.calls.append((call, reply.status))
        return reply

    def _over_limit(self, call: Call) -> bool:
        if self.limit is not None and not self.limit.take():
            return True
        if self.limit_each is None or not call.account:
            return False
        with self._lock:
            bucket = self._buckets.setdefault(call.account, self.limit_each())
        return not bucket.take()

    def _right_answer(self, call: Call) -> Reply:
        if call.operation == "AssumeRoleWithWebIdentity":
            return Reply(_assumed(str(call.fields["RoleArn"])))
        if call.operation in _LISTINGS:
            return self._iam(call)
        if call.operation.startswith("organizations."):
            return Reply(json.dumps(self._organizations(call)), 200, "application/x-amz-json-1.1")
        return Reply(xml_error("InvalidAction", call.operation), 400)

    # --- IAM --------------------------------------------------------------------------------------------

    def _iam(self, call: Call) -> Reply:
        if call.account not in self.accounts:
            return Reply(xml_error("AccessDenied", f"{call.account} has no such reader"), 403)
        if call.fields.get("Filter.member.1") == "LocalManagedPolicy":
            return Reply(_policies(self.managed).replace(_ACCOUNT_HERE, call.account))
        found = self.accounts[call.account]
        size = min(self.page, int(str(call.fields.get("MaxItems", 100))))
        key = (call.operation, id(found), size)
        with self._lock:
            held, pages = self._pages.get(key, (None, []))
            if held is not found:  # the id alone may be another list's by now
                pages = list(_render(call.operation, found, size))
                self._pages[key] = found, pages
        return Reply(pages[call.page].replace(_ACCOUNT_HERE, call.account))

    # --- Organizations ----------------------------------------------------------------------------------

    def _organizations(self, call: Call) -> dict[str, object]:
        operation = call.operation.removeprefix("organizations.")
        parent, of = call.fields.get("ParentId"), call.fields.get("ResourceId")
        if operation == "ListRoots":
            return _json_page("Roots", [{"Id": "r-root", "Name": "Root"}], call, 20)
        if operation == "ListAccounts":
            return _json_page("Accounts", [_member(m) for m in self.members], call, 20)
        if operation == "ListAccountsForParent":
            return _json_page("Accounts", [_member(m) for m in self.members if m.parent == parent], call, 20)
        if operation == "ListOrganizationalUnitsForParent":
            below = [{"Id": unit, "Name": name} for unit, (name, above) in self.units.items() if above == parent]
            return _json_page("OrganizationalUnits", below, call, 20)
        tags = next((m.tags for m in self.members if m.id == of), {})
        return _json_page("Tags", [{"Key": k, "Value": v} for k, v in tags.items()], call, 20)


_LISTINGS = {
    "ListRoles": ("Roles", lambda role: _listed(role)),
    "GetAccountAuthorizationDetails": ("RoleDetailList", lambda role: _detailed(role)),
}


def _json_page(wanted: str, items: list[dict[str, object]], call: Call, size: int) -> dict[str, object]:
    """With an empty page in the middle, as Organizations is documented to send: only the missing token is the end."""
    pages = [items[at : at + size] for at in range(0, len(items), size)] or [[]]
    if len(pages) > 1:
        pages.insert(1, [])
    more = {"NextToken": f"page-{call.page + 1}"} if call.page + 1 < len(pages) else {}
    return {wanted: pages[call.page], **more}


def _member(member: Member) -> dict[str, object]:
    return {
        "Id": member.id, "Arn": f"arn:aws:organizations::999999999999:account/o-1/{member.id}", "Name": member.name,
        "Email": f"{member.id}@example.com", "Status": member.state if member.state in {"ACTIVE", "SUSPENDED"} else "ACTIVE", "State": member.state,
    }  # fmt: skip


def _text(document: object) -> str:
    """A policy as IAM sends it: URL-encoded (RFC 3986), then escaped as XML."""
    return escape(quote(document if isinstance(document, str) else json.dumps(document), safe=""))


def _listed(role: FakeRole) -> str:
    arn = f"arn:aws:iam::{_ACCOUNT_HERE}:role{role.path}{role.name}"
    return (
        f"<member><Path>{escape(role.path)}</Path><RoleName>{escape(role.name)}</RoleName><RoleId>AROATEST</RoleId><Arn>{escape(arn)}</Arn>"
        f"<CreateDate>{role.created:%Y-%m-%dT%H:%M:%SZ}</CreateDate><AssumeRolePolicyDocument>{_text(role.trust)}</AssumeRolePolicyDocument>"
        f"<Description>{escape(role.description)}</Description><MaxSessionDuration>{role.longest}</MaxSessionDuration></member>"
    )


def _detailed(role: FakeRole) -> str:
    arn = f"arn:aws:iam::{_ACCOUNT_HERE}:role{role.path}{role.name}"
    tags = "".join(f"<member><Key>{escape(k)}</Key><Value>{escape(v)}</Value></member>" for k, v in role.tags.items())
    inline = "".join(
        f"<member><PolicyName>{escape(name)}</PolicyName><PolicyDocument>{_text(said)}</PolicyDocument></member>"
        for name, said in role.inline.items()
    )
    attached = "".join(
        f"<member><PolicyArn>{escape(at)}</PolicyArn><PolicyName>{escape(at.rpartition('/')[2])}</PolicyName></member>"
        for at in (named.format(account=_ACCOUNT_HERE) for named in role.attached)
    )
    boundary = role.boundary and (
        "<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType>"
        f"<PermissionsBoundaryArn>{role.boundary.format(account=_ACCOUNT_HERE)}</PermissionsBoundaryArn></PermissionsBoundary>"
    )
    used = f"<LastUsedDate>{role.used:%Y-%m-%dT%H:%M:%SZ}</LastUsedDate><Region>eu-west-1</Region>" if role.used else ""
    return (
        f"<member><Path>{escape(role.path)}</Path><RoleName>{escape(role.name)}</RoleName><RoleId>AROATEST</RoleId><Arn>{escape(arn)}</Arn>"
        f"<CreateDate>{role.created:%Y-%m-%dT%H:%M:%SZ}</CreateDate><AssumeRolePolicyDocument>{_text(role.trust)}</AssumeRolePolicyDocument>"
        f"<InstanceProfileList/><RolePolicyList>{inline}</RolePolicyList><AttachedManagedPolicies>{attached}</AttachedManagedPolicies>{boundary}"
        f"<Tags>{tags}</Tags><RoleLastUsed>{used}</RoleLastUsed></member>"
    )


def _policies(managed: Mapping[str, object]) -> str:
    """One page of customer managed policies, each with a version that is not in force."""
    versions = '{"Version": "2012-10-17", "Statement": []}'
    members = "".join(
        f"<member><PolicyName>{name}</PolicyName><Arn>arn:aws:iam::{_ACCOUNT_HERE}:policy/{name}</Arn><DefaultVersionId>v2</DefaultVersionId><PolicyVersionList>"
        f"<member><Document>{_text(versions)}</Document><VersionId>v1</VersionId><IsDefaultVersion>false</IsDefaultVersion></member>"
        f"<member><Document>{_text(said)}</Document><VersionId>v2</VersionId><IsDefaultVersion>true</IsDefaultVersion></member></PolicyVersionList></member>"
        for name, said in managed.items()
    )
    operation = "GetAccountAuthorizationDetails"
    return (
        f'<{operation}Response xmlns="{IAM}"><{operation}Result><IsTruncated>false</IsTruncated><UserDetailList/><GroupDetailList/><RoleDetailList/>'
        f"<Policies>{members}</Policies></{operation}Result>{REQUEST}</{operation}Response>"
    )


def _render(operation: str, found: Sequence[FakeRole], size: int) -> Iterator[str]:
    wanted, one = _LISTINGS[operation]
    parts = [found[at : at + size] for at in range(0, len(found), size)] or [[]]
    for number, part in enumerate(parts):
        more = number + 1 < len(parts)
        marker = f"<Marker>page-{number + 1}</Marker>" if more else ""
        others = "<UserDetailList/><GroupDetailList/><Policies/>" if wanted == "RoleDetailList" else ""
        yield (
            f'<{operation}Response xmlns="{IAM}"><{operation}Result><IsTruncated>{str(more).lower()}</IsTruncated>'
            f"<{wanted}>{''.join(one(role) for role in part)}</{wanted}>{others}{marker}</{operation}Result>{REQUEST}</{operation}Response>"
        )


def _assumed(role_arn: str) -> str:
    account = role_arn.split(":")[4]
    expires = datetime.now(UTC) + timedelta(minutes=15)
    return (
        f'<AssumeRoleWithWebIdentityResponse xmlns="{STS}"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA{account}</AccessKeyId>'
        f"<SecretAccessKey>TEST-secret-that-opens-nothing</SecretAccessKey><SessionToken>TEST-token</SessionToken>"
        f"<Expiration>{expires:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROA:x</AssumedRoleId>"
        f"<Arn>arn:aws:sts::{account}:assumed-role/{READER}/x</Arn></AssumedRoleUser></AssumeRoleWithWebIdentityResult>{REQUEST}</AssumeRoleWithWebIdentityResponse>"
    )


def credentials(account: str) -> Credentials:
    """Keys that the double takes for this account's."""
    return Credentials(
        access_key_id=f"ASIA{account}",
        secret_access_key="TEST-secret-that-opens-nothing",
        session_token="TEST-token",
        expiration=datetime(2030, 1, 1, tzinfo=UTC),
        assumed_role_arn=f"arn:aws:sts::{account}:assumed-role/{READER}/x",
    )


# --- Serving ------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer: written in two, the second waits 40 ms for the first's acknowledgement

    @cached_property
    def double(self) -> Double:
        return self.server.double  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        """For benchmarks: what was counted since the last time."""
        counts = self.double.counts
        self.double.calls.clear()
        self._send(Reply(json.dumps(counts), content_type="application/json"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        found = re.search(r"Credential=ASIA(\d{12})/", self.headers.get("Authorization", ""))
        account = found[1] if found else ""
        target = self.headers.get("X-Amz-Target", "")
        if target:
            call = Call(f"organizations.{target.rpartition('.')[2]}", account, json.loads(body or "{}"))
        else:
            fields = dict(parse_qsl(body, keep_blank_values=True))
            call = Call(fields.pop("Action", ""), account, fields)
        self._send(self.double.answer(call))

    def _send(self, reply: Reply) -> None:
        content = reply.body.encode("utf-8", "surrogatepass")
        try:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: reply.cut])
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the client gave up waiting, or was killed: some tests are about that
        if reply.cut is not None:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, double: Double) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.double = double
        double.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(double: Double) -> Iterator[Double]:
    """The double on a loopback port of its own, for the length of the block."""
    server = _Server(double)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()


def many_roles(count: int) -> list[FakeRole]:
    """`count` roles as accounts have them: a few paths, tags, a last use and a policy of their own here and there, the reader."""
    made = [
        FakeRole(
            f"role-{number:04}",
            path="/" if number % 4 else "/team/shop/",
            longest=3600 if number % 3 else 43200,
            description=f"What the team {number} works with",
            tags={"team": f"team-{number % 7}", "owner": "platform"} if number % 2 else {},
            used=CREATED if number % 5 == 0 else None,
            inline={"own": _own_things(number)} if number % 3 == 0 else {"inline": _POLICY},
            attached=("arn:aws:iam::{account}:policy/developers", "arn:aws:iam::aws:policy/ReadOnlyAccess")[
                number % 2 :
            ],
        )
        for number in range(count - 1)
    ]
    return [*made, FakeRole(READER)]


def _own_things(number: int) -> dict[str, object]:
    statement = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": f"arn:aws:s3:::of-{number}/*",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def account_ids(count: int) -> list[str]:
    return [str(100_000_000_000 + number) for number in range(count)]


def main() -> None:
    """Serve accounts until standard input ends; the first line printed is the address."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=1000)
    options.add_argument("--roles", type=int, default=200)
    options.add_argument("--page", type=int, default=50)
    options.add_argument("--delay", type=float, default=0.02)
    options.add_argument(
        "--rate", type=float, default=0.0, help="calls a second, of all accounts together; 0: no limit"
    )
    options.add_argument("--rate-each", type=float, default=0.0, help="calls a second of each account; 0: no limit")
    given = options.parse_args()
    shared = many_roles(given.roles)
    double = Double(
        accounts=dict.fromkeys(account_ids(given.accounts), shared),
        managed={"developers": _POLICY},
        page=given.page,
        delay=given.delay,
        limit=Bucket(given.rate, given.rate / 2) if given.rate else None,
        limit_each=(lambda: Bucket(given.rate_each, given.rate_each / 2)) if given.rate_each else None,
    )
    with serving(double):
        print(double.url, flush=True)
        try:
            input()
        except (EOFError, KeyboardInterrupt):
            pass


if __name__ == "__main__":
    main()
