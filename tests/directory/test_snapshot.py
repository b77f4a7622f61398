"""What an answer changes, and when it changes too much to be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.directory.snapshot import Difference, difference, hold

answers = st.dictionaries(st.text(max_size=4), st.sampled_from("abc"), max_size=12)


def of(before, after):
    """The difference between so many keys before and those that are left."""
    return difference({f"k{n}": "" for n in range(before)}, {f"k{n}": "" for n in range(after)})


# --- The difference -----------------------------------------------------------------------------------


def test_what_comes_changes_goes_and_stays():
    found = difference({"stays": "1", "changes": "1", "goes": "1"}, {"comes": "1", "changes": "2", "stays": "1"})
    assert found == Difference(added=("comes",), changed=("changes",), removed=("goes",), unchanged=1)
    assert (found.before, found.after, found.is_empty) == (3, 3, False)


@given(answers, answers)
def test_taking_a_difference_over_gives_the_answer(before, after):
    found = difference(before, after)
    state = {key: value for key, value in before.items() if key not in found.removed}
    state |= {key: after[key] for key in (*found.added, *found.changed)}
    assert state == after
    assert (found.before, found.after) == (len(before), len(after))
    for keys in (found.added, found.changed, found.removed):
        assert list(keys) == sorted(set(keys))
    assert found.is_empty is (before == after)


@given(answers)
def test_the_same_answer_changes_nothing(answer):
    assert difference(answer, dict(reversed(answer.items()))).is_empty


@given(answers, answers, answers, answers)
def test_an_acceptance_fits_exactly_the_removals_that_were_shown(a, b, c, d):
    one, other = difference(a, b), difference(c, d)
    assert (one.removal_digest == other.removal_digest) is (one.removed == other.removed)


def test_keys_that_run_into_one_another_are_told_apart():
    """A directory's names are anybody's: two removals must not look like a third that was accepted."""
    digests = {
        difference(dict.fromkeys(keys, ""), {}).removal_digest
        for keys in (["a\0b"], ["a", "b"], ["a", "\0b"], ['a", "b'], ["ab"], ["\ud800"])
    }
    assert len(digests) == 6


# --- The brake ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [1, 2, 3, 5, 1000])
def test_nothing_after_something_is_held_whatever_it_was(before):
    assert hold(of(before, 0)) == "empty_answer"


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (2, 1, False), (3, 2, False), (4, 3, False), (4, 2, False), (5, 3, False), (3, 1, True), (4, 1, True), (5, 2, True),
        (10, 6, False), (10, 5, True), (25, 20, False), (24, 19, True), (100, 80, False), (100, 79, True), (5000, 4000, False),
        (5000, 3999, True), (7, 7, False), (7, 9, False),
    ],
)  # fmt: skip
def test_more_than_a_fifth_or_half_of_a_few_is_held(before, after, held):
    assert hold(of(before, after)) == ("too_many_removed" if held else "")


def test_everything_exchanged_is_not_empty_but_held():
    assert hold(difference(dict.fromkeys("abcdef", ""), dict.fromkeys("ghijkl", ""))) == "too_many_removed"


def test_one_renamed_thing_passes():
    assert hold(difference({"old": ""}, {"new": ""})) == ""


@given(answers)
def test_a_first_answer_passes_and_so_does_one_that_only_adds_and_changes(answer):
    assert hold(difference({}, answer)) == ""
    some = dict(list(answer.items())[::2])
    assert hold(difference(dict.fromkeys(some, "z"), answer)) == ""


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300))
def test_removing_more_is_never_easier(before, some, more):
    fewer, most = sorted((min(some, before), min(more, before)))
    if hold(of(before, before - fewer)):
        assert hold(of(before, before - most))
