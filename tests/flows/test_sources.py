"""The state of each outside source, and the brake: what it holds, what a person's word lets through, and that it counts once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from federation.directory.snapshot import difference, hold
from federation.errors import AwsError, BadRequest, NotFound
from federation.flows import background, sources
from federation.models import AuditEvent, HeldAnswer, Source
from tests.flows.test_leases import in_threads

KEY = "directory:corp"
BEFORE = {f"p{n:02}": "" for n in range(20)}
HOUR = timedelta(hours=1)


@pytest.fixture
def source(db, now):
    sources.attempted(KEY, now=now)
    sources.taken_over(KEY, changed=True, counts={"people": 20}, now=now)
    return lambda: Source.objects.get(pk=KEY)


def answer(left):
    """An answer that has only so many of the twenty."""
    return difference(BEFORE, dict(list(BEFORE.items())[:left]))


def braked(found, now):
    """The reason that the answer is held for, or "" if it passes; noted as a flow notes it."""
    try:
        sources.brake(KEY, found, now=now)
    except sources.AnswerHeld as error:
        sources.failed(KEY, error, now=now)
        return error.reason
    sources.taken_over(KEY, changed=True, counts={}, now=now)
    return ""


def decide(accept, origin, now):
    return sources.decide(KEY, accept=accept, actor="corp:carol", origin=origin, now=now)


def decisions():
    return list(HeldAnswer.objects.order_by("held_at").values_list("decision", flat=True))


# --- State ----------------------------------------------------------------------------------------------


def test_an_attempt_a_success_and_a_failure_are_noted(source, now):
    row = source()
    assert (row.state, row.version, row.succeeded_at, row.counts) == ("ok", 1, now, {"people": 20})
    sources.attempted(KEY, now=now + HOUR)
    sources.failed(KEY, AwsError("list_roles_refused", aws_code="AccessDenied", detail="not yours"), now=now + HOUR)
    row = source()
    assert (row.state, row.error_code, row.error_detail) == ("failed", "list_roles_refused", "AccessDenied not yours")
    assert (row.succeeded_at, row.attempted_at, row.version) == (now, now + HOUR, 1)
    sources.taken_over(KEY, changed=False, counts={"people": 20}, now=now + 2 * HOUR)
    row = source()
    assert (row.state, row.error_code, row.error_detail, row.version) == ("ok", "", "", 1)


def test_a_source_that_never_answered_has_no_success(db, now):
    sources.failed(KEY, AwsError("x", detail="d" * 2000), now=now)
    row = Source.objects.get(pk=KEY)
    assert (row.state, row.succeeded_at, len(row.error_detail)) == ("failed", None, 500)


# --- The brake ------------------------------------------------------------------------------------------


def test_what_is_held_says_what_it_would_do(source, now):
    assert braked(difference(BEFORE, {"p00": "changed", "new": ""}), now + HOUR) == "too_many_removed"
    (row,) = sources.waiting()
    assert row.summary == {
        "why": "too_many_removed", "before": 20, "after": 2, "added": 1, "changed": 1, "removed": 19, "examples": [f"p{n:02}" for n in range(1, 20)],
    }  # fmt: skip
    assert (source().state, source().error_code, source().succeeded_at, source().version) == (
        "held",
        "too_many_removed",
        now,
        1,
    )


def test_the_examples_are_bounded(source, now):
    large = {f"k{n:05}": "" for n in range(5000)}
    assert braked(difference(large, {}), now + HOUR) == "empty_answer"
    assert len(sources.waiting()[0].summary["examples"]) == 200
    assert sources.waiting()[0].summary["removed"] == 5000


def test_what_is_small_passes_and_asks_nobody(source, now):
    assert braked(answer(17), now + HOUR) == ""
    assert not HeldAnswer.objects.exists()


def test_the_same_answer_waits_once_however_often_it_comes(source, now):
    for hour in range(1, 5):
        assert braked(answer(3), now + hour * HOUR) == "too_many_removed"
    assert decisions() == ["waiting"]
    assert sources.waiting()[0].held_at == now + HOUR


def test_another_answer_overtakes_the_one_that_waits(source, now):
    braked(answer(3), now + HOUR)
    braked(answer(2), now + 2 * HOUR)
    assert decisions() == ["overtaken", "waiting"]
    assert sources.waiting()[0].summary["removed"] == 18


def test_a_good_answer_ends_the_waiting(source, now, origin):
    braked(answer(3), now + HOUR)
    assert braked(answer(20), now + 2 * HOUR) == ""
    assert decisions() == ["overtaken"]
    with pytest.raises(NotFound) as caught:
        decide(True, origin, now + 3 * HOUR)
    assert caught.value.reason == "no_answer_waits"


def test_the_database_itself_lets_one_answer_wait_for_a_source(source, now):
    braked(answer(3), now + HOUR)
    with pytest.raises(IntegrityError), transaction.atomic():
        HeldAnswer.objects.create(source_id=KEY, digest="x", held_at=now)


# --- A person's word ------------------------------------------------------------------------------------


def test_what_was_accepted_passes(source, now, origin, events):
    braked(answer(8), now + HOUR)
    row = decide(True, origin, now + HOUR)
    assert (row.decision, row.source_id) == ("accepted", KEY)
    assert braked(answer(3), now + 2 * HOUR) == "too_many_removed"  # five more of the eight that were to stay
    assert braked(answer(8), now + 3 * HOUR) == ""
    event = AuditEvent.objects.get()
    assert (event.kind, event.outcome, event.actor) == ("answer.decided", "ok", "corp:carol")
    assert event.data == {"source": KEY, "decision": "accepted", "removed": 12, "digest": row.digest}


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (dict.fromkeys(list(BEFORE)[:7], ""), ""),  # one more has left
        (dict.fromkeys([*list(BEFORE)[:8], "p19"], ""), ""),  # one is there again
        (dict.fromkeys(list(BEFORE)[1:8], "") | {"p15": ""}, ""),  # one more, and one less
        (dict.fromkeys(list(BEFORE)[:3], ""), "too_many_removed"),
        (dict.fromkeys(list(BEFORE)[12:], ""), "too_many_removed"),  # as many as were accepted, and others
        (dict.fromkeys(list(BEFORE)[5:10], ""), "too_many_removed"),  # two are back, and hide that five of eight go
        ({}, "empty_answer"),
    ],
)
def test_of_a_large_company_no_two_answers_are_alike(source, now, origin, left, why):
    """Accepted is a set of people. Until the next answer somebody else has left: it passes as the answer after would."""
    braked(answer(8), now + HOUR)
    decide(True, origin, now + HOUR)
    assert braked(difference(BEFORE, left), now + 2 * HOUR) == why
    after_the_accepted_one = dict(list(BEFORE.items())[:8])
    assert hold(difference(after_the_accepted_one, left)) == why


def test_nobody_is_trapped_however_often_it_is_another_answer(source, now, origin):
    large = {f"k{n:04}": "" for n in range(1000)}
    for hour in range(1, 5):
        braked(difference(large, dict(list(large.items())[: 500 - hour])), now + hour * HOUR)
    decide(True, origin, now + 4 * HOUR)
    assert braked(difference(large, dict(list(large.items())[:490])), now + 5 * HOUR) == ""


def test_what_is_kept_of_the_removals_goes_with_the_question(source, now, origin):
    """Fingerprints, nobody's name; and not for ever."""
    braked(answer(3), now + HOUR)
    braked(answer(2), now + 2 * HOUR)
    kept = list(HeldAnswer.objects.order_by("held_at").values_list("removals", flat=True))
    assert kept[0] is None
    assert (len(bytes(kept[1])), b"p1" in bytes(kept[1])) == (18 * 16, False)
    decide(True, origin, now + 2 * HOUR)
    braked(answer(2), now + 3 * HOUR)
    assert set(HeldAnswer.objects.values_list("removals", flat=True)) == {None}


def test_more_than_can_be_kept_is_accepted_letter_by_letter(source, now, origin, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_KEPT", 10)
    braked(answer(8), now + HOUR)
    decide(True, origin, now + HOUR)
    assert braked(answer(7), now + 2 * HOUR) == "too_many_removed"
    assert braked(answer(8), now + 3 * HOUR) == ""


def test_whoever_decides_decides_on_what_they_saw(source, now, origin):
    braked(answer(8), now + HOUR)
    seen = sources.waiting()[0].held_at
    braked(answer(2), now + 2 * HOUR)
    with pytest.raises(BadRequest) as caught:
        sources.decide(KEY, accept=True, actor="corp:carol", origin=origin, now=now + 2 * HOUR, shown=seen)
    assert caught.value.reason == "answer_changed"
    assert decisions() == ["overtaken", "waiting"]
    sources.decide(KEY, accept=True, actor="corp:carol", origin=origin, now=now, shown=sources.waiting()[0].held_at)
    assert decisions() == ["overtaken", "accepted"]


def test_what_comes_besides_may_differ(source, now, origin):
    """Accepted are removals: somebody who joins meanwhile does not undo it."""
    braked(answer(3), now + HOUR)
    decide(True, origin, now + HOUR)
    assert braked(difference(BEFORE, {"p00": "changed", "p01": "", "p02": "", "new": ""}), now + 2 * HOUR) == ""


@pytest.mark.parametrize(
    ("key", "sent"),
    [("directory:corp", ["refresh_directory"]), ("account:111122223333", ["refresh_catalogue"]), ("organization", ["refresh_catalogue"]), ("group:x", []), ("bulk:corp", [])],
)  # fmt: skip
def test_what_is_accepted_is_read_again_at_once(db, now, origin, monkeypatch, key, sent):
    asked = []
    monkeypatch.setattr(background, "send", lambda task, *ids: asked.append((task, *ids)))
    sources.attempted(key, now=now)
    with pytest.raises(sources.AnswerHeld):
        sources.brake(key, answer(3), now=now)
    sources.decide(key, accept=True, actor="corp:carol", origin=origin, now=now)
    assert asked == [(task,) for task in sent]
    assert Source.objects.get(pk=key).attempted_at is None


def test_an_acceptance_stands_though_no_broker_is_there(source, now, origin, monkeypatch):
    def away(task):
        raise background.BrokerAway("broker_unreachable")

    monkeypatch.setattr(background, "send", away)
    assert braked(answer(3), now)
    decide(True, origin, now)
    assert decisions() == ["accepted"]


def test_an_acceptance_counts_once(source, now, origin):
    """Half a year later the same people vanish again: this is a new question, whatever was once said."""
    braked(answer(3), now + HOUR)
    decide(True, origin, now + HOUR)
    assert braked(answer(3), now + 2 * HOUR) == ""
    assert braked(answer(20), now + 3 * HOUR) == ""
    assert braked(answer(3), now + 4 * HOUR) == "too_many_removed"
    assert decisions() == ["accepted", "waiting"]


def test_an_acceptance_that_a_good_answer_overtook_is_void(source, now, origin):
    braked(answer(3), now + HOUR)
    decide(True, origin, now + HOUR)
    assert braked(answer(20), now + 2 * HOUR) == ""
    assert braked(answer(3), now + 3 * HOUR) == "too_many_removed"


def test_an_acceptance_is_for_its_own_source(source, now, origin):
    braked(answer(3), now + HOUR)
    decide(True, origin, now + HOUR)
    sources.attempted("directory:other", now=now)
    with pytest.raises(sources.AnswerHeld):
        sources.brake("directory:other", answer(3), now=now + 2 * HOUR)


def test_refused_it_stays_held_and_nobody_is_asked_again(source, now, origin):
    braked(answer(3), now + HOUR)
    assert decide(False, origin, now + HOUR).decision == "refused"
    assert braked(answer(3), now + 2 * HOUR) == "too_many_removed"
    assert decisions() == ["refused"]
    assert source().state == "held"
    assert braked(answer(2), now + 3 * HOUR) == "too_many_removed"  # the same question, somebody else has left
    assert decisions() == ["refused"]
    for left in (0, 8):
        braked(answer(left), now + 4 * HOUR + timedelta(minutes=left))
    assert decisions() == ["refused", "overtaken", "waiting"]
    braked(answer(3), now + 5 * HOUR)
    assert decisions() == ["refused", "overtaken", "overtaken"]


def test_a_refusal_can_be_taken_back(source, now, origin):
    braked(answer(3), now + HOUR)
    decide(False, origin, now + HOUR)
    with pytest.raises(NotFound):
        decide(False, origin, now + HOUR)
    decide(True, origin, now + 2 * HOUR)
    assert braked(answer(3), now + 3 * HOUR) == ""
    assert AuditEvent.objects.filter(kind="answer.decided").count() == 2


def test_a_refusal_of_long_ago_cannot(source, now, origin):
    braked(answer(3), now + HOUR)
    decide(False, origin, now + HOUR)
    braked(answer(20), now + 2 * HOUR)
    with pytest.raises(NotFound):
        decide(True, origin, now + 3 * HOUR)


def test_of_many_who_accept_at_once_one_does(transactional_db, now, origin):
    sources.attempted(KEY, now=now)
    braked(answer(3), now + HOUR)
    first, *others = sorted(in_threads(6, lambda: _reason(origin, now + HOUR)))
    assert first == ""
    assert set(others) <= {"no_answer_waits", "decided_already"}
    assert decisions() == ["accepted"]
    assert AuditEvent.objects.count() == 1


def _reason(origin, now):
    try:
        decide(True, origin, now)
    except (NotFound, BadRequest) as error:
        return error.reason
    return ""


def test_nothing_is_decided_that_the_log_does_not_have(source, now, origin, monkeypatch):
    braked(answer(3), now + HOUR)

    def full(*args, **kwargs):
        raise OSError("no space")

    monkeypatch.setattr(sources, "record", full)
    with pytest.raises(OSError):
        decide(True, origin, now + HOUR)
    assert decisions() == ["waiting"]
