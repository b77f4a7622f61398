"""The SAML messages that the identity provider writes: metadata, Response with Assertion, logout messages."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from demo import xml
from demo.cast import Actor
from demo.idp.service_providers import HTTP_REDIRECT
from demo.keypair import KeyPair

PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
BASIC = "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
RESPONDER = "urn:oasis:names:tc:SAML:2.0:status:Responder"
NO_PASSIVE = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
MFA = "https://refeds.org/profile/mfa"
# Attribute names that widely used products send for the same things.
METHODS = "http://schemas.microsoft.com/claims/authnmethodsreferences"
MFA_METHOD = "http://schemas.microsoft.com/claims/multipleauthn"
GROUPS_LINK = "http://schemas.microsoft.com/claims/groups.link"
ASSERTION_LIFETIME = timedelta(minutes=5)
SKEW = timedelta(seconds=30)
METADATA_VALIDITY = timedelta(days=7)


def new_id() -> str:
    """An xs:ID with 160 random bits (SAML core 1.3.4)."""
    return f"_{secrets.token_hex(20)}"


@dataclass(frozen=True)
class Statement:
    """What one assertion says. `in_response_to` is empty in an unsolicited response."""

    actor: Actor
    entity_id: str
    audience: str
    acs: str
    in_response_to: str
    session_index: str
    authenticated_at: datetime
    session_until: datetime


def attributes_of(actor: Actor, base_url: str) -> list[tuple[str, tuple[str, ...]]]:
    """Name and values of every attribute sent for a person. In overage a link stands where the groups would be."""
    found: list[tuple[str, tuple[str, ...]]] = [
        ("mail", (actor.email,)),
        ("displayName", (actor.name,)),
        ("department", (actor.department,)),
        ("uid", (actor.login,)),
    ]
    if actor.overage:
        found.append((GROUPS_LINK, (f"{base_url}/graph/{actor.subject}/groups",)))
    else:
        found.append(("memberOf", actor.groups))
    if actor.mfa:
        found.append((METHODS, (MFA_METHOD,)))
    return found


def assertion(statement: Statement, pair: KeyPair, base_url: str, now: datetime) -> Any:
    """A signed saml:Assertion with one bearer confirmation (SAML profiles 4.1.4.2)."""
    e = xml.E_SAML
    confirmation = {"NotOnOrAfter": xml.stamp(now + ASSERTION_LIFETIME), "Recipient": statement.acs}
    if statement.in_response_to:
        confirmation["InResponseTo"] = statement.in_response_to
    element = e.Assertion(
        e.Issuer(statement.entity_id),
        xml.placeholder(),
        e.Subject(
            e.NameID(statement.actor.subject, Format=PERSISTENT),
            e.SubjectConfirmation(
                e.SubjectConfirmationData(**confirmation), Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"
            ),
        ),
        e.Conditions(
            e.AudienceRestriction(e.Audience(statement.audience)),
            NotBefore=xml.stamp(now - SKEW),
            NotOnOrAfter=xml.stamp(now + ASSERTION_LIFETIME),
        ),
        e.AuthnStatement(
            e.AuthnContext(e.AuthnContextClassRef(MFA if statement.actor.mfa else PASSWORD)),
            AuthnInstant=xml.stamp(statement.authenticated_at),
            SessionIndex=statement.session_index,
            SessionNotOnOrAfter=xml.stamp(statement.session_until),
        ),
        e.AttributeStatement(
            *(
                e.Attribute(*(e.AttributeValue(value) for value in values), Name=name, NameFormat=BASIC)
                for name, values in attributes_of(statement.actor, base_url)
                if values
            )
        ),
        ID=new_id(),
        Version="2.0",
        IssueInstant=xml.stamp(now),
    )
    return xml.sign(element, pair)


def response(content: Any, *, entity_id: str, acs: str, in_response_to: str, pair: KeyPair, now: datetime) -> bytes:
    """A signed samlp:Response around a signed or encrypted assertion, or around nothing but the status NoPassive."""
    e = xml.E_SAMLP
    status = e.Status(e.StatusCode(Value=SUCCESS))
    if content is None:
        status = e.Status(e.StatusCode(e.StatusCode(Value=NO_PASSIVE), Value=RESPONDER))
    reply = {"InResponseTo": in_response_to} if in_response_to else {}
    element = e.Response(
        xml.E_SAML.Issuer(entity_id),
        xml.placeholder(),
        status,
        *([] if content is None else [content]),
        ID=new_id(),
        Version="2.0",
        IssueInstant=xml.stamp(now),
        Destination=acs,
        **reply,
    )
    return xml.serialize(xml.sign(element, pair))


def metadata(entity_id: str, base_url: str, pair: KeyPair, now: datetime, following: KeyPair | None = None) -> bytes:
    """The signed md:EntityDescriptor of this identity provider, valid for a week. `following`: the key that it rolls to."""
    e = xml.E_MD
    keys = [
        e.KeyDescriptor(
            xml.E_DS.KeyInfo(xml.E_DS.X509Data(xml.E_DS.X509Certificate(one.certificate_base64))), use="signing"
        )
        for one in (pair, following)
        if one is not None
    ]
    element = e.EntityDescriptor(
        xml.placeholder(),
        e.IDPSSODescriptor(
            *keys,
            e.SingleLogoutService(Binding=HTTP_REDIRECT, Location=f"{base_url}/saml/slo"),
            e.NameIDFormat(PERSISTENT),
            e.SingleSignOnService(Binding=HTTP_REDIRECT, Location=f"{base_url}/saml/sso"),
            WantAuthnRequestsSigned="true",
            protocolSupportEnumeration=xml.SAMLP,
        ),
        ID=new_id(),
        entityID=entity_id,
        validUntil=xml.stamp(now + METADATA_VALIDITY),
    )
    return xml.serialize(xml.sign(element, pair))


def logout_request(
    entity_id: str, destination: str, subject: str, session_index: str, now: datetime
) -> tuple[str, bytes]:
    """(ID, XML) of a samlp:LogoutRequest for the redirect binding, which carries its signature in the query."""
    identifier = new_id()
    e = xml.E_SAMLP
    element = e.LogoutRequest(
        xml.E_SAML.Issuer(entity_id),
        xml.E_SAML.NameID(subject, Format=PERSISTENT),
        e.SessionIndex(session_index),
        ID=identifier,
        Version="2.0",
        IssueInstant=xml.stamp(now),
        NotOnOrAfter=xml.stamp(now + ASSERTION_LIFETIME),
        Destination=destination,
    )
    return identifier, xml.serialize(element)


def logout_response(entity_id: str, destination: str, in_response_to: str, now: datetime) -> bytes:
    """A successful samlp:LogoutResponse for the redirect binding."""
    e = xml.E_SAMLP
    return xml.serialize(
        e.LogoutResponse(
            xml.E_SAML.Issuer(entity_id),
            e.Status(e.StatusCode(Value=SUCCESS)),
            ID=new_id(),
            Version="2.0",
            IssueInstant=xml.stamp(now),
            Destination=destination,
            InResponseTo=in_response_to,
        )
    )
