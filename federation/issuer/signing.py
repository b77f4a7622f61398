"""Signing keys: made, sealed for storage, opened, used.

Owns the Signer interface (a local key now, a KMS later), the generation of key pairs with self-signed certificates, and
the envelope in which a private key lies in the database. A private key is in clear only inside this process: never in a
repr, a pickle, an exception or a log; a dump of the database holds only the sealed form (THREATS: "a backup dump").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn, Protocol, cast

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

from federation.errors import ConfigurationError

KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
"""The algorithms that AWS takes and the gateway signs with, each with its JWK key type."""
MIN_RSA_BITS = 2048
_SEAL_VERSION = "v1"
_SEAL_INFO = b"rolegate/issuer-signing-key/v1"
_P256_BYTES = 32


def key_type(algorithm: str) -> str:
    """The JWK key type of a signing algorithm. Raises KeyInvalid("algorithm_unknown")."""
    try:
        return KEY_TYPES[algorithm]
    except KeyError:
        raise KeyInvalid("algorithm_unknown", detail=ascii(algorithm)[:100]) from None


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, length: int | None = None) -> str:
    return b64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


class Signer(Protocol):
    """Something that signs for the issuer; the key itself stays behind it."""

    @property
    def kid(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def certificate_pem(self) -> str: ...
    def public_jwk(self) -> dict[str, str]:
        """The public key as a JWK (RFC 7517) with kid, alg and use, without x5c."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`: RSASSA-PKCS1-v1_5 with SHA-256, or for ES256 r and s, 32 bytes each (RFC 7518, 3.4)."""
        ...


class KeyInvalid(ConfigurationError):
    """A signing key that cannot be used; `reason` says why. Never holds a part of the key."""

    code = "signing_key_invalid"
    sentence = "The gateway's signing key cannot be used. Tell your administrators, with the request id."


class KeySealBroken(ConfigurationError):
    """A sealed key that this master key does not open; `reason` is seal_version_unknown, seal_malformed or seal_broken."""

    code = "key_seal_broken"
    sentence = "The gateway cannot open its signing key: its secret key was changed or the key was damaged. Tell your administrators, with the request id."


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A new key pair. `kid`: its RFC 7638 thumbprint. `private_pem`: PKCS #8 in clear: seal it before it goes anywhere."""

    kid: str
    algorithm: str
    certificate_pem: str
    private_pem: bytes = field(repr=False)


def jwk_of(public_key: object) -> dict[str, str]:
    """The members that make up a public key (RFC 7518, 6.2.1 and 6.3.1). Raises KeyInvalid: key_type_unknown, rsa_key_too_small."""
    if isinstance(public_key, rsa.RSAPublicKey):
        if public_key.key_size < MIN_RSA_BITS:
            raise KeyInvalid("rsa_key_too_small", detail=f"{public_key.key_size} bits")
        numbers = public_key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, ec.SECP256R1):
        point = public_key.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _number(point.x, _P256_BYTES), "y": _number(point.y, _P256_BYTES)}
    raise KeyInvalid("key_type_unknown", detail=type(public_key).__name__)


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638: SHA-256 over the required members, sorted, without blanks."""
    required = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}[jwk["kty"]]
    return b64url(hashlib.sha256(json.dumps({m: jwk[m] for m in required}, separators=(",", ":")).encode()).digest())


def load_certificate(certificate_pem: str) -> x509.Certificate:
    """Read one PEM certificate. Raises KeyInvalid("certificate_malformed")."""
    try:
        return x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError:
        raise KeyInvalid("certificate_malformed") from None


class LocalSigner:
    """A signer whose key is in this process. Loaded and checked once, then reused; safe to share between threads.

    Raises KeyInvalid: private_key_malformed, key_type_unknown, rsa_key_too_small, algorithm_unknown, algorithm_mismatch,
    certificate_malformed, certificate_of_other_key.
    """

    __slots__ = ("_algorithm", "_certificate_pem", "_jwk", "_key", "_kid")

    def __init__(self, kid: str, algorithm: str, private_pem: bytes, certificate_pem: str) -> None:
        try:
            key = serialization.load_pem_private_key(private_pem, password=None)
        except (ValueError, TypeError):
            # Not chained: the cause could quote the key's text.
            raise KeyInvalid("private_key_malformed", detail=f"kid {kid}") from None
        public = key.public_key()
        jwk = jwk_of(public)
        if jwk["kty"] != key_type(algorithm):
            raise KeyInvalid("algorithm_mismatch", detail=f"kid {kid}: {algorithm} with {jwk['kty']}")
        if load_certificate(certificate_pem).public_key() != public:
            # AWS would refuse everything signed: better to know at start.
            raise KeyInvalid("certificate_of_other_key", detail=f"kid {kid}")
        self._kid, self._algorithm, self._certificate_pem = kid, algorithm, certificate_pem
        self._key = cast("rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey", key)
        self._jwk = {**jwk, "kid": kid, "alg": algorithm, "use": "sig"}

    def __repr__(self) -> str:
        return f"<LocalSigner {self._algorithm} {self._kid}>"

    def __reduce__(self) -> NoReturn:
        # A pickled signer would be a private key in a queue, a cache or a crash report.
        raise TypeError("a signer cannot be pickled or copied")

    @property
    def kid(self) -> str:
        return self._kid

    @property
    def algorithm(self) -> str:
        return self._algorithm

    @property
    def certificate_pem(self) -> str:
        return self._certificate_pem

    def public_jwk(self) -> dict[str, str]:
        """See Signer."""
        return dict(self._jwk)

    def sign(self, data: bytes) -> bytes:
        """See Signer."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


def generate(
    algorithm: str,
    *,
    common_name: str,
    now: datetime,
    key_size: int = 2048,
    lifetime: timedelta = timedelta(days=3650),
) -> KeyMaterial:
    """A new key pair with a self-signed certificate, valid from a day before `now` (clocks differ) for `lifetime`.

    `key_size`: bits, for RSA alone. `common_name`: ≤ 64 characters (RFC 5280, ub-common-name), cut to that.
    Raises KeyInvalid: rsa_key_too_small, algorithm_unknown.
    """
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if key_type(algorithm) == "RSA":
        if key_size < MIN_RSA_BITS:
            raise KeyInvalid("rsa_key_too_small", detail=f"{key_size} bits")
        key = rsa.generate_private_key(public_exponent=65537, key_size=key_size)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64] or "Rolegate")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyMaterial(
        kid=thumbprint(jwk_of(key.public_key())),
        algorithm=algorithm,
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        private_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _sealing_key(master_key: bytes) -> AESGCM:
    if len(master_key) < 16:
        raise KeyInvalid("master_key_too_short")
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_SEAL_INFO).derive(master_key))


def seal(private_pem: bytes, *, master_key: bytes, kid: str) -> str:
    """Encrypt a private key for the database: "v1." and base64url of nonce and AES-256-GCM ciphertext.

    The key is HKDF-SHA256 of `master_key` (≥ 16 bytes, from ROLEGATE_SECRET_KEY); the nonce is random; the kid is
    authenticated with it, so that a sealed key moved to another row does not open. Raises KeyInvalid("master_key_too_short").
    """
    nonce = os.urandom(12)
    return f"{_SEAL_VERSION}.{b64url(nonce + _sealing_key(master_key).encrypt(nonce, private_pem, kid.encode()))}"


def unseal(sealed: str, *, master_key: bytes, kid: str) -> bytes:
    """The private key that `seal` encrypted. Raises KeySealBroken: seal_version_unknown, seal_malformed, seal_broken."""
    version, _, text = sealed.partition(".")
    if version != _SEAL_VERSION:
        raise KeySealBroken("seal_version_unknown", detail=f"kid {kid}")
    try:
        blob = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeySealBroken("seal_malformed", detail=f"kid {kid}") from None
    if len(blob) < 12 + 16:
        raise KeySealBroken("seal_malformed", detail=f"kid {kid}")
    try:
        return _sealing_key(master_key).decrypt(blob[:12], blob[12:], kid.encode())
    except InvalidTag:
        raise KeySealBroken("seal_broken", detail=f"kid {kid}") from None
