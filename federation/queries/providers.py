"""Identity providers as staff see them: how their documents stand, when certificates end, who came by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from cryptography.hazmat.primitives import hashes
from django.conf import settings
from django.db.models import Count

from federation.audit.events import Kind
from federation.errors import NotFound, RolegateError
from federation.flows import provider_certificates, provider_documents, provider_trials
from federation.flows.sign_in import redirect_uri
from federation.identity import Identity
from federation.mapping.engine import Grant
from federation.mapping.rules import IdentityProvider, StaffRole
from federation.models import current
from federation.models.audit import AuditEvent
from federation.models.catalogue import reachable
from federation.models.people import Person
from federation.models.providers import ProviderKeyUse, ProviderMetadata, ProviderTrial
from federation.signin import certificates

SOON = timedelta(days=30)
"""A certificate that ends sooner is to be replaced."""
_STALE = timedelta(hours=3)
_DAY = timedelta(days=1)
Health = Literal["good", "warn", "bad", "off", "unknown"]


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One certificate. `days_left` is negative once it has ended. `fault`: why it may not be used now, or "".

    `signed_at`: when it last signed a sign-in, to some minutes; None where that is not known.
    """

    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime
    days_left: int
    fault: str
    pem: str = field(repr=False)
    signed_at: datetime | None = None

    @property
    def digest(self) -> str:
        """The fingerprint as one word of lower-case hexadecimal digits."""
        return self.fingerprint.replace(":", "").lower()

    @property
    def days_ago(self) -> int:
        """How many days ago it ended; 0 while it has not."""
        return max(0, -self.days_left)


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """One provider. `health`: the worst of what is known of it; `why`: the code of what is behind that.

    `came`, `refused`: sign-ins of the last day. `people`: who has ever come by it.
    """

    provider: IdentityProvider
    protocol: Literal["saml", "oidc"]
    source: str
    kept: provider_documents.Kept
    certificates: tuple[CertificateLine, ...]
    health: Health
    why: str
    came: int = 0
    refused: int = 0
    people: int = 0

    @property
    def ends_next(self) -> CertificateLine | None:
        """The certificate in use that ends first."""
        return min((one for one in self.certificates if not one.fault), key=lambda one: one.not_after, default=None)


@dataclass(frozen=True, slots=True)
class Values:
    """What the provider has to be told of the gateway. Empty where its protocol has no such thing."""

    entity_id: str = ""
    acs_url: str = ""
    metadata_url: str = ""
    slo_url: str = ""
    redirect_uri: str = ""
    backchannel_logout_uri: str = ""
    post_logout_redirect_uri: str = ""


def values_for(slug: str, protocol: str) -> Values:
    """The gateway's own values, which follow from the slug alone: they can be copied before anything is saved."""
    base = str(settings.ROLEGATE_URL)
    if protocol == "saml":
        url = f"{base}/saml/{slug}"
        return Values(
            entity_id=f"{url}/metadata", acs_url=f"{url}/acs", metadata_url=f"{url}/metadata", slo_url=f"{url}/slo"
        )
    return Values(
        redirect_uri=redirect_uri(slug),
        backchannel_logout_uri=f"{base}/oidc/{slug}/backchannel-logout",
        post_logout_redirect_uri=f"{base}/signout/done",
    )


def providers(*, now: datetime) -> list[ProviderLine]:
    """Every provider of the mapping in force, in its order. Five statements."""
    rows = {row.provider: row for row in ProviderMetadata.objects.all()}
    seen: dict[tuple[str, str], int] = {}
    counted = (
        AuditEvent.objects.filter(kind=Kind.SIGN_IN.value, at__gt=now - _DAY)
        .values_list("data__provider", "outcome")
        .annotate(number=Count("seq"))
    )
    for slug, outcome, number in counted:
        seen[slug, "came" if outcome == "ok" else "refused"] = (
            seen.get((slug, "came" if outcome == "ok" else "refused"), 0) + number
        )
    people = dict(Person.objects.values_list("provider").annotate(number=Count("pk")))
    signed = signed_at()
    return [
        _line(provider, rows.get(provider.slug), now, seen, people, signed=signed.get(provider.slug, {}))
        for provider in current.mapping().document.identity_providers
    ]


def provider(slug: str, *, now: datetime) -> ProviderLine:
    """One of them. Raises NotFound."""
    found = next((line for line in providers(now=now) if line.provider.slug == slug), None)
    if found is None:
        raise NotFound("no_such_provider")
    return found


def _line(
    one: IdentityProvider,
    row: ProviderMetadata | None,
    now: datetime,
    seen: dict[tuple[str, str], int],
    people: dict[str, int],
    *,
    signed: Mapping[str, datetime],
) -> ProviderLine:
    kept = provider_documents.kept(one, row, now=now)
    lines = certificate_lines(kept.certificates, now, signed)
    health, why = _health(one, kept, lines, now)
    source = one.oidc.issuer if one.oidc else ""
    if one.saml:
        source = one.saml.metadata_url or one.saml.metadata_file
    return ProviderLine(
        one, "saml" if one.saml else "oidc", source, kept, lines, health, why,
        seen.get((one.slug, "came"), 0), seen.get((one.slug, "refused"), 0), people.get(one.slug, 0),
    )  # fmt: skip


def _health(
    one: IdentityProvider, kept: provider_documents.Kept, lines: tuple[CertificateLine, ...], now: datetime
) -> tuple[Health, str]:
    if not one.enabled:
        return "off", "disabled"
    if kept.problem:
        return "bad", kept.problem
    good = [line for line in lines if not line.fault]
    if kept.fetched_at is None and not lines:
        return "unknown", "never_fetched"
    if one.saml and not good:
        return "bad", "certificate_expired"
    if kept.last_error:
        return "warn", kept.last_error
    if kept.fetched_at is not None and now - kept.fetched_at > _STALE:
        return "warn", "documents_old"
    # While a key rolls, the old certificate may end: what counts is the one that lasts longest.
    if good and max(line.not_after for line in good) - now < SOON:
        return "warn", "certificate_ends_soon"
    return "good", ""


def signed_at() -> dict[str, dict[str, datetime]]:
    """Slug -> fingerprint -> when that certificate last signed a sign-in."""
    found: dict[str, dict[str, datetime]] = {}
    for row in ProviderKeyUse.objects.all():
        found.setdefault(row.provider, {})[row.fingerprint] = row.last_at
    return found


def certificate_lines(
    pems: Iterable[str], now: datetime, signed: Mapping[str, datetime] = MappingProxyType({})
) -> tuple[CertificateLine, ...]:
    """Facts of certificates, the one that ends last first. `signed`: fingerprint -> when it last signed a sign-in."""
    lines = []
    for pem in pems:
        certificate = certificates.load(pem)
        fault = certificates.fault(pem, now)
        lines.append(
            CertificateLine(
                certificate.fingerprint(hashes.SHA256()).hex(":").upper(), certificate.subject.rfc4514_string(),
                certificate.not_valid_before_utc, certificate.not_valid_after_utc,
                (certificate.not_valid_after_utc - now).days, fault.value if fault else "", pem, signed.get(certificates.fingerprint(pem)),
            )
        )  # fmt: skip
    return tuple(sorted(lines, key=lambda line: line.not_after, reverse=True))


# --- While a key rolls ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolledLine:
    """A certificate in force, in an entry that is being tried, or in both."""

    certificate: CertificateLine
    in_force: bool
    in_entry: bool


def rolled(trial: ProviderTrial, provider: IdentityProvider, *, now: datetime) -> list[RolledLine]:
    """The certificates of an entry with pasted metadata beside those in force, the one that ends last first. Two statements."""
    entry = provider_documents.kept(provider, None, now=now).certificates
    force = provider_certificates.in_force(trial.slug, now=now)
    lines = certificate_lines(dict.fromkeys((*entry, *force)), now, signed_at().get(trial.slug, {}))
    return [RolledLine(line, line.pem in force, line.pem in entry) for line in lines]


# --- What a test says ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule that the tested person fits, the groups of theirs that it names, and how many roles they have by it."""

    name: str
    groups: tuple[str, ...]
    roles: int


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a test sign-in received, and what the mapping in force makes of it.

    `fault`: why the claim map finds no person in it. `other_person`: somebody of this provider with the same e-mail address
    and another subject: people would become other people. `unnamed`: groups that no rule names.
    """

    claims: tuple[provider_trials.Claim, ...]
    identity: Identity | None
    fault: str
    grants: tuple[Grant, ...]
    rules: tuple[RuleLine, ...]
    rights: tuple[StaffRole, ...]
    unnamed: tuple[str, ...]
    other_person: str
    directory: str


def test_result(trial: ProviderTrial, provider: IdentityProvider, *, now: datetime) -> TestResult:
    """What came of the last test, read through the claim map of `provider`."""
    claims = tuple(provider_trials.claims_in(trial, provider))
    try:
        identity, fault = provider_trials.identity_in(trial, provider, now=now), ""
    except RolegateError as error:
        identity, fault = None, error.reason
    if identity is None:
        return TestResult(claims, None, fault, (), (), (), (), "", "")
    mapping = current.mapping()
    directory = mapping.directory_of(provider.slug)
    grants = mapping.compiled.decide(identity, now, reachable).grants
    index = mapping.compiled.index
    hits = {group: frozenset(index.look(group).matches) for group in identity.groups}
    rules = []
    for rule in mapping.compiled.matching_rules(identity, now):
        numbers = {index.number[match] for match in (*rule.when.groups, *rule.when.all_of)}
        theirs = tuple(sorted(group for group, found in hits.items() if found & numbers))
        rules.append(RuleLine(rule.name, theirs, sum(1 for grant in grants if rule.name in grant.rules)))
    unnamed = tuple(sorted(group for group, found in hits.items() if not found))
    rights = tuple(dict.fromkeys(entry.role for entry in mapping.compiled.staff_rights(identity)))
    other = (
        Person.objects.filter(provider=provider.slug, email__iexact=identity.email)
        .exclude(subject=identity.subject.value, subject_format=identity.subject.format)
        .first()
        if identity.email
        else None
    )
    return TestResult(
        claims, identity, "", grants, tuple(rules), rights, unnamed,
        "" if other is None else other.subject, "" if directory is None else directory.slug,
    )  # fmt: skip
