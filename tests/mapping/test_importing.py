"""Conventions that companies already have, taken over and then decided by the engine itself."""

import json
from dataclasses import replace

import pytest

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.importing import (
    CONVENTIONS,
    ImportRefused,
    consoleme,
    decoded,
    identity_center,
    keycloak,
    merged,
    names,
    okta,
    usable,
)
from federation.mapping.rules import Account, Document
from federation.mapping.writing import to_yaml
from tests.cast import DEV, NOW, PROD, identity

ACCOUNTS = (Account(id=PROD, name="shop-prod"), Account(id=DEV, name="shop-dev"))


def roles(imported, *groups):
    """What somebody in these groups gets by the imported rules, after a round trip through the document."""
    document = parse(to_yaml(Document(accounts=ACCOUNTS, rules=imported.rules)))
    decision = compile_mapping(document).decide(identity(groups=groups), NOW)
    return [grant.role_arn for grant in decision.grants]


def arn(account, role):
    return f"arn:aws:iam::{account}:role/{role}"


def test_okta_groups_give_what_they_say():
    assert roles(okta(), f"aws#shop#ReadOnly#{PROD}", f"aws#dev#Admin#{DEV}", "engineering") == [
        arn(DEV, "Admin"),
        arn(PROD, "ReadOnly"),
    ]


def test_aws_account_role_groups_give_what_they_say():
    assert roles(names(), f"aws-{PROD}-Read-Only", f"xaws-{PROD}-Admin", "aws-1-Admin") == [arn(PROD, "Read-Only")]


@pytest.mark.parametrize("between", [",", " , "])
def test_keycloak_values_in_either_order(between):
    provider = f"arn:aws:iam::{PROD}:saml-provider/keycloak"
    assert roles(keycloak(), f"{arn(PROD, 'Ops')}{between}{provider}") == [arn(PROD, "Ops")]
    assert roles(keycloak(), f"{provider}{between}{arn(PROD, 'Ops')}") == [arn(PROD, "Ops")]


@pytest.mark.parametrize(
    ("imported", "group"),
    [
        (okta(), f"aws#shop#ReadOnly,{arn(PROD, 'Admin')}#{PROD}"),
        (okta(), f"aws#shop#../Admin#{PROD}"),
        (okta(), f"aws#shop#ReadOnly#{PROD}\n"),
        (names(), f"aws-{PROD}-Admin/Other"),
        (names(), "aws-999988887777-Admin"),  # an account that the document does not know
        (keycloak(), f"{arn(PROD, 'Ops')},{arn(PROD, 'Admin')}"),
        (keycloak(), f"{arn(PROD, 'Ops')},arn:aws:iam::{PROD}:saml-provider/k,{arn(PROD, 'Admin')}"),
    ],
)
def test_a_group_that_bends_the_convention_gives_nothing(imported, group):
    assert roles(imported, group) == []


def test_identity_center_assignments_become_rules():
    exported = {
        "AccountAssignments": [
            {"PrincipalType": "GROUP", "PrincipalName": "SRE team", "PermissionSetName": "Admin", "AccountId": PROD},
            {"PrincipalType": "GROUP", "PrincipalName": "SRE team", "PermissionSetName": "Admin", "AccountId": DEV},
            {
                "PrincipalType": "USER",
                "PrincipalName": "bob@example.com",
                "PermissionSetName": "Admin",
                "AccountId": PROD,
            },
            {"PrincipalType": "GROUP", "PrincipalId": "9067-1234", "PermissionSetName": "Admin", "AccountId": PROD},
            {"PrincipalType": "GROUP", "PrincipalName": "x", "PermissionSetName": "Admin", "AccountId": "12"},
        ]
    }
    imported = identity_center(json.dumps(exported))
    assert [rule.name for rule in imported.rules] == ["sre-team-admin-1"]
    assert roles(imported, "SRE team") == [arn(DEV, "Admin"), arn(PROD, "Admin")]
    assert roles(imported, "sre team") == []
    assert [line.split(":")[0] for line in imported.left_out] == ["entry 3", "entry 4", "entry 5"]


def test_consoleme_tags_become_rules():
    listing = [
        {
            "Arn": arn(PROD, "Ops"),
            "Tags": [{"Key": "consoleme-authorized", "Value": "sre@example.com:dba@example.com"}],
        },
        {"Arn": arn(PROD, "Cli"), "Tags": [{"Key": "consoleme-authorized-cli-only", "Value": "sre@example.com"}]},
        {"Arn": arn(PROD, "Plain"), "Tags": [{"Key": "owner", "Value": "sre@example.com"}]},
        {
            "Arn": f"arn:aws:iam::{PROD}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef",
            "Tags": [{"Key": "consoleme-authorized", "Value": "sre@example.com"}],
        },
    ]
    imported = consoleme(json.dumps({"RoleDetailList": listing}))
    assert roles(imported, "sre@example.com") == [arn(PROD, "Cli"), arn(PROD, "Ops")]
    assert roles(imported, "dba@example.com") == [arn(PROD, "Ops")]
    assert len(imported.left_out) == 1
    assert "AWSReservedSSO" in imported.left_out[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not_json"),
        ("{}", "not_a_list"),
        ('"x"', "not_a_list"),
        ('{"assignments": 3}', "not_a_list"),
        ("[1]", "entry_not_an_object"),
        ("", "not_json"),
        ("[" * 100_000 + "]" * 100_000, "not_json"),
    ],
)
def test_another_file_is_refused_whole(text, reason):
    with pytest.raises(ImportRefused) as caught:
        identity_center(text)
    assert caught.value.reason == reason
    assert caught.value.code == "import_refused"


def test_an_odd_entry_is_named_and_keeps_out_no_other():
    odd = {"PrincipalName": "a\u202eb"}, {"PrincipalName": "x" * 5000}, {"PermissionSetName": "AWSReservedSSO_x"}, {"PermissionSetName": "a,b"}  # fmt: skip
    plain = {"PermissionSetName": "ReadOnly", "AccountId": PROD, "PrincipalType": "GROUP"}
    entries = [{**plain, "PrincipalName": f"g{number}"} for number in range(7)]
    entries[3:3] = [{**plain, "PrincipalName": f"odd{number}", **more} for number, more in enumerate(odd)]
    imported = usable(identity_center(json.dumps(entries)))
    assert [str(rule.when.groups[0]) for rule in imported.rules] == [f"g{number}" for number in range(7)]
    assert len(imported.left_out) == 4
    for words in ("U+202E", "1,024 characters", "belong to IAM Identity Center", '"a,b" is none'):
        assert sum(words in line for line in imported.left_out) == 1
    assert usable(okta()) == okta()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_as_powershell_writes_it(encoding):
    assert decoded('["Größe"]'.encode(encoding)) == '["Größe"]'


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_every_convention_makes_a_document_that_parses(name):
    rules = CONVENTIONS[name]("[]").rules
    assert parse(to_yaml(Document(rules=rules))).rules == rules


def test_a_rule_that_is_there_already_stays_as_it_is():
    mine = replace(okta().rules[0], name="okta-groups", when=names().rules[0].when)
    rules, said = merged([mine], okta())
    assert rules == (mine,)
    assert said == ("okta-groups: there is a rule of this name already",)
