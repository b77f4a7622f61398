"""The few XML tools that the demo's two sides share: namespaces, a hardened parser, times, signing with signxml."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lxml import etree
from lxml.builder import ElementMaker
from signxml import CanonicalizationMethod, DigestAlgorithm, SignatureMethod, XMLSigner

from demo.keypair import KeyPair

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
NS = {"saml": SAML, "samlp": SAMLP, "md": MD, "ds": DS, "xenc": XENC}

E_SAML = ElementMaker(namespace=SAML, nsmap={"saml": SAML})
E_SAMLP = ElementMaker(namespace=SAMLP, nsmap={"samlp": SAMLP, "saml": SAML})
E_MD = ElementMaker(namespace=MD, nsmap={"md": MD})
E_DS = ElementMaker(namespace=DS, nsmap={"ds": DS})
E_XENC = ElementMaker(namespace=XENC, nsmap={"xenc": XENC, "ds": DS})

MAX_XML_BYTES = 300_000


class BadXml(ValueError):
    """Not well-formed, too large, or with a document type declaration."""


def parse(xml: bytes, max_bytes: int = MAX_XML_BYTES) -> Any:
    """The root element. Raises BadXml. No DTD, no entity, no network: a demo, too, meets hostile documents in the tests."""
    if len(xml) > max_bytes:
        raise BadXml(f"{len(xml)} bytes, at most {max_bytes}")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadXml(str(error)) from error
    if root is None or root.getroottree().docinfo.doctype:
        raise BadXml("a document type declaration")
    return root


def text_of(element: Any) -> str:
    """The whole text of an element, comments left out but never cut at them (a comment must not shorten a name)."""
    return "".join(element.xpath(".//text()"))


def stamp(moment: datetime) -> str:
    """xs:dateTime in UTC with whole seconds and Z (SAML core 1.3.3)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """An aware datetime out of xs:dateTime in UTC. Raises ValueError."""
    if not text.endswith("Z"):
        raise ValueError(f"not UTC: {text!r}")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)


def placeholder() -> Any:
    """Where signxml puts the signature: the schema wants it right after Issuer."""
    return E_DS.Signature(Id="placeholder")


def sign(element: Any, pair: KeyPair) -> Any:
    """`element` (which has an ID and a placeholder) with an enveloped RSA-SHA256 signature over it, exclusive C14N."""
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    return signer.sign(
        element, key=pair.key, cert=[pair.certificate], reference_uri=element.get("ID"), id_attribute="ID"
    )


def serialize(element: Any) -> bytes:
    """UTF-8 with an XML declaration."""
    return etree.tostring(element, xml_declaration=True, encoding="UTF-8")
