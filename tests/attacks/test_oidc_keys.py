"""A flood of unknown key ids, withdrawn keys, a provider that is down: what is fetched, and what is believed."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from federation.errors import OidcRefused, ProviderUnavailable
from federation.signin.oidc import verify_logout_token
from tests.oidc_kit import NOW, Journey, jwk, running, sign

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def op():
    with running() as provider:
        yield provider


def attempt(journey: Journey, token: str) -> str:
    """The reason for which a posted logout token (anyone can post one) is refused; "" if it is taken."""
    try:
        verify_logout_token(journey.row, journey.documents, token, now=journey.provider.now)
    except OidcRefused as error:
        return error.reason
    return ""


def test_flood_of_unknown_key_ids_costs_one_fetch_a_minute(op):
    journey = Journey(op)
    forged = [op.logout_token()] + [sign({"alg": "RS256", "kid": f"evil-{n}"}, b"{}") for n in range(300)]
    assert attempt(journey, forged[0]) == ""
    for minute in range(1, 4):
        op.now = NOW + minute * MINUTE
        assert {attempt(journey, token) for token in forged[1:]} == {"kid_unknown"}
        assert op.calls["/jwks"] == 1 + minute
    op.now += timedelta(seconds=59)
    assert attempt(journey, forged[1]) == "kid_unknown"
    assert op.calls["/jwks"] == 4


def test_flood_from_a_hundred_threads(op):
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    op.now = NOW + MINUTE
    start, reasons = threading.Barrier(100), []

    def post(number: int) -> None:
        start.wait()
        reasons.append(attempt(journey, sign({"alg": "RS256", "kid": f"evil-{number}"}, b"{}")))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons == ["kid_unknown"] * 100
    assert op.calls["/jwks"] == 2
    assert op.calls["/.well-known/openid-configuration"] == 1


def test_a_cold_start_of_many_threads_fetches_once(op):
    journey = Journey(op)
    token, reasons = op.logout_token(), []
    threads = [threading.Thread(target=lambda: reasons.append(attempt(journey, token))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons == [""] * 30
    assert op.calls["/jwks"] == op.calls["/.well-known/openid-configuration"] == 1


def test_a_new_key_is_found_and_a_withdrawn_one_refused(op):
    journey = Journey(op)
    old = op.logout_token()
    assert attempt(journey, old) == ""
    op.keys, op.key = [jwk("rsa-new")], "rsa-new"
    new = op.logout_token()
    assert attempt(journey, new) == "kid_unknown"  # fetched less than a minute ago
    op.now = NOW + MINUTE
    assert attempt(journey, new) == ""
    assert attempt(journey, old) == "kid_unknown"
    assert op.calls["/jwks"] == 2


def test_a_withdrawn_key_is_refused_after_an_hour_without_any_unknown_one(op):
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    op.keys = []
    op.now = NOW + HOUR - timedelta(seconds=1)
    assert attempt(journey, op.logout_token()) == ""
    op.now = NOW + HOUR
    assert attempt(journey, op.logout_token()) == "kid_unknown"


def test_rolled_key_without_key_ids(op):
    op.keys, op.header = [jwk("rsa", kid=None)], {"kid": None}
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    op.keys, op.key = [jwk("rsa-new", kid=None)], "rsa-new"
    assert attempt(journey, op.logout_token()) == "signature_invalid"
    op.now = NOW + MINUTE
    assert attempt(journey, op.logout_token()) == ""
    forged = [sign({"alg": "RS256"}, b"{}", key="rsa-evil") for _ in range(5)]
    assert {attempt(journey, token) for token in forged} == {"signature_invalid"}
    assert op.calls["/jwks"] == 2


def test_last_good_copy_for_seven_days_and_not_longer(op):
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    op.statuses = {"/jwks": 503, "/.well-known/openid-configuration": 503}
    for age in (2 * HOUR, DAY, 7 * DAY):
        op.now = NOW + age
        assert attempt(journey, op.logout_token()) == ""
    op.now = NOW + 7 * DAY + timedelta(seconds=61)
    with pytest.raises(ProviderUnavailable) as caught:
        attempt(journey, op.logout_token())
    assert caught.value.reason == "document_unavailable"
    op.statuses = {}
    op.now += MINUTE
    assert attempt(journey, op.logout_token()) == ""


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": [], "keys": []}',
        b"{}",
        b'{"keys": [' + b"{}," * 100 + b"{}]}",
        b"x" * 300_000,
    ],
)
def test_a_broken_answer_does_not_replace_a_good_copy(op, body):
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    op.bodies = {"/jwks": body}
    op.now = NOW + 2 * HOUR
    assert attempt(journey, op.logout_token()) == ""
    assert op.calls["/jwks"] == 2


def test_a_provider_that_is_down_is_not_hammered(op):
    op.statuses = {"/.well-known/openid-configuration": 500}
    journey = Journey(op)
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            journey.begin()
    assert op.calls["/.well-known/openid-configuration"] == 1
    op.statuses = {}
    op.now = NOW + timedelta(seconds=5)
    assert journey.begin().url


def test_nobody_waits_while_another_refreshes(op):
    """A slow provider holds up one thread; the others go on with the copy they have."""
    journey = Journey(op)
    assert attempt(journey, op.logout_token()) == ""
    honest, release, entered = journey.documents.request, threading.Event(), threading.Semaphore(0)

    def slow(method, url, **options):
        if url.endswith("/jwks"):
            entered.release()
            assert release.wait(60)
        return honest(method, url, **options)

    journey.documents.request = slow
    op.now = NOW + 2 * HOUR
    token = op.logout_token()
    refresher = threading.Thread(target=attempt, args=(journey, token))
    refresher.start()
    try:
        assert entered.acquire(timeout=60)
        assert attempt(journey, token) == ""
        assert not release.is_set()
        assert not entered.acquire(blocking=False)  # no second fetch
    finally:
        release.set()
        refresher.join()
    assert op.calls["/jwks"] == 2


def test_being_down_says_when_to_try_again_and_keeps_no_tracebacks(op):
    op.statuses = {"/jwks": 500}
    journey = Journey(op)
    depths = set()
    for _ in range(3):
        with pytest.raises(ProviderUnavailable) as caught:
            attempt(journey, op.logout_token())
        assert caught.value.retry_after == 5
        depths.add(len(caught.traceback))
    assert len(depths) == 1
