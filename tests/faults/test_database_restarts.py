"""The database restarts, or fails over, while credentials are asked for: 503 until it is back, nothing unrecorded, nothing lost."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import requests

from tests.faults.conftest import LOCK_SECONDS, Town
from tests.faults.servers import wait_until
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Api, Gateway

BACK_WITHIN_SECONDS = 15
# The second: AWS asks the gateway itself for its public keys, and they are in the database.
MAY_SAY = {"service_unavailable", "sts_idp_communication"}


@dataclass(frozen=True)
class Answer:
    at: float
    status: int
    body: dict[str, Any]
    retry_after: str


@dataclass
class Load:
    """People who ask for credentials without a pause, and what they were answered."""

    answers: list[Answer] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)

    def ask(self, api: Api, role: str) -> None:
        while not self._ending.is_set():
            try:
                answer = api.post("/credentials", {"role_arn": role})
                told = Answer(
                    time.monotonic(), answer.status_code, answer.json(), answer.headers.get("Retry-After", "")
                )
                self.answers.append(told)
            except requests.RequestException as error:
                self.broken.append(repr(error))
            time.sleep(0.02)

    def given(self, since: float = 0) -> list[Answer]:
        """Those with credentials in them."""
        return [answer for answer in self.answers if answer.status == 200 and answer.at >= since]

    def refused(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]


@contextlib.contextmanager
def under_load(gateway: Gateway, token: str) -> Iterator[Load]:
    load = Load()
    roles = (READ_ONLY_SAML, READ_ONLY_OIDC, READ_ONLY_SAML)
    threads = [threading.Thread(target=load.ask, args=(Api(gateway, token), role)) for role in roles]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(load.given()) >= 15, "credentials are given before the fault")
        yield load
    finally:
        load._ending.set()
        for thread in threads:
            thread.join()


def stored(town: Town, key: str, *kinds: str) -> set[str]:
    """What the audit events of these kinds have under `key`."""
    with psycopg.connect(town.cluster.url) as connection:
        rows = connection.execute(
            "SELECT data->>%s FROM federation_auditevent WHERE kind = ANY(%s) AND outcome = 'ok'", [key, list(kinds)]
        )
        return {row[0] for row in rows if row[0]}


def check_that_nothing_is_lost(town: Town, load: Load) -> None:
    """Every credential in somebody's hands and every document that AWS has taken is in an intact log."""
    handed_out = {answer.body["AccessKeyId"] for answer in load.given()}
    assert len(handed_out) == len(load.given())
    assert handed_out <= stored(town, "access_key_id", "credentials")
    redeemed = [entry for entry in town.stage.aws.trail if "accessKeyId" in entry]
    assert {entry["sAMLAssertionID"] for entry in redeemed if "sAMLAssertionID" in entry} <= stored(
        town, "assertion_id", "mint.assertion"
    )
    assert {entry["jti"] for entry in redeemed if "jti" in entry} <= stored(town, "token_id", "mint.token")
    assert len(redeemed) >= len(handed_out)
    assert "intact" in town.stage.gateway.manage("audit", "verify")


@pytest.mark.parametrize("fault", ["immediate", "fast"])
def test_a_restart_under_load(town: Town, fault: str) -> None:
    """`immediate` is a crash: PostgreSQL comes back out of its write-ahead log."""
    gateway, cluster = town.stage.gateway, town.cluster
    alice = town.sign_in()
    with under_load(gateway, alice.pair(gateway)) as load:
        cluster.stop(fault)
        stopped = time.monotonic()

        # Each face, while it is away.
        assert requests.get(f"{gateway.url}/healthz", timeout=15).status_code == 200
        ready = requests.get(f"{gateway.url}/readyz", timeout=15)
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["database_unreachable"])
        pages = [
            alice.http.get(f"{gateway.url}/", timeout=15),
            alice.http.get(f"{gateway.url}/signin/corp/", timeout=15, allow_redirects=False),
            alice.http.post(f"{gateway.url}/saml/corp/acs", data={"SAMLResponse": "PHg+"}, timeout=15),
            alice.http.get(f"{gateway.url}/signin/corp/complete?code=x", timeout=15, allow_redirects=False),
            requests.get(f"{gateway.issuer}/jwks.json", timeout=15),
            requests.post(f"{gateway.url}/oauth/token", data={"grant_type": "refresh_token", "client_id": "rolegate-cli", "refresh_token": "x"}, timeout=15),
            requests.get(f"{gateway.url}/api/v1/me", headers={"Authorization": "Bearer rlg_at_x"}, timeout=15),
        ]  # fmt: skip
        for page in (*pages, ready):
            assert page.status_code == 503, (page.url, page.status_code, page.text[:500])
            assert int(page.headers["Retry-After"]) >= 1
            assert "no-store" in page.headers["Cache-Control"]
        for page in pages:
            assert "service_unavailable" in page.text, page.text[:500]

        time.sleep(0.5)
        assert load.given(since=stopped + 0.2) == []
        cluster.start()
        back = time.monotonic()
        wait_until(lambda: bool(load.given(since=back)), "credentials are given again", BACK_WITHIN_SECONDS)
        wait_until(lambda: len(load.given(since=back)) >= 15, "and go on being given")

    assert load.broken == []  # every request was answered
    assert len(load.refused()) >= 3
    for answer in load.refused():
        assert (answer.status, answer.body["code"] in MAY_SAY) == (503, True), answer
        assert int(answer.retry_after) >= 1
        assert "AccessKeyId" not in answer.body
    assert alice.get(f"{gateway.url}/").url == f"{gateway.url}/"  # her session was acknowledged before
    check_that_nothing_is_lost(town, load)


def test_a_fail_over_to_a_standby_that_takes_no_writes_yet(town: Town) -> None:
    gateway, cluster = town.stage.gateway, town.cluster
    api = Api(gateway, town.sign_in().pair(gateway))
    before = len(town.stage.aws.trail)
    cluster.execute(
        "ALTER DATABASE gateway SET default_transaction_read_only = on",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gateway' AND pid <> pg_backend_pid()",
    )
    try:
        for _ in range(4):
            answer = api.post("/credentials", {"role_arn": READ_ONLY_SAML})
            assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable"), answer.text
            assert int(answer.headers["Retry-After"]) >= 1
        assert len(town.stage.aws.trail) == before
    finally:
        cluster.execute(
            "SET default_transaction_read_only = off", "ALTER DATABASE gateway RESET default_transaction_read_only",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gateway' AND pid <> pg_backend_pid()",
        )  # fmt: skip
    api.credentials(READ_ONLY_SAML)


def test_a_lock_that_nobody_gives_back_holds_nobody_for_long(town: Town) -> None:
    """A stuck client holds the lock that every event takes: who wants something is told to come again, not kept waiting."""
    gateway = town.stage.gateway
    alice = town.sign_in()
    api = Api(gateway, alice.pair(gateway))
    answers: list[requests.Response] = []
    page = alice.get(f"{gateway.url}/signout/")
    form = page.form(action="/signout/")
    with psycopg.connect(town.cluster.url) as stuck:
        stuck.execute("SELECT * FROM federation_audithead FOR UPDATE")
        begun = time.monotonic()
        asking = threading.Thread(target=lambda: answers.append(api.post("/credentials", {"role_arn": READ_ONLY_SAML})))
        asking.start()
        assert requests.get(f"{gateway.url}/readyz", timeout=LOCK_SECONDS).status_code == 200
        left = alice.submit(page, form, follow=False)
        asking.join()
        taken = time.monotonic() - begun
    (answer,) = answers
    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable"), answer.text
    assert LOCK_SECONDS <= taken < 4 * LOCK_SECONDS  # each in the queue waits in turn for the place and for the lock
    # Signing out needs no event to happen: it happens, and the event is an alert in the log.
    assert left.status in {200, 302}, left.text[:500]
    assert "/signin/" in alice.get(f"{gateway.url}/").url
    assert '"event": "audit_event_lost"' in gateway.log
    town.sign_in()
