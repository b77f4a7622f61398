"""Reading an identity provider's SAML metadata (saml-metadata-2.0-os). Fetching it is the caller's, by `federation.net`.

Metadata is where trust comes from: whoever may write it may sign in as anybody. So it is taken whole or refused whole,
its validUntil counts, its signature counts where an administrator has pinned a certificate, and a certificate that is
there for encryption alone never becomes one that vouches for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from lxml import etree

from federation import net
from federation.errors import ConfigurationError, ProviderUnavailable, SamlRefused
from federation.signin import certificates, shape, signatures
from federation.signin.assertion import instant
from federation.signin.grammar import DS, Element
from federation.signin.reasons import Reason

MAX_BYTES = 2 * 1024 * 1024

MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_X509 = f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

_DURATION = re.compile(
    r"P(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,8})M)?(?:(?P<seconds>\d{1,9})(?:\.\d+)?S)?)?\Z",
    re.ASCII,
)


class MetadataInvalid(ConfigurationError):
    """Metadata that cannot be trusted or used; `reason` says why. The last good copy, if any, goes on to be used."""

    code: ClassVar[str] = "metadata_invalid"
    status: ClassVar[int] = 502
    sentence: ClassVar[str] = (
        "The identity provider's metadata cannot be used. Tell your administrators, with the request id."
    )


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """What the gateway needs to know about a SAML identity provider.

    URLs are absolute; `slo_url` is "" where single logout by redirect or POST is not offered. `signing_certificates`:
    PEM, old and new side by side while keys roll. `valid_until`: after it nothing here may be believed.
    `cache_duration`: how long the provider wants it kept, a hint.
    """

    entity_id: str
    sso_redirect_url: str
    slo_url: str
    slo_binding: str
    slo_response_url: str
    signing_certificates: tuple[str, ...]
    want_authn_requests_signed: bool
    valid_until: datetime | None
    cache_duration: timedelta | None


def parse_idp_metadata(xml: bytes, *, now: datetime, pinned_certificate: str = "") -> IdpMetadata:
    """The one identity provider that `xml` describes, as EntityDescriptor or as EntitiesDescriptor holding one.

    With `pinned_certificate` (PEM), the root element itself must be signed with its key, and only what that signature
    covers is read. Raises MetadataInvalid with reason too_large, dtd_forbidden, encoding_forbidden, xml_invalid,
    root_wrong, no_identity_provider, several_identity_providers, several_roles, entity_id_missing, expired,
    time_malformed, duration_malformed, sso_missing, url_not_allowed, certificate_invalid, certificate_missing,
    certificate_expired, key_too_small, key_type, or, with a pinned certificate, signature_missing and the other
    reasons for which a signature is refused.
    """
    try:
        root = shape.parse(xml, max_bytes=MAX_BYTES, lenient=True)
        if root.tag not in (MD + "EntityDescriptor", MD + "EntitiesDescriptor"):
            raise MetadataInvalid("root_wrong", detail=str(root.tag))
        if pinned_certificate:
            root = _verified(root, certificates.pem_of(pinned_certificate), now)
        return _read(root, now)
    except SamlRefused as error:
        # An expired certificate stops every sign-in, and what is not signed with the pinned key is a forgery.
        alert = bool(error.context.get("alert")) or error.reason == Reason.SIGNATURE_MISSING
        raise MetadataInvalid(error.reason, detail=error.detail, alert=alert) from error


def certificates_of(xml: bytes) -> tuple[str, ...]:
    """Every signing certificate that a metadata document names, PEM, whether it may be used or not: for people to look at.

    Empty where the document cannot be read. Nothing may be believed because of it: no signature is checked.
    """
    found: list[str] = []
    try:
        root = shape.parse(xml, max_bytes=MAX_BYTES, lenient=True)
        for descriptor in root.iter(MD + "KeyDescriptor"):
            parent = descriptor.getparent()
            if descriptor.get("use", "signing") != "signing" or parent is None or parent.tag != MD + "IDPSSODescriptor":
                continue
            for node in descriptor.iterfind(_X509):
                pem = certificates.pem_of(node.text or "")
                if pem not in found:
                    found.append(pem)
    except SamlRefused:
        return tuple(found)
    return tuple(found)


def with_certificate(xml: str, pem: str) -> str:
    """Metadata that name one more certificate for signing, behind those that they have. What is there already stays as it is.

    A signature on the document does not outlast a change, and goes. Raises MetadataInvalid as `parse_idp_metadata`, and SamlRefused
    (certificate_invalid).
    """
    root, role = _role_of(xml)
    wanted = certificates.pem_of(pem)
    if wanted in certificates_of(xml.encode()):
        return xml
    descriptor = etree.Element(MD + "KeyDescriptor", use="signing")
    info = etree.SubElement(descriptor, DS + "KeyInfo", nsmap={"ds": DS.strip("{}")})
    data = etree.SubElement(info, DS + "X509Data")
    etree.SubElement(data, DS + "X509Certificate").text = "".join(wanted.splitlines()[1:-1])
    keys = role.findall(MD + "KeyDescriptor")
    if keys:
        keys[-1].addnext(descriptor)
    else:
        # The schema's order: Signature and Extensions come before it.
        before = [child for child in role if child.tag in (DS + "Signature", MD + "Extensions")]
        role.insert(len(before), descriptor)
    return _written(root)


def without_certificate(xml: str, pem: str) -> str:
    """Metadata that do not name this certificate for signing any more. A key that is for encryption too stays for that alone.

    Raises as `with_certificate`, and MetadataInvalid(certificate_missing) where none for signing would be left.
    """
    root, role = _role_of(xml)
    unwanted = certificates.pem_of(pem)
    for descriptor in role.findall(MD + "KeyDescriptor"):
        named = [certificates.pem_of(node.text or "") for node in descriptor.iterfind(_X509)]
        if unwanted not in named or descriptor.get("use", "signing") != "signing":
            continue
        if descriptor.get("use") is None:
            descriptor.set("use", "encryption")
        else:
            role.remove(descriptor)
    changed = _written(root)
    if not certificates_of(changed.encode()):
        raise MetadataInvalid("certificate_missing")
    return changed


def _role_of(xml: str) -> tuple[Element, Element]:
    """The document and its one identity provider's role. Raises MetadataInvalid."""
    try:
        root = shape.parse(xml.encode(), max_bytes=MAX_BYTES, lenient=True)
    except SamlRefused as error:
        raise MetadataInvalid(error.reason, detail=error.detail) from error
    roles = list(root.iter(MD + "IDPSSODescriptor"))
    if len(roles) != 1:
        raise MetadataInvalid("several_roles" if roles else "no_identity_provider")
    return root, roles[0]


def _written(root: Element) -> str:
    for signature in root.findall(DS + "Signature"):
        root.remove(signature)
    return str(etree.tostring(root, encoding="unicode"))


def _verified(root: Element, pem: str, now: datetime) -> Element:
    """What the signature on the root covers: the root itself, no descendant (a signed entity in a forged list)."""
    pems = certificates.usable((pem,), now)
    signature = root.find(DS + "Signature")
    if signature is not None:
        if len(root.findall(DS + "Signature")) > 1:
            raise MetadataInvalid("signature_doubled")
        shape.check_signature(signature)
        shape.check_unique_ids(root)
    return signatures.verify(root, pems, now)


def _read(root: Element, now: datetime) -> IdpMetadata:
    found = [
        (entity, role)
        for entity in root.iter(MD + "EntityDescriptor")
        for role in entity.findall(MD + "IDPSSODescriptor")
        if PROTOCOL in role.get("protocolSupportEnumeration", "").split()
    ]
    if not found:
        raise MetadataInvalid("no_identity_provider")
    if len({id(entity) for entity, _ in found}) > 1:
        raise MetadataInvalid("several_identity_providers", detail=" ".join(e.get("entityID", "") for e, _ in found))
    if len(found) > 1:
        raise MetadataInvalid("several_roles")
    entity, role = found[0]
    entity_id = entity.get("entityID", "")
    if not entity_id or len(entity_id) > 1024:
        raise MetadataInvalid("entity_id_missing")
    above = [*entity.iterancestors(), entity, role]
    slo = _endpoint(role, "SingleLogoutService", (REDIRECT, POST))
    sso = _endpoint(role, "SingleSignOnService", (REDIRECT,))
    if sso is None:
        raise MetadataInvalid("sso_missing", detail="no SingleSignOnService for HTTP-Redirect")
    slo_url = "" if slo is None else _url(slo.get("Location", ""))
    answer_url = "" if slo is None else slo.get("ResponseLocation", "")
    return IdpMetadata(
        entity_id=entity_id,
        sso_redirect_url=_url(sso.get("Location", "")),
        slo_url=slo_url,
        slo_binding="" if slo is None else slo.get("Binding", ""),
        slo_response_url=_url(answer_url) if answer_url else slo_url,
        signing_certificates=_signing_certificates(role, now),
        want_authn_requests_signed=role.get("WantAuthnRequestsSigned", "").strip() in ("true", "1"),
        valid_until=_valid_until(above, now),
        cache_duration=_cache_duration(above),
    )


def _endpoint(role: Element, name: str, bindings: tuple[str, ...]) -> Element | None:
    """The first endpoint of that name with the most wanted of `bindings`."""
    offered = role.findall(MD + name)
    return next((endpoint for binding in bindings for endpoint in offered if endpoint.get("Binding") == binding), None)


def _url(url: str) -> str:
    """`url` if a browser may be sent there: https, or http on loopback; never javascript:, never with a fragment."""
    try:
        return net.check_url(url)
    except ProviderUnavailable as error:
        raise MetadataInvalid("url_not_allowed", detail=url) from error


def _signing_certificates(role: Element, now: datetime) -> tuple[str, ...]:
    """Certificates for signing, or for no stated use; those that may not be used now are dropped.

    Raises MetadataInvalid when none is left, with what is wrong with the first.
    """
    pems: list[str] = []
    for descriptor in role.findall(MD + "KeyDescriptor"):
        # use="encryption" is a key that others encrypt to: its holder was never meant to vouch for anybody.
        if descriptor.get("use", "signing") != "signing":
            continue
        for node in descriptor.iterfind(_X509):
            pem = certificates.pem_of(node.text or "")
            if pem not in pems:
                pems.append(pem)
    if not pems:
        raise MetadataInvalid("certificate_missing")
    return certificates.usable(pems, now)


def _valid_until(elements: list[Element], now: datetime) -> datetime | None:
    """The earliest validUntil on the way down to the role. Raises MetadataInvalid(expired)."""
    ends = [instant(text) for element in elements if (text := element.get("validUntil"))]
    if ends and min(ends) <= now:
        raise MetadataInvalid("expired", detail=min(ends).isoformat(), alert=True)
    return min(ends, default=None)


def _cache_duration(elements: list[Element]) -> timedelta | None:
    """The shortest cacheDuration (xs:duration; a month counts 30 days, a year 365: it is a hint)."""
    durations: list[timedelta] = []
    for element in elements:
        text = element.get("cacheDuration")
        if text is None:
            continue
        found = _DURATION.match(text)
        if found is None or text in ("P", "PT") or text.endswith("T"):
            raise MetadataInvalid("duration_malformed", detail=text[:100])
        part = {name: int(value or 0) for name, value in found.groupdict().items()}
        durations.append(
            timedelta(
                days=part["years"] * 365 + part["months"] * 30 + part["days"],
                hours=part["hours"],
                minutes=part["minutes"],
                seconds=part["seconds"],
            )
        )
    return min(durations, default=None)
