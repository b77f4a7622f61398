"""How soon a change counts: from the moment that it is made elsewhere to what an employee may do, the lists and `explain`.

    python -m bench.changes [ROUNDS]

The real gateway (granian, two workers), a worker and a beat on their usual schedule with a Redis of their own, a real slapd, and the
local AWS of the demo; the database is PostgreSQL when DATABASE_URL names one, else SQLite. Seconds from the change until
  mints    POST /api/v1/credentials gives the role, or refuses it
  roles    the person's own page lists it, or not
  lists    the role's page in the console names the person, out of the entitlements
  explain  GET /api/v1/explain says so; trusted: that it tells what the role's trust policy lets in
SCIM and the mapping document count where they are written. A directory that is read, and AWS, count once they have been read:
what is timed begins with `manage.py refresh`, whose own start is told beside it; the schedule's interval comes on top.

Bounds: what decides (mints, roles, explain) 5 s, the lists 30 s. Exit status 1 where one is missed.
"""

from __future__ import annotations

import http.client
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench import saml_traffic
from bench.scim import GROUP, PATCH, USER
from demo.aws.server import LocalAws
from demo.estate import AUDIENCE, reader_trust, trust_policy
from demo.estate import READER as READER_ROLE
from tests.faults.servers import RedisServer, celery
from tests.live import Gateway
from tests.peers.slapd import BASE, READER, READER_PASSWORD, Authority, Slapd, group_dn, person_dn

DECIDES, LISTS = 5.0, 30.0
ACCOUNT = "444455556666"
PUSHED, READ, MAPPED, TAGGED, TRUSTED = ("Pushed", "Read", "Mapped", "Tagged", "Trusted")
_PEOPLE = """
import hashlib, secrets
from datetime import timedelta
from django.test import Client
from django.utils import timezone
from federation.models import AccessToken, Person, TokenFamily
now = timezone.now()
for provider, name in (("pushed", "sam"), ("read", "lea"), ("pushed", "staff")):
    groups = ["everybody", *(["gateway-owners"] if name == "staff" else [])]
    person = Person.objects.create(provider=provider, subject=name, session_name=name, name=name.title() + " Somebody", groups=groups,
        claims_at=now, authenticated_at=now)
    family = TokenFamily.objects.create(person=person, client_id="rolegate-cli", label="bench", scope="roles credentials console",
        session_epoch=0, created=now, last_used=now, expires=now + timedelta(days=1))
    token = "rlg_at_" + secrets.token_urlsafe(32)
    AccessToken.objects.create(hash=hashlib.sha256(token.encode()).hexdigest(), family=family, issued=now, expires=now + timedelta(hours=2))
    browser = Client()
    browser.force_login(person, backend="portal.auth.FederatedBackend")
    print("PERSON", name, token, "; ".join(f"{key}={morsel.value}" for key, morsel in browser.cookies.items()))
"""


def document(slapd: Slapd, certificate: str, *, mapped: bool) -> dict[str, Any]:
    """Two providers, one whose directory pushes and one whose directory is read; a rule for each kind of change."""
    allow = lambda role: {"roles": [role], "accounts": {"ids": [ACCOUNT]}}
    saml = saml_traffic.provider(certificate)
    return {
        "version": 1,
        "identity_providers": [json.loads(json.dumps({**saml, "slug": slug, "name": slug})) for slug in ("pushed", "read")],
        "directories": [
            {"slug": "pushed", "provider": "pushed", "groups": "add", "scim": {}},
            {"slug": "read", "provider": "read", "groups": "add",
             "ldap": {"url": slapd.tls_url, "base_dn": BASE, "bind_dn": READER, "password": "${BENCH_LDAP_PASSWORD}",
                      "ca_certificate": slapd.authority.pem}},
        ],
        "accounts": [{"id": ACCOUNT, "name": "shop", "federation": "oidc", "region": "us-east-1"}],
        "staff": [{"role": "owner", "groups": ["gateway-owners"]}],
        "mapping": [
            {"name": "pushed", "when": {"groups": ["pushed-readers"]}, "allow": allow(PUSHED)},
            {"name": "read", "when": {"groups": ["read-readers"]}, "allow": allow(READ)},
            {"name": "mapped", "when": {"groups": ["everybody" if mapped else "nobody"]}, "allow": allow(MAPPED)},
            {"name": "trusted", "when": {"groups": ["everybody"]}, "allow": allow(TRUSTED)},
        ],
        "delegations": [{"accounts": {"ids": [ACCOUNT]}, "groups": ["everybody"]}],
    }  # fmt: skip


class Watch:
    """What the gateway says of a person and a role, asked again and again."""

    def __init__(self, gateway: Gateway, people: dict[str, tuple[str, str]]) -> None:
        self._gateway, self._people = gateway, people

    def ask(self, method: str, path: str, headers: dict[str, str], body: object = None) -> tuple[int, bytes]:
        """(status, body) of one request, on a connection of its own: whichever worker takes it must know."""
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=60)
        try:
            data = json.dumps(body) if body is not None else None
            sent = {"Host": urlsplit(self._gateway.url).netloc, **headers}
            connection.request(method, path, data, sent | ({"Content-Type": "application/json"} if data else {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _bearer(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._people[who][0]}"}

    def mints(self, who: str, role: str) -> bool:
        status, answer = self.ask(
            "POST", "/api/v1/credentials", self._bearer(who), {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/{role}"}
        )
        if status not in {200, 403, 502}:
            raise RuntimeError(f"minting {role}: {status} {answer[:300]!r}")
        return status == 200

    def roles(self, who: str, role: str) -> bool:
        status, page = self.ask("GET", "/", {"Cookie": self._people[who][1]})
        if status != 200:
            raise RuntimeError(f"my roles: {status} {page[:300]!r}")
        return f"/roles/{ACCOUNT}/{role}/".encode() in page

    def lists(self, who: str, role: str) -> bool:
        status, page = self.ask("GET", f"/staff/accounts/{ACCOUNT}/roles/{role}/", {"Cookie": self._people["staff"][1]})
        if status != 200:
            raise RuntimeError(f"the role's page: {status} {page[:300]!r}")
        return f"{who.title()} Somebody".encode() in page

    def _explained(self, who: str, role: str) -> dict[str, Any]:
        arn = quote(f"arn:aws:iam::{ACCOUNT}:role/{role}", safe="")
        status, answer = self.ask("GET", f"/api/v1/explain?role_arn={arn}", self._bearer(who))
        if status != 200:
            raise RuntimeError(f"explain: {status} {answer[:300]!r}")
        return dict(json.loads(answer))

    def explain(self, who: str, role: str) -> bool:
        return bool(self._explained(who, role)["allowed"])

    def trusted(self, who: str, role: str) -> bool:
        return bool(self._explained(who, role)["trusted"])

    def until(
        self, who: str, role: str, wanted: bool, names: tuple[str, ...], limit: float = 120.0
    ) -> dict[str, float]:
        """Seconds from now until each of `names` says `wanted`. Raises RuntimeError after `limit`."""
        began, found = time.perf_counter(), dict[str, float]()
        while len(found) < len(names):
            for name in names:
                if name not in found and getattr(self, name)(who, role) is wanted:
                    found[name] = time.perf_counter() - began
            if time.perf_counter() - began > limit:
                raise RuntimeError(f"{role} for {who}: {set(names) - set(found)} never said {wanted}")
            time.sleep(0.02)
        return found


EVERYWHERE = ("mints", "roles", "explain", "lists")


def line(label: str, rounds: list[dict[str, float]], note: str = "") -> bool:
    """Print the median of the rounds; False where one of them misses its bound."""
    names = list(rounds[0])
    told = "  ".join(f"{name} {statistics.median(one[name] for one in rounds):5.2f}" for name in names)
    good = all(one[name] <= (LISTS if name == "lists" else DECIDES) for one in rounds for name in names)
    print(f"{label:32}{told}{note}{'' if good else '  MISSED'}", flush=True)
    return good


def main(rounds: int = 3) -> int:
    """Run it; exit status 1 where a bound is missed."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_folder, slapd_folder = folder / "redis", folder / "slapd"
        redis_folder.mkdir()
        slapd_folder.mkdir()
        aws, broker = LocalAws(), RedisServer(redis_folder)
        slapd = Slapd(slapd_folder, Authority())
        endpoints = {f"AWS_ENDPOINT_URL_{service}": aws.url for service in ("STS", "IAM", "ORGANIZATIONS")}
        gateway = Gateway(
            folder / "gateway",
            {**endpoints, "BENCH_LDAP_PASSWORD": READER_PASSWORD, "ROLEGATE_RATE_FACTOR": "1000"},
        )  # fmt: skip
        gateway.environment["REDIS_URL"] = broker.url
        gateway.workers, gateway.threads = 2, 8
        for part in (broker, aws, slapd, gateway):
            part.start()
            stack.callback(part.stop)
        slapd.furnish()
        slapd.people(["lea", "leo"])
        slapd.group("everybody", [person_dn("lea"), person_dn("leo")])
        slapd.group("read-readers", [person_dn("leo")])
        provider = aws.register_oidc_provider(ACCOUNT, gateway.issuer, [AUDIENCE])
        aws.create_role(ACCOUNT, READER_ROLE, reader_trust(provider, gateway.issuer))
        trust = trust_policy(provider, gateway.issuer)
        for role in (PUSHED, READ, MAPPED, TAGGED, TRUSTED):
            aws.create_role(ACCOUNT, role, trust)
        _, certificate = saml_traffic.signing_key()
        apply = lambda mapped: gateway.apply(document(slapd, certificate, mapped=mapped))
        apply(False)
        said = gateway.manage("shell", "-v", "0", "-c", _PEOPLE)
        people = {
            name: (token, cookies)
            for name, token, cookies in (
                text.removeprefix("PERSON ").split(" ", 2) for text in said.splitlines() if text.startswith("PERSON ")
            )
        }
        scim = {
            "Authorization": f"Bearer {gateway.manage('tokens', 'create', 'bench', '--scope', 'scim:pushed').strip()}"
        }
        gateway.manage("refresh", "directory")
        gateway.manage("refresh", "catalogue")
        for number, arguments in enumerate(
            (("worker", "--concurrency", "2"), ("beat", "--schedule", str(folder / "beat")))
        ):
            program = stack.enter_context(celery(folder / f"celery{number}", gateway.environment, *arguments))
            program.said(" ready." if number == 0 else "beat: Starting")
        watch = Watch(gateway, people)

        def push(path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
            status, answer = watch.ask(method, f"/scim/v2{path}", scim, body)
            if status not in {200, 201, 204}:
                raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
            return json.loads(answer) if answer else {}

        users = {
            name: push("/Users", {"schemas": [USER], "userName": name, "active": True})["id"]
            for name in ("sam", "staff")
        }
        group = push("/Groups", {"schemas": [GROUP], "displayName": "pushed-readers", "members": []})["id"]
        push("/Groups", {"schemas": [GROUP], "displayName": "gateway-owners", "members": [{"value": users["staff"]}]})

        def scim_group(wanted: bool) -> None:
            operation: dict[str, Any] = {"op": "add", "path": "members", "value": [{"value": users["sam"]}]}
            if not wanted:
                operation = {"op": "remove", "path": f'members[value eq "{users["sam"]}"]'}
            push(f"/Groups/{group}", {"schemas": [PATCH], "Operations": [operation]}, "PATCH")

        def slapd_group(wanted: bool) -> None:
            slapd.change(
                group_dn("read-readers"), f"{'add' if wanted else 'delete'}: member", f"member: {person_dn('lea')}"
            )

        def role_tag(wanted: bool) -> None:
            iam = aws.client("iam", ACCOUNT)
            if wanted:
                iam.tag_role(RoleName=TAGGED, Tags=[{"Key": "rolegate:groups", "Value": "everybody"}])
            else:
                iam.untag_role(RoleName=TAGGED, TagKeys=["rolegate:groups"])

        def role_trust(wanted: bool) -> None:
            aws.create_role(
                ACCOUNT,
                TRUSTED,
                trust if wanted else {**trust, "Statement": [{**trust["Statement"][0], "Effect": "Deny"}]},
            )

        def measured(
            who: str,
            role: str,
            change: Callable[[bool], None],
            names: tuple[str, ...] = EVERYWHERE,
            *,
            read: str = "",
            began: bool = False,
        ) -> tuple[list[dict[str, float]], str]:
            """Each round makes the change and undoes it. `read`: what `manage.py refresh` has to read before it can count."""
            found, reading = [], []
            for _ in range(rounds):
                for wanted in (not began, began):
                    change(wanted)
                    if read:
                        start = time.perf_counter()
                        gateway.manage("refresh", read)
                        reading.append(time.perf_counter() - start)
                    found.append(watch.until(who, role, wanted, names))
            return found, f"  after reading for {statistics.median(reading):.1f} s" if reading else ""

        print(f"seconds until a change counts; median of {rounds * 2}, half of them given and half taken away")
        good = line("mapping document, applied", *measured("sam", MAPPED, apply))
        good &= line("SCIM, a group's member", *measured("sam", PUSHED, scim_group))
        good &= line("slapd, a group's member", *measured("lea", READ, slapd_group, read="directory"))
        good &= line("AWS, a role's tag", *measured("sam", TAGGED, role_tag, read="catalogue"))
        good &= line(
            "AWS, a role's trust policy",
            *measured("sam", TRUSTED, role_trust, ("mints", "trusted"), read="catalogue", began=True),
        )
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:2])))
