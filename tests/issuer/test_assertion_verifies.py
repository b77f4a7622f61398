"""Verifiers that know nothing of us agree with the document that was written without an XML library."""

from __future__ import annotations

import base64
from pathlib import Path

import onelogin.saml2
import pytest
import signxml
import xmlsec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from federation.issuer.assertion import mint_assertion
from tests.issuer.material import DS, NOW, SAML, SAMLP, alice, key, parsed, signer

AWKWARD = {"Tëam": "Größe @ Ko", "ключ": "значение", "Path": "a/b:c=d+e@f", "Empty": "", "名前": "営業 部"}


@pytest.fixture(scope="module")
def schema():
    folder = Path(onelogin.saml2.__file__).parent / "schemas"
    return etree.XMLSchema(etree.parse(folder / "saml-schema-protocol-2.0.xsd"))


def xmlsec_verifies(document) -> None:
    assertion = document.find(f"{SAML}Assertion")
    xmlsec.tree.add_ids(assertion, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(key().certificate_pem, xmlsec.constants.KeyDataFormatCertPem)
    context.verify(assertion.find(f"{DS}Signature"))


def signxml_verifies(document):
    config = signxml.SignatureConfiguration(
        location=f"./{SAML}Assertion/",
        signature_methods=frozenset({signxml.SignatureMethod.RSA_SHA256}),
        digest_algorithms=frozenset({signxml.DigestAlgorithm.SHA256}),
    )
    return (
        signxml.XMLVerifier()
        .verify(document, x509_cert=key().certificate_pem, id_attribute="ID", expect_config=config)
        .signed_xml
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tags": AWKWARD, "transitive_tags": ("ключ", "Path")},
        {"tags": {}, "transitive_tags": ()},
        {"issuer": 'https://a.example/?a=1&b="<c>"', "name_id": "<Alice & 'Bob'> \"q\" ]]>"},
    ],
)
def test_both_verifiers_and_the_schema_accept_it(schema, changes):
    response = mint_assertion(alice(**changes), signer(), now=NOW).saml_response
    schema.assertValid(parsed(response))
    xmlsec_verifies(parsed(response))
    signed = signxml_verifies(parsed(response))
    assert signed.tag == f"{SAML}Assertion"


def test_signxml_covers_the_very_assertion_with_its_awkward_tags():
    request = alice(tags=AWKWARD, transitive_tags=())
    signed = signxml_verifies(parsed(mint_assertion(request, signer(), now=NOW).saml_response))
    found = {
        a.get("Name").split("PrincipalTag:")[1]: (a[0].text or "")
        for a in signed.iter(f"{SAML}Attribute")
        if "PrincipalTag:" in a.get("Name")
    }
    assert found == AWKWARD


def test_one_changed_letter_fails_both_verifiers():
    raw = base64.b64decode(mint_assertion(alice(), signer(), now=NOW).saml_response)
    forged = raw.replace(b"role/ReadOnly", b"role/ReadOnlx")
    assert forged != raw
    with pytest.raises(xmlsec.VerificationError):
        xmlsec_verifies(etree.fromstring(forged))
    with pytest.raises(signxml.exceptions.InvalidDigest):
        signxml_verifies(etree.fromstring(forged))


def test_the_assertion_is_written_in_its_canonical_form():
    raw = base64.b64decode(mint_assertion(alice(tags=AWKWARD, transitive_tags=()), signer(), now=NOW).saml_response)
    assertion = etree.fromstring(raw).find(f"{SAML}Assertion")
    assert etree.tostring(assertion, method="c14n", exclusive=True) in raw


def test_the_signature_references_its_parent_alone_with_the_two_transforms():
    document = parsed(mint_assertion(alice(), signer(), now=NOW).saml_response)
    (signature,) = document.iter(f"{DS}Signature")
    assert signature.getparent().tag == f"{SAML}Assertion"
    (reference,) = signature.iter(f"{DS}Reference")
    assert reference.get("URI") == "#" + signature.getparent().get("ID")
    assert [t.get("Algorithm") for t in reference.iter(f"{DS}Transform")] == [
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
    ]
    assert document.find(f"{SAMLP}Status/{SAMLP}StatusCode").get("Value").endswith(":Success")


_tag = st.text(st.characters(categories=["L", "N", "Zs"], include_characters="_.:/=+-@"), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_tag.filter(lambda k: k and not k.lower().startswith("aws:")), _tag, max_size=8))
def test_whatever_tags_aws_takes_verify(tags):
    if len({k.lower() for k in tags}) != len(tags):
        return
    response = mint_assertion(alice(tags=tags, transitive_tags=()), signer(), now=NOW).saml_response
    xmlsec_verifies(parsed(response))
    signxml_verifies(parsed(response))
