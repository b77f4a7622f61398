"""The documents that AWS reads: OpenID Connect discovery, the JWKS, the SAML metadata; and a static copy of them.

Owns their content and their publication to a directory (a static host may serve the issuer URL, apart from the gateway).
Sources: OpenID Connect Discovery 1.0, section 3; RFC 7517; SAML metadata 2.0; IAM user guide, "Create a SAML identity provider"
(1,000 to 10,000,000 characters, UTF-8 without BOM, at most 10 keys). All documents are the same for the same input, byte for byte,
so that caches and the "has it changed" of a publication work.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives.serialization import Encoding

from federation.errors import ConfigurationError
from federation.issuer.assertion import PERSISTENT
from federation.issuer.checks import check_text
from federation.issuer.signing import b64url, jwk_of, key_type, load_certificate

DISCOVERY = ".well-known/openid-configuration"
JWKS = "jwks.json"
METADATA = "saml/metadata.xml"
# The order of publication: what a signature is checked with comes before what points to it.
DOCUMENTS = (JWKS, METADATA, DISCOVERY)
MIN_METADATA = 1_000
MAX_KEYS = 10


class PublishRefused(ConfigurationError):
    """The public documents cannot be made or written; `reason` says why."""

    code = "publish_refused"
    sentence = "The gateway's public keys cannot be published. Tell your administrators, with the request id."


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to publish: active, next, or retired but still trusted."""

    kid: str
    algorithm: str
    certificate_pem: str


def discovery(issuer_url: str, algorithms: Sequence[str] = ("RS256", "ES256")) -> dict[str, object]:
    """The discovery document. `issuer` is `issuer_url` exactly: AWS compares it with the provider URL byte for byte."""
    return {
        "issuer": issuer_url,
        "jwks_uri": f"{issuer_url.rstrip('/')}/{JWKS}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(algorithms),
        "scopes_supported": ["openid"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "jti"],
    }


def jwks(keys: Sequence[PublicKey]) -> dict[str, list[dict[str, object]]]:
    """The key set, RSA keys first and otherwise in the order given: hand the active ones in first.

    (IAM is reported to read the first key's certificate for its thumbprint.) Raises KeyInvalid,
    PublishRefused: kid_duplicate (AWS picks by kid; two of one name would make it guess), algorithm_mismatch.
    """
    if len({key.kid for key in keys}) != len(keys):
        raise PublishRefused("kid_duplicate")
    out: list[dict[str, object]] = []
    for key in sorted(keys, key=lambda k: k.algorithm != "RS256"):
        certificate = load_certificate(key.certificate_pem)
        members = jwk_of(certificate.public_key())
        if members["kty"] != key_type(key.algorithm):
            raise PublishRefused("algorithm_mismatch", detail=f"kid {key.kid}")
        der = certificate.public_bytes(Encoding.DER)
        out.append(
            {
                "kid": key.kid,
                "use": "sig",
                "alg": key.algorithm,
                **members,
                "x5c": [base64.b64encode(der).decode()],
                "x5t#S256": b64url(hashlib.sha256(der).digest()),
            }
        )
    return {"keys": out}


_ABOUT = """
  SAML 2.0 metadata of a Rolegate gateway, the identity provider that AWS accounts trust. Upload this document to IAM as a
  SAML identity provider in each account (aws iam create-saml-provider, or update-saml-provider after the keys have changed).
  The gateway signs one assertion for one role and one call, valid for five minutes; it takes no sign-in requests from AWS, so the
  sign-in address below is only where people begin. Each key descriptor is one signing certificate: the active one first, then the next
  one, published well before it is used, then those retired but not yet withdrawn. The document is public and holds no secret.
"""


def saml_metadata(entity_id: str, certificates: Sequence[str], *, sso_url: str, now: datetime) -> bytes:
    """The metadata of the gateway as an IdP. `certificates`: PEM, active first. `now` only refuses what has expired.

    Raises KeyInvalid, MintRefused (an entity id or URL that is no printable text),
    PublishRefused: no_certificate, too_many_keys, certificate_expired, certificate_not_rsa.
    """
    check_text(entity_id, "entity_id_invalid", longest=1024)
    check_text(sso_url, "sso_url_invalid", longest=1024)
    if not certificates:
        raise PublishRefused("no_certificate")
    if len(certificates) > MAX_KEYS:
        raise PublishRefused("too_many_keys", detail=str(len(certificates)))
    keys: list[str] = []
    for pem in certificates:
        certificate = load_certificate(pem)
        if jwk_of(certificate.public_key())["kty"] != "RSA":
            raise PublishRefused("certificate_not_rsa")  # AWS takes RSA signatures on assertions alone
        if certificate.not_valid_after_utc <= now:
            raise PublishRefused("certificate_expired", detail=certificate.not_valid_after_utc.isoformat())
        text = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        keys.append(
            '<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data>'
            f"<ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        )
    location, name = quoteattr(sso_url), escape(entity_id)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" '
        f"entityID={quoteattr(entity_id)}>\n"
        f"<!--{_ABOUT}-->\n"
        '<md:IDPSSODescriptor WantAuthnRequestsSigned="false" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">\n'
        + "\n".join(keys)
        + f"\n<md:NameIDFormat>{PERSISTENT}</md:NameIDFormat>\n"
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location={location}/>\n'
        f'<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location={location}/>\n'
        "</md:IDPSSODescriptor>\n"
        f'<md:Organization><md:OrganizationName xml:lang="en">{name}</md:OrganizationName>'
        '<md:OrganizationDisplayName xml:lang="en">Rolegate</md:OrganizationDisplayName>'
        f'<md:OrganizationURL xml:lang="en">{escape(sso_url)}</md:OrganizationURL></md:Organization>\n'
        '<md:ContactPerson contactType="technical"><md:Company>The administrators of this Rolegate gateway</md:Company></md:ContactPerson>\n'
        "</md:EntityDescriptor>\n"
    )
    return document.encode()


def write_static(directory: Path, documents: Mapping[str, bytes]) -> list[Path]:
    """Write documents beneath `directory`, each whole or not at all, the keys before what points to them. Returns the changed files.

    A reader sees the old file or the new one, never half of one; what is the same already is left alone (its date stays).
    Raises PublishRefused: document_unknown (a path of one's choosing could leave the directory), directory_not_writable.
    """
    if unknown := sorted(set(documents) - set(DOCUMENTS)):
        raise PublishRefused("document_unknown", detail=", ".join(unknown)[:200])
    changed: list[Path] = []
    try:
        for name in DOCUMENTS:
            target = directory / name
            if name in documents and not (target.is_file() and target.read_bytes() == documents[name]):
                _replace(target, documents[name])
                changed.append(target)
    except OSError as error:
        raise PublishRefused(
            "directory_not_writable", detail=f"{error.__class__.__name__}: {error.strerror}"
        ) from error
    return changed


def _replace(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".publishing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # public documents; mkstemp makes them private
        Path(temporary).replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
