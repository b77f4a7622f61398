"""Weak algorithms, odd transforms, foreign keys, certificates that have run out: refused, and somebody is told."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from lxml import etree
from xmlsec import constants

from federation.errors import SamlRefused
from federation.signin import signatures
from federation.signin.reasons import ALERTS, Reason
from tests import saml_hostile
from tests import saml_kit as kit
from tests.saml_kit import DS, NOW, Draft, Signing, pair, reason, signed, tree, verify


@pytest.mark.parametrize(
    "method",
    [
        constants.TransformRsaSha1,
        constants.TransformRsaMd5,
        constants.TransformRsaRipemd160,
        constants.TransformRsaSha224,
    ],
    ids=["SHA-1", "MD5", "RIPEMD-160", "SHA-224"],
)
def test_weak_signature_methods(method):
    uri = signed()
    node = uri.find(f".//{DS}SignatureMethod")
    node.set("Algorithm", method.href)
    assert reason(uri) == "algorithm_forbidden"


def test_rightly_signed_with_sha1():
    assert reason(signed(how=Signing(method=constants.TransformRsaSha1))) == "algorithm_forbidden"


@pytest.mark.parametrize(
    "digest", ["http://www.w3.org/2000/09/xmldsig#sha1", "http://www.w3.org/2001/04/xmldsig-more#md5", ""]
)
def test_weak_digests(digest):
    root = signed()
    root.find(f".//{DS}DigestMethod").set("Algorithm", digest)
    assert reason(root) == "algorithm_forbidden"


def test_rightly_digested_with_sha1():
    assert reason(signed(how=Signing(digest=constants.TransformSha1))) == "algorithm_forbidden"


def test_hmac_with_the_public_certificate_as_secret():
    how = Signing(method=constants.TransformHmacSha256, hmac=pair().certificate.encode())
    assert reason(signed(how=how)) == "algorithm_forbidden"


def test_hmac_output_length():
    root = signed()
    etree.SubElement(root.find(f".//{DS}SignatureMethod"), DS + "HMACOutputLength").text = "1"
    assert reason(root) == "algorithm_forbidden"


@pytest.mark.parametrize(
    "c14n",
    [constants.TransformInclC14N, constants.TransformExclC14NWithComments, constants.TransformInclC14N11],
    ids=["inclusive", "with comments", "1.1"],
)
def test_other_canonicalizations_though_rightly_signed(c14n):
    assert reason(signed(how=Signing(c14n=c14n))) == "canonicalization_forbidden"
    transforms = (constants.TransformEnveloped, c14n)
    assert reason(signed(how=Signing(transforms=transforms))) == "transform_forbidden"


@pytest.mark.parametrize("order", [[0], [1], [1, 0], [0, 1, 1], []])
def test_other_lists_of_transforms(order):
    root = signed()
    parent = root.find(f".//{DS}Transforms")
    both = [etree.tostring(child) for child in parent]
    parent[:] = [tree(both[index]) for index in order]
    assert reason(root) == "transform_forbidden"


@pytest.mark.parametrize("transform", [saml_hostile.XSLT, saml_hostile.XPATH], ids=["XSLT", "XPath"])
def test_transforms_that_burn_cpu(transform):
    start = time.process_time()
    assert reason(saml_hostile.with_transform(transform)) == "transform_forbidden"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("transform", [saml_hostile.XSLT, saml_hostile.XPATH], ids=["XSLT", "XPath"])
def test_xmlsec_itself_would_not_run_them(transform):
    """Should the shape check ever have a hole, the context refuses the transform on its own."""
    root = saml_hostile.with_transform(transform)
    start = time.process_time()
    assert not signatures.first_verifier(root.find(f".//{DS}Signature"), [pair().certificate])
    assert time.process_time() - start < 1


def test_a_transform_with_the_right_name_and_a_stylesheet_inside():
    root = signed()
    root.find(f".//{DS}Transform").append(tree(saml_hostile.XSLT)[0])
    assert reason(root) == "element_forbidden"


def test_signed_by_a_stranger_who_shows_a_certificate():
    assert reason(signed(what="both", how=Signing(by=pair("stranger")))) == "certificate_foreign"


def test_signed_by_a_stranger_who_shows_the_right_certificate_or_none():
    for shown in (pair().bare, None):
        assert reason(signed(how=Signing(by=pair("stranger"), shown=shown))) == "signature_invalid"


def test_a_right_signature_with_a_foreign_certificate_in_key_info():
    assert reason(signed(how=Signing(shown=pair("stranger").bare))) == "certificate_foreign"
    assert reason(signed(how=Signing(shown="AAAA"))) == "certificate_foreign"


def test_one_strange_signature_beside_a_right_one():
    root = kit.sign(signed(), Signing(by=pair("stranger"), shown=None))
    assert reason(root) == "signature_invalid"


def test_a_key_value_of_another_key():
    """Both verifiers have the pinned key; a KeyValue that says otherwise is not overlooked."""
    root = signed()
    info = root.find(f".//{DS}KeyInfo")
    info.append(
        tree(
            f'<ds:KeyValue xmlns:ds="{DS[1:-1]}"><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus>'
            "<ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>"
        )
    )
    assert reason(root) == "verifiers_disagree"


def test_small_keys():
    small = pair("small", bits=1024)
    root = signed(how=Signing(by=small))
    assert reason(root, idp=kit.idp_metadata(small.certificate)) == "key_too_small"


def test_a_small_key_beside_a_good_one_is_not_used():
    small = pair("small", bits=1024)
    idp = kit.idp_metadata(small.certificate, pair().certificate)
    assert reason(signed(), idp=idp) == "accepted"
    assert reason(signed(how=Signing(by=small)), idp=idp) == "certificate_foreign"
    assert reason(signed(how=Signing(by=small, shown=None)), idp=idp) == "signature_invalid"


def test_expired_and_early_certificates():
    expired = pair("expired", end=NOW - timedelta(seconds=1))
    early = pair("early", start=NOW + timedelta(days=1))
    assert reason(signed(how=Signing(by=expired)), idp=kit.idp_metadata(expired.certificate)) == "certificate_expired"
    assert reason(signed(how=Signing(by=early)), idp=kit.idp_metadata(early.certificate)) == "certificate_invalid"


def test_a_certificate_that_runs_out_between_two_sign_ins():
    key = pair("running out", end=NOW + timedelta(seconds=10))
    idp = kit.idp_metadata(key.certificate)
    root = signed(how=Signing(by=key))
    assert reason(root, idp=idp) == "accepted"
    assert reason(root, idp=idp, now=NOW + timedelta(seconds=11)) == "certificate_expired"


def test_a_withdrawn_certificate_closes_the_door():
    idp = kit.idp_metadata(pair("next").certificate)
    assert reason(signed(), idp=idp) == "certificate_foreign"
    assert reason(signed(), idp=kit.idp_metadata(signing_certificates=())) == "certificate_missing"


def test_unreadable_and_unknown_certificates():
    assert (
        reason(signed(), idp=kit.idp_metadata("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"))
        == "certificate_invalid"
    )


def test_keys_of_other_kinds():
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "TEST ONLY ed25519")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, None)
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert reason(signed(), idp=kit.idp_metadata(pem)) == "key_type"


def test_an_rsa_signature_named_ecdsa():
    root = signed()
    root.find(f".//{DS}SignatureMethod").set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256")
    assert reason(root) == "signature_invalid"


@pytest.mark.parametrize("node", ["SignatureValue", "DigestValue"])
def test_flipped_values(node):
    for text in ("AAAA", "", "!"):
        root = signed()
        root.find(f".//{DS}{node}").text = text
        assert reason(root) == "signature_invalid"


def test_a_disabled_provider_and_expired_metadata():
    assert reason(signed(), by=kit.provider(enabled=False)) == "provider_disabled"
    assert reason(signed(), idp=kit.idp_metadata(valid_until=NOW)) == "metadata_expired"
    assert reason(signed(), idp=kit.idp_metadata(valid_until=NOW + timedelta(seconds=1))) == "accepted"


@pytest.mark.parametrize(
    ("root", "alert"),
    [
        (lambda: signed(how=Signing(by=pair("stranger"))), True),
        (lambda: signed(how=Signing(method=constants.TransformRsaSha1)), True),
        (lambda: signed(Draft(audiences=())), False),
    ],
)
def test_an_attack_raises_an_alert_and_a_misconfiguration_does_not(root, alert):
    with pytest.raises(SamlRefused) as caught:
        verify(root())
    assert caught.value.context["alert"] is alert
    assert (Reason(caught.value.reason) in ALERTS) is alert
