"""Two changes on the same base become one text, or a conflict; never a guess."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.mapping.merging import merged

BASE = "a\nb\nc\nd\ne\nf\n"


@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        (BASE, BASE, BASE),
        ("A\n" + BASE[2:], BASE, "A\n" + BASE[2:]),
        (BASE, BASE + "g\n", BASE + "g\n"),
        (BASE.replace("b", "B"), BASE.replace("e", "E"), BASE.replace("b", "B").replace("e", "E")),
        (BASE.replace("e", "E"), BASE.replace("b", "B"), BASE.replace("b", "B").replace("e", "E")),
        (BASE.replace("b\n", ""), BASE.replace("e\n", "e\nnew\n"), "a\nc\nd\ne\nnew\nf\n"),
        (BASE.replace("b", "B"), BASE.replace("b", "B"), BASE.replace("b", "B")),
        (BASE.replace("b", "B").replace("f", "F"), BASE.replace("b", "B"), BASE.replace("b", "B").replace("f", "F")),
    ],
)
def test_what_only_one_has_changed_is_taken(mine, theirs, result):
    assert merged(BASE, mine, theirs) == (result, ())


@pytest.mark.parametrize(
    ("mine", "theirs", "said"),
    [
        (BASE.replace("b", "B"), BASE.replace("b", "X"), "line 2: B"),
        (BASE.replace("b\n", ""), BASE.replace("b", "X"), "line 2: b"),
        (BASE + "mine\n", BASE + "theirs\n", "line 7: mine"),
        (BASE.replace("b", "B"), BASE.replace("c", "C"), "line 2: B"),  # beside each other
    ],
)
def test_what_both_have_changed_is_a_conflict(mine, theirs, said):
    assert merged(BASE, mine, theirs) == ("", (said,))


texts = st.lists(st.sampled_from("abcd"), max_size=8).map(lambda lines: "".join(f"{line}\n" for line in lines))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(texts, texts)
def test_one_change_alone_is_that_change(base, other):
    assert merged(base, other, base) == (other, ())
    assert merged(base, base, other) == (other, ())
    assert merged(base, other, other) == (other, ())


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(texts, texts, texts)
def test_the_result_is_the_same_from_either_side(base, one, other):
    left, right = merged(base, one, other), merged(base, other, one)
    assert left[0] == right[0]
    assert bool(left[1]) == bool(right[1])
