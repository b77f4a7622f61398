"""Gateways that are slow, dead or lying, and a helper that is killed at random moments."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import pytest

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop

CREDENTIALS = "/api/v1/credentials"


def _refused(double: GatewayDouble, laptop: Laptop, answer, *, status: int) -> str:
    double.sign_in(laptop)
    double.answers[CREDENTIALS] = answer
    laptop.prelude = "web.PATIENCE = 0.5"  # how long what broke off is asked for again
    done = laptop.run("credentials", "--role", ROLE, status=status)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "rlg_" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Expiration": "2020-01-01T00:00:00Z"}, "end in the past"),
        ({"Expiration": "2099-01-01T00:00:00Z"}, "far in the future"),
        ({"Expiration": "soon"}, "do not say when they end"),
        ({"AccountId": "999999999999"}, "of another account"),
        ({"SecretAccessKey": "x'; rm -rf ~; '"}, "no proper SecretAccessKey"),
        ({"SessionToken": "a\nexport LD_PRELOAD=x"}, "no proper SessionToken"),
        ({"AccessKeyId": None}, "no proper AccessKeyId"),
    ],
)
def test_credentials_that_are_none(double: GatewayDouble, laptop: Laptop, change: dict[str, object], says: str) -> None:
    assert says in _refused(double, laptop, (200, {**double.document(), **change}), status=5)


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ((302, {}, {"Location": "https://evil.example/"}), 5, "redirect, which is not followed"),
        ((200, ["no object"]), 5, "not in a form"),
        ((404, {"code": "not_found"}), 5, "one of the two is older"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", 5, "broke off"),
        (b"\x00\x01garbage", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 5, "too large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 5, "too large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}", 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n folded: z\r\n\r\n{}", 5, "broke off"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300, 5, "broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, 5, "broke off"),
        ((429, {"code": "rate_limited", "detail": "Too many."}, {"Retry-After": "90"}), 5, "Try again in 90 s"),
        (
            (400, {"code": "bad_request", "detail": "No.\x1b[2J", "errors": [{"where": "policy", "what": "unknown"}]}),
            4,
            "policy: unknown",
        ),
        (
            (502, {"code": "sts_access_denied", "detail": "AWS says no.", "aws_code": "AccessDenied"}),
            7,
            "AWS said: AccessDenied",
        ),
    ],
)
def test_answers_that_are_none(double: GatewayDouble, laptop: Laptop, answer, status: int, says: str) -> None:
    said = _refused(double, laptop, answer, status=status)
    assert says in said
    assert "\x1b[2J" not in said


def test_a_gateway_that_drips_is_given_up_in_time(double: GatewayDouble, laptop: Laptop) -> None:
    """A byte now and then keeps every clock of a socket waiting; the whole answer has a clock of its own."""

    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(300):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.1)

    double.sign_in(laptop)
    double.answers[CREDENTIALS] = drip
    laptop.prelude = "web.ANSWER_SECONDS = 1.0; web.PATIENCE = 0.5"
    began = time.monotonic()
    done = laptop.run("credentials", "--role", ROLE, status=5)
    assert "does not answer in time" in done.stderr
    assert time.monotonic() - began < 15


def test_a_busy_gateway_is_asked_again(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    answers = [(503, {"code": "service_unavailable", "detail": "Not now.", "request_id": "r"}, {"Retry-After": "1"})]
    double.answers[CREDENTIALS] = lambda _: answers.pop() if answers else (200, double.document())
    assert laptop.credentials(ROLE)
    assert double.asked[CREDENTIALS] == 2


def test_a_renewal_is_never_sent_twice(double: GatewayDouble, laptop: Laptop) -> None:
    """Its second use would end the pairing: nobody could tell us from a thief."""
    double.sign_in(laptop, access=False)
    double.answers["/oauth/token"] = b""
    assert "broke off" in laptop.run("credentials", "--role", ROLE, status=5).stderr
    assert double.asked["/oauth/token"] == 1


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"issuer": "https://other.example"}, "calls itself https://other.example"),
        ({"token_endpoint": "https://evil.example/token"}, "sends its sign-in elsewhere"),
        ({"authorization_endpoint": 7}, "sends its sign-in elsewhere"),
    ],
)
def test_a_gateway_that_sends_the_sign_in_elsewhere(
    double: GatewayDouble, laptop: Laptop, metadata: dict[str, object], says: str
) -> None:
    usual = double._usual("/.well-known/oauth-authorization-server", b"", None)[1]
    double.answers["/.well-known/oauth-authorization-server"] = (200, {**usual, **metadata})
    assert says in laptop.run("login", double.url, status=5).stderr
    assert laptop.tabs == []


def test_an_answer_of_another_gateway_is_not_taken(double: GatewayDouble, laptop: Laptop) -> None:
    """Mix-up (RFC 9207), and a redirect with another state, which is not even an answer."""
    opener = laptop.folder / "opener"
    opener.write_text(
        '#!/usr/bin/env python3\nimport sys, urllib.request, urllib.parse as p\nq = p.parse_qs(p.urlsplit(sys.argv[1]).query)\n'
        'to = q["redirect_uri"][0]\n'
        'try:\n    urllib.request.urlopen(to + "?code=stolen&state=guessed")\nexcept OSError as e:\n    assert e.code == 404\n'
        'urllib.request.urlopen(to + "?" + p.urlencode({"code": "c", "state": q["state"][0], "iss": "https://evil.example"}))\n'
    )  # fmt: skip
    opener.chmod(0o755)
    assert "another gateway" in laptop.run("login", double.url, status=5, BROWSER=str(opener)).stderr
    assert double.asked["/oauth/token"] == 0


def test_killed_at_random_moments(double: GatewayDouble, laptop: Laptop) -> None:
    """No torn file, no stale lock, and no refresh token used twice: the renewal outlives whoever began it."""
    double.sign_in(laptop)
    double.access_seconds = 21  # with 20 to spare: each command renews
    double.delay = 0.02
    laptop.run("roles")
    dice = random.Random(7)
    for _ in range(25):
        for path in laptop.cached("1*"):
            path.unlink()
        session = json.loads(laptop.session_file().read_text())
        assert session["refresh"]
        process = laptop.start("credentials", "--role", ROLE)
        time.sleep(dice.uniform(0.05, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for path in laptop.cached("1*"):
            if path.suffix not in {".lock", ".new", ".failed"}:
                head, _, body = path.read_bytes().partition(b"\n")
                assert head.startswith(b"rolegate-1 ")
                json.loads(body)
    assert laptop.credentials(ROLE)
    assert double.reused == []


def _opener(laptop: Laptop, body: str) -> str:
    """A program for BROWSER in Python, in which `visit(**query)` comes back as the gateway's redirect does."""
    opener = laptop.folder / "opener"
    opener.write_text(
        "#!/usr/bin/env python3\nimport os, sys, urllib.error, urllib.request, urllib.parse as p\n"
        "q = {name: values[0] for name, values in p.parse_qs(p.urlsplit(sys.argv[1]).query).items()}\n"
        "def visit(**query):\n    try:\n        return urllib.request.urlopen(q['redirect_uri'] + '?' + p.urlencode({'state': q['state'], **query})).status\n"
        f"    except urllib.error.HTTPError as error:\n        return error.code\n{body}\n"
    )
    opener.chmod(0o755)
    return str(opener)


def test_an_answer_that_does_not_say_whose_it_is(double: GatewayDouble, laptop: Laptop) -> None:
    """RFC 9207 section 2.4: where the gateway promises to name itself, an answer without a name is another's."""
    usual = double._usual("/.well-known/oauth-authorization-server", b"", None)[1]
    promise = {"authorization_response_iss_parameter_supported": True}
    double.answers["/.well-known/oauth-authorization-server"] = (200, {**usual, **promise})
    opener = _opener(laptop, "visit(code='c')")
    assert "another gateway" in laptop.run("login", double.url, status=5, BROWSER=opener).stderr
    assert double.asked["/oauth/token"] == 0
    assert laptop.run("login", double.url, BROWSER=_opener(laptop, f"visit(code='c', iss={double.url!r})"))


@pytest.mark.parametrize("way", ["waits", "closes", "resets"])
def test_another_person_of_this_machine_cannot_sign_us_in(double: GatewayDouble, laptop: Laptop, way: str) -> None:
    """State, challenge and address are in `ps`: Mallory, on the same machine, sends a code of their own account for our challenge.

    And does not stay to be looked at: of a connection that is closed, the kernel does not say whose it was.
    """
    become = "os.setuid(65534)"
    if os.geteuid():  # who may not become somebody else is somebody else to the helper, the first time that it looks
        become = "pass"
        laptop.prelude = (
            "import itertools, os, types; from rolegate import loopback; me = os.getuid(); "
            "seen = itertools.chain([me + 1] * {waits}, itertools.repeat(me)); "
            "loopback.os = types.SimpleNamespace(getuid=lambda: next(seen))"
        ).replace("{waits}", str(int(way == "waits")))
    request = "f\"GET /callback?code=of-mallory&state={q['state']} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\".encode()"
    end = {
        "waits": "s.recv(1)",
        "closes": "s.close()",
        "resets": "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()",
    }[way]
    body = (
        "import socket, struct, time\nto = p.urlsplit(q['redirect_uri'])\n"
        f"if os.fork() == 0:\n    {become}\n    s = socket.create_connection((to.hostname, to.port))\n    s.sendall({request})\n    {end}\n    os._exit(0)\n"
        "os.wait()\ntime.sleep(0.5)\nvisit(code='ours')"
    )
    laptop.run("login", double.url, BROWSER=_opener(laptop, body))
    assert [form["code"] for form in double.forms] == ["ours"]


def test_a_newer_gateway_and_an_older_one(double: GatewayDouble, laptop: Laptop) -> None:
    """What we do not know is passed over; what an older one does not send yet is done without."""
    usual = double._usual("/.well-known/oauth-authorization-server", b"", None)[1]
    del usual["device_authorization_endpoint"], usual["revocation_endpoint"]
    double.answers["/.well-known/oauth-authorization-server"] = (200, {**usual, "from_the_future": {"x": [1]}})
    double.roles[0] |= {"colour": "red", "roles": [{"arn": ROLE, "name": "ReadOnly", "from_the_future": True}]}
    for gone in ("environment", "tags"):
        del double.roles[0][gone]
    double.answers[CREDENTIALS] = lambda _: (200, {**double.document(), "from_the_future": "x"})
    laptop.run("login", double.url, BROWSER=_opener(laptop, "visit(code='c')"))
    assert "from_the_future" not in laptop.credentials("shop-prod/ReadOnly")
    assert "with a browser only" in laptop.run("login", double.url, "--device", status=4).stderr


@pytest.mark.parametrize("good", [True, False])
def test_the_page_says_what_has_come_of_it(double: GatewayDouble, laptop: Laptop, good: bool) -> None:
    """Not before the code is redeemed; and a page that is loaded again does not redeem it again."""
    if not good:
        double.answers["/oauth/token"] = (
            400,
            {"error": "invalid_grant", "error_description": "This code is not valid."},
        )
    double.delay = 0.3
    body = (
        "from concurrent.futures import ThreadPoolExecutor\ndef text(_):\n    try:\n"
        "        return urllib.request.urlopen(q['redirect_uri'] + '?' + p.urlencode({'state': q['state'], 'code': 'c'})).read()\n"
        "    except OSError:\n        return b''\n"
        f"open({str(laptop.folder / 'said')!r}, 'wb').write(b''.join(ThreadPoolExecutor().map(text, range(3))))\n"
    )
    done = laptop.run("login", double.url, status=0 if good else 4, BROWSER=_opener(laptop, body))
    path = laptop.folder / "said"
    deadline = time.monotonic() + 20
    while not path.exists() or not path.read_text():  # the helper does not wait for its browser
        assert time.monotonic() < deadline
        time.sleep(0.02)
    said = path.read_text()
    assert ("You are signed in" in said) is good
    assert ("You are not signed in" in said) is not good
    assert ("This code is not valid." in done.stderr) is not good
    assert double.asked["/oauth/token"] == 1


def test_a_browser_that_does_not_wait_for_its_page(double: GatewayDouble, laptop: Laptop) -> None:
    double.delay = 1.0
    body = (
        "import socket, struct, time\nto = p.urlsplit(q['redirect_uri'])\ns = socket.create_connection((to.hostname, to.port))\n"
        "s.sendall(f\"GET /callback?code=c&state={q['state']} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\".encode())\n"
        "time.sleep(0.5)\ns.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\ns.close()"
    )
    assert "Signed in" in laptop.run("login", double.url, BROWSER=_opener(laptop, body)).stderr


@pytest.mark.parametrize("form", ["env", "fish", "powershell", "file"])
@pytest.mark.parametrize(
    "region", ["'; touch pwned; '", "eu-west-1\u2019; calc", "$(id)", ["eu-west-1"], "EU", "x" * 41]
)
def test_a_region_that_is_none_is_in_no_line_for_a_shell(
    double: GatewayDouble, laptop: Laptop, form: str, region: object
) -> None:
    """`rolegate env … | Invoke-Expression`: what the gateway calls a region would be run."""
    double.roles[0]["region"] = region
    double.sign_in(laptop)
    text = laptop.run("credentials", "--role", "shop-prod/ReadOnly", "--format", form).stdout
    assert "SECRET" in text.upper()
    assert "REGION" not in text.upper()
