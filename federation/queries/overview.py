"""The console's first page: what needs doing, how fresh everything is, and what ends when. A constant number of queries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.x509 import load_pem_x509_certificate

from federation.errors import RolegateError
from federation.flows import doctor, provider_documents
from federation.flows.doctor.findings import Finding, State
from federation.flows.doctor.issuer import KEY_STATES
from federation.models import current
from federation.models.catalogue import ACCOUNT
from federation.models.directory import SOURCE as DIRECTORY
from federation.models.keys import SigningKey
from federation.models.providers import ProviderMetadata
from federation.models.service_tokens import ServiceToken
from federation.models.sessions import PortalSession
from federation.models.sync import Source
from federation.said import say
from federation.signin import certificates

# Of the doctor's checks those that read the database alone and hold no lock: a page must not make sign-ins wait.
_CHECKS: Final = frozenset({"keys", "mapping", "secrets", "providers", "background", "sources", "tokens"})


@dataclass(frozen=True, slots=True)
class ToDo:
    """Something that needs doing. `area`: the doctor's check that found it."""

    area: str
    finding: Finding

    @property
    def is_problem(self) -> bool:
        """Whether something does not work now."""
        return self.finding.state is State.PROBLEM


@dataclass(frozen=True, slots=True)
class Fresh:
    """How fresh one source is, or all accounts together. `at`: the last good reading (of several, the oldest)."""

    key: str
    name: str
    state: str
    at: datetime | None
    count: int
    failed: int
    reason: str

    @property
    def is_provider(self) -> bool:
        """Whether these are the documents of an identity provider; a directory may be called the same."""
        return self.key.startswith("provider:")


@dataclass(frozen=True, slots=True)
class Ending:
    """A certificate, key or token that ends. `kind`: key, provider or token."""

    kind: str
    name: str
    ends_at: datetime
    days: int


def to_do(*, now: datetime) -> list[ToDo]:
    """What the doctor finds inside the gateway, problems first."""
    chosen = [check for check in doctor.CHECKS if check.name in _CHECKS]
    found = [
        ToDo(report.name, finding)
        for report in doctor.examine(now=now, network=False, checks=chosen)
        for finding in report.findings
        if finding.state is not State.OK
    ]
    return sorted(found, key=lambda one: not one.is_problem)


def freshness() -> list[Fresh]:
    """The organization, each directory, and all accounts together. One query, and one for the providers."""
    rows = list(Source.objects.all())
    lines = [
        Fresh(row.key, row.key.removeprefix(DIRECTORY), row.state, row.succeeded_at, 1, int(row.state == Source.State.FAILED), row.error_code)
        for row in rows
        if row.key == current.ORGANIZATION or row.key.startswith(DIRECTORY)
    ]  # fmt: skip
    accounts = [row for row in rows if row.key.startswith(ACCOUNT)]
    if accounts:
        states = Counter(row.state for row in accounts)
        read = [row.succeeded_at for row in accounts if row.succeeded_at is not None]
        worst = next((state for state in ("failed", "held", "never") if states[state]), "ok")
        lines.append(Fresh("accounts", "", worst, min(read, default=None), len(accounts), states["failed"], ""))
    lines += [
        Fresh(f"provider:{row.provider}", row.provider, "failed" if row.last_error else "ok", row.fetched_at, 1, int(bool(row.last_error)), row.last_error)
        for row in ProviderMetadata.objects.defer("document").order_by("provider")
    ]  # fmt: skip
    return lines


def endings(*, now: datetime) -> list[Ending]:
    """Keys, providers' certificates and tokens of programs, those that end first first. Three queries."""
    found: list[tuple[str, str, datetime]] = []
    for row in SigningKey.objects.exclude(state=SigningKey.State.RETIRED).only(
        "purpose", "algorithm", "state", "certificate"
    ):
        ends = load_pem_x509_certificate(row.certificate.encode()).not_valid_after_utc
        state = KEY_STATES[SigningKey.State(row.state)]
        found.append(("key", say("{name} ({reason})", name=f"{row.purpose} {row.algorithm}", reason=state), ends))
    for provider in current.mapping().document.identity_providers:
        if provider.enabled and provider.saml is not None:
            try:
                metadata = provider_documents.held_metadata(provider, now=now)
            except RolegateError:
                continue  # the doctor says what is the matter with it
            ends = max(certificates.load(pem).not_valid_after_utc for pem in metadata.signing_certificates)
            found.append(("provider", provider.slug, ends))
    found += [
        ("token", name, ends)
        for name, ends in ServiceToken.objects.filter(revoked_at=None).values_list("name", "expires_at")
    ]
    lines = [Ending(kind, name, ends, (ends - now) // timedelta(days=1)) for kind, name, ends in found]
    return sorted(lines, key=lambda one: one.ends_at)


def open_sessions(*, now: datetime) -> int:
    """How many sessions of the portal are open."""
    return PortalSession.objects.filter(expire_date__gt=now, person__isnull=False).count()
