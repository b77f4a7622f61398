"""`manage.py held`: what waits, what it would take away, and a person's word on it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from federation.directory.snapshot import difference
from federation.flows import sources
from federation.models import AuditEvent, HeldAnswer
from tests import cast

KEY = f"account:{cast.DEV}"
BEFORE = {cast.role(cast.DEV, f"r{n:02}"): "" for n in range(20)}


@pytest.fixture
def held(db, now):
    """An answer that would remove 15 of 20 roles."""
    sources.attempted(KEY, now=now)
    with pytest.raises(sources.AnswerHeld):
        sources.brake(KEY, difference(BEFORE, dict(list(BEFORE.items())[:5])), now=now)


def test_nothing_waits(run):
    assert run("held") == "Nothing waits.\n"


def test_what_waits_is_said_with_its_effect_and_examples(run, held):
    first, *examples = run("held").splitlines()
    assert first == f"{KEY}  since 2026-05-03 09:00 UTC: 15 of 20 would go (too_many_removed)"
    assert examples == [*(f"    - {cast.role(cast.DEV, f'r{n:02}')}" for n in range(5, 15)), "    … and 5 more"]


@pytest.mark.parametrize(
    ("word", "decision", "said"),
    [
        (
            "accept",
            "accepted",
            "accepted, 15 of 20 would go. It is taken over at the next read, with what little has gone besides by then.",
        ),
        ("refuse", "refused", "refused, 15 of 20 would go. The last good state stays in force."),
    ],
)
def test_a_word_is_kept_and_logged(run, held, word, decision, said):
    assert run("held", word, KEY) == f"{KEY}: {said}\n"
    row = HeldAnswer.objects.get()
    assert row.decision == decision
    assert row.decided_by.startswith("command:")
    event = AuditEvent.objects.get()
    assert (event.kind, event.actor, event.data["decision"]) == ("answer.decided", row.decided_by, decision)
    assert run("held") == "Nothing waits.\n"


def test_a_refusal_can_be_taken_back(run, held):
    run("held", "refuse", KEY)
    assert "accepted" in run("held", "accept", KEY)
    assert HeldAnswer.objects.get().decision == "accepted"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["accept"], "Say of which source: manage.py held accept account:111122223333"),
        (
            ["accept", "account:000000000000"],
            r"No answer of this source waits for a decision\. \[not_found: no_answer_waits\]",
        ),
        (["perhaps", KEY], "invalid choice"),
    ],
)
def test_what_cannot_be_decided_is_a_sentence(run, held, arguments, sentence):
    with pytest.raises(CommandError, match=sentence):
        run("held", *arguments)
    assert HeldAnswer.objects.get().decision == "waiting"


def test_the_oldest_comes_first(run, held, now):
    sources.attempted("directory:corp", now=now)
    with pytest.raises(sources.AnswerHeld):
        sources.brake("directory:corp", difference({"a": "", "b": ""}, {}), now=now - timedelta(hours=1))
    assert [line.split()[0] for line in run("held").splitlines() if not line.startswith(" ")] == ["directory:corp", KEY]
