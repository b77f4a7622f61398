"""Names, groups and attributes made to look like something else, or like somebody else."""

from __future__ import annotations

import pytest

from federation.mapping.rules import ClaimMap
from tests import saml_kit as kit
from tests.saml_kit import ALICE, SP, Draft, reason, signed, verify

TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"


def test_another_format_case_or_unicode_form_is_a_different_person():
    drafts = [
        Draft(),
        Draft(name_id="Alice"),
        Draft(name_id="alice "),
        Draft(name_id_format=EMAIL),
        Draft(name_id="al\u0131ce"),
        Draft(name_id="e\u0301"),
        Draft(name_id="\u00e9"),
    ]
    digests = {verify(signed(draft)).identity.subject.digest for draft in drafts}
    assert len(digests) == len(drafts)


def test_the_same_name_id_from_a_second_provider_is_a_different_person():
    from dataclasses import replace

    one = verify(signed())
    other = verify(signed(), by=replace(kit.provider(), slug="partner"))
    assert one.identity.subject.digest != other.identity.subject.digest
    assert one.replay_key != other.replay_key


def test_the_same_mail_is_not_the_same_person():
    one, other = verify(signed()), verify(signed(Draft(name_id="bob")))
    assert one.identity.email == other.identity.email
    assert one.identity.subject != other.identity.subject


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (Draft(name_id=None), "name_id_missing"),
        (Draft(name_id=""), "name_id_missing"),
        (Draft(name_id_format=TRANSIENT), "name_id_transient"),
        (Draft(name_id_attributes=' SPNameQualifier="https://other.example.com"'), "name_id_qualifier"),
        (Draft(name_id="a" * 1_025), "value_too_long"),
        (Draft(name_id="\u4e00" * 342), "value_too_long"),  # 1,026 bytes: no row of an index
        (Draft(name_id_format="urn:" + "x" * 252), "value_too_long"),
        (Draft(name_id="alice&#10;"), "control_character"),
        (Draft(name_id="ali\u202ece"), "control_character"),
    ],
)
def test_names_that_are_nobodys_key(draft, expected):
    assert reason(signed(draft)) == expected


def test_our_own_qualifier_is_fine():
    draft = Draft(name_id_attributes=f' SPNameQualifier="{SP}" NameQualifier="corp"')
    name_id = verify(signed(draft)).name_id
    assert (name_id.sp_name_qualifier, name_id.name_qualifier) == (SP, "corp")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "subject_missing"),
        ([""], "subject_missing"),
        (["u-1", "u-2"], "subject_ambiguous"),
        (["u-1", "u-1"], "subject_ambiguous"),
    ],
)
def test_a_subject_from_an_attribute_is_exactly_one(values, expected):
    draft = Draft(attributes=ALICE | {"uid": values})
    assert reason(signed(draft), by=kit.provider(ClaimMap(subject="uid"))) == expected


@pytest.mark.parametrize(
    "character", ["&#9;", "&#10;", "&#13;", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ufeff"]
)
@pytest.mark.parametrize("name", ["memberOf", "mail", "displayName", "dept"])
def test_control_characters(name, character):
    assert reason(signed(Draft(attributes=ALICE | {name: [f"engi{character}neering"]}))) == "control_character"


@pytest.mark.parametrize("name", ["memberOf", "mail", "displayName", "dept"])
def test_long_values(name):
    assert reason(signed(Draft(attributes=ALICE | {name: ["x" * 1_024]}))) == "accepted"
    assert reason(signed(Draft(attributes=ALICE | {name: ["x" * 1_025]}))) == "value_too_long"


def test_too_many_groups():
    assert len(verify(signed(Draft(attributes={"memberOf": [str(n) for n in range(1_500)]}))).identity.groups) == 1_500
    short = "<saml:AttributeValue>g</saml:AttributeValue>" * 2_001
    draft = Draft(attributes={}, in_statement=f'<saml:Attribute Name="memberOf">{short}</saml:Attribute>')
    assert reason(signed(draft)) == "too_many_groups"


@pytest.mark.parametrize(
    "group",
    [
        "a,b",
        "&lt;b&gt;x&lt;/b&gt;",
        "arn:aws:iam::111122223333:role/Administrator",
        " spaced ",
        "\U0001f469\u200d\U0001f680",
    ],
)
def test_odd_but_harmless_groups_are_kept_whole(group):
    from html import unescape

    assert verify(signed(Draft(attributes={"memberOf": [group]}))).identity.groups == {unescape(group)}


def test_names_of_attributes_are_compared_exactly():
    assert verify(signed(Draft(attributes={"memberof": ["x"], "memberOf ": ["y"]}))).identity.groups == frozenset()
