"""A corporate identity provider for the tests: builds SAML messages, signs and encrypts them with libxmlsec, and forges.

Every key here is made for one test run and says so. Nothing in this file is imported by the gateway.
"""

from __future__ import annotations

import base64
import functools
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from xmlsec import constants

from federation.errors import SamlRefused
from federation.mapping.rules import ClaimMap, IdentityProvider, SamlProvider
from federation.signin import saml
from federation.signin.metadata import REDIRECT, IdpMetadata
from federation.signin.protocol import ServiceProvider, Verified

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
IDP = "https://idp.example.com/metadata"
SP = "https://rolegate.example.com/saml/corp/metadata"
ACS = "https://rolegate.example.com/saml/corp/acs"
SLO = "https://rolegate.example.com/saml/corp/slo"
REQUEST_ID = "_request-of-alice"

NS = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "xenc": "http://www.w3.org/2001/04/xmlenc#",
}
SAMLP, SAML, DS, XENC = (f"{{{NS[prefix]}}}" for prefix in ("samlp", "saml", "ds", "xenc"))
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
MFA = "https://refeds.org/profile/mfa"


@dataclass(frozen=True)
class Pair:
    """A private key and its self-signed certificate, both PEM."""

    key: str
    certificate: str

    @property
    def bare(self) -> str:
        return "".join(self.certificate.splitlines()[1:-1])


@functools.cache
def pair(
    name: str = "idp",
    *,
    bits: int = 2048,
    curve: bool = False,
    start: datetime = NOW - timedelta(days=400),
    end: datetime = NOW + timedelta(days=400),
) -> Pair:
    """The test key of that name: made once a run, and named so that nobody mistakes it for a real one."""
    key = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"TEST ONLY {name}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode())


def service_provider(**changes: object) -> ServiceProvider:
    own = pair("sp")
    return replace(ServiceProvider(SP, ACS, SLO, own.key, own.certificate), **changes)


def idp_metadata(*certificates: str, **changes: object) -> IdpMetadata:
    known = IdpMetadata(
        entity_id=IDP,
        sso_redirect_url="https://idp.example.com/sso",
        slo_url="https://idp.example.com/slo",
        slo_binding=REDIRECT,
        slo_response_url="https://idp.example.com/slo",
        signing_certificates=certificates or (pair().certificate,),
        want_authn_requests_signed=False,
        valid_until=None,
        cache_duration=None,
    )
    return replace(known, **changes)


def provider(claims: ClaimMap | None = None, *, enabled: bool = True, **saml_options: object) -> IdentityProvider:
    return IdentityProvider(
        slug="corp",
        name="Example Corp",
        saml=SamlProvider(metadata_url="https://idp.example.com/metadata", **saml_options),
        oidc=None,
        claims=claims
        or ClaimMap(
            subject="NameID",
            email="mail",
            name="displayName",
            groups="memberOf",
            attributes={"department": "dept"},
            mfa=(MFA,),
        ),
        enabled=enabled,
    )


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def at(seconds: float) -> str:
    """The instant so many seconds from NOW."""
    return stamp(NOW + timedelta(seconds=seconds))


ALICE = {
    "mail": ["alice@example.com"],
    "displayName": ["Alice Ng"],
    "memberOf": ["engineering", "on-call"],
    "dept": ["platform"],
}


@dataclass(frozen=True)
class Draft:
    """A Response about Alice, complete and right; a test changes what it is about. "" or None leaves the thing out."""

    issuer: str | None = IDP
    response_issuer: str | None = IDP
    destination: str | None = ACS
    recipient: str | None = ACS
    audiences: tuple[tuple[str, ...], ...] = ((SP,),)
    in_response_to: str | None = REQUEST_ID
    response_in_response_to: str | None = REQUEST_ID
    name_id: str | None = "alice"
    name_id_format: str | None = PERSISTENT
    name_id_attributes: str = ""
    issued: str = at(-2)
    not_before: str | None = at(-2)
    not_on_or_after: str | None = at(298)
    confirmation_until: str | None = at(298)
    confirmation_extra: str = ""
    method: str = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    authn_instant: str = at(-5)
    session_index: str | None = "session-1"
    session_until: str | None = at(8 * 3600)
    context: str | None = PASSWORD
    attributes: dict[str, list[str]] = field(default_factory=lambda: dict(ALICE))
    friendly: dict[str, str] = field(default_factory=dict)
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    assertion_id: str = "_assertion-1"
    response_id: str = "_response-1"
    in_response: str = ""  # raw XML before the Status
    in_status: str = ""  # raw XML after the StatusCode
    in_assertion: str = ""  # raw XML after the Issuer
    in_statement: str = ""  # raw XML in the AttributeStatement

    def xml(self) -> str:
        return (
            f'<samlp:Response xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="{self.response_id}" Version="2.0"'
            f' IssueInstant="{self.issued}"{_attribute("Destination", self.destination)}'
            f"{_attribute('InResponseTo', self.response_in_response_to)}>"
            f"{_element('Issuer', self.response_issuer)}{self.in_response}"
            f'<samlp:Status><samlp:StatusCode Value="{self.status}"/>{self.in_status}</samlp:Status>'
            f"{self.assertion_xml()}</samlp:Response>"
        )

    def assertion_xml(self) -> str:
        restrictions = "".join(
            "<saml:AudienceRestriction>"
            + "".join(_element("Audience", a) for a in group)
            + "</saml:AudienceRestriction>"
            for group in self.audiences
        )
        values = "".join(
            f'<saml:Attribute Name="{name}"{_attribute("FriendlyName", self.friendly.get(name))}>'
            + "".join(
                '<saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema"'
                ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">'
                f"{value}</saml:AttributeValue>"
                for value in texts
            )
            + "</saml:Attribute>"
            for name, texts in self.attributes.items()
        )
        statement = f"<saml:AttributeStatement>{values}{self.in_statement}</saml:AttributeStatement>"
        return (
            f'<saml:Assertion xmlns:saml="{NS["saml"]}" ID="{self.assertion_id}" Version="2.0" IssueInstant="{self.issued}">'
            f"{_element('Issuer', self.issuer)}{self.in_assertion}<saml:Subject>"
            f"{_element('NameID', self.name_id, _attribute('Format', self.name_id_format) + self.name_id_attributes)}"
            f'<saml:SubjectConfirmation Method="{self.method}"><saml:SubjectConfirmationData'
            f"{_attribute('Recipient', self.recipient)}{_attribute('NotOnOrAfter', self.confirmation_until)}"
            f"{_attribute('InResponseTo', self.in_response_to)}{self.confirmation_extra}/></saml:SubjectConfirmation>"
            f"</saml:Subject><saml:Conditions{_attribute('NotBefore', self.not_before)}"
            f"{_attribute('NotOnOrAfter', self.not_on_or_after)}>{restrictions}</saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{self.authn_instant}"{_attribute("SessionIndex", self.session_index)}'
            f"{_attribute('SessionNotOnOrAfter', self.session_until)}><saml:AuthnContext>"
            f"{_element('AuthnContextClassRef', self.context)}</saml:AuthnContext></saml:AuthnStatement>"
            f"{statement if values or self.in_statement else ''}</saml:Assertion>"
        )


def _attribute(name: str, value: str | None) -> str:
    return "" if value is None else f' {name}="{value}"'


def _element(name: str, text: str | None, attributes: str = "") -> str:
    return "" if text is None else f"<saml:{name}{attributes}>{text}</saml:{name}>"


def tree(xml: str | bytes) -> etree._Element:
    """`xml` parsed as it stands: comments, processing instructions and CDATA kept."""
    parser = etree.XMLParser(remove_comments=False, remove_pis=False, strip_cdata=False, resolve_entities=False)
    return etree.fromstring(xml.encode() if isinstance(xml, str) else xml, parser)


@dataclass(frozen=True)
class Signing:
    """How to sign: the usual way, unless a test wants an odd one."""

    by: Pair | None = None
    method: object = constants.TransformRsaSha256
    digest: object = constants.TransformSha256
    c14n: object = constants.TransformExclC14N
    transforms: tuple[object, ...] = (constants.TransformEnveloped, constants.TransformExclC14N)
    shown: str | None = ""  # certificate in KeyInfo: "" the signer's, None no KeyInfo
    hmac: bytes = b""


def sign(element: etree._Element, how: Signing = Signing()) -> etree._Element:
    """Sign `element` in place, by libxmlsec: the Signature goes after the Issuer."""
    by = how.by or pair()
    node = xmlsec.template.create(element, how.c14n, how.method, ns="ds")
    element.insert(1 if element.find(SAML + "Issuer") is not None else 0, node)
    reference = xmlsec.template.add_reference(node, how.digest, uri="#" + element.get("ID", ""))
    for transform in how.transforms:
        xmlsec.template.add_transform(reference, transform)
    if how.shown is not None:
        data = xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(node))
        etree.SubElement(data, DS + "X509Certificate").text = how.shown or by.bare
    xmlsec.tree.add_ids(element, ["ID"])
    context = xmlsec.SignatureContext()
    if how.hmac:
        context.key = xmlsec.Key.from_binary_data(constants.KeyDataHmac, how.hmac)
    else:
        context.key = xmlsec.Key.from_memory(by.key, constants.KeyDataFormatPem)
    context.sign(node)
    return element


def assertion_of(root: etree._Element) -> etree._Element:
    found = root.find(SAML + "Assertion")
    assert found is not None
    return found


def signed(draft: Draft = Draft(), what: str = "assertion", how: Signing = Signing()) -> etree._Element:
    """The Response of `draft`, with "assertion", "response", "both" or "nothing" signed."""
    root = tree(draft.xml())
    if what in ("assertion", "both"):
        sign(assertion_of(root), how)
    if what in ("response", "both"):
        sign(root, how)
    # Parsed anew: lxml does not always recognize the names of elements that libxmlsec has made.
    return tree(etree.tostring(root))


@dataclass(frozen=True)
class Encryption:
    """How to encrypt an assertion; `to` is the certificate of the service provider."""

    to: str = ""
    data: object = constants.TransformAes256Gcm
    kind: object = constants.KeyDataAes
    bits: int = 256
    key: object = constants.TransformRsaOaep
    beside: bool = False  # the EncryptedKey beside the EncryptedData, not inside its KeyInfo


def encrypt(root: etree._Element, how: Encryption = Encryption()) -> etree._Element:
    """Replace the Assertion in `root` by an EncryptedAssertion, by libxmlsec."""
    assertion = assertion_of(root)
    wrapper = etree.Element(SAML + "EncryptedAssertion", nsmap={"saml": NS["saml"]})
    root.replace(assertion, wrapper)
    alone = etree.fromstring(etree.tostring(assertion, with_tail=False))
    holder = etree.Element("holder")
    holder.append(alone)
    template = xmlsec.template.encrypted_data_create(holder, how.data, type=constants.TypeEncElement, ns="xenc")
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    key = xmlsec.template.add_encrypted_key(info, how.key)
    xmlsec.template.encrypted_data_ensure_cipher_value(key)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(how.to or pair("sp").certificate, constants.KeyDataFormatCertPem))
    context = xmlsec.EncryptionContext(manager)
    context.key = xmlsec.Key.generate(how.kind, how.bits, constants.KeyDataTypeSession)
    wrapper.append(context.encrypt_xml(template, alone))
    root = tree(etree.tostring(root))
    if how.beside:
        inner = root.find(f".//{DS}KeyInfo/{XENC}EncryptedKey")
        assert inner is not None
        inner.set("Id", "_key-1")
        retrieval = etree.Element(DS + "RetrievalMethod", URI="#_key-1")
        inner.getparent().replace(inner, retrieval)
        root.find(SAML + "EncryptedAssertion").append(inner)
    return root


def encrypted(
    draft: Draft = Draft(), *, inner: bool = True, outer: bool = False, how: Encryption = Encryption()
) -> etree._Element:
    """An encrypted Response: `inner` signs the assertion before, `outer` the Response after encryption."""
    root = tree(draft.xml())
    if inner:
        sign(assertion_of(root))
    root = encrypt(root, how)
    return sign(root) if outer else root


def post(root: etree._Element | str | bytes) -> str:
    """What the browser posts in SAMLResponse."""
    raw = etree.tostring(root) if isinstance(root, etree._Element) else root.encode() if isinstance(root, str) else root
    return base64.b64encode(raw).decode()


def verify(
    root: etree._Element | str | bytes,
    *,
    idp: IdpMetadata | None = None,
    sp: ServiceProvider | None = None,
    by: IdentityProvider | None = None,
    outstanding: tuple[str, ...] = (REQUEST_ID,),
    now: datetime = NOW,
) -> Verified:
    """Hand a Response to the gateway's service provider."""
    return saml.verify_response(
        sp or service_provider(),
        idp or idp_metadata(),
        by or provider(),
        post(root),
        is_outstanding=outstanding.__contains__,
        now=now,
    )


def reason(root: etree._Element | str | bytes, **options: object) -> str:
    """The reason for which the gateway refuses a Response; "accepted" if it does not."""
    try:
        verify(root, **options)
    except SamlRefused as error:
        return error.reason
    return "accepted"


# --- Redirect binding and single logout ---------------------------------------------------------------


def deflate(xml: str | bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(xml.encode() if isinstance(xml, str) else xml) + packer.flush()


def query(
    xml: str | bytes,
    *,
    field: str = "SAMLRequest",
    relay_state: str = "",
    by: Pair | None = None,
    algorithm: str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    packed: bytes | None = None,
) -> str:
    """A query string of the redirect binding, signed by the identity provider."""
    text = f"{field}={quote(base64.b64encode(deflate(xml) if packed is None else packed), safe='')}"
    if relay_state:
        text += f"&RelayState={quote(relay_state, safe='')}"
    text += f"&SigAlg={quote(algorithm, safe='')}"
    key = serialization.load_pem_private_key((by or pair()).key.encode(), None)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(
            text.encode(), padding.PKCS1v15(), hashes.SHA1() if "sha1" in algorithm else hashes.SHA256()
        )
    else:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return text + f"&Signature={quote(base64.b64encode(signature), safe='')}"


def logout_request_xml(
    *,
    issuer: str | None = IDP,
    destination: str | None = SLO,
    issued: str = at(-2),
    until: str | None = at(120),
    name_id: str = "alice",
    sessions: tuple[str, ...] = ("session-1",),
    extra: str = "",
) -> str:
    return (
        f'<samlp:LogoutRequest xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="_logout-1" Version="2.0"'
        f' IssueInstant="{issued}"{_attribute("Destination", destination)}{_attribute("NotOnOrAfter", until)}>'
        f"{_element('Issuer', issuer)}{extra}{_element('NameID', name_id, _attribute('Format', PERSISTENT))}"
        + "".join(f"<samlp:SessionIndex>{index}</samlp:SessionIndex>" for index in sessions)
        + "</samlp:LogoutRequest>"
    )


def logout_response_xml(
    *,
    in_response_to: str | None = "_our-logout",
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success",
    destination: str | None = SLO,
) -> str:
    return (
        f'<samlp:LogoutResponse xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="_answer-1" Version="2.0"'
        f' IssueInstant="{at(-2)}"{_attribute("Destination", destination)}{_attribute("InResponseTo", in_response_to)}>'
        f'{_element("Issuer", IDP)}<samlp:Status><samlp:StatusCode Value="{status}"/></samlp:Status></samlp:LogoutResponse>'
    )


# --- Metadata -----------------------------------------------------------------------------------------


def metadata_xml(
    *,
    entity_id: str = IDP,
    keys: tuple[tuple[str, str], ...] | None = None,
    valid_until: str | None = None,
    cache: str | None = None,
    sso: str = '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
    ' Location="https://idp.example.com/sso"/>',
    slo: str = '<md:SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
    ' Location="https://idp.example.com/slo"/>',
    role_attributes: str = "",
    extra: str = "",
) -> str:
    """Metadata of the test identity provider. `keys`: (use, bare Base64 certificate), use "" for none stated."""
    descriptors = "".join(
        f'<md:KeyDescriptor{_attribute("use", use or None)}><ds:KeyInfo xmlns:ds="{NS["ds"]}"><ds:X509Data>'
        f"<ds:X509Certificate>{bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for use, bare in (keys if keys is not None else (("signing", pair().bare),))
    )
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" ID="_metadata-1" entityID="{entity_id}"'
        f"{_attribute('validUntil', valid_until)}{_attribute('cacheDuration', cache)}>{extra}"
        f'<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"{role_attributes}>'
        f"{descriptors}{slo}{sso}</md:IDPSSODescriptor></md:EntityDescriptor>"
    )
