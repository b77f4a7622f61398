"""The plug is pulled in the middle of a piece of work: of the gateway, of a worker, of PostgreSQL, of Redis.

A trigger stops the work at a row that the test has chosen; then somebody is killed. What was in force is in force, nothing is
there twice, the audit log's chain is whole, and the next try ends well without a hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml

from tests.aws import paging
from tests.aws.paging import Call, Reply
from tests.faults.conftest import Town
from tests.faults.servers import Celery, PostgresCluster, RedisServer, celery, wait_until
from tests.faults.test_workers import WORKER, sender
from tests.live import ROOT, mapping_document
from tests.scim.conftest import BULK, GROUP, PATCH, USER

ACCOUNTS = [str(700_000_000_000 + number) for number in range(6)]
CROWD = 600  # people
ROLES = ["first", "second", "third"]  # that a rule gives to the group "platform"
KEY = 4711  # of the advisory lock that the trigger waits for
HALTED = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {KEY} AND NOT granted"


@contextlib.contextmanager
def halted(cluster: PostgresCluster, before: str, when: str) -> Iterator[Callable[[], None]]:
    """Whoever does `before` (INSERT ON a_table, say) to a row that is as `when` says waits until the end of the block.

    Gives what returns once somebody waits. PostgreSQL may be stopped and started within the block.
    """
    cluster.execute(
        "CREATE OR REPLACE FUNCTION test_halt() RETURNS trigger LANGUAGE plpgsql SET lock_timeout TO '60s' AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock({KEY}); RETURN COALESCE(NEW, OLD); END $$",
        f"CREATE TRIGGER test_halt BEFORE {before} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION test_halt()",
    )
    holder = psycopg.connect(cluster.url, autocommit=True)
    holder.execute("SELECT pg_advisory_lock(%s)", [KEY])

    def reached() -> None:
        wait_until(lambda: cluster.value(HALTED) == 1, "the work has come to the row")

    try:
        yield reached
    finally:
        holder.close()
        wait_until(lambda: cluster.value(HALTED) == 0, "nobody waits any more")
        cluster.execute(f"DROP TRIGGER test_halt ON {before.rpartition(' ')[2]}", "DROP FUNCTION test_halt()")


@dataclass
class Company:
    """The town with a directory that pushes, and workers of its own on a Redis of its own."""

    town: Town
    token: str
    redis: RedisServer
    folder: Path

    @property
    def cluster(self) -> PostgresCluster:
        return self.town.cluster

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        url = f"{self.town.stage.gateway.url}/scim/v2/{path}"
        return requests.request(method, url, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)

    def say(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self.ask(method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else {}

    def person(self, name: str) -> str:
        return str(self.say("POST", "Users", new_person(name))["id"])

    def there(self) -> dict[str, str]:
        """Ids by user name, as a directory asks for them."""
        found, first = dict[str, str](), 1
        while page := self.say("GET", f"Users?startIndex={first}&count=500&attributes=userName")["Resources"]:
            found |= {one["userName"]: one["id"] for one in page}
            first += len(page)
        return found

    def members(self, group: str) -> set[str]:
        return {one["value"] for one in self.say("GET", f"Groups/{group}").get("members", [])}

    def kill_gateway(self) -> None:
        process = self.town.stage.gateway._process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.stop()

    def value(self, sql: str) -> Any:
        return self.cluster.value(sql)

    def check_log(self) -> None:
        assert "intact" in self.town.stage.gateway.manage("audit", "verify")

    def send(self, task: str) -> None:
        sender(self.redis.url).send_task(f"federation.tasks.{task}")

    def runs(self, task: str) -> str:
        """How the runs of a task ended, oldest first."""
        sql = f"SELECT string_agg(outcome, ' ' ORDER BY started_at) FROM federation_taskrun WHERE task = '{task}'"
        return str(self.value(sql) or "")

    def time_passes(self) -> None:
        """What the leases of the dead take."""
        self.cluster.execute("UPDATE federation_lease SET until = '2020-01-01'")


def new_person(name: str) -> dict[str, Any]:
    return {"schemas": [USER], "userName": name, "active": True}


def bulk(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [BULK], "Operations": list(operations)}


def joining(ids: list[str]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": i} for i in ids]}]}


@pytest.fixture(scope="module")
def company(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    stage, folder = town.stage, tmp_path_factory.mktemp("pulled")
    plain = mapping_document(list(stage._providers.values()))
    document = mapping_document(list(stage._providers.values()))
    document["directories"] = [{"slug": "staff", "provider": "corp", "scim": {}}]
    document["accounts"] += [{"id": one, "name": f"a{one[-1]}", "federation": "oidc"} for one in ACCOUNTS]
    document["mapping"].append(
        {
            "name": "platform",
            "when": {"groups": ["platform"]},
            "allow": {"roles": ROLES, "accounts": {"names": ["a0"]}},
        }
    )
    server = RedisServer(folder)
    stage.gateway.apply(document)
    token = stage.gateway.manage("tokens", "create", "pusher", "--scope", "scim:staff").strip()
    try:
        yield Company(town, token, server.start(), folder)
    finally:
        server.stop()
        stage.gateway.apply(plain)


@pytest.fixture(scope="module")
def double() -> Iterator[paging.Double]:
    with paging.serving(paging.Double()) as double:
        yield double


@pytest.fixture(scope="module")
def worker(company: Company, double: paging.Double) -> Iterator[Celery]:
    """It outlives what is done to its pool, its database and its broker."""
    aws = {f"AWS_ENDPOINT_URL_{service}": double.url for service in ("STS", "IAM", "ORGANIZATIONS")}
    environment = {**company.town.stage.gateway.environment, "REDIS_URL": company.redis.url, **aws}
    with celery(company.folder / "worker", environment, *WORKER) as program:
        program.said(" ready.")
        yield program
        program.check()


@pytest.fixture
def no_roles(company: Company) -> Iterator[None]:
    """Of the accounts nothing has been read, before the test and after it."""
    forget = (
        "DELETE FROM federation_heldanswer WHERE source_id LIKE 'account:%'",
        "DELETE FROM federation_source WHERE key LIKE 'account:%'",
        "DELETE FROM federation_role",
        "DELETE FROM federation_taskrun WHERE task = 'refresh_catalogue'",
        "UPDATE federation_lease SET until = '2020-01-01'",
    )
    company.cluster.execute(*forget)
    yield
    company.cluster.execute(*forget)


# --- The gateway ------------------------------------------------------------------------------------------------------


def test_the_gateway_killed_in_a_bulk_request(company: Company) -> None:
    """Each operation is whole or not there; the directory looks who is there, as every sender does, and sends the rest."""
    names = [f"bulk{number:02}" for number in range(12)]
    group = company.say("POST", "Groups", {"schemas": [GROUP], "displayName": "bulk"})["id"]
    everything = bulk(
        *({"method": "POST", "path": "/Users", "bulkId": name, "data": new_person(name)} for name in names),
        {"method": "PATCH", "path": f"/Groups/{group}", "data": joining([f"bulkId:{name}" for name in names])},
    )
    version = "SELECT version FROM federation_source WHERE key = 'directory:staff'"
    told = (
        "SELECT count(*) FROM federation_auditevent WHERE kind = 'directory.person' AND data->>'user_name' LIKE 'bulk%'"
    )
    before = company.value(version)
    with halted(company.cluster, "INSERT ON federation_directoryuser", "NEW.user_name = 'bulk06'") as reached:
        answers: list[str] = []
        asking = threading.Thread(
            target=lambda: answers.append(broken(lambda: company.ask("POST", "Bulk", everything)))
        )
        asking.start()
        reached()
        company.kill_gateway()
        asking.join()
    assert answers == ["ConnectionError"]
    company.town.stage.gateway.serve()
    there = {name: key for name, key in company.there().items() if name in names}
    assert sorted(there) == names[:6]
    assert (company.value(told), company.value(version)) == (6, before + 6)  # each with its event, each counted
    assert company.members(group) == set()
    company.check_log()

    company.say("POST", "Bulk", bulk(
        *({"method": "POST", "path": "/Users", "bulkId": name, "data": new_person(name)} for name in names[6:]),
        {"method": "PATCH", "path": f"/Groups/{group}",
         "data": joining([*there.values(), *(f"bulkId:{name}" for name in names[6:])])},
    ))  # fmt: skip
    assert company.members(group) == {key for name, key in company.there().items() if name in names}
    assert company.value(told) == len(names)
    company.check_log()


def broken(ask: Callable[[], requests.Response]) -> str:
    """The status of the answer, or what went wrong where there was none."""
    try:
        return str(ask().status_code)
    except requests.RequestException as error:
        return type(error).__name__


@pytest.fixture(scope="module")
def crowd(company: Company) -> list[str]:
    """Six hundred people, who are in no group yet."""
    columns = "id, directory, user_name, user_name_key, external_id, subject, active, name, email, emails, attributes, digest, version, created_at, modified_at"
    company.cluster.execute(
        f"INSERT INTO federation_directoryuser ({columns}) SELECT gen_random_uuid(), 'staff', 'crowd' || n, 'crowd' || n, '', '', true, "
        f"'', '', '', jsonb_build_object('userName', 'crowd' || n), '', 1, now(), now() FROM generate_series(1, {CROWD}) n"
    )
    return sorted(key for name, key in company.there().items() if name.startswith("crowd"))


@pytest.mark.parametrize("who", ["gateway", "database"])
def test_the_plug_pulled_in_a_large_change_of_a_group(company: Company, crowd: list[str], who: str) -> None:
    """Six hundred come at once, or nobody does; the same request again does it."""
    group = company.say("POST", "Groups", {"schemas": [GROUP], "displayName": f"large-{who}"})["id"]
    notes = "SELECT count(*) FROM federation_accesschange"
    company.cluster.execute("DELETE FROM federation_accesschange")
    path, change, answers = f"Groups/{group}", joining(crowd), list[str]()
    with halted(company.cluster, "INSERT ON federation_membership", f"NEW.user_id = '{crowd[400]}'") as reached:
        asking = threading.Thread(target=lambda: answers.append(broken(lambda: company.ask("PATCH", path, change))))
        asking.start()
        reached()
        if who == "gateway":
            company.kill_gateway()
        else:
            company.cluster.stop("immediate")
        asking.join()
        if who == "database":
            company.cluster.start()
    assert answers == ["ConnectionError" if who == "gateway" else "503"]
    if who == "gateway":
        company.town.stage.gateway.serve()
    told = f"SELECT count(*) FROM federation_auditevent WHERE kind = 'directory.group' AND data->>'group' = '{group}'"
    assert (company.members(group), company.value(told), company.value(notes)) == (set(), 1, 0)
    company.check_log()
    assert company.ask("PATCH", path, change).headers["ETag"] == 'W/"2"'
    assert company.members(group) == set(crowd)
    assert company.ask("PATCH", path, change).headers["ETag"] == 'W/"2"'  # again: nothing to do
    assert company.value(told) == 2
    company.check_log()


def test_somebody_who_is_deleted_while_they_are_put_into_a_group_is_in_none(company: Company) -> None:
    """Two requests at once: the membership of somebody who has left would stay for ever, for nobody could name them."""
    leaver, stays = company.person("leaver"), company.person("stays")
    group = company.say("POST", "Groups", {"schemas": [GROUP], "displayName": "race"})["id"]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event <> 'advisory'"
    said: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: said.append(company.ask("PATCH", f"Groups/{group}", joining([leaver, stays])))
    )
    gone = "NEW.deleted_at IS NOT NULL AND NEW.user_name = 'leaver'"
    with halted(company.cluster, "UPDATE ON federation_directoryuser", gone) as reached:
        leaving = threading.Thread(target=lambda: company.say("DELETE", f"Users/{leaver}"))
        leaving.start()
        reached()
        asking.start()
        wait_until(lambda: company.value(waiting) == 1, "the group's change waits for the person's")
    leaving.join()
    asking.join()
    assert said[0].status_code == 204, said[0].text
    assert company.members(group) == {stays}
    assert company.value(f"SELECT count(*) FROM federation_membership WHERE user_id = '{leaver}'") == 0


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_the_database_pulled_while_a_document_is_applied(company: Company, tmp_path: Path) -> None:
    number, head = "SELECT max(number) FROM federation_mappingrevision", "SELECT seq FROM federation_audithead"
    text = yaml.safe_load(
        str(company.value("SELECT text FROM federation_mappingrevision ORDER BY number DESC LIMIT 1"))
    )
    text["mapping"].append(
        {"name": "one-more", "when": {"groups": ["x"]}, "allow": {"roles": ["Nobody"], "accounts": {"names": ["*"]}}}
    )
    path = tmp_path / "mapping.yaml"
    path.write_text(yaml.safe_dump(text))
    before = (company.value(number), company.value(head))
    command = [sys.executable, "manage.py", "apply", str(path)]
    with halted(company.cluster, "INSERT ON federation_auditevent", "NEW.kind = 'mapping.published'") as reached:
        applying = subprocess.Popen(
            command, cwd=ROOT, env=company.town.stage.gateway.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )  # fmt: skip
        reached()  # the revision is written, its event is not
        company.cluster.stop("immediate")
        said, _ = applying.communicate(timeout=60)
        company.cluster.start()
    assert applying.returncode != 0
    assert "is in force" not in said
    assert (company.value(number), company.value(head)) == before
    assert f"Revision {before[0] + 1} is in force." in company.town.stage.gateway.manage("apply", str(path))
    assert "nothing to do" in company.town.stage.gateway.manage("apply", str(path))
    assert company.value("SELECT count(*) FROM federation_mappingrevision") == company.value(number) == before[0] + 1
    company.check_log()


@pytest.fixture
def known_crowd(company: Company, crowd: list[str]) -> Iterator[str]:
    """Everybody of the crowd has signed in once, and is in the group whose roles nobody has worked out yet; the last one's id."""
    cluster = company.cluster
    forget = ("DELETE FROM federation_entitlement", "DELETE FROM federation_entitlementstate")
    cluster.execute(*forget, "DELETE FROM federation_taskrun WHERE task = 'refresh_entitlements'")
    columns = "id, provider, subject_format, subject, session_name, name, email, active, session_epoch, groups, groups_complete, attributes, mfa, created_at, claims_at"
    cluster.execute(
        f"INSERT INTO federation_person ({columns}) SELECT gen_random_uuid(), 'corp', '', user_name, user_name, '', '', true, 0, '[]', "
        "true, '{}', false, now(), now() FROM federation_directoryuser WHERE user_name LIKE 'crowd%'"
    )
    group = company.say("POST", "Groups", {"schemas": [GROUP], "displayName": "platform"})["id"]
    company.say("PATCH", f"Groups/{group}", joining(crowd))
    yield str(company.value("SELECT max(id::text) FROM federation_person WHERE subject LIKE 'crowd%'"))
    cluster.execute(*forget, "DELETE FROM federation_person WHERE subject LIKE 'crowd%'")


def test_the_database_pulled_in_a_full_refresh_of_the_entitlements(
    company: Company, worker: Celery, known_crowd: str
) -> None:
    """The rows stream into a transaction that is not sealed: none is in force, and the next run does it all."""
    rows, state = "SELECT count(*) FROM federation_entitlement", "SELECT revision FROM federation_entitlementstate"
    once = "SELECT count(DISTINCT (person_id, given_id)) FROM federation_entitlement"
    with halted(company.cluster, "INSERT ON federation_entitlement", f"NEW.person_id = '{known_crowd}'") as reached:
        company.send("refresh_entitlements")
        reached()
        company.cluster.stop("immediate")
        worker.said("OperationalError")
        company.cluster.start()
    assert (company.value(rows), company.value(state), company.runs("refresh_entitlements")) == (0, None, "running")
    company.time_passes()
    company.send("resume_lost")
    wait_until(lambda: company.runs("refresh_entitlements") == "lost ok", "it is done once the database is back")
    assert company.value(rows) == company.value(once) == CROWD * len(ROLES)
    assert company.value(state) == company.value("SELECT max(number) FROM federation_mappingrevision")


def over(worker: Celery) -> int:
    """How many tasks the worker has come to the end of, well or not."""
    return len(re.findall(r"Task federation\.tasks\.\w+\[[^]]*\] (?:succeeded|raised)", worker.log))


@pytest.mark.usefixtures("no_roles")
def test_the_database_pulled_in_a_reading_of_the_catalogue(
    company: Company, worker: Celery, double: paging.Double
) -> None:
    """What an account has been read to have is there whole or not at all; the next run reads what was not taken over."""
    rows = "SELECT count(*) FROM federation_role WHERE account_id = '{}' AND present"
    go_on, begun = threading.Event(), threading.Event()

    def alter(call: Call, reply: Reply) -> None:
        if call.account in ACCOUNTS[3:] and call.operation == "ListRoles":
            begun.set()
            go_on.wait(60)

    ended = over(worker)
    double.accounts, double.alter = {one: paging.many_roles(40) for one in ACCOUNTS}, alter
    try:
        company.send("refresh_catalogue")
        wait_until(lambda: all(company.value(rows.format(one)) == 40 for one in ACCOUNTS[:3]), "three are read")
        wait_until(begun.is_set, "the others are being read")
        company.cluster.stop("immediate")
        go_on.set()
        worker.said("account_failed")
    finally:
        go_on.set()
        double.alter = None
        company.cluster.start()
    counts = [company.value(rows.format(one)) for one in ACCOUNTS]
    assert (counts[:3], set(counts[3:]) <= {0, 40}) == ([40] * 3, True)
    wait_until(lambda: over(worker) > ended, "the run without a database is over")
    company.time_passes()
    before = double.asked("ListRoles")
    company.send("refresh_catalogue")
    wait_until(lambda: company.runs("refresh_catalogue").endswith(" ok"), "the next one reads it")
    assert double.asked("ListRoles") > before
    assert [company.value(rows.format(one)) for one in ACCOUNTS] == [40] * 6
    assert company.value("SELECT count(*) FROM federation_role WHERE NOT present") == 0
    assert company.value("SELECT count(*) FROM federation_heldanswer WHERE source_id LIKE 'account:%'") == 0
    company.check_log()


# --- A worker ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_roles")
def test_a_worker_killed_while_it_takes_over_what_a_person_has_accepted(
    company: Company, worker: Celery, double: paging.Double
) -> None:
    """The yes is not used up by a worker that dies: the next one takes the answer over, and nobody is asked a second time."""
    key = f"account:{ACCOUNTS[0]}"
    present = f"SELECT count(*) FROM federation_role WHERE account_id = '{ACCOUNTS[0]}' AND present"
    held = f"SELECT string_agg(decision, ' ' ORDER BY id) FROM federation_heldanswer WHERE source_id = '{key}'"
    state = f"SELECT state FROM federation_source WHERE key = '{key}'"
    double.accounts = {ACCOUNTS[0]: paging.many_roles(40)}
    company.send("refresh_catalogue")
    wait_until(lambda: company.runs("refresh_catalogue") == "ok", "it is read once")
    assert company.value(present) == 40
    double.accounts = {ACCOUNTS[0]: paging.many_roles(40)[20:]}
    company.send("refresh_catalogue")
    wait_until(lambda: company.runs("refresh_catalogue") == "ok ok", "half of the roles are gone")
    assert company.value(held) == "waiting"
    gateway = company.town.stage.gateway
    with halted(company.cluster, "UPDATE ON federation_role", "OLD.present AND NOT NEW.present") as reached:
        gateway.environment["REDIS_URL"] = company.redis.url  # accepted, it is read again at once, by the worker
        try:
            assert "accepted, 20 of 40 would go" in gateway.manage("held", "accept", key)
        finally:
            gateway.environment["REDIS_URL"] = f"redis://127.0.0.1:{company.town.redis_port}/0"
        reached()
        for process in worker.children():
            process.kill()
        worker.said("exited with 'signal 9 (SIGKILL)'")
    assert (company.value(present), company.value(held), company.value(state)) == (40, "accepted", "held")
    company.time_passes()
    company.send("resume_lost")
    wait_until(lambda: company.value(state) == "ok", "the next one takes it over")
    assert (company.value(present), company.value(held)) == (20, "accepted")
    company.check_log()


# --- Redis ------------------------------------------------------------------------------------------------------------


def test_redis_killed_under_worker_and_beat(company: Company, worker: Celery, tmp_path: Path) -> None:
    """Two programs, as in production. What is begun is done; both find Redis again by themselves."""
    expired = "SELECT count(*) FROM federation_ratewindow WHERE key = 'expired'"
    put = "INSERT INTO federation_ratewindow (key, slot, count) VALUES ('expired', 1, 1)"
    environment = {
        **company.town.stage.gateway.environment, "REDIS_URL": company.redis.url, "DJANGO_SETTINGS_MODULE": "tests.faults.beating",
    }  # fmt: skip
    words = ("beat", "--loglevel", "INFO", "--schedule", str(tmp_path / "schedule"))
    with celery(tmp_path / "beat", environment, *words) as beat:
        company.cluster.execute(put)
        wait_until(lambda: company.value(expired) == 0, "beat sends and the worker does")
        with halted(company.cluster, "DELETE ON federation_ratewindow", "OLD.key = 'expired'") as reached:
            company.cluster.execute(put)
            reached()
            company.redis.kill()
            beat.said("Connection refused")
        wait_until(lambda: company.value(expired) == 0, "what was begun is done without Redis")
        company.cluster.execute(put)
        worker.check()
        beat.check()
        company.redis.start()
        wait_until(lambda: company.value(expired) == 0, "the next is done once Redis is back", seconds=60)
        worker.check()
        beat.check()
    company.check_log()
