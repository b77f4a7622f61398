"""Discovery, JWKS and metadata: what AWS reads, and their static copy."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import onelogin.saml2
import pytest
from cryptography import x509
from joserfc.jwk import KeySet
from lxml import etree
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser

from federation.issuer.publish import DOCUMENTS, PublicKey, PublishRefused, discovery, jwks, saml_metadata, write_static
from federation.issuer.signing import KeyInvalid
from tests.issuer.material import ISSUER, NOW, key

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"


def public(algorithm="RS256", number=0):
    made = key(algorithm, number)
    return PublicKey(made.kid, made.algorithm, made.certificate_pem)


def metadata(certificates=None, **changes):
    arguments = {"entity_id": ISSUER, "sso_url": "https://access.example.com/", "now": NOW} | changes
    return saml_metadata(
        arguments.pop("entity_id"), [key().certificate_pem] if certificates is None else certificates, **arguments
    )


def test_discovery_has_what_iam_requires():
    document = discovery(ISSUER)
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"] == ISSUER + "/jwks.json"
    assert document["response_types_supported"] == ["id_token"]
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]


def test_jwks_has_the_active_rsa_key_first_and_certificates_of_the_same_keys():
    document = jwks([public("ES256"), public("RS256", 1), public("RS256")])
    assert [k["kid"] for k in document["keys"]] == [key("RS256", 1).kid, key().kid, key("ES256").kid]
    for found in document["keys"]:
        assert found["use"] == "sig"
        certificate = x509.load_der_x509_certificate(base64.b64decode(found["x5c"][0]))
        wanted = next(k for k in KeySet.import_key_set(document).keys if k.kid == found["kid"])
        assert certificate.public_key() == wanted.public_key


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        ("kid_duplicate", lambda: [public(), PublicKey(key().kid, "ES256", key("ES256").certificate_pem)]),
        ("algorithm_mismatch", lambda: [PublicKey("k", "ES256", key().certificate_pem)]),
    ],
)
def test_jwks_refuses(reason, keys):
    with pytest.raises(PublishRefused) as refused:
        jwks(keys())
    assert refused.value.reason == reason


def test_jwks_refuses_a_broken_certificate():
    with pytest.raises(KeyInvalid) as refused:
        jwks([PublicKey("k", "RS256", "broken")])
    assert refused.value.reason == "certificate_malformed"


def test_metadata_is_valid_and_within_iams_limits():
    content = metadata([key().certificate_pem, key("RS256", 1).certificate_pem])
    assert not content.startswith(b"\xef\xbb\xbf")
    assert 1_000 <= len(content.decode("utf-8")) <= 10_000_000
    document = etree.fromstring(content)
    folder = Path(onelogin.saml2.__file__).parent / "schemas"
    etree.XMLSchema(etree.parse(folder / "saml-schema-metadata-2.0.xsd")).assertValid(document)
    assert document.get("entityID") == ISSUER
    assert len(document.findall(f"{MD}IDPSSODescriptor/{MD}KeyDescriptor")) == 2


def test_metadata_without_its_certificate_is_still_long_enough():
    content = metadata()
    certificate = etree.fromstring(content).findtext(".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate")
    assert len(content) - len(certificate) >= 1_000


def test_another_parser_reads_the_metadata():
    read = OneLogin_Saml2_IdPMetadataParser.parse(metadata())
    assert read["idp"]["entityId"] == ISSUER
    assert read["idp"]["singleSignOnService"]["url"] == "https://access.example.com/"
    der = base64.b64decode(read["idp"]["x509cert"])
    assert x509.load_der_x509_certificate(der) == x509.load_pem_x509_certificate(key().certificate_pem.encode())


def test_metadata_is_the_same_every_time_and_escapes():
    assert metadata() == metadata(now=NOW + timedelta(days=1))
    odd = 'https://a.example/?x="1"&y=<2>'
    assert etree.fromstring(metadata(entity_id=odd)).get("entityID") == odd


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("no_certificate", lambda: {"certificates": []}),
        ("too_many_keys", lambda: {"certificates": [key().certificate_pem] * 11}),
        ("certificate_not_rsa", lambda: {"certificates": [key("ES256").certificate_pem]}),
        ("certificate_expired", lambda: {"now": NOW + timedelta(days=3651)}),
    ],
)
def test_metadata_refuses(reason, arguments):
    with pytest.raises(PublishRefused) as refused:
        metadata(**arguments())
    assert refused.value.reason == reason


def documents():
    return {
        ".well-known/openid-configuration": json.dumps(discovery(ISSUER)).encode(),
        "jwks.json": json.dumps(jwks([public()])).encode(),
        "saml/metadata.xml": metadata(),
    }


def test_static_copy_is_written_readable_and_only_when_changed(tmp_path):
    assert [str(p.relative_to(tmp_path)) for p in write_static(tmp_path, documents())] == list(DOCUMENTS)
    for name, content in documents().items():
        assert (tmp_path / name).read_bytes() == content
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
    assert write_static(tmp_path, documents()) == []
    assert write_static(tmp_path, documents() | {"jwks.json": b"{}"}) == [tmp_path / "jwks.json"]
    assert not list(tmp_path.rglob(".publishing-*"))


def test_a_failure_in_the_middle_leaves_the_old_file_whole(tmp_path, monkeypatch):
    write_static(tmp_path, documents())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("federation.issuer.publish.os.fsync", full)
    with pytest.raises(PublishRefused) as refused:
        write_static(tmp_path, {"jwks.json": b"{}"})
    assert refused.value.reason == "directory_not_writable"
    assert (tmp_path / "jwks.json").read_bytes() == documents()["jwks.json"]
    assert not list(tmp_path.rglob(".publishing-*"))


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "index.html"])
def test_only_the_three_documents_can_be_written(tmp_path, name):
    with pytest.raises(PublishRefused) as refused:
        write_static(tmp_path, {name: b"x"})
    assert refused.value.reason == "document_unknown"
