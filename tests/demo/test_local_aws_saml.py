"""The local STS takes a good assertion once, and refuses each thing that AWS refuses, for its own reason."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest
import xmlsec
from lxml import etree

from demo import xml
from demo.aws.registry import BadRegistration
from tests.demo import kit
from tests.demo.kit import ACCOUNT, PROVIDER, ROLE, Draft, reason, saml_call

INVALID, EXPIRED, DENIED, VALIDATION = (
    "InvalidIdentityToken",
    "ExpiredTokenException",
    "AccessDenied",
    "ValidationError",
)


def answer(body: bytes, name: str) -> str:
    return etree.fromstring(body).findtext(f".//{{*}}{name}") or ""


def test_a_good_assertion_gives_credentials_of_the_role(aws):
    draft = Draft().with_(SourceIdentity="alice@example.com", **{"PrincipalTag:Team": "shop"})
    body = aws.sts.call(saml_call(draft.post(), DurationSeconds="1800"))
    assert answer(body, "Arn") == f"arn:aws:sts::{ACCOUNT}:assumed-role/ReadOnly/alice@example.com"
    assert answer(body, "Expiration") == "2026-05-03T09:30:00Z"
    assert answer(body, "Audience") == kit.RECIPIENT
    assert answer(body, "SourceIdentity") == "alice@example.com"
    assert aws.trail[-1]["sAMLAssertionID"] == "_a1"
    assert aws.trail[-1]["principalTags"] == {"Team": "shop"}
    assert aws.trail[-1]["accessKeyId"] == answer(body, "AccessKeyId")


def test_an_assertion_is_redeemed_once(aws):
    document = Draft().post()
    aws.sts.call(saml_call(document))
    assert reason(aws, saml_call(document)) == (INVALID, 400, "redeemed_before")


DOCUMENTS = {
    "issuer_unknown": (Draft(issuer="https://else.example"), INVALID),
    "signature_invalid": (Draft(key="stranger"), INVALID),
    "recipient": (Draft(recipient="https://rolegate.example/saml/corp/acs"), INVALID),
    "destination": (Draft(destination="https://signin.aws.amazon.com/saml"), INVALID),
    "audience": (Draft(audience="urn:amazon:webservices:cn-north-1"), INVALID),
    "not_one_confirmation": (Draft(confirmations=2), INVALID),
    "redeemed_too_late": (Draft(issued=kit.START - timedelta(minutes=5, seconds=1)), EXPIRED),
    "confirmation_expired": (Draft(not_on_or_after=kit.START), EXPIRED),
    "issued_in_future": (Draft(issued=kit.START + timedelta(seconds=61)), INVALID),
    "no_authn_statement": (Draft(authn=""), INVALID),
    "session_over": (
        Draft(authn='<saml:AuthnStatement AuthnInstant="x" SessionNotOnOrAfter="2026-05-03T09:00:00Z"/>'),
        EXPIRED,
    ),
    "no_session_name": (Draft().with_(RoleSessionName=None), INVALID),
    "session_name_invalid": (Draft().with_(RoleSessionName="Alice Liddell"), INVALID),
    "role_attribute": (Draft().with_(Role=f"{PROVIDER},{ROLE}"), INVALID),
    "pair_not_in_assertion": (Draft().with_(Role=f"{ROLE}2,{PROVIDER}"), DENIED),
    "session_duration_invalid": (Draft().with_(SessionDuration="43201"), INVALID),
    "attribute_unknown": (Draft().with_(rolesessionname="alice"), INVALID),
    "attribute_many_values": (Draft().with_(SourceIdentity=["alice", "bob"]), INVALID),
    "source_identity_invalid": (Draft().with_(SourceIdentity="aws:alice"), INVALID),
    "tag_many_values": (Draft().with_(**{"PrincipalTag:Team": ["a", "b"]}), INVALID),
    "tag_not_allowed": (Draft().with_(**{"PrincipalTag:aws:Team": "a"}), INVALID),
    "tag_key_twice": (Draft().with_(**{"PrincipalTag:Team": "a", "PrincipalTag:team": "b"}), INVALID),
    "too_many_tags": (Draft().with_(**{f"PrincipalTag:T{n}": "x" for n in range(51)}), INVALID),
    "transitive_key_unknown": (Draft().with_(TransitiveTagKeys="Team"), INVALID),
}


@pytest.mark.parametrize("why", DOCUMENTS)
def test_a_wrong_document_is_refused_for_its_own_reason(aws, why):
    draft, code = DOCUMENTS[why]
    assert reason(aws, saml_call(draft.post())) == (code, 403 if code == DENIED else 400, why)


def test_the_signature_must_be_the_assertions_own(aws):
    root = Draft().signed()
    signature = root.find(f".//{{{xml.DS}}}Signature")
    signature.getparent().remove(signature)
    assert reason(aws, saml_call(kit.encode(root)))[2] == "not_signed"


def test_a_wrapped_assertion_is_refused(aws):
    """XML signature wrapping: the signed assertion hides in the forged one's place for extensions."""
    root = Draft().signed()
    signed = root.find(f"{{{xml.SAML}}}Assertion")
    forged = copy.deepcopy(signed)
    forged.set("ID", "_evil")
    root.replace(signed, forged)
    etree.SubElement(forged, f"{{{xml.SAML}}}Advice").append(signed)
    assert reason(aws, saml_call(kit.encode(root)))[2] == "not_one_assertion"


def test_a_changed_attribute_breaks_the_signature(aws):
    root = Draft().signed()
    root.find(f".//{{{xml.SAML}}}NameID").text = "mallory"
    assert reason(aws, saml_call(kit.encode(root)))[2] == "signature_invalid"


def test_sha1_signatures_are_refused(aws):
    root = Draft().tree()
    kit.sign_with_xmlsec(root.find(f"{{{xml.SAML}}}Assertion"), kit.test_key("gateway"), xmlsec.Transform.RSA_SHA1)
    assert reason(aws, saml_call(kit.encode(root)))[2] == "signature_invalid"


def test_a_response_signed_as_well_must_hold_as_well(aws):
    root = Draft().signed()
    kit.sign_with_xmlsec(root, kit.test_key("stranger"))
    assert reason(aws, saml_call(kit.encode(root)))[2] == "signature_invalid"


def test_a_document_type_declaration_is_refused(aws):
    import base64

    document = base64.b64encode(b'<!DOCTYPE r [<!ENTITY x "y">]>' + etree.tostring(Draft().signed())).decode()
    assert reason(aws, saml_call(document))[2] == "not_xml"
    assert reason(aws, saml_call("!!!!"))[2] == "not_base64"


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        (("sts:AssumeRoleWithSAML", "sts:SetSourceIdentity"), "trust_without_tag_session"),
        (("sts:AssumeRoleWithSAML", "sts:TagSession"), "trust_without_set_source_identity"),
        (("sts:AssumeRoleWithWebIdentity",), "trust_mismatch"),
    ],
)
def test_the_trust_policy_must_allow_every_part_of_the_call(aws, actions, why):
    aws.create_role(ACCOUNT, "ReadOnly", kit.trust(*actions))
    draft = Draft().with_(SourceIdentity="alice", **{"PrincipalTag:Team": "shop"})
    assert reason(aws, saml_call(draft.post())) == (DENIED, 403, why)


def test_saml_aud_is_the_recipient_and_not_the_audience(aws):
    aws.create_role(ACCOUNT, "ReadOnly", kit.trust(condition={"StringEquals": {"SAML:aud": "urn:amazon:webservices"}}))
    assert reason(aws, saml_call(Draft().post()))[2] == "trust_mismatch"


def test_unknown_roles_and_providers(aws):
    other = f"arn:aws:iam::{ACCOUNT}:role/Nobody"
    assert reason(aws, saml_call(Draft().with_(Role=f"{other},{PROVIDER}").post(), role=other)) == (
        DENIED,
        403,
        "role_unknown",
    )
    foreign = PROVIDER.replace(ACCOUNT, "222233334444")
    aws.register_saml_provider("222233334444", "rolegate", kit.metadata())
    assert reason(aws, saml_call(Draft().post(), provider=foreign))[2] == "provider_unknown"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"DurationSeconds": "899"}, (VALIDATION, 400, "validation_durationSeconds")),
        ({"DurationSeconds": "43201"}, (VALIDATION, 400, "validation_durationSeconds")),
        ({"DurationSeconds": "3601"}, (VALIDATION, 400, "duration_over_maximum")),
        ({"Policy": "{}"}, ("MalformedPolicyDocument", 400, "policy_syntax")),
        ({"Policy": "nonsense"}, ("MalformedPolicyDocument", 400, "policy_malformed")),
        ({"Policy": " " * 2049}, (VALIDATION, 400, "validation_policy")),
        (
            {f"PolicyArns.member.{n}.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess" for n in range(11)},
            (VALIDATION, 400, "validation_policyArns"),
        ),
        (
            {f"PolicyArns.member.{n}.arn": f"arn:aws:iam::aws:policy/{'p' * 300}" for n in range(7)},
            ("PackedPolicyTooLarge", 400, "policies_over_plain_limit"),
        ),
    ],
)
def test_parameters_are_checked_and_nothing_is_clamped(aws, more, expected):
    assert reason(aws, saml_call(Draft().post(), **more)) == expected


def test_tags_that_do_not_pack_are_refused(aws):
    import random

    noise = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    tags = {f"PrincipalTag:T{n}": "".join(noise.choices(letters, k=256)) for n in range(20)}
    assert reason(aws, saml_call(Draft().with_(**tags).post())) == ("PackedPolicyTooLarge", 400, "packed_too_large")


def test_session_duration_only_shortens(aws):
    body = aws.sts.call(saml_call(Draft().with_(SessionDuration="900").post(), DurationSeconds="3600"))
    assert answer(body, "Expiration") == "2026-05-03T09:15:00Z"
    body = aws.sts.call(saml_call(replace(Draft(), id="_a2").with_(SessionDuration="43200").post()))
    assert answer(body, "Expiration") == "2026-05-03T10:00:00Z"


def test_injected_faults_come_once(aws):
    aws.inject("Throttling")
    assert reason(aws, saml_call(Draft().post())) == ("Throttling", 400, "injected")
    aws.sts.call(saml_call(Draft().post()))


def test_metadata_must_be_what_iam_takes(aws):
    with pytest.raises(BadRegistration, match="characters"):
        aws.register_saml_provider(ACCOUNT, "short", "<x/>")
    with pytest.raises(BadRegistration, match="byte order mark"):
        aws.register_saml_provider(ACCOUNT, "bom", b"\xef\xbb\xbf" + kit.metadata().encode())
    with pytest.raises(BadRegistration, match="do not describe"):
        aws.register_saml_provider(ACCOUNT, "else", kit.metadata().replace("IDPSSODescriptor", "SPSSODescriptor"))


def test_a_condition_operator_that_is_not_known_opens_nothing(aws):
    aws.create_role(ACCOUNT, "ReadOnly", kit.trust(condition={"IpAddress": {"SAML:aud": kit.RECIPIENT}}))
    assert reason(aws, saml_call(Draft().post()))[2] == "trust_mismatch"


def test_deny_wins(aws):
    policy = json.loads(json.dumps(kit.trust()))
    policy["Statement"].append({**policy["Statement"][0], "Effect": "Deny"})
    aws.create_role(ACCOUNT, "ReadOnly", policy)
    assert reason(aws, saml_call(Draft().post()))[2] == "trust_mismatch"
