"""Session names, tags and durations: what AWS and CloudTrail get to see of a person."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.mapping.rules import SessionOptions
from federation.mapping.session import clamp_duration, clean_tag_value, render_tags, session_name, source_identity
from tests.cast import identity

AWS_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


def test_a_name_is_readable_and_stays_the_same():
    assert session_name(identity("alice")) == session_name(identity("alice", groups=(), name="Alice Liddell"))
    assert re.fullmatch(r"alice-[a-z2-7]{13}", session_name(identity("alice")))
    assert re.fullmatch(r"Zoe\.O-Brien-[a-z2-7]{13}", session_name(identity("z", email="Zoë.O'Brien@example.com")))
    assert re.fullmatch(r"u-123-[a-z2-7]{13}", session_name(identity("u|123", email="")))
    assert re.fullmatch(r"person-[a-z2-7]{13}", session_name(identity("爱丽丝", email="")))
    assert source_identity(identity("alice")) == session_name(identity("alice"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"email": "a.b@example.com", "subject": "1"}, {"email": "a.b@example.org", "subject": "2"}),
        ({"email": "a b@x.org", "subject": "1"}, {"email": "a-b@x.org", "subject": "2"}),
        ({"subject": "alice"}, {"subject": "alice", "provider": "entra"}),
        ({"subject": "alice"}, {"subject": "alice", "format": "persistent"}),
        ({"subject": "alice", "email": "x@y.org"}, {"subject": "Alice", "email": "x@y.org"}),
        ({"subject": "é", "email": "x@y.org"}, {"subject": "e\u0301", "email": "x@y.org"}),
    ],
)
def test_two_people_never_share_a_name(one, other):
    assert session_name(identity(**one)) != session_name(identity(**other))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
def test_any_name_is_one_that_aws_takes(email, subject):
    name = session_name(identity(subject.encode("utf-8", "replace").decode(), email=email))
    assert AWS_NAME.fullmatch(name)
    assert not name.lower().startswith("aws:")
    assert "," not in name


def tags(template, captures=None, **more):
    return render_tags(SessionOptions(tags={"T": template}), identity(**more), captures or {}).get("T")


def test_tags():
    assert tags("{attributes.department}", attributes={"department": ("Platform",)}) == "Platform"
    assert tags("{email}") == "alice@example.com"
    assert tags("{name}") == "Alice"
    assert tags("{subject}") == "alice"
    assert tags("{provider}") == "corp"
    assert tags("fixed") == "fixed"
    assert tags("t-{team}/{level}", {"team": "shop", "level": "2"}) == "t-shop/2"
    assert tags("{name}", {"name": "captured"}) == "captured"


def test_a_tag_without_its_value_is_left_out_whole():
    assert tags("{attributes.department}", attributes={}) is None
    assert tags("x-{attributes.department}", attributes={"department": ("", "")}) is None
    assert tags("x-{attributes.department}", attributes={"department": ()}) is None
    assert tags("x-{attributes.department}", attributes={"department": (" ",)}) is None
    assert tags("x-{email}", email="") is None
    assert tags("{team}") is None
    assert tags("{team") is None


def test_several_values_equal_none_of_them():
    assert tags("{attributes.department}", attributes={"department": ("a", "", "b")}) == "a:b"


def test_values_are_cleaned():
    assert clean_tag_value("R&D, <b>Bern\n") == "R_D_ _b_Bern_"
    assert clean_tag_value("  Zürich 東京 ٣ _.:/=+-@ ") == "Zürich 東京 ٣ _.:/=+-@"
    assert clean_tag_value("a\u2028b") == "a b"
    assert clean_tag_value("e\u0301") == "é"
    assert len(clean_tag_value("x" * 300)) == 256
    assert len(tags("{email}{email}", email="x" * 200)) == 256


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=400))
def test_any_value_is_one_that_aws_takes(value):
    import unicodedata

    cleaned = clean_tag_value(value)
    assert len(cleaned) <= 256
    assert all(c in "_.:/=+-@" or unicodedata.category(c)[0] in "LZN" for c in cleaned)


@pytest.mark.parametrize(
    ("asked", "rule", "role_max", "seconds", "notice"),
    [
        (None, None, None, 3_600, ""),
        (None, 7_200, 43_200, 7_200, ""),
        (None, 7_200, 3_600, 3_600, ""),
        (None, 900, None, 900, ""),
        (3_600, None, 3_600, 3_600, ""),
        (7_200, None, None, 3_600, "You asked for 2 hours; a role of unknown length surely allows 1 hour."),
        (7_200, None, 43_200, 7_200, ""),
        (7_200, 28_800, None, 7_200, ""),
        (7_200, 3_600, 43_200, 3_600, "You asked for 2 hours; the mapping allows 1 hour."),
        (28_800, 14_400, 7_200, 7_200, "You asked for 8 hours; the role allows 2 hours."),
        (90_000, 43_200, 43_200, 43_200, "You asked for 25 hours; AWS allows 12 hours."),
        (60, None, None, 900, "You asked for 1 minute; AWS allows no less than 15 minutes."),
        (0, None, None, 900, "You asked for 0 seconds; AWS allows no less than 15 minutes."),
        (-5, None, None, 900, "You asked for 0 seconds; AWS allows no less than 15 minutes."),
    ],
)
def test_durations(asked, rule, role_max, seconds, notice):
    assert clamp_duration(asked, SessionOptions(duration=rule), role_max) == (seconds, notice)


def test_the_gateways_default_counts_where_nobody_says():
    assert clamp_duration(None, SessionOptions(), 43_200, default=7_200) == (7_200, "")
    assert clamp_duration(None, SessionOptions(), None, default=7_200) == (3_600, "")
    assert clamp_duration(None, SessionOptions(), None, default=900) == (900, "")
