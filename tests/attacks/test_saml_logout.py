"""Logout messages that would sign somebody out, or make us inflate, believe or fetch something."""

from __future__ import annotations

import base64
import time
import zlib
from datetime import timedelta
from urllib.parse import quote

import pytest
from lxml import etree

from federation.errors import SamlRefused
from federation.signin import saml, shape
from tests import saml_hostile
from tests import saml_kit as kit
from tests.saml_kit import (
    DS,
    NOW,
    SAML,
    SLO,
    Signing,
    at,
    deflate,
    logout_request_xml,
    logout_response_xml,
    pair,
    query,
    sign,
    tree,
)


def refused(query_string="", *, form=None, idp=None, by=None, now=NOW, verify=saml.verify_logout_request):
    try:
        verify(
            kit.service_provider(),
            idp or kit.idp_metadata(),
            by or kit.provider(),
            query_string=query_string,
            form=form,
            now=now,
        )
    except SamlRefused as error:
        return error.reason
    return "accepted"


def posted(root: etree._Element | str) -> dict[str, str]:
    raw = root.encode() if isinstance(root, str) else etree.tostring(root)
    return {"SAMLRequest": base64.b64encode(raw).decode()}


def test_it_is_right_to_begin_with():
    assert refused(query(logout_request_xml())) == "accepted"
    assert refused(form=posted(sign(tree(logout_request_xml())))) == "accepted"


def test_unsigned():
    text = query(logout_request_xml())
    assert refused(text[: text.index("&SigAlg")]) == "signature_missing"
    assert refused(text[: text.index("&Signature")]) == "signature_missing"
    assert refused(text[: text.index("&Signature")] + "&Signature=") == "signature_missing"
    assert refused(form=posted(logout_request_xml())) == "signature_missing"


def test_signed_by_a_stranger():
    assert refused(query(logout_request_xml(), by=pair("stranger"))) == "signature_invalid"
    stranger = sign(tree(logout_request_xml()), Signing(by=pair("stranger")))
    assert refused(form=posted(stranger)) == "certificate_foreign"


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
        "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        "",
    ],
)
def test_weak_algorithms(algorithm):
    expected = "algorithm_forbidden" if algorithm else "signature_missing"
    assert refused(query(logout_request_xml(), algorithm=algorithm)) == expected


def test_another_algorithm_than_the_one_signed_with():
    for name in ("rsa-sha512", "ecdsa-sha256"):
        algorithm = f"http://www.w3.org/2001/04/xmldsig-more#{name}"
        assert refused(query(logout_request_xml(), algorithm=algorithm)) == "signature_invalid"


@pytest.mark.parametrize("change", ["SAMLRequest", "RelayState", "SigAlg", "Signature"])
def test_changed_after_signing(change):
    fields = dict(pair.split("=", 1) for pair in query(logout_request_xml(), relay_state="state-1").split("&"))
    other = dict(
        pair.split("=", 1) for pair in query(logout_request_xml(name_id="bob"), relay_state="state-2").split("&")
    )
    fields[change] = other[change] if change != "SigAlg" else fields[change].replace("sha256", "sha384")
    assert refused("&".join(f"{name}={value}" for name, value in fields.items())) == "signature_invalid"


def test_a_relay_state_left_out_or_put_in():
    text = query(logout_request_xml(), relay_state="state-1")
    assert refused(text.replace("&RelayState=state-1", "")) == "signature_invalid"
    assert refused(query(logout_request_xml()) + "&RelayState=x") == "signature_invalid"


def test_the_order_in_the_query_does_not_matter_but_the_signed_order_does():
    text = query(logout_request_xml(), relay_state="state-1")
    assert refused("&".join(reversed(text.split("&")))) == "accepted"


def test_a_parameter_twice_or_in_disguise():
    text = query(logout_request_xml())
    other = quote(base64.b64encode(deflate(logout_request_xml(name_id="bob"))), safe="")
    assert refused(text + "&SAMLRequest=" + other) == "parameter_repeated"
    assert refused("SAMLRequest=" + other + "&" + text) == "parameter_repeated"
    assert refused(text + "&SAML%52equest=" + other) == "parameter_unknown"


def test_no_message():
    for text in ("", "RelayState=x", query(logout_request_xml(), field="SAMLResponse")):
        assert refused(text) == "parameter_missing"
    assert refused(form={}) == "parameter_missing"


def test_an_inflate_bomb_is_not_inflated():
    packed = deflate(b"<a>" + b"x" * 100_000_000 + b"</a>")
    assert len(packed) < shape.MAX_BYTES
    text = query("", packed=packed)
    start = time.process_time()
    assert refused(text) == "inflate_too_large"
    assert time.process_time() - start < 0.5


def test_not_deflate_or_more_than_that():
    for packed in (b"", b"not deflate", deflate(logout_request_xml())[:-5], deflate(logout_request_xml()) + b"more"):
        assert refused(query("", packed=packed)) == "inflate_invalid"
    assert refused(query("", packed=zlib.compress(logout_request_xml().encode()))) == "inflate_invalid"
    assert refused("SAMLRequest=" + "A" * (3 * shape.MAX_BYTES)) == "too_large"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"issuer": None}, "issuer_missing"),
        ({"issuer": ""}, "issuer_missing"),
        ({"issuer": "https://evil.example.com"}, "issuer_wrong"),
        ({"destination": None}, "destination_missing"),
        ({"destination": SLO + "/x"}, "destination_wrong"),
        ({"destination": SLO[:-1]}, "destination_wrong"),
        ({"until": at(-60)}, "expired"),
        ({"until": at(-59)}, "accepted"),
        ({"until": None}, "accepted"),
        ({"until": None, "issued": at(-661)}, "expired"),
        ({"until": at(3600), "issued": at(-661)}, "expired"),
        ({"issued": at(61)}, "not_yet_valid"),
        ({"issued": "today"}, "time_malformed"),
        ({"name_id": ""}, "name_id_missing"),
        ({"name_id": "ali<!-- -->ce"}, "comment_forbidden"),
        ({"name_id": "ali<b/>ce"}, "value_not_text"),
        ({"name_id": "a" * 1_025}, "value_too_long"),
        ({"sessions": ("s" * 1_025,)}, "value_too_long"),
        ({"sessions": ("s",) * 51}, "element_repeated"),
        ({"extra": "<samlp:Extensions/>"}, "extensions_forbidden"),
    ],
)
def test_signed_but_wrong(changes, expected):
    assert refused(query(logout_request_xml(**changes))) == expected
    if "comment" not in expected and "extra" not in changes:
        assert refused(form=posted(sign(tree(logout_request_xml(**changes))))) == expected


def test_another_message_than_the_one_expected():
    response = logout_response_xml()
    assert refused(query(response)) == "root_wrong"
    assert refused(query(kit.Draft().xml())) == "root_wrong"
    request = query(logout_request_xml(), field="SAMLResponse")
    assert refused(request, verify=saml.verify_logout_response) == "root_wrong"


def test_a_sign_in_response_wrapped_into_a_logout_request():
    inner = kit.Draft().assertion_xml()
    assert refused(query(logout_request_xml(extra=inner))) == "assertion_misplaced"


def test_an_embedded_signature_that_nobody_would_verify():
    embedded = etree.tostring(sign(tree(logout_request_xml())))
    assert refused(query(embedded)) == "signature_misplaced"


def test_wrapping_of_a_posted_request():
    root = tree(etree.tostring(sign(tree(logout_request_xml()))))
    root.find(SAML + "NameID").text = "bob"
    assert refused(form=posted(root)) == "signature_invalid"
    root.find(DS + "Signature").append(tree(logout_request_xml()))
    assert refused(form=posted(root)) == "response_misplaced"
    root = tree(etree.tostring(sign(tree(logout_request_xml()))))
    root.find(f".//{DS}Transforms").insert(0, tree(saml_hostile.XSLT))
    assert refused(form=posted(root)) == "transform_forbidden"


def test_hostile_xml():
    assert refused(query('<!DOCTYPE a [<!ENTITY x "y">]>' + logout_request_xml())) == "dtd_forbidden"
    assert refused(form={"SAMLRequest": "%%"}) == "not_base64"
    assert refused(form=posted("<a>" * 5_000)) == "too_deep"


def test_closed_providers():
    text = query(logout_request_xml())
    assert refused(text, by=kit.provider(enabled=False)) == "provider_disabled"
    assert refused(text, idp=kit.idp_metadata(valid_until=NOW)) == "metadata_expired"
    assert refused(text, idp=kit.idp_metadata(signing_certificates=())) == "certificate_missing"
    expired = pair("expired", end=NOW - timedelta(seconds=1))
    assert (
        refused(query(logout_request_xml(), by=expired), idp=kit.idp_metadata(expired.certificate))
        == "certificate_expired"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"in_response_to": None}, "unsolicited"),
        ({"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"}, "status_not_success"),
        ({"destination": "https://evil.example.com"}, "destination_wrong"),
    ],
)
def test_wrong_answers(changes, expected):
    text = query(logout_response_xml(**changes), field="SAMLResponse")
    assert refused(text, verify=saml.verify_logout_response) == expected
