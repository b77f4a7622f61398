"""The AWS console: a destination that may be visited, the sign-in token, the URL that the browser follows.

Owns the federation endpoint (IAM user guide, "Enable custom identity broker access to the AWS console"). The sign-in
token is a bearer secret for 15 minutes and the session it is bought with is one too: both go in request bodies or in the
one redirect, never in a log line or an exception.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from federation import net
from federation.aws import clock
from federation.aws.partitions import Partition
from federation.errors import AwsError, BadRequest, ProviderUnavailable

MIN_SESSION_SECONDS = 900
MAX_SESSION_SECONDS = 43_200
MAX_DESTINATION = 2048
_ANSWER_BYTES = 64_000
_SERVICE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# RFC 3986's characters, and "%" only before two digits. No backslash (browsers read it as "/"), no space, no control.
_URL = re.compile(r"(?:[A-Za-z0-9\-._~:/?#@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")


class DestinationNotAllowed(BadRequest):
    """A console destination that is not a page of this partition's console; `reason` is destination_not_allowed."""

    code = "destination_not_allowed"
    sentence = "The destination is not a page of this account's AWS console. Give a console URL, or a service's short name such as s3."


class ConsoleDurationInvalid(BadRequest):
    """SessionDuration outside 900 to 43,200 s; `reason` is console_duration_out_of_range."""

    code = "console_duration_invalid"
    sentence = "A console session lasts between 15 minutes and 12 hours."


class SigninRefused(AwsError):
    """The federation endpoint refused the session, or answered in an unknown form."""

    code = "console_signin_refused"
    sentence = "AWS did not accept the session for the console. Try again; if it lasts, give the request id to your administrators."


class SigninUnreachable(AwsError):
    """The federation endpoint cannot be reached or fails."""

    code = "console_signin_unreachable"
    status = 503
    sentence = (
        "AWS's console sign-in cannot be reached. Try again in a minute; command line credentials may still work."
    )


class HasSession(Protocol):
    """What is read here of `sts.Credentials`."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...
    @property
    def session_token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SigninToken:
    """A console sign-in token, valid 15 minutes. `duration_dropped`: AWS took the session only without SessionDuration."""

    value: str = field(repr=False)
    duration_dropped: bool = False


def _on_console(host: str, partition: Partition) -> bool:
    for base in partition.console_hosts:
        if host == base:
            return True
        # With the dot: "evilconsole.aws.amazon.com" and "console.aws.amazon.com.evil.example" are not beneath it.
        if host.endswith(f".{base}"):
            return all(_LABEL.fullmatch(label) for label in host.removesuffix(f".{base}").split("."))
    return False


def validate_destination(destination: str | None, partition: Partition, region: str = "") -> str:
    """An https URL on this partition's console.

    `destination`: None or "" (the console's home), a service's short name ("s3"), or a console URL.
    Raises DestinationNotAllowed (open redirect through our own sign-in: //host, backslashes, user info, ports, other
    schemes, other partitions' hosts, look-alike suffixes), RegionInvalid.
    """
    region = partition.check_region(region)
    home = f"https://{region}.{partition.console_host}"
    if not destination:
        return f"{home}/console/home"
    if _SERVICE.fullmatch(destination):
        return f"{home}/{destination}/home"
    if len(destination) > MAX_DESTINATION or not _URL.fullmatch(destination):
        raise DestinationNotAllowed(
            "destination_not_allowed", detail=f"characters or length: {ascii(destination)[:200]}"
        )
    try:
        parts = urlsplit(destination)
        port = parts.port
    except ValueError as error:
        raise DestinationNotAllowed("destination_not_allowed", detail=f"{ascii(destination)[:200]}: {error}") from error
    host = parts.hostname or ""
    # netloc == host refuses user info, ports (":443" and a bare ":" too) and upper-case spellings in one comparison.
    if parts.scheme != "https" or port is not None or parts.netloc != host or not _on_console(host, partition):
        raise DestinationNotAllowed("destination_not_allowed", detail=ascii(destination)[:200])
    if not destination.startswith("https://"):  # "https:host" and "HTTPS://": urlsplit normalises, browsers differ
        raise DestinationNotAllowed("destination_not_allowed", detail=ascii(destination)[:200])
    return destination


def _ask(url: str, fields: dict[str, str]) -> net.Answer:
    sent = clock.watch.monotonic()
    try:
        # POST: in a query string the session would be in every access log on the way.
        answer = net.request("POST", url, data=fields, max_bytes=_ANSWER_BYTES)
    except ProviderUnavailable as error:
        raise SigninUnreachable(error.reason, detail=error.detail) from None
    clock.watch.observe(url, answer.headers.get("date"), sent=sent, age=answer.headers.get("age"))
    return answer


def _token(answer: net.Answer) -> str:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    value = document.get("SigninToken") if isinstance(document, dict) else None
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,16000}", value):
        raise SigninRefused("signin_answer_invalid")  # the body stays out: it may hold the token
    return value


def signin_token(
    credentials: HasSession,
    *,
    partition: Partition,
    region: str = "",
    session_duration: int | None = None,
    endpoint_url: str = "",
) -> SigninToken:
    """Buy a sign-in token for the console with temporary credentials.

    `session_duration`: console session in seconds, 900 to 43,200, or None for AWS's default (what the credentials have
    left). Whether AWS takes it with web-identity credentials is unproven (AWS.md): on a 400 it is left out once, and the
    answer says so. `endpoint_url` replaces the partition's federation endpoint (ROLEGATE_SIGNIN_ENDPOINT_URL).
    Raises ConsoleDurationInvalid, RegionInvalid, SigninRefused (signin_rejected, signin_answer_invalid), SigninUnreachable.
    """
    if session_duration is not None and not MIN_SESSION_SECONDS <= session_duration <= MAX_SESSION_SECONDS:
        raise ConsoleDurationInvalid("console_duration_out_of_range", detail=str(session_duration))
    url = endpoint_url or partition.federation_url(region)
    session = {
        "sessionId": credentials.access_key_id,
        "sessionKey": credentials.secret_access_key,
        "sessionToken": credentials.session_token,
    }
    fields = {"Action": "getSigninToken", "Session": json.dumps(session)}
    dropped = False
    if session_duration is None:
        answer = _ask(url, fields)
    else:
        answer = _ask(url, {**fields, "SessionDuration": str(session_duration)})
        if answer.status == 400:
            answer, dropped = _ask(url, fields), True
    if answer.status >= 500:
        raise SigninUnreachable("signin_failing", aws_code=str(answer.status), retry_after=30)
    if answer.status != 200:
        raise SigninRefused("signin_rejected", aws_code=str(answer.status))
    return SigninToken(_token(answer), duration_dropped=dropped)


def console_url(
    token: SigninToken | str,
    *,
    issuer: str,
    destination: str | None,
    partition: Partition,
    region: str = "",
    endpoint_url: str = "",
) -> str:
    """The URL that signs the browser in and leads it to `destination`. A secret: redirect to it, never log or show it.

    `issuer`: where AWS sends people when the session has ended: the gateway's own URL. `destination` is checked here again,
    whoever checked it before. Raises DestinationNotAllowed, RegionInvalid.
    """
    query = {
        "Action": "login",
        "Issuer": issuer,
        "Destination": validate_destination(destination, partition, region),
        "SigninToken": token if isinstance(token, str) else token.value,
    }
    return f"{endpoint_url or partition.federation_url(region)}?{urlencode(query, quote_via=quote, safe='')}"
