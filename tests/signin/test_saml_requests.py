"""What we send: our metadata, and requests for authentication."""

from __future__ import annotations

import base64
import importlib.util
import zlib
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

from federation.signin import saml
from tests import saml_kit as kit
from tests.saml_kit import ACS, NOW, NS, SAML, SAMLP, SLO, SP, pair

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"


def schema(name: str) -> etree.XMLSchema:
    folder = importlib.util.find_spec("onelogin.saml2").submodule_search_locations[0]
    return etree.XMLSchema(etree.parse(Path(folder) / "schemas" / name))


def without_mgf(root: etree._Element) -> etree._Element:
    """The schemas at hand are older than XML Encryption 1.1."""
    for element in list(root.iter("{http://www.w3.org/2009/xmlenc11#}MGF")):
        element.getparent().remove(element)
    return root


def opened(url: str, field: str = "SAMLRequest") -> tuple[etree._Element, dict[str, str]]:
    """The message in a redirect URL, and its parameters, once its signature has verified."""
    query = urlsplit(url).query
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    if "Signature" in fields:
        certificate = x509.load_pem_x509_certificate(pair("sp").certificate.encode())
        signed = query[query.index(field) : query.index("&Signature=")]
        certificate.public_key().verify(
            base64.b64decode(fields["Signature"]), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    return etree.fromstring(zlib.decompress(base64.b64decode(fields[field]), -15)), fields


def request(idp=None, by=None, relay_state="state-1"):
    return saml.authn_request(
        kit.service_provider(), idp or kit.idp_metadata(), by or kit.provider(), relay_state=relay_state, now=NOW
    )


def test_metadata_is_valid_by_the_schema_and_says_what_we_want():
    root = etree.fromstring(saml.sp_metadata(kit.service_provider(), now=NOW))
    role = root.find(MD + "SPSSODescriptor")
    assert root.get("entityID") == SP
    assert (role.get("AuthnRequestsSigned"), role.get("WantAssertionsSigned")) == ("true", "true")
    assert role.find(MD + "AssertionConsumerService").get("Location") == ACS
    assert {service.get("Location") for service in role.findall(MD + "SingleLogoutService")} == {SLO}
    assert [descriptor.get("use") for descriptor in role.findall(MD + "KeyDescriptor")] == ["signing", "encryption"]
    methods = [method.get("Algorithm") for method in role.iter(MD + "EncryptionMethod")]
    assert methods[0] == "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    assert NS["xenc"] + "rsa-oaep-mgf1p" in methods
    assert not [method for method in methods if "cbc" in method or "rsa-1_5" in method]
    rules = schema("saml-schema-metadata-2.0.xsd")
    rules.assertValid(without_mgf(root))


def test_older_certificates_stay_listed_for_signing_until_they_expire():
    older, expired = pair("older sp"), pair("expired", end=NOW - timedelta(seconds=1))
    sp = kit.service_provider(older=((older.key, older.certificate), (expired.key, expired.certificate)))
    root = etree.fromstring(saml.sp_metadata(sp, now=NOW))
    listed = [
        (descriptor.get("use"), descriptor.findtext(f".//{kit.DS}X509Certificate"))
        for descriptor in root.iter(MD + "KeyDescriptor")
    ]
    own = pair("sp").bare
    assert listed == [("signing", own), ("signing", older.bare), ("encryption", own)]


def test_a_request_is_signed_and_valid_by_the_schema():
    sent = request()
    root, fields = opened(sent.url)
    assert sent.url.startswith("https://idp.example.com/sso?SAMLRequest=")
    assert fields["RelayState"] == "state-1"
    assert fields["SigAlg"] == "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
    assert root.get("ID") == sent.id
    assert root.get("Destination") == "https://idp.example.com/sso"
    assert root.get("AssertionConsumerServiceURL") == ACS
    assert root.get("IssueInstant") == "2026-03-02T12:00:00Z"
    assert root.findtext(SAML + "Issuer") == SP
    assert root.get("ForceAuthn") is None
    schema("saml-schema-protocol-2.0.xsd").assertValid(root)


def test_ids_are_never_the_same():
    assert len({request().id for _ in range(50)}) == 50


def test_a_changed_request_does_not_verify():
    with pytest.raises(InvalidSignature):
        opened(request().url.replace("RelayState=state-1", "RelayState=state-2"))


def test_an_address_with_a_query_and_the_requests_own_id_as_relay_state():
    sent = request(kit.idp_metadata(sso_redirect_url="https://idp.example.com/sso?tenant=1"), relay_state="")
    assert sent.url.startswith("https://idp.example.com/sso?tenant=1&SAMLRequest=")
    assert opened(sent.url)[1]["RelayState"] == sent.id


def test_signing_can_be_switched_off_unless_the_provider_asks_for_it():
    unsigned = kit.provider(sign_requests=False)
    assert "Signature" not in opened(request(by=unsigned).url)[1]
    assert "Signature" in opened(request(kit.idp_metadata(want_authn_requests_signed=True), by=unsigned).url)[1]
    assert opened(request(by=unsigned).url)[0].tag == SAMLP + "AuthnRequest"


def test_keys_are_not_in_any_repr():
    sp = kit.service_provider()
    assert "PRIVATE KEY" not in repr(sp)
