"""The difference of two texts is true whatever they are, and quick on texts of thousands of rules that are much alike."""

from __future__ import annotations

import difflib
import time
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.mapping import document, matches
from federation.mapping.document import to_yaml
from federation.mapping.textdiff import opcodes, unified

lines = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "only 1\n", "only 2\n", "only 3\n", "d"]), max_size=14)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(lines, lines)
def test_the_codes_lead_from_one_text_to_the_other(old, new):
    found = opcodes(old, new)
    made, at = [], (0, 0)
    for tag, i1, i2, j1, j2 in found:
        assert (i1, j1) == at
        at = i2, j2
        assert {"equal": i2 > i1 and j2 > j1, "replace": i2 > i1 and j2 > j1, "delete": i2 > i1 and j1 == j2, "insert": i1 == i2 and j2 > j1}[tag]  # fmt: skip
        assert tag != "equal" or old[i1:i2] == new[j1:j2]
        made += new[j1:j2]
    assert at == (len(old), len(new))
    assert made == new
    assert all(one[0] != "equal" or other[0] != "equal" for one, other in pairwise(found))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(lines, lines)
def test_unified_can_be_applied(old, new):
    before, after = ("".join(line if line.endswith("\n") else line + "\n" for line in part) for part in (old, new))
    said = unified(before, after, "one", "other")
    assert (said == "") == (before == after)
    kept = [line[1:] for line in said.splitlines(keepends=True) if line[0] in " +" and not line.startswith("+++")]
    gone = [line[1:] for line in said.splitlines(keepends=True) if line[0] in " -" and not line.startswith("---")]
    assert "".join(kept) in after or len(said.split("@@ -")) > 2
    assert "".join(gone) in before or len(said.split("@@ -")) > 2
    heads = [line for line in said.splitlines() if line.startswith("@@")]
    assert len(heads) <= len(opcodes(before.splitlines(keepends=True), after.splitlines(keepends=True)))


def test_it_looks_as_everywhere():
    old, new = "a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\nE\nf\ng\nh\ni\n"
    said = unified(old, new, "revision 1", "the draft")
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), "revision 1", "the draft"
    )
    assert said == "".join(lines)
    assert unified("a", "b", "x", "y") == "--- x\n+++ y\n@@ -1 +1 @@\n-a\n+b\n"
    assert unified("", "a\n", "x", "y") == "--- x\n+++ y\n@@ -0,0 +1 @@\n+a\n"


def test_thousands_of_rules_that_are_much_alike():
    """difflib alone takes more than ten seconds on these."""
    base = document(matches(3_000))
    rules = [rule for number, rule in enumerate(base.rules) if number % 10]
    old = to_yaml(base)
    new = to_yaml(type(base)(accounts=base.accounts, rules=tuple(rules)))
    start = time.process_time()
    said = unified(old, new, "old", "new")
    assert time.process_time() - start < 2
    assert said.count("\n-- name: ") >= 299
    assert not [line for line in said.splitlines() if line.startswith("+") and not line.startswith("+++")]
