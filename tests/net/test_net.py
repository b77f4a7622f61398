"""The one door to the network: bounded in time and bytes, no redirect, no plain http, no credentials of its own."""

import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from federation import net
from federation.errors import ProviderUnavailable


@contextmanager
def answering(respond):
    """A loopback server whose every answer is `respond(handler)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                respond(self)
            except OSError:
                pass  # the gateway has hung up

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def send(handler, status=200, body=b"", **headers):
    handler.send_response(status)
    for name, value in {
        "Content-Length": str(len(body)),
        **{n.replace("_", "-"): v for n, v in headers.items()},
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def reason(url, **options):
    with pytest.raises(ProviderUnavailable) as caught:
        net.request("GET", url, **options)
    return caught.value.reason


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 500])
def test_every_status_but_a_redirect_is_an_answer(status):
    with answering(
        lambda handler: send(handler, status, b"" if status in (204, 304) else b"body", X_Name="Value")
    ) as url:
        answer = net.request("GET", url)
    assert answer.status == status
    assert answer.headers["x-name"] == "Value"
    assert answer.body == (b"" if status in (204, 304) else b"body")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    seen = []

    def respond(handler):
        seen.append(handler.path)
        send(handler, status, Location="/elsewhere")

    with answering(respond) as url:
        assert reason(url) == "redirect_refused"
    assert seen == ["/"]


def test_an_answer_as_large_as_allowed_is_read_and_one_byte_more_is_not():
    with answering(lambda handler: send(handler, body=b"x" * 100_000)) as url:
        assert len(net.request("GET", url, max_bytes=100_000).body) == 100_000
        assert reason(url, max_bytes=99_999) == "answer_too_large"


def test_a_compressed_bomb_is_measured_unpacked():
    import gzip

    packed = gzip.compress(b"\0" * 20_000_000)
    with answering(lambda handler: send(handler, body=packed, Content_Encoding="gzip")) as url:
        assert reason(url) == "answer_too_large"


def drip_body(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_without_length(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(100):
        handler.wfile.write(f"X-{n}: x\r\n".encode())
        time.sleep(0.05)


def silence(handler):
    time.sleep(3)


@pytest.mark.parametrize("slow", [drip_body, drip_without_length, drip_headers, silence])
def test_a_server_that_drips_holds_nobody_longer_than_the_timeout(slow):
    """Each byte comes within the socket's own timeout, so that alone would wait for ever."""
    with answering(slow) as url:
        started = time.monotonic()
        assert reason(url, timeout=0.4) == "too_slow"
        assert time.monotonic() - started < 1.5


def test_a_handshake_that_drips_is_over_with_the_timeout_too():
    """Attack: before the first byte of HTTP, a record of TLS that never ends."""
    ending = threading.Event()

    def drip(listening):
        connection, _ = listening.accept()
        with contextlib.suppress(OSError), connection:
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a handshake record of 16 KB
            while not ending.wait(0.05):
                connection.sendall(b"\x02")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=[listening], daemon=True).start()
        started = time.monotonic()
        try:
            assert reason(f"https://127.0.0.1:{listening.getsockname()[1]}/", timeout=0.4) == "too_slow"
            assert time.monotonic() - started < 1.5
        finally:
            ending.set()


def test_a_half_answer_is_none():
    def respond(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")

    with answering(respond) as url:
        assert reason(url) == "unreachable"


def test_a_closed_port_is_unreachable():
    assert reason("http://127.0.0.1:9/") == "unreachable"


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example.com/metadata",
        "http://127.0.0.1.example.com/",
        "ftp://idp.example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "//idp.example.com/",
        "https://user:password@idp.example.com/",
        "https://user@idp.example.com/",
        "https://idp.example.com/#fragment",
        "https://idp.example.com:0/",
        "https://idp.example.com:99999/",
        "https://idp.example.com:port/",
        "https://[::1/",
        "http://[::2]/",
        "",
    ],
)
def test_an_address_that_may_not_be_called_is_not(url):
    assert reason(url) == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example.com/metadata?a=b",
        "http://localhost:8000/",
        "http://127.0.0.1:1/",
        "http://127.8.8.8/",
        "http://[::1]:8000/",
    ],
)
def test_https_and_loopback_may_be_called(url):
    assert net.check_url(url) == url


def test_a_netrc_entry_never_takes_the_place_of_our_own_headers(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password TEST-ONLY\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []

    def respond(handler):
        seen.append(handler.headers.get("Authorization"))
        send(handler)

    with answering(respond) as url:
        net.request("GET", url)
        net.request("GET", url, headers={"Authorization": "Bearer TEST-ONLY"})
        net.request("GET", url, auth=("alice", "TEST-ONLY"))
    assert seen == [None, "Bearer TEST-ONLY", "Basic YWxpY2U6VEVTVC1PTkxZ"]


def test_fields_go_in_the_body():
    seen = []

    def respond(handler):
        seen.append((handler.command, handler.path, handler.rfile.read(int(handler.headers["Content-Length"]))))
        send(handler)

    with answering(respond) as url:
        net.request("POST", url, data={"name": "a b&c"})
    assert seen == [("POST", "/", b"name=a+b%26c")]


def test_a_proxy_of_the_environment_is_used_and_watched(monkeypatch):
    with answering(drip_headers) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        started = time.monotonic()
        assert reason("http://127.0.0.1:9/", timeout=0.4) == "too_slow"
        assert time.monotonic() - started < 1.5


def test_no_cookie_of_one_call_goes_out_with_the_next():
    # Attack: a provider's own session of the person who signed in last, sent along with the next person's code; and a jar
    # that a hostile server fills, until nothing can be asked of it any more.
    sent = []

    def respond(handler):
        sent.append(handler.headers.get("Cookie"))
        send(handler, body=b"", Set_Cookie="session=alice; Path=/")

    with answering(respond) as url:
        net.request("POST", url, data={"code": "of-alice"})
        net.request("POST", url, data={"code": "of-bob"})
    assert sent == [None, None]


@pytest.fixture
def in_production():
    net.allow_plain_loopback(allowed=False)
    yield
    net.allow_plain_loopback(allowed=True)


def test_in_production_what_listens_on_the_gateways_own_host_is_never_asked(in_production):
    # SSRF: an identity provider's entry that names a port of the gateway's own host, where things listen that trust it.
    seen = []
    with answering(lambda handler: (seen.append(handler.path), send(handler))) as url:
        for of_loopback in (url, url.replace("127.0.0.1", "localhost"), "http://[::1]:9/", "http://127.1.2.3/"):
            assert reason(of_loopback) == "url_not_allowed"
    assert seen == []
    assert net.check_url("https://127.0.0.1/metadata")


def test_that_is_how_it_begins_and_the_settings_say_where_it_is_otherwise():
    import subprocess
    import sys

    said = subprocess.run(
        [sys.executable, "-c", "from federation import net; net.check_url('http://127.0.0.1/')"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "url_not_allowed" in said.stderr
