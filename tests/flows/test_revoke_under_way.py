"""Taking everything away from somebody while a yes to their request, or their own break-glass, is under way."""

import threading
import time

import pytest
from django.db import connection

from federation.errors import NotSignedIn, PersonDisabled
from federation.flows import decide_requests, request_access, revoke
from federation.models import AccessRequest, Person, RequestedRole
from tests.flows.requests_kit import OPERATOR, alice, dana, desk, erin

__all__ = ["desk"]


def take_away(person, desk, **more):
    return revoke.revoke(
        person, actor="carol", why="a stolen laptop", origin=desk.origin, now=desk.now, **{"disable": False} | more
    )


def somebody_waits_for_a_lock():
    """On SQLite a transaction that writes waits before its first statement: there is nothing to look at."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


def until(holds, seconds=20):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["weigh", "_told"])
def test_a_yes_that_is_being_written_does_not_outlive_it(desk, monkeypatch, step):
    """`weigh`: before the yes is written; `_told`: after, and before it is committed."""
    asker, lead = desk.person(alice()), desk.person(dana())
    request = desk.ask(asker)
    items, terms = desk.terms(request)
    choice = decide_requests.Choice(items[0].pk, True, terms[items[0].pk].seen)
    written, go_on, errors = threading.Event(), threading.Event(), []
    original = getattr(decide_requests, step)

    def paused(*args, **kwargs):
        written.set()
        go_on.wait(20)
        return original(*args, **kwargs)

    def run(call):
        try:
            call()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(decide_requests, step, paused)
    deciding = threading.Thread(
        target=run,
        args=[
            lambda: decide_requests.decide(
                lead.pk, request.pk, [choice], comment="", channel="portal", origin=desk.origin, now=desk.now
            )
        ],
    )
    revoking = threading.Thread(target=run, args=[lambda: take_away(asker, desk)])
    deciding.start()
    assert written.wait(20)
    revoking.start()
    until(somebody_waits_for_a_lock)
    go_on.set()
    deciding.join()
    revoking.join()
    assert errors == []  # neither is the victim of a deadlock
    item = RequestedRole.objects.get()
    assert (item.state, item.ended_at) == ("approved", desk.now)


@pytest.mark.parametrize(
    ("disable", "kind", "reason"), [(False, NotSignedIn, "session_ended"), (True, PersonDisabled, "person_disabled")]
)
@pytest.mark.parametrize("way", ["take", "ask"])
def test_what_its_person_was_about_to_ask_for_or_take_is_refused(desk, monkeypatch, events, way, disable, kind, reason):
    on_duty = desk.person(erin())
    original = request_access._reason

    def revoked_meanwhile(*args, **kwargs):
        take_away(Person.objects.get(pk=on_duty.pk), desk, disable=disable)
        return original(*args, **kwargs)

    monkeypatch.setattr(request_access, "_reason", revoked_meanwhile)
    with pytest.raises(kind) as refused:
        desk.take(on_duty) if way == "take" else desk.ask(on_duty, OPERATOR)
    assert refused.value.reason == reason
    assert not AccessRequest.objects.exists()
    assert events()[-1][1:] == ("refused", reason)
