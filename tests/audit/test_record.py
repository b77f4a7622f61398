"""The audit log in the database: written in order, verified, exported, and closed to change."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from federation.audit import export, record
from federation.audit.events import Kind, Origin
from federation.flows import digest_audit
from federation.models import AuditEvent, AuditHead
from tests import cast

AT = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)
ORIGIN = Origin("r1", "192.0.2.1", "test")


def write(n=1, at=AT, **data):
    for _ in range(n):
        with transaction.atomic():
            record.record(Kind.SIGN_IN, actor="corp:alice", outcome="ok", origin=ORIGIN, now=at, **data)


def raw(sql, *args):
    """Change the table behind the application's back, as the table's owner could."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent DISABLE TRIGGER USER")
        cursor.execute(sql, args)
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent ENABLE TRIGGER USER")


def test_events_are_numbered_and_the_log_verifies(db):
    write(3, groups=["b", "a"], when=AT, nothing=None, count=3)
    assert list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]
    assert record.verify() == []


def test_nothing_is_recorded_outside_a_transaction(transactional_db):
    with pytest.raises(record.AuditOutsideTransaction):
        record.record(Kind.SIGN_IN, actor="x", outcome="ok", origin=ORIGIN, now=AT)
    assert AuditEvent.objects.count() == 0


def test_an_event_goes_with_its_transaction(transactional_db):
    with pytest.raises(RuntimeError), transaction.atomic():
        record.record(Kind.SIGN_IN, actor="x", outcome="ok", origin=ORIGIN, now=AT)
        raise RuntimeError
    assert AuditEvent.objects.count() == 0
    write()
    assert record.verify() == []


@pytest.mark.parametrize(
    ("sql", "args", "named"),
    [
        ("UPDATE federation_auditevent SET actor = %s WHERE seq = 2", ["corp:mallory"], 2),
        ("UPDATE federation_auditevent SET outcome = %s WHERE seq = 3", ["refused"], 3),
        ("DELETE FROM federation_auditevent WHERE seq = %s", [2], 2),
        ("DELETE FROM federation_auditevent WHERE seq = %s", [4], 4),
        ("DELETE FROM federation_auditevent WHERE seq = %s", [1], 1),
    ],
)
def test_tampering_is_named_at_its_row(db, sql, args, named):
    write(4)
    raw(sql, *args)
    assert record.verify()[0].seq == named
    with pytest.raises(CommandError, match=f"{named}: "):
        call_command("audit", "verify")


def test_a_log_that_was_emptied_with_its_head_is_not_intact(gateway_keys):
    """What the gateway has, the log must tell of: each key was an event."""
    write(4)
    raw("DELETE FROM federation_auditevent")
    raw("DELETE FROM federation_audithead")
    assert [finding.seq for finding in record.verify()] == [1]
    with pytest.raises(CommandError, match="1: the log is empty"):
        call_command("audit", "verify")


def test_a_log_that_was_put_back_to_an_earlier_day_is_not_intact(publish, db):
    """Rows and head of a backup fit each other; what has been published since is missing from them."""
    publish()
    write(2)
    head = AuditHead.objects.values().get()
    publish(cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditor]"))
    assert record.verify() == []
    raw("DELETE FROM federation_auditevent WHERE seq > 3")
    AuditHead.objects.update(seq=head["seq"], last_mac=head["last_mac"], mac=head["mac"])
    findings = record.verify()
    assert [(finding.seq, "revision 2" in finding.problem) for finding in findings] == [(4, True)]


@pytest.mark.parametrize("more", [0, 1, 2, 5])
def test_nor_one_that_was_put_back_by_an_hour_however_much_was_written_since(db, more):
    """Attack: somebody with the database notes the head, gives themself a role, uses it, and puts rows and head back."""
    write(3, mark="before")
    head = AuditHead.objects.values().get()
    write(2, mark="what is to be hidden")
    digest_audit.digest()
    assert record.verify() == []
    raw("DELETE FROM federation_auditevent WHERE seq > 3")
    AuditHead.objects.update(seq=head["seq"], last_mac=head["last_mac"], mac=head["mac"])
    if more:
        write(more, mark="afterwards", at=AT + timedelta(minutes=5))
    findings = record.verify()
    assert [(finding.seq, "put back" in finding.problem) for finding in findings] == [(5, True)]


def test_a_new_gateway_that_has_nothing_has_an_intact_log(db):
    assert record.verify() == []


def test_swapped_rows_are_named(db):
    write(1, mark="one")
    write(1, mark="two")
    raw("UPDATE federation_auditevent SET seq = 99 WHERE seq = 1")
    raw("UPDATE federation_auditevent SET seq = 1 WHERE seq = 2")
    raw("UPDATE federation_auditevent SET seq = 2 WHERE seq = 99")
    assert [finding.seq for finding in record.verify()] == [1, 2, 2]


def test_the_database_refuses_updates_and_deletes(db):
    if connection.vendor != "postgresql":
        assert "postgresql" not in connection.settings_dict["ENGINE"]  # SQLite is the demo's: only the chain guards it
        return
    write(2)
    for sql in ("UPDATE federation_auditevent SET actor = 'x'", "DELETE FROM federation_auditevent"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)


def test_export_is_json_lines_in_order(db, capsys):
    write(3, access_key_id="ASIATESTTESTTESTTEST")
    rows = [json.loads(line) for line in export.lines(since=1)]
    assert [row["seq"] for row in rows] == [2, 3]
    assert rows[0]["data"] == {"access_key_id": "ASIATESTTESTTESTTEST"}
    call_command("audit", "export")
    assert len(capsys.readouterr().out.strip().splitlines()) == 3


def test_hostile_text_is_stored_and_still_verifies(db):
    write(1, group="a\x00b\ud800\u202ec", long="x " * 5_000, nested={"k": {"é", "a"}}, number=1.5)
    data = AuditEvent.objects.get().data
    assert data["group"].startswith("a\ufffdb")
    assert len(data["long"]) == 2048
    assert record.verify() == []


def test_twenty_writers_at_once_make_one_chain(transactional_db):
    def work():
        try:
            write(5)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditEvent.objects.count() == 100
    assert AuditHead.objects.get().seq == 100
    assert record.verify() == []


def test_verify_says_that_all_is_well(db, capsys):
    write(2)
    call_command("audit", "verify")
    assert capsys.readouterr().out == "The audit log is intact.\n"


def test_a_token_that_somebody_pasted_where_a_name_belongs_is_not_kept(db):
    token, jwt = "rlg_at_" + "x" * 43, "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"
    write(
        role_arn=f"111122223333/{token}",
        nested={token: [jwt]},
        access_key_id="ASIATESTONLY00000001",
        other="ASIATESTONLY00000001",
    )
    (line,) = export.lines()
    assert token not in line
    assert jwt not in line
    data = json.loads(line)["data"]
    assert data["role_arn"] == "111122223333/[redacted]"
    assert (data["access_key_id"], data["other"]) == ("ASIATESTONLY00000001", "[redacted]")
    assert record.verify() == []


@pytest.mark.parametrize(("trigger", "table"), cast.NO_TRUNCATE.items())
def test_on_postgresql_what_is_recorded_is_not_truncated(db, publish, gateway_keys, trigger, table):
    publish()
    if connection.vendor != "postgresql":
        return  # SQLite has no TRUNCATE; what a DELETE took away there, the verifier names
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
    for sql in (f"TRUNCATE {table}", f"TRUNCATE federation_person, {table} CASCADE"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    assert record.verify() == []


# --- The log's own storage ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [ProgrammingError, IntegrityError, DataError]
)  # its table is gone or closed; its head behind its rows
def test_a_log_that_cannot_be_written_is_no_bug_of_whoever_acted(db, monkeypatch, kind):
    def fails(event):
        raise kind("permission denied for table federation_auditevent\nDETAIL: a row")

    monkeypatch.setattr(record._append, "statement", fails)
    with pytest.raises(record.AuditUnavailable) as caught:
        write()
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "service_unavailable", 30)
    assert "DETAIL" not in caught.value.detail


def test_a_head_that_was_put_back_lets_nobody_write_over_what_is_there(db):
    write(3)
    AuditHead.objects.all().delete()
    with pytest.raises(record.AuditUnavailable), transaction.atomic():
        write()
    assert AuditEvent.objects.count() == 3


def test_what_takes_rights_away_is_done_all_the_same(db, monkeypatch, caplog):
    def fails(event):
        raise ProgrammingError("gone")

    monkeypatch.setattr(record._append, "statement", fails)
    with transaction.atomic():
        record.record_or_log(Kind.REVOKED, actor="x", outcome="ok", origin=ORIGIN, now=AT)
    assert "audit_event_lost" in caplog.text


@pytest.mark.parametrize("kind", [OperationalError, InternalError])
def test_a_database_that_is_away_says_so_itself(db, monkeypatch, kind):
    def fails(event):
        raise kind("the database system is starting up")

    monkeypatch.setattr(record._append, "statement", fails)
    with pytest.raises(kind):
        write()
