"""`manage.py audit`: what was recorded, as JSON lines; and whether anybody has touched it."""

import json

import pytest
from django.core.management import CommandError
from django.db import connection

from federation.models import AuditEvent
from tests import cast


@pytest.fixture
def three(publish):
    for text in (cast.DOCUMENT, cast.DOCUMENT + "# second\n", cast.DOCUMENT + "# third\n"):
        publish(text)


def edit(sql):
    """Behind the application's back, as the table's owner could."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent DISABLE TRIGGER USER")
        cursor.execute(sql)
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent ENABLE TRIGGER USER")


def test_an_intact_log_says_so(run, three):
    assert run("audit", "verify") == "The audit log is intact.\n"


def test_an_empty_log_is_intact(run):
    assert run("audit", "verify") == "The audit log is intact.\n"
    assert run("audit", "export") == ""


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE federation_auditevent SET actor = 'mallory' WHERE seq = 2", "2: row 2 was edited"),
        ("DELETE FROM federation_auditevent WHERE seq = 2", "2: row 2 is missing"),
        ("DELETE FROM federation_auditevent WHERE seq = 3", "3: the tail is cut"),
        ("UPDATE federation_audithead SET seq = 2", "head of the log was edited"),
        ("DELETE FROM federation_audithead", "the head of the log is missing"),
    ],
)
def test_a_log_that_was_touched_fails_and_names_the_place(run, three, sql, named):
    edit(sql)
    with pytest.raises(CommandError, match="not intact") as caught:
        run("audit", "verify")
    assert named in str(caught.value)


def test_the_export_is_one_object_a_line_in_order(run, three):
    lines = [json.loads(line) for line in run("audit", "export").splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["mac"] for line in lines] == list(AuditEvent.objects.order_by("seq").values_list("mac", flat=True))
    assert lines[0]["kind"] == "mapping.published"
    assert lines[0]["data"]["revision"] == 1


def test_an_export_can_go_on_where_the_last_one_ended(run, three):
    assert [json.loads(line)["seq"] for line in run("audit", "export", "--since", 2).splitlines()] == [3]
    assert run("audit", "export", "--since", 3) == ""


def test_it_must_be_said_what_to_do(run):
    with pytest.raises(CommandError, match="verify"):
        run("audit")
