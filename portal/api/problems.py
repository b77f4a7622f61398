"""RFC 9457 problem documents: every error of the API has this one form."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from federation.errors import AwsError, BadRequest, NotFound, NotSignedIn, RolegateError

CONTENT_TYPE = "application/problem+json"


class TooLarge(BadRequest):
    """A request body above the API's limit."""

    code = "too_large"
    status = 413
    sentence = "The request body is larger than 64 KB."


class InsufficientScope(RolegateError):
    """The token was not given the scope that this operation needs (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    status = 403
    sentence = "This pairing was not given the right to do this. Pair the command line again and ask for it."


class NoSuchOperation(NotFound):
    """No operation at this path."""

    code = "not_found"
    sentence = "There is no such operation. /api/v1/openapi.json lists them."


def problem(request: HttpRequest, error: RolegateError, errors: list[dict[str, str]] | None = None) -> HttpResponse:
    """`error` as a problem document; `errors`: what is wrong with which part of the input, without the input itself."""
    request_id = getattr(request, "request_id", "")
    body: dict[str, Any] = {
        "type": f"{settings.ROLEGATE_URL}/errors#{error.code}",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "detail": error.public_sentence,
        "code": error.code,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = errors
    if isinstance(error, AwsError) and error.aws_code:
        body["aws_code"] = error.aws_code
    response = HttpResponse(json.dumps(body), status=error.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        # RFC 6750 section 3: no error code when no token was sent at all.
        sent = isinstance(error, NotSignedIn) and error.reason != "token_missing"
        response["WWW-Authenticate"] = 'Bearer realm="rolegate"' + (', error="invalid_token"' if sent else "")
    elif isinstance(error, InsufficientScope):
        response["WWW-Authenticate"] = 'Bearer realm="rolegate", error="insufficient_scope"'
    return response
