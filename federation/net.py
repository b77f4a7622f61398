"""The one door to the network for identity provider documents: metadata, discovery, JWKS, tokens, userinfo.

Every outbound call is bounded in time and bytes, follows no redirect, keeps no cookie, uses no proxy credentials out of a URL,
and refuses plain http, but to loopback where that is allowed (development, the demo and the tests). boto3 has its own door, `aws`.

A socket's timeout bounds each wait, not the call: a server that sends one byte a second would hold a worker for as long
as it likes. So a watch hangs up on the connection when the call's time is over. And a host that does not answer is not asked by
everybody at once (`bulkhead`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from federation.bulkhead import Bulkhead
from federation.errors import ProviderUnavailable

MAX_BYTES = 2_000_000
TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 1.0
"""After so long a call has waited for longer than a provider usually takes."""
AGAIN_SECONDS = 5

hosts = Bulkhead(PATIENCE_SECONDS)

_calls = threading.local()
_plain_loopback = False


class _Watch:
    """Hangs up on the connection of this thread's call after `seconds`; `over` says that it did."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self.socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._hang_up)
        self._timer.daemon = True

    def __enter__(self) -> _Watch:
        _calls.watch = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _calls.watch = None

    def _hang_up(self) -> None:
        self.over = True
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


class _WatchedConnection(HTTPConnection):
    """Makes itself known to the call's watch before it waits for an answer."""

    def getresponse(self) -> Any:
        _calls.watch.socket = (
            self.sock
        )  # not the connection: that lets go of it when the server says "Connection: close"
        return super().getresponse()


class _WatchedTlsConnection(HTTPSConnection):
    """The same over TLS."""

    def getresponse(self) -> Any:
        _calls.watch.socket = self.sock
        return super().getresponse()


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls: Any = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _WatchedTlsConnection


_POOLS = {"http": _WatchedPool, "https": _WatchedTlsPool}


class _Adapter(HTTPAdapter):
    """requests' adapter over watched connections, with and without a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


_session = requests.Session()
_session.trust_env = True
_session.headers["User-Agent"] = "rolegate"
# Every call is for somebody else: the cookies of one person's sign-in must not go out with the next one's, nor fill a jar.
_session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
_session.mount("http://", _Adapter())
_session.mount("https://", _Adapter())


def _as_given(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """No authentication beyond our own headers: without this, requests would put a .netrc entry in their place."""
    return prepared


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole. `headers` keys are lower case. The body may hold tokens: no repr shows it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def is_loopback(host: str) -> bool:
    """True for localhost and literal loopback addresses; no name is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allow_plain_loopback(*, allowed: bool) -> None:
    """Whether plain http on loopback may be called; not until this says so.

    SSRF: on a gateway's own host, what listens on loopback trusts whoever reaches it, and a provider's entry names the address.
    """
    global _plain_loopback  # noqa: PLW0603  one word for the process, said when it starts
    _plain_loopback = allowed


def check_url(url: str) -> str:
    """Return `url` if it may be called: https, or http on loopback where that is allowed; no user info, no fragment.

    Raises ProviderUnavailable(reason="url_not_allowed").
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError as error:
        raise ProviderUnavailable("url_not_allowed", detail=f"{url!r}: {error}") from error
    secure = parts.scheme == "https" or (parts.scheme == "http" and _plain_loopback and is_loopback(host))
    if not secure or not host or not port_ok or parts.username or parts.password or parts.fragment:
        raise ProviderUnavailable("url_not_allowed", detail=repr(url))
    return url


def request(
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    max_bytes: int = MAX_BYTES,
) -> Answer:
    """One bounded call. Any HTTP status is an Answer; only a failure to get one raises.

    Raises ProviderUnavailable with reason url_not_allowed, unreachable, too_slow, answer_too_large or redirect_refused.
    """
    check_url(url)
    host = urlsplit(url).netloc
    began = hosts.enter(host)
    if began is None:
        # Several calls wait for this host already, or it has just failed them: nobody else waits with them.
        raise ProviderUnavailable("too_slow", detail=f"{url}: not asked, others wait", retry_after=AGAIN_SECONDS)
    answered = False
    try:
        answer = _request(method, url, data=data, headers=headers, auth=auth, timeout=timeout, max_bytes=max_bytes)
        answered = True
        return answer
    except ProviderUnavailable as error:
        answered = error.reason not in _NO_ANSWER
        raise
    finally:
        hosts.leave(host, began, answered=answered)


_NO_ANSWER = frozenset({"unreachable", "too_slow"})


def _request(
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    auth: tuple[str, str] | None,
    timeout: float,
    max_bytes: int,
) -> Answer:
    with _Watch(timeout) as watch:
        try:
            with _session.request(
                method,
                url,
                data=data,
                headers=headers,
                auth=auth or _as_given,
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as response:
                if 300 <= response.status_code < 400 and response.status_code != 304:
                    # SSRF: a redirect could lead to an address that check_url never saw.
                    raise ProviderUnavailable("redirect_refused", detail=url)
                body = bytearray()
                for block in response.iter_content(65536):
                    body += block
                    if len(body) > max_bytes:
                        raise ProviderUnavailable("answer_too_large", detail=url)
                answer = Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
        except requests.RequestException as error:
            late = watch.over or isinstance(error, requests.Timeout)
            raise ProviderUnavailable(
                "too_slow" if late else "unreachable", detail=f"{url}: {error.__class__.__name__}"
            ) from error
        if watch.over:
            # Hung up in the middle of an answer that does not say how long it is: what was read is a part.
            raise ProviderUnavailable("too_slow", detail=url)
        return answer
