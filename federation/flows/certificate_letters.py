"""Letters to the owners before the last certificate of an identity provider ends: once at each of a few moments, no oftener.

That a letter was written is in the audit log, and nowhere else: whoever looks whether one is due looks there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import RolegateError
from federation.flows import approvers, leases, letters, provider_documents
from federation.mapping.rules import IdentityProvider
from federation.models import current
from federation.models.audit import AuditEvent
from federation.models.people import Person
from federation.models.providers import ProviderMetadata
from federation.said import Said, say
from federation.signin import certificates

DAYS: Final = (30, 14, 7, 2, 0)
"""Days before the end at which a letter is due; 0: it has ended."""
_LEASE: Final = timedelta(minutes=2)
_ORIGIN = Origin(request_id="certificates", address="", user_agent="certificate_letters")


@dataclass(frozen=True, slots=True)
class Ending:
    """The certificate of a provider that ends last, near its end. `days`: which of DAYS has come. `fingerprint`: SHA-256, hex."""

    provider: IdentityProvider
    fingerprint: str
    ends: datetime
    days: int


def endings(*, now: datetime) -> list[Ending]:
    """Each enabled provider of which no certificate lasts longer: while a key rolls, the old one may end."""
    rows = {row.provider: row for row in ProviderMetadata.objects.all()}
    found = []
    for provider in current.mapping().document.identity_providers:
        if not provider.enabled or provider.saml is None:
            continue
        pems = provider_documents.kept(provider, rows.get(provider.slug), now=now).certificates
        good = [(certificates.load(pem).not_valid_after_utc, pem) for pem in pems if _is_good(pem)]
        if not good:
            continue
        ends, last = max(good)
        come = [days for days in DAYS if ends - now <= timedelta(days=days)]
        if come:
            found.append(Ending(provider, certificates.fingerprint(last), ends, min(come)))
    return found


def _is_good(pem: str) -> bool:
    """Whether it is one that may be used, its time aside."""
    try:
        return certificates.fault(pem, certificates.load(pem).not_valid_after_utc) is None
    except RolegateError:
        return False


def tell_owners(*, now: datetime) -> dict[str, int]:
    """Write the letters that are due. Returns by slug how many were written; of providers that have had theirs, nothing."""
    if not settings.ROLEGATE_EMAIL_FROM:
        return {}
    written: dict[str, int] = {}
    with leases.leased("certificate letters", _LEASE) as lease:
        if lease is None:
            return {}
        for ending in endings(now=now):
            if not _told(ending) and (many := _tell(ending, now)):
                written[ending.provider.slug] = many
    return written


def _told(ending: Ending) -> bool:
    of_it = AuditEvent.objects.filter(
        kind=Kind.PROVIDER_CERTIFICATE_ENDS, data__provider=ending.provider.slug, data__certificate=ending.fingerprint
    )
    return of_it.filter(data__days__lte=ending.days).exists()


def _tell(ending: Ending, now: datetime) -> int:
    """The letters and the event that says so, both or neither. Where no owner has an address nothing is noted: they are told once one has."""
    people = _owners(now)
    path = f"/staff/providers/of/{ending.provider.slug}/"
    with transaction.atomic():
        many = letters.write(
            [person.email for person in people],
            subject=_subject(ending),
            body=letters.body(_text(ending), path),
            now=now,
        )
        if many:
            record(
                Kind.PROVIDER_CERTIFICATE_ENDS, actor="gateway:letters", outcome="ok", origin=_ORIGIN, now=now,
                provider=ending.provider.slug, certificate=ending.fingerprint, ends=ending.ends.isoformat(), days=ending.days,
                letters=many,
            )  # fmt: skip
    return many


def _owners(now: datetime) -> Sequence[Person]:
    """Those who have the right, up to fifty. A group of its name is not enough: whoever runs another provider can name it."""
    mapping = current.mapping()
    named = [approvers.Named(one.groups, one.provider) for one in mapping.document.staff if one.role == "owner"]
    return approvers.known(named, mapping, mapping.compiled.is_owner, but=(), now=now).people


def _subject(ending: Ending) -> Said:
    pieces = {"name": ending.provider.name, "day": f"{ending.ends:%Y-%m-%d}"}
    if not ending.days:
        return say("The certificate of {name} has ended, on {day}", **pieces)
    return say("The certificate of {name} ends on {day}", **pieces)


def _text(ending: Ending) -> Said:
    saml = ending.provider.saml
    pieces = {
        "name": ending.provider.name,
        "moment": f"{ending.ends:%Y-%m-%d %H:%M} UTC",
        "fingerprint": ending.fingerprint,
        "then": say("Its metadata is read by itself: once the next one is published there, nothing is to be done here.")
        if saml and saml.metadata_url
        else say("Give the gateway the provider's next metadata; old and new certificates are taken side by side."),
    }
    if not ending.days:
        return say("{name} has no certificate any more that may be used: the last ended on {moment}. Nobody signs in there.\n\nSHA-256: {fingerprint}\n\n{then}", **pieces)  # fmt: skip
    return say("{name} signs with a certificate that ends on {moment}, and no other lasts longer. From then on nobody signs in there.\n\nSHA-256: {fingerprint}\n\n{then}", **pieces)  # fmt: skip
