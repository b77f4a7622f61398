"""Attack, or a bad morning: one that does not answer keeps everybody out. Whoever waits holds one of a process's few threads."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from itertools import count

import pytest

from federation import net
from federation.aws import sts
from federation.aws.partitions import partition
from federation.bulkhead import FAILURES, FORGOTTEN_AFTER, MOST_WAITING, MOST_WAITING_TOGETHER, Bulkhead
from federation.errors import ProviderUnavailable
from federation.signin.jwks import ProviderDocuments
from tests.aws.scripted import Reply, granted, serving
from tests.aws.test_sts import REGIONS, ROLE, Minting
from tests.net.test_net import answering, send, silence
from tests.oidc_kit import NOW, running

PEOPLE = 24
THREADS = 8  # of a process


def at_once(work, number=PEOPLE):
    """Seconds that each of so many threads was held, by what came of it."""
    start, held = threading.Barrier(number), []

    def run():
        start.wait()
        began = time.monotonic()
        try:
            work()
            came = "ok"
        except Exception as error:
            came = getattr(error, "reason", repr(error))
        held.append((came, time.monotonic() - began))

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return held


# --- The rule ------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def bulkhead():
    made = Bulkhead(1.0, clock=Clock())
    made.clock = made._clock
    return made


def test_as_many_as_come_go_in_while_answers_come_in_time(bulkhead):
    assert None not in [bulkhead.enter("idp") for _ in range(100)]


def test_while_some_wait_for_long_nobody_else_waits_with_them(bulkhead):
    began = [bulkhead.enter("idp") for _ in range(MOST_WAITING)]
    bulkhead.clock.now += 1.1
    assert bulkhead.enter("idp") is None
    assert bulkhead.enter("another") is not None
    bulkhead.leave("idp", began[0], answered=True)
    assert bulkhead.enter("idp") is not None


def fail(bulkhead, times):
    for _ in range(times):
        bulkhead.leave("idp", bulkhead.enter("idp"), answered=False)


def test_after_failures_in_a_row_one_at_a_time_finds_out(bulkhead):
    fail(bulkhead, FAILURES)
    asking = bulkhead.enter("idp")
    assert asking is not None
    assert bulkhead.enter("idp") is None
    bulkhead.leave("idp", asking, answered=True)
    assert [bulkhead.enter("idp") is None for _ in range(5)] == [False] * 5


def test_a_single_failure_means_nothing(bulkhead):
    fail(bulkhead, FAILURES - 1)
    bulkhead.leave("idp", bulkhead.enter("idp"), answered=True)
    fail(bulkhead, 1)
    assert [bulkhead.enter("idp") is None for _ in range(5)] == [False] * 5


def test_failures_are_forgotten(bulkhead):
    fail(bulkhead, FAILURES)
    bulkhead.clock.now += FORGOTTEN_AFTER
    assert [bulkhead.enter("idp") is None for _ in range(5)] == [False] * 5


def test_what_left_is_not_counted(bulkhead):
    began = bulkhead.enter("idp")
    bulkhead.leave("idp", began, answered=True)
    assert not bulkhead._under_way


def test_where_places_stand_in_for_one_another_one_call_finds_out_about_all_of_them():
    regions = Bulkhead(1.0, together=True, clock=Clock())
    for region in "abc":
        for _ in range(FAILURES):
            regions.leave(region, regions.enter(region), answered=False)
    asking = regions.enter("a")
    assert [regions.is_open(region) for region in "abcd"] == [False, False, False, True]  # d is not known to fail
    regions.leave("a", asking, answered=False)
    assert regions.is_open("b")  # and goes on to the next one


def test_and_not_all_threads_wait_for_all_of_them():
    regions = Bulkhead(1.0, together=True, clock=Clock())
    for region in "aaabb":
        regions.enter(region)
    regions._clock.now += 1.1
    assert MOST_WAITING_TOGETHER == 5
    assert not any(regions.is_open(region) for region in "abc")


# --- An identity provider ------------------------------------------------------------------------------


def test_a_provider_that_hangs_holds_few(monkeypatch):
    monkeypatch.setattr(net.hosts, "_patience", 0.2)
    with answering(silence) as url:
        first = threading.Thread(target=lambda: at_once(lambda: net.request("GET", url, timeout=1.5), MOST_WAITING))
        first.start()
        time.sleep(0.5)
        held = at_once(lambda: net.request("GET", url, timeout=1.5))
        first.join()
    assert {came for came, _ in held} == {"too_slow"}
    assert max(seconds for _, seconds in held) < 0.5


def test_and_is_asked_again_as_soon_as_it_is_well(monkeypatch):
    sick = threading.Event()
    sick.set()

    def respond(handler):
        if sick.is_set():
            time.sleep(0.6)
        send(handler)

    with answering(respond) as url:
        at_once(lambda: net.request("GET", url, timeout=0.3), FAILURES)
        assert sum(seconds > 0.25 for _, seconds in at_once(lambda: net.request("GET", url, timeout=0.3))) == 1
        sick.clear()
        assert net.request("GET", url).status == 200
        assert {came for came, _ in at_once(lambda: net.request("GET", url))} == {"ok"}


def test_one_that_never_answered_is_waited_for_by_one_alone():
    """A new provider at an address that swallows everything: those who try it queued up behind each other's five seconds."""
    with running() as provider:
        moments = count()

        def hang(method, url, **more):
            time.sleep(0.5)
            raise ProviderUnavailable("too_slow")

        documents = ProviderDocuments(request=hang)

        def sign_in():
            documents.discovery(provider.issuer, now=NOW + timedelta(minutes=next(moments)))

        at_once(sign_in, 1)
        held = at_once(sign_in)
        assert {came for came, _ in held} == {"too_slow"}
        assert sum(seconds > 0.4 for _, seconds in held) == 1


def test_a_flood_of_unknown_keys_does_not_queue_behind_a_slow_fetch(monkeypatch):
    monkeypatch.setattr("federation.signin.jwks.PATIENCE_SECONDS", 0.1)
    with running() as provider:
        slow = threading.Event()

        def request(method, url, **more):
            if slow.is_set():
                time.sleep(1.0)
            return net.request(method, url, **more)

        documents = ProviderDocuments(request=request)
        documents.keys(provider.issuer, now=NOW)
        slow.set()
        held = at_once(lambda: documents.keys(provider.issuer, now=NOW + timedelta(minutes=2), again=True))
        assert {came for came, _ in held} == {"ok"}
        assert sum(seconds > 0.6 for _, seconds in held) == 1


# --- STS -----------------------------------------------------------------------------------------------


def assume(minting=None, regions=REGIONS):
    return sts.assume_role(minting or Minting(), regions=regions, partition=partition("aws"), deadline_seconds=12.0)


def test_a_region_that_hangs_is_passed_over_by_all_but_a_few(monkeypatch):
    """Else every request of the morning waits for its time-out before the region that is well is asked."""
    hanging(monkeypatch, patience=0.6, read_timeout=3)
    minted = []

    def others():
        minting = Minting()
        minted.append(minting.regions)
        assume(minting)

    def answer(call):
        hangs = call.fields["RoleArn"].endswith("Slow")
        return Reply(200, "", delay=4.0) if hangs else granted()

    with serving(answer) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        assume(Minting(), regions=REGIONS[1:])  # its client is made
        first = threading.Thread(
            target=lambda: at_once(lambda: assume(Minting(role_arn=f"{ROLE}Slow"), regions=REGIONS[:1]), MOST_WAITING)
        )
        first.start()
        time.sleep(1.2)
        held = at_once(others, THREADS)
        first.join()
    assert {came for came, _ in held} == {"ok"}
    assert max(seconds for _, seconds in held) < 1.7
    assert minted == [[REGIONS[1]]] * THREADS  # and no document is made for it, nor an event written


def test_where_every_region_hangs_it_is_said_at_once(monkeypatch):
    hanging(monkeypatch, patience=0.6, read_timeout=1)
    with serving(Reply(200, "", delay=2.0)) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        at_once(assume, FAILURES)
        held = at_once(assume, THREADS)
    assert {came for came, _ in held} == {"sts_unreachable"}
    assert sum(seconds > 0.9 for _, seconds in held) <= len(REGIONS)


def test_background_work_waits_for_its_own_threads(monkeypatch):
    """Sixteen accounts are read at once, and each may take its time: no page is behind them."""
    for region in REGIONS:
        for _ in range(MOST_WAITING):
            sts.regions_asked.enter(region)
    monkeypatch.setattr(sts.regions_asked, "_patience", -1.0)
    try:
        with serving(granted()) as double:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
            with pytest.raises(sts.StsUnreachable):
                assume()
            assert sts.assume_role(Minting(), regions=REGIONS, partition=partition("aws"), background=True)
    finally:
        sts.regions_asked._under_way.clear()


def hanging(monkeypatch, *, patience, read_timeout):
    monkeypatch.setattr(sts, "READ_TIMEOUT_SECONDS", read_timeout)
    monkeypatch.setattr(sts.regions_asked, "_patience", patience)
    monkeypatch.setattr(sts, "_clients", {})
