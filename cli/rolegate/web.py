"""HTTP to the gateway and to nobody else: one connection, no redirects, every answer bounded in time and bytes.

Owns proxies, certificates, what a fault is called, and the difference between this machine's clock and the gateway's.
It never says what was sent: tokens travel in headers and bodies, and no error of here repeats either.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
from urllib.parse import urlencode, urlsplit

from rolegate import __version__
from rolegate.errors import AwsFailed, NotAGateway, NotSignedIn, Refused, Unreachable, Usage, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rolegate.settings import Gateway

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
ANSWER_BYTES = 32 * 1024 * 1024
PATIENCE = 10.0  # the longest Retry-After that is waited for rather than reported
SKEW_SECONDS = 60
# Where Pythons that were built elsewhere find no certificates of their own.
CA_FILES = ("/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def user_agent() -> str:
    """How the portal's list of paired programs shows us: version, machine, system."""
    name = socket.gethostname()[:60]
    return "".join(
        letter if 32 <= ord(letter) < 127 else "?" for letter in f"rolegate/{__version__} ({name}; {sys.platform})"
    )


class Answer:
    """A whole answer: `status`, `headers` by lower-case name, `body`."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def document(self) -> dict[str, Any]:
        """The body as a JSON object. Raises NotAGateway."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NotAGateway(
                "The gateway's answer is not in a form that this helper knows. Is a sign-in page of a proxy in the way? Else install the helper that belongs to the gateway, from its page /cli/."
            )
        return found


class Web:
    """A connection to one gateway, opened when it is needed and kept. `skew`: gateway's clock less ours, in seconds."""

    def __init__(self, gateway: Gateway, ca_bundle: str | None = None) -> None:
        self.gateway = gateway
        self.ca_bundle = ca_bundle or os.environ.get("ROLEGATE_CA_BUNDLE") or gateway.known.get("ca_bundle")
        self.skew = 0.0
        self._connection: http.client.HTTPConnection | None = None
        self._late = False
        parts = urlsplit(gateway.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._secure = parts.scheme == "https"
        self._prefix = ""  # the whole address, for a proxy of plain http
        self._proxy_headers: dict[str, str] = {}

    # --- Asking -----------------------------------------------------------------------------------

    def get(self, path: str, *, token: str = "", etag: str = "") -> Answer:
        """Raises Unreachable, NotAGateway, or what the gateway's refusal means."""
        headers = {"If-None-Match": etag} if etag else {}
        return self._ask("GET", path, None, headers, token, repeat=True)

    def post_json(self, path: str, body: dict[str, object], *, token: str) -> Answer:
        """As `get`. Asking for credentials twice does no harm."""
        content = json.dumps(body).encode()
        return self._ask("POST", path, content, {"Content-Type": "application/json"}, token, repeat=True)

    def post_form(self, path: str, fields: dict[str, str]) -> Answer:
        """OAuth's endpoints. Never sent twice: what a request carries is spent by it. Refusals of OAuth are the caller's to read."""
        content = urlencode(fields).encode("ascii")
        return self._ask("POST", path, content, {"Content-Type": "application/x-www-form-urlencoded"}, "", repeat=False)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], token: str, *, repeat: bool
    ) -> Answer:
        whole = {"User-Agent": user_agent(), "Accept": "application/json", **headers}
        if token:
            whole["Authorization"] = f"Bearer {token}"
        if not repeat:
            self.close()  # a kept connection may be dead, and nobody could say what it had still carried
        began = time.monotonic()
        while True:
            try:
                return self._checked(self._send(method, path, body, whole), oauth=not repeat)
            except Unreachable as error:
                # A spent token must not be sent again: its second use ends the pairing.
                wait = error.wait if error.wait is not None else 0.3
                if (error.sent and not repeat) or time.monotonic() - began + wait > (PATIENCE if error.sent else 1):
                    raise
                time.sleep(wait)

    def _checked(self, answer: Answer, *, oauth: bool) -> Answer:
        """The answer if it is good. Raises what the refusal means."""
        if answer.status in {200, 304} or (oauth and answer.status in {400, 401}):
            return answer
        if 300 <= answer.status < 400:
            raise NotAGateway(
                f"{self.gateway.url} answers with a redirect, which is not followed. Sign in with the gateway's own address: rolegate login URL"
            )
        problem: dict[str, Any] = {}
        if "json" in answer.headers.get("content-type", ""):
            problem = answer.document()
        code = plain(problem.get("code", ""), 60)
        said = plain(problem.get("detail") or problem.get("error_description") or "")
        request_id = plain(problem.get("request_id", ""), 60)
        tail = f" (error code {code}, request id {request_id})" if code else f" (HTTP {answer.status})"
        if answer.status in {429, 503}:
            wait = answer.headers.get("retry-after", "")
            seconds = float(wait) if wait.isdigit() and len(wait) < 6 else None
            when = f" Try again in {int(seconds)} s." if seconds is not None and seconds > PATIENCE else ""
            raise Unreachable(
                (said or "The gateway cannot work now. Try again in a minute.") + when + tail,
                code=code,
                sent=True,
                wait=seconds if seconds is not None else 60,
            )
        if "aws_code" in problem or code.startswith(("sts_", "aws_", "console_signin_")):
            aws = plain(problem.get("aws_code", ""), 60)
            raise AwsFailed(f"{said or 'AWS refused.'}{f' AWS said: {aws}.' if aws else ''}{tail}", code=code)
        if answer.status >= 500:
            raise Unreachable(
                f"{said or 'The gateway failed.'} Try again; if it lasts, tell your administrators{tail}.",
                code=code,
                sent=True,
                wait=60,
            )
        if answer.status == 401:
            raise NotSignedIn(
                said or "The gateway does not know this sign-in any more. Sign in again: rolegate login", code=code
            )
        if answer.status in {404, 405} or not code:
            raise NotAGateway(
                f"The gateway does not know what this helper asks ({answer.status}): one of the two is older. Install the helper that belongs to it, from {self.gateway.url}/cli/{tail}"
            )
        fields = problem.get("errors")
        where = (
            "".join(
                f" {plain(item.get('where'))}: {plain(item.get('what'))}." for item in fields if isinstance(item, dict)
            )
            if isinstance(fields, list)
            else ""
        )
        raise Refused(f"{said or 'The gateway refused.'}{where}{tail}", code=code)

    # --- One exchange -----------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        sent = False
        connection = self._connection
        deadline = threading.Timer(ANSWER_SECONDS, self._give_up)
        deadline.daemon = True
        self._late = False
        deadline.start()  # a peer that sends a byte now and then keeps every other clock waiting
        try:
            if connection is None:
                connection = self._connection = self._open()
                connection.connect()
                connection.sock.settimeout(ANSWER_SECONDS)
            started = time.time()
            target = self._prefix + urlsplit(self.gateway.url).path + path
            # From here on bytes may have arrived, whatever is raised.
            sent = True
            connection.request(method, target, body, {**headers, **self._proxy_headers})
            response = connection.getresponse()
            content = response.read(ANSWER_BYTES + 1)
            if response.length and len(content) <= ANSWER_BYTES:
                raise http.client.IncompleteRead(b"")  # which read(amount) leaves to its caller
            if len(content) > ANSWER_BYTES:
                raise NotAGateway("The gateway's answer is too large to be one. Check its address.")
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
            self._compare_clocks(answer.headers.get("date", ""), (started + time.time()) / 2)
            if response.will_close:
                self.close()
            return answer
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._named(error, sent=sent) from None  # the cause may hold what was sent
        finally:
            deadline.cancel()
            deadline.join()  # a thread that lingers would take signals that `exec` waits for, and forbid the fork that renews

    def _give_up(self) -> None:
        self._late = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        """Ends the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _compare_clocks(self, date: str, ours: float) -> None:
        if not date:
            return
        from email.utils import parsedate_to_datetime  # loaded with http.client

        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        # The header has whole seconds only.
        self.skew = 0.0 if abs(theirs - ours) < 3 else theirs - ours

    @property
    def clock_warning(self) -> str:
        """A sentence when the two clocks differ by more than a minute, else nothing."""
        if abs(self.skew) < SKEW_SECONDS:
            return ""
        minutes = max(1, round(abs(self.skew) / 60))
        way = "behind" if self.skew > 0 else "ahead"
        return f"This machine's clock is {minutes} min {way} of the gateway's. Set it: AWS refuses requests that are 5 min off."

    # --- Connecting -------------------------------------------------------------------------------

    def _open(self) -> http.client.HTTPConnection:
        host, port, tunnel = self._host, self._port, False
        proxy = self._proxy()
        self._prefix, self._proxy_headers = "", {}
        if proxy:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            if parts.scheme != "http" or not parts.hostname:
                raise Usage(
                    "The proxy's address must look like http://proxy.example.com:3128. Correct the variable https_proxy."
                )
            authorization = {}
            if parts.username is not None:
                from base64 import b64encode
                from urllib.parse import unquote

                pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                authorization = {"Proxy-Authorization": "Basic " + b64encode(pair.encode()).decode()}
            tunnel = self._secure
            host, port = parts.hostname, parts.port or 3128
            if not tunnel:
                self._prefix, self._proxy_headers = (
                    self.gateway.url.split("/", 3)[0] + "//" + self.gateway.url.split("/", 3)[2],
                    authorization,
                )
        if not self._secure:
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self._context())
        if tunnel:
            connection.set_tunnel(self._host, self._port or 443, authorization)
        return connection

    def _proxy(self) -> str:
        if self.gateway.loopback:
            return ""
        names = {name.lower() for name, value in os.environ.items() if value}
        if sys.platform not in {"darwin", "win32"} and not names & {"https_proxy", "http_proxy", "all_proxy"}:
            return ""
        import urllib.request  # slow to load, so only where a proxy can be set

        proxies = urllib.request.getproxies()
        if urllib.request.proxy_bypass(self._host):
            return ""
        return proxies.get("https" if self._secure else "http") or proxies.get("all") or ""

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()  # heeds SSL_CERT_FILE and SSL_CERT_DIR
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_bundle:
            try:
                context.load_verify_locations(cafile=os.path.expanduser(self.ca_bundle))
            except (OSError, ssl.SSLError) as error:
                raise Usage(
                    f"The certificates in {self.ca_bundle} cannot be read. Give a PEM file: --ca-bundle FILE"
                ) from error
        elif not context.cert_store_stats()["x509_ca"] and "SSL_CERT_FILE" not in os.environ:
            for path in CA_FILES:
                if os.path.exists(path):
                    context.load_verify_locations(cafile=path)
                    break
        return context

    def _named(self, error: Exception, *, sent: bool) -> Unreachable:
        """The fault in words, with what to do."""
        url = self.gateway.url
        if self._late or isinstance(error, (TimeoutError, socket.timeout)):
            sentence = f"{url} does not answer in time. Try again; check the network or VPN."
        elif isinstance(error, ssl.SSLCertVerificationError):
            why = plain(error.verify_message)
            sentence = f"The certificate of {url} is not trusted ({why}). If your company has its own certificate authority: --ca-bundle FILE, or the variable SSL_CERT_FILE. Check this machine's clock too."
        elif isinstance(error, ssl.SSLError):
            sentence = f"{url} does not speak TLS as it should. Check the address and the proxy."
        elif isinstance(error, socket.gaierror):
            sentence = f"The name {self._host} is not known here. Check the address and the VPN."
        elif isinstance(error, ConnectionRefusedError):
            sentence = f"Nothing answers at {url}. Check the address; perhaps the gateway is being restarted."
        elif isinstance(error, http.client.HTTPException) or (sent and isinstance(error, ConnectionError)):
            sentence = f"{url} broke off its answer. Try again; if it lasts, tell your administrators."
        elif "Tunnel connection failed" in str(error):
            sentence = f"The proxy does not let us through to {url}. Check https_proxy and no_proxy."
        else:
            sentence = f"{url} cannot be reached: {plain(getattr(error, 'strerror', None) or type(error).__name__)}. Check the network or VPN."
        return Unreachable(sentence, sent=sent)
