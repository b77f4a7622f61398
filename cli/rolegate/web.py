"""HTTP to the gateway and to nobody else: one connection, no redirects, every answer bounded in time and bytes.

Owns proxies, certificates, what a fault is called, and the difference between this machine's clock and the gateway's.
It never says what was sent: tokens travel in headers and bodies, and no error of here repeats either.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time

from rolegate import __version__, wire
from rolegate.errors import AwsFailed, NotAGateway, NotSignedIn, Refused, Unreachable, Usage, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any

    from rolegate.settings import Gateway

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
ANSWER_BYTES = 32 * 1024 * 1024
PATIENCE = 10.0  # the longest Retry-After that is waited for rather than reported
SKEW_SECONDS = 60
# Where Pythons that were built elsewhere find no certificates of their own.
CA_FILES = ("/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


_PROXY = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:([^@/]*)@)?(\[[0-9A-Fa-f:.]+\]|[^:/@\[\]\s]+)(?::([0-9]{1,5}))?/?"
)
_DATE = re.compile(
    r"[A-Z][a-z]{2}, (\d{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT"
)
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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
        self._connection: wire.Connection | None = None
        scheme, _, rest = gateway.url.partition("://")
        self._secure = scheme == "https"
        self._authority, slash, path = rest.partition("/")
        self._path = slash + path
        self._host, self._port = _host_and_port(self._authority, 443 if self._secure else 80)
        self._trusted: ssl.SSLContext | None = None
        self._via = ""  # the proxy that we are only just connecting by

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
        content = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in fields.items()).encode()
        return self._ask("POST", path, content, {"Content-Type": "application/x-www-form-urlencoded"}, "", repeat=False)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], token: str, *, repeat: bool
    ) -> Answer:
        whole = {
            "Host": self._authority, "User-Agent": user_agent(), "Accept": "application/json",
            "Accept-Encoding": "identity", **headers,
        }  # fmt: skip
        if body is not None:
            whole["Content-Length"] = str(len(body))
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
        until = time.monotonic() + ANSWER_SECONDS
        try:
            connection = self._connection = self._connection or self._open()
            started = time.time()
            # From here on bytes may have arrived, whatever is raised.
            sent = True
            status, found, content = connection.exchange(
                method, f"{self._path}{path}", headers, body or b"", seconds=until - time.monotonic(), most=ANSWER_BYTES
            )
            self._compare_clocks(found.get("date", ""), (started + time.time()) / 2)
            if connection.closes:
                self.close()
            return Answer(status, found, content)
        except wire.TooLarge:
            self.close()
            raise NotAGateway("The gateway's answer is too large to be one. Check its address.") from None
        except (OSError, wire.Broken, wire.TunnelRefused) as error:
            self.close()
            raise self._named(error, sent=sent) from None  # the cause may hold what was sent

    def close(self) -> None:
        """Ends the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _compare_clocks(self, date: str, ours: float) -> None:
        match = _DATE.fullmatch(date)
        if match is None:
            return
        from datetime import datetime, timezone

        day, month, *rest = match.groups()
        year, hour, minute, second = map(int, rest)
        try:
            theirs = datetime(
                year, _MONTHS.index(month) + 1, int(day), hour, minute, min(second, 59), tzinfo=timezone.utc
            ).timestamp()
        except (ValueError, OverflowError):
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

    def prepare(self) -> None:
        """Reads the certificates, which takes longer than a whole exchange, for every connection of this process and its children."""
        if self._secure and self._trusted is None:
            self._trusted = self._context()

    def _open(self) -> wire.Connection:
        self.prepare()
        host, port = self._host, self._port
        authorization: dict[str, str] = {}
        proxy = self._proxy()
        self._via = ""
        if proxy:
            host, port, authorization = _proxy_parts(proxy)
            self._via = f"{host}:{port}"
        connection = wire.Connection(host, port, CONNECT_SECONDS)
        try:
            if self._trusted is not None:
                if proxy:
                    tunnelled = f"[{self._host}]" if ":" in self._host else self._host
                    connection.tunnel(f"{tunnelled}:{self._port}", authorization, seconds=CONNECT_SECONDS * 2)
                self._via = ""
                connection.secure(self._trusted, self._host, seconds=CONNECT_SECONDS * 2)
        except BaseException:
            connection.close()
            raise
        self._via = ""
        return connection

    def _proxy(self) -> str:
        """The proxy's address, "" for none: of the environment, else of the system's settings where it has such."""
        if self.gateway.loopback:
            return ""
        # In this order a lower-case name counts before the same in capitals, an empty one too.
        found = {name.lower(): os.environ[name] for name in sorted(os.environ) if name.lower().endswith("_proxy")}
        kinds = ("https", "all")  # plain http is for this machine alone
        if any(found.get(f"{kind}_proxy") for kind in kinds):
            if _is_exempt(self._host, self._port, found.get("no_proxy", "")):
                return ""
            return next((found[f"{kind}_proxy"] for kind in kinds if found.get(f"{kind}_proxy")), "")
        if sys.platform not in {"darwin", "win32"}:
            return ""
        import urllib.request  # slow to load, so only where the system has settings of its own

        if urllib.request.proxy_bypass(self._host):
            return ""
        proxies = urllib.request.getproxies()
        return next((proxies[kind] for kind in kinds if proxies.get(kind)), "")

    def _context(self) -> ssl.SSLContext:
        import ssl

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
        url, via, variables = self.gateway.url, plain(self._via), "https_proxy and no_proxy"
        if isinstance(error, wire.TunnelRefused):
            why = {
                403: "it refuses that address",
                407: "it wants a name and a password: write them as http://NAME:PASSWORD@HOST:PORT",
            }.get(error.status, f"it answers {error.status}")
            sentence = f"The proxy {via} does not let us through to {url}: {why}. Check {variables}."
        elif via:
            why = "has no address here" if isinstance(error, socket.gaierror) else "does not answer as a proxy"
            sentence = f"The proxy {via} {why}. Check {variables}, and the network or VPN."
        elif isinstance(error, (TimeoutError, socket.timeout)):
            sentence = f"{url} does not answer in time. Try again; check the network or VPN."
        elif (tls := self._named_of_tls(error)) is not None:
            sentence = tls
        elif isinstance(error, socket.gaierror):
            sentence = f"The name {self._host} is not known here. Check the address and the VPN."
        elif isinstance(error, ConnectionRefusedError):
            sentence = f"Nothing answers at {url}. Check the address; perhaps the gateway is being restarted."
        elif isinstance(error, wire.Broken) or (sent and isinstance(error, ConnectionError)):
            sentence = f"{url} broke off its answer. Try again; if it lasts, tell your administrators."
        else:
            sentence = f"{url} cannot be reached: {plain(getattr(error, 'strerror', None) or type(error).__name__)}. Check the network or VPN."
        return Unreachable(sentence, sent=sent)

    def _named_of_tls(self, error: Exception) -> str | None:
        if not self._secure:
            return None
        import ssl

        url = self.gateway.url
        if isinstance(error, ssl.SSLCertVerificationError):
            why = plain(error.verify_message)
            return f"The certificate of {url} is not trusted ({why}). If your company has its own certificate authority: --ca-bundle FILE, or the variable SSL_CERT_FILE. Check this machine's clock too."
        if isinstance(error, ssl.SSLError):
            return f"{url} does not speak TLS as it should. Check the address and the proxy."
        return None


# --- Addresses ----------------------------------------------------------------------------------------


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    """Of host:port, host, [IPv6]:port or [IPv6]."""
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, ""
    return host.strip("[]"), int(port) if port else default


def _quoted(text: str) -> str:
    """As a value of application/x-www-form-urlencoded."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _proxy_parts(proxy: str) -> tuple[str, int, dict[str, str]]:
    """Host, port, and the header with the name and password that are in the address. Raises Usage, which repeats neither."""
    match = _PROXY.fullmatch(proxy.strip())
    if match is None or (match[1] or "http").lower() != "http" or int(match[4] or 80) > 65535:
        raise Usage(
            "The proxy's address must look like http://proxy.example.com:3128. Correct the variable https_proxy (or http_proxy, all_proxy)."
        )
    headers = {}
    if match[2]:
        from base64 import b64encode
        from urllib.parse import unquote_to_bytes

        name, _, password = match[2].partition(":")
        pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        headers["Proxy-Authorization"] = "Basic " + b64encode(pair).decode()
    return match[3].strip("[]"), int(match[4] or 80), headers


def _is_exempt(host: str, port: int, exempt: str) -> bool:
    """Whether no_proxy names this host: itself, a domain above it (with or without a dot before it), either with a port, or `*`."""
    for entry in exempt.lower().replace(" ", ",").split(","):
        match = re.fullmatch(r"\*?\.?(\[[0-9a-f:.]+\]|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*|[^:]*)(?::([0-9]+))?", entry)
        name = match[1].strip("[]") if match else ""
        if entry == "*" or (
            match and name and int(match[2] or port) == port and (host == name or host.endswith("." + name))
        ):
            return True
    return False
