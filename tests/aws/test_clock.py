"""The watch over the clock: what an answer's Date says, and for how long; real STS calls where the header comes from."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from email.utils import formatdate

import pytest

from federation.aws import clock, console, sts
from federation.aws.clock import ClockWrong, Watch
from federation.aws.partitions import partition
from tests.aws.scripted import Reply, credentials, granted, refused, serving
from tests.aws.test_sts import Minting

AWS = partition("aws")
TOKEN = Reply(200, '{"SigninToken": "TEST-ONLY"}', "application/json")


class Clocks:
    """A machine's two clocks, which stand still; AWS's time is `aws`."""

    def __init__(self):
        self.wall_now, self.mono_now, self.aws = 1_800_000_000.0, 50.0, 1_800_000_000.0
        self.watch = Watch(lambda: self.wall_now, lambda: self.mono_now)

    def forward(self, seconds):
        self.wall_now += seconds
        self.mono_now += seconds
        self.aws += seconds

    def answer(self, source="https://sts.example.com", took=0.0, **more):
        """AWS answers at half time of a call that takes `took` seconds."""
        sent = self.mono_now
        self.forward(took / 2)
        date = formatdate(int(self.aws), usegmt=True)
        self.forward(took / 2)
        self.watch.observe(source, date, sent=sent, **more)


@pytest.fixture
def clocks():
    return Clocks()


def test_of_a_new_process_nothing_is_known(clocks):
    assert clocks.watch.skew() is None
    clocks.watch.require_right()


def test_clocks_that_agree(clocks):
    clocks.answer()
    assert clocks.watch.skew() == 0
    clocks.watch.require_right()


@pytest.mark.parametrize(
    ("off", "wrong"), [(59, False), (-59, False), (63, True), (-63, True), (3600, True), (-86400 * 400, True)]
)
def test_more_than_a_minute_off_is_wrong_and_less_is_not(clocks, off, wrong):
    clocks.wall_now += off
    clocks.answer()
    assert clocks.watch.is_wrong() is wrong
    if not wrong:
        clocks.watch.require_right()
        return
    with pytest.raises(ClockWrong) as caught:
        clocks.watch.require_right()
    error = caught.value
    assert (error.code, error.status, error.reason, error.retry_after) == (
        "clock_wrong",
        503,
        "clock_differs_from_aws",
        5,
    )
    assert ("ahead" if off > 0 else "behind") in error.public_sentence
    assert "sts.example.com" in error.detail


@pytest.mark.parametrize("off", [-58, 58])
def test_a_slow_answer_is_given_the_benefit_of_the_doubt(clocks, off):
    """The date may be from the call's beginning or its end: seven seconds of waiting are no fault of the clock."""
    clocks.wall_now += off
    clocks.answer(took=7)
    assert not clocks.watch.is_wrong()


def test_a_clock_that_is_put_wrong_afterwards_shows_without_asking_anybody(clocks):
    clocks.answer()
    clocks.forward(3600)
    assert clocks.watch.skew() == 0
    clocks.wall_now += 300
    with pytest.raises(ClockWrong):
        clocks.watch.require_right()
    clocks.wall_now -= 300
    clocks.watch.require_right()


def test_after_a_day_without_an_answer_nothing_is_known_any_more(clocks):
    clocks.wall_now += 500
    clocks.answer()
    clocks.forward(clock.STALE_SECONDS + 1)
    assert clocks.watch.skew() is None


def test_a_later_answer_takes_the_place_of_an_earlier_one(clocks):
    clocks.aws += 500
    clocks.answer()
    assert clocks.watch.is_wrong()
    clocks.aws -= 500
    clocks.answer(source="https://signin.example.com")
    assert not clocks.watch.is_wrong()
    assert clocks.watch.source == "https://signin.example.com"


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Tue, 99 Nov 2026 03:00:00 GMT", "Tue, 24 Nov 999999 03:00:00 GMT"]
)
def test_a_date_that_is_none_says_nothing(clocks, date):
    clocks.answer()
    clocks.watch.observe("https://sts.example.com", date, sent=clocks.mono_now)
    assert clocks.watch.skew() == 0


def test_an_answer_out_of_a_cache_says_nothing(clocks):
    clocks.answer()
    clocks.aws -= 5000
    clocks.answer(age="4900")
    assert clocks.watch.skew() == 0


def test_a_sleep_that_stopped_the_monotonic_clock_is_found_out_by_asking(clocks):
    """A machine that was suspended: its monotonic clock stood still, its wall clock was set right again."""
    clocks.answer()
    clocks.wall_now += 4000
    clocks.aws += 4000
    assert clocks.watch.is_wrong()
    clocks.watch.ask(clocks.answer)
    clocks.watch.require_right()


def test_aws_is_asked_once_when_nothing_is_known_and_seldom_while_it_does_not_answer(clocks):
    asked = []
    for _ in range(70):
        clocks.watch.ask(lambda: asked.append(clocks.mono_now))
        clocks.forward(1)
    assert asked == [50.0, 80.0, 110.0]


def test_aws_is_asked_every_few_seconds_while_the_clock_is_wrong_and_not_once_it_is_right(clocks):
    asked = []

    def probe():
        asked.append(clocks.mono_now)
        clocks.answer()

    clocks.wall_now += 300
    for second in range(10):
        clocks.watch.ask(probe)
        if second == 6:
            clocks.wall_now -= 300
        clocks.forward(1)
    assert asked == [50.0, 53.0, 56.0]


def test_many_who_find_it_wrong_ask_once_and_do_not_wait(clocks):
    clocks.wall_now += 300
    clocks.answer()
    asked, waited, inside, done = [], [], threading.Event(), threading.Event()

    def probe():
        asked.append(1)
        inside.set()
        done.wait(60)

    first = threading.Thread(target=clocks.watch.ask, args=(probe,))
    first.start()
    assert inside.wait(60)
    begun = time.monotonic()
    for _ in range(20):
        clocks.watch.ask(probe)
        waited.append(time.monotonic() - begun)
    done.set()
    first.join()
    assert len(asked) == 1
    assert max(waited) < 1


def test_a_probe_that_fails_does_not_bar_the_next(clocks):
    def broken():
        raise RuntimeError("probe")

    with pytest.raises(RuntimeError):
        clocks.watch.ask(broken)
    clocks.forward(clock.PROBE_WHILE_UNKNOWN_SECONDS)
    clocks.watch.ask(clocks.answer)
    assert clocks.watch.skew() == 0


# --- The answers of AWS -------------------------------------------------------------------------------


@pytest.fixture
def endpoint(monkeypatch):
    clock.watch.forget()
    return lambda double: monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)


@pytest.mark.parametrize("reply", [granted(), refused("AccessDenied", status=403)])
def test_every_answer_of_sts_tells_the_time(endpoint, reply):
    with serving(replace(reply, clock=-300)) as double:
        endpoint(double)
        try:
            sts.assume_role(Minting(), regions=("eu-west-1",), partition=AWS)
        except sts.StsAccessDenied:
            pass
        assert 295 < clock.watch.skew() < 305
        assert clock.watch.source == double.url


def test_every_answer_of_the_sign_in_endpoint_tells_the_time():
    clock.watch.forget()
    with serving(replace(TOKEN, clock=300)) as double:
        console.signin_token(credentials(), partition=AWS, endpoint_url=f"{double.url}/federation")
    assert -305 < clock.watch.skew() < -295


def test_before_the_first_mint_sts_is_asked_and_then_no_more(endpoint):
    with serving(refused("MissingAuthenticationToken", status=403)) as double:
        endpoint(double)
        for _ in range(5):
            assert sts.require_right_clock(AWS, "eu-west-1") is True
    assert [call.fields["Action"] for call in double.calls] == ["GetCallerIdentity"]
    assert "authorization" not in double.calls[0].headers


@pytest.mark.parametrize("body", ["<html><body>Sign in to the guest network</body></html>", "<Response/>", "none"])
def test_an_answer_that_is_not_sts_s_tells_no_time_and_breaks_nothing(endpoint, body):
    with serving(Reply(200, body)) as double:
        endpoint(double)
        assert sts.require_right_clock(AWS, "eu-west-1") is False
        assert sts.unreachable("eu-west-1") in {"KeyError", "ResponseParserError"}


def test_a_wrong_clock_is_refused_and_forgiven_when_an_answer_agrees(endpoint, monkeypatch):
    monkeypatch.setattr(clock, "PROBE_WHILE_WRONG_SECONDS", 0.0)
    wrong = replace(refused("MissingAuthenticationToken", status=403), clock=120)
    with serving(wrong, wrong, replace(wrong, clock=0)) as double:
        endpoint(double)
        for _ in range(2):
            with pytest.raises(ClockWrong) as caught:
                sts.require_right_clock(AWS)
            assert caught.value.reason == "clock_differs_from_aws"
        assert sts.require_right_clock(AWS) is True
    assert len(double.calls) == 3


def test_where_sts_cannot_be_reached_nothing_is_known_and_nothing_refused(monkeypatch):
    clock.watch.forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    assert sts.require_right_clock(AWS) is False
