"""What is wrong is refused whole, with path, line and what would be right."""

from __future__ import annotations

import json

import pytest

from federation.mapping.document import parse
from tests.mapping.kit import HEAD, faults, rules

RULE = "name: r\n  when: {groups: [g]}\n  allow: {roles: [R]}\n"


def one(text: str, path: str, *words: str) -> None:
    """Exactly one fault, at this path, with these words."""
    found = faults(text)
    assert [fault.path for fault in found] == [path], found
    for word in words:
        assert word in found[0].message, found[0].message


def test_all_faults_come_at_once_with_their_lines():
    text = rules("""
        - name: a
          when: {grops: [engineering]}
          allow: {roles: [ReadOnly], accounts: {tags: {environment: production}}}
        - name: b
          when: {groups: [{regex: "("}]}
          allow: {roles: [Reader]}
          session: {duration: 5m}
        - name: a
          when: {groups: [x]}
          deny: {roles: [Reader]}
          approval: {by: [y], at_most: 1h}
        """)
    assert [(f.path, f.line) for f in faults(text)] == [
        ("mapping[0].when.grops", 11),
        ("mapping[1].when.groups[0].regex", 14),
        ("mapping[1].session.duration", 16),
        ("mapping[2]", 17),
        ("mapping[2].approval", 20),
    ]
    assert str(faults(text)[0]) == 'line 11: mapping[0].when.grops: unknown key; did you mean "groups"?'


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("mapping: []", "", ["`version` is missing"]),
        ("version: 2", "version", ["1 is the only version"]),
        ('version: "1"', "version", ["1 is the only version"]),
        ("version: 1\nrules: []", "rules", ["unknown key"]),
        ("version: 1\nmaping: []", "maping", ['did you mean "mapping"?']),
        ("version: 1\nmapping: {}", "mapping", ["a list is wanted here, not a mapping"]),
        ("version: 1\nmapping: [x]", "mapping[0]", ["a mapping with name, when, allow", "not text"]),
        ("version: 1\nversion: 1", "version", ["twice"]),
        ("[]", "", ["a mapping with version", "not a list"]),
    ],
)
def test_the_whole(text, path, words):
    one(text, path, *words)


@pytest.mark.parametrize(
    ("provider", "path", "words"),
    [
        ({"slug": "Corp", "oidc": None}, "slug", ['such as "corp"', '"Corp"']),
        ({"oidc": None}, "", ["`slug` is missing"]),
        ({"saml": {"metadata_url": "https://x.example"}}, "", ["exactly one of saml and oidc"]),
        ({"oidc": None, "saml": {}}, "saml", ["exactly one of metadata_url"]),
        (
            {"oidc": None, "saml": {"metadata_url": "https://x.example", "metadata_file": "/x"}},
            "saml",
            ["exactly one of metadata_url"],
        ),
        ({"oidc": None, "saml": {"metadata_url": "http://idp.example.com/"}}, "saml.metadata_url", ["an https URL"]),
        (
            {"oidc": None, "saml": {"metadata_url": "https://u:p@idp.example.com/"}},
            "saml.metadata_url",
            ["without user name"],
        ),
        ({"oidc": None, "saml": {"metadata_url": "https://[::1"}}, "saml.metadata_url", ["an https URL"]),
        ({"oidc": None, "saml": {"metadata_url": "file:///etc/passwd"}}, "saml.metadata_url", ["an https URL"]),
        ({"oidc": None, "saml": {"metadata_url": 7}}, "saml.metadata_url", ["not a number"]),
        (
            {"oidc": None, "saml": {"metadata_xml": "<x/>", "metadata_certificate": "x"}},
            "saml.metadata_certificate",
            ["PEM"],
        ),
        (
            {"oidc": None, "saml": {"metadata_xml": "<x/>", "sign_requests": "yes"}},
            "saml.sign_requests",
            ["true or false"],
        ),
        ({"oidc": {"issuer": "https://x.example"}}, "oidc", ["`client_id` is missing"]),
        ({"oidc": {"issuer": "https://x.example", "client_id": "c", "scopes": ["profile"]}}, "oidc.scopes", ["openid"]),
        *(
            (
                {"oidc": {"issuer": "https://x.example", "client_id": "c", "client_secret": secret}},
                "oidc.client_secret",
                ['a reference is "${NAME}"'],
            )
            for secret in ("${entra_secret}", "${A}${B}", "x-${A}", "${A", "${}")
        ),
        (
            {"oidc": {"issuer": "https://x.example", "client_id": "c", "scopes": ["openid", "a b"]}},
            "oidc.scopes[1]",
            ["without spaces"],
        ),
        (
            {"oidc": {"issuer": "https://x.example", "client_id": "c", "token_endpoint_auth_method": "secret"}},
            "oidc.token_endpoint_auth_method",
            ["client_secret_post"],
        ),
        (
            {"oidc": {"issuer": "https://x.example", "client_id": "c", "client_sekret": "s3cr3t"}},
            "oidc.client_sekret",
            ['did you mean "client_secret"?'],
        ),
        ({"claims": {"attributes": {"a b": "x"}}}, "claims.attributes.a b", ["name"]),
        ({"claims": {"groups": ["x"]}}, "claims.groups", ["text is wanted here, not a list"]),
        ({"email_domains": ["Example.com"]}, "email_domains[0]", ["lower case"]),
        ({"enabled": 1}, "enabled", ["true or false"]),
        ({"name": ""}, "name", ["this is empty"]),
        ({"name": "x" * 200}, "name", ["at most 128"]),
        ({"name": "x\u202ey"}, "name", ["U+202E"]),
    ],
)
def test_identity_providers(provider, path, words):
    usual = {"slug": "corp", "oidc": {"issuer": "https://login.example.com", "client_id": "c"}}
    entry = {k: v for k, v in (usual | provider).items() if v is not None}
    if provider == {"oidc": None}:
        entry = {"saml": {"metadata_file": "/etc/rolegate/idp.xml"}}
    if provider.get("slug") == "Corp":
        entry["saml"] = {"metadata_file": "/etc/rolegate/idp.xml"}
    one(
        json.dumps({"version": 1, "identity_providers": [entry]}),
        ".".join(filter(None, ["identity_providers[0]", path])),
        *words,
    )


def test_a_secret_is_never_repeated_in_a_fault():
    text = json.dumps(
        {
            "version": 1,
            "identity_providers": [
                {
                    "slug": "x",
                    "oidc": {"issuer": "http://bad.example", "client_id": "c", "client_secret": "canary-" + "s" * 2000},
                }
            ],
        }
    )
    assert not any("canary" in str(fault) for fault in faults(text))
    assert [fault.path for fault in faults(text)][-1].endswith("client_secret")


@pytest.mark.parametrize(
    ("account", "path", "words"),
    [
        ({"id": 111122223333}, "id", ['write "111122223333" in quotes']),
        ({"id": "11112222333"}, "id", ["12 digits"]),
        ({"id": "١١١١٢٢٢٢٣٣٣٣"}, "id", ["12 digits"]),
        ({"id": ["1"]}, "id", ["not a list"]),
        ({"partition": "aws-moon"}, "partition", ["one of aws, aws-cn, aws-us-gov, aws-eusc"]),
        ({"federation": "ldap"}, "federation", ["one of saml, oidc"]),
        ({"region": "mars"}, "region", ["eu-west-1"]),
        ({"region": "moon-base-1"}, "region", ['"moon-base-1" is no region of the partition aws', 'like "eu-west-1"']),
        ({"region": "eu-wset-1"}, "region", ['did you mean "eu-west-1"?']),
        ({"region": "eu-west-1b"}, "region", ['did you mean "eu-west-1"?']),
        ({"region": "cn-north-1"}, "region", ["no region of the partition aws; it is one of aws-cn"]),
        ({"partition": "aws-cn", "region": "cn-nroth-1"}, "region", ['did you mean "cn-north-1"?']),
        ({"partition": "aws-us-gov", "region": "us-east-1"}, "region", ["no region of the partition aws-us-gov"]),
        ({"partition": "aws-eusc"}, "", ["write federation: oidc"]),
        ({"partition": "aws-eusc", "federation": "saml"}, "federation", ["write federation: oidc"]),
        ({"provider": "a/b"}, "provider", ["IAM SAML provider"]),
        ({"tags": {"a": 1}}, "tags.a", ["put it in quotes"]),
        ({"tags": ["a"]}, "tags", ["a mapping from key to value"]),
        ({"name": None}, "name", ["not nothing"]),
    ],
)
def test_accounts(account, path, words):
    text = json.dumps({"version": 1, "accounts": [{"id": "111122223333", "name": "a"} | account]})
    one(text, ".".join(filter(None, ["accounts[0]", path])), *words)


def test_names_and_ids_must_be_their_own():
    text = (
        HEAD.replace("shop-staging", "shop-prod")
        .replace("333344445555", "111122223333")
        .replace("slug: entra", "slug: corp")
    )
    assert [fault.path for fault in faults(text)] == [
        "identity_providers[1].slug",
        "accounts[1].name",
        "accounts[2].id",
    ]


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ({"role": "admin", "groups": ["g"]}, "role", ["one of owner, mapper"]),
        ({"role": "owner"}, "", ["`groups` is missing"]),
        ({"role": "owner", "groups": []}, "groups", ["the list is empty"]),
        ({"role": "account-owner", "groups": ["g"]}, "", ["name them under accounts"]),
        ({"role": "auditor", "groups": ["g"], "accounts": ["shop-*"]}, "accounts", ["belongs to account-owner"]),
        ({"role": "account-owner", "groups": ["g"], "accounts": [111122223333]}, "accounts[0]", ["in quotes"]),
        ({"role": "owner", "groups": ["g"], "provider": []}, "provider", ["the list is empty"]),
        ({"role": "owner", "groups": ["g"], "provider": "No Slug"}, "provider", ["lower-case"]),
    ],
)
def test_staff(entry, path, words):
    one(json.dumps({"version": 1, "staff": [entry]}), ".".join(filter(None, ["staff[0]", path])), *words)


def test_delegations():
    one(
        'version: 1\ndelegations: [{accounts: {ids: ["111122223333"]}, groups: [a], max_duration: 24h}]',
        "delegations[0].max_duration",
        "43,200",
    )
    one("version: 1\ndelegations: [{groups: [a]}]", "delegations[0]", "`accounts` is missing")


@pytest.mark.parametrize(
    "entry", ["staff: [{role: owner, groups: [a]", 'delegations: [{accounts: ["shop-*"], groups: [a]']
)
def test_a_provider_that_is_not_there(entry):
    one(
        f"{HEAD}{entry}, provider: corb}}]",
        entry.partition(":")[0] + "[0].provider",
        'the slug "corb"',
        'did you mean "corp"',
    )


def rule(**changes: object) -> str:
    """HEAD with one rule, some of its keys changed (None takes one away)."""
    usual: dict[str, object] = {"name": "r", "when": {"groups": ["g"]}, "allow": {"roles": ["R"]}}
    entry = {key: value for key, value in (usual | changes).items() if value is not None}
    return HEAD + "mapping:\n  - " + json.dumps(entry, ensure_ascii=False) + "\n"


CAPTURING = {"groups": [{"regex": "^aws-(?P<account>[0-9]{12})-(?P<role>.+)$"}]}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"name": None}, "", ["`name` is missing"]),
        ({"name": ""}, "name", ["empty"]),
        ({"allow": None}, "", ["exactly one of allow and deny"]),
        ({"deny": {"roles": ["R"]}}, "", ["exactly one of allow and deny"]),
        ({"when": None}, "", ["`when` is missing"]),
        ({"when": {}}, "when", ["the condition is empty"]),
        ({"when": {"groups": []}}, "when.groups", ["the list is empty"]),
        ({"when": {"groups": [7]}}, "when.groups[0]", ["put it in quotes"]),
        ({"when": {"groups": ["g", "g"]}}, "when.groups[1]", ["twice"]),
        (
            {"when": {"groups": [{"regex": "a", "glob": "b"}]}},
            "when.groups[0]",
            ["exactly one of exact, glob and regex"],
        ),
        ({"when": {"groups": [{"regexp": "a"}]}}, "when.groups[0].regexp", ['did you mean "regex"?']),
        ({"when": {"groups": [{"regex": "(?=a)"}]}}, "when.groups[0].regex", ["does not compile", "RE2"]),
        ({"when": {"groups": [{"regex": "(a)\\1"}]}}, "when.groups[0].regex", ["does not compile"]),
        ({"when": {"groups": [{"regex": "x" * 1025}]}}, "when.groups[0].regex", ["at most 1,024"]),
        ({"when": {"groups": [{"regex": "(\\pL{50}){20}"}]}}, "when.groups[0].regex", ["expression"]),
        ({"when": {"none_of": [{"regex": "ext"}]}}, "when.none_of[0]", ["^.*…$"]),
        ({"allow": None, "deny": {"roles": ["R"]}, "when": {"groups": [{"regex": "ext$"}]}}, "when.groups[0]", ["^…$"]),
        ({"when": {"provider": "crop"}}, "when.provider", ['did you mean "corp"?']),
        ({"when": {"attributes": {"departement": "x"}}}, "when.attributes.departement", ['did you mean "department"?']),
        ({"when": {"attributes": {}}}, "when.attributes", ["at least one attribute"]),
        ({"when": {"mfa": "true"}}, "when.mfa", ["true or false"]),
        ({"when": {"from": "2026-01-01T00:00:00"}}, "when.from", ["zone"]),
        ({"when": {"from": "soon"}}, "when.from", ["a moment such as"]),
        ({"when": {"from": "0001-01-01T00:00:00+14:00"}}, "when.from", ["a moment such as"]),
        ({"when": {"from": 2026}}, "when.from", ["a moment such as"]),
        ({"when": {"groups": ["g"], "from": "2026-02-01", "until": "2026-02-01"}}, "when.until", ["after from"]),
        ({"allow": {}}, "allow", ["say which roles"]),
        ({"allow": {"accounts": ["shop-*"]}}, "allow", ["say which roles"]),
        ({"allow": None, "deny": {}}, "deny", ["say what is denied"]),
        ({"allow": {"roles": ["a b"]}}, "allow.roles[0]", ["a role name has"]),
        ({"allow": {"roles": ["a,b"]}}, "allow.roles[0]", ["a role name has"]),
        ({"allow": {"roles": ["a,*"]}}, "allow.roles[0]", ["cannot have"]),
        ({"allow": {"roles": ["{role}"]}}, "allow.roles[0]", ["arns:"]),
        ({"allow": {"roles": ["/team/R"]}}, "allow.roles[0]", ["without a slash"]),
        ({"allow": {"roles": ["arn:aws:iam::111122223333:role/R"]}}, "allow.roles[0]", ["under arns"]),
        ({"allow": {"roles": ["AWSReservedSSO_Admin_1"]}}, "allow.roles[0]", ["Identity Center"]),
        ({"allow": {"roles": [5]}}, "allow.roles[0]", ["put it in quotes"]),
        ({"allow": {"roles": ["R"], "accounts": {}}}, "allow.accounts", ["chooses nothing"]),
        ({"allow": {"roles": ["R"], "accounts": {"tags": {}}}}, "allow.accounts.tags", ["at least one tag"]),
        (
            {"allow": {"roles": ["R"], "accounts": {"names": ["shop-prd"]}}},
            "allow.accounts.names[0]",
            ['did you mean "shop-prod"?'],
        ),
        ({"allow": {"roles": ["R"], "accounts": {"ids": ["1"]}}}, "allow.accounts.ids[0]", ["12 digits"]),
        (
            {"allow": {"arns": ["arn:aws:iam::{account}:role/R"]}},
            "allow.arns[0]",
            ["{account} is no capture", "no expression"],
        ),
        (
            {"when": CAPTURING, "allow": {"arns": ["arn:aws:iam::{acount}:role/R"]}},
            "allow.arns[0]",
            ['did you mean "account"?'],
        ),
        (
            {"when": CAPTURING, "allow": {"arns": ["arn:aws:iam::{account}:role/{role"]}},
            "allow.arns[0]",
            ["brace without its partner"],
        ),
        (
            {"when": CAPTURING, "allow": {"arns": ["arn:aws:iam::}{account}:role/R"]}},
            "allow.arns[0]",
            ["brace without its partner"],
        ),
        ({"when": CAPTURING, "allow": {"arns": ["arn:aws:iam::{}:role/R"]}}, "allow.arns[0]", ["no name"]),
        (
            {"when": CAPTURING, "allow": {"arns": ["arn:{role}:iam::{account}:role/R"]}},
            "allow.arns[0]",
            ["a role ARN such as"],
        ),
        ({"when": CAPTURING, "allow": {"arns": ["{role}"]}}, "allow.arns[0]", ["a role ARN such as"]),
        ({"when": CAPTURING, "allow": {"arns": [7]}}, "allow.arns[0]", ["put it in quotes"]),
        ({"allow": {"arns": ["arn:aws:iam::111122223333:user/R"]}}, "allow.arns[0]", ["a role ARN such as"]),
        (
            {"allow": {"arns": ["arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x"]}},
            "allow.arns[0]",
            ["cannot be assumed"],
        ),
        ({"allow": {"arns": ["arn:aws-cn:iam::111122223333:role/R"]}}, "allow.arns[0]", ["partition aws, not aws-cn"]),
        ({"allow": {"arns": ["arn:aws-moon:iam::111122223333:role/R"]}}, "allow.arns[0]", ["a role ARN such as"]),
        ({"session": {"duration": 899}}, "session.duration", ["900 and 43,200"]),
        ({"session": {"duration": "13h"}}, "session.duration", ["900 and 43,200"]),
        ({"session": {"duration": 1.5}}, "session.duration", ["a duration such as"]),
        ({"session": {"policy": "readonly"}}, "session.policy", ["read-only"]),
        ({"session": {"policy": 5}}, "session.policy", ["text"]),
        ({"session": {"policy": '{"Statement": [], "Statement": []}'}}, "session.policy", ["JSON"]),
        ({"session": {"policy": "[1]"}}, "session.policy", ["Statement"]),
        ({"session": {"policy": json.dumps({"Statement": "x" * 2050})}}, "session.policy", ["2,048"]),
        ({"session": {"policy": "arn:aws:iam::aws:role/X"}}, "session.policy", ["managed policy ARN"]),
        ({"session": {"policy_arns": [f"arn:aws:iam::aws:policy/P{n}" for n in range(11)]}}, "session", ["at most 10"]),
        ({"session": {"tags": {f"k{n}": "v" for n in range(51)}}}, "session.tags", ["at most 50"]),
        ({"session": {"tags": {"k" * 129: "v"}}}, "session.tags." + "k" * 60, ["1 to 128"]),
        ({"session": {"tags": {"a;b": "v"}}}, "session.tags.a;b", ["letters, digits"]),
        ({"session": {"tags": {"AWS:x": "v"}}}, "session.tags.AWS:x", ["belong to AWS"]),
        ({"session": {"tags": {"Team": "v", "team": "v"}}}, "session.tags.team", ["without case"]),
        ({"session": {"tags": {"T": "{nobody}"}}}, "session.tags.T", ["{nobody} is not known here"]),
        ({"session": {"tags": {"T": "{attributes.dept}"}}}, "session.tags.T", ["dept", "department"]),
        ({"session": {"tags": {"T": "{email"}}}, "session.tags.T", ["brace"]),
        ({"session": {"tags": {"T": "a;b"}}}, "session.tags.T", ["letters, digits"]),
        ({"session": {"transitive_tags": ["T"]}}, "session.transitive_tags", ["none of this session's tags"]),
        ({"approval": {"by": ["x"]}}, "approval", ["`at_most` is missing"]),
        ({"approval": {"by": ["x"], "at_most": "31d"}}, "approval.at_most", ["30d"]),
        ({"approval": {"by": ["x"], "at_most": "29m"}}, "approval.at_most", ["30m"]),
        ({"approval": {"by": ["x"], "at_most": "1h", "break_glass": {}}}, "approval.break_glass", ["`by` is missing"]),
        (
            {"approval": {"by": ["x"], "at_most": "1h", "break_glass": {"by": ["y"], "at_most": "2h"}}},
            "approval.break_glass.at_most",
            ["longer than with one"],
        ),
        (
            {"approval": {"by": ["x"], "at_most": "1h", "reason": "always"}},
            "approval.reason",
            ["one of required, optional"],
        ),
        ({"allow": None, "deny": {"roles": ["R"]}, "session": {}}, "session", ["denies has no session"]),
    ],
)
def test_rules(changes, path, words):
    one(rule(**changes), ".".join(filter(None, ["mapping[0]", path])), *words)


def test_the_rule_that_these_are_made_of_is_right():
    assert parse(rule()).rules[0].name == "r"


def test_a_key_with_a_hidden_character_is_a_fault():
    one(rule(session={"tags": {"Te\u202eam": "v"}}), "mapping[0].session.tags", "U+202E")


def test_too_many_rules_and_entries():
    many = "".join(f"- {{name: r{n}, when: {{groups: [g]}}, allow: {{roles: [R]}}}}\n" for n in range(20_001))
    one("version: 1\nmapping:\n" + many, "mapping", "at most 20,000 rules")
    accounts = json.dumps({"version": 1, "staff": [{}] * 20_001})
    one(accounts, "staff", "at most 20,000 entries")


def test_faults_are_bounded():
    text = "version: 1\nmapping:\n" + "- {nme: x}\n" * 5_000
    assert len(faults(text)) == 1_000
