"""Nothing is minted under a wrong clock: no assertion, no token, no form; the refusal says why, and ends by itself."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.db import connection

from federation.aws import clock
from federation.aws.clock import ClockWrong
from federation.flows import clock as flow
from federation.flows import minting
from federation.flows.issue_credentials import issue_credentials
from federation.flows.open_console import console_form, open_console
from federation.models import AuditEvent
from tests import cast
from tests.aws.scripted import granted, refused, serving

READ_ONLY = cast.role(cast.PROD, "ReadOnly")
DEVELOPER = cast.role(cast.DEV, "Developer")
BY_TOKEN = cast.role(cast.STAGING, "Developer")
ASKED = refused("MissingAuthenticationToken", status=403)


@pytest.fixture
def alice(gateway_keys, publish, sign_in_as):
    publish()
    now = datetime.now(UTC)
    return sign_in_as(cast.alice(now=now), at=now)


@pytest.fixture
def use(alice, origin):
    def do(role=READ_ONLY, how=issue_credentials, **more):
        more = {"duration": None, "policy": None} if how is issue_credentials else {"destination": None}
        return how(alice.pk, role, channel="test", origin=origin, now=datetime.now(UTC), **more)

    return do


@contextmanager
def sts(monkeypatch, *script):
    """A SCRIPTED STS in front of a gateway that has had no answer yet."""
    clock.watch.forget()
    with serving(*script) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        yield double


def kinds():
    return list(
        AuditEvent.objects.exclude(kind="mapping.published").order_by("seq").values_list("kind", "outcome", "reason")
    )


@pytest.mark.parametrize("off", [120, -120])
@pytest.mark.parametrize(
    ("role", "how", "kind"),
    [
        (READ_ONLY, issue_credentials, "credentials"),
        (BY_TOKEN, issue_credentials, "credentials"),
        (READ_ONLY, open_console, "console"),
        (DEVELOPER, console_form, "console"),
    ],
)
def test_nothing_is_minted_under_a_wrong_clock(use, monkeypatch, role, how, kind, off):
    with sts(monkeypatch, replace(ASKED, clock=off)) as double, pytest.raises(ClockWrong) as caught:
        use(role, how)
    assert caught.value.public_sentence.startswith("The gateway's clock is 1")
    assert kinds() == [(kind, "failed", "clock_differs_from_aws")]
    assert [call.fields["Action"] for call in double.calls] == ["GetCallerIdentity"]


def test_nor_the_gateway_s_own_token(alice, origin, monkeypatch):
    with sts(monkeypatch, replace(ASKED, clock=120)), pytest.raises(ClockWrong):
        minting.mint_reader_token(READ_ONLY, origin=origin, now=datetime.now(UTC))
    assert kinds() == []


def test_once_the_clock_is_right_credentials_flow_again(use, monkeypatch):
    monkeypatch.setattr(clock, "PROBE_WHILE_WRONG_SECONDS", 0.0)
    with sts(monkeypatch, replace(ASKED, clock=120), ASKED, granted()):
        with pytest.raises(ClockWrong):
            use()
        assert use().credentials.access_key_id.startswith("ASIA")
    assert kinds() == [
        ("credentials", "failed", "clock_differs_from_aws"), ("mint.assertion", "ok", ""), ("credentials", "ok", ""),
    ]  # fmt: skip


def test_a_clock_found_wrong_by_the_call_itself_mints_no_second_document(use, monkeypatch):
    """STS finds the document expired; a fresh one would be as wrong, and the person is told the cause."""
    script = (ASKED, replace(refused("ExpiredTokenException"), clock=600), replace(ASKED, clock=600))
    with sts(monkeypatch, *script), pytest.raises(ClockWrong):
        use()
    assert kinds() == [("mint.assertion", "ok", ""), ("credentials", "failed", "clock_differs_from_aws")]


def test_a_wall_clock_that_jumps_between_two_mints_is_noticed_at_the_second(use, monkeypatch):
    with sts(monkeypatch, ASKED, granted(), ASKED):
        use()
        clock.watch.pin("STS", time.time() - 3600, resolution=1.0, sent=time.monotonic())
        monkeypatch.setattr(clock.watch, "_probed_at", clock.watch.monotonic())
        with pytest.raises(ClockWrong):
            use()
    assert [kind for kind, _, _ in kinds()].count("mint.assertion") == 1


def test_where_aws_cannot_be_asked_the_database_is(use, monkeypatch, db):
    """The direct way into the console calls no STS: without a way out to it, the database is the witness."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    clock.watch.forget()
    use(DEVELOPER, console_form)
    if connection.vendor != "postgresql":
        return
    real = time.time
    for off in (120, -120):
        monkeypatch.setattr(flow.time, "time", lambda off=off: real() + off)
        with pytest.raises(ClockWrong) as caught:
            use(DEVELOPER, console_form)
        assert caught.value.reason == "clock_differs_from_database"
        monkeypatch.setattr(flow.time, "time", real)


def test_a_database_that_is_off_is_not_believed_against_aws(use, monkeypatch):
    monkeypatch.setattr(flow, "_compare_with_database", lambda: pytest.fail("the database was asked"))
    with sts(monkeypatch, ASKED, granted()):
        use()
