"""What ends with an identity provider that a new revision closes, leaves out, or lets another one take the place of.

Nothing could be used by it while it is closed: each use is decided on the mapping in force. But a session, or a command line,
that goes on would come alive again with the slug, for somebody who has left in between; and a slug that is another provider now
would make its people out of those whom the one before has vouched for. That one is often closed because it was broken into.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import F, Q

from federation.errors import RolegateError
from federation.flows import approvals, provider_documents
from federation.mapping.rules import Document, IdentityProvider
from federation.models import current
from federation.models.people import Person
from federation.models.requests import RequestedRole
from federation.models.sessions import PortalSession, SignInState


@dataclass(frozen=True, slots=True)
class Ended:
    """By provider: how many portal sessions ended, and how many people's sessions and command lines are worth nothing now."""

    sessions: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, int] = field(default_factory=dict)


def end_closed(document: Document, *, now: datetime) -> Ended:
    """End what was begun by providers that are not, or not the same, in `document`. Call it before the audit head is locked:
    whoever ends sessions locks them first.
    """
    enabled = {one.slug: one for one in document.identity_providers if one.enabled}
    closed = _closed(enabled, now)
    SignInState.objects.filter(provider__in=closed, completed_at=None).update(completed_at=now, identity=None)
    people = dict(Counter(Person.objects.filter(provider__in=closed).values_list("provider", flat=True)))
    # Portal sessions, command lines, and what leads to one: all of them are tied to their person's epoch.
    Person.objects.filter(provider__in=closed).update(session_epoch=F("session_epoch") + 1)
    for person in _who_waits_or_may(closed, now):
        approvals.end_all(person, now=now)
    going = PortalSession.objects.filter(person__isnull=False).filter(
        Q(provider__in=closed) | ~Q(provider__in=["", *enabled])
    )
    sessions = dict(Counter(going.values_list("provider", flat=True)))
    going.delete()
    return Ended(sessions, people)


def _closed(enabled: Mapping[str, IdentityProvider], now: datetime) -> list[str]:
    """Slugs of the enabled providers of the mapping in force that nobody speaks for in the new one, or somebody else."""
    try:
        before = current.mapping().document.identity_providers
    except current.MappingUnreadable:
        return []  # nobody knows whom that revision believed; sessions of whom the new one does not know end all the same
    return [
        one.slug
        for one in before
        if one.enabled and (one.slug not in enabled or voice(one, now=now) != voice(enabled[one.slug], now=now))
    ]


def voice(provider: IdentityProvider, *, now: datetime) -> tuple[str, str, str]:
    """Who speaks under the provider's slug, and by which of their words people are known: where it differs, so do the people.

    A SAML provider is the entity that its metadata name, whatever its certificates, and whether they are fetched or pasted. Of an
    address that has never been read nobody knows who that is: it is taken for somebody else.
    """
    if provider.oidc is not None:
        return "oidc", provider.oidc.issuer, provider.claims.subject
    saml = provider.saml
    try:
        who = provider_documents.held_metadata(provider, now=now).entity_id
    except RolegateError:
        who = (saml.metadata_url or saml.metadata_file or saml.metadata_xml) if saml else ""
    return "saml", who, provider.claims.subject


def _who_waits_or_may(providers: Iterable[str], now: datetime) -> list[Person]:
    """The providers' people who have an open request, or an approval."""
    open_now = Q(state=RequestedRole.State.PENDING) | Q(
        state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now
    )
    rows = RequestedRole.objects.filter(open_now, person__provider__in=providers)
    return list(Person.objects.filter(pk__in=rows.values("person_id")))
