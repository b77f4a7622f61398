"""Two verifiers that share no code, and must agree: xmlsec (through libxmlsec1) and signxml (through pyca/cryptography).

Neither is asked before `shape` has let the document through. Keys come from pinned certificates alone; what KeyInfo
says is never used to verify, only compared. Only the element that the second verifier returns, parsed anew from the
bytes that were digested, may be read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import xmlsec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier
from xmlsec import constants

from federation.signin import certificates, grammar, shape
from federation.signin.grammar import DS, Element
from federation.signin.reasons import Reason, refused

_METHODS = frozenset(SignatureMethod(uri) for uri in grammar.SIGNATURE_ALGORITHMS)
_DIGESTS = frozenset(DigestAlgorithm(uri) for uri in grammar.DIGEST_ALGORITHMS)
# What xmlsec calls the algorithms that the grammar knows. Nothing else is ever switched on.
_REFERENCE_TRANSFORMS = {
    grammar.ENVELOPED: constants.TransformEnveloped,
    grammar.EXC_C14N: constants.TransformExclC14N,
    "http://www.w3.org/2001/04/xmlenc#sha256": constants.TransformSha256,
    "http://www.w3.org/2001/04/xmldsig-more#sha384": constants.TransformSha384,
    "http://www.w3.org/2001/04/xmlenc#sha512": constants.TransformSha512,
}
_SIGNATURE_TRANSFORMS = {
    grammar.EXC_C14N: constants.TransformExclC14N,
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": constants.TransformRsaSha256,
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": constants.TransformRsaSha384,
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": constants.TransformRsaSha512,
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": constants.TransformEcdsaSha256,
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384": constants.TransformEcdsaSha384,
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512": constants.TransformEcdsaSha512,
}


def candidates(signature: Element, pems: Sequence[str]) -> tuple[str, ...]:
    """Which of the pinned certificates `signature` may have been made with.

    Where KeyInfo holds certificates, one of them must have a pinned key: else an attacker has signed with a key of
    their own and sent its certificate along. Raises SamlRefused(certificate_foreign).
    """
    named = [node.text or "" for node in signature.iterfind(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")]
    if not named:
        return tuple(pems)
    keys = {_key_of(text) for text in named}
    matching = tuple(pem for pem in pems if certificates.public_key_der(pem) in keys)
    if not matching:
        raise refused(Reason.CERTIFICATE_FOREIGN)
    return matching


@lru_cache(maxsize=256)
def _key_of(text: str) -> bytes:
    """SubjectPublicKeyInfo of a certificate in KeyInfo, b"" if it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode("".join(text.split()), validate=True))
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        return b""


@lru_cache(maxsize=64)
def _xmlsec_key(pem: str) -> xmlsec.Key:
    return xmlsec.Key.from_memory(pem, constants.KeyDataFormatCertPem, None)


def first_verifier(signature: Element, pems: Sequence[str]) -> bool:
    """Whether xmlsec finds `signature` right for one of `pems`.

    Every transform but those that the signature names, out of the usual ones, is switched off in the context as well: should
    the shape check ever have a hole, no XSLT runs here.
    """
    parent = signature.getparent()
    info = signature.find(DS + "SignedInfo")
    if parent is None or info is None:
        return False
    named = {str(node.get("Algorithm")) for node in info.iter() if node.get("Algorithm") is not None}
    if not named <= _REFERENCE_TRANSFORMS.keys() | _SIGNATURE_TRANSFORMS.keys():
        return False
    xmlsec.tree.add_ids(parent, ["ID"])
    for pem in pems:
        context = xmlsec.SignatureContext()
        context.key = _xmlsec_key(pem)
        context.set_enabled_key_data([constants.KeyDataX509])
        # The first of each kind switches all others off: so exclusive C14N always, whatever is named.
        for uri in {grammar.EXC_C14N} | named & _REFERENCE_TRANSFORMS.keys():
            context.enable_reference_transform(_REFERENCE_TRANSFORMS[uri])
        for uri in {grammar.EXC_C14N} | named & _SIGNATURE_TRANSFORMS.keys():
            context.enable_signature_transform(_SIGNATURE_TRANSFORMS[uri])
        try:
            context.verify(signature)
        except xmlsec.Error:
            continue
        return True
    return False


class _Verifier(XMLVerifier):
    """signxml's verifier, for a document whose root is the signed element."""

    # signxml copies the document twice by serializing and parsing it, in case there are more references to verify. There
    # is one here and the document is this verifier's own, so a root is its own copy; anything below a root is copied.
    def _tostring(self, xml_node: Element, **kwargs: Any) -> bytes | Element:
        return xml_node if xml_node.getparent() is None else etree.tostring(xml_node, **kwargs)

    def _fromstring(self, xml_string: bytes | Element, **_: object) -> Element:
        """`xml_string` parsed. It was serialized here, from a tree that `shape` let through: no DTD to look for."""
        return etree.fromstring(xml_string, shape.parser()) if isinstance(xml_string, bytes) else xml_string

    def _resolve_reference(self, doc_root: Element, reference: Element, uri_resolver: object = None) -> Element:
        """The root, or nothing: no search through the document for something of that ID, no URI is resolved."""
        if not doc_root.get("ID") or reference.get("URI") != "#" + doc_root.get("ID", ""):
            raise InvalidInput("the reference is not to the root")
        return doc_root


def second_verifier(signed: Element, pems: Sequence[str], now: datetime) -> Element | None:
    """What the signature in `signed` covers, as signxml returns it, or None if signxml refuses it for all of `pems`.

    `signed` is the element that holds the signature; it is handed over as bytes, in a document of its own, so that
    nothing else is there to be found by its ID. Raises SamlRefused(verifiers_disagree) if what comes back is another
    element or was verified with another key.
    """
    document = etree.tostring(signed, with_tail=False)
    for pem in pems:
        config = SignatureConfiguration(
            require_x509=True,
            location="./",
            expect_references=1,
            signature_methods=_METHODS,
            digest_algorithms=_DIGESTS,
            verification_time=now,
        )
        try:
            result = _Verifier().verify(
                document,
                x509_cert=certificates.load(pem),
                expect_config=config,
                validate_schema=False,  # `shape` is stricter than that schema
            )
        except (SignXMLException, ValueError, TypeError, AttributeError, etree.LxmlError):
            continue
        found = result.signed_xml if isinstance(result, VerifyResult) else None
        if found is None or found.tag != signed.tag or found.get("ID") != signed.get("ID"):
            raise refused(Reason.VERIFIERS_DISAGREE, "another element")
        return found
    return None


def verify_second(signed: Element, pems: Sequence[str], now: datetime) -> Element:
    """The element that the one Signature child of `signed` covers, by the second verifier; the first has said yes.

    Raises SamlRefused: signature_missing, certificate_foreign, verifiers_disagree.
    """
    found = second_verifier(signed, candidates(_signature_of(signed), pems), now)
    if found is None:
        raise refused(Reason.VERIFIERS_DISAGREE, "xmlsec accepts, signxml refuses")
    return found


def verify(signed: Element, pems: Sequence[str], now: datetime) -> Element:
    """The element that the one Signature child of `signed` covers, once both verifiers agree about it.

    Raises SamlRefused: signature_missing, certificate_foreign, signature_invalid, verifiers_disagree.
    """
    signature = _signature_of(signed)
    if not first_verifier(signature, candidates(signature, pems)):
        raise refused(Reason.SIGNATURE_INVALID, str(signed.tag))
    return verify_second(signed, pems, now)


def signer(signed: Element, pems: Sequence[str]) -> str:
    """Which of `pems` the Signature child of `signed` was made with, once `verify` has said yes.

    Costs a second check only while keys roll and the signature does not name its certificate.
    """
    signature = _signature_of(signed)
    found = candidates(signature, pems)
    return next((pem for pem in found[:-1] if first_verifier(signature, (pem,))), found[-1])


def _signature_of(signed: Element) -> Element:
    signature = signed.find(DS + "Signature")
    if signature is None:
        raise refused(Reason.SIGNATURE_MISSING, str(signed.tag))
    return signature
