"""RSA key pairs with self-signed certificates, in memory or kept in a folder so that a second start finds the same ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 2048
CERTIFICATE_DAYS = 3650
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate. `kid`: RFC 7638-like fingerprint of the certificate, URL-safe, stable."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def certificate_base64(self) -> str:
        """The DER certificate as base64 on one line, as ds:X509Certificate wants it."""
        return "".join(self.certificate_pem.strip().splitlines()[1:-1])

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def kid(self) -> str:
        return sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()[:24]


def generate(common_name: str) -> KeyPair:
    """A fresh RSA-2048 key with a self-signed certificate, valid from yesterday for ten years."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - ONE_DAY)
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    return KeyPair(key, certificate)


def load_or_generate(folder: Path | None, name: str, common_name: str) -> KeyPair:
    """The pair kept in `folder` as `<name>.pem`; made there, readable by its owner alone, when missing. No folder: not kept."""
    if folder is None:
        return generate(common_name)
    path = folder / f"{name}.pem"
    if path.exists():
        pem = path.read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{path} does not hold an RSA key.")
        return KeyPair(key, x509.load_pem_x509_certificate(pem))
    pair = generate(common_name)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pair.key_pem + pair.certificate_pem.encode())
    return pair
