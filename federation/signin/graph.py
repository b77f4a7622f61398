"""Microsoft Graph: a person's groups where Entra ID left them out of its answer (group overage). No database.

Entra puts at most 200 groups into a JWT, 150 into an assertion; beyond that it only says that there are some, and where to look.
That address is never followed: what is asked is the endpoint that the mapping document names, about the object id that the
verified answer names, with the gateway's own client credentials. The answer is complete or an error; an error leaves the groups unknown, as before.

Sources: Microsoft identity platform, "Configure groups overage claim" and "OAuth 2.0 client credentials flow"; Microsoft
Graph v1.0, "List a user's memberships (transitive)", "Paging", "Throttling guidance".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode
from uuid import UUID

from federation import net
from federation.errors import ProviderUnavailable, RolegateError
from federation.mapping.rules import GraphOptions, OidcProvider
from federation.signin.jwks import strict_json

SECONDS: Final = 8.0  # in all: somebody is waiting for their sign-in
MOST_PAGES: Final = 40
PAGE: Final = 999  # the most that Graph gives
_TOO_BUSY: Final = frozenset({429, 503, 504})
_PAUSE: Final = 1.0  # seconds, where Graph does not say how long
_MARGIN: Final = 120.0  # seconds before its end in which an access token is not used any more


class GraphUnavailable(RolegateError):
    """Graph could not be asked, or its answer is not complete; `reason` says why. The person's groups stay unknown."""

    code = "graph_unavailable"
    status = 503
    sentence = "Microsoft Graph did not say which groups you are in. Try again in a moment."


@dataclass(frozen=True, slots=True)
class Application:
    """As whom the gateway asks: the provider's own client, or the application that a SAML provider's entry names. `token_endpoint`: from the verified provider's discovery."""

    client: OidcProvider
    client_secret: str = field(repr=False)
    token_endpoint: str


Request = Callable[..., net.Answer]


class Graph:
    """Asks for groups; keeps its access tokens in memory until shortly before they end. Safe to share between threads."""

    def __init__(
        self,
        request: Request = net.request,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._request, self._clock, self._sleep = request, clock, sleep
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str, str], tuple[str, float]] = {}

    def groups_of(self, application: Application, object_id: str) -> frozenset[str]:
        """The security groups that a person is in, also through others, by the name that `graph.group_name` chooses.

        `object_id`: the token's `oid`, or the assertion's. Raises GraphUnavailable: object_id_malformed, token_refused, forbidden, person_unknown,
        throttled, failed, unreachable, too_slow, answer_malformed, next_page_elsewhere, too_many.
        """
        options = application.client.graph
        if options is None:
            raise GraphUnavailable("not_configured")
        try:
            person = str(UUID(object_id))
        except ValueError as error:
            # It becomes part of a path.
            raise GraphUnavailable("object_id_malformed", detail=repr(object_id)[:100]) from error
        return _Asking(self, application, options, self._clock() + SECONDS).groups(person)

    def token(self, application: Application, options: GraphOptions, deadline: float, *, anew: bool) -> str:
        """An access token for Graph (RFC 6749 section 4.4). `anew`: not the one that is kept."""
        key = (application.token_endpoint, application.client.client_id, options.endpoint)
        with self._lock:
            held = self._tokens.get(key)
        if held is not None and not anew and held[1] > self._clock():
            return held[0]
        data = {"grant_type": "client_credentials", "scope": f"{options.endpoint}/.default"}
        auth: tuple[str, str] | None = None
        if application.client.token_endpoint_auth_method == "client_secret_basic":
            auth = (quote_plus(application.client.client_id), quote_plus(application.client_secret))
        else:
            data |= {"client_id": application.client.client_id, "client_secret": application.client_secret}
        answer = self.ask("POST", application.token_endpoint, deadline, data=data, auth=auth)
        said = _json(answer) if answer.status == 200 else {}
        token, life = said.get("access_token"), said.get("expires_in")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise GraphUnavailable("token_refused", detail=f"HTTP {answer.status}")
        lasts = float(life) if isinstance(life, int | float) and not isinstance(life, bool) else 0.0
        with self._lock:
            self._tokens[key] = (token, self._clock() + lasts - _MARGIN)
        return token

    def ask(self, method: str, url: str, deadline: float, **options: Any) -> net.Answer:
        """One call, again where the other side is too busy, as long as there is time. Raises GraphUnavailable."""
        while True:
            left = deadline - self._clock()
            if left <= 0:
                raise GraphUnavailable("too_slow")
            try:
                answer = self._request(method, url, timeout=min(left, net.TIMEOUT_SECONDS), **options)
            except ProviderUnavailable as error:
                raise GraphUnavailable(
                    "too_slow" if error.reason == "too_slow" else "unreachable", detail=error.detail
                ) from error
            if answer.status not in _TOO_BUSY:
                return answer
            pause = _retry_after(answer.headers)
            if self._clock() + pause >= deadline:
                raise GraphUnavailable("throttled", detail=f"HTTP {answer.status}, again after {pause:.0f} s")
            self._sleep(pause)


@dataclass(slots=True)
class _Asking:
    """One person's groups, page by page."""

    graph: Graph
    application: Application
    options: GraphOptions
    deadline: float

    def groups(self, person: str) -> frozenset[str]:
        name = self.options.group_name
        wanted = ",".join(dict.fromkeys(("id", "securityEnabled", name)))
        query = urlencode({"$select": wanted, "$top": PAGE}, safe="$,")
        base = f"{self.options.endpoint}/v1.0/"
        url = f"{base}users/{person}/transitiveMemberOf/microsoft.graph.group?{query}"
        found = set[str]()
        for _ in range(MOST_PAGES):
            page = self._page(url)
            found |= _names(page, name)
            following = page.get("@odata.nextLink")
            if following is None:
                return frozenset(found)
            if not isinstance(following, str) or not following.startswith(base):
                # An address out of an answer: the bearer token goes to no other host.
                raise GraphUnavailable("next_page_elsewhere", detail=repr(following)[:200])
            url = following
        raise GraphUnavailable("too_many", detail=f"more than {MOST_PAGES} pages")

    def _page(self, url: str) -> Mapping[str, Any]:
        answer = self._get(url, anew=False)
        if answer.status == 401:
            answer = self._get(url, anew=True)  # the kept token was withdrawn
        if answer.status != 200:
            reason = {401: "token_refused", 403: "forbidden", 404: "person_unknown"}.get(answer.status, "failed")
            raise GraphUnavailable(reason, detail=f"HTTP {answer.status}")
        return _json(answer)

    def _get(self, url: str, *, anew: bool) -> net.Answer:
        token = self.graph.token(self.application, self.options, self.deadline, anew=anew)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return self.graph.ask("GET", url, self.deadline, headers=headers)


def _names(page: Mapping[str, Any], name: str) -> set[str]:
    """The names of a page's security groups. What cannot be read refuses all of it: it may be the group that a deny is about."""
    listed = page.get("value")
    if not isinstance(listed, list):
        raise GraphUnavailable("answer_malformed", detail="value is no list")
    found = set[str]()
    for group in listed:
        if not isinstance(group, dict) or not isinstance(group.get("securityEnabled"), bool):
            raise GraphUnavailable("answer_malformed", detail="an entry is no group")
        if not group["securityEnabled"]:
            continue  # a Microsoft 365 group, which anybody may make and join: no token lists it either
        called = group.get(name)
        if called is None and name != "id":
            continue  # a group of the cloud has no name of the directory on the premises
        if not isinstance(called, str) or not 0 < len(called) <= 512 or not called.isprintable():
            raise GraphUnavailable("answer_malformed", detail=f"{name} is no text")
        found.add(called)
    return found


def _json(answer: net.Answer) -> dict[str, Any]:
    try:
        return strict_json(answer.body)
    except ValueError as error:
        raise GraphUnavailable("answer_malformed", detail=str(error)[:200]) from error


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else _PAUSE
