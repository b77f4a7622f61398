"""Pinned certificates: read once, held against the clock and against the smallest key that is still safe.

A certificate is only a box for a key that an administrator, or metadata that an administrator trusts, has named. No
chain is followed. Expired ones are refused all the same: nobody looks after a provider whose certificate has run out.
"""

from __future__ import annotations

import base64
import binascii
import textwrap
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.signin.reasons import Reason, refused

SMALLEST_RSA = 2048
MOST_CERTIFICATES = 5  # each costs a signature check on a forged document
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def pem_of(text: str) -> str:
    """PEM of a certificate given as PEM or as bare Base64 (as in metadata), in one canonical form.

    Raises SamlRefused(certificate_invalid).
    """
    body = "".join(line for line in text.strip().splitlines() if not line.startswith("-----"))
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
        x509.load_der_x509_certificate(der)
    except (ValueError, binascii.Error) as error:
        raise refused(Reason.CERTIFICATE_INVALID, str(error)) from None
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


@lru_cache(maxsize=256)
def load(pem: str) -> x509.Certificate:
    """The certificate in `pem`. Raises SamlRefused(certificate_invalid)."""
    try:
        return x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError as error:
        raise refused(Reason.CERTIFICATE_INVALID, str(error)) from None


@lru_cache(maxsize=256)
def public_key_der(pem: str) -> bytes:
    """SubjectPublicKeyInfo of the certificate, DER: what two certificates of one key have in common."""
    return load(pem).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=256)
def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate, hex. Raises SamlRefused(certificate_invalid)."""
    return load(pem).fingerprint(hashes.SHA256()).hex()


@lru_cache(maxsize=256)
def _static_fault(pem: str) -> Reason | None:
    try:
        key = load(pem).public_key()
    except (ValueError, TypeError):  # a key of a kind that is not known here
        return Reason.KEY_TYPE
    if isinstance(key, rsa.RSAPublicKey):
        return Reason.KEY_TOO_SMALL if key.key_size < SMALLEST_RSA else None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return None
    return Reason.KEY_TYPE


@lru_cache(maxsize=256)
def _validity(pem: str) -> tuple[datetime, datetime]:
    certificate = load(pem)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def fault(pem: str, now: datetime) -> Reason | None:
    """Why this certificate may not be used at `now`, or None."""
    found = _static_fault(pem)
    if found is not None:
        return found
    not_before, not_after = _validity(pem)
    if now > not_after:
        return Reason.CERTIFICATE_EXPIRED
    if now < not_before:
        return Reason.CERTIFICATE_INVALID
    return None


def usable(pems: Sequence[str], now: datetime) -> tuple[str, ...]:
    """Those of `pems` that may be used at `now`, at most MOST_CERTIFICATES.

    Raises SamlRefused when none is left: certificate_missing, or what is wrong with the first.
    """
    faults = [(pem, fault(pem, now)) for pem in pems]
    good = tuple(pem for pem, reason in faults if reason is None)
    if good:
        return good[:MOST_CERTIFICATES]
    raise refused((faults[0][1] if faults else None) or Reason.CERTIFICATE_MISSING)
