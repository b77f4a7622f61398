"""The role catalogue of a large organization: 1,000 accounts of 200 roles, read from a double that takes its time and throttles.

    python -m bench.catalogue [--accounts 1000] [--roles 200] [--rate 100] [--rate-each 0]

The double (tests/aws/paging.py, a process of its own) answers after 20 ms, 50 roles a page, and refuses what exceeds its
token bucket: `--rate` calls a second of all accounts together, or `--rate-each` of each account, as IAM's own limit is.
Read by `manage.py refresh catalogue`, a process as a worker is, into PostgreSQL where DATABASE_URL names one, else SQLite;
twice: the second run finds nothing new and must write nothing. Then roles pages of people with few and with many roles.

Bounds: the time at most 1.3 x what the bucket allows for the calls that were answered; 300 MB at the peak; a page of 5 roles
50 ms, of 500 roles 300 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.aws import paging
from tests.live import ROOT, Gateway

DELAY, PAGE, ACCOUNTS_AT_ONCE = 0.02, 50, 16
TIME_RATIO, MEMORY_MB, WORKER_MB = 1.3, 300, 20
PAGES = {"few": (5, 50), "many": (500, 300)}  # group -> roles, milliseconds allowed

_SESSIONS = """
from django.test import Client
from django.utils import timezone
from federation.models import Person
now = timezone.now()
for group in {groups}:
    person = Person.objects.create(provider="corp", subject=group, session_name=group, name=group, groups=[group], claims_at=now, authenticated_at=now)
    browser = Client()
    browser.force_login(person, backend="portal.auth.FederatedBackend")
    print("SESSION", group, "; ".join(f"{{name}}={{morsel.value}}" for name, morsel in browser.cookies.items()))
"""


def document(accounts: int) -> dict[str, Any]:
    """All the accounts; few: one role in 5 of them; many: one role in 500."""
    rows = [
        {"id": account_id, "name": f"account-{number:04}", "federation": "oidc",
         "tags": {group: str(int(number < roles)) for group, (roles, _) in PAGES.items()}}
        for number, account_id in enumerate(paging.account_ids(accounts))
    ]  # fmt: skip
    return {
        "version": 1,
        "identity_providers": [
            {"slug": "corp", "name": "Bench", "oidc": {"issuer": "http://127.0.0.1:9", "client_id": "x", "client_secret": "${TEST_CLIENT_SECRET}"},
             "claims": {"subject": "sub", "email": "email", "name": "name", "groups": "groups"}}
        ],
        "accounts": rows,
        "mapping": [
            {"name": group, "when": {"groups": [group]}, "allow": {"roles": ["role-0007"], "accounts": {"tags": {group: "1"}}}}
            for group in PAGES
        ],
    }  # fmt: skip


def refresh(gateway: Gateway) -> tuple[float, float, float, str]:
    """Seconds, CPU seconds, peak MB and last line of one `manage.py refresh catalogue`."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(
            [sys.executable, "manage.py", "refresh", "catalogue"], cwd=ROOT, env=gateway.environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        peak, cpu = 0.0, 0.0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss / 1e6)
                cpu = sum(process.cpu_times()[:2])
            except psutil.Error:
                break
            time.sleep(0.05)
        process.wait()
        seconds = time.perf_counter() - begun
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    return seconds, cpu, peak, lines[-1] if lines else ""


def floor(counts: dict[str, int], given: argparse.Namespace) -> float:
    """Seconds that the double's own limit needs for the calls that it answered."""
    answered = sum(count for name, count in counts.items() if not name.endswith(" 400"))
    if given.rate:
        return (answered - given.rate / 2) / given.rate
    calls = answered / given.accounts
    # STS comes before IAM's own limit begins to count, and is not under it.
    each = max(calls * DELAY, DELAY + (calls - 1 - given.rate_each / 2) / given.rate_each if given.rate_each else 0)
    return each * given.accounts / ACCOUNTS_AT_ONCE


def pages(gateway: Gateway, accounts: int) -> int:
    """Time and memory of the roles page, over HTTP from the running gateway. Returns how many bounds are broken."""
    said = gateway.manage("shell", "-v", "0", "-c", _SESSIONS.format(groups=list(PAGES)))
    cookies = dict(
        line.removeprefix("SESSION ").split(" ", 1) for line in said.splitlines() if line.startswith("SESSION")
    )
    gateway.workers = 1
    gateway.start()
    workers = psutil.Process(gateway.pid).children(recursive=True)
    memory = lambda: max(worker.memory_full_info().pss for worker in workers) / 1e6
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def get(path: str, cookie: str = "") -> tuple[float, bytes]:
        begun = time.perf_counter()
        connection.request("GET", path, headers={"Host": urlsplit(gateway.url).netloc, "Cookie": cookie})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body[:500])
        return (time.perf_counter() - begun) * 1000, body

    for _ in range(5):
        get("/signin/")
    before, broken = memory(), 0
    for group, (roles, allowed) in PAGES.items():
        first, body = get("/", cookies[group])
        assert f"{min(roles, accounts)} roles".encode() in body, body[:4000]
        took = statistics.median(get("/", cookies[group])[0] for _ in range(15))
        over = took > allowed
        broken += over
        print(
            f"page of {roles:3} roles: {took:6.1f} ms, {took / allowed:.2f} of the {allowed} ms allowed (the very first {first:.0f} ms){'  BROKEN' if over else ''}"
        )
    more = memory() - before
    print(
        f"the worker's memory grew by {more:.1f} MB of the {WORKER_MB} allowed{'  BROKEN' if more > WORKER_MB else ''}"
    )
    return broken + (more > WORKER_MB)


def main() -> int:
    """Run it; exit status 1 where a bound is broken."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=1000)
    options.add_argument("--roles", type=int, default=200)
    options.add_argument("--rate", type=float, default=100.0)
    options.add_argument("--rate-each", type=float, default=0.0)
    given = options.parse_args()
    if given.rate_each:
        given.rate = 0.0
    double = subprocess.Popen(
        [sys.executable, "-m", "tests.aws.paging", "--accounts", str(given.accounts), "--roles", str(given.roles), "--page", str(PAGE),
         "--delay", str(DELAY), "--rate", str(given.rate), "--rate-each", str(given.rate_each)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert double.stdout is not None
    url = double.stdout.readline().strip()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        environment = {f"AWS_ENDPOINT_URL_{service}": url for service in ("STS", "IAM", "ORGANIZATIONS")}
        gateway = Gateway(Path(folder), {**environment, "TEST_CLIENT_SECRET": "public", "ROLEGATE_LOG_LEVEL": "ERROR"})
        try:
            gateway.manage("migrate", "-v", "0")
            gateway.apply(document(given.accounts))
            limit = (
                f"{given.rate_each:g} calls/s of each account" if given.rate_each else f"{given.rate:g} calls/s in all"
            )
            print(
                f"{given.accounts} accounts x {given.roles} roles, {PAGE} a page, {DELAY * 1000:.0f} ms an answer, {limit}"
            )
            for run in ("first", "second"):
                seconds, cpu, peak, said = refresh(gateway)
                counts = json.loads(urllib.request.urlopen(url).read())
                allowed = floor(counts, given)
                refused = sum(count for name, count in counts.items() if name.endswith(" 400"))
                ratio = seconds / allowed
                over = ratio > TIME_RATIO or peak > MEMORY_MB
                wrote = "0 row(s) written" in said
                over = over or (run == "second" and not wrote)
                broken += over
                print(
                    f"{run:<7}{seconds:7.1f} s, {ratio:.2f} of the {allowed:.1f} s that the limit allows (at most {TIME_RATIO}); CPU {cpu:.1f} s; "
                    f"peak {peak:.0f} MB (at most {MEMORY_MB}); {sum(counts.values())} calls, {refused} refused; {said}{'  BROKEN' if over else ''}"
                )
            broken += pages(gateway, given.accounts)
        finally:
            gateway.stop()
            double.communicate(input="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
