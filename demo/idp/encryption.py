"""Encrypted assertions: AES-256-GCM for the content, RSA-OAEP for the key (XML Encryption 1.1)."""

from __future__ import annotations

import base64
import os
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

from demo import xml

AES256_GCM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
RSA_OAEP = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
SHA1 = "http://www.w3.org/2000/09/xmldsig#sha1"
ELEMENT = "http://www.w3.org/2001/04/xmlenc#Element"


def encrypt(assertion: Any, certificate: x509.Certificate) -> Any:
    """A saml:EncryptedAssertion of `assertion` that the certificate's key can open.

    OAEP runs with SHA-1 because rsa-oaep-mgf1p fixes it for the mask (XML Encryption 5.5.2); OAEP needs no collision resistance.
    """
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("The service provider's encryption certificate does not hold an RSA key.")
    content_key, nonce = os.urandom(32), os.urandom(12)
    plain = etree.tostring(assertion, with_tail=False)
    sealed = nonce + AESGCM(content_key).encrypt(nonce, plain, None)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
    e, ds = xml.E_XENC, xml.E_DS

    def value(data: bytes) -> Any:
        return e.CipherData(e.CipherValue(base64.b64encode(data).decode()))

    encrypted_key = e.EncryptedKey(
        e.EncryptionMethod(ds.DigestMethod(Algorithm=SHA1), Algorithm=RSA_OAEP), value(key.encrypt(content_key, oaep))
    )
    return xml.E_SAML.EncryptedAssertion(
        e.EncryptedData(
            e.EncryptionMethod(Algorithm=AES256_GCM), ds.KeyInfo(encrypted_key), value(sealed), Type=ELEMENT
        )
    )
