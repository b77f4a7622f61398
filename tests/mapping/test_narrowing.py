"""What a narrower rule gives is what its users use and less besides: never more, and never less than they use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.narrowing import Holder, Narrower, as_text, narrower
from federation.mapping.rules import GroupMatch
from tests.cast import DEV, NOW, PROD, STAGING, identity, role
from tests.mapping.kit import HEAD, mapping
from tests.mapping.test_verdict_equals_decide import catalogues, documents, people


def only_rule(text, index=0):
    document = mapping(text).document
    return document.rules[index], document


def holder(groups, *arns):
    return Holder(frozenset(groups), frozenset(arns))


def proposed(text, *holders, known=()):
    rule, document = only_rule(text)
    return narrower(rule, document, holders, known)


RULE = """\
- name: engineers
  when: {groups: [engineering, platform, "ext-*"], mfa: true}
  allow: {roles: [ReadOnly, Developer, "Shop*"], accounts: {names: ["shop-*", sand-dev]}}
  session: {duration: 1h}
"""


def test_a_rule_that_nobody_uses_is_to_go():
    found = proposed(RULE, holder(["engineering"]), holder(["platform"]))
    assert found == Narrower(
        None, ("Take the rule engineers out: none of the 2 people who have it uses it.",), people=2, users=0
    )
    assert proposed(RULE).changes == ("Take the rule engineers out: nobody has anything by it.",)


def test_what_nobody_uses_is_left_out():
    everybody = [
        holder(["engineering", "mail"], role(PROD, "ReadOnly"), role(STAGING, "ShopAdmin")),
        holder(["ext-acme"], role(PROD, "ShopView")),
        holder(["platform"]),
    ]
    found = proposed(RULE, *everybody, known=(PROD, STAGING, DEV))
    assert found.rule.when.groups == (GroupMatch("exact", "engineering"), GroupMatch("glob", "ext-*"))
    assert found.rule.allow.roles == ("ReadOnly", "ShopAdmin", "ShopView")
    assert found.rule.allow.accounts.names == ("shop-*",)
    assert (found.rule.when.mfa, found.rule.session.duration) == (True, 3600)
    assert found.changes == (
        "Leave out the group platform: none of its people uses what the rule gives.",
        "Leave out the role Developer: nobody uses it.",
        "Write ShopAdmin, ShopView instead of Shop*: of all that it names, only that is used.",
        "Leave out the account sand-dev: nobody uses a role in it.",
    )
    assert (found.people, found.users) == (3, 2)


def test_a_glob_stays_where_an_account_is_not_known():
    found = proposed(RULE, holder(["engineering"], role(PROD, "ShopAdmin")), known=(PROD,))
    assert found.rule.allow.roles == ("Shop*",)


def test_a_rule_that_is_used_whole_needs_nothing():
    text = "- {name: a, when: {groups: [x]}, allow: {roles: [R], accounts: {tags: {environment: production}}}}\n"
    assert proposed(text, holder(["x"], role(PROD, "R"))) is None
    deny = "- {name: d, when: {groups: [x]}, deny: {roles: [R]}}\n"
    assert proposed(deny, holder(["x"])) is None


def test_expressions_with_captures_and_templates_stay():
    text = """\
- {name: own, when: {groups: [{regex: "^(?P<role>[A-Z]+)$"}, x]}, allow: {arns: ["arn:aws:iam::111122223333:role/{role}", "arn:aws:iam::111122223333:role/One"]}}
"""
    found = proposed(text, holder(["x", "y"], role(PROD, "Two")))
    assert [str(match) for match in found.rule.when.groups] == ["/^(?P<role>[A-Z]+)$/", "x"]
    assert found.rule.allow.arns == ("arn:aws:iam::111122223333:role/{role}",)


def test_uses_that_nothing_in_the_rule_explains_change_nothing():
    text = "- {name: a, when: {groups: [x]}, allow: {roles: [R]}}\n"
    assert proposed(text, holder(["x"], role(PROD, "Elsewhere"))) is None
    rule, document = only_rule(text)
    everybody = replace(rule, when=replace(rule.when, groups=()))
    assert narrower(everybody, document, [holder([], role(PROD, "R"))]) is None


def test_a_group_that_cannot_be_matched_keeps_them_all():
    found = proposed(RULE, holder(["engineering", "ext-\ud800"], role(PROD, "ReadOnly")), known=(PROD, STAGING, DEV))
    assert len(found.rule.when.groups) == 3


TEXT = (
    HEAD
    + """\
mapping:
  # who reads
  - name: readers
    when: {groups: [engineering, sales]}   # two groups
    allow: {roles: [ReadOnly], accounts: {tags: {environment: production}}}
  - name: others
    when: {groups: [ops]}
    allow: {roles: [Ops]}   # kept
"""
)


def test_the_text_of_a_draft_keeps_everything_else():
    document = parse(TEXT)
    found = narrower(document.rules[0], document, [holder(["sales"], role(PROD, "ReadOnly"))])
    text = as_text(TEXT, "readers", found)
    assert parse(text).rules == (replace(document.rules[0], when=found.rule.when), document.rules[1])
    assert "# who reads" in text
    assert "# kept" in text
    assert "sales" in text
    assert "engineering" not in text
    gone = as_text(TEXT, "readers", narrower(document.rules[0], document, []))
    assert [rule.name for rule in parse(gone).rules] == ["others"]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, st.lists(people, min_size=1, max_size=5), catalogues, st.data())
def test_never_more_and_never_less_than_is_used(document, everybody, catalogue, data):
    rule = next((rule for rule in document.rules if rule.allow is not None), None)
    assume(rule is not None)
    everybody = [replace(who, groups_complete=True, directory_stale=False) for who in everybody]
    catalogue = {account: roles for account, roles in catalogue.items() if account in {a.id for a in document.accounts}}
    alone = replace(document, rules=(rule,))

    def has(rules_of, who):
        return {grant.role_arn for grant in compile_mapping(rules_of).decide(who, NOW, catalogue).grants}

    before = [has(alone, who) for who in everybody]
    used = [frozenset(arn for arn in sorted(arns) if data.draw(st.booleans())) for arns in before]
    holders = [Holder(who.groups, use) for who, arns, use in zip(everybody, before, used, strict=True) if arns]
    found = narrower(rule, document, holders, set(catalogue))
    if found is None:
        return
    assert found.changes
    after = [has(replace(alone, rules=(found.rule,) if found.rule else ()), who) for who in everybody]
    for had, use, now_has in zip(before, used, after, strict=True):
        assert use <= now_has <= had


@pytest.mark.parametrize("name", ["readers", "others"])
def test_whoever_uses_it_still_has_it(name):
    document = parse(TEXT)
    rule = next(rule for rule in document.rules if rule.name == name)
    group = rule.when.groups[0].pattern
    arn = role(PROD, rule.allow.roles[0])
    found = narrower(rule, document, [holder([group], arn)])
    text = as_text(TEXT, name, found) if found else TEXT
    decision = compile_mapping(parse(text)).decide(identity(groups=(group,)), NOW)
    assert arn in {grant.role_arn for grant in decision.grants}
