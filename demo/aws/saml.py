"""Reads an assertion as AWS does: signature against the registered provider, then every condition, then the attributes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lxml import etree
from signxml import DigestAlgorithm, SignatureConfiguration, SignatureMethod, XMLVerifier
from signxml.exceptions import SignXMLException

from demo import xml
from demo.aws.errors import expired, invalid_token
from demo.aws.limits import DURATION, SESSION_NAME, Tags, check_tags
from demo.aws.registry import SamlProvider

PREFIX = "https://aws.amazon.com/SAML/Attributes/"
TAG_PREFIX = f"{PREFIX}PrincipalTag:"
KNOWN = frozenset({"Role", "RoleSessionName", "SessionDuration", "TransitiveTagKeys", "SourceIdentity"})
REDEEM_WITHIN = timedelta(minutes=5)
EARLY = timedelta(seconds=60)
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
TRANSFORMS = ["http://www.w3.org/2000/09/xmldsig#enveloped-signature", EXCLUSIVE]
AUDIENCES = {
    "aws": "urn:amazon:webservices",
    "aws-cn": "urn:amazon:webservices:cn-north-1",
    "aws-us-gov": "urn:amazon:webservices:govcloud",
}
_CONFIG = SignatureConfiguration(
    require_x509=True,
    location="./",
    expect_references=1,
    signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
    digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
)


@dataclass(frozen=True)
class Assertion:
    """What a good assertion says. `roles`: (role ARN, provider ARN) pairs. `session_seconds`: SessionDuration, or None."""

    id: str
    issuer: str
    subject: str
    subject_type: str
    recipient: str
    audience: str
    roles: tuple[tuple[str, str], ...]
    session_name: str
    session_seconds: int | None
    session_until: datetime | None
    tags: Tags


def _one(element: Any, path: str, reason: str) -> Any:
    found = element.xpath(path, namespaces=xml.NS)
    if len(found) != 1:
        raise invalid_token("Your request included an invalid SAML response. To logout, click here.", reason)
    return found[0]


def _time(text: str | None, reason: str) -> datetime:
    try:
        return xml.moment(text or "")
    except ValueError as error:
        raise invalid_token("A time in the SAML response is missing or not in UTC.", reason) from error


def decode(value: str) -> Any:
    """The samlp:Response of a base64 text. Raises AwsError InvalidIdentityToken."""
    try:
        document = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise invalid_token("Invalid base64 SAMLResponse", "not_base64") from error
    try:
        root = xml.parse(document)
    except xml.BadXml as error:
        raise invalid_token("Your request included an invalid SAML response.", "not_xml") from error
    if root.tag != f"{{{xml.SAMLP}}}Response" or root.get("Version") != "2.0":
        raise invalid_token("Your request included an invalid SAML response.", "not_a_response")
    return root


def _verified(element: Any, provider: SamlProvider) -> Any:
    """The signed copy of `element`, whose own enveloped signature one of the provider's keys made.

    The element alone goes to the verifier, and what comes back is read instead of it: a signature over something
    else in the document (XML signature wrapping) finds nothing to verify.
    """
    problem = invalid_token("Response signature invalid", "signature_invalid")
    identifier = element.get("ID")
    signature = element.xpath("ds:Signature", namespaces=xml.NS)
    if not identifier or len(signature) != 1:
        raise invalid_token("Response signature invalid", "not_signed")
    methods = signature[0].xpath("ds:SignedInfo/ds:CanonicalizationMethod/@Algorithm", namespaces=xml.NS)
    references = signature[0].xpath("ds:SignedInfo/ds:Reference", namespaces=xml.NS)
    transforms = signature[0].xpath(".//ds:Transform/@Algorithm", namespaces=xml.NS)
    if (
        len(references) != 1
        or references[0].get("URI") != f"#{identifier}"
        or transforms != TRANSFORMS
        or methods != [EXCLUSIVE]
    ):
        raise invalid_token("Response signature invalid", "signature_shape")
    alone = etree.tostring(element, with_tail=False)
    for certificate in provider.certificates:
        try:
            result = XMLVerifier().verify(alone, x509_cert=certificate, expect_config=_CONFIG, id_attribute="ID")
        except (SignXMLException, ValueError):
            continue
        signed = result.signed_xml  # type: ignore[union-attr]
        if signed is None or signed.tag != element.tag or signed.get("ID") != identifier:
            raise problem
        return signed
    raise problem


def check(root: Any, provider: SamlProvider, partition: str, recipients: frozenset[str], now: datetime) -> Assertion:
    """Every check on the document itself. Raises AwsError InvalidIdentityToken or ExpiredTokenException.

    `recipients`: the sign-in URLs this AWS answers at.
    """
    if root.xpath("count(//*[local-name()='Assertion' or local-name()='EncryptedAssertion'])", namespaces=xml.NS) != 1:
        raise invalid_token("Your request included an invalid SAML response.", "not_one_assertion")
    identifiers = root.xpath("//@ID")
    if len(set(identifiers)) != len(identifiers):
        raise invalid_token("Your request included an invalid SAML response.", "id_twice")
    if _one(root, "samlp:Status/samlp:StatusCode", "no_status").get("Value") != SUCCESS:
        raise invalid_token("The SAML response does not say Success.", "status_not_success")
    if root.xpath("ds:Signature", namespaces=xml.NS):
        _verified(root, provider)  # signed twice is allowed; then both must hold
    signed = _verified(_one(root, "saml:Assertion", "assertion_misplaced"), provider)

    issuer = xml.text_of(_one(signed, "saml:Issuer", "no_issuer"))
    outer = root.xpath("saml:Issuer", namespaces=xml.NS)
    if issuer != provider.entity_id or any(xml.text_of(item) != issuer for item in outer):
        raise invalid_token("Issuer not present in specified provider", "issuer_unknown")
    issued = _time(signed.get("IssueInstant"), "issue_instant")
    if issued > now + EARLY:
        raise invalid_token("The SAML response was issued in the future.", "issued_in_future")
    if now - issued > REDEEM_WITHIN:
        raise expired("Token must be redeemed within 5 minutes of issuance", "redeemed_too_late")

    subject = _one(signed, "saml:Subject/saml:NameID", "no_name_id")
    recipient = _check_confirmation(signed, recipients, now)
    destination = root.get("Destination")
    if destination is not None and destination != recipient:
        raise invalid_token("Destination and Recipient differ.", "destination")
    audience = _check_conditions(signed, partition, now)
    until = _one(signed, "saml:AuthnStatement", "no_authn_statement").get("SessionNotOnOrAfter")
    session_until = _time(until, "session_not_on_or_after") if until is not None else None
    if session_until is not None and session_until <= now:
        raise expired("SessionNotOnOrAfter is in the past.", "session_over")
    return _read_attributes(
        signed,
        id=signed.get("ID"),
        issuer=issuer,
        subject=xml.text_of(subject),
        subject_type=(subject.get("Format") or "").removeprefix("urn:oasis:names:tc:SAML:2.0:nameid-format:"),
        recipient=recipient,
        audience=audience,
        session_until=session_until,
    )


def _check_confirmation(signed: Any, recipients: frozenset[str], now: datetime) -> str:
    confirmation = _one(signed, "saml:Subject/saml:SubjectConfirmation", "not_one_confirmation")
    if confirmation.get("Method") != BEARER:
        raise invalid_token("The subject confirmation is not bearer.", "not_bearer")
    data = _one(confirmation, "saml:SubjectConfirmationData", "no_confirmation_data")
    if data.get("Recipient") not in recipients:
        raise invalid_token("Recipient is not the AWS sign-in endpoint.", "recipient")
    if _time(data.get("NotOnOrAfter"), "confirmation_not_on_or_after") <= now:
        raise expired("The subject confirmation has expired.", "confirmation_expired")
    return str(data.get("Recipient"))


def _check_conditions(signed: Any, partition: str, now: datetime) -> str:
    conditions = _one(signed, "saml:Conditions", "no_conditions")
    before, after = conditions.get("NotBefore"), conditions.get("NotOnOrAfter")
    if before is not None and _time(before, "not_before") > now + EARLY:
        raise invalid_token("The assertion is not valid yet.", "too_early")
    if after is not None and _time(after, "not_on_or_after") <= now:
        raise expired("The assertion has expired.", "assertion_expired")
    wanted = AUDIENCES[partition]
    restriction = _one(conditions, "saml:AudienceRestriction", "no_audience")
    if wanted not in [xml.text_of(item) for item in restriction.xpath("saml:Audience", namespaces=xml.NS)]:
        raise invalid_token("Audience is not AWS.", "audience")
    return wanted


def _read_attributes(signed: Any, **facts: Any) -> Assertion:
    found: dict[str, list[str]] = {}
    for attribute in signed.xpath("saml:AttributeStatement/saml:Attribute", namespaces=xml.NS):
        name = attribute.get("Name", "")
        if name in found:
            raise invalid_token(f"{name} is given twice.", "attribute_twice")
        found[name] = [xml.text_of(value) for value in attribute.xpath("saml:AttributeValue", namespaces=xml.NS)]
        if name.startswith(PREFIX) and not name.startswith(TAG_PREFIX) and name.removeprefix(PREFIX) not in KNOWN:
            # AWS passes over it; here it is refused, for it can only be a name with a slip in it.
            raise invalid_token(f"{name} is no attribute that AWS knows.", "attribute_unknown")

    def single(name: str) -> str:
        values = found.get(PREFIX + name, [])
        if len(values) > 1:
            raise invalid_token(f"{name} has more than one value.", "attribute_many_values")
        return values[0] if values else ""

    session_name = single("RoleSessionName")
    if not session_name:
        raise invalid_token("RoleSessionName is required in AuthnResponse", "no_session_name")
    if not SESSION_NAME.match(session_name):
        raise invalid_token(
            "RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}", "session_name_invalid"
        )
    length = single("SessionDuration")
    if length and not (length.isascii() and length.isdecimal() and DURATION[0] <= int(length) <= DURATION[1]):
        raise invalid_token(
            f"SessionDuration must be between {DURATION[0]} and {DURATION[1]}.", "session_duration_invalid"
        )
    if "" in found.get(PREFIX + "SourceIdentity", []):
        raise invalid_token("SourceIdentity is empty.", "source_identity_invalid")
    names = [name for name in found if name.startswith(TAG_PREFIX)]
    if any(len(found[name]) != 1 for name in names):
        raise invalid_token("A PrincipalTag must have exactly one value.", "tag_many_values")
    tags = check_tags(
        {name.removeprefix(TAG_PREFIX): found[name][0] for name in names},
        tuple(found.get(PREFIX + "TransitiveTagKeys", [])),
        single("SourceIdentity"),
    )
    return Assertion(
        **facts,
        roles=tuple(_pair(value) for value in found.get(PREFIX + "Role", [])),
        session_name=session_name,
        session_seconds=int(length) if length else None,
        tags=tags,
    )


def _pair(value: str) -> tuple[str, str]:
    """(role ARN, provider ARN) of one Role value, in that order and without white space."""
    parts = value.split(",")
    if len(parts) != 2 or ":role/" not in parts[0] or ":saml-provider/" not in parts[1]:
        raise invalid_token("A Role attribute is not 'role-arn,provider-arn'.", "role_attribute")
    return parts[0], parts[1]
