"""AWS's error codes with their HTTP statuses, and the three shapes in which AWS services write them."""

from __future__ import annotations

import json
import secrets
from xml.sax.saxutils import escape

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
STATUS = {
    "AccessDenied": 403,
    "IDPRejectedClaim": 403,
    "RegionDisabledException": 403,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "ExpiredToken": 403,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}


class AwsError(Exception):
    """An answer of AWS that is an error. `reason`: which check said no, for the trail and the tests; AWS itself never tells it."""

    def __init__(self, code: str, message: str, reason: str) -> None:
        self.code, self.message, self.reason = code, message, reason
        super().__init__(f"{code}: {message} ({reason})")

    @property
    def status(self) -> int:
        return STATUS.get(self.code, 400)


def invalid_token(message: str, reason: str) -> AwsError:
    return AwsError("InvalidIdentityToken", message, reason)


def expired(message: str, reason: str) -> AwsError:
    return AwsError("ExpiredTokenException", message, reason)


def not_authorized(action: str, reason: str) -> AwsError:
    """The one sentence AWS has for a missing role, a trust policy that does not match and a trust policy without TagSession."""
    return AwsError("AccessDenied", f"Not authorized to perform sts:{action}", reason)


def validation(member: str, value: str, constraint: str) -> AwsError:
    message = (
        f"1 validation error detected: Value '{value[:200]}' at '{member}' failed to satisfy constraint: {constraint}"
    )
    return AwsError("ValidationError", message, f"validation_{member}")


def query_xml(error: AwsError) -> bytes:
    """The query protocol's ErrorResponse (STS, IAM)."""
    side = "Receiver" if error.status >= 500 else "Sender"
    return (
        f'<ErrorResponse xmlns="{STS_NAMESPACE}"><Error><Type>{side}</Type><Code>{error.code}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{secrets.token_hex(16)}</RequestId></ErrorResponse>"
    ).encode()


def s3_xml(error: AwsError) -> bytes:
    """S3's own shape."""
    code = {"InvalidClientTokenId": "InvalidAccessKeyId"}.get(error.code, error.code)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{escape(error.message)}</Message>'
        f"<RequestId>{secrets.token_hex(16)}</RequestId></Error>"
    ).encode()


def json_body(error: AwsError) -> bytes:
    """The JSON protocols' shape."""
    code = {"InvalidClientTokenId": "UnrecognizedClientException", "ExpiredToken": "ExpiredTokenException"}.get(
        error.code, error.code
    )
    return json.dumps({"__type": code, "message": error.message}).encode()
