"""A whole company signs in: 5,000 distinct people, each request out, signed response in, roles page.

    python -m bench.company [PEOPLE [PROGRAMS]]

PROGRAMS: the folder with the granian of another environment, as bench.credentials takes it: such as one of the interpreter that
the image has, which is built with profile-guided optimization.

The real gateway (granian, two workers) on PostgreSQL when DATABASE_URL names one, else SQLite; the load generator runs
on the same cores, signs each response itself and counts every answer that is not the expected one as a failure.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
from cryptography.hazmat.primitives.asymmetric import rsa

from bench import machine, saml_traffic
from bench.credentials import cpu_seconds
from tests.live import Gateway, mapping_document

THREADS = 8
TARGET_SECONDS = 60
_local = threading.local()


class Failure(Exception):
    """An answer other than the expected one."""


def _connection(port: int) -> http.client.HTTPConnection:
    if not hasattr(_local, "connection"):
        _local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    return _local.connection


def _ask(
    port: int, host: str, method: str, path: str, *, cookies: dict[str, str], body: str = "", expect: int
) -> http.client.HTTPResponse:
    headers = {"Host": host, "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection = _connection(port)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    answer.content = answer.read()  # type: ignore[attr-defined]
    if answer.status != expect:
        raise Failure(f"{method} {path[:40]}: {answer.status} {answer.content[:300]!r}")  # type: ignore[attr-defined]
    for name, value in answer.getheaders():
        if name.lower() == "set-cookie":
            key, _, rest = value.partition("=")
            cookies[key] = rest.split(";", 1)[0]
    return answer


def sign_in(gateway: Gateway, key: rsa.RSAPrivateKey, person: int, acs_times: list[float]) -> None:
    """One person's way from the request to the roles page. Raises Failure."""
    cookies: dict[str, str] = {}
    host = urlsplit(gateway.url).netloc
    begun = _ask(gateway.port, host, "GET", "/signin/corp/", cookies=cookies, expect=302)
    request_id, relay_state = saml_traffic.asked(begun.getheader("Location") or "")
    base = f"{gateway.url}/saml/corp"
    response = saml_traffic.response(key, person, request_id, acs=f"{base}/acs", audience=f"{base}/metadata")
    form = urlencode({"SAMLResponse": response, "RelayState": relay_state})
    started = time.perf_counter()
    received = _ask(gateway.port, host, "POST", "/saml/corp/acs", cookies={}, body=form, expect=303)
    acs_times.append(time.perf_counter() - started)
    path = (received.getheader("Location") or "").removeprefix(gateway.url)
    _ask(gateway.port, host, "GET", path, cookies=cookies, expect=302)
    page = _ask(gateway.port, host, "GET", "/", cookies=cookies, expect=200)
    if b"ReadOnly" not in page.content:  # type: ignore[attr-defined]
        raise Failure("the roles page does not list the role")


def main(people: int = 5000, programs: str = "") -> int:
    """Run it; exit status 1 on any failure."""
    key, certificate = saml_traffic.signing_key()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder), {"ROLEGATE_RATE_FACTOR": "1000", "ROLEGATE_LOG_LEVEL": "WARNING"})
        gateway.workers = 2
        gateway.threads = 8  # as the README runs it
        if programs:
            gateway.programs = Path(programs).absolute()
        pace = machine.slower()  # while nothing else runs
        gateway.start()
        try:
            gateway.apply(mapping_document([saml_traffic.provider(certificate)]))
            acs_times: list[float] = []
            sign_in(gateway, key, 10_000_000, [])  # warm
            failures: list[str] = []

            def one(person: int) -> None:
                try:
                    sign_in(gateway, key, person, acs_times)
                except (Failure, OSError, http.client.HTTPException) as error:
                    failures.append(f"{error.__class__.__name__}: {error}")

            process = psutil.Process(gateway.pid)
            used, mine = cpu_seconds(process), time.process_time()
            started = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(one, range(people)))
            elapsed = time.perf_counter() - started
            used, mine = cpu_seconds(process) - used, time.process_time() - mine
            acs_times.sort()
            print(
                f"{people} people signed in within {elapsed:.1f} s ({people / elapsed:.0f}/s), failures: {len(failures)}"
            )
            print(
                f"that is {elapsed / (TARGET_SECONDS * people / 5000):.2f} of the {TARGET_SECONDS * people / 5000:.0f} s allowed"
            )
            print(
                f"this machine takes {pace:.2f} times as long as the one the limit was set on: {elapsed / pace:.1f} s there, {elapsed / pace / (TARGET_SECONDS * people / 5000):.2f} of it"
            )
            print(
                f"CPU for each person: the gateway {used / people * 1000:.1f} ms, who signs in and counts {mine / people * 1000:.1f}"
            )
            if acs_times:
                print(
                    f"ACS under this load: median {acs_times[len(acs_times) // 2] * 1000:.1f} ms, p99 {acs_times[int(len(acs_times) * 0.99)] * 1000:.1f} ms"
                )
            for failure in failures[:5]:
                print("  ", failure)
            return 1 if failures else 0
        finally:
            gateway.stop()


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:2]), *sys.argv[2:3]))
