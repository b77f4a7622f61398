"""Signing in: with the system's browser (authorization code and PKCE on loopback), or with a code typed elsewhere.

Sources: RFC 8252 (native apps), RFC 7636 (PKCE, S256), RFC 8628 (device grant), RFC 9207 (`iss`, against mix-up).
Everything here happens under the gateway's lock, so that fifty processes open one tab.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import re
import secrets
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from rolegate import browser, terminal
from rolegate.errors import NotAGateway, NotSignedIn, Refused, Unreachable, plain
from rolegate.loopback import LoopbackServer, is_of_this_person
from rolegate.session import CLIENT_ID, oauth_error, oauth_sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rolegate.web import Web

BROWSER_SECONDS = 300
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_HINT_SECONDS = 20
# Where the answer may come back to (RFC 8252 section 7.3): the second where there is no IPv4.
ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?")
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Rolegate</title>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark">
<h1 style="font-size:1.4rem">%s</h1><p>%s</p></body></html>"""


def discover(web: Web) -> dict[str, Any]:
    """The gateway's OAuth metadata (RFC 8414), checked. Raises NotAGateway.

    A gateway that names another issuer, or endpoints of another host, would send the person's tokens there.
    """
    url = web.gateway.url
    try:
        metadata = web.get("/.well-known/oauth-authorization-server").document()
    except NotAGateway as error:
        raise NotAGateway(f"{url} is no Rolegate gateway. Check the address. ({error.sentence})") from None
    issuer = metadata.get("issuer")
    if issuer != url:
        raise NotAGateway(
            f"The gateway at {url} calls itself {plain(issuer)}. If that is the right one, run: rolegate login {plain(issuer)}"
        )
    for name in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint"):
        endpoint = metadata.get(name)
        # Nothing but a path behind it: on WSL the address goes through PowerShell, where a quote would begin a command.
        if endpoint is not None and not (
            isinstance(endpoint, str) and endpoint.startswith(url) and _PATH.fullmatch(endpoint[len(url) :])
        ):
            raise NotAGateway(
                f"The gateway at {url} sends its sign-in elsewhere, to {plain(endpoint)}. That is not trusted; tell your administrators."
            )
    if "authorization_endpoint" not in metadata or "token_endpoint" not in metadata:
        raise NotAGateway(f"{url} offers no sign-in for command lines. Check the address.")
    return metadata


def sign_in(web: Web, way: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tokens, and who they belong to. `way`: "browser" or "device". Raises NotSignedIn, Refused, Unreachable, NotAGateway."""
    metadata = discover(web)
    if web.clock_warning:
        terminal.say(web.clock_warning, style="yellow")
    tokens = _by_device(web, metadata) if way == "device" else _by_browser(web, metadata)
    access = tokens.get("access_token")
    if not isinstance(access, str):
        raise NotAGateway(
            "The gateway's answer holds no tokens. Install the helper that belongs to it, from its page /cli/."
        )
    return tokens, web.get("/api/v1/me", token=access).document()


# --- With the browser ---------------------------------------------------------------------------------


class _Loopback(LoopbackServer):
    """Waits on a port of the system's choice for the one redirect with our state, and redeems its code before the page says so.

    `redeem` gives the tokens for a code. `iss_wanted`: the gateway promises to name itself.
    """

    def __init__(
        self,
        family: socket.AddressFamily,
        host: str,
        web: Web,
        redeem: Callable[[str, str], dict[str, Any]],
        *,
        iss_wanted: bool,
    ) -> None:
        self.address_family = family
        super().__init__((host, 0), _Redirect)
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self.redirect_uri = f"http://{shown}:{self.server_address[1]}/callback"
        self.state = secrets.token_urlsafe(24)
        self.tokens: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.answered = threading.Event()
        self._issuers = {web.gateway.url} if iss_wanted else {web.gateway.url, None}
        self._redeem = redeem
        self._lock = threading.Lock()
        self._taken = False

    def take(self, fields: dict[str, str]) -> bool:
        """Whether this is the first answer, which alone counts: a page that is loaded again must not redeem its code again."""
        with self._lock:
            first, self._taken = not self._taken, True
        if first:
            try:
                self.tokens = self._redeem(self._code(fields), self.redirect_uri)
            except Exception as error:  # raised where it was waited for
                self.failure = error
        return first

    def _code(self, fields: dict[str, str]) -> str:
        if fields.get("iss") not in self._issuers:  # RFC 9207 section 2.4
            raise NotAGateway(
                "The answer came from another gateway than the one that was asked. Sign in again; if it happens again, tell your administrators."
            )
        if not fields.get("code"):
            said = (
                "You chose not to pair this command line."
                if fields.get("error") == "access_denied"
                else f"The gateway refused: {plain(fields.get('error_description') or fields.get('error', ''))}."
            )
            raise Refused(f"{said} To try again: rolegate login")
        return fields["code"]


class _Redirect(http.server.BaseHTTPRequestHandler):
    server: _Loopback
    timeout = 10

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1}
        server = self.server
        # Another page of the browser, or another person of this machine, who has read our state in `ps`, trying to sign us
        # in as somebody else: with a code of their own account for our challenge.
        if (
            parts.path != "/callback"
            or not hmac.compare_digest(fields.get("state", "").encode(), server.state.encode())
            or not is_of_this_person(self.client_address, server.server_address)
        ):
            self._page(404, "Not found", "This address is for one answer of the gateway.")
            return
        first = server.take(fields)
        if not first:
            server.answered.wait(BROWSER_SECONDS)
        try:
            if server.tokens:
                self._page(200, "You are signed in", "You can close this window and go back to the terminal.")
            else:
                self._page(200, "You are not signed in", "The terminal says why. You can close this window.")
        finally:
            if first:
                server.answered.set()  # also where the browser has gone

    def _page(self, status: int, title: str, text: str) -> None:
        body = (_PAGE % (title, text)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        )
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: the request line holds the code."""


def _listen(web: Web, redeem: Callable[[str, str], dict[str, Any]], *, iss_wanted: bool) -> _Loopback:
    for family, host in ADDRESSES:
        try:
            return _Loopback(family, host, web, redeem, iss_wanted=iss_wanted)
        except OSError:
            continue
    raise Unreachable("This machine has no loopback address to receive the sign-in on. Run: rolegate login --device")


def _by_browser(web: Web, metadata: dict[str, Any]) -> dict[str, Any]:
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def redeem(code: str, redirect_uri: str) -> dict[str, Any]:
        tokens = web.post_form("/oauth/token", {
            "grant_type": "authorization_code", "client_id": CLIENT_ID, "code": code, "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        })  # fmt: skip
        if tokens.status != 200:
            raise Refused(f"{oauth_sentence(tokens)} To try again: rolegate login")
        return tokens.document()

    promised = metadata.get("authorization_response_iss_parameter_supported") is True
    server = _listen(web, redeem, iss_wanted=promised)
    query = {
        "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": server.redirect_uri, "state": server.state,
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    url = f"{metadata['authorization_endpoint']}?{urlencode(query)}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        opened = browser.open_url(url)
        terminal.complain(
            f"Signing in to {web.gateway.url} in your browser …"
            if opened
            else "No browser could be opened. Open this address on this machine:"
        )
        if not opened:
            terminal.complain(f"  {url}")
        if opened and not server.answered.wait(_HINT_SECONDS):
            terminal.complain(
                f"Nothing yet. The address, if no window has come up:\n  {url}\nIf your browser is on another machine, press Ctrl-C and run: rolegate login --device"
            )
        if not server.answered.wait(BROWSER_SECONDS):
            raise NotSignedIn("Nobody has signed in within five minutes. Run: rolegate login")
    finally:
        server.shutdown()
        server.server_close()
    if server.failure is not None:
        raise server.failure
    return server.tokens


# --- With a code --------------------------------------------------------------------------------------


def _by_device(web: Web, metadata: dict[str, Any]) -> dict[str, Any]:
    if "device_authorization_endpoint" not in metadata:
        raise Refused("This gateway signs command lines in with a browser only. Run: rolegate login --browser")
    started = web.post_form("/oauth/device_authorization", {"client_id": CLIENT_ID})
    if started.status != 200:
        raise Refused(f"{oauth_sentence(started)} To try again: rolegate login")
    grant = started.document()
    code, page, device_code = grant.get("user_code"), grant.get("verification_uri"), grant.get("device_code")
    lifetime, interval = grant.get("expires_in", 600), grant.get("interval", 5)
    good = (
        isinstance(code, str)
        and isinstance(device_code, str)
        and isinstance(page, str)
        and page.startswith(web.gateway.url + "/")
    )
    if not good or not isinstance(lifetime, (int, float)) or not isinstance(interval, (int, float)):
        raise NotAGateway(
            "The gateway's answer is not in a form that this helper knows. Install the helper that belongs to it, from its page /cli/."
        )
    _show(plain(page), plain(code, 20))
    deadline = time.monotonic() + min(lifetime, 1800)
    wait = min(max(interval, 1), 60)
    while time.monotonic() < deadline:
        time.sleep(wait)
        try:
            answer = web.post_form(
                "/oauth/token", {"grant_type": DEVICE_GRANT, "client_id": CLIENT_ID, "device_code": str(device_code)}
            )
        except Unreachable:
            wait = min(wait * 2, 60)  # RFC 8628 section 3.5: a time-out doubles the interval
            continue
        if answer.status == 200:
            return answer.document()
        error = oauth_error(answer)
        if error == "slow_down":
            wait += 5
        elif error == "access_denied":
            raise Refused(
                "Somebody at the browser denied this device. If that was not you, tell your administrators. To try again: rolegate login"
            )
        elif error != "authorization_pending":
            raise NotSignedIn(f"{oauth_sentence(answer)} Run: rolegate login")
    raise NotSignedIn("The code's time is over. Run: rolegate login")


def _show(page: str, code: str) -> None:
    stream = sys.stderr
    if stream.isatty() and (stream.encoding or "").lower().replace("-", "") == "utf8":
        from rolegate import qr

        try:
            lines = qr.drawn(page, colour=terminal.has_colour(stream))
        except ValueError:
            lines = []
        if lines and len(qr.modules(page)) + 4 <= terminal.width():
            terminal.complain("\n".join(lines))
    terminal.complain(f"Open  {terminal.painted(page, 'bold', stream)}\nType  {terminal.painted(code, 'bold', stream)}")
    terminal.complain("Waiting for you there. Type the code only because you have started this sign-in yourself.")
