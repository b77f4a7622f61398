"""Rules that do nothing are found: dead, over, shadowed, or pointing nowhere; and those that do something are not."""

from __future__ import annotations

import pytest

from federation.mapping.company import Company
from federation.mapping.findings import Tally, findings_of
from federation.mapping.impact import assess
from tests.cast import DEV, NOW, PROD, STAGING, alice, bob, carol, role
from tests.mapping.kit import listing, mapping
from tests.mapping.test_impact import CAST

EVERY = listing(role(PROD, "ReadOnly"), role(PROD, "team/Deploy"), role(STAGING, "ReadOnly"), role(DEV, "Sandbox"))


def found(text, catalogue=EVERY):
    compiled = mapping(text)
    company, tally = Company(compiled, NOW, catalogue), Tally()
    names = [rule.name for rule in compiled.document.rules]
    for who in (alice(), bob(), carol()):
        standing = company.standing(who)
        tally.match(names.index(name) for name in standing.rules)
        tally.add(standing)
    return [(f.rule, f.code, f.about) for f in findings_of(compiled, tally, NOW, catalogue)]


GOOD = "- {name: good, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: [shop-prod]}}\n"


def test_a_rule_that_gives_something_has_no_finding():
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "code", "about"),
    [
        ("{name: x, when: {groups: [nobody-is-in-it]}, allow: {roles: [Sandbox], accounts: [sand-dev]}}", "matches_nobody", ()),
        ("{name: x, when: {groups: [engineering], until: 2026-01-01}, allow: {roles: [Sandbox], accounts: [sand-dev]}}", "over", ()),
        ("{name: x, when: {groups: [engineering], from: 2027-01-01}, allow: {roles: [Sandbox], accounts: [sand-dev]}}", "not_yet", ()),
        ("{name: x, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: [shop-prod]}}", "shadowed", ()),
        ("{name: x, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {tags: {team: nobody}}}}", "no_account", ()),
        ("{name: x, when: {groups: [contractors]}, deny: {accounts: {tags: {team: nobody}}}}", "no_account", ()),
        ("{name: x, when: {groups: [contractors]}, deny: {roles: [Sandbox]}}", "takes_nothing", ()),
        ("{name: x, when: {groups: [engineering]}, allow: {roles: [Sandbox, Gone, 'X*'], accounts: [sand-dev]}}", "no_role", ("Gone", "X*")),
        (f"{{name: x, when: {{groups: [engineering]}}, allow: {{arns: ['{role(DEV, 'Gone')}']}}}}", "role_unknown", (role(DEV, "Gone"),)),
        (f"{{name: x, when: {{groups: [engineering]}}, allow: {{arns: ['{role('999988887777', 'R')}']}}}}", "account_unknown", (role("999988887777", "R"),)),
    ],
)  # fmt: skip
def test_what_is_wrong(rule, code, about):
    assert found(f"{GOOD}- {rule}\n") == [("x", code, about)]


def test_a_rule_behind_an_approval_is_not_shadowed_by_one_that_asks_for_another():
    """The first without an approval decides: the one with an approval in front of it never does."""
    asks = "- {name: asks, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: [shop-prod]}, approval: {by: [x], at_most: 1h}}\n"
    assert found(asks + GOOD) == [("asks", "shadowed", ())]


def test_what_a_deny_takes_from_everybody_is_shadowed_and_the_deny_is_not():
    deny = "- {name: no, when: {groups: [engineering]}, deny: {accounts: {tags: {environment: production}}}}\n"
    assert found(GOOD + deny) == [("good", "shadowed", ())]


def test_names_in_accounts_that_nobody_has_read_are_taken_on_trust():
    assert found("- {name: x, when: {groups: [engineering]}, allow: {roles: [Gone], accounts: [sand-dev]}}\n", {}) == []


def test_a_path_and_a_glob_are_found_where_they_are():
    rule = "- {name: x, when: {groups: [engineering]}, allow: {roles: [team/Deploy, 'Read*'], accounts: [shop-prod]}}\n"
    assert found(rule) == []


def test_what_is_new_with_the_revision_says_so():
    dead = "- {name: dead, when: {groups: [nobody]}, allow: {roles: [Sandbox], accounts: [sand-dev]}}\n"
    more = "- {name: dead too, when: {groups: [nobody]}, allow: {roles: [Sandbox], accounts: [sand-dev]}}\n"
    impact = assess(mapping(GOOD + dead), mapping(GOOD + dead + more), CAST, NOW, EVERY)
    assert [(f.rule, f.is_new) for f in impact.findings] == [("dead", False), ("dead too", True)]
    plain = impact.as_dict()["findings"][1]
    assert (plain["code"], plain["is_new"], plain["line"]) == ("matches_nobody", True, 12)


def test_a_sentence_names_what_is_missing_and_stays_short():
    roles = ", ".join(f"G{n}" for n in range(14))
    compiled = mapping(
        f"- {{name: x, when: {{groups: [engineering]}}, allow: {{roles: [{roles}], accounts: [sand-dev]}}}}\n"
    )
    (finding,) = findings_of(compiled, _tally(compiled), NOW, EVERY)
    assert finding.sentence == (
        "None of the accounts that it chooses has this role: G0, G1, G2, G3, G4, G5, G6, G7, G8, G9 and 4 more."
    )


def _tally(compiled):
    tally = Tally()
    tally.match([0])
    tally.add(Company(compiled, NOW, EVERY).standing(alice()))
    return tally
