"""Letters: to whom, in whose words, and that none is lost."""

from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail

from federation import tasks
from federation.flows import letters
from federation.models import Letter, TaskRun
from tests import cast
from tests.flows.requests_kit import ADMIN, OPERATOR, alice, dana, desk

__all__ = ["desk"]


@pytest.fixture(autouse=True)
def _mail(settings):
    settings.ROLEGATE_EMAIL_FROM = "gateway@example.com"


def test_approvers_are_told_and_the_asker_hears_of_the_decision(desk):
    lead, asker = desk.person(dana()), desk.person(alice())
    desk.person(cast.identity("uma", groups=("on-call-berlin",)))
    request = desk.ask(asker, ADMIN, OPERATOR)
    assert letters.send_due(now=desk.now) == 2
    assert {letter.to[0] for letter in mail.outbox} == {"dana@example.com", "uma@example.com"}
    said = mail.outbox[0]
    assert said.subject == "Alice asks for Administrator in shop-prod and 1 more"
    for word in (
        "Deploy 4711 fails",
        "Operator in shop-staging",
        "1 hour",
        f"http://localhost:8000/requests/{request.pk}/",
    ):
        assert word in said.body
    desk.decide(lead, request, True, False, comment="Only production")
    letters.send_due(now=desk.now)
    assert mail.outbox[-1].to == ["alice@example.com"]
    assert f"refused: {OPERATOR}" in mail.outbox[-1].body
    assert letters.send_due(now=desk.now) == 0


def test_letters_are_in_the_language_that_the_operator_has_chosen(desk, settings):
    settings.ROLEGATE_LETTER_LANGUAGE = "de"
    desk.person(dana())
    request = desk.ask(desk.person(alice()), ADMIN, OPERATOR)
    letter = Letter.objects.get()
    assert letter.subject == "Alice bittet um Administrator in shop-prod und 1 weitere"
    assert "für 1 Stunde." in letter.body
    assert f"http://localhost:8000/requests/{request.pk}/" in letter.body


def test_without_a_mail_server_nothing_is_written(desk, settings):
    settings.ROLEGATE_EMAIL_FROM = ""
    desk.person(dana())
    desk.ask(desk.person(alice()))
    assert not Letter.objects.exists()


def test_a_name_cannot_begin_a_header_or_turn_the_line(desk):
    desk.person(dana())
    desk.ask(desk.person(cast.alice(mfa=True, name="Al\r\nBcc: all@example.com\u202eecila")), reason="a\n\u202eb")
    letter = Letter.objects.get()
    assert letter.subject.startswith("Al Bcc: all@example.comecila asks for")
    assert "\u202e" not in letter.body
    assert letters.send_due(now=desk.now) == 1
    assert mail.outbox[0].recipients() == ["dana@example.com"]


@pytest.mark.parametrize("address", ["", "not an address", "a@b\n.example", "x" * 400 + "@example.com"])
def test_an_address_that_is_none_holds_up_nobody(desk, address):
    assert letters.write([address, "ok@example.com"], subject="s", body="b", now=desk.now) == 1


def test_a_mail_server_that_is_away_loses_no_letter(desk, monkeypatch):
    letters.write(["ok@example.com"], subject="s", body="b", now=desk.now)

    def away(self, *args, **kwargs):
        raise SMTPServerDisconnected("gone")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", away)
        assert letters.send_due(now=desk.now) == 0
        assert letters.send_due(now=desk.now) == 0  # not before its next try
    row = Letter.objects.get()
    assert (row.tries, row.sent_at, row.last_error) == (1, None, "SMTPServerDisconnected: gone")
    assert letters.send_due(now=desk.now + timedelta(minutes=1)) == 1
    assert Letter.objects.get().sent_at is not None


def test_after_a_day_it_is_given_up_and_says_so(desk, monkeypatch):
    letters.write(["ok@example.com"], subject="s", body="b", now=desk.now)
    monkeypatch.setattr("django.core.mail.EmailMessage.send", lambda self: 1 / 0)
    letters.send_due(now=desk.now + timedelta(days=1, minutes=1))
    row = Letter.objects.get()
    assert row.gave_up_at is not None
    assert row.next_try_at is None


def test_of_two_workers_one_takes_a_letter(desk, monkeypatch):
    letters.write(["ok@example.com"], subject="s", body="b", now=desk.now)
    real = Letter.objects.filter

    def meanwhile(**wanted):
        if "next_try_at" in wanted:  # the other worker was faster
            real(pk=wanted["pk"]).update(next_try_at=desk.now + timedelta(hours=1))
        return real(**wanted)

    monkeypatch.setattr(Letter.objects, "filter", meanwhile)
    assert letters.send_due(now=desk.now) == 0
    assert mail.outbox == []


def test_the_task_notes_what_it_sent_and_now_and_then_that_it_looked(desk):
    """Else whoever asks whether a worker is there could not tell a quiet week from a dead one."""
    tasks.send_letters()
    tasks.send_letters()
    assert [run.detail for run in TaskRun.objects.all()] == [{"sent": 0}]
    letters.write(["ok@example.com"], subject="s", body="b", now=desk.now)
    tasks.send_letters()
    assert [run.detail for run in TaskRun.objects.order_by("started_at")] == [{"sent": 0}, {"sent": 1}]
