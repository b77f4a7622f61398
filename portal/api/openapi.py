"""The OpenAPI document: what django-ninja writes, with our problem documents under their own media type."""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI

from portal.api.problems import CONTENT_TYPE

_EXAMPLES: dict[str, tuple[str, str]] = {
    "400": ("bad_request", "The request is not in the form that is expected here."),
    "401": (
        "invalid_token",
        "The access token is not valid or has expired. Refresh it, or pair the command line again: rolegate login.",
    ),
    "403": ("access_denied", "You do not have this role. Ask the account's owner, and mention the request id."),
    "404": ("not_found", "There is no such thing here."),
    "409": ("request_stale", "This request has changed since you opened it. Look at it again, then decide."),
    "422": ("request_refused", "This cannot be asked for in this way."),
    "413": ("too_large", "The request body is larger than 64 KB."),
    "429": ("rate_limited", "Too many attempts. Wait a moment, then try again."),
    "500": (
        "internal_error",
        "Something went wrong in the gateway. Try again, and give the request id to your administrators.",
    ),
    "502": (
        "aws_error",
        "AWS answered with an error. Try again; if it lasts, give the request id to your administrators.",
    ),
    "503": ("service_unavailable", "The gateway cannot work right now. Try again in a few seconds."),
}


def document(api: NinjaAPI, *, server: str) -> dict[str, Any]:
    """The API's OpenAPI 3.1 document; `server`: the gateway's URL without a trailing slash."""
    schema: dict[str, Any] = dict(api.get_openapi_schema(path_prefix="/api/v1/"))
    schema["servers"] = [{"url": server}]
    for methods in schema["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                # django-ninja copies the schema's list up here, where OpenAPI wants a map of named examples.
                parameter.pop("examples", None)
            operation["responses"] = {
                str(status): _response(str(status), server, body) for status, body in operation["responses"].items()
            }
    return schema


def _response(status: str, server: str, body: dict[str, Any]) -> dict[str, Any]:
    if status not in _EXAMPLES:
        headers = {"Cache-Control": {"schema": {"type": "string", "const": "no-store"}}}
        return {**body, "headers": {**headers, **body.get("headers", {})}}
    code, detail = _EXAMPLES[status]
    example = {
        "type": f"{server}/errors#{code}",
        "title": code.replace("_", " "),
        "status": int(status),
        "detail": detail,
        "code": code,
        "request_id": "4f1c9f0e2b7a4d0d",
    }
    made: dict[str, Any] = {
        "description": body["description"],
        "content": {
            CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {code: {"value": example}}}
        },
    }
    if status == "401":
        made["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in {"429", "503"}:
        made["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return made
