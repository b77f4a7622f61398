"""What the sign-in adapters and the flows hand each other. Small, frozen, without behaviour.

`Verified` is the only type here that may be believed; the rest are requests on their way out, or who we are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from federation.identity import Identity


@dataclass(frozen=True, slots=True)
class NameId:
    """A SAML NameID as the provider wrote it, kept whole because single logout must repeat it (core 2.2.3)."""

    value: str
    format: str
    name_qualifier: str = ""
    sp_name_qualifier: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """A sign-in that has passed every check but one: its `replay_key` must still be inserted, once, in the database.

    `replay_key`: SHA-256, hex, over provider, issuer and assertion (or token) id. `replay_until`: after this time the
    document is refused for its age, so the key may be forgotten. `in_response_to`: id of our request, "" when the
    response was unsolicited. `name_id`: what the provider itself calls the person, whatever the claim map takes for the
    subject: its logout messages say it (SAML: the NameID; OpenID Connect: `sub`). `session_index`: the provider's session.
    `object_id`: Entra's own id of the person (`oid`), "" where none is said. `signed_by`: SHA-256, hex, of the certificate whose
    key signed a SAML response, "" for OpenID Connect.
    """

    identity: Identity
    replay_key: str
    replay_until: datetime
    in_response_to: str
    name_id: NameId | None = None
    session_index: str = ""
    object_id: str = ""
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """Who the gateway is toward one SAML identity provider.

    URLs are absolute, without query. Keys and certificates are PEM; the key is RSA. `older`: (private key, certificate)
    pairs of earlier keys, with which an identity provider may still encrypt while a rotation is under way.
    """

    entity_id: str
    acs_url: str
    slo_url: str
    private_key_pem: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    older: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class AuthnRequest:
    """A request for authentication: `id` to be remembered until it is answered, `url` for the browser to visit."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """Our request to end the provider's session: `id` to match the answer with, `url` for the browser to visit."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class LogoutSubject:
    """Whose sessions the provider wants ended. No `session_indexes` means every session of that name (core 3.7.1)."""

    name_id: NameId
    session_indexes: tuple[str, ...]
    request_id: str
