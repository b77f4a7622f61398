"""The document of the design page, every key of the schema, and the way back to YAML."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from federation.mapping.document import parse, to_yaml
from federation.mapping.durations import format_duration, parse_duration, spoken_duration
from federation.mapping.rules import (
    DEFAULT_MFA,
    Account,
    AccountSelector,
    Approval,
    ClaimMap,
    Delegation,
    GroupMatch,
    OidcProvider,
    SamlProvider,
    SessionOptions,
    StaffRule,
    Target,
    When,
)
from tests.cast import PROD

EVERYTHING = r"""
version: 1
identity_providers:
  - slug: corp
    name: Example Corp
    saml: {metadata_url: "https://idp.example.com/metadata", sign_requests: false, allow_unsolicited: true, encrypted_assertions: true}
    claims: {subject: NameID, email: mail, name: displayName, groups: memberOf, attributes: {department: dept}, mfa: ["urn:x:mfa"]}
    email_domains: [example.com, example.org]
  - slug: entra
    name: Entra
    oidc: {issuer: "https://login.example.com/t/v2.0", client_id: rolegate, client_secret: "${ENTRA_SECRET}", scopes: [openid, groups], token_endpoint_auth_method: client_secret_post}
    enabled: false
accounts:
  - {id: "111122223333", name: shop-prod, partition: aws, federation: saml, provider: rolegate, region: eu-west-1, tags: {environment: production}, organizational_unit: ou-ab12-3}
  - {id: "444455556666", name: cn, partition: aws-cn, federation: oidc, region: cn-north-1}
staff:
  - {role: owner, groups: [cloud-platform]}
  - {role: account-owner, groups: ["owners-*"], accounts: ["111122223333", "c*"]}
mapping:
  - name: everything
    when:
      groups: [engineering, "aws-*", {regex: "^aws-(?P<account>\\d{12})-(?P<role>.+)$"}, {exact: "a*b"}]
      all_of: [employees]
      none_of: [{regex: "^ext-.*$"}]
      provider: corp
      attributes: {department: [platform, data]}
      mfa: true
      from: 2026-01-01
      until: "2026-12-31T12:00:00+02:00"
    allow:
      roles: [ReadOnly, team/Deployer, "Dev*"]
      accounts: {ids: ["111122223333"], names: ["shop-*"], tags: {environment: production}, organizational_units: [ou-ab12-3]}
      arns: ["arn:aws:iam::{account}:role/{role}", "arn:aws:iam::111122223333:role/team/Fixed"]
    session:
      duration: 1h30m
      console_duration: 28800
      policy: {Version: "2012-10-17", Statement: [{Effect: Deny, Action: "*", Resource: "*"}]}
      policy_arns: ["arn:aws:iam::aws:policy/ReadOnlyAccess"]
      tags: {Team: "{attributes.department}", Who: "{email}", Role: "r-{role}"}
      transitive_tags: [Team]
    approval: {by: [sre-leads, {glob: "on-call-*"}], at_most: 4h, reason: optional}
  - name: nobody-from-outside
    deny: {roles: [Admin], accounts: shop-prod}
delegations:
  - {accounts: {tags: {environment: production}}, groups: ["shop-*"], max_duration: 2h}
"""


def test_every_key_is_read():
    document = parse(EVERYTHING)
    corp, entra = document.identity_providers
    assert corp.saml == SamlProvider(
        "https://idp.example.com/metadata", sign_requests=False, allow_unsolicited=True, encrypted_assertions=True
    )
    assert corp.claims == ClaimMap("NameID", "mail", "displayName", "memberOf", {"department": "dept"}, ("urn:x:mfa",))
    assert corp.email_domains == ("example.com", "example.org")
    assert corp.enabled
    assert corp.oidc is None
    assert entra.oidc == OidcProvider(
        "https://login.example.com/t/v2.0", "rolegate", "${ENTRA_SECRET}", ("openid", "groups"), "client_secret_post"
    )
    assert not entra.enabled
    assert entra.claims == ClaimMap("sub", "email", "name", "groups", {}, DEFAULT_MFA)
    assert document.accounts[0] == Account(
        PROD, "shop-prod", "aws", "saml", "rolegate", "eu-west-1", {"environment": "production"}, "ou-ab12-3"
    )
    assert (document.accounts[1].partition, document.accounts[1].provider) == ("aws-cn", "rolegate")
    assert document.staff == (
        StaffRule("owner", (GroupMatch("exact", "cloud-platform"),)),
        StaffRule("account-owner", (GroupMatch("glob", "owners-*"),), AccountSelector(ids=(PROD,), names=("c*",))),
    )
    rule, other = document.rules
    assert rule.when == When(
        groups=(
            GroupMatch("exact", "engineering"),
            GroupMatch("glob", "aws-*"),
            GroupMatch("regex", r"^aws-(?P<account>\d{12})-(?P<role>.+)$"),
            GroupMatch("exact", "a*b"),
        ),
        all_of=(GroupMatch("exact", "employees"),),
        none_of=(GroupMatch("regex", "^ext-.*$", fold=True),),
        provider=("corp",),
        attributes={"department": ("platform", "data")},
        mfa=True,
        from_=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 12, 31, 10, 0, tzinfo=UTC),
    )
    assert rule.allow == Target(
        ("ReadOnly", "team/Deployer", "Dev*"),
        AccountSelector((PROD,), ("shop-*",), {"environment": ("production",)}, ("ou-ab12-3",)),
        ("arn:aws:iam::{account}:role/{role}", "arn:aws:iam::111122223333:role/team/Fixed"),
    )
    assert rule.session == SessionOptions(
        5400,
        28800,
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}',
        ("arn:aws:iam::aws:policy/ReadOnlyAccess",),
        {"Team": "{attributes.department}", "Who": "{email}", "Role": "r-{role}"},
        ("Team",),
    )
    assert rule.approval == Approval(
        (GroupMatch("exact", "sre-leads"), GroupMatch("glob", "on-call-*")), 14400, "optional"
    )
    assert (rule.name, rule.line, other.line) == ("everything", 20, 42)
    assert other.when == When()
    assert other.deny == Target(("Admin",), AccountSelector(names=("shop-prod",)))
    assert document.delegations == (
        Delegation(AccountSelector(tags={"environment": ("production",)}), ("shop-*",), 7200),
    )


def test_the_way_back_gives_the_same_document_and_is_canonical():
    document = parse(EVERYTHING)
    written = to_yaml(document)
    assert parse(written) == document
    assert to_yaml(parse(written)) == written


def test_json_is_read_as_well():
    document = parse(EVERYTHING)
    text = json.dumps(
        {
            "version": 1,
            "accounts": [{"id": PROD, "name": "shop-prod \U0001f600", "tags": {"environment": "production"}}],
            "mapping": [
                {
                    "name": "tab\u00e9",
                    "when": {"groups": ["engineering"], "mfa": False},
                    "allow": {"roles": ["ReadOnly"]},
                }
            ],
        },
        indent="\t",
    )
    read = parse(text)
    assert read.accounts[0].name == "shop-prod \U0001f600"
    assert read.rules[0].name == "tabé"
    assert read.rules[0].when.mfa is False
    assert read != document


def test_json_with_escaped_backslashes_keeps_them():
    text = '{"version": 1, "mapping": [{"name": "r", "when": {"groups": [{"exact": "a\\\\ud83d\\\\ude00"}]}, "allow": {"roles": ["R"]}}]}'
    assert parse(text).rules[0].when.groups[0].pattern == r"a\ud83d\ude00"


@pytest.mark.parametrize(
    ("policy", "inline", "arns"),
    [
        ("read-only", "read-only", ()),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "", ("arn:aws:iam::aws:policy/ReadOnlyAccess",)),
        (
            ["arn:aws:iam::aws:policy/A", "arn:aws:iam::111122223333:policy/team/B"],
            "",
            ("arn:aws:iam::aws:policy/A", "arn:aws:iam::111122223333:policy/team/B"),
        ),
        ('{"Version": "2012-10-17",\n "Statement": []}', '{"Version":"2012-10-17","Statement":[]}', ()),
        (
            {"Version": "2012-10-17", "Statement": {"N": 3, "F": 1.5, "T": True, "Z": None}},
            '{"Version":"2012-10-17","Statement":{"N":3,"F":"1.5","T":true,"Z":null}}',
            (),
        ),
    ],
)
def test_a_session_policy_can_be_said_in_each_way(policy, inline, arns):
    rule = {"name": "r", "when": {"groups": ["g"]}, "allow": {"roles": ["R"]}, "session": {"policy": policy}}
    session = parse(json.dumps({"version": 1, "mapping": [rule]})).rules[0].session
    assert (session.policy, session.policy_arns) == (inline, arns)


def test_words_that_old_yaml_took_for_booleans_stay_group_names():
    read = parse("version: 1\nstaff: [{role: auditor, groups: [no, on, y, off]}]")
    assert [match.pattern for match in read.staff[0].groups] == ["no", "on", "y", "off"]
    assert parse(to_yaml(read)) == read


def test_empty_sections_are_the_same_as_none():
    assert parse("version: 1\nmapping:\naccounts: []\nstaff:") == parse("version: 1")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1d", 86400), ("1h1m1s", 3661)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1h 30m", "30m1h", "-1h", "1.5h", "١h", "1h\n"])
def test_what_is_no_duration(text):
    assert parse_duration(text) is None


def test_durations_in_sentences():
    assert [spoken_duration(s) for s in (0, 1, 3600, 5400, 7261)] == [
        "0 seconds",
        "1 second",
        "1 hour",
        "1 hour 30 minutes",
        "2 hours 1 minute 1 second",
    ]
    assert format_duration(0) == "0s"


def test_nothing_in_a_document_can_be_changed_afterwards():
    document = parse(EVERYTHING)
    with pytest.raises(TypeError):
        document.rules[0].session.tags["Team"] = "other"  # type: ignore[index]
    with pytest.raises(TypeError):
        document.accounts[0].tags["environment"] = "sandbox"  # type: ignore[index]


def test_a_secret_is_in_no_repr():
    assert "ENTRA_SECRET" not in repr(parse(EVERYTHING))
