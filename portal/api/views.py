"""The operations of /api/v1/. Each parses, calls one flow or query, and writes the answer."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseNotModified
from django.utils.http import parse_etags
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI, Status
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser
from ninja.security import HttpBearer

from federation import queries
from federation.audit.events import Kind
from federation.aws.credentials import process_document
from federation.errors import BadRequest, MethodNotAllowed, NotSignedIn, RateLimited, RolegateError, ServiceUnavailable
from federation.flows import decide_requests, pair_cli, rate_limits, request_access
from federation.flows.issue_credentials import issue_credentials, refuse_role
from federation.flows.open_console import open_console
from federation.queries import requests as cases
from portal.api import schemas
from portal.api.openapi import document
from portal.api.problems import InsufficientScope, NoSuchOperation, TooLarge, problem
from portal.middleware import DATABASE_AWAY, not_storable

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024


def _now() -> datetime:
    return datetime.now(UTC)


class BearerToken(HttpBearer):
    """An access token of a paired command line, in the Authorization header and nowhere else (RFC 6750 section 2.1)."""

    def __call__(self, request: HttpRequest) -> pair_cli.Caller:
        kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind.lower() != "bearer":
            raise NotSignedIn("token_missing")
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> pair_cli.Caller:
        return pair_cli.authenticate(token, now=_now(), origin=request.origin)  # type: ignore[attr-defined]


class StrictParser(Parser):
    """JSON as RFC 8259 means it: no name twice (two readers could then see two requests), no NaN."""

    def parse_body(self, request: HttpRequest) -> Any:
        return json.loads(request.body, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(name)


api = NinjaAPI(
    title="Rolegate",
    version="1",
    description="Short-lived AWS access with your company sign-in. Tokens come from the OAuth endpoints: see /.well-known/oauth-authorization-server.",
    urls_namespace="api-v1",
    openapi_url=None,
    docs_url=None,
    auth=BearerToken(),
    parser=StrictParser(),
)

_PROBLEMS: dict[int, Any] = dict.fromkeys((400, 401, 403, 413, 429, 500, 502, 503), schemas.Problem)


def _person(request: HttpRequest, scope: str) -> pair_cli.Caller:
    """The caller, if the token may do this."""
    caller: pair_cli.Caller = request.auth  # type: ignore[attr-defined]
    if scope not in caller.scope.split():
        raise InsufficientScope("scope_missing")
    return caller


def _who_reads(request: HttpRequest) -> UUID:
    """The person whose roles are asked for. Raises RateLimited for a program that asks in a loop."""
    person_id = _person(request, "roles").person_id
    rate_limits.hit("explain", person=str(person_id), address="", now=_now())
    return person_id


@api.get("/me", operation_id="getMe", summary="Who the token belongs to", response={200: schemas.Me, **_PROBLEMS})
def me(request: HttpRequest) -> Any:
    """The person's name, groups and claims, as their identity provider last said."""
    caller = _person(request, "roles")
    names = ("id", "provider", "subject", "name", "email", "groups", "mfa", "claims_at")
    row = get_user_model().objects.values(*names).get(pk=caller.person_id)
    return {**row, "id": str(row["id"]), "scope": caller.scope, "pairing_ends": caller.ends}


@api.get(
    "/roles",
    operation_id="listRoles",
    summary="The roles that the person can use now",
    response={200: schemas.Roles, **_PROBLEMS},
    openapi_extra={
        "parameters": [{"in": "header", "name": "If-None-Match", "required": False, "schema": {"type": "string"}}],
        "responses": {304: {"description": "Not Modified"}},
    },
)
def roles(request: HttpRequest, response: HttpResponse) -> Any:
    """Grouped by account. Answers 304 to an If-None-Match with the current ETag."""
    mine = queries.my_roles(_who_reads(request), now=_now())
    if mine.problem is not None:
        raise mine.problem
    etag = f'"{mine.etag.strip(chr(34))}"'
    asked = {tag.removeprefix("W/") for tag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", ""))}
    if etag in asked or "*" in asked:
        unchanged = HttpResponseNotModified()
        unchanged["ETag"] = etag
        return unchanged
    response["ETag"] = etag
    accounts = [
        {
            "account_id": account.account_id,
            "name": account.name,
            "partition": account.partition,
            "environment": account.environment,
            "region": account.region,
            "tags": dict(account.tags),
            "roles": [
                {
                    "arn": role.arn,
                    "name": role.name,
                    "max_duration": role.max_duration,
                    "console_duration": role.console_duration,
                    "needs_approval": bool(role.needs_approval),
                    "rules": list(role.rules),
                }
                for role in account.roles
            ],
        }
        for account in mine.accounts
    ]
    return {"accounts": accounts, "total": mine.total}


@api.get(
    "/explain",
    operation_id="explainRole",
    summary="Why the person has a role, or has not",
    response={200: schemas.Explanation, **_PROBLEMS},
)
def explain(request: HttpRequest, role_arn: schemas.RoleArn) -> Any:
    """Every rule that concerns the role, each condition with its answer in words."""
    return queries.explain(_who_reads(request), role_arn, now=_now()).as_dict()


@api.post(
    "/credentials",
    operation_id="issueCredentials",
    summary="Temporary AWS credentials for a role",
    response={200: schemas.CredentialProcess, **_PROBLEMS},
)
def credentials(request: HttpRequest, body: schemas.CredentialsRequest) -> Any:
    """Answers with exactly the document that an AWS SDK reads from credential_process."""
    caller = _person(request, "credentials")
    issued = issue_credentials(
        caller.person_id,
        body.role_arn,
        duration=body.duration,
        policy=body.policy,
        paired_by=caller.grant,
        channel="api",
        origin=request.origin,  # type: ignore[attr-defined]
        now=_now(),
    )
    # Written as it is: the document has no type to be checked against again, and this is the hot path.
    return HttpResponse(
        json.dumps(process_document(issued.credentials, issued.account_id)), content_type="application/json"
    )


@api.post(
    "/console",
    operation_id="openConsole",
    summary="A sign-in URL of the AWS console",
    response={200: schemas.ConsoleUrl, **_PROBLEMS},
)
def console(request: HttpRequest, body: schemas.ConsoleRequest) -> Any:
    """The URL is a secret until it expires: open it, do not store it."""
    caller = _person(request, "console")
    opening = open_console(
        caller.person_id,
        body.role_arn,
        destination=body.destination,
        duration=body.duration,
        policy=body.policy,
        paired_by=caller.grant,
        channel="api",
        origin=request.origin,  # type: ignore[attr-defined]
        now=_now(),
    )
    return {"url": opening.url, "expires_at": opening.expires_at}


@api.get(
    "/requests",
    operation_id="listRequests",
    summary="The person's requests for access, and those that wait for them",
    response={200: schemas.AccessRequests, **_PROBLEMS},
)
def list_requests(request: HttpRequest) -> Any:
    """The newest of one's own, and every open one that one may decide on."""
    person_id, now = _person(request, "requests").person_id, _now()
    own, _ = cases.mine(person_id, now=now)
    return {
        "mine": [_request(case) for case in own],
        "waiting": [_request(case) for case in cases.waiting(person_id, now=now)],
    }


@api.post(
    "/requests",
    operation_id="askForAccess",
    summary="Ask for roles that need an approval",
    response={201: schemas.AccessRequest, 422: schemas.Problem, **_PROBLEMS},
)
def ask_for_access(request: HttpRequest, body: schemas.AccessRequestBody) -> Any:
    """Several roles, of several accounts, in one request."""
    person_id, now = _person(request, "requests").person_id, _now()
    made = request_access.ask(
        person_id,
        body.role_arns,
        reason=body.reason,
        duration=body.duration,
        channel="api",
        origin=request.origin,  # type: ignore[attr-defined]
        now=now,
    )
    return Status(201, _request(cases.one(person_id, made.pk, now=now)))


@api.get(
    "/requests/{request_id}",
    operation_id="getRequest",
    summary="One request",
    response={200: schemas.AccessRequest, 404: schemas.Problem, **_PROBLEMS},
)
def get_request(request: HttpRequest, request_id: UUID) -> Any:
    """For whoever asked, and whoever may decide or did."""
    return _request(cases.one(_person(request, "requests").person_id, request_id, now=_now()))


@api.post(
    "/requests/{request_id}/withdraw",
    operation_id="withdrawRequest",
    summary="Withdraw what nobody has decided on",
    response={200: schemas.AccessRequest, 404: schemas.Problem, 409: schemas.Problem, **_PROBLEMS},
)
def withdraw_request(request: HttpRequest, request_id: UUID) -> Any:
    """One's own requests alone."""
    person_id, now = _person(request, "requests").person_id, _now()
    request_access.withdraw(person_id, request_id, origin=request.origin, now=now)  # type: ignore[attr-defined]
    return _request(cases.one(person_id, request_id, now=now))


@api.post(
    "/requests/{request_id}/decisions",
    operation_id="decideRequest",
    summary="Say yes or no to roles of a request",
    response={200: schemas.AccessRequest, 404: schemas.Problem, 409: schemas.Problem, **_PROBLEMS},
)
def decide_request(request: HttpRequest, request_id: UUID, body: schemas.DecisionBody) -> Any:
    """As on its page: never on one's own, and only on what was seen."""
    caller, now = _person(request, "requests"), _now()
    decide_requests.decide(
        caller.person_id,
        request_id,
        [decide_requests.Choice(one.id, one.approve, one.seen) for one in body.decisions],
        comment=body.comment,
        paired_by=caller.grant,
        channel="api",
        origin=request.origin,  # type: ignore[attr-defined]
        now=now,
    )
    return _request(cases.one(caller.person_id, request_id, now=now))


def _request(case: cases.Case) -> dict[str, Any]:
    row = case.request
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "asker": case.asker,
        "reason": row.reason,
        "duration": row.duration,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "standing": case.standing,
        "url": f"{settings.ROLEGATE_URL}/requests/{row.pk}/",
        "roles": [
            {
                "id": item.id,
                "role_arn": item.role_arn,
                "rule": item.rule,
                "standing": item.standing,
                "ends_at": item.ends_at,
                "decided_by": item.decided_by,
                "decided_at": item.decided_at,
                "comment": item.comment,
                "decidable": item.decidable,
                "seen": item.terms.seen if item.terms and item.decidable else "",
            }
            for item in case.items
        ],
    }


# --- Errors -----------------------------------------------------------------------------------------


_USES = {"/api/v1/credentials": Kind.CREDENTIALS, "/api/v1/console": Kind.CONSOLE}


def _use_refused(request: HttpRequest, error: RolegateError) -> RolegateError:
    """What to answer to a use of a role that came no further than this module: counted and recorded as the flows do it."""
    kind, caller = _USES.get(request.path), getattr(request, "auth", None)
    if kind is not None and isinstance(caller, pair_cli.Caller):
        origin = request.origin  # type: ignore[attr-defined]
        try:
            refuse_role(kind, caller.person_id, "", error, channel="api", origin=origin, now=_now())
        except RateLimited as limited:
            return limited
    return error


@api.exception_handler(RolegateError)
def _refused(request: HttpRequest, error: RolegateError) -> HttpResponse:
    if isinstance(error, InsufficientScope):
        error = _use_refused(request, error)
    if error.status >= 500:
        log.error("api request failed", extra={"code": error.code, "reason": error.reason, "detail": error.detail})
    return problem(request, error)


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Says where and what, never repeats the input: a token pasted into the wrong field must not come back in an error."""
    found = [
        {"where": "/".join(_known(part) for part in item["loc"][2:] or item["loc"]), "what": str(item["msg"])[:300]}
        for item in error.errors
    ]
    answer = _use_refused(request, BadRequest("body_invalid"))
    return problem(request, answer, found[:20] if isinstance(answer, BadRequest) else None)


def _known(part: object) -> str:
    """A part of a fault's path. Keys that are not known are the caller's own words: only what looks like a key is said."""
    return str(part) if re.fullmatch(r"[A-Za-z_]{1,40}|[0-9]{1,4}", str(part)) else "(unknown)"


@api.exception_handler(HttpError)
def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """What django-ninja itself raises: a body that is not JSON."""
    answer = BadRequest("body_not_json", sentence="The request body is not valid JSON.")
    return problem(request, _use_refused(request, answer))


@api.exception_handler(Exception)
def _failed(request: HttpRequest, error: Exception) -> HttpResponse:
    if isinstance(error, DATABASE_AWAY):
        log.error("database unavailable", exc_info=error)
        return problem(request, ServiceUnavailable("database_unavailable", retry_after=5))
    if (refused := not_storable(request, error)) is not None:
        return problem(request, _use_refused(request, refused))
    log.error("unexpected error in the api", exc_info=error)
    return problem(request, RolegateError("unexpected"))


# --- Around every operation ---------------------------------------------------------------------------


def guarded(view: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """What django-ninja leaves to others: the size of the body, 405 as a problem document, nothing kept by any cache."""

    @csrf_exempt  # no cookie is read, so a foreign site has nothing to ride on
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Refused by its announced length, before a byte of it is read.
        announced = str(request.META.get("CONTENT_LENGTH") or "0")
        if not (announced.isascii() and announced.isdigit()) or len(announced) > 12 or int(announced) > LARGEST_BODY:
            return problem(request, TooLarge("body_too_large"))
        response: HttpResponse = view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response["Allow"]
            response = problem(request, MethodNotAllowed("method_not_allowed"))
            response["Allow"] = allowed
        response["Cache-Control"] = "no-store"
        return response

    return answer


@csrf_exempt
def no_such_operation(request: HttpRequest, rest: str = "") -> HttpResponse:
    """404 as a problem document, for every other path below /api/."""
    return problem(request, NoSuchOperation("path_unknown"))


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document. Public: it holds nothing about anybody."""
    content, etag = _openapi(settings.ROLEGATE_URL)
    headers = {"ETag": etag, "Cache-Control": "public, max-age=300"}
    if etag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", "")):
        return HttpResponseNotModified(headers=headers)
    return HttpResponse(content, content_type="application/json", headers=headers)


@cache
def _openapi(server: str) -> tuple[bytes, str]:
    content = json.dumps(document(api, server=server)).encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
