"""On PostgreSQL a full refresh streams: rows are stored while others are worked out, in a transaction of its own.

On SQLite the same tests go through the staging file: what comes out must not differ.
"""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection

from federation.flows import leases, refresh_entitlements
from federation.flows.refresh_entitlements import refresh
from federation.models import AccessChange, Entitlement, EntitlementState, Person, entitlement_rows
from federation.models.access_changes import note_everybody
from tests.cast import NOW, identity
from tests.flows.test_refresh_entitlements import as_decided, held

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def company(monkeypatch, publish, sign_in_as):
    monkeypatch.setattr(refresh_entitlements, "_last", None)
    monkeypatch.setattr(refresh_entitlements, "FEW", 0)
    monkeypatch.setattr(refresh_entitlements.company, "AT_ONCE", 4)
    monkeypatch.setattr(entitlement_rows, "_BLOCK", 128)
    monkeypatch.setattr(entitlement_rows, "_FEW", 0)
    publish()
    for n in range(20):
        sign_in_as(identity(f"p{n:02}", groups=("engineering",) if n % 3 else ("contractors", "engineering")))


@pytest.fixture
def streams(monkeypatch):
    """Holds the refreshes to streaming, where the database can."""
    made = []
    streaming = entitlement_rows.Streaming
    monkeypatch.setattr(refresh_entitlements, "Streaming", lambda: made.append(1) or streaming())
    yield made
    assert bool(made) is (connection.vendor == "postgresql")


@pytest.mark.usefixtures("streams")
def test_everything_is_written_and_what_is_gone_is_deleted():
    refresh(now=NOW)
    assert held() == as_decided()
    Person.objects.filter(subject__in=["p01", "p02", "p03"]).update(active=False)
    Person.objects.filter(subject="p05").update(groups=["cloud-platform"])
    note_everybody(at=NOW)
    done = refresh(now=NOW)
    assert (done.everybody, done.added, done.gone) == (True, 0, 14)
    assert held() == as_decided()
    assert not AccessChange.objects.exists()


@pytest.mark.usefixtures("streams")
def test_whoever_works_them_out_fails_and_nothing_is_written(monkeypatch):
    stage, calls = refresh_entitlements._stage, []

    def fail(*args):
        stage(*args)
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refresh_entitlements, "_stage", fail)
        with pytest.raises(KeyboardInterrupt):
            refresh(now=NOW)
    assert not Entitlement.objects.exists()
    assert not EntitlementState.objects.exists()
    leases.Lease.objects.update(until=NOW)
    refresh(now=NOW)
    assert held() == as_decided()


@pytest.mark.usefixtures("streams")
def test_the_lease_is_lost_and_nothing_is_written(monkeypatch):
    stage = refresh_entitlements._stage

    def slow(*args):
        stage(*args)
        leases.Lease.objects.update(holder="another", token=99)

    monkeypatch.setattr(refresh_entitlements, "_stage", slow)
    with pytest.raises(leases.LeaseLost):
        refresh(now=NOW)
    assert not Entitlement.objects.exists()


@pytest.mark.usefixtures("streams")
def test_rows_that_the_database_refuses_end_the_refresh(monkeypatch):
    staged = entitlement_rows.Streaming if connection.vendor == "postgresql" else entitlement_rows.Staging
    add = staged.add

    def twice(staging, who, *row):
        add(staging, who, *row)
        add(staging, who, *row)

    monkeypatch.setattr(staged, "add", twice)
    with pytest.raises(IntegrityError):
        refresh(now=NOW)
    assert not Entitlement.objects.exists()
