"""A group's text never becomes part of a role ARN unless it is exactly an account id or a role name."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.mapping import groups as groups_module
from federation.mapping.groups import GroupIndex, PatternSet, PatternsUnusable
from federation.mapping.patterns import required_prefix
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import GroupMatch
from tests.cast import NOW, PROD, identity, role
from tests.mapping.kit import listing, mapping

BY_NAME = r"""
- name: by-name
  when: {groups: [{regex: "^aws-(?P<account>[^-]*)-(?P<role>(?s:.*))$"}]}
  allow: {arns: ["arn:aws:iam::{account}:role/{role}", "arn:aws:iam::{account}:role/x-{role}"]}
"""
COMPILED = mapping(BY_NAME)


def test_the_good_group_gives_its_two_roles():
    person = identity(groups=(f"aws-{PROD}-Deployer",))
    grants = COMPILED.decide(person, NOW).grants
    assert [g.role_arn for g in grants] == [role(PROD, "Deployer"), role(PROD, "x-Deployer")]
    assert dict(grants[0].captures) == {"account": PROD, "role": "Deployer"}
    assert not COMPILED.decide(person, NOW, listing(role(PROD, "Other"))).grants


@pytest.mark.parametrize(
    "group",
    [
        f"aws-{PROD}-R,arn:aws:iam::{PROD}:saml-provider/evil",
        f"aws-{PROD}-R\n",
        f"aws-{PROD}-R\r\nRole",
        f"aws-{PROD}-R</saml:AttributeValue>",
        f"aws-{PROD}-team/R",
        f"aws-{PROD}-../R",
        f"aws-{PROD}-{{role}}",
        f"aws-{PROD}-arn:aws:iam::{PROD}:role/Admin",
        f"aws-{PROD}-Ｒole",
        f"aws-{PROD}-R\u0000",
        f"aws-{PROD}-",
        f"aws-{PROD}-{'R' * 65}",
        f"aws-{PROD} -R",
        "aws-１１１１２２２２３３３３-R",
        "aws-999999999999-R",
        "aws--R",
        f"aws-{PROD}-AWSReservedSSO_Admin",
        f"aws-{PROD}:role/Admin,arn:aws:iam::{PROD}-R",
        f"aws-{PROD}-R\ud800",
    ],
)
def test_a_bad_group_gives_nothing(group):
    decision = COMPILED.decide(identity(groups=(group,)), NOW)
    allowed = {role(PROD, "x-AWSReservedSSO_Admin")} if "Reserved" in group else set()
    assert {grant.role_arn for grant in decision.grants} <= allowed


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80).map(lambda tail: f"aws-{PROD}-{tail}"))
def test_whatever_the_group_the_arn_is_one_arn(group):
    for grant in COMPILED.decide(identity(groups=(group,)), NOW).grants:
        arn = parse_role_arn(grant.role_arn)
        assert arn is not None
        assert arn.account_id == PROD
        assert not set(grant.role_arn) & set(", \n\r<>&\"'{}*?")


def test_accounts_narrow_what_captures_name():
    compiled = mapping(BY_NAME.replace("{arns:", "{accounts: {tags: {environment: staging}}, arns:"))
    assert not compiled.decide(identity(groups=(f"aws-{PROD}-Deployer",)), NOW).grants


def test_two_groups_give_two_roles_each_with_its_own_captures():
    person = identity(groups=(f"aws-{PROD}-A", f"aws-{PROD}-B"))
    found = {g.role_name: g.captures["role"] for g in COMPILED.decide(person, NOW).grants}
    assert found == {"A": "A", "x-A": "A", "B": "B", "x-B": "B"}


def test_captures_of_a_role_named_in_full_are_the_first_groups():
    compiled = mapping(r"""
        - name: teams
          when: {groups: [everyone, {regex: "^team-(?P<team>.+?)(-(?P<level>\\d))?$"}]}
          allow: {roles: [Base], arns: ["arn:aws:iam::111122223333:role/Fixed"], accounts: [shop-prod]}
        """)
    person = identity(groups=("team-b-2", "team-a", "everyone"))
    assert [(g.role_name, dict(g.captures)) for g in compiled.decide(person, NOW).grants] == [
        ("Base", {"team": "a"}),
        ("Fixed", {"team": "a"}),
    ]
    assert dict(compiled.decide(identity(groups=("everyone",)), NOW).grants[0].captures) == {}


def test_a_hostile_expression_costs_linear_time():
    compiled = mapping(r'- {name: r, when: {groups: [{regex: "^(a+)+b|(.*.*)*c|(x|xx)+y$"}]}, allow: {roles: [R]}}')
    started = time.process_time()
    compiled.decide(identity(groups=("a" * 50_000, "x" * 50_000)), NOW)
    assert time.process_time() - started < 1


def test_a_group_that_cannot_be_matched_is_unknown_and_a_deny_then_holds():
    compiled = mapping("""
        - {name: yes, when: {groups: [engineering]}, allow: {roles: [R], accounts: [shop-prod]}}
        - {name: "no", when: {groups: ["*-contractors"]}, deny: {accounts: [shop-prod]}}
        """)
    assert compiled.decide(identity(), NOW).grants
    assert compiled.verdict(identity(groups=("engineering", "x\ud800")), role(PROD, "R"), NOW).code == "denied_by_rule"


class _Silent:
    """TEST DOUBLE: a set that ran out of memory, which RE2 reports as "nothing matches"."""

    def Match(self, text):
        return []


def test_a_set_that_runs_out_of_memory_is_not_believed():
    matches = [GroupMatch("glob", "*-contractors"), GroupMatch("regex", "^x.*$")]
    found = PatternSet(matches, [0, 1])
    assert found.matching("ext-contractors") == [0]
    found._set = _Silent()
    assert found.matching("ext-contractors") == [0]
    assert found.matching("x-contractors") == [0, 1]
    assert found.matching("engineering") == []
    with pytest.raises(PatternsUnusable):
        found.matching("\ud800")


def test_patterns_too_large_for_one_set_are_matched_one_by_one(monkeypatch):
    monkeypatch.setattr(groups_module, "SET_MEMORY", 4_000)
    matches = [GroupMatch("regex", f".*{n}[a-z]{{100}}") for n in range(20)]
    index = GroupIndex(matches, {matches[7]: (3,)})
    assert index._floating._set is None
    assert index.look("7" + "a" * 100) == ((7,), (3,))
    assert index.look("7") == ((), ())


def test_the_memo_is_bounded_and_long_names_stay_out_of_it():
    index = GroupIndex([GroupMatch("glob", "a*")], {})
    assert index.hits.cache_info().maxsize == groups_module.MEMO_SIZE
    assert index.look("a" * 5_000).matches == (0,)
    assert index.hits.cache_info().currsize == 0
    assert index.look("ab").matches == index.look("ab").matches == (0,)
    assert (index.hits.cache_info().currsize, index.hits.cache_info().hits) == (1, 1)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("^aws-x.*$", "aws-x"),
        ("^ab?c$", "a"),
        ("^ab*$", "a"),
        ("^ab{0,2}$", "a"),
        ("^ab+$", "a"),
        ("^ab|c$", ""),
        ("ab.*", ""),
        ("(?i)^ab$", ""),
        ("^ab$", "ab"),
        ("^a[bc]$", "a"),
        (r"^a\.b$", "a"),
        ("^", ""),
    ],
)
def test_the_prefix_that_an_expression_needs(pattern, prefix):
    assert required_prefix(GroupMatch("regex", pattern)) == prefix


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["^ab?c$", "^abc*$", "^a(b|c)d$", "^ab", "^ab.*$", "b+", "(?i)^AB.*$", "^a{0,1}b$", "^é.*$", "^a b$"]
        ),
        min_size=1,
        unique=True,
    ),
    st.text(st.sampled_from("abcdABé \n"), max_size=6),
)
def test_all_at_once_is_the_same_as_one_by_one(patterns, group):
    from federation.mapping.patterns import compile_expression

    matches = [GroupMatch("regex", pattern) for pattern in patterns]
    expected = {n for n, pattern in enumerate(patterns) if compile_expression(pattern).fullmatch(group)}
    assert set(GroupIndex(matches, {}).look(group).matches) == expected
