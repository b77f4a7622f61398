"""The other SAML messages: our metadata, requests for authentication, and single logout both ways.

Ours go out by the redirect binding (bindings 3.4), signed with RSA-SHA256. A logout message that comes in must be
signed: an unsigned LogoutRequest would let any page on the web sign our people out.
"""

from __future__ import annotations

import base64
import secrets
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from lxml import etree

from federation.mapping.rules import IdentityProvider
from federation.signin import certificates, decryption, grammar, shape, signatures
from federation.signin.assertion import CLOCK_SKEW, MAX_VALIDITY, UNSPECIFIED, check_issuer, instant, name_id_of
from federation.signin.grammar import DS, SAML, SAMLP, SUCCESS, XENC, XENC11, Element
from federation.signin.metadata import MD, POST, PROTOCOL, REDIRECT, IdpMetadata
from federation.signin.protocol import AuthnRequest, LogoutRequest, LogoutSubject, NameId, ServiceProvider
from federation.signin.reasons import Reason, refused

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_PREFIXES = {"samlp": SAMLP[1:-1], "saml": SAML[1:-1]}
MAX_SESSION_INDEX = 1_024


# --- Ours, going out ----------------------------------------------------------------------------------


def new_id() -> str:
    """A fresh message id: an NCName with 160 random bits (core 1.3.4)."""
    return "_" + secrets.token_hex(20)


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sp_metadata(sp: ServiceProvider, *, now: datetime) -> bytes:
    """Our SAML metadata for this provider, valid by the metadata schema.

    Wants assertions signed, signs its requests, and offers AES-GCM under RSA-OAEP. Certificates of older keys stay
    listed for signing until they expire, so that a rotation breaks nobody; the newest alone is to be encrypted to.
    """
    root = etree.Element(MD + "EntityDescriptor", {"entityID": sp.entity_id}, nsmap={"md": MD[1:-1], "ds": DS[1:-1]})
    role = etree.SubElement(
        root,
        MD + "SPSSODescriptor",
        {"AuthnRequestsSigned": "true", "WantAssertionsSigned": "true", "protocolSupportEnumeration": PROTOCOL},
    )
    older = [pem for _, pem in sp.older if certificates.fault(pem, now) is None]
    for pem in (sp.certificate_pem, *older):
        _key_descriptor(role, "signing", pem)
    encryption = _key_descriptor(role, "encryption", sp.certificate_pem)
    for algorithm in reversed(grammar.AES_GCM):
        etree.SubElement(encryption, MD + "EncryptionMethod", {"Algorithm": algorithm})
    oaep = etree.SubElement(
        encryption, MD + "EncryptionMethod", {"Algorithm": grammar.RSA_OAEP}, nsmap={"xenc11": XENC11[1:-1]}
    )
    etree.SubElement(oaep, DS + "DigestMethod", {"Algorithm": XENC[1:-1] + "sha256"})
    etree.SubElement(oaep, XENC11 + "MGF", {"Algorithm": XENC11[1:-1] + "mgf1sha256"})
    etree.SubElement(encryption, MD + "EncryptionMethod", {"Algorithm": grammar.RSA_OAEP_MGF1P})
    for binding in (REDIRECT, POST):
        etree.SubElement(role, MD + "SingleLogoutService", {"Binding": binding, "Location": sp.slo_url})
    etree.SubElement(
        role,
        MD + "AssertionConsumerService",
        {"Binding": POST, "Location": sp.acs_url, "index": "0", "isDefault": "true"},
    )
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _key_descriptor(role: Element, use: str, pem: str) -> Element:
    descriptor = etree.SubElement(role, MD + "KeyDescriptor", {"use": use})
    data = etree.SubElement(etree.SubElement(descriptor, DS + "KeyInfo"), DS + "X509Data")
    lines = certificates.pem_of(pem).splitlines()
    etree.SubElement(data, DS + "X509Certificate").text = "".join(lines[1:-1])
    return descriptor


def authn_request(
    sp: ServiceProvider, idp: IdpMetadata, provider: IdentityProvider, *, relay_state: str, now: datetime
) -> AuthnRequest:
    """A request for authentication by redirect (profiles 4.1.4.1). `relay_state`: at most 80 bytes, opaque; "" for the request's own
    id, by which whoever posts the answer shows that it is to something that was begun here.

    Signed unless the provider's settings switch that off and its metadata does not ask for it. Asks for no NameID
    format: several providers refuse one that they do not have.
    """
    root = _message("AuthnRequest", sp, idp.sso_redirect_url, now)
    root.set("AssertionConsumerServiceURL", sp.acs_url)
    root.set("ProtocolBinding", POST)
    etree.SubElement(root, SAMLP + "NameIDPolicy", {"AllowCreate": "true"})
    signed = idp.want_authn_requests_signed or provider.saml is None or provider.saml.sign_requests
    return AuthnRequest(
        root.get("ID", ""),
        _redirect(idp.sso_redirect_url, "SAMLRequest", root, relay_state or root.get("ID", ""), sp, signed=signed),
    )


def logout_request(
    sp: ServiceProvider,
    idp: IdpMetadata,
    name_id: NameId,
    session_index: str,
    *,
    relay_state: str,
    now: datetime,
) -> LogoutRequest:
    """A signed request to end the provider's session (core 3.7.1), by redirect.

    Raises SamlRefused(slo_not_offered) where the provider has no single logout address for redirects.
    """
    root = _message("LogoutRequest", sp, _slo_url(idp, idp.slo_url), now)
    root.set("NotOnOrAfter", _stamp(now + timedelta(minutes=5)))
    names = {"NameQualifier": name_id.name_qualifier, "SPNameQualifier": name_id.sp_name_qualifier}
    element = etree.SubElement(root, SAML + "NameID", {key: value for key, value in names.items() if value})
    if name_id.format != UNSPECIFIED:
        element.set("Format", name_id.format)
    element.text = name_id.value
    if session_index:
        etree.SubElement(root, SAMLP + "SessionIndex").text = session_index
    return LogoutRequest(root.get("ID", ""), _redirect(idp.slo_url, "SAMLRequest", root, relay_state, sp))


def logout_response(
    sp: ServiceProvider, idp: IdpMetadata, *, in_response_to: str, relay_state: str, now: datetime
) -> str:
    """The URL that carries our signed answer "Success" to the provider's LogoutRequest (core 3.7.2).

    Raises SamlRefused(slo_not_offered).
    """
    url = _slo_url(idp, idp.slo_response_url)
    root = _message("LogoutResponse", sp, url, now)
    root.set("InResponseTo", in_response_to)
    status = etree.SubElement(root, SAMLP + "Status")
    etree.SubElement(status, SAMLP + "StatusCode", {"Value": SUCCESS})
    return _redirect(url, "SAMLResponse", root, relay_state, sp)


def _slo_url(idp: IdpMetadata, url: str) -> str:
    if not url or idp.slo_binding != REDIRECT:
        raise refused(Reason.SLO_NOT_OFFERED)
    return url


def _message(name: str, sp: ServiceProvider, destination: str, now: datetime) -> Element:
    root = etree.Element(
        SAMLP + name,
        {"ID": new_id(), "Version": "2.0", "IssueInstant": _stamp(now), "Destination": destination},
        nsmap=_PREFIXES,
    )
    etree.SubElement(root, SAML + "Issuer").text = sp.entity_id
    return root


def _redirect(
    url: str, field: str, root: Element, relay_state: str, sp: ServiceProvider, *, signed: bool = True
) -> str:
    """`url` with the message in its query: deflated, Base64, signed over the query's own bytes (bindings 3.4.4.1)."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(etree.tostring(root)) + deflate.flush()
    query = f"{field}={quote(base64.b64encode(packed), safe='')}"
    if relay_state:
        query += f"&RelayState={quote(relay_state, safe='')}"
    if signed:
        query += f"&SigAlg={quote(RSA_SHA256, safe='')}"
        signature = decryption.private_key(sp.private_key_pem).sign(
            query.encode("ascii"), padding.PKCS1v15(), hashes.SHA256()
        )
        query += f"&Signature={quote(base64.b64encode(signature), safe='')}"
    return url + ("&" if "?" in url else "?") + query


# --- Theirs, coming in --------------------------------------------------------------------------------


def verify_logout_request(
    sp: ServiceProvider,
    idp: IdpMetadata,
    provider: IdentityProvider,
    *,
    query_string: str = "",
    form: Mapping[str, str] | None = None,
    now: datetime,
) -> LogoutSubject:
    """Whose sessions the provider wants ended, once its LogoutRequest has verified (core 3.7.1, profiles 4.4).

    Either `query_string`, raw as the browser sent it (redirect binding), or `form` (POST binding). Raises SamlRefused;
    the request must be signed, for us, from this provider, and fresh.
    """
    root = _receive("SAMLRequest", SAMLP + "LogoutRequest", sp, idp, provider, query_string, form, now)
    _check_logout_message(root, sp, idp, now)
    ends = root.get("NotOnOrAfter")
    if ends and now >= instant(ends) + CLOCK_SKEW:
        raise refused(Reason.EXPIRED, ends)
    name_id = root.find(SAML + "NameID")
    if name_id is None:  # pragma: no cover - the shape check has seen it
        raise refused(Reason.NAME_ID_MISSING)
    indexes = tuple(index.text or "" for index in root.findall(SAMLP + "SessionIndex"))
    if any(len(index) > MAX_SESSION_INDEX for index in indexes):
        raise refused(Reason.VALUE_TOO_LONG, "SessionIndex")
    return LogoutSubject(name_id_of(name_id, sp), tuple(filter(None, indexes)), root.get("ID", ""))


def verify_logout_response(
    sp: ServiceProvider,
    idp: IdpMetadata,
    provider: IdentityProvider,
    *,
    query_string: str = "",
    form: Mapping[str, str] | None = None,
    now: datetime,
) -> str:
    """The id of the LogoutRequest that the provider answers with success. Arguments and errors as in verify_logout_request."""
    root = _receive("SAMLResponse", SAMLP + "LogoutResponse", sp, idp, provider, query_string, form, now)
    _check_logout_message(root, sp, idp, now)
    shape.check_status(root)
    in_response_to = root.get("InResponseTo", "")
    if not in_response_to:
        raise refused(Reason.UNSOLICITED)
    return in_response_to


def _check_logout_message(root: Element, sp: ServiceProvider, idp: IdpMetadata, now: datetime) -> None:
    check_issuer(root.find(SAML + "Issuer"), idp.entity_id)
    destination = root.get("Destination", "")
    if destination != sp.slo_url:
        # Bindings 3.4.5.2 and 3.5.5.2: a signed message must say where it was sent.
        raise refused(Reason.DESTINATION_WRONG if destination else Reason.DESTINATION_MISSING, destination)
    issued = instant(root.get("IssueInstant"))
    if issued > now + CLOCK_SKEW:
        raise refused(Reason.NOT_YET_VALID, issued.isoformat())
    if issued <= now - MAX_VALIDITY - CLOCK_SKEW:
        # Without this, a recorded request without NotOnOrAfter would sign its person out for ever.
        raise refused(Reason.EXPIRED, issued.isoformat())


def _receive(  # noqa: PLR0917 - private; every part of the context is needed
    field: str,
    tag: str,
    sp: ServiceProvider,
    idp: IdpMetadata,
    provider: IdentityProvider,
    query_string: str,
    form: Mapping[str, str] | None,
    now: datetime,
) -> Element:
    """The message in query or form, shape checked and signature verified; for POST, what the signature covers."""
    if not provider.enabled or provider.saml is None:
        raise refused(Reason.PROVIDER_DISABLED)
    if idp.valid_until is not None and now >= idp.valid_until:
        raise refused(Reason.METADATA_EXPIRED)
    pems = certificates.usable(idp.signing_certificates, now)
    if form is not None:
        text = form.get(field, "")
        if not text:
            raise refused(Reason.PARAMETER_MISSING, field)
        root = shape.parse(shape.from_base64(text))
        shape.check_shape(root, tag)
        return signatures.verify(root, pems, now)
    fields = _raw_fields(query_string)
    if field not in fields:
        raise refused(Reason.PARAMETER_MISSING, field)
    _verify_query(field, fields, pems)
    root = shape.parse(_inflate(shape.from_base64(unquote_plus(fields[field]))))
    shape.check_shape(root, tag)
    if root.find(DS + "Signature") is not None:
        # Bindings 3.4.4.1: the message's own signature must be removed; one that nobody verifies must not look verified.
        raise refused(Reason.SIGNATURE_MISPLACED)
    return root


def _inflate(packed: bytes) -> bytes:
    """Raw DEFLATE, never more than the cap: 259 KB can inflate to 200 MB."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        document = inflater.decompress(packed, shape.MAX_BYTES + 1)
    except zlib.error:
        raise refused(Reason.INFLATE_INVALID) from None
    if len(document) > shape.MAX_BYTES:
        raise refused(Reason.INFLATE_TOO_LARGE)
    if not inflater.eof or inflater.unused_data:
        raise refused(Reason.INFLATE_INVALID)
    return document


def _raw_fields(query_string: str) -> dict[str, str]:
    """The parameters, still escaped as the sender signed them. None twice: which one would be verified, which one read?"""
    if len(query_string) > 2 * shape.MAX_BYTES:
        raise refused(Reason.TOO_LARGE, f"{len(query_string)} characters")
    fields: dict[str, str] = {}
    for pair in query_string.split("&"):
        name, _, value = pair.partition("=")
        if name in fields:
            raise refused(Reason.PARAMETER_REPEATED, name)
        if "%" in name:
            # "SAML%52equest" is the same field to a form parser, another one here.
            raise refused(Reason.PARAMETER_UNKNOWN, name)
        fields[name] = value
    return fields


def _verify_query(field: str, fields: Mapping[str, str], pems: tuple[str, ...]) -> None:
    """Verify the detached signature over SAMLRequest or SAMLResponse, RelayState and SigAlg, in this order (bindings 3.4.4.1)."""
    if not fields.get("Signature") or not fields.get("SigAlg"):
        raise refused(Reason.SIGNATURE_MISSING)
    algorithm = unquote_plus(fields["SigAlg"])
    if algorithm not in grammar.SIGNATURE_ALGORITHMS:
        raise refused(Reason.ALGORITHM_FORBIDDEN, algorithm)
    signed = "&".join(f"{name}={fields[name]}" for name in (field, "RelayState", "SigAlg") if name in fields)
    signature = shape.from_base64(unquote_plus(fields["Signature"]))
    digest = _HASHES[algorithm[-3:]]()
    for pem in pems:
        key = certificates.load(pem).public_key()
        try:
            if isinstance(key, rsa.RSAPublicKey) and algorithm.startswith(_MORE + "rsa"):
                key.verify(signature, signed.encode(), padding.PKCS1v15(), digest)
                return
            if isinstance(key, ec.EllipticCurvePublicKey) and algorithm.startswith(_MORE + "ecdsa"):
                half = len(signature) // 2
                pair = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
                key.verify(utils.encode_dss_signature(*pair), signed.encode(), ec.ECDSA(digest))
                return
        except InvalidSignature:
            continue
    raise refused(Reason.SIGNATURE_INVALID, algorithm)
