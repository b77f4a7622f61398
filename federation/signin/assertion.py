"""Reading a verified assertion: our own strict checks, then the person.

Works on the element that the second verifier returned, and on nothing else. python3-saml leaves most of these checks
out or makes them loosely (no Audience, no Recipient, Destination by prefix, InResponseTo optional, ten years'
validity), so each is made here, by exact comparison. Sources: SAML core 2.3 to 2.7, profiles 4.1.4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from federation.identity import Identity, Subject
from federation.mapping.rules import ClaimMap, IdentityProvider
from federation.signin.grammar import SAML, Element
from federation.signin.protocol import NameId, ServiceProvider, Verified
from federation.signin.reasons import Reason, refused
from federation.signin.values import MAX_GROUPS, MAX_VALUE, has_unseen

CLOCK_SKEW = timedelta(seconds=60)
MAX_VALIDITY = timedelta(minutes=10)
MAX_FORMAT = 255  # characters of a NameID's format, as the database keeps it
# Bytes of a person's subject: with format and provider it has to fit into a row of PostgreSQL's index (2,704), which no name does
# of a thousand characters of three bytes each. A persistent NameID has 256 characters at most (core 8.3.7).
MAX_SUBJECT = 1_024

BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"

# Entra sends a link to the directory instead of the groups when there are more than 150 (the overage of SAML tokens).
OVERAGE = "http://schemas.microsoft.com/claims/groups.link"
# Entra's own id of the person: what OpenID Connect calls `oid`.
OBJECT_ID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
# Entra says here, not in AuthnContextClassRef, that a second factor was used.
METHODS = "http://schemas.microsoft.com/claims/authnmethodsreferences"

_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the Response says around its assertion; signed or not, it must agree with what is signed."""

    issuer: str
    destination: str
    in_response_to: str


def envelope_of(response: Element) -> Envelope:
    """The envelope of a Response element."""
    return Envelope(
        issuer=response.findtext(SAML + "Issuer") or "",
        destination=response.get("Destination", ""),
        in_response_to=response.get("InResponseTo", ""),
    )


def instant(text: str | None) -> datetime:
    """A SAML instant (core 1.3.3: UTC, no zone but Z), digits beyond microseconds cut. Raises SamlRefused(time_malformed)."""
    found = _INSTANT.match(text or "")
    if found is None:
        raise refused(Reason.TIME_MALFORMED, text or "none")
    try:
        whole = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        raise refused(Reason.TIME_MALFORMED, text or "none") from None
    return whole + timedelta(microseconds=int((found[2] or "0").ljust(6, "0")[:6]))


@dataclass(frozen=True, slots=True)
class Received:
    """Everything that a verified assertion says of a person, before any of it is read through a claim map.

    `attributes`: (Name, FriendlyName, values) each, in order. `contexts`: AuthnContextClassRef. The instants are as written.
    """

    name_id: NameId | None
    attributes: tuple[tuple[str, str, tuple[str, ...]], ...]
    contexts: tuple[str, ...]
    authenticated_at: str
    session_ends: str
    session_index: str


Witness = Callable[[Received], None]


def read(
    assertion: Element,
    envelope: Envelope,
    *,
    sp: ServiceProvider,
    entity_id: str,
    provider: IdentityProvider,
    is_outstanding: Callable[[str], bool],
    now: datetime,
    max_validity: timedelta = MAX_VALIDITY,
    witness: Witness | None = None,
) -> Verified:
    """Check what `assertion` says, strictly, and turn it into a Verified.

    `entity_id`: the identity provider's. `witness`: told what was received once every check has passed, also where the
    claim map then finds no person in it. Raises SamlRefused with one of the reasons under "What the message says" and
    "Whom it is about".
    """
    _check_issuers(assertion, envelope, entity_id)
    if envelope.destination != sp.acs_url:
        raise refused(
            Reason.DESTINATION_WRONG if envelope.destination else Reason.DESTINATION_MISSING, envelope.destination
        )
    valid_until = _check_times(assertion, now, max_validity)
    _check_audience(assertion, sp)
    in_response_to = _check_confirmation(assertion, envelope, sp, provider, is_outstanding)
    name_id = _name_id(assertion, sp)
    if witness is not None:
        witness(received(assertion, name_id))
    identity = _identity(assertion, name_id, provider, now)
    issuer = assertion.findtext(SAML + "Issuer") or ""
    return Verified(
        identity=identity,
        replay_key=replay_key(provider.slug, issuer, assertion.get("ID", "")),
        replay_until=valid_until + 2 * CLOCK_SKEW,
        in_response_to=in_response_to,
        name_id=name_id,
        session_index=identity.session_index,
        object_id="" if identity.groups_complete else _object_id(assertion),
    )


def _object_id(assertion: Element) -> str:
    """What Graph is asked about where groups are left out; "" where the assertion does not say it, or not clearly."""
    named = [a for a in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute") if a.get("Name") == OBJECT_ID]
    values = [_text(value) for attribute in named for value in attribute]
    return values[0] if len(values) == 1 else ""


def replay_key(*parts: str) -> str:
    """SHA-256 of the length-prefixed parts, hex: no two different lists of parts share it."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.hexdigest()


def _one(assertion: Element, path: str) -> Element:
    """The element at `path`, which the shape check has promised."""
    found = assertion.find(path)
    if found is None:  # pragma: no cover - the shape check has seen it
        raise refused(Reason.ELEMENT_MISSING, path)
    return found


def check_issuer(issuer: Element | None, entity_id: str) -> None:
    """Refuse unless `issuer` is there and is exactly `entity_id` (core 2.2.5)."""
    text = "" if issuer is None else issuer.text or ""
    if issuer is None or not text:
        raise refused(Reason.ISSUER_MISSING)
    if text != entity_id or issuer.get("Format", ENTITY) != ENTITY:
        raise refused(Reason.ISSUER_WRONG, text)


def _check_issuers(assertion: Element, envelope: Envelope, entity_id: str) -> None:
    check_issuer(assertion.find(SAML + "Issuer"), entity_id)
    if not envelope.issuer:
        raise refused(Reason.ISSUER_MISSING, "of the Response")
    if envelope.issuer != entity_id:
        raise refused(Reason.ISSUER_WRONG, envelope.issuer)


def _check_times(assertion: Element, now: datetime, max_validity: timedelta) -> datetime:
    """Check every instant; return when the assertion ends at the latest, without the skew."""
    issued = instant(assertion.get("IssueInstant"))
    conditions = _one(assertion, SAML + "Conditions")
    data = _one(assertion, f"{SAML}Subject/{SAML}SubjectConfirmation/{SAML}SubjectConfirmationData")
    statement = _one(assertion, SAML + "AuthnStatement")
    starts = instant(conditions.get("NotBefore")) if conditions.get("NotBefore") else issued
    ends: list[datetime] = []
    for element in (conditions, data):
        if not element.get("NotOnOrAfter"):
            raise refused(Reason.NOT_ON_OR_AFTER_MISSING, str(element.tag))
        ends.append(instant(element.get("NotOnOrAfter")))
    if now >= min(ends) + CLOCK_SKEW:
        raise refused(Reason.EXPIRED, min(ends).isoformat())
    if max(starts, issued, instant(statement.get("AuthnInstant"))) > now + CLOCK_SKEW:
        raise refused(Reason.NOT_YET_VALID, starts.isoformat())
    if ends[0] - starts > max_validity or ends[1] - issued > max_validity:
        raise refused(Reason.VALIDITY_TOO_LONG)
    session_ends = statement.get("SessionNotOnOrAfter")
    if session_ends and instant(session_ends) <= now:
        raise refused(Reason.SESSION_EXPIRED, session_ends)
    return max(ends)


def _check_audience(assertion: Element, sp: ServiceProvider) -> None:
    """Every AudienceRestriction must name us (core 2.5.1.4: several are "and", the audiences within one are "or")."""
    restrictions = assertion.findall(f"{SAML}Conditions/{SAML}AudienceRestriction")
    if not restrictions:
        raise refused(Reason.AUDIENCE_MISSING)
    for restriction in restrictions:
        audiences = [audience.text or "" for audience in restriction]
        if sp.entity_id not in audiences:
            raise refused(Reason.AUDIENCE_WRONG, " ".join(audiences))


def _check_confirmation(
    assertion: Element,
    envelope: Envelope,
    sp: ServiceProvider,
    provider: IdentityProvider,
    is_outstanding: Callable[[str], bool],
) -> str:
    """Check the bearer confirmation (profiles 4.1.4.2, 4.1.4.3); return the id of the request that is answered, or ""."""
    confirmation = _one(assertion, f"{SAML}Subject/{SAML}SubjectConfirmation")
    if confirmation.get("Method") != BEARER:
        raise refused(Reason.CONFIRMATION_METHOD, confirmation.get("Method", "none"))
    data = _one(confirmation, SAML + "SubjectConfirmationData")
    recipient = data.get("Recipient", "")
    if recipient != sp.acs_url:
        raise refused(Reason.RECIPIENT_WRONG if recipient else Reason.RECIPIENT_MISSING, recipient)
    # Read in the signed assertion: on an unsigned Response, an attacker may write or delete the attribute at will.
    answered = data.get("InResponseTo", "")
    if answered != envelope.in_response_to:
        raise refused(Reason.IN_RESPONSE_TO_MISMATCH, f"{answered} {envelope.in_response_to}")
    if not answered:
        if provider.saml is None or not provider.saml.allow_unsolicited:
            raise refused(Reason.UNSOLICITED)
        return ""
    if not is_outstanding(answered):
        raise refused(Reason.IN_RESPONSE_TO_UNKNOWN, answered)
    return answered


# --- The person ---------------------------------------------------------------------------------------


def name_id_of(element: Element, sp: ServiceProvider) -> NameId:
    """A NameID element, its text whole. Raises SamlRefused: name_id_missing, name_id_qualifier, value_too_long, control_character."""
    value = _text(element)
    if not value:
        raise refused(Reason.NAME_ID_MISSING, "empty")
    if len(element.get("Format", "")) > MAX_FORMAT:
        raise refused(Reason.VALUE_TOO_LONG, "Format")  # part of the person's key: the database would refuse it later
    qualifier = element.get("SPNameQualifier", "")
    if qualifier not in ("", sp.entity_id):
        raise refused(Reason.NAME_ID_QUALIFIER, qualifier)
    return NameId(
        value=value,
        format=element.get("Format") or UNSPECIFIED,
        name_qualifier=element.get("NameQualifier", ""),
        sp_name_qualifier=qualifier,
    )


def _name_id(assertion: Element, sp: ServiceProvider) -> NameId | None:
    element = assertion.find(f"{SAML}Subject/{SAML}NameID")
    return None if element is None else name_id_of(element, sp)


def _identity(assertion: Element, name_id: NameId | None, provider: IdentityProvider, now: datetime) -> Identity:
    statement = _one(assertion, SAML + "AuthnStatement")
    contexts = {ref.text or "" for ref in statement.iter(SAML + "AuthnContextClassRef")}
    session_ends = statement.get("SessionNotOnOrAfter")
    return _person(
        _Values.of_assertion(assertion, name_id), name_id, contexts, provider, now,
        authenticated_at=instant(statement.get("AuthnInstant")),
        session_index=statement.get("SessionIndex", ""),
        expires_at=instant(session_ends) if session_ends else None,
    )  # fmt: skip


def received(assertion: Element, name_id: NameId | None) -> Received:
    """What a verified assertion says. Raises SamlRefused: value_not_text, value_too_long, control_character."""
    statement = _one(assertion, SAML + "AuthnStatement")
    return Received(
        name_id=name_id,
        attributes=tuple(
            (attribute.get("Name", ""), attribute.get("FriendlyName", ""), tuple(_text(value) for value in attribute))
            for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute")
        ),
        contexts=tuple(ref.text or "" for ref in statement.iter(SAML + "AuthnContextClassRef")),
        authenticated_at=statement.get("AuthnInstant", ""),
        session_ends=statement.get("SessionNotOnOrAfter", ""),
        session_index=statement.get("SessionIndex", ""),
    )


def identity_of(told: Received, provider: IdentityProvider, now: datetime) -> Identity:
    """The person that the claim map of `provider` finds in what was received: for trying another claim map.

    Raises SamlRefused as a sign-in does.
    """
    return _person(
        _Values.of_received(told), told.name_id, set(told.contexts), provider, now,
        authenticated_at=instant(told.authenticated_at),
        session_index=told.session_index,
        expires_at=instant(told.session_ends) if told.session_ends else None,
    )  # fmt: skip


def _person(
    values: _Values,
    name_id: NameId | None,
    contexts: set[str],
    provider: IdentityProvider,
    now: datetime,
    *,
    authenticated_at: datetime,
    session_index: str,
    expires_at: datetime | None,
) -> Identity:
    claims = provider.claims
    groups = values.of(claims.groups)
    if len(groups) > MAX_GROUPS:
        raise refused(Reason.TOO_MANY_GROUPS, str(len(groups)))
    return Identity(
        subject=_subject(values, name_id, provider.slug, claims),
        name=values.first(claims.name),
        email=values.first(claims.email),
        groups=frozenset(groups),
        verified_at=now,
        authenticated_at=authenticated_at,
        attributes=MappingProxyType({key: values.of(name) for key, name in claims.attributes.items()}),
        mfa=not (contexts | set(values.of(METHODS))).isdisjoint(claims.mfa),
        groups_complete=not values.has(OVERAGE),
        session_index=session_index,
        expires_at=expires_at,
    )


def _subject(values: _Values, name_id: NameId | None, slug: str, claims: ClaimMap) -> Subject:
    """The person's key: (format, value) of the NameID, or of the attribute that the claim map names."""
    if claims.subject == "NameID":
        if name_id is None:
            raise refused(Reason.NAME_ID_MISSING)
        if name_id.format == TRANSIENT:
            raise refused(Reason.NAME_ID_TRANSIENT)
        return _storable(Subject(slug, name_id.format, name_id.value))
    found = values.of(claims.subject)
    if not found:
        raise refused(Reason.SUBJECT_MISSING, claims.subject)
    if len(found) > 1:
        raise refused(Reason.SUBJECT_AMBIGUOUS, claims.subject)
    return _storable(Subject(slug, f"attribute:{claims.subject}", found[0]))


def _storable(subject: Subject) -> Subject:
    """The subject, if the database can keep it as a key. Raises SamlRefused(value_too_long)."""
    if len(subject.value.encode()) > MAX_SUBJECT:
        raise refused(Reason.VALUE_TOO_LONG, "subject")
    return subject


class _Values:
    """The attributes of an assertion by Name, then by FriendlyName; both compared exactly. Values are read on demand."""

    def __init__(self, name_id: NameId | None) -> None:
        self._name_id = name_id
        self._named: dict[str, list[Iterable[Element | str]]] = {}
        self._friendly: dict[str, list[Iterable[Element | str]]] = {}

    @classmethod
    def of_assertion(cls, assertion: Element, name_id: NameId | None) -> _Values:
        values = cls(name_id)
        for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute"):
            values._add(attribute.get("Name", ""), attribute.get("FriendlyName", ""), attribute)
        return values

    @classmethod
    def of_received(cls, told: Received) -> _Values:
        values = cls(told.name_id)
        for name, friendly, texts in told.attributes:
            values._add(name, friendly, texts)
        return values

    def _add(self, name: str, friendly: str, values: Iterable[Element | str]) -> None:
        self._named.setdefault(name, []).append(values)
        self._friendly.setdefault(friendly, []).append(values)

    def has(self, name: str) -> bool:
        return name in self._named

    def of(self, name: str) -> tuple[str, ...]:
        """Every value that is not empty, in order. "NameID" is the NameID, "" nothing."""
        if not name:
            return ()
        if name == "NameID":
            return () if self._name_id is None else (self._name_id.value,)
        attributes = self._named.get(name) or self._friendly.get(name) or []
        texts = [value if isinstance(value, str) else _text(value) for values in attributes for value in values]
        return tuple(text for text in texts if text)

    def first(self, name: str) -> str:
        return next(iter(self.of(name)), "")


def _text(element: Element) -> str:
    """The text of `element`, whole. Raises SamlRefused: value_not_text, value_too_long, control_character."""
    text = element.text or ""
    if len(element):
        # "alice<!-- -->@evil": what stops at the first child reads another value than was signed.
        raise refused(Reason.VALUE_NOT_TEXT)
    if len(text) > MAX_VALUE:
        raise refused(Reason.VALUE_TOO_LONG, f"{len(text)} characters")
    if has_unseen(text):
        raise refused(Reason.CONTROL_CHARACTER, text)
    return text
