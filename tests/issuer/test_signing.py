"""Keys: made, loaded, used, hidden."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey, RSAKey

from federation.issuer.signing import KeyInvalid, LocalSigner, generate, jwk_of, load_certificate, thumbprint
from tests.issuer.material import NOW, key, signer


def test_rsa_signatures_verify_with_the_certificate():
    public = load_certificate(key().certificate_pem).public_key()
    public.verify(signer().sign(b"data"), b"data", padding.PKCS1v15(), hashes.SHA256())


def test_es256_signatures_are_r_and_s_of_32_bytes_each():
    public = load_certificate(key("ES256").certificate_pem).public_key()
    for _ in range(30):  # a short r or s comes in every 128th signature or so: the length must hold anyway
        raw = signer("ES256").sign(b"data")
        assert len(raw) == 64
        public.verify(
            encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
            b"data",
            ec.ECDSA(hashes.SHA256()),
        )


def test_the_kid_is_the_rfc_7638_thumbprint_as_joserfc_counts_it():
    assert RSAKey.import_key(key().certificate_pem).thumbprint() == key().kid
    assert ECKey.import_key(key("ES256").certificate_pem).thumbprint() == key("ES256").kid


def test_thumbprint_of_the_example_in_rfc_7638():
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS"
        "D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert thumbprint({"kty": "RSA", "n": n, "e": "AQAB"}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_the_certificate(algorithm):
    certificate = load_certificate(key(algorithm).certificate_pem)
    assert certificate.subject == certificate.issuer
    assert certificate.not_valid_before_utc <= NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW.replace(microsecond=0) + timedelta(days=3650)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


def test_public_jwk_has_no_private_member():
    for algorithm, members in (("RS256", {"n", "e"}), ("ES256", {"crv", "x", "y"})):
        jwk = signer(algorithm).public_jwk()
        assert set(jwk) == {"kty", "kid", "alg", "use"} | members
        jwk["kid"] = "changed"
        assert signer(algorithm).public_jwk()["kid"] == key(algorithm).kid


def test_nothing_shows_the_private_key():
    secret = key().private_pem.decode().splitlines()[3]
    assert secret not in repr(key())
    assert repr(signer()) == f"<LocalSigner RS256 {key().kid}>"
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            copier(signer())


def pem(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    ("reason", "algorithm", "private", "certificate"),
    [
        ("private_key_malformed", "RS256", b"TEST KEY that is none", None),
        ("algorithm_mismatch", "ES256", None, None),
        ("algorithm_unknown", "HS256", None, None),
        ("certificate_malformed", "RS256", None, "none"),
        ("certificate_of_other_key", "RS256", None, "other"),
        ("rsa_key_too_small", "RS256", "small", None),
        ("key_type_unknown", "RS256", "ed25519", None),
        ("key_type_unknown", "ES256", "p384", None),
    ],
)
def test_keys_that_are_refused(reason, algorithm, private, certificate):
    odd = {
        "small": lambda: rsa.generate_private_key(65537, 1024),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }
    private = pem(odd[private]()) if isinstance(private, str) else private or key().private_pem
    certificate = key("RS256", 1).certificate_pem if certificate == "other" else certificate or key().certificate_pem
    with pytest.raises(KeyInvalid) as refused:
        LocalSigner("kid", algorithm, private, certificate)
    assert refused.value.reason == reason
    assert refused.value.__cause__ is None


def test_small_or_unknown_keys_are_not_made():
    for arguments, reason in ((("RS256",), "rsa_key_too_small"), (("none",), "algorithm_unknown")):
        with pytest.raises(KeyInvalid) as refused:
            generate(*arguments, common_name="x", now=NOW, key_size=1024)
        assert refused.value.reason == reason


def test_a_long_common_name_is_cut():
    made = generate("ES256", common_name="n" * 200, now=NOW)
    assert load_certificate(made.certificate_pem).subject.rfc4514_string() == "CN=" + "n" * 64


def test_jwk_of_something_else():
    with pytest.raises(KeyInvalid):
        jwk_of("no key")
