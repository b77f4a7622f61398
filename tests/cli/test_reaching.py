"""The way to the gateway: a company's own certificate authority, a proxy, IPv6."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop

NAME = "gate.example.test"  # nobody resolves it: whoever gets there went through the proxy


class Authority:
    """A TEST certificate authority, as a company has one; `path`: its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"TEST {name}")])
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._certificate(self._name, self._key.public_key(), ca=True))

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool, host: str = "") -> bytes:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(
                digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
            ), critical=True)
        )  # fmt: skip
        if host:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server(self, host: str) -> ssl.SSLContext:
        """What a server that is `host` proves itself with."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        path = self._folder / f"{host}.server.pem"
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(key.private_bytes(*form) + self._certificate(subject, key.public_key(), ca=False, host=host))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


class Proxy:
    """A forward proxy that knows CONNECT alone, and leads every name to one port. `heard`: what it could read."""

    def __init__(self, port: int, *, authorization: str = "", status: int = 200) -> None:
        self._to, self._authorization, self._status = port, authorization, status
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.heard.append(head)
            wanted = f"proxy-authorization: basic {base64.b64encode(self._authorization.encode()).decode()}".lower()
            status = 407 if self._authorization and wanted.encode() not in head.lower() else self._status
            client.sendall(b"HTTP/1.1 %d x\r\nVia: a test\r\n\r\n" % status)
            if status != 200:
                return
            with socket.create_connection(("127.0.0.1", self._to)) as gateway:
                back = threading.Thread(target=self._carry, args=(gateway, client), daemon=True)
                back.start()
                self._carry(client, gateway)
                back.join(10)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.heard.append(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def company(tmp_path: Path) -> Authority:
    """The company's certificate authority, which this machine's system does not know."""
    return Authority(tmp_path, "Company")


@pytest.fixture
def started() -> Iterator[Callable[..., GatewayDouble]]:
    """DOUBLES of the gateway, by how they are reached."""
    doubles = []

    def start(**options: object) -> GatewayDouble:
        doubles.append(GatewayDouble(**options).start())  # type: ignore[arg-type]
        return doubles[-1]

    yield start
    for double in doubles:
        double.stop()


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    made = []

    def start(double: GatewayDouble, **options: object) -> Proxy:
        made.append(Proxy(double.port, **options))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for one in made:
        one.close()


def _consenting(laptop: Laptop, double: GatewayDouble) -> str:
    """A program for BROWSER that comes back at once, as after an Allow."""
    opener = laptop.folder / "opener"
    opener.write_text(
        "#!/usr/bin/env python3\nimport sys, urllib.request, urllib.parse as p\nq = p.parse_qs(p.urlsplit(sys.argv[1]).query)\n"
        f'urllib.request.urlopen(q["redirect_uri"][0] + "?" + p.urlencode({{"code": "c", "state": q["state"][0], "iss": {double.url!r}}}))\n'
    )
    opener.chmod(0o755)
    return str(opener)


# --- Certificates -------------------------------------------------------------------------------------


@pytest.fixture
def secure(started: Callable[..., GatewayDouble], company: Authority, laptop: Laptop) -> GatewayDouble:
    """A gateway on https://localhost whose certificate is the company's; Alice is signed in there."""
    double = started(tls=company.server("localhost"))
    double.url = f"https://localhost:{double.port}"
    double.sign_in(laptop)
    return double


def test_a_certificate_that_nobody_vouches_for(secure: GatewayDouble, laptop: Laptop) -> None:
    said = laptop.run("credentials", "--role", ROLE, status=5).stderr
    assert "is not trusted" in said
    assert "--ca-bundle FILE" in said
    assert not secure.asked  # not a byte of a token has left


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "ROLEGATE_CA_BUNDLE"])
def test_the_companys_certificates_by_a_variable(
    secure: GatewayDouble, company: Authority, laptop: Laptop, variable: str
) -> None:
    assert laptop.credentials(ROLE, **{variable: str(company.path)})


def test_a_bundle_is_remembered_for_the_gateway(secure: GatewayDouble, company: Authority, laptop: Laptop) -> None:
    assert laptop.credentials(ROLE, "--ca-bundle", str(company.path))
    laptop.run("login", "--ca-bundle", str(company.path), BROWSER=_consenting(laptop, secure))
    assert laptop.run("roles", "--refresh").stdout


def test_a_bundle_counts_besides_what_the_system_trusts(
    secure: GatewayDouble, company: Authority, laptop: Laptop, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "Other")
    assert laptop.credentials(ROLE, "--ca-bundle", str(other.path), SSL_CERT_FILE=str(company.path))
    laptop.cached("1*")[0].unlink()
    assert (
        "is not trusted" in laptop.run("credentials", "--role", ROLE, "--ca-bundle", str(other.path), status=5).stderr
    )


def test_a_bundle_that_is_none(secure: GatewayDouble, laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        said = laptop.run("credentials", "--role", ROLE, "--ca-bundle", str(path), status=2).stderr
        assert f"The certificates in {path} cannot be read" in said


def test_another_hosts_certificate_is_refused(
    started: Callable[..., GatewayDouble], company: Authority, laptop: Laptop
) -> None:
    double = started(tls=company.server("other.example.test"))
    double.url = f"https://localhost:{double.port}"
    double.sign_in(laptop)
    said = laptop.run("credentials", "--role", ROLE, status=5, SSL_CERT_FILE=str(company.path)).stderr
    assert "is not trusted (Hostname mismatch" in said
    assert not double.asked


def test_what_speaks_no_tls(double: GatewayDouble, laptop: Laptop) -> None:
    double.url = f"https://localhost:{double.port}"
    double.sign_in(laptop)
    assert "does not speak TLS" in laptop.run("credentials", "--role", ROLE, status=5).stderr


# --- Proxies ------------------------------------------------------------------------------------------


@pytest.fixture
def outside(started: Callable[..., GatewayDouble], company: Authority, laptop: Laptop) -> GatewayDouble:
    """A gateway that only a proxy can lead to; Alice is signed in there, with an access token that has to be renewed."""
    double = started(tls=company.server(NAME), name=NAME)
    laptop.environment["SSL_CERT_FILE"] = str(company.path)
    double.sign_in(laptop, access=False)
    return double


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_through_a_proxy_that_learns_nothing(
    outside: GatewayDouble, proxy: Callable[..., Proxy], laptop: Laptop, variable: str
) -> None:
    way = proxy(outside)
    assert laptop.credentials(ROLE, **{variable: f"http://127.0.0.1:{way.port}"})
    assert way.heard[0].startswith(b"CONNECT gate.example.test:443 HTTP/1.1\r\nHost: gate.example.test:443\r\n")
    seen = b"".join(way.heard)
    assert b"rlg_" not in seen
    assert b"secretOfTheDouble" not in seen


def test_with_a_name_and_a_password(outside: GatewayDouble, proxy: Callable[..., Proxy], laptop: Laptop) -> None:
    way = proxy(outside, authorization="alice:p@ss:word")
    right = f"http://alice:p%40ss%3Aword@127.0.0.1:{way.port}/"
    assert laptop.credentials(ROLE, HTTPS_PROXY="http://127.0.0.1:1", https_proxy=right)  # lower case counts first
    laptop.cached("1*")[0].unlink()
    for wrong in (f"127.0.0.1:{way.port}", f"http://alice:secretGuess@127.0.0.1:{way.port}"):
        said = laptop.run("credentials", "--role", ROLE, status=5, https_proxy=wrong).stderr
        assert "wants a name and a password" in said
        assert "secretGuess" not in said


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("http://127.0.0.1:1", 5, "The proxy 127.0.0.1:1 does not answer as a proxy"),
        ("http://proxy.example.test:3128", 5, "The proxy proxy.example.test:3128 has no address here"),
        ("socks5://alice:secretGuess@127.0.0.1:1", 2, "must look like http://"),
        ("http://127.0.0.1:99999", 2, "must look like http://"),
        ("http://127.0.0.1:port", 2, "must look like http://"),
    ],
)
def test_proxies_that_are_none(outside: GatewayDouble, laptop: Laptop, address: str, status: int, says: str) -> None:
    said = laptop.run("credentials", "--role", ROLE, status=status, https_proxy=address).stderr
    assert says in said
    assert "secretGuess" not in said


def test_a_proxy_that_refuses(outside: GatewayDouble, proxy: Callable[..., Proxy], laptop: Laptop) -> None:
    way = proxy(outside, status=403)
    said = laptop.run("credentials", "--role", ROLE, status=5, https_proxy=f"http://127.0.0.1:{way.port}").stderr
    assert f"The proxy 127.0.0.1:{way.port} does not let us through to https://{NAME}: it refuses that address" in said


def test_a_proxy_that_is_not_to_be_asked(outside: GatewayDouble, proxy: Callable[..., Proxy], laptop: Laptop) -> None:
    way = proxy(outside)
    set_all = {"https_proxy": f"http://127.0.0.1:{way.port}", "NO_PROXY": "localhost,.example.test"}
    assert f"The name {NAME} is not known" in laptop.run("credentials", "--role", ROLE, status=5, **set_all).stderr
    assert way.heard == []


def test_a_gateway_of_this_machine_is_not_asked_through_a_proxy(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    assert laptop.credentials(ROLE, https_proxy="http://127.0.0.1:1", http_proxy="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("exempt", "is_exempt"),
    [
        ("", False), ("*", True), ("gate.example.com", True), ("example.com", True), (".example.com", True),
        ("*.example.com", True), ("GATE.example.com", True), ("a, b example.com", True), ("ample.com", False),
        ("gate.example.com:443", True), ("gate.example.com:8443", False), ("gate.example.com.evil.example", False),
        ("gate.example.com:x", False), ("[::1", False), (",,", False), ("10.0.0.0/8", False),
    ],
)  # fmt: skip
def test_whom_no_proxy_names(exempt: str, is_exempt: bool) -> None:
    from rolegate.web import _is_exempt

    assert _is_exempt("gate.example.com", 443, exempt) is is_exempt
    assert _is_exempt("fd00::1", 443, "fd00::1")
    assert _is_exempt("fd00::1", 443, "[fd00::1]:443")


# --- IPv6 ---------------------------------------------------------------------------------------------


def test_a_gateway_and_a_browser_over_ipv6(started: Callable[..., GatewayDouble], laptop: Laptop) -> None:
    double = started(host="::1")
    assert double.url.startswith("http://[::1]:")
    laptop.prelude = "login.ADDRESSES = login.ADDRESSES[1:]"
    laptop.run("login", double.url, BROWSER=_consenting(laptop, double))
    laptop.prelude = ""
    assert laptop.credentials("shop-prod/ReadOnly")["AccountId"] == "111122223333"
    assert double.url in laptop.run("status").stdout


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("a.example", "a.example", 443),
        ("a.example:8443", "a.example", 8443),
        ("[::1]", "::1", 443),
        ("[::1]:80", "::1", 80),
    ],
)
def test_hosts_and_ports(authority: str, host: str, port: int) -> None:
    from rolegate.web import _host_and_port

    assert _host_and_port(authority, 443) == (host, port)
