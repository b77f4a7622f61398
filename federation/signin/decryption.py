"""Decrypting an EncryptedAssertion (XML Encryption 1.1): RSA-OAEP for the key, AES-GCM or AES-CBC for the data.

Every failure is one and the same error, and a key that does not unwrap is replaced by a random one, so that neither
answer nor time tells an attacker which step failed. AES-CBC has no integrity of its own: who asks for it must have
verified the signature around the ciphertext first (`allow_cbc`).
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from federation.errors import ConfigurationError
from federation.signin.grammar import AES_CBC, AES_GCM, DS, RSA_OAEP, XENC, XENC11, Element
from federation.signin.reasons import Reason, refused

_BLOCK = 16
_NONCE = 12
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "http://www.w3.org/2000/09/xmldsig#sha1": hashes.SHA1,
    "http://www.w3.org/2001/04/xmlenc#sha256": hashes.SHA256,
    "http://www.w3.org/2001/04/xmldsig-more#sha384": hashes.SHA384,
    "http://www.w3.org/2001/04/xmlenc#sha512": hashes.SHA512,
}
_MGF_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "http://www.w3.org/2009/xmlenc11#mgf1sha1": hashes.SHA1,
    "http://www.w3.org/2009/xmlenc11#mgf1sha256": hashes.SHA256,
    "http://www.w3.org/2009/xmlenc11#mgf1sha384": hashes.SHA384,
    "http://www.w3.org/2009/xmlenc11#mgf1sha512": hashes.SHA512,
}


class _Failed(Exception):
    """Any failure of a step; never leaves this module."""


@lru_cache(maxsize=32)
def private_key(pem: str) -> rsa.RSAPrivateKey:
    """The RSA key in `pem`, kept: reading and checking one costs more than using it."""
    key = load_pem_private_key(pem.encode("ascii"), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError("service_provider_key_not_rsa")
    return key


def decrypt(encrypted: Element, keys: tuple[str, ...], *, allow_cbc: bool) -> bytes:
    """The plaintext of an EncryptedAssertion whose shape has been checked. `keys`: our private keys, newest first.

    Raises SamlRefused: encryption_algorithm (from the document's own words, before any key is used), decrypt_failed.
    """
    data = encrypted.find(XENC + "EncryptedData")
    method = "" if data is None else _algorithm(data.find(XENC + "EncryptionMethod"))
    if method not in AES_GCM and not (allow_cbc and method in AES_CBC):
        # CBC without integrity: whoever may flip bits and watch the answer reads the plaintext (padding oracle).
        raise refused(Reason.ENCRYPTION_ALGORITHM, method)
    wrapped = list(encrypted.iter(XENC + "EncryptedKey"))
    if data is None or len(wrapped) != 1:
        raise refused(Reason.DECRYPT_FAILED)
    size = (AES_GCM | AES_CBC)[method]
    plain: bytes | None = None
    for pem in keys:
        # No early way out: the time says nothing about which key, or which step, it was.
        try:
            session_key = _unwrap(wrapped[0], private_key(pem), size)
            usable = True
        except _Failed:
            session_key, usable = os.urandom(size), False
        try:
            found = _open(_cipher_value(data), session_key, gcm=method in AES_GCM)
        except _Failed:
            continue
        if usable and plain is None:
            plain = found
    if plain is None:
        raise refused(Reason.DECRYPT_FAILED)
    return plain


def _algorithm(element: Element | None) -> str:
    return "" if element is None else element.get("Algorithm", "")


def _cipher_value(element: Element) -> bytes:
    text = element.findtext(f"{XENC}CipherData/{XENC}CipherValue") or ""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (ValueError, binascii.Error):
        return b""


def _unwrap(wrapped: Element, key: rsa.RSAPrivateKey, size: int) -> bytes:
    """The session key of `size` bytes out of an EncryptedKey (RSA-OAEP, XML Encryption 5.5.2)."""
    method = wrapped.find(XENC + "EncryptionMethod")
    digest: type[hashes.HashAlgorithm] = hashes.SHA1
    mgf: type[hashes.HashAlgorithm] = hashes.SHA1
    if method is not None:
        named = _algorithm(method.find(DS + "DigestMethod"))
        digest = _HASHES[named] if named else digest
        if _algorithm(method) == RSA_OAEP:
            mgf_named = _algorithm(method.find(XENC11 + "MGF"))
            if mgf_named and mgf_named not in _MGF_HASHES:
                raise _Failed
            mgf = _MGF_HASHES[mgf_named] if mgf_named else mgf
    try:
        session_key = key.decrypt(
            _cipher_value(wrapped), padding.OAEP(mgf=padding.MGF1(mgf()), algorithm=digest(), label=None)
        )
    except ValueError as error:
        raise _Failed from error
    if len(session_key) != size:
        raise _Failed
    return session_key


def _open(data: bytes, session_key: bytes, *, gcm: bool) -> bytes:
    """Nonce or IV first, then the ciphertext (XML Encryption 5.2.2, 5.2.4)."""
    if gcm:
        try:
            return AESGCM(session_key).decrypt(data[:_NONCE], data[_NONCE:], None)
        except (InvalidTag, ValueError) as error:
            raise _Failed from error
    if len(data) < 2 * _BLOCK or len(data) % _BLOCK:
        raise _Failed
    decryptor = Cipher(algorithms.AES(session_key), modes.CBC(data[:_BLOCK])).decryptor()
    padded = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
    # XML Encryption pads with anything, the last byte says how much.
    if not 1 <= padded[-1] <= _BLOCK:
        raise _Failed
    return padded[: -padded[-1]]
