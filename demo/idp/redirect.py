"""The HTTP-Redirect binding (SAML bindings 3.4): DEFLATE, base64, query string, detached signature over the raw query."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_plus, urlencode

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from demo.keypair import KeyPair

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
MAX_INFLATED = 64_000
ORDER = ("SAMLRequest", "SAMLResponse", "RelayState", "SigAlg")


class BadRedirect(ValueError):
    """A query that is not a signed SAML message."""


def encode(url: str, parameter: str, xml: bytes, relay_state: str, pair: KeyPair) -> str:
    """`url` with the deflated message as `parameter`, RelayState where there is one, SigAlg and Signature."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packer.compress(xml) + packer.flush()
    fields = [(parameter, base64.b64encode(deflated).decode())]
    if relay_state:
        fields.append(("RelayState", relay_state))
    fields.append(("SigAlg", RSA_SHA256))
    signed = urlencode(fields, quote_via=quote)
    signature = pair.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{signed}&{urlencode({'Signature': base64.b64encode(signature).decode()}, quote_via=quote)}"


def raw_fields(query: str) -> dict[str, str]:
    """The query's fields still percent-encoded, as the signer wrote them. Raises BadRedirect for a field given twice."""
    fields: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name in fields:
            raise BadRedirect(f"{name} is given twice")
        fields[name] = value
    return fields


def inflate(value: str) -> bytes:
    """The XML of a base64, deflated parameter; never more than 64 KB of it (an inflate bomb stops here)."""
    try:
        packed = base64.b64decode(value, validate=True)
        unpacker = zlib.decompressobj(-15)
        xml = unpacker.decompress(packed, MAX_INFLATED)
    except (binascii.Error, zlib.error) as error:
        raise BadRedirect(str(error)) from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise BadRedirect("too large, or cut off")
    return xml


def decode(query: str, parameter: str) -> tuple[bytes, str]:
    """(XML, RelayState) of a query, its signature not yet checked."""
    fields = raw_fields(query)
    if parameter not in fields:
        raise BadRedirect(f"{parameter} is missing")
    return inflate(unquote_plus(fields[parameter])), unquote_plus(fields.get("RelayState", ""))


def check_signature(query: str, parameter: str, certificates: Iterable[x509.Certificate]) -> None:
    """Raises BadRedirect unless one of the certificates' keys signed exactly these fields with RSA-SHA256."""
    fields: Mapping[str, str] = raw_fields(query)
    if unquote_plus(fields.get("SigAlg", "")) != RSA_SHA256:
        raise BadRedirect("SigAlg is not rsa-sha256, or there is no signature")
    try:
        signature = base64.b64decode(unquote_plus(fields.get("Signature", "")), validate=True)
    except binascii.Error as error:
        raise BadRedirect("Signature is not base64") from error
    signed = "&".join(
        f"{name}={fields[name]}" for name in ORDER if name in fields and name in {parameter, "RelayState", "SigAlg"}
    )
    for certificate in certificates:
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            continue
        try:
            key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            continue
        return
    raise BadRedirect("the signature was made by none of the service provider's keys")
