"""Any error while deciding is a no: it takes the faulty rule out, and makes a faulty deny hold."""

from __future__ import annotations

import pytest

from federation.mapping.conditions import Answer, AnyGroup
from federation.mapping.explain import explain
from federation.mapping.targets import CompiledTarget
from tests.cast import NOW, PROD, identity, role
from tests.mapping.kit import mapping

RULES = """
- {name: yes, when: {groups: [engineering]}, allow: {roles: [R], accounts: [shop-prod]}}
- {name: other, when: {provider: corp}, allow: {roles: [R], accounts: [shop-prod]}}
- {name: "no", when: {groups: [contractors]}, deny: {roles: [R]}}
"""


def broken(*_args, **_more):
    raise RuntimeError("TEST DOUBLE: broken on purpose")


def test_a_condition_that_fails_is_unknown(monkeypatch):
    compiled = mapping(RULES)
    assert compiled.verdict(identity(), role(PROD, "R"), NOW).grant.rules == ("yes", "other")
    monkeypatch.setattr(AnyGroup, "answer", broken)
    monkeypatch.setattr(AnyGroup, "sentence", broken)
    assert compiled.verdict(identity(), role(PROD, "R"), NOW).grant.rules == ("other",)
    contractor = identity(groups=("contractors",))
    assert compiled.verdict(contractor, role(PROD, "R"), NOW).code == "denied_by_rule"
    assert not compiled.decide(contractor, NOW).grants
    assert "could not be decided" in explain(compiled, identity(), role(PROD, "R"), NOW).as_text()


@pytest.mark.parametrize("method", ["covers", "gives"])
def test_an_allow_that_fails_gives_nothing(monkeypatch, method):
    compiled = mapping(RULES)
    monkeypatch.setattr(CompiledTarget, method, broken)
    if method == "covers":
        assert compiled.verdict(identity(), role(PROD, "R"), NOW).code == "no_matching_rule"
    else:
        assert compiled.decide(identity(), NOW).grants == ()


def test_a_deny_that_fails_denies(monkeypatch):
    compiled = mapping(RULES)
    contractor = identity(groups=("contractors", "engineering"))
    monkeypatch.setattr(compiled.rules[2].target, "covers", broken)
    assert compiled.verdict(contractor, role(PROD, "R"), NOW).code == "denied_by_rule"
    assert compiled.decide(contractor, NOW).denied == ((role(PROD, "R"), "no"),)


def test_answers_are_ordered_so_that_the_smallest_is_their_conjunction():
    assert min(Answer.YES, Answer.UNKNOWN, Answer.NO) is Answer.NO
    assert min(Answer.YES, Answer.UNKNOWN) is Answer.UNKNOWN
