"""The two unsigned calls of STS, with every check that stands between a document and credentials."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from demo import xml
from demo.aws import limits, saml, token
from demo.aws.errors import STS_NAMESPACE, AwsError, invalid_token, not_authorized
from demo.aws.limits import SessionPolicy, Tags
from demo.aws.moto_backend import MotoBackend, MotoCredentials
from demo.aws.registry import Registry, Role, without_scheme
from demo.aws.trust import Context, allows

SAML_CALL = "AssumeRoleWithSAML"
OIDC_CALL = "AssumeRoleWithWebIdentity"
TRAIL_LENGTH = 5_000
REDEEMED_KEPT = timedelta(minutes=10)
SIGNIN_HOSTS = {
    "aws": "signin.aws.amazon.com",
    "aws-cn": "signin.amazonaws.cn",
    "aws-us-gov": "signin.amazonaws-us-gov.com",
}
AWS_REGIONS = {
    "aws": (
        "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2", "eu-west-3",
        "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "ap-south-1", "ap-northeast-1", "ap-northeast-2",
        "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ap-east-1", "me-south-1", "me-central-1", "af-south-1", "il-central-1",
    ),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
    "aws-us-gov": ("us-gov-east-1", "us-gov-west-1"),
}  # fmt: skip


@dataclass(frozen=True)
class RoleSession:
    """A session of a role that was handed out."""

    credentials: MotoCredentials = field(repr=False)
    role_arn: str
    account: str
    session_name: str
    expires_at: datetime
    tags: Tags
    policy: SessionPolicy
    via: str

    @property
    def role_name(self) -> str:
        return self.role_arn.rpartition("/")[2]


@dataclass(frozen=True)
class _Claimed:
    """What both kinds of document come down to."""

    call: str
    provider_arn: str
    session_name: str
    tags: Tags
    context: Context
    redeem_key: str
    console_seconds: int
    most_seconds: int | None
    facts: Mapping[str, str]
    answer: Mapping[str, str]


class StrictSts:
    """STS over a registry of accounts. `trail`: one entry a call, as CloudTrail would have, with the precise reason of a refusal."""

    def __init__(
        self, registry: Registry, moto: MotoBackend, clock: Any, recipient_hosts: tuple[str, ...] = ()
    ) -> None:
        self.registry, self.moto, self.clock = registry, moto, clock
        self.sessions: dict[str, RoleSession] = {}
        self.trail: deque[dict[str, Any]] = deque(maxlen=TRAIL_LENGTH)
        self.faults: deque[AwsError] = deque()
        self._redeemed: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self._recipients = {
            partition: frozenset(
                [
                    f"https://{host}/saml",
                    *(f"https://{region}.{host}/saml" for region in AWS_REGIONS[partition]),
                    *map(_loopback_url, recipient_hosts),
                ]
            )
            for partition, host in SIGNIN_HOSTS.items()
        }

    # --- the calls ----------------------------------------------------------------------------------

    def call(self, params: Mapping[str, str]) -> bytes:
        """The XML answer to one call. Raises AwsError; either way the trail has it."""
        action = params.get("Action", "")
        entry: dict[str, Any] = {
            "eventName": action,
            "eventTime": xml.stamp(self.clock()),
            "roleArn": params.get("RoleArn", ""),
        }
        try:
            if self.faults:
                raise self.faults.popleft()
            session, claimed, percent = self._assume(params)
        except AwsError as error:
            self.trail.append({**entry, "errorCode": error.code, "reason": error.reason})
            raise
        self.trail.append({**entry, **self._joins(session, claimed)})
        return _answer(session, claimed, percent)

    def console_sign_in(self, saml_response: str) -> RoleSession:
        """The direct POST into the console: the one Role of the assertion, for SessionDuration. Raises AwsError."""
        entry: dict[str, Any] = {"eventName": "ConsoleLogin", "eventTime": xml.stamp(self.clock())}
        try:
            pairs = self._role_values(saml_response)
            if len(pairs) != 1:
                raise invalid_token(
                    "The console's role chooser is not part of the demo: send one Role.", "not_one_role"
                )
            role_arn, provider_arn = pairs[0]
            params = {
                "Action": SAML_CALL,
                "RoleArn": role_arn,
                "PrincipalArn": provider_arn,
                "SAMLAssertion": saml_response,
            }
            session, claimed, _percent = self._assume(params, console=True)
        except AwsError as error:
            self.trail.append({**entry, "errorCode": error.code, "reason": error.reason})
            raise
        self.trail.append({**entry, "roleArn": role_arn, **self._joins(session, claimed)})
        return session

    @staticmethod
    def _role_values(saml_response: str) -> list[tuple[str, str]]:
        """The pairs the document names, not verified: only to know which provider to verify it against."""
        root = saml.decode(saml_response)
        values = root.xpath(f"//saml:Attribute[@Name='{saml.PREFIX}Role']/saml:AttributeValue", namespaces=xml.NS)
        found = []
        for value in values:
            role_arn, _, provider_arn = xml.text_of(value).partition(",")
            found.append((role_arn, provider_arn))
        return found

    def _assume(self, params: Mapping[str, str], *, console: bool = False) -> tuple[RoleSession, _Claimed, int]:
        role_arn, partition, account = limits.role_arn(params)
        policy = limits.session_policy(params)
        if params.get("Action") == SAML_CALL:
            claimed = self._read_saml(params, role_arn, partition, account)
        else:
            claimed = self._read_token(params, partition, account)
        role = self.registry.roles.get(role_arn)
        if role is None:
            raise not_authorized(claimed.call, "role_unknown")
        self._check_trust(role, claimed)
        if console:
            params = {**params, "DurationSeconds": str(claimed.console_seconds)}
        seconds = limits.duration(params, role.max_session_duration)
        percent = limits.packed_percent(policy, claimed.tags)
        if claimed.most_seconds is not None:
            seconds = min(seconds, claimed.most_seconds)
        self._redeem(claimed.redeem_key)
        credentials = self.moto.assume(role_arn, claimed.session_name, max(seconds, limits.DURATION[0]))
        session = RoleSession(
            credentials, role_arn, account, claimed.session_name, self.clock() + timedelta(seconds=seconds), claimed.tags, policy,
            "console" if console else claimed.call,
        )  # fmt: skip
        self.sessions[credentials.access_key_id] = session
        return session, claimed, percent

    # --- reading the documents ------------------------------------------------------------------------

    def _read_saml(self, params: Mapping[str, str], role_arn: str, partition: str, account: str) -> _Claimed:
        provider_arn = limits.sized(params, "PrincipalArn", 20, 2048)
        document = limits.sized(params, "SAMLAssertion", 4, 100_000)
        provider = self.registry.saml.get(provider_arn)
        if provider is None or provider_arn.split(":")[4] != account:
            raise invalid_token("Specified provider doesn't exist", "provider_unknown")
        now = self.clock()
        found = saml.check(saml.decode(document), provider, partition, self._recipients[partition], now)
        if (role_arn, provider_arn) not in found.roles:
            raise not_authorized(SAML_CALL, "pair_not_in_assertion")
        lengths = [found.session_seconds] if found.session_seconds is not None else []
        if found.session_until is not None:
            lengths.append(max(1, int((found.session_until - now).total_seconds())))
        name = provider_arn.rpartition("/")[2]
        qualifier = base64.b64encode(
            hashlib.sha1(f"{found.issuer}{account}/{name}".encode()).digest()
        ).decode()  # AWS documents SHA-1 here
        context = {
            "saml:aud": (found.recipient,),
            "saml:iss": (found.issuer,),
            "saml:sub": (found.subject,),
            "saml:sub_type": (found.subject_type,),
            "saml:doc": (f"{account}/{name}",),
            "saml:namequalifier": (qualifier,),
        }
        return _Claimed(
            call=SAML_CALL,
            provider_arn=provider_arn,
            session_name=found.session_name,
            tags=found.tags,
            context=_with_tags(context, found.tags, found.session_name),
            redeem_key=f"saml {found.issuer} {found.id}",
            console_seconds=found.session_seconds or limits.DEFAULT_DURATION,
            most_seconds=min(lengths, default=None),
            facts={"sAMLAssertionID": found.id},
            answer={
                "Subject": found.subject,
                "SubjectType": found.subject_type,
                "Issuer": found.issuer,
                "Audience": found.recipient,
                "NameQualifier": qualifier,
            },
        )

    def _read_token(self, params: Mapping[str, str], partition: str, account: str) -> _Claimed:
        session_name = limits.sized(params, "RoleSessionName", 2, 64)
        if not limits.SESSION_NAME.match(session_name):
            raise limits.validation(
                "roleSessionName", session_name, r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
            )
        document = limits.sized(params, "WebIdentityToken", 4, 20_000)
        if "ProviderId" in params:
            raise invalid_token(
                "ProviderId is for OAuth 2.0 access tokens, not for OpenID Connect tokens.", "provider_id_given"
            )
        _header, unverified = token.peek(document)
        issuer = unverified.get("iss")
        provider = self.registry.oidc_provider(account, partition, issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise invalid_token(f"No OpenIDConnect provider found in your account for {issuer}", "provider_unknown")
        found = token.check(document, provider, self.clock())
        name = without_scheme(provider.url).lower()
        context = {f"{name}:aud": (found.audience,), f"{name}:sub": (found.subject,)}
        if found.amr:
            context[f"{name}:amr"] = found.amr
        return _Claimed(
            call=OIDC_CALL,
            provider_arn=provider.arn,
            session_name=session_name,
            tags=found.tags,
            context=_with_tags(context, found.tags, session_name),
            redeem_key=f"token {token.fingerprint(document)}",
            console_seconds=limits.DEFAULT_DURATION,
            most_seconds=None,
            facts={"subject": found.subject, "jti": str(unverified.get("jti", ""))},
            answer={"SubjectFromWebIdentityToken": found.subject, "Provider": provider.arn, "Audience": found.audience},
        )

    # --- trust, replay, trail ---------------------------------------------------------------------------

    @staticmethod
    def _check_trust(role: Role, claimed: _Claimed) -> None:
        """The role must trust the provider for the call itself, and for tags and source identity where they come along."""
        wanted = [(f"sts:{claimed.call}", "trust_mismatch")]
        if claimed.tags.principal:
            wanted.append(("sts:TagSession", "trust_without_tag_session"))
        if claimed.tags.source_identity:
            wanted.append(("sts:SetSourceIdentity", "trust_without_set_source_identity"))
        for action, reason in wanted:
            if not allows(role.trust_policy, action, claimed.provider_arn, claimed.context):
                raise not_authorized(claimed.call, reason)

    def _redeem(self, key: str) -> None:
        """Once only. The check and the mark are one step: of a hundred at the same moment one gets through."""
        now = self.clock()
        with self._lock:
            for old in [known for known, until in self._redeemed.items() if until <= now]:
                del self._redeemed[old]
            if key in self._redeemed:
                raise invalid_token("The document was redeemed before.", "redeemed_before")
            self._redeemed[key] = now + REDEEMED_KEPT

    def session_of(self, access_key_id: str, session_token: str) -> RoleSession:
        """The session that keys belong to. Raises AwsError InvalidClientTokenId or ExpiredToken."""
        session = self.sessions.get(access_key_id)
        if session is None or not secrets.compare_digest(
            session.credentials.session_token.encode(), session_token.encode()
        ):
            raise AwsError(
                "InvalidClientTokenId", "The security token included in the request is invalid.", "credentials_unknown"
            )
        if session.expires_at <= self.clock():
            raise AwsError(
                "ExpiredToken", "The security token included in the request is expired", "credentials_expired"
            )
        return session

    @staticmethod
    def _joins(session: RoleSession, claimed: _Claimed) -> dict[str, Any]:
        """What CloudTrail has for joining with the gateway's audit."""
        return {
            "accessKeyId": session.credentials.access_key_id,
            "roleSessionName": session.session_name,
            "sourceIdentity": claimed.tags.source_identity,
            "principalTags": dict(claimed.tags.principal),
            "account": session.account,
            "expiration": xml.stamp(session.expires_at),
            **claimed.facts,
        }


def _loopback_url(host: str) -> str:
    """A further recipient, for tests and demos; http only where the host is loopback."""
    scheme = "http" if host.partition(":")[0] in {"127.0.0.1", "localhost"} else "https"
    return f"{scheme}://{host}/saml"


def _with_tags(context: Mapping[str, tuple[str, ...]], tags: Tags, session_name: str) -> Context:
    """The condition keys that both calls have."""
    more = {f"aws:requesttag/{key.lower()}": (value,) for key, value in tags.principal.items()}
    if tags.principal:
        more["aws:tagkeys"] = tuple(tags.principal)
    if tags.transitive:
        more["sts:transitivetagkeys"] = tags.transitive
    if tags.source_identity:
        more["sts:sourceidentity"] = (tags.source_identity,)
    return {**context, **more, "sts:rolesessionname": (session_name,)}


def _answer(session: RoleSession, claimed: _Claimed, percent: int) -> bytes:
    keys = session.credentials
    fields = dict(claimed.answer)
    if claimed.tags.source_identity:
        fields["SourceIdentity"] = claimed.tags.source_identity
    if percent:
        fields["PackedPolicySize"] = str(percent)
    rest = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return (
        f'<{claimed.call}Response xmlns="{STS_NAMESPACE}"><{claimed.call}Result>'
        f"<AssumedRoleUser><AssumedRoleId>{escape(keys.assumed_role_id)}</AssumedRoleId><Arn>{escape(keys.assumed_role_arn)}</Arn></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{keys.access_key_id}</AccessKeyId><SecretAccessKey>{escape(keys.secret_access_key)}</SecretAccessKey>"
        f"<SessionToken>{escape(keys.session_token)}</SessionToken><Expiration>{xml.stamp(session.expires_at)}</Expiration></Credentials>"
        f"{rest}</{claimed.call}Result><ResponseMetadata><RequestId>{secrets.token_hex(16)}</RequestId></ResponseMetadata></{claimed.call}Response>"
    ).encode()
