"""The ACS alone: signed SAML responses a second, beside Apache with mod_auth_mellon in the same run.

    python -m bench.acs [RESPONSES [ROUNDS]]

Both are service providers of one identity provider and get responses of the same size and number of groups, each of
another person, over the same number of kept-alive connections, in alternating rounds. Requests are begun and responses
signed before the clock starts. Only the expected answer counts: a one-use code here, a session cookie there; a forged
response must get neither, and the last person of each round goes on to the page behind it. The CPU of both (ours with
the database's) says the same of a machine that is busy with other things.

The gateway runs as the README says (granian, two workers of eight threads), on PostgreSQL when DATABASE_URL names one,
else SQLite. The module has its defaults and keeps its sessions in shared memory; Debian: apache2
libapache2-mod-auth-mellon. It runs three times: as Debian sets Apache up, which the target is held against; with the
processes instead of threads that it is faster with; and so with an empty CA bundle. For with its settings in a Location
(it takes them nowhere else) it reads its metadata anew for each request, and each time its library loads all the
system's CA certificates: most of its time, and nothing that a response needs. The third says what it takes without.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import secrets
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import psutil
import psycopg
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench import saml_traffic
from tests.live import TIMEOUT, Gateway, mapping_document
from tests.processes import Process, free_port

CONNECTIONS = 8
TARGET = 5.0
_MODULES = Path("/usr/lib/apache2/modules")
_people = itertools.count()
T = TypeVar("T")
U = TypeVar("U")


class Failure(Exception):
    """An answer other than the expected one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of an HTTP answer, what tells whether it is the expected one."""

    status: int
    location: str
    cookies: dict[str, str]


class Connection:
    """One kept-alive connection that sends octets prepared beforehand: the load generator must cost little."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> bytes:
        """The head of the answer; its body is read and dropped. Raises Failure when it is cut or has no length."""
        self._socket.sendall(request)
        answer = bytearray()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._read()
        head = bytes(answer[:end])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length is None:
            raise Failure(f"no Content-Length: {head[:300]!r}")
        while len(answer) < end + 4 + int(length[1]):
            answer += self._read()
        return head

    def _read(self) -> bytes:
        part = self._socket.recv(65536)
        if not part:
            raise Failure("the connection was closed")
        return part

    def close(self) -> None:
        self._socket.close()


def _parsed(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    cookies: dict[str, str] = {}
    for name, value in fields:
        if name == "set-cookie":
            cookies |= {key: morsel.value for key, morsel in SimpleCookie(value).items()}
    return Answer(int(first.split()[1]), dict(fields).get("location", ""), cookies)


def _request(method: str, url: str, form: dict[str, str] | None = None, cookie: str = "") -> bytes:
    parts = urlsplit(url)
    body = urlencode(form).encode() if form else b""
    head = f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n"
    if cookie:
        head += f"Cookie: {cookie}\r\n"
    return f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode() + body


class OurGateway:
    """The gateway, its rate limits out of the way."""

    name = "the gateway"

    def __init__(self, folder: Path, key: rsa.RSAPrivateKey, certificate: str) -> None:
        self._key = key
        self._gateway = Gateway(folder, {"ROLEGATE_RATE_FACTOR": "1000", "ROLEGATE_LOG_LEVEL": "WARNING"})
        self._gateway.workers = 2
        self._gateway.threads = 8
        try:
            self._gateway.start()
            self._gateway.apply(mapping_document([saml_traffic.provider(certificate)]))
        except BaseException:
            self._gateway.stop()
            raise
        self.port, self.stop = self._gateway.port, self._gateway.stop
        self._cookies: dict[str, str] = {}

    def prepare(self, people: Sequence[int], groups: Sequence[str]) -> list[bytes]:
        """Begin a sign-in for each, and sign the response to it."""
        base = f"{self._gateway.url}/saml/corp"

        def one(connection: Connection, person: int) -> bytes:
            begun = _parsed(connection.send(_request("GET", f"{self._gateway.url}/signin/corp/")))
            if person == people[-1]:
                self._cookies = begun.cookies
            request_id, relay_state = saml_traffic.asked(begun.location)
            response = saml_traffic.response(
                self._key, person, request_id, acs=f"{base}/acs", audience=f"{base}/metadata", groups=groups
            )
            return _request("POST", f"{base}/acs", {"SAMLResponse": response, "RelayState": relay_state})

        return _spread(self.port, people, one)

    def cpu(self) -> float:
        """Seconds of CPU so far: granian's, and those of its PostgreSQL connections where the server is on this machine."""
        url = self._gateway.environment["DATABASE_URL"]
        backends = []
        if url.startswith("postgres"):
            with psycopg.connect(url) as connection:
                rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
                backends = [pid for (pid,) in rows if pid != connection.info.backend_pid]
        return _cpu(self._gateway.pid) + sum(map(_cpu, backends))

    def accepts(self, answer: Answer) -> bool:
        """Whether the response was verified and waits for its browser."""
        return answer.status == 303 and answer.location.startswith("/signin/corp/complete?code=")

    def enter(self, answer: Answer) -> None:
        """Go on to the roles page, in the browser that began. Raises Failure."""
        with requests.Session() as browser:
            browser.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            done = browser.get(self._gateway.url + answer.location, allow_redirects=False, timeout=TIMEOUT)
            browser.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in done.cookies.items())
            page = browser.get(f"{self._gateway.url}/", timeout=TIMEOUT)
            if page.status_code != 200 or "ReadOnly" not in page.text:
                raise Failure(f"the roles page: {page.status_code} {page.text[:300]}")


# As Debian's mpm_event.conf; and for prefork a process for each connection from the start.
_MPM = {
    "event": "StartServers 2\nMinSpareThreads 25\nMaxSpareThreads 75\nThreadsPerChild 25\nMaxRequestWorkers 150",
    "prefork": f"StartServers {CONNECTIONS}\nMinSpareServers {CONNECTIONS}\nMaxSpareServers {CONNECTIONS * 2}",
}


class Mellon:
    """Apache with mod_auth_mellon, from a ServerRoot of its own. Raises FileNotFoundError with what is not installed.

    `mpm`: "event" or "prefork". `environment` adds to Apache's.
    """

    def __init__(
        self,
        folder: Path,
        key: rsa.RSAPrivateKey,
        certificate: str,
        *,
        name: str,
        mpm: str,
        environment: dict[str, str],
    ) -> None:
        apache = shutil.which("apache2")
        if apache is None:
            raise FileNotFoundError("apache2")
        if not (_MODULES / "mod_auth_mellon.so").exists():
            raise FileNotFoundError("libapache2-mod-auth-mellon")
        self.name = name
        self._key = key
        self.port = free_port()
        self._url = f"http://127.0.0.1:{self.port}"
        self._configure(folder, certificate, mpm)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
        self._process = Process(
            [apache, "-d", str(folder), "-f", str(folder / "httpd.conf"), "-D", "FOREGROUND"],
            log=folder / "log",
            environment=inherited | environment,
        ).start(ready=f"{self._url}/index.html")
        self.stop = self._process.stop

    def _configure(self, folder: Path, certificate: str, mpm: str) -> None:
        for name in ("www/protected", "run"):
            (folder / name).mkdir(parents=True)
        for name in ("www/index.html", "www/protected/index.html"):
            (folder / name).write_text("up\n")
        own_key, own_certificate = saml_traffic.signing_key()
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "sp.key").write_bytes(own_key.private_bytes(*pem))
        (folder / "sp.crt").write_text(own_certificate)
        (folder / "idp.xml").write_text(saml_traffic.metadata(certificate))
        (folder / "sp.xml").write_text(
            f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self._url}/mellon/metadata">'
            '<md:SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol" AuthnRequestsSigned="true">'
            '<md:AssertionConsumerService index="0" isDefault="true" Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"'
            f' Location="{self._url}/mellon/postResponse"/></md:SPSSODescriptor></md:EntityDescriptor>'
        )
        modules = (f"mpm_{mpm}", "authn_core", "authz_core", "authz_user", "dir", "headers", "auth_mellon")
        load = "\n".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so" for name in modules)
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        (folder / "httpd.conf").write_text(f"""
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{self.port}
PidFile {folder}/run/pid
DefaultRuntimeDir {folder}/run
Mutex file:{folder}/run
{load}
{_MPM[mpm]}
{user}
ErrorLog {folder}/error.log
DocumentRoot {folder}/www
DirectoryIndex index.html
MaxKeepAliveRequests 0
KeepAliveTimeout 60
MellonLockFile {folder}/run/mellon.lock
<Location />
  MellonEnable info
  MellonEndpointPath /mellon
  MellonSecureCookie Off
  MellonSPMetadataFile {folder}/sp.xml
  MellonSPPrivateKeyFile {folder}/sp.key
  MellonSPCertFile {folder}/sp.crt
  MellonIdPMetadataFile {folder}/idp.xml
</Location>
<Location /protected/>
  AuthType Mellon
  MellonEnable auth
  Require valid-user
  Header always set X-Person "expr=%{{REMOTE_USER}}"
</Location>
""")
        # The worker processes run as another user than root: they must reach the files.
        folder.chmod(0o711)
        folder.parent.chmod(0o711)

    def prepare(self, people: Sequence[int], groups: Sequence[str]) -> list[bytes]:
        """Sign a response for each. The module keeps nothing of the requests that it begins, so any id will do."""

        def one(person: int) -> bytes:
            response = saml_traffic.response(
                self._key,
                person,
                f"_{secrets.token_hex(20)}",
                acs=f"{self._url}/mellon/postResponse",
                audience=f"{self._url}/mellon/metadata",
                groups=groups,
            )
            form = {"SAMLResponse": response, "RelayState": f"{self._url}/protected/"}
            # The cookie that it sets when it begins: without it, it holds that the browser takes none.
            return _request("POST", f"{self._url}/mellon/postResponse", form, cookie="mellon-cookie=cookietest")

        return [one(person) for person in people]

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return _cpu(self._process.pid)

    def accepts(self, answer: Answer) -> bool:
        """Whether a session was made and the browser sent to its page."""
        session = re.fullmatch("[0-9a-f]{32,}", answer.cookies.get("mellon-cookie", ""))
        return answer.status == 303 and bool(session) and answer.location == f"{self._url}/protected/"

    def enter(self, answer: Answer) -> None:
        """Open the protected page with the session. Raises Failure."""
        headers = {"Cookie": f"mellon-cookie={answer.cookies['mellon-cookie']}"}
        page = requests.get(answer.location, headers=headers, allow_redirects=False, timeout=TIMEOUT)
        if page.status_code != 200 or not page.headers.get("X-Person", "").startswith("person-"):
            raise Failure(f"the protected page: {page.status_code} {dict(page.headers)}")


def _spread(port: int, items: Sequence[T], call: Callable[[Connection, T], U]) -> list[U]:
    """`call` for each item, over CONNECTIONS connections that each take the next one; the results in the items' order."""
    numbers = itertools.count()
    results: dict[int, U] = {}

    def take() -> None:
        connection = Connection(port)
        try:
            while (number := next(numbers)) < len(items):
                results[number] = call(connection, items[number])
        finally:
            connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(take) for _ in range(CONNECTIONS)]:
            done.result()
    return [results[number] for number in range(len(items))]


def _forged(request: bytes) -> bytes:
    """The same request with another person's name in the signed assertion."""
    head, _, body = request.partition(b"\r\n\r\n")
    form = dict(parse_qsl(body.decode()))
    response = base64.b64decode(form["SAMLResponse"]).replace(b">person-", b">somebody-")
    body = urlencode(form | {"SAMLResponse": base64.b64encode(response).decode()}).encode()
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


def _refuses_forgery(side: OurGateway | Mellon, person: int, groups: Sequence[str]) -> None:
    """Raises Failure when a forged response is accepted: a rate without verification would mean nothing."""
    connection = Connection(side.port)
    try:
        if side.accepts(_parsed(connection.send(_forged(side.prepare([person], groups)[0])))):
            raise Failure(f"{side.name} accepts a forged response")
    finally:
        connection.close()


def _cpu(pid: int) -> float:
    try:
        parent = psutil.Process(pid)
        return sum(sum(member.cpu_times()[:2]) for member in (parent, *parent.children(recursive=True)))
    except psutil.NoSuchProcess:  # a database server on another machine
        return 0.0


def measured(side: OurGateway | Mellon, people: Sequence[int], groups: Sequence[str]) -> tuple[float, float]:
    """One round: (responses a second, ms of the server's CPU each). Raises Failure on any answer but the expected one."""
    prepared = side.prepare(people, groups)
    used, started = side.cpu(), time.perf_counter()
    try:
        heads = _spread(side.port, prepared, Connection.send)
    except Failure as failure:
        raise Failure(f"{side.name}: {failure}") from None
    elapsed = time.perf_counter() - started
    cpu = (side.cpu() - used) * 1000 / len(people)
    answers = [_parsed(head) for head in heads]
    wrong = [answer for answer in answers if not side.accepts(answer)]
    if wrong:
        raise Failure(f"{side.name}: {len(wrong)} of {len(people)} answers are not the expected one: {wrong[0]}")
    side.enter(answers[-1])
    return len(people) / elapsed, cpu


def compare(sides: Sequence[OurGateway | Mellon], groups: Sequence[str], responses: int, rounds: int) -> None:
    """Alternating rounds; prints each side's median, and the ratio of ours to each other's. Raises Failure."""
    take = lambda many: list(itertools.islice(_people, many))
    for side in sides:
        measured(side, take(40), groups)  # warm
        _refuses_forgery(side, take(1)[0], groups)
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    costs: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            rate, cost = measured(side, take(responses), groups)
            rates[side.name].append(rate)
            costs[side.name].append(cost)
    size = len(sides[0].prepare(take(1), groups)[0])
    print(
        f"a form of {size / 1000:.0f} KB, {len(groups)} groups; {rounds} rounds of {responses}, {CONNECTIONS} connections"
    )
    ours, own_cost = rates[sides[0].name], statistics.median(costs[sides[0].name])
    for name, values in rates.items():
        rounded = ", ".join(f"{rate:.0f}" for rate in values)
        print(
            f"  {name:34} {statistics.median(values):5.0f}/s ({rounded}); {statistics.median(costs[name]):5.2f} ms CPU each"
        )
        if values is not ours:
            paired = [one / other for one, other in zip(ours, values, strict=True)]
            wanted = f" of the {TARGET:.0f} wanted" if name == sides[1].name else ""
            print(
                f"    ours to it: {statistics.median(ours) / statistics.median(values):.2f}{wanted}"
                f" (rounds {min(paired):.2f} to {max(paired):.2f}); by CPU {statistics.median(costs[name]) / own_cost:.2f}"
            )


def main(responses: int = 300, rounds: int = 5) -> int:
    """Run it; exit status 1 on any failure."""
    key, certificate = saml_traffic.signing_key()
    sides: list[OurGateway | Mellon] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            sides.append(OurGateway(Path(folder) / "gateway", key, certificate))
            for name, mpm, environment in (
                ("mod_auth_mellon", "event", {}),
                ("mod_auth_mellon, prefork", "prefork", {}),
                ("mod_auth_mellon, prefork, no CAs", "prefork", {"SSL_CERT_FILE": "/dev/null"}),
            ):
                try:
                    apache = Path(folder) / f"apache-{len(sides)}"
                    sides.append(Mellon(apache, key, certificate, name=name, mpm=mpm, environment=environment))
                except FileNotFoundError as missing:
                    print(f"mod_auth_mellon: SKIPPED, not installed: apt-get install {missing}")
                    break
            for groups in (saml_traffic.GROUPS, saml_traffic.MANY_GROUPS):
                compare(sides, groups, responses, rounds)
        except Failure as failure:
            print("FAILED:", failure)
            return 1
        finally:
            for side in sides:
                side.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:3])))
