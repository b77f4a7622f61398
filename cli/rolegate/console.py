"""`rolegate console`: the AWS console in the browser, at a page.

The sign-in URL is a secret for minutes, and the arguments of the program that opens a browser are everybody's to read:
so the browser is sent to a loopback address that redirects once.
"""

from __future__ import annotations

import hmac
import http.server
import re
import secrets
import threading
from urllib.parse import urlsplit

from rolegate import browser, terminal
from rolegate.commands import client_of, wanted_of
from rolegate.credentials import shortened
from rolegate.errors import OK, Failure, NotAGateway, Unreachable
from rolegate.loopback import LoopbackServer, is_of_this_person
from rolegate.settings import LOOPBACK, host_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_SECONDS = 60


def console(options: argparse.Namespace) -> int:
    """`rolegate console ROLE [--destination PAGE] [--print]`."""
    client = client_of(options)
    wanted = wanted_of(client, options, options.role)
    body: dict[str, object] = {"role_arn": wanted.role.arn}
    if options.destination:
        body["destination"] = options.destination
    if wanted.read_only:
        body["policy"] = "read-only"
    if wanted.duration:
        body["duration"] = wanted.duration
    answer = client.ask(lambda token: client.web.post_json("/api/v1/console", body, token=token))
    longest = wanted.role.console_duration
    if wanted.duration and longest and wanted.duration > longest:
        terminal.say(shortened(wanted.duration, longest), style="yellow")
    url = _checked(str(answer.document().get("url")), loopback=client.gateway.loopback)
    if options.print:
        print(url)
        return OK
    if browser.situation() in browser.WITHOUT:
        raise Failure("There is no browser here. To open the page elsewhere: rolegate console … --print")
    if not _open_once(url):
        raise Unreachable(
            "The browser did not come for the page within a minute. To open it yourself: rolegate console … --print"
        )
    terminal.say(f"The console of {wanted.role.account} as {wanted.role.name} is open in your browser.", style="green")
    return OK


def _checked(url: str, *, loopback: bool) -> str:
    """The URL if a browser may be sent there: https, or a gateway's own machine's for a gateway on this one."""
    parts = urlsplit(url)
    good = parts.scheme == "https" or (loopback and parts.scheme == "http" and host_of(url) in LOOPBACK)
    if not good or not re.fullmatch(r"[!-~]+", url):
        raise NotAGateway("The gateway's answer is no address of a console. Tell your administrators.")
    return url


class _Once(LoopbackServer):
    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.path = f"/{secrets.token_urlsafe(24)}"
        self.lock = threading.Lock()
        self.gone = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Once
    timeout = 10

    def do_GET(self) -> None:
        server = self.server
        right = hmac.compare_digest(self.path.encode("utf-8", "replace"), server.path.encode()) and is_of_this_person(
            self.client_address, server.server_address
        )
        with server.lock:
            first = right and not server.gone.is_set()
            if first:
                self.send_response(302)
                self.send_header("Location", server.target)
            else:
                self.send_response(410 if right else 404)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Length", "0")
            self.end_headers()
            if first:
                server.gone.set()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _open_once(url: str) -> bool:
    server = _Once(url)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        return browser.open_url(f"http://127.0.0.1:{server.server_address[1]}{server.path}") and server.gone.wait(
            _SECONDS
        )
    finally:
        server.shutdown()
        server.server_close()
