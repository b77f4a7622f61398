"""Signature wrapping: a right signature over one element, another element read. Every document here was right once."""

from __future__ import annotations

from copy import deepcopy

import pytest
from lxml import etree

from tests import saml_kit as kit
from tests.saml_kit import DS, SAML, SAMLP, Draft, assertion_of, reason, sign, signed, tree
from tests.saml_wrapping import wrap

EXPECTED = {
    ("response", 1): "reference_uri",
    ("response", 2): "response_misplaced",
    ("both", 1): "reference_count",
    ("both", 2): "response_misplaced",
    ("assertion", 3): "assertion_count",
    ("assertion", 4): "assertion_misplaced",
    ("assertion", 5): "reference_uri",
    ("assertion", 6): "reference_uri",
    ("assertion", 7): "extensions_forbidden",
    ("assertion", 8): "reference_uri",
    ("both", 3): "assertion_count",
    ("both", 4): "assertion_misplaced",
    ("both", 5): "reference_uri",
    ("both", 6): "reference_uri",
    ("both", 7): "extensions_forbidden",
    ("both", 8): "reference_uri",
    ("response", 3): "assertion_count",
    ("response", 4): "assertion_misplaced",
    ("response", 5): "assertion_count",
    ("response", 7): "extensions_forbidden",
}


@pytest.mark.parametrize(("what", "variant"), EXPECTED)
def test_signature_wrapping(what, variant):
    root = signed(what=what)
    assert reason(root) == "accepted"
    assert reason(wrap(root, variant)) == EXPECTED[what, variant]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (4, "assertion_misplaced"),
        (5, "assertion_count"),
        (6, "assertion_misplaced"),
        (7, "extensions_forbidden"),
        (8, "object_forbidden"),
    ],
)
def test_signature_wrapping_where_the_evil_element_keeps_the_id(variant, expected):
    """The reference then names its parent, as it should, and the original under the same ID is elsewhere."""
    root = wrap(signed(), variant)
    for assertion in root.iter(SAML + "Assertion"):
        assertion.set("ID", "_assertion-1")
    assert reason(root) == expected


def test_the_evil_element_keeps_the_id_and_nothing_else_is_there():
    root = signed(what="both")
    for name in root.iter(SAML + "NameID"):
        name.text = "carol"
    assert reason(root) == "signature_invalid"


def test_signature_stripped():
    for what in ("assertion", "response", "both"):
        root = signed(what=what)
        for signature in list(root.iter(DS + "Signature")):
            signature.getparent().remove(signature)
        assert reason(root) == "signature_missing"


def test_signature_stripped_from_the_assertion_of_a_signed_response():
    root = signed(what="both")
    assertion_of(root).remove(assertion_of(root).find(DS + "Signature"))
    assert reason(root) == "signature_invalid"


@pytest.mark.parametrize("parent", ["Subject", "Conditions", "AttributeStatement"])
def test_signature_misplaced_inside_the_assertion(parent):
    root = signed()
    signature = assertion_of(root).find(DS + "Signature")
    assertion_of(root).find(SAML + parent).append(signature)
    assert reason(root) == "signature_misplaced"


def test_signature_misplaced_to_the_response_and_to_the_status():
    root = signed()
    root.insert(1, assertion_of(root).find(DS + "Signature"))
    assert reason(root) == "reference_uri"
    root = signed()
    root.find(SAMLP + "Status").append(assertion_of(root).find(DS + "Signature"))
    assert reason(root) == "signature_misplaced"


def test_signature_at_the_end_of_its_parent_is_not_by_the_schema():
    root = signed()
    assertion_of(root).append(assertion_of(root).find(DS + "Signature"))
    assert reason(root) == "schema_invalid"


@pytest.mark.parametrize("what", ["assertion", "response"])
def test_signature_doubled(what):
    root = signed(what=what)
    parent = root if what == "response" else assertion_of(root)
    parent.insert(1, deepcopy(parent.find(DS + "Signature")))
    assert reason(root) == "signature_doubled"


def _lifted(signed_element: etree._Element) -> etree._Element:
    """A forged, unsigned response about Carol with the signature of another right document in it."""
    root = tree(Draft(name_id="carol").xml())
    signature = deepcopy(signed_element.find(DS + "Signature"))
    assertion_of(root).insert(1, signature)
    return root


def test_signed_metadata_wrapped_around_a_forged_assertion():
    metadata = tree(etree.tostring(sign(tree(kit.metadata_xml()))))
    root = _lifted(metadata)
    assert reason(root) == "reference_uri"
    # With the ID made to fit, the signature is still over other bytes.
    assertion_of(root).set("ID", metadata.get("ID"))
    assert reason(root) == "signature_invalid"
    holder = etree.SubElement(assertion_of(root).find(DS + "Signature"), DS + "Object")
    holder.append(metadata)
    assert reason(root) == "reference_count"
    root = _lifted(metadata)
    assertion_of(root).set("ID", metadata.get("ID"))
    metadata.remove(metadata.find(DS + "Signature"))
    etree.SubElement(assertion_of(root).find(DS + "Signature"), DS + "Object").append(metadata)
    assert reason(root) == "object_forbidden"


def test_signed_error_response_wrapped_around_a_forged_assertion():
    error = signed(Draft(status="urn:oasis:names:tc:SAML:2.0:status:Responder"), "response")
    error.remove(assertion_of(error))
    error.append(assertion_of(tree(Draft(name_id="carol").xml())))
    assert reason(error) == "status_not_success"
    error.find(f"{SAMLP}Status/{SAMLP}StatusCode").set("Value", "urn:oasis:names:tc:SAML:2.0:status:Success")
    assert reason(error) == "signature_invalid"


def test_signed_logout_request_wrapped_or_posted_as_a_response():
    logout = tree(etree.tostring(sign(tree(kit.logout_request_xml()))))
    assert reason(logout) == "root_wrong"
    assert reason(_lifted(logout)) == "reference_uri"
    root = tree(Draft(name_id="carol").xml())
    root.insert(1, logout)
    assert reason(root) == "response_misplaced"


def test_a_bare_signed_assertion_is_no_response():
    assert reason(assertion_of(signed())) == "root_wrong"


def test_two_right_assertions():
    root = signed()
    root.append(assertion_of(signed(Draft(assertion_id="_assertion-2"))))
    assert reason(root) == "assertion_count"


def test_a_plain_assertion_beside_an_encrypted_one():
    root = kit.encrypted()
    root.append(assertion_of(signed(Draft(assertion_id="_assertion-2"))))
    assert reason(root) == "assertion_count"


def test_an_assertion_in_an_advice():
    inner = Draft(assertion_id="_inner").assertion_xml()
    root = signed()
    assertion_of(root).find(SAML + "Conditions").addnext(
        tree(f'<saml:Advice xmlns:saml="{SAML[1:-1]}">{inner}</saml:Advice>')
    )
    assert reason(root) == "element_forbidden"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ID", "duplicate_id"),
        ("Id", "duplicate_id"),
        ("id", "duplicate_id"),
        ("{http://www.w3.org/XML/1998/namespace}id", "duplicate_id"),
        ("{urn:evil}ID", "duplicate_id"),
    ],
)
def test_shadow_ids(name, expected):
    root = signed()
    assertion_of(root).find(SAML + "Subject").set(name, "_assertion-1")
    assert reason(root) == expected


def test_a_new_xml_id_anywhere():
    root = signed()
    assertion_of(root).find(SAML + "Subject").set("{http://www.w3.org/XML/1998/namespace}id", "_fresh")
    assert reason(root) == "attribute_forbidden"


def test_response_and_assertion_with_the_same_id():
    assert reason(signed(Draft(response_id="_assertion-1"))) == "duplicate_id"


def test_ids_that_are_no_names():
    for odd in ("x'] | //*[@ID='", "1", "a b", "", "x" * 300):
        assert reason(signed(Draft(response_id=odd))) == "id_invalid"


def test_more_than_one_reference():
    root = signed()
    reference = root.find(f".//{DS}Reference")
    reference.addnext(deepcopy(reference))
    assert reason(root) == "reference_count"


def test_no_reference():
    root = signed()
    reference = root.find(f".//{DS}Reference")
    reference.getparent().remove(reference)
    assert reason(root) == "reference_count"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "#",
        "#xpointer(/)",
        "#xpointer(id('_assertion-1'))",
        "http://127.0.0.1:9/assertion",
        "https://evil.example.com/a",
        "file:///etc/passwd",
        "#_response-1",
        "_assertion-1",
        " #_assertion-1",
    ],
)
def test_reference_uris(uri):
    root = signed()
    root.find(f".//{DS}Reference").set("URI", uri)
    assert reason(root) == "reference_uri"


def test_reference_without_uri():
    root = signed()
    del root.find(f".//{DS}Reference").attrib["URI"]
    assert reason(root) == "reference_uri"


def test_a_manifest_in_an_object():
    root = signed()
    root.find(f".//{DS}Signature").append(tree(f'<ds:Object xmlns:ds="{DS[1:-1]}"><ds:Manifest/></ds:Object>'))
    assert reason(root) == "object_forbidden"


def test_status_detail_and_extensions_payloads():
    payload = Draft(assertion_id="_inner").assertion_xml()
    assert (
        reason(signed(Draft(in_status=f"<samlp:StatusDetail>{payload}</samlp:StatusDetail>")))
        == "status_detail_forbidden"
    )
    assert (
        reason(signed(Draft(in_response=f"<samlp:Extensions>{payload}</samlp:Extensions>"))) == "extensions_forbidden"
    )


def test_verifiers_disagree_when_the_second_says_no(monkeypatch):
    from federation.signin import signatures

    monkeypatch.setattr(signatures, "second_verifier", lambda *_: None)
    assert reason(signed()) == "verifiers_disagree"


def test_verifiers_disagree_when_the_second_returns_another_element(monkeypatch):
    """Stands for a flaw in signxml: what it says is signed must be the element that was handed over."""
    from federation.signin import signatures

    class Odd:
        signed_xml = tree("<other/>")

    monkeypatch.setattr(signatures, "VerifyResult", Odd)
    monkeypatch.setattr(signatures._Verifier, "verify", lambda *_, **__: Odd())
    assert reason(signed()) == "verifiers_disagree"


def test_xmlsec_alone_says_no(monkeypatch):
    from federation.signin import signatures

    monkeypatch.setattr(signatures, "first_verifier", lambda *_: False)
    assert reason(signed()) == "signature_invalid"
