"""The verified identity: the only thing that a sign-in hands onward.

Owns the type and the canonical form of the person's key. Nothing unverified may ever have this type:
only `signin` (after every check has passed) and `queries` (from the row that such a sign-in wrote) build it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

_NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Subject:
    """Who somebody is at one provider: (provider slug, NameID format or "" for OIDC, value).

    Compared byte for byte. Never folded in case or Unicode form, never the e-mail address: either would
    let one person sign in as another (THREATS: same NameID from a second provider, other case or form).
    """

    provider: str
    format: str
    value: str

    @property
    def digest(self) -> str:
        """SHA-256 of the length-prefixed parts, hex; distinct subjects never share it by construction."""
        parts = (self.provider.encode(), self.format.encode(), self.value.encode())
        return hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in parts)).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as a verified sign-in described them.

    `groups`: exact strings as claimed. `attributes`: name -> values, only those the provider's claim
    mapping names. `authenticated_at`: when the provider says the person authenticated; `verified_at`: when
    the gateway verified it (both aware, UTC). `mfa`: the provider said that a second factor was used.
    `groups_complete`: False where the provider left groups out (overage). `session_index`: the provider's
    session id (SAML SessionIndex, OIDC sid) for single logout. `expires_at`: SessionNotOnOrAfter, if any.
    `directory_stale`: the groups come from a directory that has been silent for too long; production is then closed.
    """

    subject: Subject
    name: str
    email: str
    groups: frozenset[str]
    verified_at: datetime
    authenticated_at: datetime
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING)
    mfa: bool = False
    groups_complete: bool = True
    session_index: str = ""
    expires_at: datetime | None = None
    directory_stale: bool = False

    @property
    def provider(self) -> str:
        """The slug of the identity provider that vouches for this person."""
        return self.subject.provider
