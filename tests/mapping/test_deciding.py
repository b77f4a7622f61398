"""Who gets which role: Alice in engineering, Bob the contractor, Carol the admin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.explain import explain
from federation.mapping.rules import Approval, GroupMatch, Rule, Target, When
from tests.cast import DEV, DOCUMENT, NOW, PROD, STAGING, identity, role
from tests.mapping.kit import listing, mapping


def roles(compiled, person, catalogue=None, now=NOW):
    return [grant.role_arn for grant in compiled.decide(person, now, catalogue or {}).grants]


def test_alice_bob_and_carol():
    compiled = compile_mapping(parse(DOCUMENT))
    alice = compiled.decide(identity("alice"), NOW)
    assert [(g.account.name, g.role_name, g.rule) for g in alice.grants] == [
        ("shop-dev", "Developer", "engineers-develop"),
        ("shop-prod", "Developer", "engineers-develop"),
        ("shop-prod", "ReadOnly", "engineers-read-production"),
        ("shop-staging", "Developer", "engineers-develop"),
    ]
    assert alice.denied == ()
    bob = compiled.decide(identity("bob", groups=("engineering", "contractors")), NOW)
    assert [g.account.name for g in bob.grants] == ["shop-dev", "shop-staging"]
    assert bob.denied == (
        (role(PROD, "Developer"), "no-contractors-in-production"),
        (role(PROD, "ReadOnly"), "no-contractors-in-production"),
    )
    carol = compiled.decide(identity("carol", mfa=True), NOW)
    admin = next(g for g in carol.grants if g.role_name == "Administrator")
    assert admin.approval == Approval((GroupMatch("exact", "sre-leads"),), 14_400)
    assert roles(compiled, identity("nobody", groups=())) == []


def test_the_verdict_on_each():
    compiled = compile_mapping(parse(DOCUMENT))
    bob = identity("bob", groups=("engineering", "contractors"))

    def code(person, arn, catalogue=None):
        verdict = compiled.verdict(person, arn, NOW, catalogue or {})
        assert verdict.allowed is (verdict.code == "allowed")
        assert verdict.reasons
        return verdict.code

    assert code(identity(), role(PROD, "ReadOnly")) == "allowed"
    assert code(bob, role(PROD, "ReadOnly")) == "denied_by_rule"
    assert code(identity(), role(PROD, "Administrator")) == "no_matching_rule"
    assert code(identity(mfa=True), role(PROD, "Administrator")) == "approval_required"
    assert code(identity(), role("999999999999", "ReadOnly")) == "account_unknown"
    assert code(identity(), role(PROD, "ReadOnly"), listing(role(PROD, "Other"))) == "role_unknown"
    assert code(identity(), role(PROD, "AWSReservedSSO_Admin_0123456789abcdef")) == "role_reserved"
    assert code(identity(), role(PROD, "awsreservedsso_admin")) == "role_reserved"
    assert code(identity(), role(PROD, "aws-service-role/x.amazonaws.com/AWSServiceRoleForX")) == "role_reserved"
    assert code(identity(), f"arn:aws-cn:iam::{PROD}:role/ReadOnly") == "account_unknown"
    for bad in (
        "",
        "ReadOnly",
        role(PROD, "ReadOnly") + "\n",
        role(PROD, "a,b"),
        f"arn:aws:iam::{PROD}:user/ReadOnly",
        "arn:aws-moon:iam::111122223333:role/R",
        role(PROD, "x" * 900),
    ):
        assert code(identity(), bad) == "arn_invalid"


RULES = """
- {name: first-with-approval, when: {groups: [engineering]}, allow: {roles: [Admin]}, approval: {by: [leads], at_most: 1h}, session: {duration: 15m}}
- {name: second, when: {groups: [engineering]}, allow: {roles: [Admin], accounts: [shop-prod]}, session: {duration: 2h}}
- {name: third, when: {groups: ["*"]}, allow: {roles: [Admin], accounts: [shop-prod]}, session: {duration: 3h}}
"""


def test_the_first_rule_without_an_approval_counts_else_the_first_with():
    compiled = mapping(RULES)
    prod = compiled.verdict(identity(), role(PROD, "Admin"), NOW).grant
    assert (prod.rule, prod.rules, prod.session.duration, prod.approval) == (
        "second",
        ("first-with-approval", "second", "third"),
        7200,
        None,
    )
    dev = compiled.verdict(identity(), role(DEV, "Admin"), NOW)
    assert (dev.code, dev.grant.rule, dev.grant.session.duration) == ("approval_required", "first-with-approval", 900)


@pytest.mark.parametrize(
    ("when", "person", "yes"),
    [
        ("{groups: [a, b]}", {"groups": ("b",)}, True),
        ("{groups: [a, b]}", {"groups": ("B",)}, False),
        ("{groups: [a, b]}", {"groups": ("b ",)}, False),
        ('{groups: ["aws-*"]}', {"groups": ("aws-",)}, True),
        ('{groups: ["aws-*"]}', {"groups": ("xaws-y",)}, False),
        ('{groups: ["*-admins"]}', {"groups": ("shop-admins",)}, True),
        ('{groups: ["a?c"]}', {"groups": ("abc",)}, True),
        ('{groups: ["a?c"]}', {"groups": ("ac",)}, False),
        ('{groups: ["[x]*"]}', {"groups": ("[x]y",)}, True),
        ('{groups: [{exact: "aws-*"}]}', {"groups": ("aws-x",)}, False),
        ('{groups: [{exact: "aws-*"}]}', {"groups": ("aws-*",)}, True),
        ('{groups: [{regex: "adm.n"}]}', {"groups": ("admin",)}, True),
        ('{groups: [{regex: "adm.n"}]}', {"groups": ("admins",)}, False),
        ('{groups: [{regex: "^adm.n$"}]}', {"groups": ("admin\n",)}, False),
        ('{groups: [{regex: "^adm?n$"}]}', {"groups": ("adn",)}, True),
        ('{groups: [{regex: "^x|admin$"}]}', {"groups": ("admin",)}, True),
        ('{groups: [{regex: "(?i)ADMIN"}]}', {"groups": ("admin",)}, True),
        ("{all_of: [a, b]}", {"groups": ("a", "b")}, True),
        ("{all_of: [a, b]}", {"groups": ("a",)}, False),
        ("{groups: [a], all_of: [b]}", {"groups": ("a",)}, False),
        ("{groups: [a], none_of: [b]}", {"groups": ("a",)}, True),
        ("{groups: [a], none_of: [b]}", {"groups": ("a", "b")}, False),
        ("{none_of: [b]}", {"groups": ()}, True),
        ("{provider: corp}", {"groups": ()}, True),
        ("{provider: [entra]}", {"groups": ()}, False),
        ("{attributes: {department: [platform, data]}}", {"attributes": {"department": ("x", "data")}}, True),
        ("{attributes: {department: platform}}", {"attributes": {"department": ("Platform",)}}, False),
        ("{attributes: {department: platform}}", {}, False),
        ("{attributes: {department: platform, city: Bern}}", {"attributes": {"department": ("platform",)}}, False),
        ("{mfa: true}", {"mfa": True}, True),
        ("{mfa: true}", {"mfa": False}, False),
        ("{mfa: false}", {"mfa": False}, True),
        ('{from: "2026-05-03T09:00:00Z"}', {}, True),
        ('{from: "2026-05-03T09:00:01Z"}', {}, False),
        ('{until: "2026-05-03T09:00:00Z"}', {}, False),
        ('{until: "2026-05-03T09:00:01Z"}', {}, True),
    ],
)
def test_conditions(when, person, yes):
    compiled = mapping(f"- {{name: r, when: {when}, allow: {{roles: [R], accounts: [shop-prod]}}}}")
    assert roles(compiled, identity(**person)) == ([role(PROD, "R")] if yes else [])
    assert compiled.verdict(identity(**person), role(PROD, "R"), NOW).code == ("allowed" if yes else "no_matching_rule")


@pytest.mark.parametrize(
    ("accounts", "chosen"),
    [
        (f'["{PROD}"]', {PROD}),
        (f'{{ids: ["{PROD}"], names: ["sand-*"]}}', {PROD, DEV}),
        ('"shop-*"', {PROD, STAGING}),
        ("shop-prod", {PROD}),
        ("{tags: {team: shop}}", {PROD, STAGING}),
        ("{tags: {environment: [staging, development]}}", {STAGING, DEV}),
        ("{tags: {team: shop, environment: production}}", {PROD}),
        ('{names: ["*"], tags: {team: shop}}', {PROD, STAGING}),
        ("{organizational_units: [Root/Prod]}", {PROD}),
        ("{organizational_units: [Root]}", {PROD, STAGING}),
        ("{organizational_units: [Root/Pro]}", set()),
        ('{organizational_units: ["Root/T*"]}', {STAGING}),
    ],
)
def test_account_selectors(accounts, chosen):
    compiled = mapping(f"- {{name: r, when: {{groups: [engineering]}}, allow: {{roles: [R], accounts: {accounts}}}}}")
    assert set(roles(compiled, identity())) == {role(account, "R") for account in chosen}
    assert {a.id for a in compiled.accounts_of(compiled.document.rules[0].allow.accounts)} == chosen


def allow(what: str):
    return mapping(f"- {{name: r, when: {{groups: [engineering]}}, allow: {what}}}")


def test_what_the_catalogue_changes():
    known = listing(
        role(PROD, "ReadOnly"),
        role(PROD, "team/Deployer"),
        role(PROD, "Deploy"),
        role(PROD, "AWSReservedSSO_ReadOnly_1"),
    )
    exact = allow("{roles: [ReadOnly, Missing], accounts: [shop-prod, shop-staging]}")
    # The account that the catalogue knows has what it lists; the other is taken on trust.
    assert roles(exact, identity(), known) == [
        role(PROD, "ReadOnly"),
        role(STAGING, "Missing"),
        role(STAGING, "ReadOnly"),
    ]
    glob = allow('{roles: ["*"], accounts: [shop-prod, shop-staging]}')
    assert roles(glob, identity()) == []
    assert roles(glob, identity(), known) == [role(PROD, "Deploy"), role(PROD, "team/Deployer"), role(PROD, "ReadOnly")]
    assert roles(allow('{roles: ["Deploy*"]}'), identity(), known) == [
        role(PROD, "Deploy"),
        role(PROD, "team/Deployer"),
    ]
    assert roles(allow('{roles: ["team/*"]}'), identity(), known) == [role(PROD, "team/Deployer")]
    # A bare name is the role at whatever path the listing has it; without a listing, at none.
    bare = allow("{roles: [Deployer], accounts: [shop-prod]}")
    assert roles(bare, identity(), known) == [role(PROD, "team/Deployer")]
    assert roles(bare, identity()) == [role(PROD, "Deployer")]
    assert bare.verdict(identity(), role(PROD, "team/Deployer"), NOW).code == "no_matching_rule"
    assert roles(allow("{roles: [team/Deployer], accounts: [shop-prod]}"), identity(), known) == [
        role(PROD, "team/Deployer")
    ]
    # Present and empty is known to be empty; absent is not known.
    assert roles(bare, identity(), {PROD: {}}) == []


def test_an_account_that_only_the_catalogue_knows():
    other = "777788889999"
    known = listing(role(other, "ReadOnly"))
    everywhere = allow("{roles: [ReadOnly]}")
    grant = everywhere.verdict(identity(), role(other, "ReadOnly"), NOW, known).grant
    assert (grant.account.id, grant.account.name, grant.account.partition) == (other, other, "aws")
    assert role(other, "ReadOnly") in roles(everywhere, identity(), known)
    assert role(other, "ReadOnly") not in roles(
        allow("{roles: [ReadOnly], accounts: {tags: {team: shop}}}"), identity(), known
    )
    assert everywhere.verdict(identity(), role(other, "ReadOnly"), NOW, {other: {}}).code == "account_unknown"


def test_a_listing_that_lies_about_its_account_gives_nothing():
    lying = {PROD: listing(role(DEV, "Admin"))[DEV], "777788889999": listing(role(DEV, "Admin"))[DEV]}
    compiled = allow('{roles: ["*"], accounts: [shop-prod]}')
    assert roles(compiled, identity(), lying) == []
    compiled = allow('{roles: ["*"]}')
    assert roles(compiled, identity(), lying) == []
    assert roles(compiled, identity(), {PROD: dict.fromkeys(["nonsense", role(PROD, "a,b")])}) == []


DENY = "- {{name: all, when: {{groups: [engineering]}}, allow: {{roles: [Admin, Reader], accounts: [shop-prod, sand-dev]}}}}\n- {{name: no, {when}deny: {deny}}}"


@pytest.mark.parametrize(
    ("when", "deny", "left"),
    [
        ("", "{roles: [Admin]}", [role(DEV, "Reader"), role(PROD, "Reader")]),
        ("", "{roles: [aDMIN]}", [role(DEV, "Reader"), role(PROD, "Reader")]),
        ("", '{roles: ["*DM*"]}', [role(DEV, "Reader"), role(PROD, "Reader")]),
        (
            "",
            "{roles: [team/Admin]}",
            [role(DEV, "Admin"), role(DEV, "Reader"), role(PROD, "Admin"), role(PROD, "Reader")],
        ),
        ("", "{accounts: [shop-prod]}", [role(DEV, "Admin"), role(DEV, "Reader")]),
        (
            "",
            "{roles: [Admin], accounts: [shop-prod]}",
            [role(DEV, "Admin"), role(DEV, "Reader"), role(PROD, "Reader")],
        ),
        ("", f'{{arns: ["{role(DEV, "admin")}"]}}', [role(DEV, "Reader"), role(PROD, "Admin"), role(PROD, "Reader")]),
        ("", '{accounts: {names: ["*"]}}', []),
        ("when: {mfa: false}, ", '{accounts: {names: ["*"]}}', []),
        (
            "when: {mfa: true}, ",
            "{roles: [Admin, Reader]}",
            [role(DEV, "Admin"), role(DEV, "Reader"), role(PROD, "Admin"), role(PROD, "Reader")],
        ),
    ],
)
def test_deny_wins(when, deny, left):
    compiled = mapping(DENY.format(when=when, deny=deny))
    decision = compiled.decide(identity(), NOW)
    assert [grant.role_arn for grant in decision.grants] == left
    assert {name for _, name in decision.denied} <= {"no"}
    assert len(decision.denied) == 4 - len(left)


def test_a_deny_by_captures():
    compiled = mapping(r"""
        - {name: all, when: {groups: [engineering]}, allow: {roles: [Admin], accounts: ["*"]}}
        - {name: no, when: {groups: [{regex: "^not-(?P<account>\\d{12})-(?P<role>.+)$"}]}, deny: {arns: ["arn:aws:iam::{account}:role/{role}"]}}
        """)
    person = identity(groups=("engineering", f"not-{PROD}-admin", "not-000000000000-x/y"))
    assert roles(compiled, person) == [role(DEV, "Admin"), role(STAGING, "Admin")]
    assert compiled.verdict(person, role(PROD, "Admin"), NOW).code == "denied_by_rule"


def test_a_rule_counts_between_two_moments():
    compiled = mapping(
        '- {name: r, when: {groups: [engineering], from: "2026-05-03T09:00:00Z", until: "2026-05-04T00:00:00Z"}, allow: {roles: [R], accounts: [shop-prod]}}'
    )
    assert roles(compiled, identity(), now=NOW - timedelta(seconds=1)) == []
    assert roles(compiled, identity(), now=NOW) == [role(PROD, "R")]
    assert roles(compiled, identity(), now=NOW + timedelta(hours=15)) == []


def test_a_moment_without_a_zone_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="aware"):
        mapping("- {name: r, when: {groups: [a]}, allow: {roles: [R]}}").decide(identity(), NOW.replace(tzinfo=None))


def test_staff_rights_and_approvers():
    compiled = compile_mapping(parse(DOCUMENT))
    carol = identity("carol", groups=("cloud-platform", "sre-leads"))
    assert [entry.role for entry in compiled.staff_rights(carol)] == ["owner"]
    assert compiled.staff_rights(identity("alice")) == ()
    approval = compiled.document.rules[2].approval
    assert compiled.may_approve(carol, approval)
    assert not compiled.may_approve(identity("alice"), approval)
    assert not compiled.may_approve(carol, Approval((GroupMatch("exact", "cloud-platform-of-another-document"),), 60))


def test_a_right_of_one_providers_people_is_nobody_elses():
    """Whoever runs another provider can call any group of theirs cloud-platform."""
    compiled = compile_mapping(parse(DOCUMENT.replace("{role: owner,", "{role: owner, provider: corp,")))
    carol = identity("carol", groups=("cloud-platform",))
    partner = replace(carol, subject=replace(carol.subject, provider="entra"))
    assert [entry.role for entry in compiled.staff_rights(carol)] == ["owner"]
    assert compiled.staff_rights(partner) == ()


def test_rules_that_match_are_listed_in_order():
    compiled = compile_mapping(parse(DOCUMENT))
    bob = identity("bob", groups=("engineering", "contractors"))
    assert [rule.name for rule in compiled.matching_rules(bob, NOW)] == [
        "engineers-read-production",
        "engineers-develop",
        "no-contractors-in-production",
    ]


def test_a_rule_without_exactly_one_effect_is_not_compiled():
    from federation.mapping.rules import Document

    for rule in (Rule("r", When()), Rule("r", When(), Target(("R",)), Target(("R",)))):
        with pytest.raises(ValueError, match="exactly one of allow and deny"):
            compile_mapping(Document(rules=(rule,)))


@pytest.mark.parametrize(
    "chosen",
    ["tags: {environment: production}", "tags: {Environment: [x, Production]}", 'names: ["shop-*"]', "organizational_units: [/Prod]",
     'organizational_units: ["/pr*/shop"]'],
)  # fmt: skip
def test_a_deny_finds_its_accounts_whatever_the_case_and_an_allow_by_the_letter(chosen):
    """Attack: whoever may tag accounts in AWS writes Production for production, and the deny of production is gone."""
    account = f'{{id: "{PROD}", name: Shop-prod, tags: {{environment: PRODUCTION}}, organizational_unit: /prod/Shop}}'
    text = f"""\
version: 1
accounts: [{account}]
mapping:
  - {{name: give, when: {{groups: [engineering]}}, allow: {{roles: [ReadOnly]}}}}
  - {{name: no, when: {{groups: [engineering]}}, deny: {{accounts: {{{chosen}}}}}}}
"""
    who, arn = identity(groups=("engineering",)), f"arn:aws:iam::{PROD}:role/ReadOnly"
    denying = compile_mapping(parse(text))
    assert denying.verdict(who, arn, NOW).code == "denied_by_rule"
    assert denying.decide(who, NOW).denied == ((arn, "no"),)
    story = explain(denying, who, arn, NOW, {})
    assert [rule.matched for rule in story.rules] == [True, True]
    allowing = compile_mapping(
        parse(
            text.replace("deny:", "allow:").replace(
                f"{{accounts: {{{chosen}", f"{{roles: [Admin], accounts: {{{chosen}"
            )
        )
    )
    assert allowing.verdict(who, f"arn:aws:iam::{PROD}:role/Admin", NOW).code == "no_matching_rule"


CONTRACTORS = ["contractors", "contract*", "{exact: contractors}", '{regex: "^contract(?P<kind>ors)$"}']


@pytest.mark.parametrize("named", CONTRACTORS)
@pytest.mark.parametrize("key", ["groups", "all_of"])
def test_a_deny_finds_its_people_whatever_the_case_of_their_group(named, key):
    """Attack, or a tidy administrator: the directory's group is called Contractors from now on, and the deny of contractors is gone."""
    compiled = mapping(f"""
        - {{name: give, when: {{groups: [engineering]}}, allow: {{roles: [Admin], accounts: [shop-prod]}}}}
        - {{name: no, when: {{{key}: [{named}]}}, deny: {{accounts: [shop-prod]}}}}
        """)
    for called in ("contractors", "Contractors", "CONTRACTORS"):
        who = identity(groups=("engineering", called))
        assert compiled.decide(who, NOW).denied == ((role(PROD, "Admin"), "no"),), called
        assert compiled.verdict(who, role(PROD, "Admin"), NOW).code == "denied_by_rule"
        assert [rule.name for rule in compiled.matching_rules(who, NOW)] == ["give", "no"]
        story = explain(compiled, who, role(PROD, "Admin"), NOW, {})
        assert [rule.matched for rule in story.rules] == [True, True]
        assert key == "all_of" or f"has group {called}" in " ".join(story.rules[1].reasons)
    assert roles(compiled, identity(groups=("engineering", "contact"))) == [role(PROD, "Admin")]


@pytest.mark.parametrize("named", CONTRACTORS)
def test_none_of_keeps_people_out_whatever_the_case_of_their_group_and_groups_lets_them_in_by_the_letter(named):
    compiled = mapping(f"""
        - {{name: others, when: {{groups: [engineering], none_of: [{named}]}}, allow: {{roles: [Admin], accounts: [shop-prod]}}}}
        - {{name: theirs, when: {{groups: [{named}]}}, allow: {{roles: [Reader], accounts: [shop-prod]}}}}
        """)
    assert roles(compiled, identity(groups=("engineering", "Contractors"))) == []
    assert roles(compiled, identity(groups=("Engineering",))) == []
    assert roles(compiled, identity(groups=("contractors",))) == [role(PROD, "Reader")]


def test_those_whom_a_deny_leaves_out_are_named_by_the_letter():
    """`none_of` of a deny gives: a group that only looks like it does not."""
    compiled = mapping("""
        - {name: give, when: {groups: ["*"]}, allow: {roles: [Admin], accounts: [shop-prod]}}
        - {name: no, when: {none_of: [admins]}, deny: {accounts: [shop-prod]}}
        """)
    assert roles(compiled, identity(groups=("admins",))) == [role(PROD, "Admin")]
    assert roles(compiled, identity(groups=("Admins",))) == []


def test_a_deny_compares_attributes_in_any_case_and_an_allow_by_the_letter():
    compiled = mapping("""
        - {name: give, when: {groups: [engineering]}, allow: {roles: [Admin], accounts: [shop-prod]}}
        - {name: more, when: {attributes: {city: Berlin}}, allow: {roles: [Reader], accounts: [shop-prod]}}
        - {name: no, when: {attributes: {department: Leasing}}, deny: {roles: [Admin]}}
        """)
    for department, city, left in (("LEASING", "Berlin", ["Reader"]), ("sales", "berlin", ["Admin"])):
        who = identity(groups=("engineering",), attributes={"department": (department,), "city": (city,)})
        assert roles(compiled, who) == [role(PROD, name) for name in left]


def test_a_deny_by_captures_finds_them_whatever_the_case():
    compiled = mapping(r"""
        - {name: all, when: {groups: [engineering]}, allow: {roles: [Admin], accounts: ["*"]}}
        - {name: no, when: {groups: [{regex: "^not-(?P<account>\\d{12})-(?P<role>.+)$"}]}, deny: {arns: ["arn:aws:iam::{account}:role/{role}"]}}
        """)
    person = identity(groups=("engineering", f"NOT-{PROD}-admin"))
    assert roles(compiled, person) == [role(DEV, "Admin"), role(STAGING, "Admin")]
