"""The whole company at once and one person at a time say the same, whatever the mapping, the people and the catalogue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.identity import Subject
from federation.mapping import company
from federation.mapping.delegated import TaggedRole, with_delegated
from federation.mapping.engine import compile_mapping
from federation.mapping.rules import AccountSelector, CatalogueRole, Delegation, GroupMatch
from tests.cast import DEV, NOW, PROD, alice, bob, identity, role
from tests.mapping.kit import listing, mapping
from tests.mapping.test_reach import Miser
from tests.mapping.test_verdict_equals_decide import catalogues, documents, people

EVERYTHING = list(HealthCheck)
whens_more = st.sampled_from(
    [
        {},
        {},
        {"from_": NOW - timedelta(1)},
        {"from_": NOW + timedelta(1)},
        {"until": NOW},
        {"until": NOW + timedelta(1)},
    ]
)
companies = st.lists(
    st.builds(
        lambda who, name, provider: replace(who, subject=Subject(provider, "", name)),
        people,
        st.sampled_from("abc"),
        st.sampled_from(["corp", "other"]),
    ),
    max_size=8,
)
tagged = st.lists(
    st.builds(
        lambda account, name, group: TaggedRole(role(account, name), {"rolegate:groups": group}),
        st.sampled_from([PROD, DEV]),
        st.sampled_from(["R", "Own"]),
        st.sampled_from(["a", "b", "b:c", "nobody"]),
    ),
    max_size=3,
    unique_by=lambda tagged: tagged.arn,
)


@st.composite
def timed(draw):
    """A document whose rules also have moments, and rules out of roles' tags behind them."""
    document = draw(documents)
    rules = tuple(replace(rule, when=replace(rule.when, **draw(whens_more))) for rule in document.rules)
    delegations = (Delegation(AccountSelector(ids=(DEV,)), ("*",)), Delegation(AccountSelector(), ("a",)))
    return with_delegated(replace(document, rules=rules, delegations=delegations), draw(tagged))


def as_decided(compiled, who, now, catalogue):
    decision = compiled.decide(who, now, catalogue)
    grants = {
        company.Given(g.role_arn, g.role_name, g.account.id, g.rule, g.rules, g.approval is not None)
        for g in decision.grants
    }
    rules = tuple(rule.name for rule in compiled.matching_rules(who, now))
    return grants, decision.denied, decision.closed, rules


def as_standing(standing):
    assert len(set(standing.grants)) == len({grant.role_arn for grant in standing.grants}) == len(standing.grants)
    return set(standing.grants), standing.denied, standing.closed, standing.rules


@settings(max_examples=150, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), companies, catalogues)
def test_everybody_at_once_is_everybody_one_by_one(document, everybody, catalogue):
    compiled = compile_mapping(document)
    found = list(company.standings(compiled, everybody, NOW, catalogue))
    assert [as_standing(one) for one in found] == [as_decided(compiled, who, NOW, catalogue) for who in everybody]
    assert list(company.grants_of_everyone(compiled, everybody, NOW, catalogue)) == [one.grants for one in found]


@settings(max_examples=150, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), companies, catalogues)
def test_asked_for_the_deciding_rule_alone_it_names_that_and_says_the_same_otherwise(document, everybody, catalogue):
    compiled = compile_mapping(document)
    brief = company.Company(compiled, NOW, catalogue, deciding_only=True)
    for who in everybody:
        grants, denied, closed, rules = as_decided(compiled, who, NOW, catalogue)
        assert as_standing(brief.standing(who)) == (
            {grant._replace(rules=(grant.rule,)) for grant in grants},
            denied,
            closed,
            rules,
        )


@settings(max_examples=100, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), companies, catalogues, st.data())
def test_of_some_roles_it_says_what_it_says_of_all(document, everybody, catalogue, data):
    compiled = compile_mapping(document)
    whole, part = company.Company(compiled, NOW, catalogue), company.Company(compiled, NOW, catalogue)
    names = [one.rule.name for one in compiled.rules]
    for who in everybody:
        standing = whole.standing(who)
        arns = sorted(
            {g.role_arn for g in standing.grants} | {arn for arn, _ in standing.denied} | set(standing.closed)
        )
        only = frozenset(data.draw(st.lists(st.sampled_from(arns)))) if arns else frozenset({"none"})
        grants, denied, closed, rules = as_standing(standing)
        assert as_standing(part.standing(who, only)) == (
            {given for given in grants if given.role_arn in only},
            tuple(pair for pair in denied if pair[0] in only),
            tuple(arn for arn in closed if arn in only),
            rules,
        )
        holding = part.holding(who)
        assert tuple(names[number] for number in holding) == rules
        if not who.groups_complete or part.is_in_doubt(who):
            assert part.given_by(who, holding) is None
            continue
        gives = part.given_by(who, holding)
        if any(compiled.rules[number].denies for number in holding):
            assert gives is None
            gives = part.given_by(who, [number for number in holding if not compiled.rules[number].denies])
        assert gives == set(arns)


@settings(max_examples=100, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), companies, catalogues)
def test_the_reach_of_everybody_is_enough(document, everybody, catalogue):
    compiled = compile_mapping(document)
    miser = Miser(catalogue)
    found = list(company.standings(compiled, everybody, NOW, miser))
    alone = [as_decided(compiled, who, NOW, Miser(catalogue)) for who in everybody]
    assert [as_standing(one) for one in found] == alone
    assert len(miser.asked) == 1


RULES = """\
- {name: own, when: {groups: [{regex: "^aws-(?P<account>[0-9]{12})-(?P<role>.+)$"}]}, allow: {arns: ["arn:aws:iam::{account}:role/{role}"]}}
- {name: ask, when: {groups: [engineering]}, allow: {roles: [ReadOnly]}, approval: {by: [leads], at_most: 1h}}
- {name: read, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {tags: {environment: production}}}}
- {name: none, when: {groups: [contractors]}, deny: {accounts: {tags: {environment: production}}}}
"""


def only(compiled, who, catalogue=None):
    (found,) = company.standings(compiled, [who], NOW, catalogue or {})
    return found


def test_the_first_rule_without_an_approval_decides_and_all_are_named():
    found = {given.role_arn: given for given in only(mapping(RULES), alice()).grants}
    assert found[role(PROD, "ReadOnly")] == company.Given(
        role(PROD, "ReadOnly"), "ReadOnly", PROD, "read", ("ask", "read"), needs_approval=False
    )
    assert found[role(DEV, "ReadOnly")].needs_approval


def test_a_deny_takes_away_and_says_so():
    found = only(mapping(RULES), bob())
    assert role(PROD, "ReadOnly") not in {given.role_arn for given in found.grants}
    assert found.denied == ((role(PROD, "ReadOnly"), "none"),)
    assert found.rules == ("ask", "read", "none")


def test_one_rule_gives_one_role_once_however_many_groups_name_it():
    compiled = mapping(
        """\
- {name: own, when: {groups: [{regex: "^(?P<team>[a-z]+)-(?P<role>[A-Z])$"}]}, allow: {arns: ["arn:aws:iam::111122223333:role/{role}"]}}
"""
    )
    found = only(compiled, identity(groups=("shop-R", "pay-R", "pay-S")))
    assert sorted((given.role_name, given.rules) for given in found.grants) == [("R", ("own",)), ("S", ("own",))]


def test_people_alike_share_one_answer():
    everybody = [identity(f"p{n}", groups=("engineering", f"mail list {n}")) for n in range(50)]
    found = list(company.standings(mapping(RULES), everybody, NOW))
    assert len({id(one) for one in found}) == 1


def test_a_group_is_matched_once_for_all():
    compiled = mapping(RULES)
    everybody = [identity(f"p{n}", groups=("engineering", "mail", f"aws-{PROD}-R{n % 3}")) for n in range(30)]
    list(company.standings(compiled, everybody, NOW))
    assert compiled.index.hits.cache_info().misses == 5


def test_what_is_remembered_of_silent_groups_is_bounded(monkeypatch):
    monkeypatch.setattr(company, "_MOST_SILENT_GROUPS", 10)
    monkeypatch.setattr(company, "_MOST_STANDINGS", 3)
    compiled = mapping(RULES)
    one = company.Company(compiled, NOW)
    for n in range(40):
        who = identity(groups=("engineering", f"mail list {n}", f"aws-{PROD}-R{n}"))
        assert as_standing(one.standing(who)) == as_decided(compiled, who, NOW, {})
    assert len(one._silent) <= 11
    assert len(one._standings) <= 3


def test_a_group_that_cannot_be_matched_is_unknown_here_too():
    compiled = mapping(
        """\
- {name: all, when: {groups: [engineering]}, allow: {roles: [R]}}
- {name: none, when: {groups: ["bad*"]}, deny: {accounts: {names: ["shop-*"]}}}
- {name: but, when: {none_of: ["bad*"]}, allow: {roles: [S]}}
"""
    )
    who = identity(groups=("engineering", "bad\ud800"))
    found = only(compiled, who)
    assert as_standing(found) == as_decided(compiled, who, NOW, {})
    assert {given.account_id for given in found.grants} == {DEV}


def test_a_role_that_the_listing_does_not_have_is_not_given():
    found = only(mapping(RULES), alice(), listing(role(PROD, "Other")))
    assert PROD not in {given.account_id for given in found.grants}


def test_a_rule_that_fails_gives_nothing_and_the_others_go_on(monkeypatch):
    compiled = mapping(RULES)
    broken = next(rule for rule in compiled.rules if rule.rule.name == "ask")
    monkeypatch.setattr(broken.target, "gives_arns", lambda bound: 1 / 0)
    found = only(compiled, alice())
    assert as_standing(found) == as_decided(compiled, alice(), NOW, {})
    assert [given.rules for given in found.grants] == [("read",)]


def test_now_must_be_aware_even_for_nobody():
    with pytest.raises(ValueError, match="aware"):
        company.standings(mapping(RULES), [], NOW.replace(tzinfo=None))


def test_a_capture_may_choose_the_account_only_among_those_of_the_selector():
    compiled = mapping(
        """\
- {name: own, when: {groups: [{regex: "^(?P<account>[0-9]{12})$"}]}, allow: {arns: ["arn:aws:iam::{account}:role/team/R"], accounts: {names: ["shop-*"]}}}
"""
    )
    reach = company.reach_of_everybody(compiled)
    (wanted,) = reach.wanted
    assert (wanted.names, wanted.globs) == (frozenset({"R"}), frozenset())
    assert DEV not in wanted.accounts
    known = {PROD: {role(PROD, "team/R"): CatalogueRole(role(PROD, "team/R"), "R", "team", 7200)}}
    found = only(compiled, identity(groups=(PROD, DEV)), Miser(known))
    assert [given.role_arn for given in found.grants] == [role(PROD, "team/R")]


def test_the_reach_of_everybody_names_what_templates_can_become():
    compiled = mapping(
        """\
- {name: own, when: {groups: [{regex: "^(?P<team>[a-z]+)$"}]}, allow: {arns: ["arn:aws:iam::111122223333:role/{team}-admin"]}}
- {name: lit, when: {groups: [a]}, allow: {arns: ["arn:aws:iam::111122223333:role/One", "arn:aws:iam::999999999999:role/Two"]}}
- {name: not, when: {groups: [a]}, deny: {roles: ["*"]}}
"""
    )
    reach = company.reach_of_everybody(compiled)
    (wanted,) = reach.wanted
    assert (wanted.accounts, wanted.globs) == (frozenset({PROD}), frozenset({"*-admin"}))
    assert reach.arns == {role(PROD, "One")}


def test_equal_grants_are_one_object():
    everybody = [identity("a", groups=("engineering",)), identity("b", groups=("engineering", f"aws-{DEV}-X"))]
    first, second = company.grants_of_everyone(mapping(RULES), everybody, NOW)
    by_arn = {given.role_arn: given for given in second}
    assert all(by_arn[given.role_arn] is given for given in first)
    assert GroupMatch("exact", "engineering") in mapping(RULES).index.number
