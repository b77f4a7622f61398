"""The SAML assertion: what AssumeRoleWithSAML, or a browser's POST to the sign-in page, exchanges for a session.

Owns its shape (IAM user guide, "Configure SAML assertions for the authentication response"; SAML core 2.0; XML Signature 1.1).
The document is written directly in its exclusive canonical form (W3C "Exclusive XML Canonicalization 1.0": no blanks between
elements, attributes sorted, a namespace declared where it is first used, no empty-element tags, three characters escaped in text,
six in attributes), so that it is built once, digested and signed without a parser in between. The tests have two independent
verifiers, signxml and xmlsec, canonicalise it themselves and agree.

One role a document, for one call, five minutes at most.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from cryptography.hazmat.primitives.serialization import Encoding

from federation.issuer.checks import (
    MAX_LIFETIME,
    MAX_SESSION_SECONDS,
    MIN_SESSION_SECONDS,
    MintRefused,
    check_lifetime,
    check_now,
    check_session,
    check_tags,
    check_text,
)
from federation.issuer.signing import Signer, load_certificate

__all__ = ["AssertionRequest", "MintRefused", "MintedAssertion", "mint_assertion"]

MAX_RESPONSE = 100_000
NOT_BEFORE_SLACK = timedelta(seconds=30)
ATTRIBUTE_PREFIX = "https://aws.amazon.com/SAML/Attributes/"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
_UNSPECIFIED = "urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified"
_URI_FORMAT = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
_EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"

# No comma anywhere: the Role attribute is "role,provider", and a comma inside either would begin another pair.
_ROLE = re.compile(
    r"arn:([a-z][a-z-]{2,20}):iam::([0-9]{12}):role/(?:[A-Za-z0-9_+=.@/-]{1,510}/)?[A-Za-z0-9_+=.@-]{1,64}"
)
_PROVIDER = re.compile(r"arn:([a-z][a-z-]{2,20}):iam::([0-9]{12}):saml-provider/[A-Za-z0-9._-]{1,128}")
_RECIPIENT = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,253}(?:/[A-Za-z0-9._~/-]{0,200})?")


@dataclass(frozen=True, slots=True)
class AssertionRequest:
    """What the assertion says.

    `issuer`: our entity id. `recipient`: the sign-in URL of partition and region, which trust policies match as SAML:aud.
    `audience`: the partition's. `name_id`: who, for ever the same for one person (persistent NameID, ≤ 256 characters).
    `session_duration`: of the console session in seconds, or None. `source_identity`: or "". `session_limit`: seconds after
    which any session made with the assertion ends (SessionNotOnOrAfter), or None. AWS takes the earlier of it and
    DurationSeconds, so it is for an assertion that leaves in somebody's hands: they choose the DurationSeconds.
    """

    issuer: str
    recipient: str
    audience: str
    role_arn: str
    provider_arn: str
    session_name: str
    name_id: str
    source_identity: str = ""
    session_duration: int | None = None
    session_limit: int | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    transitive_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MintedAssertion:
    """A signed response. `id` is the assertion's ID, which CloudTrail shows as sAMLAssertionID.

    `saml_response`: base64 of the samlp:Response; a bearer secret until `expires_at`.
    """

    id: str
    saml_response: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime


def _text(value: str) -> str:
    """Canonical text. There is no carriage return to write as &#xD;: control characters were refused."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(value: str) -> str:
    """A canonical attribute value, without its quotes."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=32)
def _certificate_base64(certificate_pem: str) -> str:
    return base64.b64encode(load_certificate(certificate_pem).public_bytes(Encoding.DER)).decode()


def _attribute(name: str, values: Iterable[str]) -> str:
    inside = "".join(f"<saml:AttributeValue>{_text(value)}</saml:AttributeValue>" for value in values)
    return (
        f'<saml:Attribute Name="{ATTRIBUTE_PREFIX}{_quoted(name)}" NameFormat="{_URI_FORMAT}">{inside}</saml:Attribute>'
    )


def _check(request: AssertionRequest) -> None:
    role, provider = _ROLE.fullmatch(request.role_arn), _PROVIDER.fullmatch(request.provider_arn)
    if role is None:
        raise MintRefused(
            "role_arn_has_comma" if "," in request.role_arn else "role_arn_invalid",
            detail=ascii(request.role_arn)[:300],
        )
    if provider is None:
        raise MintRefused("provider_arn_invalid", detail=ascii(request.provider_arn)[:300])
    if role[1] != provider[1]:
        raise MintRefused("partition_mismatch", detail=f"{role[1]} and {provider[1]}")
    if role[2] != provider[2]:
        raise MintRefused("account_mismatch", detail=f"{role[2]} and {provider[2]}")
    if not _RECIPIENT.fullmatch(request.recipient):
        raise MintRefused("recipient_invalid", detail=ascii(request.recipient)[:300])
    check_text(
        request.issuer, "issuer_invalid", longest=1024
    )  # SAML core 8.3.6: an entity id has at most 1024 characters
    check_text(request.audience, "audience_invalid", longest=1024)
    check_text(request.name_id, "name_id_invalid", longest=256)  # SAML core 8.3.7: a persistent identifier at most 256
    check_session(request.session_name, request.source_identity)
    check_tags(request.tags, request.transitive_tags)
    for seconds in (request.session_duration, request.session_limit):
        if seconds is not None and not MIN_SESSION_SECONDS <= seconds <= MAX_SESSION_SECONDS:
            raise MintRefused("session_duration_out_of_range", detail=str(seconds))


def _attributes(request: AssertionRequest) -> str:
    out = [
        _attribute("Role", [f"{request.role_arn},{request.provider_arn}"]),
        _attribute("RoleSessionName", [request.session_name]),
    ]
    if request.session_duration is not None:
        out.append(_attribute("SessionDuration", [str(request.session_duration)]))
    if request.source_identity:
        out.append(_attribute("SourceIdentity", [request.source_identity]))
    out += [_attribute(f"PrincipalTag:{key}", [value]) for key, value in request.tags.items()]
    if request.transitive_tags:
        out.append(_attribute("TransitiveTagKeys", request.transitive_tags))
    return "".join(out)


def _session_end(request: AssertionRequest, now: datetime) -> str:
    """SessionNotOnOrAfter (SAML core 2.7.2), last by the order of canonical XML; "" without a limit."""
    if request.session_limit is None:
        return ""
    return f' SessionNotOnOrAfter="{_when(now + timedelta(seconds=request.session_limit))}"'


def _assertion(request: AssertionRequest, assertion_id: str, now: datetime, expires_at: datetime) -> tuple[str, str]:
    """The canonical assertion without a signature, cut where the signature belongs: after the Issuer (SAML core 2.3.3)."""
    issued, expires, early = _when(now), _when(expires_at), _when(now - NOT_BEFORE_SLACK)
    head = (
        f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{assertion_id}" IssueInstant="{issued}" Version="2.0">'
        f"<saml:Issuer>{_text(request.issuer)}</saml:Issuer>"
    )
    tail = (
        f'<saml:Subject><saml:NameID Format="{PERSISTENT}">{_text(request.name_id)}</saml:NameID>'
        f'<saml:SubjectConfirmation Method="{BEARER}">'
        f'<saml:SubjectConfirmationData NotOnOrAfter="{expires}" Recipient="{_quoted(request.recipient)}"></saml:SubjectConfirmationData>'
        "</saml:SubjectConfirmation></saml:Subject>"
        f'<saml:Conditions NotBefore="{early}" NotOnOrAfter="{expires}">'
        f"<saml:AudienceRestriction><saml:Audience>{_text(request.audience)}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
        f'<saml:AuthnStatement AuthnInstant="{issued}" SessionIndex="{assertion_id}"{_session_end(request, now)}>'
        f"<saml:AuthnContext><saml:AuthnContextClassRef>{_UNSPECIFIED}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
        f"<saml:AttributeStatement>{_attributes(request)}</saml:AttributeStatement></saml:Assertion>"
    )
    return head, tail


def _signature(assertion_id: str, canonical: str, signer: Signer) -> str:
    """The ds:Signature over the canonical assertion (XML Signature 1.1, section 4; SAML core 5.4)."""
    digest = base64.b64encode(hashlib.sha256(canonical.encode()).digest()).decode()
    inside = (
        f'<ds:CanonicalizationMethod Algorithm="{_EXC_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{_RSA_SHA256}"></ds:SignatureMethod>'
        f'<ds:Reference URI="#{assertion_id}"><ds:Transforms><ds:Transform Algorithm="{_ENVELOPED}"></ds:Transform>'
        f'<ds:Transform Algorithm="{_EXC_C14N}"></ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>'
    )
    # Canonical, SignedInfo declares ds itself; inside the Signature it inherits it.
    signed = signer.sign(f'<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{inside}'.encode())
    return (
        f'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>{inside}'
        f"<ds:SignatureValue>{base64.b64encode(signed).decode()}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{_certificate_base64(signer.certificate_pem)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        "</ds:Signature>"
    )


def mint_assertion(
    request: AssertionRequest, signer: Signer, *, now: datetime, lifetime: timedelta = MAX_LIFETIME
) -> MintedAssertion:
    """Sign one assertion for one call and wrap it in a response. `now`: aware, UTC. `signer`: RS256, which is all AWS is known to take.

    Raises MintRefused: role_arn_invalid, role_arn_has_comma, provider_arn_invalid, partition_mismatch, account_mismatch,
    recipient_invalid, issuer_invalid, audience_invalid, name_id_invalid, session_name_invalid, source_identity_invalid, tag_invalid,
    tag_duplicate, too_many_tags, transitive_tag_unknown, session_duration_out_of_range, lifetime_out_of_range, now_not_utc,
    signer_not_rsa, assertion_too_large.
    """
    issued_at = check_now(now)
    expires_at = issued_at + check_lifetime(lifetime)
    _check(request)
    if signer.algorithm != "RS256":
        raise MintRefused("signer_not_rsa", detail=signer.kid)
    assertion_id = f"_{secrets.token_hex(16)}"
    head, tail = _assertion(request, assertion_id, issued_at, expires_at)
    canonical = head + tail
    if (
        len(canonical.encode()) > MAX_RESPONSE * 3 // 4
    ):  # refused before the key is used; the exact size is checked below
        raise MintRefused("assertion_too_large", detail=f"{len(canonical)} characters")
    issuer, recipient, issued = _text(request.issuer), _quoted(request.recipient), _when(issued_at)
    document = (
        '<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
        f'Destination="{recipient}" ID="_{secrets.token_hex(16)}" IssueInstant="{issued}" Version="2.0">'
        f'<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{issuer}</saml:Issuer>'
        f'<samlp:Status><samlp:StatusCode Value="{_SUCCESS}"></samlp:StatusCode></samlp:Status>'
        f"{head}{_signature(assertion_id, canonical, signer)}{tail}</samlp:Response>"
    )
    response = base64.b64encode(document.encode()).decode()
    if len(response) > MAX_RESPONSE:
        raise MintRefused("assertion_too_large", detail=f"{len(response)} base64 characters")
    return MintedAssertion(id=assertion_id, saml_response=response, issued_at=issued_at, expires_at=expires_at)
