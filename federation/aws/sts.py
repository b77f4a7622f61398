"""AssumeRoleWithSAML and AssumeRoleWithWebIdentity: the two unsigned calls that turn a minted document into credentials.

Owns the boto3 clients for STS, the retries, the fail-over between regions, and the translation of AWS's errors. The
document is minted by the caller's `prepare`, so that this module sees neither keys nor people. Nothing that is raised
or logged here holds an assertion, a token or a secret: botocore's own debug log does, so it is held at INFO.

Source: STS API reference (both actions, "Errors"); AWS.md, "The two calls".
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, DataNotFoundError, ParamValidationError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

from federation.aws import clock
from federation.aws.partitions import Partition, partition
from federation.aws.policy import NO_POLICY, SessionPolicy, largest_part
from federation.bulkhead import Bulkhead
from federation.errors import AwsError
from federation.redaction import REDACTED, without_random

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
PATIENCE_SECONDS = 2.0
BACKOFFS_BEFORE_NEXT_REGION = 4
_BACKOFF_FIRST_SECONDS = 0.1
_BACKOFF_CAP_SECONDS = 2.0


# --- What goes in and what comes out ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SamlCall:
    """One AssumeRoleWithSAML: `assertion` is the base64 SAML response; `duration` in seconds, 900 to 43,200.

    `tags` are those that the document carries; given here only to name the largest one when STS finds all too large.
    """

    role_arn: str
    provider_arn: str
    assertion: str = field(repr=False)
    duration: int = 3600
    policy: SessionPolicy = NO_POLICY
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebIdentityCall:
    """One AssumeRoleWithWebIdentity: `token` is the JWT; the rest as in SamlCall."""

    role_arn: str
    token: str = field(repr=False)
    session_name: str
    duration: int = 3600
    policy: SessionPolicy = NO_POLICY
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials. `expiration`: aware, UTC. `packed_policy_size`: per cent of the limit, or None.

    The secret parts stay out of `repr`, so out of every log line, trace and error page that shows this object.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime
    assumed_role_arn: str
    packed_policy_size: int | None = None


# --- AWS's errors, each with what to do -------------------------------------------------------------


class StsError(AwsError):
    """STS refused, or could not be asked. `aws_code` is its own code; `detail` never holds the document."""

    code = "sts_error"
    sentence = "AWS STS answered with an error that the gateway does not know. Give the request id and AWS's code to your administrators."


class StsAccessDenied(StsError):
    """AccessDenied: STS does not say which of the four causes it was."""

    code = "sts_access_denied"
    sentence = (
        "AWS refused the role. One of four things is wrong in the account: the role does not exist (any more); its trust policy "
        "does not name the gateway's identity provider or its audience (SAML:aud is the sign-in URL of the region); the trust policy "
        "lacks sts:TagSession or sts:SetSourceIdentity; or the identity provider in IAM was deleted or made anew. Ask the account's owner."
    )


class StsIdentityRejected(StsError):
    """IDPRejectedClaim."""

    code = "sts_identity_rejected"
    sentence = (
        "AWS rejected what the gateway says about you: the identity provider in the account holds other keys or another audience "
        "than the gateway uses. Ask the account's owner to upload the gateway's current metadata."
    )


class StsTokenInvalid(StsError):
    """InvalidIdentityToken, also after a freshly minted document."""

    code = "sts_token_invalid"
    sentence = (
        "AWS could not validate the gateway's document, also after a new one was made. The account's identity provider may hold an "
        "old key or another issuer URL: ask your administrators to run `manage.py doctor`."
    )


class StsTokenExpired(StsError):
    """ExpiredTokenException, also after a freshly minted document: the clocks differ."""

    code = "sts_token_expired"
    sentence = "AWS says that a document made seconds ago has expired: the gateway's clock is probably wrong. Ask your administrators to check it."


class StsPolicyMalformed(StsError):
    """MalformedPolicyDocument."""

    code = "sts_policy_malformed"
    status = 400
    sentence = "AWS does not accept the session policy. Correct it (the role mapping's, or your own), then try again."


class StsSessionTooLarge(StsError):
    """PackedPolicyTooLarge."""

    code = "sts_session_too_large"
    status = 400
    sentence = "The session policies and tags are together larger than AWS takes. Shorten the session policy or the longest tags."


class StsDurationTooLong(StsError):
    """ValidationError: DurationSeconds above the role's MaxSessionDuration. AWS fails here, it does not clamp."""

    code = "sts_duration_too_long"
    status = 400
    sentence = "The role does not allow sessions of this length. Ask for a shorter one, or have the role's maximum session duration raised."


class StsValidation(StsError):
    """ValidationError, or a call that does not even have STS's form."""

    code = "sts_validation"
    sentence = "AWS found the gateway's request malformed. Give the request id to your administrators."


class StsRegionDisabled(StsError):
    """RegionDisabledException in every region that was tried."""

    code = "sts_region_disabled"
    sentence = "STS is switched off for this account in every region that was tried. Ask the account's owner to activate STS in one of them."


class StsThrottled(StsError):
    """Throttling until the deadline."""

    code = "sts_throttled"
    status = 503
    sentence = "AWS is limiting requests right now. Wait half a minute, then try again."


class StsUnreachable(StsError):
    """No region answered, or each failed (5xx), within the deadline."""

    code = "sts_unreachable"
    status = 503
    sentence = "AWS STS cannot be reached. Try again in a minute; credentials that you already have keep working."


class StsIdpCommunication(StsError):
    """IDPCommunicationError, or "Couldn't retrieve verification key": AWS could not fetch the issuer's keys."""

    code = "sts_idp_communication"
    status = 503
    sentence = "AWS could not fetch the gateway's public keys. Try again in a minute; if it lasts, ask your administrators whether the issuer URL answers from the internet."


class StsAnswerInvalid(StsError):
    """STS answered success without usable credentials."""

    code = "sts_answer_invalid"
    sentence = (
        "AWS STS answered in a form that the gateway does not understand. Give the request id to your administrators."
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How to go on after an AWS error: backoff (same document), renew (once), next_region, or final."""

    error: type[StsError]
    action: str


_BACKOFF, _RENEW, _NEXT, _FINAL = "backoff", "renew", "next_region", "final"
_UNREACHABLE = _Verdict(StsUnreachable, _NEXT)  # no answer at all
_BY_CODE: dict[str, _Verdict] = {
    "AccessDenied": _Verdict(StsAccessDenied, _FINAL),
    "IDPRejectedClaim": _Verdict(StsIdentityRejected, _FINAL),
    "InvalidIdentityToken": _Verdict(StsTokenInvalid, _RENEW),
    "ExpiredToken": _Verdict(StsTokenExpired, _RENEW),
    "MalformedPolicyDocument": _Verdict(StsPolicyMalformed, _FINAL),
    "PackedPolicyTooLarge": _Verdict(StsSessionTooLarge, _FINAL),
    "ValidationError": _Verdict(StsValidation, _FINAL),
    "RegionDisabled": _Verdict(StsRegionDisabled, _NEXT),
    "IDPCommunicationError": _Verdict(StsIdpCommunication, _BACKOFF),
    "Throttling": _Verdict(StsThrottled, _BACKOFF),
    "Throttled": _Verdict(StsThrottled, _BACKOFF),
    "TooManyRequests": _Verdict(StsThrottled, _BACKOFF),
    "RequestLimitExceeded": _Verdict(StsThrottled, _BACKOFF),
    "RequestThrottled": _Verdict(StsThrottled, _BACKOFF),
}


def _verdict(code: str, message: str, http_status: int) -> _Verdict:
    """What to do about an error. Codes come with and without "Exception" at the end: the model and the wire differ."""
    said = message.lower()
    if "retrieve verification key" in said:
        return _Verdict(StsIdpCommunication, _BACKOFF)
    known = _BY_CODE.get(code.removesuffix("Exception"))
    if known is not None:
        if known.error is StsValidation and "maxsessionduration" in said:
            return _Verdict(StsDurationTooLong, _FINAL)
        return known
    if http_status == 429:
        return _Verdict(StsThrottled, _BACKOFF)
    if http_status >= 500:
        return _Verdict(StsUnreachable, _NEXT)
    return _Verdict(StsError, _FINAL)


# --- Clients ----------------------------------------------------------------------------------------

regions_asked = Bulkhead(PATIENCE_SECONDS, together=True)
_lock = threading.Lock()
_session: boto3.session.Session | None = None
_clients: dict[tuple[int, str, str], Any] = {}


def _quieten_botocore() -> None:
    # At DEBUG botocore writes each request's body (the assertion) and each answer's (the secret key) into the log.
    for name in ("botocore", "boto3"):
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)


class _Loader(Loader):  # type: ignore[misc]  # botocore has no types
    """botocore's, that keeps the models of services and nothing else.

    Its own keeps what it has ever read, and each client keeps its loader: seven megabytes of every worker were the endpoints of all
    of AWS's services, which are looked at while a client is made and never again.
    """

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """The data of this name, and where they were. Raises DataNotFoundError."""
        for folder in self.search_paths:
            path = str(Path(folder, name))
            if (found := self.file_loader.load_file(path)) is not None:
                return found, path
        raise DataNotFoundError(data_path=name)


def _new_session() -> boto3.session.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", _Loader())
    return boto3.session.Session(botocore_session=core)


def _client(region: str) -> Any:
    """The STS client of this process and region, made once: a new one costs 6 ms, a new Session 50 ms (STACK.md).

    Unsigned, so that no credentials are looked for (the metadata service would be asked, and could hang). The endpoint is
    boto3's own choice: AWS_ENDPOINT_URL_STS where it is set, else the partition's regional one. The process id is in the
    key because a connection pool must not be shared across a fork.
    """
    global _session  # noqa: PLW0603 - one Session a process, guarded by the lock
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL") or ""
    key = (os.getpid(), region, endpoint)
    found = _clients.get(key)
    if found is not None:
        return found
    with _lock:  # creating clients is not thread-safe in boto3; using them is
        if key not in _clients:
            _quieten_botocore()
            _session = _session or _new_session()
            _clients[key] = _session.client(
                "sts",
                region_name=region,
                config=Config(
                    signature_version=UNSIGNED,
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"total_max_attempts": 1},  # assume_role decides: botocore would retry an expired document
                    max_pool_connections=32,
                    parameter_validation=True,
                ),
            )
        return _clients[key]


def warm(partition_names: Iterable[str]) -> None:
    """Build the clients of these partitions' fail-over regions, at start and not in the first request. No network.

    The session that made them goes with what it has read; a further region, if one is ever asked for, makes another. Raises
    UnknownPartition.
    """
    global _session  # noqa: PLW0603  as in `_client`
    for name in partition_names:
        for region in partition(name).regions_fail_over():
            _client(region)
    with _lock:
        _session = None


# --- The call ---------------------------------------------------------------------------------------


def _jitter(attempt: int) -> float:
    """Seconds to wait before retry `attempt` (from 0): between half and all of an exponential step, so that clients spread."""
    step = min(_BACKOFF_CAP_SECONDS, _BACKOFF_FIRST_SECONDS * 2.0**attempt)
    return step * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def _parameters(call: SamlCall | WebIdentityCall) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {"RoleArn": call.role_arn, "DurationSeconds": call.duration}
    if call.policy.inline is not None:
        parameters["Policy"] = call.policy.inline
    if call.policy.managed:
        parameters["PolicyArns"] = [{"arn": arn} for arn in call.policy.managed]
    if isinstance(call, SamlCall):
        return "assume_role_with_saml", parameters | {
            "PrincipalArn": call.provider_arn,
            "SAMLAssertion": call.assertion,
        }
    return "assume_role_with_web_identity", parameters | {
        "RoleSessionName": call.session_name,
        "WebIdentityToken": call.token,
    }


_PLAIN = re.compile(r"[\x21-\x7e]+")


def _credentials(answer: dict[str, Any]) -> Credentials:
    given = answer.get("Credentials") or {}
    texts = [given.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    expiration = given.get("Expiration")
    # Printable ASCII only: these values are written into shells and files, where a newline would begin something else.
    if not all(isinstance(t, str) and _PLAIN.fullmatch(t) for t in texts) or not isinstance(expiration, datetime):
        raise StsAnswerInvalid("sts_answer_invalid")
    if expiration.tzinfo is None:
        raise StsAnswerInvalid("sts_answer_invalid", detail="Expiration without a time zone")
    size = answer.get("PackedPolicySize")
    return Credentials(
        access_key_id=str(texts[0]),
        secret_access_key=str(texts[1]),
        session_token=str(texts[2]),
        expiration=expiration.astimezone(UTC),
        assumed_role_arn=str((answer.get("AssumedRoleUser") or {}).get("Arn", "")),
        packed_policy_size=size if isinstance(size, int) else None,
    )


# Connecting, reading, TLS; an answer that is no XML or has a date that is none; XML that is no answer to what was asked,
# such as a proxy's, which botocore's parser walks into with a KeyError or a TypeError.
_NO_ANSWER = (BotoCoreError, ResponseParserError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class _Failure:
    """One failed attempt: what it means and the error to raise if it turns out to be the last."""

    verdict: _Verdict
    error: StsError


def _scrub(text: str, call: SamlCall | WebIdentityCall) -> str:
    """AWS's message without the document, without any run that could be a part of it or a key; ARNs stay."""
    document = call.assertion if isinstance(call, SamlCall) else call.token
    return without_random(text.replace(document, REDACTED))[:500]


def code_of(error: ClientError) -> str:
    """AWS's own code, which people are shown; "unreadable" where it is no word, such as a quotation of what was sent."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"(?:[A-Za-z][A-Za-z.]{0,63}|[0-9]{3})?", code) else "unreadable"


def _observe(client: Any, answer: Mapping[str, Any], sent: float) -> None:
    """Every answer of STS, also a refusal, tells the time."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    clock.watch.observe(client.meta.endpoint_url, headers.get("date"), sent=sent, age=headers.get("age"))


def unreachable(region: str) -> str:
    """Ask STS in `region` anything: GetCallerIdentity, unsigned, which AWS refuses with 403 and the time.

    "" where it answers, whatever it says; else what kept it from answering. Never raises for what AWS or the network did.
    """
    client = _client(region)
    sent = clock.watch.monotonic()
    try:
        answer = client.get_caller_identity()
    except ClientError as error:
        answer = error.response
    except _NO_ANSWER as error:
        return error.__class__.__name__
    _observe(client, answer, sent)
    return ""


def _probe(region: str) -> None:
    """Have STS tell the time."""
    if why := unreachable(region):
        log.warning("clock_not_checked", extra={"region": region, "kind": why})


def require_right_clock(where: Partition, region: str = "") -> bool:
    """Before anything is minted: whether the clock has been held against AWS's. False where AWS could not be asked.

    Asks STS only while nothing is known or what is known is bad, and then at most every few seconds. Raises ClockWrong
    (more than 60 s off), RegionInvalid.
    """
    region = where.check_region(region)
    clock.watch.ask(lambda: _probe(region))
    clock.watch.require_right()
    return clock.watch.skew() is not None


def _attempt(region: str, call: SamlCall | WebIdentityCall) -> Credentials | _Failure:
    """One call to one region; none where others wait for it already, or it has just failed them."""
    began = regions_asked.enter(region)
    if began is None:
        return _not_asked(region)
    answered = True
    try:
        outcome = _ask(region, call)
        answered = not isinstance(outcome, _Failure) or outcome.verdict is not _UNREACHABLE
        return outcome
    finally:
        regions_asked.leave(region, began, answered=answered)


def _not_asked(region: str) -> _Failure:
    detail = f"{region}: not asked, others wait"
    return _Failure(_UNREACHABLE, StsUnreachable("sts_unreachable", detail=detail, retry_after=30))


def _ask(region: str, call: SamlCall | WebIdentityCall) -> Credentials | _Failure:
    operation, parameters = _parameters(call)
    client = _client(region)
    sent = clock.watch.monotonic()
    # Nothing is raised inside an `except`: botocore's exceptions can carry the request, and traces show their context.
    try:
        answer = getattr(client, operation)(**parameters)
    except ClientError as error:
        _observe(client, error.response, sent)
        said = error.response.get("Error", {})
        code, message = code_of(error), str(said.get("Message", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        verdict = _verdict(code, message, status)
        detail = f"{region}: {code}: {_scrub(message, call)}"
    except ParamValidationError:
        # Its message quotes the parameters.
        verdict, code, detail = _Verdict(StsValidation, _FINAL), "", f"{region}: the call does not fit STS's model"
    except _NO_ANSWER as error:
        # The region is not well. The name of the exception is all that is kept: the parser's text quotes the answer, which
        # may hold credentials.
        verdict, code, detail = _UNREACHABLE, "", f"{region}: {error.__class__.__name__}"
    else:
        _observe(client, answer, sent)
        return _credentials(answer)
    retry_after = 30 if verdict.error.status == 503 else None
    sentence = ""
    if verdict.error is StsSessionTooLarge and (largest := largest_part(call.policy, call.tags)):
        sentence = f"{StsSessionTooLarge.sentence} The largest part is {largest}."
    return _Failure(
        verdict,
        verdict.error(verdict.error.code, aws_code=code, detail=detail, sentence=sentence, retry_after=retry_after),
    )


def assume_role(
    prepare: Callable[[str], SamlCall | WebIdentityCall],
    *,
    regions: Sequence[str],
    partition: Partition,
    deadline_seconds: float = 12,
    background: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Credentials:
    """Exchange a minted document for credentials, trying `regions` in order.

    `prepare(region)` mints (and audits) a fresh document addressed to that region; it is called once a region, and once
    more in all if AWS finds the document invalid or expired. What AWS may do better next time (throttling, its fetching of
    the issuer's keys) is retried with the same document after a jittered wait: four times, then the next region is tried;
    in the last region until the deadline. A region that is switched off, cannot be reached or fails (5xx) is left at once; one
    that others wait for in vain is passed over, but by `background` work, for whose threads nobody waits.
    Everything else is final.

    `deadline_seconds` bounds the start of the last attempt; one that is under way then may take its two timeouts
    (2 s to connect, 5 s to read) longer. Raises a subclass of StsError, RegionInvalid, and whatever `prepare` raises.
    """
    todo = [partition.check_region(region) for region in regions] or [partition.default_region]
    deadline = clock() + deadline_seconds
    renewed = False
    failed_over: StsError | None = None
    while True:
        region = todo.pop(0)
        if not background and not regions_asked.is_open(region):
            # Nothing is minted, and no event written, for a region that would not be asked.
            if not todo:
                raise _final(_not_asked(region).error, failed_over)
            failed_over = failed_over or _not_asked(region).error
            continue
        call = prepare(region)
        attempt = 0
        while True:
            outcome = _ask(region, call) if background else _attempt(region, call)
            if isinstance(outcome, Credentials):
                return outcome
            action, error = outcome.verdict.action, outcome.error
            log.warning(
                "sts_attempt_failed",
                extra={"region": region, "code": error.code, "aws_code": error.aws_code, "action": action},
            )
            if action == _RENEW and not renewed and clock() < deadline:
                renewed = True
                call = prepare(region)
                continue
            if action == _BACKOFF and (attempt < BACKOFFS_BEFORE_NEXT_REGION or not todo):
                pause = _jitter(attempt)
                attempt += 1
                if clock() + pause < deadline:
                    sleep(pause)
                    continue
                raise _final(error, failed_over)
            break
        if action in (_FINAL, _RENEW) or not todo or clock() >= deadline:
            raise _final(error, failed_over)
        failed_over = failed_over or error


def _final(error: StsError, failed_over: StsError | None) -> StsError:
    """The error to raise. AccessDenied after a fail-over has a likelier cause than its usual four: say that one."""
    if failed_over is None:
        return error
    detail = f"{error.detail} (before that, {failed_over.code}: {failed_over.detail})"
    if isinstance(error, StsAccessDenied):
        return StsAccessDenied(
            "access_denied_after_fail_over",
            aws_code=error.aws_code,
            detail=detail,
            sentence=(
                "AWS's usual region for this role failed and the next one refused the role: its trust policy probably does not list "
                "that region's sign-in URL under SAML:aud. Try again in a few minutes, and ask the account's owner to add it."
            ),
        )
    return error.__class__(error.reason, aws_code=error.aws_code, detail=detail, retry_after=error.retry_after)
