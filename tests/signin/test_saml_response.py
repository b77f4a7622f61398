"""A right SAML response becomes a verified identity, read from the signed element alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree
from signxml import XMLVerifier
from xmlsec import constants

from federation.errors import SamlRefused
from federation.identity import Subject
from federation.mapping.rules import ClaimMap
from federation.signin import saml, signatures
from federation.signin.protocol import NameId
from tests import saml_kit as kit
from tests.saml_kit import ALICE, NOW, Draft, Signing, pair, reason, signed, verify


@pytest.mark.parametrize("what", ["assertion", "response", "both"])
def test_alice_signs_in_whatever_is_signed(what):
    verified = verify(signed(what=what))
    assert verified.identity.subject == Subject("corp", kit.PERSISTENT, "alice")
    assert verified.identity.name == "Alice Ng"
    assert verified.identity.email == "alice@example.com"
    assert verified.identity.groups == {"engineering", "on-call"}
    assert dict(verified.identity.attributes) == {"department": ("platform",)}
    assert verified.identity.verified_at == NOW
    assert verified.identity.authenticated_at == NOW - timedelta(seconds=5)
    assert verified.identity.expires_at == NOW + timedelta(hours=8)
    assert verified.identity.groups_complete
    assert not verified.identity.mfa
    assert verified.in_response_to == kit.REQUEST_ID
    assert verified.session_index == verified.identity.session_index == "session-1"
    assert verified.name_id == NameId("alice", kit.PERSISTENT)


@pytest.mark.parametrize(
    "how",
    [
        Signing(method=constants.TransformRsaSha384, digest=constants.TransformSha384),
        Signing(method=constants.TransformRsaSha512, digest=constants.TransformSha512),
        Signing(shown=None),
    ],
    ids=["sha384", "sha512", "no KeyInfo"],
)
def test_stronger_digests_and_no_key_info_are_fine(how):
    assert reason(signed(what="both", how=how)) == "accepted"


def test_an_elliptic_key_is_fine():
    key = pair("curve", curve=True)
    root = signed(how=Signing(by=key, method=constants.TransformEcdsaSha256))
    assert reason(root, idp=kit.idp_metadata(key.certificate)) == "accepted"


def test_old_and_new_certificate_side_by_side():
    old, new = pair(), pair("next")
    idp = kit.idp_metadata(old.certificate, new.certificate)
    for key in (old, new):
        assert reason(signed(how=Signing(by=key)), idp=idp) == "accepted"
        assert reason(signed(how=Signing(by=key, shown=None)), idp=idp) == "accepted"


def test_a_chain_in_key_info_is_fine_if_it_holds_the_pinned_key():
    root = signed()
    data = root.find(f".//{kit.DS}X509Data")
    etree.SubElement(data, kit.DS + "X509Certificate").text = pair("authority").bare
    assert reason(root) == "accepted"


def test_signed_later_with_the_same_id_is_the_same_replay_key():
    first, second = verify(signed()), verify(signed(Draft(name_id="bob")))
    other = verify(signed(Draft(assertion_id="_assertion-2")))
    assert first.replay_key == second.replay_key
    assert first.replay_key != other.replay_key
    # Kept until the document would be refused for its age.
    assert reason(signed(), now=first.replay_until) == "expired"


def test_mfa_from_the_context_class_or_from_entras_attribute():
    assert verify(signed(Draft(context=kit.MFA))).identity.mfa
    methods = {"http://schemas.microsoft.com/claims/authnmethodsreferences": ["other", kit.MFA]}
    assert verify(signed(Draft(attributes=ALICE | methods))).identity.mfa


def test_entras_overage_link_means_that_groups_are_incomplete():
    link = {"http://schemas.microsoft.com/claims/groups.link": ["https://graph.example.com/groups"]}
    assert not verify(signed(Draft(attributes=ALICE | link))).identity.groups_complete
    many = {"memberOf": [f"group-{number}" for number in range(160)]}
    assert verify(signed(Draft(attributes=ALICE | many))).identity.groups_complete


def test_friendly_names_are_found_where_no_name_matches():
    draft = Draft(
        attributes={"urn:oid:1.3.6.1.4.1.5923.1.5.1.1": ["engineering"], "x": ["no"], "mail": ["a@example.com"]},
        friendly={"urn:oid:1.3.6.1.4.1.5923.1.5.1.1": "memberOf", "x": "mail"},
    )
    identity = verify(signed(draft)).identity
    assert identity.groups == {"engineering"}
    assert identity.email == "a@example.com"


def test_values_of_repeated_attributes_add_up_and_empty_ones_are_nothing():
    again = '<saml:Attribute Name="memberOf"><saml:AttributeValue>sre</saml:AttributeValue><saml:AttributeValue/></saml:Attribute>'
    assert verify(signed(Draft(in_statement=again))).identity.groups == {"engineering", "on-call", "sre"}


def test_nothing_claimed_is_nothing_known():
    identity = verify(signed(Draft(attributes={}, session_index=None, session_until=None, context="x"))).identity
    assert (identity.name, identity.email, identity.groups) == ("", "", frozenset())
    assert (identity.session_index, identity.expires_at) == ("", None)


def test_a_subject_from_an_attribute_and_an_unmapped_claim():
    claims = ClaimMap(subject="uid", email="NameID", name="", groups="memberOf")
    draft = Draft(
        attributes=ALICE | {"uid": ["u-1"]}, name_id_format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
    )
    identity = verify(signed(draft), by=kit.provider(claims)).identity
    assert identity.subject == Subject("corp", "attribute:uid", "u-1")
    assert (identity.email, identity.name) == ("alice", "")


def test_a_subject_from_an_attribute_needs_no_name_id():
    claims = ClaimMap(subject="uid")
    verified = verify(signed(Draft(attributes={"uid": ["u-1"]}, name_id=None)), by=kit.provider(claims))
    assert verified.identity.subject.value == "u-1"
    assert verified.name_id is None


def test_a_name_id_without_format_is_unspecified():
    verified = verify(signed(Draft(name_id_format=None)))
    assert verified.identity.subject.format == "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"


def test_unsolicited_where_it_is_allowed():
    draft = Draft(in_response_to=None, response_in_response_to=None)
    assert verify(signed(draft), by=kit.provider(allow_unsolicited=True)).in_response_to == ""


def test_base64_with_line_breaks():
    text = kit.post(signed())
    broken = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert saml.verify_response(
        kit.service_provider(),
        kit.idp_metadata(),
        kit.provider(),
        broken,
        is_outstanding=lambda _: True,
        now=NOW,
    ).in_response_to


def test_the_edges_of_the_clock_skew_are_inside():
    end = NOW + timedelta(seconds=298)
    assert reason(signed(), now=end + timedelta(seconds=59)) == "accepted"
    assert reason(signed(), now=NOW - timedelta(seconds=61)) == "accepted"


def test_fractions_of_a_second():
    assert (
        reason(signed(Draft(issued="2026-03-02T11:59:58.1234567Z", not_before="2026-03-02T11:59:58.1Z"))) == "accepted"
    )


def test_a_byte_order_mark_and_a_declaration_are_fine():
    body = etree.tostring(signed())
    assert reason(b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\n' + body) == "accepted"


def test_the_second_verifier_returns_what_plain_signxml_returns():
    """The copies that are saved change nothing: same bytes as signxml without any override."""
    root = signed(what="both")
    for element in (root, kit.assertion_of(root)):
        ours = signatures.second_verifier(element, [pair().certificate], NOW)
        theirs = XMLVerifier().verify(
            etree.tostring(element),
            x509_cert=pair().certificate,
            expect_config=replace(signatures.SignatureConfiguration(), location="./", verification_time=NOW),
        )
        assert etree.tostring(ours) == etree.tostring(theirs.signed_xml)


def test_the_schema_is_compiled_once_and_still_refuses():
    good = signed()
    bad = signed(Draft(issued="yesterday"))
    name = "saml-schema-protocol-2.0.xsd"
    assert saml._Xml.validate_xml(good, name) is good
    assert saml._Xml.validate_xml(bad, name) == "invalid_xml"
    assert saml._schema(name) is saml._schema(name)


def test_python3_samls_own_module_is_left_as_it_is():
    from onelogin.saml2 import response, utils, xml_utils

    assert response.OneLogin_Saml2_Utils is utils.OneLogin_Saml2_Utils
    assert response.OneLogin_Saml2_XML is xml_utils.OneLogin_Saml2_XML


def test_python3_saml_is_really_asked(monkeypatch):
    """Something that only the library checks: its refusal stands although all of our own checks pass."""
    from onelogin.saml2.errors import OneLogin_Saml2_ValidationError

    def refuse(self):
        raise OneLogin_Saml2_ValidationError("no", OneLogin_Saml2_ValidationError.AUTHN_CONTEXT_MISMATCH)

    monkeypatch.setattr(saml._Response, "check_one_authnstatement", refuse)
    assert reason(signed()) == "library_refused"

    def trip(self):
        raise KeyError("Value")

    monkeypatch.setattr(saml._Response, "check_one_authnstatement", trip)
    assert reason(signed()) == "library_refused"


def test_the_error_says_nothing_to_the_person_and_cannot_forge_a_log_line():
    with pytest.raises(SamlRefused) as caught:
        verify(signed(Draft(audiences=(("https://other.example.com\u2028",),))))
    assert caught.value.reason == "audience_wrong"
    assert "\u2028" not in caught.value.detail
    assert "audience" not in caught.value.public_sentence.lower()


def test_many_threads_at_once():
    """Cached keys, schemas and expressions are shared between threads; each verification has its own clock."""
    from concurrent.futures import ThreadPoolExecutor

    good, late = signed(what="both"), NOW + timedelta(hours=1)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: reason(good, now=late if number % 2 else NOW), range(80)))
    assert found == ["accepted", "expired"] * 40
