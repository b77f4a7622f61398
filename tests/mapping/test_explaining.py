"""Every yes and every no says why, in words and as data."""

from __future__ import annotations

import json

from federation.mapping.explain import explain
from tests.cast import DEV, NOW, PROD, STAGING, identity, role
from tests.mapping.kit import listing, mapping

COMPILED = mapping(r"""
    - {name: read, when: {groups: [engineering, "eng-*"]}, allow: {roles: [ReadOnly], accounts: {tags: {environment: production}}}}
    - {name: admin, when: {groups: [engineering], mfa: true, provider: entra}, allow: {roles: [Admin], accounts: ["shop-*"]}, approval: {by: [leads, "sre-*"], at_most: 4h}}
    - {name: picky, when: {all_of: [a, b], none_of: [c], attributes: {department: [x, z]}, until: 2026-01-01}, allow: {roles: ["Pick*"], accounts: {organizational_units: [Root/Prod]}}}
    - {name: named, when: {groups: [{regex: "^aws-(?P<role>.+)$"}]}, allow: {arns: ["arn:aws:iam::111122223333:role/{role}"]}}
    - {name: later, when: {groups: [engineering], from: 2027-01-01}, allow: {roles: [Later]}}
    - {name: now, when: {groups: [engineering], from: 2026-01-01, until: 2027-01-01}, allow: {roles: [Later], accounts: [shop-prod]}}
    - {name: "no", when: {groups: [contractors]}, deny: {accounts: {tags: {environment: production}}}}
    - {name: never, deny: {roles: [Root]}}
    """)


def reasons(name, account=PROD, catalogue=None, **more):
    explanation = explain(COMPILED, identity(**more), role(account, name), NOW, catalogue or {})
    return {rule.name: (rule.matched, *rule.reasons) for rule in explanation.rules}


def test_a_yes():
    assert reasons("ReadOnly") == {
        "read": (
            True,
            "has group engineering",
            "account shop-prod has tag environment=production",
            "gives ReadOnly in shop-prod",
        ),
        "named": (
            False,
            "does not have any of: /^aws-(?P<role>.+)$/",
            "would give ReadOnly in shop-prod if its conditions held",
        ),
        "no": (
            False,
            "does not have any of: contractors",
            "account shop-prod has tag environment=production",
            "would deny ReadOnly in shop-prod if its conditions held",
        ),
    }


def test_a_glob_says_which_group_it_named():
    assert reasons("ReadOnly", groups=("eng-b", "eng-a"))["read"][1] == "has group eng-a, which eng-* names"


def test_a_no_for_the_account():
    found = reasons("ReadOnly", DEV)
    assert found["read"] == (
        False,
        "has group engineering",
        "account sand-dev does not have tag environment=production",
        "does not reach this account",
    )
    assert "account shop-staging does not have tag environment=production" in reasons("x", STAGING)["no"]


def test_a_deny():
    found = reasons("ReadOnly", groups=("engineering", "contractors"))
    assert found["no"] == (
        True,
        "has group contractors",
        "account shop-prod has tag environment=production",
        "denies ReadOnly in shop-prod",
    )
    assert reasons("Root", DEV)["never"] == (
        True,
        "has no condition: it counts for everybody",
        "denies Root in sand-dev",
    )


def test_an_approval():
    admin = reasons("Admin")["admin"]
    assert admin[:3] == (False, "second factor was not used", "signed in at corp, not at entra")
    assert admin[-1] == "needs an approval by one of: leads, sre-*, for at most 4 hours"
    yes = explain(COMPILED, identity(mfa=True, provider="entra"), role(PROD, "Admin"), NOW)
    assert yes.verdict.code == "approval_required"
    assert "admin gives it once it is approved (line 11)" in yes.as_text()
    assert "signed in at entra\n" in yes.as_text()


def test_the_other_conditions():
    picky = reasons("Picker", attributes={})["picky"]
    assert "has not all of: a, b; missing is a, b" in picky
    assert "has none of: c" in picky
    assert "attribute department is not there, not x or z" in picky
    assert "counted only until 2026-01-01 00:00 UTC" in picky
    assert "account shop-prod is in organizational unit Root/Prod" in picky
    picky = reasons("Picker", DEV, groups=("a", "b", "c"), attributes={"department": ("y", "z")})["picky"]
    assert "has all of: a, b" in picky
    assert "has group c, and must have none of: c" in picky
    assert "has attribute department=z" in picky
    assert "account sand-dev is not in organizational unit Root/Prod" in picky
    assert "attribute department is y, not x or z" in reasons("Picker", attributes={"department": ("y",)})["picky"]
    assert "counts only from 2027-01-01 00:00 UTC" in reasons("Later")["later"]
    assert "counts from 2026-01-01 00:00 UTC until 2027-01-01 00:00 UTC" in reasons("Later")["now"]
    assert "account sand-dev is not one of: shop-prod" in reasons("Later", DEV)["now"]


def test_captures_that_name_other_roles():
    words = "the captures of this person's groups name other roles"
    assert reasons("X", groups=("aws-Y",))["named"] == (
        False,
        "has group aws-Y, which /^aws-(?P<role>.+)$/ names",
        words,
    )
    known = listing(role(PROD, "X"), role(PROD, "Y"))
    assert reasons("X", catalogue=known, groups=("aws-Y",))["named"][-1] == words
    assert reasons("Y", catalogue=known, groups=("aws-Y",))["named"][0] is True


def test_a_pattern_over_an_account_that_is_not_known_yet():
    compiled = mapping('- {name: all, when: {groups: [engineering]}, allow: {roles: ["Re*"]}}')
    explanation = explain(compiled, identity(), role(PROD, "Reader"), NOW)
    assert explanation.rules[0].reasons[-1].endswith("the account's roles are not known yet")
    assert explain(compiled, identity(), role(PROD, "Reader"), NOW, listing(role(PROD, "Reader"))).verdict.allowed


def test_an_exact_member_of_a_rule_by_captures():
    compiled = mapping(r"""
        - {name: mixed, when: {groups: [engineering, {regex: "^aws-(?P<role>.+)$"}]}, allow: {arns: ["arn:aws:iam::111122223333:role/{role}"]}}
        """)
    found = explain(compiled, identity(), role(PROD, "X"), NOW)
    assert found.rules[0].reasons[-1] == "no group gives the captures that its ARNs need"


def test_roles_that_cannot_be_say_why_without_rules():
    for arn, words in (
        ("x", "not the ARN"),
        (role("999999999999", "R"), "neither in the mapping document"),
        (role(PROD, "AWSReservedSSO_x"), "Identity Center"),
    ):
        explanation = explain(COMPILED, identity(), arn, NOW)
        assert explanation.rules == ()
        assert words in explanation.as_text()
        assert explanation.as_text().splitlines()[1] == "No."


def test_a_role_that_no_rule_names():
    text = explain(COMPILED, identity(), role(DEV, "Nothing"), NOW).as_text()
    assert "No rule of the mapping names this role." in text


def test_as_data():
    data = explain(COMPILED, identity(groups=("engineering", "contractors")), role(PROD, "ReadOnly"), NOW).as_dict()
    assert json.loads(json.dumps(data)) == data
    assert (data["allowed"], data["code"], data["rule"]) == (False, "denied_by_rule", None)
    assert data["reasons"][0]["rule"] == "no"
    assert [rule["effect"] for rule in data["rules"]] == ["allow", "allow", "deny"]
    assert data["rules"][0]["line"] == 10
    assert explain(COMPILED, identity(), role(PROD, "ReadOnly"), NOW).as_dict()["rule"] == "read"


def test_long_lists_are_cut():
    many = ", ".join(f"g{n}" for n in range(14))
    compiled = mapping(f"- {{name: r, when: {{groups: [{many}]}}, allow: {{roles: [R]}}}}")
    assert "and 4 more" in explain(compiled, identity(), role(PROD, "R"), NOW).as_text()
