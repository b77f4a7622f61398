"""Take everything away from one person at once: portal sessions, CLI tokens and, if wanted, the account itself."""

from __future__ import annotations

import contextlib
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from federation.audit.events import Kind, Origin
from federation.audit.record import record, record_or_log
from federation.errors import NotFound
from federation.flows import approvals
from federation.identity import Subject
from federation.models.access_changes import note_people
from federation.models.clients import TokenFamily
from federation.models.people import Person
from federation.models.sessions import PortalSession, SignInState
from federation.said import say


def find_people(text: str) -> list[Person]:
    """Whoever is named by id, session name, provider:subject or e-mail: of one e-mail, an identity at each provider.

    Raises NotFound where nobody is.
    """
    wanted = Q(session_name=text) | Q(email=text) | Q(subject=text)
    provider, _, subject = text.partition(":")
    if subject:
        wanted |= Q(provider=provider, subject=subject) | Q(provider=provider, session_name=subject)
    with contextlib.suppress(ValueError):
        wanted |= Q(pk=UUID(text))
    found = list(Person.objects.filter(wanted).order_by("provider", "subject")[:10])
    if not found:
        raise NotFound(
            "person_not_found",
            sentence=say("Nobody matches {text}: give the id, or provider:subject.", text=repr(text)),
        )
    return found


def find_person(text: str) -> Person:
    """The one whom `text` names. Raises NotFound for nobody, and for several: what ends access is not guessed."""
    found = find_people(text)
    if len(found) > 1:
        names = ", ".join(f"{person.provider}:{person.subject}" for person in found)
        raise NotFound(
            "person_ambiguous",
            sentence=say("Several people match {text}, name one of them: {names}.", text=repr(text), names=names),
        )
    return found[0]


def revoke(
    person: Person,
    *,
    disable: bool,
    actor: str,
    why: str,
    origin: Origin,
    now: datetime,
    family_reason: str = "revoked_by_staff",
) -> int:
    """End every portal session, CLI token and approval of `person`; with `disable` also refuse every new sign-in and mint.

    `family_reason`: what the ended command lines are marked with.
    Returns how many portal sessions ended. Credentials already at AWS live on until they expire: the runbook says how
    to deny them by source identity.
    """
    with transaction.atomic():
        Person.objects.filter(pk=person.pk).update(
            session_epoch=F("session_epoch") + 1, **({"active": False} if disable else {})
        )
        if disable:
            note_people([person.pk], at=now)
        ended, _ = PortalSession.objects.filter(person=person).delete()
        subject = Subject(person.provider, person.subject_format, person.subject).digest
        SignInState.objects.filter(subject=subject, completed_at=None).update(completed_at=now, identity=None)
        TokenFamily.objects.filter(person=person, revoked_at=None).update(revoked_at=now, revoked_reason=family_reason)
        approved = approvals.end_all(person, now=now)
        record_or_log(
            Kind.REVOKED,
            actor=actor,
            outcome="ok",
            origin=origin,
            now=now,
            person=str(person.pk),
            why=why,
            sessions=ended,
            approvals=len(approved),
            disabled=disable,
            source_identity=person.session_name,
        )
    return ended


def allow_again(person: Person, *, actor: str, why: str, origin: Origin, now: datetime) -> None:
    """Undo `disable`: the person may sign in again."""
    with transaction.atomic():
        Person.objects.filter(pk=person.pk).update(active=True)
        note_people([person.pk], at=now)
        record(
            Kind.REVOKED,
            actor=actor,
            outcome="ok",
            origin=origin,
            now=now,
            person=str(person.pk),
            why=why,
            disabled=False,
        )
