"""Of many workers one does the work: taken once, ended with its holder, and useless to one that wakes up too late."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from federation.flows import leases
from federation.models import Lease

LIFE = timedelta(minutes=1)


def expire(name):
    """As if its holder had died a life ago."""
    assert Lease.objects.filter(pk=name).update(until=timezone.now() - timedelta(seconds=1)) == 1


def in_threads(count, work):
    """What `work` returned in each of so many threads that begin at the same moment."""
    barrier, found = threading.Barrier(count), []

    def one():
        try:
            barrier.wait(60)
            found.append(work())
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    return found


def test_one_takes_it_and_the_next_gets_none(db):
    held = leases.take("x", LIFE)
    assert held is not None
    assert held.is_ours()
    assert leases.take("x", LIFE) is None
    assert leases.take("y", LIFE) is not None


def test_of_many_at_once_one_gets_it(transactional_db):
    found = in_threads(8, lambda: leases.take("x", LIFE))
    assert len([held for held in found if held]) == 1
    expire("x")
    found = in_threads(8, lambda: leases.take("x", LIFE))
    assert [held.token for held in found if held] == [2]


def test_given_back_it_can_be_taken_at_once(db):
    with leases.leased("x", LIFE) as held:
        assert held is not None
    assert not Lease.objects.filter(pk="x", until__gt=timezone.now()).exists()
    with leases.leased("x", LIFE) as again:
        assert again.token == held.token + 1


def test_an_error_gives_it_back(db):
    with pytest.raises(ZeroDivisionError), leases.leased("x", LIFE):
        raise ZeroDivisionError
    assert leases.take("x", LIFE) is not None


def test_the_block_of_one_that_got_none_gives_nothing_back(db):
    held = leases.take("x", LIFE)
    with leases.leased("x", LIFE) as second:
        assert second is None
    assert held.is_ours()
    assert leases.take("x", LIFE) is None


def test_a_holder_that_wakes_up_too_late_neither_writes_nor_renews_nor_gives_back(db):
    """Paused past its end, as a machine that was suspended is: what it holds is another's now."""
    slow = leases.take("x", LIFE)
    expire("x")
    quick = leases.take("x", LIFE)
    assert (slow.is_ours(), quick.is_ours()) == (False, True)
    assert slow.renew(LIFE) is False
    leases.give_back(slow)
    assert quick.is_ours()
    assert leases.take("x", LIFE) is None


def test_a_lease_that_ended_and_that_nobody_took_is_still_ours(db):
    held = leases.take("x", LIFE)
    expire("x")
    assert held.is_ours()
    assert held.renew(LIFE)
    assert leases.take("x", LIFE) is None


def test_nobody_takes_it_over_between_the_check_and_the_commit(transactional_db):
    held = leases.take("x", LIFE)
    expire("x")
    taken, checked = [], threading.Event()

    def other():
        try:
            checked.wait(60)
            taken.append((leases.take("x", LIFE), time.monotonic()))
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    with transaction.atomic():
        assert held.is_ours()
        checked.set()
        time.sleep(0.5)
        assert held.is_ours()
        committing = time.monotonic()
    thread.join()
    (got, at) = taken[0]
    assert got is not None
    assert at >= committing  # it waited for our commit


def test_a_heartbeat_renews_seldom_and_says_when_it_is_lost(db, django_assert_num_queries, monkeypatch):
    held = leases.take("x", LIFE)
    clock = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    beat = leases.Heartbeat(held, LIFE)
    with django_assert_num_queries(0):
        beat()
        clock[0] += 9
        beat()
    before = Lease.objects.get(pk="x").until
    clock[0] += 2
    beat()
    assert Lease.objects.get(pk="x").until > before
    with django_assert_num_queries(0):
        beat()
    expire("x")
    leases.take("x", LIFE)
    clock[0] += 11
    with pytest.raises(leases.LeaseLost):
        beat()
