"""Session policies: reading, limits, and that a caller can only ever narrow."""

from __future__ import annotations

import json

import pytest

from federation.aws.policy import (
    NO_POLICY,
    SessionPolicy,
    SessionPolicyInvalid,
    SessionTagInvalid,
    SessionTooLarge,
    largest_part,
    narrow,
    preflight,
    session_policy,
)
from federation.errors import BadRequest

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
MINE = "arn:aws:iam::111122223333:policy/team/Mine"
ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
DENY = {"Sid": "NoDeletes", "Effect": "Deny", "Action": ["s3:Delete*"], "Resource": "*"}


def document(*statements, version="2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)}, indent=4)


def minified(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("option", "arns", "partition", "wanted"),
    [
        ("", (), "aws", NO_POLICY),
        ("read-only", (), "aws", SessionPolicy(managed=(READ_ONLY,))),
        ("read-only", (), "aws-cn", SessionPolicy(managed=("arn:aws-cn:iam::aws:policy/ReadOnlyAccess",))),
        ("read-only", (READ_ONLY, MINE), "aws", SessionPolicy(managed=(READ_ONLY, MINE))),
        (MINE, (), "aws", SessionPolicy(managed=(MINE,))),
        ("", (MINE,), "aws", SessionPolicy(managed=(MINE,))),
        (document(ALLOW), (MINE,), "aws", SessionPolicy(inline=minified(ALLOW), managed=(MINE,))),
        (
            json.dumps({"Statement": ALLOW}),
            (),
            "aws",
            SessionPolicy(inline='{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}'),
        ),
    ],
)
def test_options(option, arns, partition, wanted):
    assert session_policy(option, arns, partition=partition) == wanted


def test_letters_that_sts_does_not_take_are_escaped():
    wide = {**ALLOW, "Resource": "arn:aws:s3:::bucket/名"}
    inline = session_policy(document(wide), partition="aws").inline
    assert inline.isascii()
    assert json.loads(inline)["Statement"] == [wide]
    latin = {**ALLOW, "Resource": "arn:aws:s3:::bucket/é"}
    assert "é" in session_policy(document(latin), partition="aws").inline


INVALID = {
    "policy_option_unknown": ["readonly", "Read-Only", "s3"],
    "policy_not_json": ["{", "{'a': 1}", "[" * 30_000],
    "policy_not_an_object": ["[]"],
    "policy_duplicate_key": ['{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Action": "*", "Resource": "*"}]}'],
    "policy_version_unknown": [document(ALLOW, version="2020-01-01")],
    "policy_without_statement": ["{}", '{"Statement": []}', '{"Statement": "x"}'],
    "policy_unknown_element": [document({**ALLOW, "Principal": "*"}), '{"Statement": [], "Other": 1}'],
    "policy_effect_malformed": [document({**ALLOW, "Effect": "allow"})],
    "policy_statement_malformed": [
        document(s)
        for s in (
            "x",
            {"Effect": "Allow", "Action": "*"},
            {**ALLOW, "NotAction": "*"},
            {**ALLOW, "Action": []},
            {**ALLOW, "Resource": [1]},
            {**ALLOW, "Resource": ""},
            {**ALLOW, "Condition": []},
        )
    ],
    "policy_arn_malformed": [
        "arn:aws:iam::aws:role/x",
        "arn:aws:iam::aws:policy/a,b/c",
        "arn:aws:iam::1:policy/x",
        f"{MINE}\nx",
    ],
    "policy_arn_other_partition": ["arn:aws-cn:iam::aws:policy/ReadOnlyAccess"],
}


@pytest.mark.parametrize(("reason", "option"), [(r, o) for r, options in INVALID.items() for o in options])
def test_what_is_no_policy(reason, option):
    with pytest.raises(SessionPolicyInvalid) as refused:
        session_policy(option, partition="aws")
    assert refused.value.reason == reason
    assert isinstance(refused.value, BadRequest)


def test_an_enormous_document_is_not_even_parsed():
    with pytest.raises(SessionTooLarge) as refused:
        session_policy("{" + " " * 50_000 + "}", partition="aws")
    assert refused.value.reason == "policy_too_large"


# --- narrowing


NARROWED = [
    (NO_POLICY, None, NO_POLICY),
    (NO_POLICY, "  ", NO_POLICY),
    (SessionPolicy(managed=(MINE,)), None, SessionPolicy(managed=(MINE,))),
    (NO_POLICY, "read-only", SessionPolicy(managed=(READ_ONLY,))),
    (NO_POLICY, document(ALLOW), SessionPolicy(inline=minified(ALLOW))),
    (SessionPolicy(managed=(READ_ONLY,)), "read-only", SessionPolicy(managed=(READ_ONLY,))),
    (SessionPolicy(inline=minified(ALLOW)), document(ALLOW), SessionPolicy(inline=minified(ALLOW))),
    (SessionPolicy(managed=(MINE,)), document(DENY), SessionPolicy(inline=minified(DENY), managed=(MINE,))),
    (
        SessionPolicy(inline=minified(ALLOW), managed=(MINE,)),
        document(DENY),
        SessionPolicy(inline=minified(ALLOW, {k: v for k, v in DENY.items() if k != "Sid"}), managed=(MINE,)),
    ),
]


@pytest.mark.parametrize(("mapping", "asked", "wanted"), NARROWED)
def test_narrowing(mapping, asked, wanted):
    assert narrow(mapping, asked, partition="aws") == wanted


WIDENING = [
    # AWS allows what any session policy allows: read-only beside "this one bucket" would be "read everything".
    (SessionPolicy(inline=minified(ALLOW)), "read-only"),
    (SessionPolicy(managed=(MINE,)), "read-only"),
    (SessionPolicy(managed=(READ_ONLY,)), document(ALLOW)),
    (SessionPolicy(inline=minified(ALLOW)), document(DENY, {**ALLOW, "Action": "*"})),
    (SessionPolicy(inline=minified(DENY)), document(ALLOW)),
]


@pytest.mark.parametrize(("mapping", "asked"), WIDENING)
def test_what_would_widen_is_refused(mapping, asked):
    with pytest.raises(SessionPolicyInvalid) as refused:
        narrow(mapping, asked, partition="aws")
    assert refused.value.reason == "policy_would_widen"


def test_managed_policies_are_not_for_callers():
    with pytest.raises(SessionPolicyInvalid) as refused:
        narrow(NO_POLICY, "arn:aws:iam::aws:policy/AdministratorAccess", partition="aws")
    assert refused.value.reason == "policy_arn_not_for_callers"


def test_documents_of_two_versions_are_not_merged():
    with pytest.raises(SessionPolicyInvalid) as refused:
        narrow(SessionPolicy(inline=minified(ALLOW)), document(DENY, version="2008-10-17"), partition="aws")
    assert refused.value.reason == "policy_version_differs"


# --- limits


def test_what_is_just_within_passes():
    preflight(
        SessionPolicy(inline="x" * (2048 - len(MINE)), managed=(MINE,)),
        {f"k{n}" + "k" * 120: "v" * 256 for n in range(50)},
    )
    preflight(SessionPolicy(managed=tuple(f"{MINE}{n}" for n in range(10))), {"Tëam": "", "a b": "x@y/z=1+2.:-_"})


@pytest.mark.parametrize(
    ("reason", "policy", "tags", "named"),
    [
        ("policies_too_large", SessionPolicy(inline="x" * 2049), {}, "the inline policy with 2,049"),
        (
            "policies_too_large",
            SessionPolicy(inline="x" * (2049 - len(MINE)), managed=(MINE,)),
            {},
            "the inline policy",
        ),
        (
            "policies_too_large",
            SessionPolicy(inline="x", managed=(MINE, MINE + "y" * 2040)),
            {},
            "the managed policy arn:aws:iam::111122223333:policy/team/Miney",
        ),
        ("too_many_policies", SessionPolicy(managed=tuple(f"{MINE}{n}" for n in range(11))), {}, "11 managed"),
        ("too_many_tags", NO_POLICY, {f"k{n}": "v" * n for n in range(51)}, "'k50'"),
        ("tag_key_too_long", NO_POLICY, {"k" * 129: "v"}, "129"),
        ("tag_key_too_long", NO_POLICY, {"": "v"}, "1 to 128"),
        ("tag_value_too_long", NO_POLICY, {"Team": "v" * 257}, "'Team'"),
    ],
)
def test_what_is_too_large_names_the_largest(reason, policy, tags, named):
    with pytest.raises(SessionTooLarge) as refused:
        preflight(policy, tags)
    assert refused.value.reason == reason
    assert refused.value.code == "session_too_large"
    assert named in refused.value.public_sentence


@pytest.mark.parametrize(
    ("reason", "tags"),
    [
        ("tag_reserved", {"aws:x": "v"}),
        ("tag_reserved", {"AWS:x": "v"}),
        ("tag_characters", {"a,b": "v"}),
        ("tag_characters", {"a": "x\ny"}),
        ("tag_duplicate", {"Team": "a", "team": "b"}),
    ],
)
def test_tags_that_aws_refuses(reason, tags):
    with pytest.raises(SessionTagInvalid) as refused:
        preflight(NO_POLICY, tags)
    assert refused.value.reason == reason


def test_the_largest_part_in_words():
    assert largest_part(NO_POLICY, {}) == ""
    assert largest_part(SessionPolicy(inline="xx"), {"Team": "shop"}) == "the tag 'Team' with 8 characters"
