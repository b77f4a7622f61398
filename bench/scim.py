"""SCIM: the first load of a company, the cost of one change, and how fast a disable counts.

    python -m bench.scim [PEOPLE [GROUPS [DISABLES]]]

The real gateway (granian, two workers) on PostgreSQL when DATABASE_URL names one, else SQLite. 5,000 people are made one by
one, as directories do, then 200 groups, and everybody is put into all of them, a thousand members in a PATCH: a million
memberships. The floor beside it, in the same run: the same rows by the database's own bulk insert.
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench import saml_traffic
from bench.credentials import _Server, _Sts, cpu_seconds
from tests.live import READ_ONLY_OIDC, Gateway, mapping_document

LOAD_SECONDS, PATCH_MS, P99_SECONDS, WORST_SECONDS = 180.0, 20.0, 1.0, 5.0
CALLERS = 8
CALLERS_OF_ONE = 2
MEMBERS_AT_ONCE = 1_000
PATCHES = 300
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

_TOKENS = """
import hashlib, secrets, sys
from datetime import timedelta
from django.utils import timezone
from federation.models import AccessToken, Person, TokenFamily
now = timezone.now()
for number in range({many}):
    name = f"person-{{number:05}}"
    person = Person.objects.create(provider="corp", subject=name, session_name=name, name=name, groups=[], claims_at=now, authenticated_at=now)
    family = TokenFamily.objects.create(person=person, client_id="rolegate-cli", label="bench", scope="roles credentials console",
        session_epoch=0, created=now, last_used=now, expires=now + timedelta(days=1))
    token = "rlg_at_" + secrets.token_urlsafe(32)
    AccessToken.objects.create(hash=hashlib.sha256(token.encode()).hexdigest(), family=family, issued=now, expires=now + timedelta(hours=2))
    print("TOKEN=" + token)
"""
_FLOOR = """
import time
from django.db import connection, transaction
from django.utils import timezone
from federation.models import DirectoryGroup, DirectoryUser, Membership
users = list(DirectoryUser.objects.values_list("pk", flat=True)); groups = list(DirectoryGroup.objects.values_list("pk", flat=True))
now = timezone.now()
begun = time.perf_counter()
try:
    with transaction.atomic():
        Membership.objects.all().delete()
        begun = time.perf_counter()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor, cursor.copy("COPY federation_membership (user_id, group_id, since) FROM STDIN") as copy:
                for group in groups:
                    for user in users:
                        copy.write_row((user, group, now))
        else:
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO federation_membership (user_id, group_id, since) VALUES (%s, %s, %s)",
                    ((user.hex, group.hex, now) for group in groups for user in users))
        print("SECONDS=" + str(time.perf_counter() - begun))
        raise SystemExit
except SystemExit:
    pass
"""
_local = threading.local()


class Caller:
    """One connection a thread, kept open."""

    def __init__(self, port: int, host: str, token: str) -> None:
        self._port, self._host, self._token = port, host, token

    def __call__(self, method: str, path: str, body: object = None, *, token: str = "") -> tuple[int, dict]:
        if getattr(_local, "port", None) != self._port:
            _local.connection, _local.port = (
                http.client.HTTPConnection("127.0.0.1", self._port, timeout=120),
                self._port,
            )
        headers = {
            "Host": self._host,
            "Authorization": f"Bearer {token or self._token}",
            "Content-Type": "application/json",
        }
        _local.connection.request(method, path, json.dumps(body).encode() if body is not None else None, headers)
        answer = _local.connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else {}


def batches(ids: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(ids), MEMBERS_AT_ONCE):
        yield ids[begin : begin + MEMBERS_AT_ONCE]


def load(call: Caller, people: int, groups: int) -> tuple[list[str], list[str], list[int]]:
    """Returns ids of people and groups, and the statuses that were none of success."""
    bad: list[int] = []

    def make(path: str, body: dict) -> str:
        status, said = call("POST", f"/scim/v2/{path}", body)
        if status != 201:
            bad.append(status)
        return str(said.get("id"))

    def person(number: int) -> str:
        name = f"person-{number:05}"
        return make(
            "Users",
            {"schemas": [USER], "userName": name, "active": True, "displayName": name.title(),
             "emails": [{"value": f"{name}@example.com", "type": "work", "primary": True}]},
        )  # fmt: skip

    def fill(pair: tuple[str, list[str]]) -> None:
        group, members = pair
        change = {"op": "add", "path": "members", "value": [{"value": member} for member in members]}
        status, _ = call("PATCH", f"/scim/v2/Groups/{group}", {"schemas": [PATCH], "Operations": [change]})
        if status != 204:
            bad.append(status)

    with ThreadPoolExecutor(CALLERS) as pool:
        users = list(pool.map(person, range(people)))
        names = ["engineering", *(f"group-{number:03}" for number in range(1, groups))]
        made = list(pool.map(lambda name: make("Groups", {"schemas": [GROUP], "displayName": name}), names))
        # Another group for each caller: of one group's changes, each waits for the other.
        list(pool.map(fill, [(group, members) for members in batches(users) for group in made]))
    return users, made, bad


def patches(call: Caller, users: list[str], group: str, process: psutil.Process) -> dict[str, float]:
    """Milliseconds of the gateway's CPU for one change of each kind."""
    found = {}
    kinds = {
        "a person's title": lambda n: (f"Users/{users[n]}", {"op": "replace", "path": "title", "value": f"Title {n}"}),
        "a person disabled": lambda n: (f"Users/{users[-n - 1]}", {"op": "replace", "path": "active", "value": False}),
        "a person enabled": lambda n: (f"Users/{users[-n - 1]}", {"op": "replace", "path": "active", "value": True}),
        "out of a group": lambda n: (f"Groups/{group}", {"op": "remove", "path": f'members[value eq "{users[n]}"]'}),
        "into a group": lambda n: (f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": users[n]}]}),
    }
    for name, change in kinds.items():
        used, many = cpu_seconds(process), min(PATCHES, len(users) // 6)
        for number in range(many):
            path, operation = change(number)
            status, said = call("PATCH", f"/scim/v2/{path}", {"schemas": [PATCH], "Operations": [operation]})
            assert status in (200, 204), (name, status, said)
        found[name] = (cpu_seconds(process) - used) * 1000 / many
    return found


def disable(call: Caller, users: list[str], tokens: list[str]) -> list[float]:
    """For each person: seconds from the push to the last credential that was still given; two callers ask without a pause."""
    taken = []
    for user, token in zip(users, tokens, strict=False):
        given: list[float] = []
        stop = threading.Event()

        def ask(token: str = token, given: list[float] = given, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                status, _ = call("POST", "/api/v1/credentials", {"role_arn": READ_ONLY_OIDC}, token=token)
                if status == 200:
                    given.append(time.perf_counter())

        callers = [threading.Thread(target=ask) for _ in range(CALLERS_OF_ONE)]
        for caller in callers:
            caller.start()
        while len(given) < 2 * CALLERS_OF_ONE:
            time.sleep(0.005)
        begun = time.perf_counter()
        change = {"op": "replace", "path": "active", "value": False}
        status, _ = call("PATCH", f"/scim/v2/Users/{user}", {"schemas": [PATCH], "Operations": [change]})
        assert status == 200, status
        time.sleep(0.4)
        stop.set()
        for caller in callers:
            caller.join()
        taken.append(max(0.0, max(given) - begun))
    return taken


def _marked(text: str, mark: str) -> list[str]:
    return [line.split(mark, 1)[1] for line in text.splitlines() if mark in line]


def _ninety_nine(values: Iterable[float]) -> float:
    listed = sorted(values)
    return statistics.quantiles(listed, n=100)[98] if len(listed) > 1 else listed[0]


def main(people: int = 5_000, groups: int = 200, disables: int = 60) -> int:
    """Run it; exit status 1 where a call fails or a limit is passed."""
    sts = _Server(("127.0.0.1", 0), _Sts)
    threading.Thread(target=sts.serve_forever, daemon=True).start()
    _, certificate = saml_traffic.signing_key()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(
            Path(folder),
            {"ROLEGATE_RATE_FACTOR": "1000", "ROLEGATE_LOG_LEVEL": "ERROR", "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.server_address[1]}"},
        )  # fmt: skip
        gateway.workers, gateway.threads = 2, 4
        gateway.start()
        try:
            directory = {"slug": "staff", "provider": "corp", "scim": {}}
            gateway.apply({**mapping_document([saml_traffic.provider(certificate)]), "directories": [directory]})
            token = gateway.manage("tokens", "create", "bench", "--scope", "scim:staff").strip()
            call = Caller(gateway.port, urlsplit(gateway.url).netloc, token)
            process = psutil.Process(gateway.pid)

            used, begun = cpu_seconds(process), time.perf_counter()
            users, made, bad = load(call, people, groups)
            elapsed, cpu = time.perf_counter() - begun, cpu_seconds(process) - used
            floor = float(_marked(gateway.manage("shell", "-v", "0", "-c", _FLOOR), "SECONDS=")[0])
            share = people * groups / 1_000_000
            print(
                f"first load: {people} people in {groups} groups each, {people * groups:,} memberships, {CALLERS} callers"
            )
            print(
                f"  {elapsed:6.1f} s, {cpu:6.1f} s of the gateway's CPU; {elapsed / LOAD_SECONDS:.2f} of the {LOAD_SECONDS:.0f} s allowed; "
                f"the same memberships by bulk insert: {floor:.1f} s; failures: {len(bad)}"
            )
            late = elapsed > LOAD_SECONDS * max(1.0, share)

            costs = patches(call, users, made[0], process)
            for name, cost in costs.items():
                print(
                    f"one PATCH, {name:18} {cost:6.2f} ms of CPU, {cost / PATCH_MS:.2f} of the {PATCH_MS:.0f} allowed"
                )

            tokens = _marked(gateway.manage("shell", "-v", "0", "-c", _TOKENS.format(many=disables)), "TOKEN=")
            taken = disable(call, users, tokens)
            p99, worst = _ninety_nine(taken), max(taken)
            print(
                f"disabled, to the last credential still given, {len(taken)} people, {CALLERS_OF_ONE} callers each: median {statistics.median(taken) * 1000:.0f} ms, "
                f"p99 {p99 * 1000:.0f} ms ({p99 / P99_SECONDS:.2f} of what is allowed), worst {worst * 1000:.0f} ms"
            )
            failed = bool(bad) or late or max(costs.values()) > PATCH_MS or p99 > P99_SECONDS or worst > WORST_SECONDS
            return 1 if failed else 0
        finally:
            gateway.stop()
            sts.shutdown()


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:4])))
