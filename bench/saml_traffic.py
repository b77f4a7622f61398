"""What a corporate identity provider sends, for the benchmarks: its key, its metadata, and signed responses in numbers.

Signed by hand over text that is written in exclusive canonical form already: a load generator must cost little beside
what it measures.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

IDP = "https://idp.bench.example/metadata"
CLAIMS = {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"}
# "engineering" is the group that the mapping document of tests.live gives roles to.
GROUPS = ("engineering", *(f"team-{number}" for number in range(19)))
# As a directory writes them: with these a response has some 15 KB.
MANY_GROUPS = (
    "engineering",
    *(
        f"cn=aws-shop-production-{number:02}-read-only,ou=shop-and-payments,ou=amazon-web-services,ou=cloud-access,"
        "ou=application-groups,ou=security-groups,ou=groups,ou=headquarters,dc=emea,dc=corp,dc=example,dc=com"
        for number in range(49)
    ),
)


def signing_key() -> tuple[rsa.RSAPrivateKey, str]:
    """A new RSA-2048 key and its certificate, PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "BENCHMARK KEY ONLY")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(serialization.Encoding.PEM).decode()


def metadata(certificate: str) -> str:
    """The identity provider's metadata, with its one signing certificate."""
    bare = "".join(certificate.splitlines()[1:-1])
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{IDP}">'
        '<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.bench.example/sso"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


def provider(certificate: str) -> dict[str, object]:
    """This identity provider, as the gateway's mapping document names it."""
    return {"slug": "corp", "name": "Bench", "saml": {"metadata_xml": metadata(certificate)}, "claims": CLAIMS}


def asked(location: str) -> tuple[str, str]:
    """(id of the AuthnRequest, RelayState) of a redirect to the identity provider."""
    query = parse_qs(urlsplit(location).query)
    request = zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15).decode()
    return request.split(' ID="', 1)[1].split('"', 1)[0], query["RelayState"][0]


def response(
    key: rsa.RSAPrivateKey, person: int, request_id: str, *, acs: str, audience: str, groups: Sequence[str] = GROUPS
) -> str:
    """A Response to the request, for the service provider `audience` at `acs`, its Assertion signed; base64.

    Good for five minutes from now. Each `person` is somebody else.
    """
    now = datetime.now(UTC)
    at = lambda seconds: (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    attribute = lambda name, inner: (
        f'<saml:Attribute Name="{name}" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:basic">{inner}</saml:Attribute>'
    )
    value = lambda text: f"<saml:AttributeValue>{text}</saml:AttributeValue>"
    head = f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a{person}x{now.timestamp()}" IssueInstant="{at(0)}" Version="2.0"><saml:Issuer>{IDP}</saml:Issuer>'
    body = (
        f'<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">person-{person}</saml:NameID>'
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData InResponseTo="{request_id}" NotOnOrAfter="{at(300)}" Recipient="{acs}"></saml:SubjectConfirmationData>'
        "</saml:SubjectConfirmation></saml:Subject>"
        f'<saml:Conditions NotBefore="{at(-30)}" NotOnOrAfter="{at(300)}"><saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>'
        f'<saml:AuthnStatement AuthnInstant="{at(-5)}" SessionIndex="_s{person}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>'
        "<saml:AttributeStatement>"
        + attribute("mail", value(f"person-{person}@example.com"))
        + attribute("displayName", value(f"Person {person}"))
        + attribute("memberOf", "".join(map(value, groups)))
        + "</saml:AttributeStatement></saml:Assertion>"
    )
    identifier = head.split(' ID="', 1)[1].split('"', 1)[0]
    digest = base64.b64encode(hashlib.sha256((head + body).encode()).digest()).decode()
    info = (
        '<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>'
        '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></ds:SignatureMethod>'
        f'<ds:Reference URI="#{identifier}"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>'
        '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>'
    )
    signature = base64.b64encode(key.sign(info.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
    signed = f'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{info}<ds:SignatureValue>{signature}</ds:SignatureValue></ds:Signature>'
    whole = (
        f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r{person}x{now.timestamp()}" Version="2.0" IssueInstant="{at(0)}" Destination="{acs}" InResponseTo="{request_id}">'
        f'<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{IDP}</saml:Issuer>'
        '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
        f"{head}{signed}{body}</samlp:Response>"
    )
    return base64.b64encode(whole.encode()).decode()
