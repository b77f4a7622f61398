"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import functools
import gc
import os
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, settings

from tests import cast

pytest_plugins = ["tests.no_skips", "tests.long_first", "tests.measured"]

# Eight thousand tests are a million objects that stay: they are not looked through for garbage while they are made, nor
# afterwards. What the tests themselves leave behind is collected as ever.
gc.disable()

# A machine that is busy with something else makes no property false.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

os.environ.setdefault("TEST_OIDC_SECRET", "test-oidc-client-secret-that-is-public")


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()
    gc.enable()


@functools.cache
def _key_material():
    from datetime import UTC, datetime

    from federation.flows.rotate_keys import KINDS
    from federation.issuer.signing import generate

    now = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        (purpose, algorithm): generate(algorithm, common_name=f"TEST KEY {purpose}", now=now)
        for purpose, algorithm in KINDS
    }


def _emptied_row_by_row(ops, style, tables, *, reset_sequences=False, allow_cascade=False):
    """`DatabaseOperations.sql_flush` with DELETE: TRUNCATE makes a new file of each table and index, and waits for the disk.

    As a replica no trigger stops it: https://www.postgresql.org/docs/15/runtime-config-client.html, session_replication_role.
    """
    del style, allow_cascade
    assert not reset_sequences
    deleted = [f"DELETE FROM {ops.quote_name(table)}" for table in tables]
    return ["SET LOCAL session_replication_role = replica", *deleted] if deleted else []


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Django empties tables with TRUNCATE after a test that commits: exactly what the audit log's trigger is there to stop.

    The test of those triggers switches them on again, inside its own transaction. Where the tests' role may, tables are emptied
    by DELETE: the hundred tests that commit waited for half a second each.
    """
    from django.db import connection

    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                for trigger, table in cast.NO_TRUNCATE.items():
                    cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
                cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                if cursor.fetchone() == (True,):
                    type(connection.ops).sql_flush = _emptied_row_by_row


@pytest.fixture(scope="session", autouse=True)
def _private_keys_are_read_once():
    """Reading an RSA key checks its numbers, for 33 ms. Each test begins without signers, and the keys are always the same ones."""
    read = serialization.load_pem_private_key
    serialization.load_pem_private_key = functools.lru_cache(maxsize=64)(read)
    yield
    serialization.load_pem_private_key = read


@pytest.fixture(autouse=True)
def _forget_what_is_in_force():
    """The parsed mapping and the signers are kept a process; each test starts without them.

    And with a clock that AWS has just agreed with: else each test's first mint would ask STS for the time.
    """
    from django.utils import translation

    from federation import net
    from federation.aws import clock, sts
    from federation.flows import provider_documents
    from federation.models import current

    net.hosts.forget()
    sts.regions_asked.forget()
    current.forget()
    translation.deactivate()  # what the last request of the test before was answered in
    provider_documents._parsed.clear()
    clock.watch.forget()
    clock.watch.pin("a test", time.time(), resolution=1.0, sent=time.monotonic())


@pytest.fixture
def now():
    return cast.NOW


@pytest.fixture
def origin():
    from federation.audit.events import Origin

    return Origin(request_id="test-request", address="192.0.2.7", user_agent="pytest")


@pytest.fixture
def gateway_keys(db, settings, now):
    """The gateway's keys, generated once a run."""
    from federation.issuer.signing import seal
    from federation.models import SigningKey

    for (purpose, algorithm), material in _key_material().items():
        SigningKey.objects.create(
            kid=material.kid,
            purpose=purpose,
            algorithm=algorithm,
            state="active",
            certificate=material.certificate_pem,
            sealed_private_key=seal(material.private_pem, master_key=settings.SECRET_KEY.encode(), kid=material.kid),
            created_at=now,
            activated_at=now,
        )


@pytest.fixture
def publish(db, origin, now):
    """Publish a mapping document; the cast's unless another is given."""
    from federation.flows import publish_mapping

    def do(text: str = cast.DOCUMENT, *, at=None):
        return publish_mapping.publish(text, author="test", comment="", origin=origin, now=at or now)

    return do


@pytest.fixture
def sign_in_as(db, now):
    """The row of a person who has just signed in with this identity."""
    from federation.flows.sign_in import store_person

    def do(identity=None, *, at=None):
        moment = at or now
        return store_person(replace(identity or cast.alice(), verified_at=moment), moment)

    return do


@pytest.fixture
def events(db):
    """The audit events so far, as (kind, outcome, reason)."""
    from federation.models import AuditEvent

    return lambda: list(AuditEvent.objects.order_by("seq").values_list("kind", "outcome", "reason"))
