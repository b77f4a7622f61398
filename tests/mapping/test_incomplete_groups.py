"""Overage: the provider left groups out. Unknown is never "none", and never access."""

from __future__ import annotations

from federation.mapping.explain import explain
from tests.cast import DEV, NOW, PROD, identity, role
from tests.mapping.kit import mapping

RULES = r"""
- {name: read, when: {groups: [engineering]}, allow: {roles: [R], accounts: [shop-prod, sand-dev]}}
- {name: not-interns, when: {groups: [engineering], none_of: [interns]}, allow: {roles: [W], accounts: [sand-dev]}}
- {name: both, when: {all_of: [engineering, leads]}, allow: {roles: [L], accounts: [sand-dev]}}
- {name: no-contractors, when: {groups: [contractors], mfa: false}, deny: {accounts: [shop-prod]}}
- {name: no-named, when: {groups: [{regex: "^not-(?P<role>.+)$"}]}, deny: {arns: ["arn:aws:iam::333344445555:role/no-{role}"]}}
"""
COMPILED = mapping(RULES)


def granted(**more):
    return [g.role_arn for g in COMPILED.decide(identity(**more), NOW).grants]


def test_what_complete_groups_give():
    assert granted() == [role(DEV, "R"), role(DEV, "W"), role(PROD, "R")]


def test_without_all_groups_a_deny_cannot_be_ruled_out_and_an_absence_not_be_shown():
    assert granted(groups_complete=False) == [role(DEV, "R")]
    verdict = COMPILED.verdict(identity(groups_complete=False), role(PROD, "R"), NOW)
    assert (verdict.code, verdict.reasons[0].rule) == ("denied_by_rule", "no-contractors")


def test_a_deny_that_another_condition_rules_out_stays_out():
    assert granted(groups_complete=False, mfa=True) == [role(DEV, "R"), role(PROD, "R")]


def test_a_deny_by_unknown_captures_denies_whatever_it_may_mean():
    compiled = mapping(RULES.replace("roles: [R]", "roles: [R, no-x]"))
    assert role(DEV, "no-x") in [g.role_arn for g in compiled.decide(identity(), NOW).grants]
    assert compiled.verdict(identity(groups_complete=False), role(DEV, "no-x"), NOW).code == "denied_by_rule"


def test_the_explanation_says_so():
    def text(name, account=DEV, **more):
        return explain(COMPILED, identity(groups_complete=False, **more), role(account, name), NOW).as_text()

    assert "it is not known whether this person has any of: contractors" in text("R", PROD)
    assert "denies R in shop-prod, as it cannot be ruled out" in text("R", PROD)
    assert "it is not known whether this person has none of: interns" in text("W")
    assert "it is not known whether this person has: leads" in text("L")
