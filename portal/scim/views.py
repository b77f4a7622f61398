"""SCIM requests: who asks, what for, and the answer in SCIM's form, errors too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from federation.directory import scim, scim_about
from federation.errors import MethodNotAllowed, NotFound, NotSignedIn, RolegateError, ServiceUnavailable
from federation.flows import directory_search, push_bulk, service_tokens
from federation.flows import push_directory as push
from federation.flows.directory_people import Channel
from federation.flows.push_directory import Outcome
from federation.models import current
from portal.api.problems import InsufficientScope, TooLarge
from portal.middleware import DATABASE_AWAY

log = structlog.get_logger(__name__)
CONTENT_TYPE = "application/scim+json"
_KINDS: Final[Mapping[str, str]] = {"Users": "User", "Groups": "Group"}
_RESOURCE = re.compile(r"(?P<endpoint>Users|Groups)(?:/(?P<id>[^/]{1,200}))?/?")


class BodyTooLarge(TooLarge):
    """A SCIM request above the limits that the server announces."""

    sentence = f"A SCIM request has at most {scim_about.MAX_PAYLOAD // 1024 // 1024} MB and {scim_about.MAX_OPERATIONS:,} operations."


class NotForDirectories(InsufficientScope):
    """The token is not one of a directory that pushes by SCIM."""

    sentence = (
        "This token belongs to no directory that pushes by SCIM. An administrator makes one: manage.py tokens create."
    )


class NoSuchEndpoint(NotFound):
    """Nothing is at this path."""

    sentence = "There is no such SCIM endpoint here: /scim/v2/ has Users, Groups, Bulk, ServiceProviderConfig, Schemas and ResourceTypes."


class NobodyIsMe(NotFound):
    """`/Me` (RFC 7644 section 3.11) means the person who asks, and directories are none."""

    sentence = "A directory's token belongs to nobody, so there is no Me."


def answer(request: HttpRequest, rest: str) -> HttpResponse:
    """The answer to one request. Never raises: every failure is a SCIM error with our code and the request id in it."""
    try:
        return _answer(request, rest or "")
    except RolegateError as error:
        level = log.error if error.status >= 500 else log.info
        level("scim_refused", code=error.code, reason=error.reason, detail=error.detail[:500], status=error.status)
        return _error(request, error)
    except RecursionError:
        return _error(request, scim.ScimRefused("invalidSyntax", "The body is nested too deep."))
    except DATABASE_AWAY as error:
        said = str(error).partition("\n")[0][:300]  # further lines may quote rows
        log.error("database_unavailable", path=request.path, kind=error.__class__.__name__, detail=said)  # noqa: TRY400
        return _error(request, ServiceUnavailable("database_unavailable", retry_after=5))
    except Exception:
        log.exception("scim_broke", path=request.path)
        return _error(request, RolegateError("unexpected"))


def _answer(request: HttpRequest, rest: str) -> HttpResponse:
    announced = str(request.META.get("CONTENT_LENGTH") or "0")
    if (
        not (announced.isascii() and announced.isdigit())
        or len(announced) > 12
        or int(announced) > scim_about.MAX_PAYLOAD
    ):
        raise BodyTooLarge("body_too_large")  # by its announced length, before a byte of it is read
    channel = _channel(request)
    if not request.path.startswith("/scim/v2"):
        raise NoSuchEndpoint("path_unknown")
    found = _RESOURCE.fullmatch(rest)
    if found is not None and found["id"] == ".search":
        return _search(request, channel, [_KINDS[found["endpoint"]]])
    if found is not None and found["id"] is not None:
        return _one(request, channel, _KINDS[found["endpoint"]], found["id"])
    if found is not None:
        return _many(request, channel, _KINDS[found["endpoint"]])
    match rest.rstrip("/").split("/"):
        case ["Bulk"]:
            return _bulk(request, channel)
        case [".search"]:
            return _search(request, channel, list(_KINDS.values()))
        case ["ServiceProviderConfig"]:
            return _about(request, scim_about.configuration(channel.base_url))
        case ["ResourceTypes", *which]:
            return _listed_about(request, scim_about.resource_types(channel.base_url), which)
        case ["Schemas", *which]:
            return _listed_about(request, scim_about.schemas(channel.base_url), which)
        case ["Me", *_]:
            raise NobodyIsMe("me_is_nobody")
    raise NoSuchEndpoint("path_unknown")


def _channel(request: HttpRequest) -> Channel:
    """Which directory this is, by its token."""
    origin, now = request.origin, timezone.now()  # type: ignore[attr-defined]
    kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    service = service_tokens.authenticate(token.strip() if kind.lower() == "bearer" else "", origin=origin, now=now)
    directory = current.mapping().directory(service.of)
    if service.kind != "scim" or directory is None or directory.scim is None:
        raise NotForDirectories("directory_not_configured", detail=service.of)
    channel = Channel(directory, service.actor, f"{settings.ROLEGATE_URL}/scim/v2", origin, now)
    if service.first_since_long:
        push.heard_of(channel)
    return channel


# --- Resources ------------------------------------------------------------------------------------------------


def _many(request: HttpRequest, channel: Channel, kind: str) -> HttpResponse:
    if request.method == "POST":
        create = push.create_person if kind == "User" else push.create_group
        return _said(create(channel, _body(request)), _selection(request.GET))
    _only(request, "GET", "POST")
    asked = _asked(request.GET)
    return _json(directory_search.search(kind, channel.directory.slug, asked, channel.base_url))


def _one(request: HttpRequest, channel: Channel, kind: str, resource_id: str) -> HttpResponse:
    person = kind == "User"
    selection = _selection(request.GET)
    if_match = request.META.get("HTTP_IF_MATCH", "")
    outcome: Outcome
    match request.method:
        case "GET":
            outcome = push.get(channel, kind, resource_id, selection)
            tags = {tag.strip() for tag in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")}
            if outcome.version in tags or outcome.version.removeprefix("W/") in tags:
                return _with_headers(HttpResponse(status=304), outcome)
            return _said(outcome, selection=None)
        case "PUT":
            outcome = (push.replace_person if person else push.replace_group)(
                channel, resource_id, _body(request), if_match=if_match
            )
        case "PATCH":
            outcome = (push.patch_person if person else push.patch_group)(
                channel, resource_id, _body(request), if_match=if_match
            )
            if outcome.body is None and selection.attributes:  # RFC 7644 section 3.5.2
                return _said(push.get(channel, kind, resource_id, selection), selection=None)
        case "DELETE":
            outcome = (push.delete_person if person else push.delete_group)(channel, resource_id, if_match=if_match)
        case _:
            _only(request, "GET", "PUT", "PATCH", "DELETE")
    return _said(outcome, selection)


def _search(request: HttpRequest, channel: Channel, kinds: list[str]) -> HttpResponse:
    """POST /.search (RFC 7644 section 3.4.3): the query in the body, so that names do not end up in logs of addresses."""
    _only(request, "POST")
    body = {key: value for key, value in _body(request).items() if key.lower() != "schemas"}
    plain = {key: ",".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in body.items()}
    return _json(directory_search.search_all(kinds, channel.directory.slug, _asked(plain), channel.base_url))


def _bulk(request: HttpRequest, channel: Channel) -> HttpResponse:
    _only(request, "POST")
    payload = _body(request)
    operations = next((value for key, value in payload.items() if key.lower() == "operations"), None)
    if isinstance(operations, list) and len(operations) > scim_about.MAX_OPERATIONS:
        raise BodyTooLarge("too_many_operations")
    return _json(push_bulk.run(channel, payload))


# --- About the server -------------------------------------------------------------------------------------------


def _about(request: HttpRequest, resource: Mapping[str, Any]) -> HttpResponse:
    _only(request, "GET")
    return _json(resource)


def _listed_about(request: HttpRequest, resources: Mapping[str, Mapping[str, Any]], which: list[str]) -> HttpResponse:
    _only(request, "GET")
    if not which:
        if request.GET.get("filter"):
            raise NotForFilters("not_to_be_filtered")  # RFC 7644 section 4
        return _json(scim.list_response(list(resources.values()), total=len(resources), start_index=1))
    if len(which) != 1 or which[0] not in resources:
        raise push.NoSuchResource("resource_unknown")
    return _json(resources[which[0]])


class NotForFilters(InsufficientScope):
    """What the server says about itself is not filtered (RFC 7644 section 4: 403)."""

    sentence = "This is not to be filtered: ask without a filter."


# --- Reading and writing ------------------------------------------------------------------------------------------


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed("method_not_allowed", allow=", ".join(methods))


def _body(request: HttpRequest) -> dict[str, Any]:
    # Not request.body: that has the limit of forms. A body of unannounced length is read no further than ours.
    body = request.read(scim_about.MAX_PAYLOAD + 1)
    if len(body) > scim_about.MAX_PAYLOAD:
        raise BodyTooLarge("body_too_large")
    return scim.read_json(body)


def _selection(given: Mapping[str, Any]) -> scim.Selection:
    named = {key.lower(): value for key, value in given.items()}
    return scim.read_selection(str(named.get("attributes", "")), str(named.get("excludedattributes", "")))


def _asked(given: Mapping[str, Any]) -> directory_search.Asked:
    named = {key.lower(): scim.storable(str(value)) for key, value in given.items()}
    return directory_search.Asked(
        filter=named.get("filter", ""),
        sort_by=named.get("sortby", ""),
        sort_order=named.get("sortorder", ""),
        start_index=max(1, _number(named, "startindex", 1)),
        count=max(0, _number(named, "count", scim_about.PAGE)),
        selection=_selection(named),
    )


def _number(named: Mapping[str, str], key: str, default: int) -> int:
    text = named.get(key, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        raise scim.ScimRefused("invalidValue", "startIndex and count are whole numbers.")
    return int(text)


def _said(outcome: Outcome, selection: scim.Selection | None) -> HttpResponse:
    """The answer for one resource; with `selection`, only of what was asked for."""
    if outcome.body is None:
        return _with_headers(HttpResponse(status=outcome.status), outcome)
    body = outcome.body if selection is None else _selected(outcome.body, selection)
    return _with_headers(_json(body, status=outcome.status), outcome)


def _selected(body: dict[str, Any], selection: scim.Selection) -> dict[str, Any]:
    """What is left of a body that has the usual attributes. Sub-attributes count as their attribute here."""
    if not selection.attributes and not selection.excluded:
        return body
    always = {"schemas", "id"}
    return {key: value for key, value in body.items() if key in always or selection.wants(key.lower(), unasked=True)}


def _with_headers(response: HttpResponse, outcome: Outcome) -> HttpResponse:
    if outcome.version:
        response["ETag"] = outcome.version
    if outcome.status == 201:
        response["Location"] = outcome.location
    if outcome.body is not None:
        response["Content-Location"] = outcome.location
    return response


def _json(body: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE)


def _error(request: HttpRequest, error: RolegateError) -> HttpResponse:
    response = _json(scim.error_body(error, getattr(request, "request_id", "")), status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if isinstance(error, NotSignedIn):
        # RFC 6750 section 3: no error code when no token was sent at all.
        sent = error.reason != "token_missing"
        response["WWW-Authenticate"] = 'Bearer realm="rolegate"' + (', error="invalid_token"' if sent else "")
    if allow := error.context.get("allow"):
        response["Allow"] = allow
    return response
