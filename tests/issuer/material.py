"""Keys and requests for the issuer's tests. TEST KEYS: made anew in each run, they protect nothing."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Any

from lxml import etree

from federation.issuer.assertion import AssertionRequest
from federation.issuer.signing import KeyMaterial, LocalSigner, generate
from federation.issuer.token import TokenRequest

NOW = datetime(2026, 3, 4, 12, 30, 15, 987654, tzinfo=UTC)
ISSUER = "https://access.example.com/issuer"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


@cache
def _key(algorithm: str, number: int) -> KeyMaterial:
    return generate(algorithm, common_name=f"TEST KEY {number}", now=NOW)


@cache
def _signer(algorithm: str, number: int) -> LocalSigner:
    made = _key(algorithm, number)
    return LocalSigner(made.kid, made.algorithm, made.private_pem, made.certificate_pem)


# functools.cache takes key() and key("RS256") for different calls: spell the defaults out.
def key(algorithm: str = "RS256", number: int = 0) -> KeyMaterial:
    return _key(algorithm, number)


def signer(algorithm: str = "RS256", number: int = 0) -> LocalSigner:
    return _signer(algorithm, number)


def alice(**changes: Any) -> AssertionRequest:
    """Alice in engineering opens ReadOnly in shop-prod."""
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "recipient": "https://signin.aws.amazon.com/saml",
        "audience": "urn:amazon:webservices",
        "role_arn": "arn:aws:iam::111122223333:role/ReadOnly",
        "provider_arn": "arn:aws:iam::111122223333:saml-provider/rolegate",
        "session_name": "alice@example.com",
        "source_identity": "alice-4f2a",
        "name_id": "corp/alice",
        "session_duration": 3600,
        "tags": {"Team": "shop", "Department": "engineering"},
        "transitive_tags": ("Team",),
    }
    return AssertionRequest(**values | changes)


def alices_token(**changes: Any) -> TokenRequest:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": "sts.amazonaws.com",
        "subject": "corp/alice",
        "source_identity": "alice-4f2a",
        "tags": {"Team": "shop", "Department": "engineering"},
        "transitive_tags": ("Team",),
    }
    return TokenRequest(**values | changes)


def parsed(saml_response: str) -> Any:
    return etree.fromstring(base64.b64decode(saml_response, validate=True))


def attributes(document: Any) -> dict[str, list[str]]:
    prefix = "https://aws.amazon.com/SAML/Attributes/"
    out: dict[str, list[str]] = {}
    for attribute in document.iter(f"{SAML}Attribute"):
        name = attribute.get("Name")
        assert name.startswith(prefix)
        assert name not in out
        out[name.removeprefix(prefix)] = [value.text or "" for value in attribute.iter(f"{SAML}AttributeValue")]
    return out
