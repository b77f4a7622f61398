"""Encrypted assertions: no oracle, nothing decrypted that is not authentic, and the plaintext is checked like any other."""

from __future__ import annotations

import base64

import pytest
from lxml import etree
from xmlsec import constants

from federation.errors import ConfigurationError, SamlRefused
from federation.signin import decryption
from tests import saml_hostile
from tests import saml_kit as kit
from tests.saml_kit import (
    NS,
    SAML,
    XENC,
    Draft,
    Encryption,
    Signing,
    assertion_of,
    encrypt,
    encrypted,
    pair,
    reason,
    sign,
    tree,
    verify,
)
from tests.saml_wrapping import wrap

CBC = Encryption(data=constants.TransformAes256Cbc)
GCMS = {128: constants.TransformAes128Gcm, 192: constants.TransformAes192Gcm, 256: constants.TransformAes256Gcm}
CBCS = {128: constants.TransformAes128Cbc, 192: constants.TransformAes192Cbc, 256: constants.TransformAes256Cbc}


@pytest.mark.parametrize("bits", GCMS)
@pytest.mark.parametrize(("inner", "outer"), [(True, False), (True, True), (False, True)])
def test_aes_gcm_is_fine(bits, inner, outer):
    how = Encryption(data=GCMS[bits], bits=bits)
    verified = verify(encrypted(inner=inner, outer=outer, how=how), by=kit.provider(encrypted_assertions=True))
    assert verified.identity.subject.value == "alice"
    assert verified.identity.groups == {"engineering", "on-call"}


@pytest.mark.parametrize("bits", CBCS)
@pytest.mark.parametrize("inner", [True, False])
def test_aes_cbc_inside_a_signed_response_is_fine(bits, inner):
    assert reason(encrypted(inner=inner, outer=True, how=Encryption(data=CBCS[bits], bits=bits))) == "accepted"


def test_the_key_beside_the_data_is_fine():
    assert reason(encrypted(how=Encryption(beside=True))) == "accepted"


def test_an_older_key_during_a_rotation():
    older = pair("older sp")
    root = encrypted(how=Encryption(to=older.certificate))
    assert reason(root) == "decrypt_failed"
    assert reason(root, sp=kit.service_provider(older=((older.key, older.certificate),))) == "accepted"


@pytest.mark.parametrize(
    "digest", ["http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmlenc#sha512"]
)
@pytest.mark.parametrize("mgf", ["", "mgf1sha256", "mgf1sha1"])
def test_oaep_with_other_digests(digest, mgf):
    """Encrypted by pyca/cryptography here: libxmlsec's binding has no switch for these parameters."""
    assert reason(_oaep(digest, mgf)) == "accepted"


def _oaep(digest: str, mgf: str, mgf_uri: str = "") -> etree._Element:
    import os

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    root = tree(Draft().xml())
    assertion = sign(assertion_of(root))
    key, nonce = os.urandom(32), os.urandom(12)
    data = nonce + AESGCM(key).encrypt(nonce, etree.tostring(assertion, with_tail=False), None)
    function = hashes.SHA256() if mgf == "mgf1sha256" else hashes.SHA1()
    algorithm = hashes.SHA512() if digest.endswith("sha512") else hashes.SHA256()
    certificate = x509.load_pem_x509_certificate(pair("sp").certificate.encode())
    wrapped = certificate.public_key().encrypt(key, padding.OAEP(padding.MGF1(function), algorithm, None))
    method = "http://www.w3.org/2009/xmlenc11#rsa-oaep" if mgf or mgf_uri else NS["xenc"] + "rsa-oaep-mgf1p"
    mgf_uri = mgf_uri or (f"http://www.w3.org/2009/xmlenc11#{mgf}" if mgf else "")
    mask = f'<e11:MGF xmlns:e11="http://www.w3.org/2009/xmlenc11#" Algorithm="{mgf_uri}"/>' if mgf_uri else ""
    root.replace(
        assertion,
        tree(
            f'<saml:EncryptedAssertion xmlns:saml="{NS["saml"]}" xmlns:e="{NS["xenc"]}" xmlns:ds="{NS["ds"]}">'
            '<e:EncryptedData><e:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/><ds:KeyInfo>'
            f'<e:EncryptedKey><e:EncryptionMethod Algorithm="{method}"><ds:DigestMethod Algorithm="{digest}"/>{mask}'
            f"</e:EncryptionMethod><e:CipherData><e:CipherValue>{base64.b64encode(wrapped).decode()}</e:CipherValue>"
            "</e:CipherData></e:EncryptedKey></ds:KeyInfo><e:CipherData>"
            f"<e:CipherValue>{base64.b64encode(data).decode()}</e:CipherValue></e:CipherData></e:EncryptedData>"
            "</saml:EncryptedAssertion>"
        ),
    )
    return root


def test_an_unknown_mask_function():
    assert reason(_oaep(NS["xenc"] + "sha256", "", "http://www.w3.org/2009/xmlenc11#mgf1md5")) == "decrypt_failed"


@pytest.mark.parametrize("outer", [True, False])
def test_rsa_15(outer):
    how = Encryption(key=constants.TransformRsaPkcs1)
    assert reason(encrypted(outer=outer, how=how)) == "encryption_algorithm"


@pytest.mark.parametrize("outer", [True, False])
def test_triple_des(outer):
    how = Encryption(data=constants.TransformDes3Cbc, kind=constants.KeyDataDes, bits=192)
    assert reason(encrypted(outer=outer, how=how)) == "encryption_algorithm"


def test_aes_cbc_outside_a_signed_response_is_not_even_decrypted(monkeypatch):
    monkeypatch.setattr(decryption, "_unwrap", lambda *_: pytest.fail("a key was used"))
    assert reason(encrypted(how=CBC)) == "encryption_algorithm"


def test_a_bad_response_signature_stops_before_decryption(monkeypatch):
    monkeypatch.setattr(decryption, "decrypt", lambda *_, **__: pytest.fail("decrypted"))
    for how in (CBC, Encryption()):
        root = tree(etree.tostring(encrypted(outer=True, how=how)))
        root.set("InResponseTo", "_other")
        assert reason(root) == "signature_invalid"


def test_cbc_bits_flipped_in_a_signed_response_never_reach_the_key(monkeypatch):
    monkeypatch.setattr(decryption, "decrypt", lambda *_, **__: pytest.fail("decrypted"))
    assert reason(_flipped(encrypted(outer=True, how=CBC), "data", -1)) == "signature_invalid"


def _flipped(root: etree._Element, part: str, index: int) -> etree._Element:
    root = tree(etree.tostring(root))
    values = list(root.iter(XENC + "CipherValue"))
    node = values[0] if part == "key" else values[-1]
    raw = bytearray(base64.b64decode(node.text))
    raw[index] ^= 1
    node.text = base64.b64encode(bytes(raw)).decode()
    return root


@pytest.mark.parametrize("part", ["key", "data"])
@pytest.mark.parametrize("index", [0, 13, 100, -1, -17])
def test_flipped_bits_are_one_uniform_error(part, index):
    errors = set()
    for root in (_flipped(encrypted(), part, index), _flipped(encrypted(), part, 5)):
        with pytest.raises(SamlRefused) as caught:
            verify(root)
        errors.add((caught.value.reason, caught.value.detail, caught.value.public_sentence))
    assert errors == {("decrypt_failed", "", SamlRefused.sentence)}


def test_a_key_that_does_not_unwrap_costs_as_much_as_one_that_does(monkeypatch):
    """The data is opened with a random key then: no time is saved that an attacker could measure."""
    opened = []
    original = decryption._open
    monkeypatch.setattr(
        decryption, "_open", lambda data, key, *, gcm: opened.append(len(key)) or original(data, key, gcm=gcm)
    )
    assert reason(_flipped(encrypted(), "key", 5)) == "decrypt_failed"
    assert reason(_flipped(encrypted(), "data", 5)) == "decrypt_failed"
    assert opened == [32, 32]


def _resealed(plaintext: bytes, *, outer: bool = True, cbc: bool = True) -> etree._Element:
    """An encrypted response whose plaintext is `plaintext`, sealed by somebody who has our public key alone."""
    import os

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    root = tree(etree.tostring(encrypted(how=CBC if cbc else Encryption())))
    key, start = os.urandom(32), os.urandom(16 if cbc else 12)
    certificate = x509.load_pem_x509_certificate(pair("sp").certificate.encode())
    wrapped = certificate.public_key().encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    if cbc:
        encryptor = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
        sealed = start + encryptor.update(plaintext) + encryptor.finalize()
    else:
        sealed = start + AESGCM(key).encrypt(start, plaintext, None)
    first, second = root.iter(XENC + "CipherValue")
    first.text, second.text = base64.b64encode(wrapped).decode(), base64.b64encode(sealed).decode()
    return tree(etree.tostring(sign(root))) if outer else root


@pytest.mark.parametrize(
    "plaintext",
    [
        b"x" * 15 + b"\x00",
        b"x" * 15 + b"\x11",
        b"x" * 15 + b"\xff",
        b"x" * 15 + b"\x01",
        b"<a/>" * 4 + b"x" * 15 + b"\x10",
    ],
    ids=["padding 0", "padding 17", "padding 255", "no XML", "two roots"],
)
def test_bad_padding_and_bad_xml_are_the_same_error(plaintext):
    assert reason(_resealed(plaintext)) == "decrypt_failed"


def test_too_short_and_odd_ciphertexts():
    for size in (0, 16, 17):
        root = tree(etree.tostring(encrypted(how=CBC)))
        node = list(root.iter(XENC + "CipherValue"))[-1]
        node.text = base64.b64encode(b"x" * size).decode()
        assert reason(sign(root)) == "decrypt_failed"
    for text in ("", "%%%"):
        root = tree(etree.tostring(encrypted()))
        list(root.iter(XENC + "CipherValue"))[-1].text = text
        assert reason(root) == "decrypt_failed"


def test_a_session_key_of_another_size():
    root = encrypted(how=Encryption(data=constants.TransformAes128Gcm, bits=128))
    root.find(f".//{XENC}EncryptedData/{XENC}EncryptionMethod").set(
        "Algorithm", "http://www.w3.org/2009/xmlenc11#aes256-gcm"
    )
    assert reason(root) == "decrypt_failed"


@pytest.mark.parametrize(
    ("plaintext", "expected"),
    [
        (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "decrypt_failed"),
        (b"<a>" * 5_000 + b"</a>" * 5_000, "decrypt_failed"),
        (b"<a/>", "decrypt_failed"),
        (etree.tostring(tree(Draft().xml())), "decrypt_failed"),
    ],
    ids=["DTD", "nesting", "another root", "a whole response"],
)
def test_hostile_plaintext_from_anybody(plaintext, expected):
    assert reason(_resealed(plaintext, outer=False, cbc=False)) == expected


@pytest.mark.parametrize("transform", [saml_hostile.XSLT, saml_hostile.XPATH], ids=["XSLT", "XPath"])
def test_transforms_in_the_plaintext(transform):
    plaintext = etree.tostring(assertion_of(saml_hostile.with_transform(transform)), with_tail=False)
    assert reason(_resealed(plaintext, outer=False, cbc=False)) == "transform_forbidden"


def test_an_unsigned_plaintext_from_anybody():
    plaintext = Draft(name_id="carol").assertion_xml().encode()
    assert reason(_resealed(plaintext, outer=False, cbc=False)) == "signature_missing"


def test_a_plaintext_signed_by_a_stranger():
    root = tree(Draft(name_id="carol").xml())
    sign(assertion_of(root), Signing(by=pair("stranger")))
    assert reason(encrypt(root)) == "certificate_foreign"


def test_wrapping_inside_the_plaintext():
    root = wrap(kit.signed(), 4)
    plaintext = etree.tostring(assertion_of(root), with_tail=False)
    assert reason(_resealed(plaintext, outer=False, cbc=False)) == "assertion_misplaced"


def test_the_plaintext_shares_an_id_with_the_response():
    assert reason(encrypted(Draft(assertion_id="_response-1"))) == "duplicate_id"


def test_an_encrypted_assertion_inside_an_encrypted_assertion():
    inner = encrypted().find(SAML + "EncryptedAssertion")
    assert reason(_resealed(etree.tostring(inner, with_tail=False), outer=False, cbc=False)) == "decrypt_failed"


def test_references_are_not_followed():
    root = encrypted()
    data = root.find(f".//{XENC}EncryptedData/{XENC}CipherData")
    data[0].tag = XENC + "CipherReference"
    data[0].set("URI", "http://127.0.0.1:9/x")
    assert reason(root) == "encryption_reference"


def test_no_key_and_two_keys():
    root = encrypted()
    key = root.find(f".//{XENC}EncryptedKey")
    parent = key.getparent()
    root.find(SAML + "EncryptedAssertion").append(tree(etree.tostring(key, with_tail=False)))
    assert reason(root) == "decrypt_failed"
    parent.getparent().remove(parent)
    assert reason(root) == "accepted"
    root = encrypted()
    key = root.find(f".//{XENC}EncryptedKey")
    key.getparent().remove(key)
    assert reason(root) == "decrypt_failed"


def test_a_plain_assertion_where_encryption_is_required():
    for what in ("assertion", "response", "both"):
        assert reason(kit.signed(what=what), by=kit.provider(encrypted_assertions=True)) == "encryption_required"


def test_the_usual_checks_hold_for_encrypted_assertions():
    assert reason(encrypted(Draft(audiences=()))) == "audience_missing"
    assert reason(encrypted(Draft(recipient="https://evil.example.com"), outer=True)) == "recipient_wrong"
    assert reason(encrypted(Draft(), inner=False)) == "signature_missing"


def test_a_key_that_is_not_rsa():
    with pytest.raises(ConfigurationError, match="service_provider_key_not_rsa"):
        decryption.private_key(pair("curve", curve=True).key)
