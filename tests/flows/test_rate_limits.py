"""Rate limits in the database: right across processes, without Redis, and at the edge of a window."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from federation.errors import BadRequest, RateLimited
from federation.flows import rate_limits
from federation.models import RateWindow

SHIPPED = dict(rate_limits.LIMITS)
START = datetime(2026, 5, 3, 9, 0, tzinfo=UTC)  # the first second of a window


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 10, 30))


def hit(person="alice", address="", after=0.0, scope="token"):
    rate_limits.hit(scope, person=person, address=address, now=START + timedelta(seconds=after))


def how_many(**more):
    """How often until it is refused."""
    for n in range(200):
        try:
            hit(**more)
        except RateLimited:
            return n
    return None


def test_a_person_may_as_often_as_the_limit_says(db):
    assert how_many() == 10


def test_a_refusal_says_when_to_come_back(db):
    assert how_many(after=20) == 10
    with pytest.raises(RateLimited) as caught:
        hit(after=20)
    assert caught.value.reason == "token_rate"
    assert caught.value.status == 429
    assert (
        caught.value.retry_after == 40 + 15
    )  # the rest of this window, and until enough of it has faded from the next


def comes_back(after):
    """Whether one more use passes then, as if nothing had come in between; leaves the counters as they were."""
    used = {(row.key, row.slot): row.count for row in RateWindow.objects.all()}
    try:
        hit(after=after)
        passed = True
    except RateLimited:
        passed = False
    RateWindow.objects.all().delete()
    for (key, slot), count in used.items():
        RateWindow.objects.create(key=key, slot=slot, count=count)
    return passed


@pytest.mark.parametrize(
    ("uses", "into"),
    [([(0, 10)], 0), ([(0, 10)], 20), ([(0, 10)], 59), ([(0, 60)], 30), ([(0, 8), (90, 6)], 90)],
)
def test_whoever_comes_back_when_told_is_let_in_and_not_a_second_earlier(db, uses, into):
    """The end of the window alone would be too early: what was used in it still counts in the next."""
    for after, times in uses:
        for _ in range(times):
            with contextlib.suppress(RateLimited):
                hit(after=after)
    with pytest.raises(RateLimited) as caught:
        hit(after=into)
    assert comes_back(into + caught.value.retry_after)
    assert not comes_back(into + caught.value.retry_after - 1.001)


def test_people_addresses_and_scopes_are_counted_apart(db):
    how_many()
    assert how_many(person="bob") == 10
    assert how_many(person=None, address="192.0.2.7") == 30
    assert how_many(person=None, address="alice") == 30
    hit(scope="credentials")


def test_nobody_and_nowhere_are_not_counted(db):
    assert how_many(person=None, address="") is None
    assert not RateWindow.objects.exists()


def test_the_edge_of_a_window_gives_nobody_a_double_share(db):
    """Ten at the end of one window and ten at the start of the next would be twenty within two seconds."""
    assert how_many(after=59) == 10
    assert how_many(after=60) == 0


@pytest.mark.parametrize(("into", "left"), [(0, 0), (15, 2), (30, 5), (45, 7), (59, 9)])
def test_a_full_window_fades_as_the_next_one_passes(db, into, left):
    for _ in range(10):
        hit(after=1)
    assert how_many(after=60 + into) == left


def test_two_windows_later_nothing_is_left(db):
    how_many()
    assert how_many(after=120) == 10


def test_refused_attempts_count_so_that_a_flood_does_not_let_one_through_a_second(db):
    for _ in range(50):
        with_refusals = how_many(after=1)
    assert with_refusals == 0
    assert RateWindow.objects.get().count > 50


def test_of_a_flood_the_log_is_told_once_a_window_for_each(db, monkeypatch):
    """Refused attempts weigh ten here, and the count of the window before fades: neither makes it be told more often."""
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 20, 50, refused=10))
    told = {}
    for second in range(300):
        for who in ({"person": "alice", "address": ""}, {"person": None, "address": "192.0.2.7"}):
            try:
                rate_limits.hit("sign_in", now=START + timedelta(seconds=second), **who)
                rate_limits.count_refusal("sign_in", address=who["address"], now=START + timedelta(seconds=second))
            except RateLimited as error:
                key = str(who), second // 60
                told[key] = told.get(key, 0) + rate_limits.is_worth_an_event(error)
    assert set(told.values()) == {1}
    assert len(told) == 10


def test_of_many_at_once_one_tells(transactional_db):
    with pytest.raises(RateLimited) as caught:
        for _ in range(11):
            hit()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _in_a_thread(caught.value), range(24)))
    assert sorted(answers) == [False] * 23 + [True]


def _in_a_thread(error):
    try:
        return rate_limits.is_worth_an_event(error)
    finally:
        connection.close()


def test_other_errors_are_always_worth_an_event():
    assert rate_limits.is_worth_an_event(BadRequest("x"))
    assert rate_limits.is_worth_an_event(RateLimited("somebody_elses_limit"))


def test_the_factor_multiplies_every_limit(db, settings):
    settings.ROLEGATE_RATE_FACTOR = 3
    assert how_many() == 30


def test_the_key_does_not_say_who_it_is(db):
    hit(address="192.0.2.7")
    assert not any("alice" in row.key or "192" in row.key for row in RateWindow.objects.all())


def test_fifty_at_once_are_counted_exactly(transactional_db):
    passed, refused, faults, lock = [], [], [], threading.Lock()

    def work():
        try:
            hit()
            with lock:
                passed.append(1)
        except RateLimited:
            with lock:
                refused.append(1)
        except Exception as error:
            with lock:
                faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert (len(passed), len(refused)) == (10, 40)
    assert RateWindow.objects.get().count == 50


def test_a_whole_company_behind_one_address_signs_in_within_a_minute(db):
    """Two requests each for 5,000 people, and their first credentials: the limits as they ship let them through."""
    assert SHIPPED["sign_in"].address >= 2 * 2 * 5000
    assert SHIPPED["credentials"].address >= 2 * 5000
    assert SHIPPED["token"].address >= 2 * 5000


def test_a_refused_attempt_weighs_more_than_an_honest_one(db, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 10, 30, refused=10))
    for _ in range(3):
        hit(person=None, address="192.0.2.7", scope="sign_in")
        rate_limits.count_refusal("sign_in", address="192.0.2.7", now=START)
    with pytest.raises(RateLimited) as caught:
        hit(person=None, address="192.0.2.7", scope="sign_in")
    assert caught.value.reason == "sign_in_rate"
    assert rate_limits.is_worth_an_event(caught.value)
    hit(person=None, address="192.0.2.8", scope="sign_in")


def test_forged_answers_are_counted_as_refused(db, origin, monkeypatch):
    """Through the real flow: three forgeries use up what thirty honest requests would."""
    from federation.errors import RolegateError
    from federation.flows import sign_in

    monkeypatch.setitem(rate_limits.LIMITS, "sign_in", rate_limits.Limit(60, 10, 30, refused=10))
    codes = []
    for _ in range(4):
        with pytest.raises(RolegateError) as caught:
            sign_in.receive_saml("nobody", saml_response="forged", relay_state="", origin=origin, now=START)
        codes.append(caught.value.code)
    assert codes[-1] == "rate_limited"
    assert "rate_limited" not in codes[:-1]
