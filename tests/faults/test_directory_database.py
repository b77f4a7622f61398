"""PostgreSQL is pulled while a directory is being read: nothing is half, and the work is done once it is back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.faults.servers import PostgresCluster, RedisServer, celery, wait_until
from tests.faults.test_directory_workers import PEOPLE, READ, RESUME
from tests.faults.test_workers import WORKER, Database, sender
from tests.live import mapping_document
from tests.peers.slapd import BASE, READER, READER_PASSWORD, Authority, Slapd

PEOPLE_THERE = "SELECT count(*) FROM federation_directoryuser WHERE deleted_at IS NULL"
MEMBERS = "SELECT count(*) FROM federation_membership"
RUNS = "SELECT string_agg(outcome, ' ' ORDER BY started_at) FROM federation_taskrun WHERE task = 'refresh_directory'"


@pytest.fixture
def postgres() -> Iterator[PostgresCluster]:
    cluster = PostgresCluster().make()
    yield cluster
    cluster.remove()


def test_the_database_pulled_in_the_middle_leaves_nothing_half_done(postgres: PostgresCluster, tmp_path: Path) -> None:
    slapd, redis = Slapd(tmp_path / "slapd", Authority()), RedisServer(tmp_path)
    try:
        redis.start()
        slapd.start().furnish()
        slapd.group("engineering", slapd.people(f"p{number:02}" for number in range(PEOPLE)))
        gateway = Database(tmp_path / "unused")
        gateway.environment |= {
            "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "TEST_LDAP_PASSWORD": READER_PASSWORD,
        }  # fmt: skip
        provider = {
            "slug": "corp", "name": "Example Corp", "saml": {"metadata_url": "http://127.0.0.1:9/"},
            "claims": {"subject": "NameID", "groups": "memberOf"},
        }  # fmt: skip
        ldap = {
            "url": slapd.tls_url, "base_dn": BASE, "bind_dn": READER, "password": "${TEST_LDAP_PASSWORD}",
            "ca_certificate": slapd.authority.pem,
        }  # fmt: skip
        document = {**mapping_document([provider]), "directories": [{"slug": "ad", "provider": "corp", "ldap": ldap}]}
        (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(document))
        gateway.manage("migrate", "-v", "0")
        gateway.manage("apply", str(tmp_path / "mapping.yaml"))
        process = slapd._process
        assert process is not None
        with celery(tmp_path / "worker", gateway.environment, *WORKER) as worker:
            worker.said(" ready.")
            process.send_signal(signal.SIGSTOP)
            try:
                sender(redis.url).send_task(READ)
                wait_until(lambda: postgres.value(RUNS) == "running", "the worker waits for the directory")
                postgres.stop("immediate")
            finally:
                process.send_signal(signal.SIGCONT)
            worker.said("OperationalError")
            postgres.start()
            assert (postgres.value(PEOPLE_THERE), postgres.value(MEMBERS), postgres.value(RUNS)) == (0, 0, "running")
            worker.check()
            # What the dead run's leases and the interval take.
            postgres.execute(
                "UPDATE federation_lease SET until = '2020-01-01'", "UPDATE federation_source SET attempted_at = NULL"
            )
            sender(redis.url).send_task(RESUME)
            wait_until(lambda: postgres.value(MEMBERS) == PEOPLE, "it is done once the database is back")
            wait_until(lambda: postgres.value(RUNS) == "lost ok", "and says so")
        assert postgres.value(PEOPLE_THERE) == PEOPLE
    finally:
        slapd.stop()
        redis.stop()
