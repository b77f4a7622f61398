"""Writes the company's ninety days: people, mapping revisions, keys, leavers and the days' events, in the order of time."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from config.demo_history import requests
from config.demo_history.company import Claims, Company, Revision
from config.demo_history.days import COMMAND_LINE, Days, InForce, Known, known
from config.demo_history.directory import Pushed
from federation.audit.events import Kind, Origin
from federation.audit.record import Entry, record_all
from federation.flows import background, digest_audit, rotate_keys
from federation.flows.assess_mapping import preview
from federation.flows.pair_cli import CLI, DEFAULT_SCOPE, pairing_lifetime
from federation.flows.publish_mapping import publish
from federation.flows.revoke import revoke
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.models import current
from federation.models.accounts import OrganizationAccount
from federation.models.audit import AuditEvent
from federation.models.clients import TokenFamily
from federation.models.marks import RoleMark
from federation.models.people import PastClaims, Person
from federation.models.sessions import PortalSession
from federation.models.sync import Source, TaskRun

_ORIGIN: Final = Origin(request_id="history", address="", user_agent="seed_history")
_BATCH: Final = 500


class HistoryRefused(RuntimeError):
    """Not a demo, or a gateway that has been used: nothing was written. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What the demo goes on with: role ARN -> when it was last used, and the secret of the directory's token ("": it has none)."""

    last_used: Mapping[str, datetime]
    directory_token: str = field(repr=False)


def seed(company: Company) -> Seeded:
    """All of it, or nothing. Raises HistoryRefused, and whatever the flows raise."""
    if not getattr(settings, "ROLEGATE_DEMO", False):
        raise HistoryRefused("A made-up past is for the demo alone.")
    with transaction.atomic():
        if AuditEvent.objects.exists():
            raise HistoryRefused("This gateway has been used already: its past is its own.")
        return _Writer(company).write()


class _Writer:
    def __init__(self, company: Company) -> None:
        self.company = company
        self.people = [known(employee) for employee in company.employees]
        self.by_login = {one.employee.login: one for one in self.people}

    def write(self) -> Seeded:
        self._organization()
        self._rows_of_people()
        revisions = [
            InForce(number, revision.at, compile_mapping(current.completed(parse(revision.text))))
            for number, revision in enumerate(self.company.revisions, start=1)
        ]
        days = Days(self.company, self.people, revisions)
        entries = days.entries() + self._pairings()
        entries.sort(key=lambda entry: entry.now)
        directory = Pushed(self.company, revisions)
        self._in_order_of_time(entries, directory.milestones(self.by_login["carol"].actor))
        self._last_claims()
        self._marks(days)
        self._open_sessions()
        self._runs()
        digest_audit.digest()  # the charts need not wait for the worker
        current.forget()
        return Seeded(days.last_used, directory.secret)

    def _in_order_of_time(self, entries: Sequence[Entry], pushed: Sequence[requests.Milestone]) -> None:
        """The days' events, and between them what the flows themselves do and record. `pushed`: what the directory says."""
        done = 0
        for at, act in sorted([*self._milestones(), *pushed], key=lambda milestone: milestone[0]):
            until = done
            while until < len(entries) and entries[until].now < at:
                until += 1
            record_all(entries[done:until])
            done = until
            act(at)
        record_all(entries[done:])

    def _milestones(self) -> list[tuple[datetime, Callable[[datetime], Any]]]:
        now, carol = self.company.now, self.by_login["carol"].actor
        return [
            (
                self.company.begin,
                lambda at: rotate_keys.ensure_keys(actor="gateway:start", origin=_ORIGIN, now=at),
            ),
            # At the very beginning keys, a minute later the first document.
            *(
                (revision.at + timedelta(minutes=1), partial(self._publish, revision))
                for revision in self.company.revisions
            ),
            # Published as the next key, and two days later signing.
            *(
                (
                    (now - timedelta(days=days)).replace(hour=7, minute=30),
                    lambda at: rotate_keys.rotate("token", "RS256", actor=carol, origin=_ORIGIN, now=at),
                )
                for days in (31, 29)
            ),
            *(
                (one.employee.left, partial(self._leave, one, carol))
                for one in self.people
                if one.employee.left is not None
            ),
            *requests.milestones(self.company, self.by_login),
        ]

    def _publish(self, revision: Revision, at: datetime) -> None:
        self._as_on(at)
        effect = preview(revision.text, author=None, now=at).impact.as_dict()
        author = self.by_login[revision.author].actor
        publish(revision.text, author=author, comment=revision.comment, origin=_ORIGIN, now=at, impact=effect)

    def _as_on(self, at: datetime) -> None:
        """People with the claims that they had then: for saying whom a revision concerned."""
        rows = [Person(id=one.id, claims_at=at, **self._claims(one, one.employee.claims_at(at))) for one in self.people]
        fields = ["claims_at", "groups", "groups_complete", "attributes", "mfa"]
        Person.objects.bulk_update(rows, fields, batch_size=100)

    def _leave(self, one: Known, actor: str, at: datetime) -> None:
        person = Person.objects.get(pk=one.id)
        revoke(person, disable=True, actor=actor, why="Left the company", origin=_ORIGIN, now=at)

    # --- Rows ------------------------------------------------------------------------------------------

    def _organization(self) -> None:
        """The accounts as the organization listed them ninety days ago: the first refresh of today finds nothing new."""
        OrganizationAccount.objects.bulk_create(
            OrganizationAccount(
                id=account["id"], name=account["name"], email=account["email"], partition="aws", state=account["state"],
                organizational_unit=account["unit"], organizational_unit_id="", tags=account["tags"], present=True,
                first_seen_at=self.company.begin,
            )
            for account in self.company.organization
        )  # fmt: skip
        Source.objects.create(key=current.ORGANIZATION, version=1)
        current.forget()

    def _rows_of_people(self) -> None:
        Person.objects.bulk_create(
            [
                Person(
                    id=one.id,
                    provider=one.employee.subject.provider,
                    subject_format=one.employee.subject.format,
                    subject=one.employee.subject.value,
                    session_name=one.session_name,
                    name=one.employee.name,
                    email=one.employee.email,
                    mfa=one.employee.mfa,
                    groups_complete=one.employee.groups_complete,
                )
                for one in self.people
            ],
            batch_size=_BATCH,
        )
        Person.objects.update(created_at=self.company.begin)
        PastClaims.objects.bulk_create(
            [self._past(one, claims) for one in self.people for claims in one.employee.claims], batch_size=_BATCH
        )

    @staticmethod
    def _claims(one: Known, claims: Claims) -> dict[str, Any]:
        return {
            "groups": sorted(claims.groups),
            "groups_complete": one.employee.groups_complete,
            "attributes": {"department": [claims.department]},
            "mfa": one.employee.mfa,
        }

    def _past(self, one: Known, claims: Claims) -> PastClaims:
        told = self._claims(one, claims)
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return PastClaims(person_id=one.id, since=claims.since, digest=digest, **told)

    def _last_claims(self) -> None:
        """People as their last sign-in left them."""
        rows = []
        for one in self.people:
            at = one.last_sign_in
            told = self._claims(one, one.employee.claims_at(at or self.company.begin))
            rows.append(Person(id=one.id, authenticated_at=at, claims_at=at or one.employee.joined, **told))
        fields = ["authenticated_at", "claims_at", "groups", "groups_complete", "attributes", "mfa"]
        Person.objects.bulk_update(rows, fields, batch_size=100)

    def _pairings(self) -> list[Entry]:
        """The command lines: a row each, and the event of its pairing."""
        families, entries = [], []
        for place, one in enumerate(self.people):
            if not one.employee.command_line:
                continue
            at = self.company.now - timedelta(hours=place * 37 % 160 + 1)  # a pairing lives for a week
            if one.employee.left is not None:
                continue
            family = uuid.uuid5(one.id, "rolegate-cli")
            address = f"192.0.2.{place % 250 + 1}"
            families.append(
                TokenFamily(
                    id=family, person_id=one.id, client_id=CLI.id, label=COMMAND_LINE, scope=DEFAULT_SCOPE,
                    address=address, session_epoch=0, created=at, last_used=at + (self.company.now - at) * 0.8,
                    expires=at + pairing_lifetime(),
                )
            )  # fmt: skip
            data = {
                "person": str(one.id),
                "client": CLI.id,
                "family": str(family),
                "grant": "device" if place % 3 == 0 else "code",
                "scope": DEFAULT_SCOPE,
            }
            origin = Origin(f"{one.id.int % 2**64:016x}", address, COMMAND_LINE)
            entries.append(Entry(Kind.CLIENT_PAIRED, one.actor, "ok", origin, at, data=data))
        TokenFamily.objects.bulk_create(families, batch_size=_BATCH)
        return entries

    def _marks(self, days: Days) -> None:
        """What people used last, and their favourites among it."""
        RoleMark.objects.bulk_create(
            [
                RoleMark(
                    person_id=person_id, role_arn=arn, used_at=use.at, destination=use.destination,
                    favourite_at=use.at if use.times > 12 else None,
                )
                for (person_id, arn), use in days.used_by.items()
            ],
            batch_size=_BATCH,
        )  # fmt: skip

    def _open_sessions(self) -> None:
        """The sessions of those who came during the last hours. Nobody has their cookies: the keys are random."""
        now = self.company.now
        open_for = timedelta(seconds=settings.SESSION_COOKIE_AGE)
        PortalSession.objects.bulk_create(
            PortalSession(
                session_key=secrets.token_hex(32), session_data="", expire_date=one.last_sign_in + open_for,
                person_id=one.id, provider=one.employee.subject.provider, session_index=f"_{secrets.token_hex(20)}",
            )
            for one in self.people
            if one.last_sign_in is not None and one.employee.left is None and one.last_sign_in + open_for > now
        )  # fmt: skip

    def _runs(self) -> None:
        """How the background tasks fared during the last two weeks: one bad night among them."""
        now, rows = self.company.now, []
        for hours in range(1, 24 * 14, 2):
            at = now - timedelta(hours=hours, minutes=7)
            bad = 97 <= hours <= 103
            rows.append(
                TaskRun(
                    task="refresh_catalogue", started_at=at, finished_at=at + timedelta(seconds=4 + hours % 9), total=40,
                    outcome=TaskRun.Outcome.FAILED if bad else TaskRun.Outcome.OK, done=11 if bad else 40,
                    error_code="sts_unreachable" if bad else "",
                    detail={} if bad else {"ok": 39, "failed": 1, "held": 0, "skipped": 0, "written": hours % 5},
                )
            )  # fmt: skip
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            name, every = str(entry["task"]).removeprefix(background.PREFIX), entry["schedule"]
            if name != "refresh_catalogue":
                at = now - every / 3  # within its own interval: else a fresh demo says that no worker is there
                rows.append(
                    TaskRun(task=name, started_at=at, finished_at=at + timedelta(seconds=1), outcome=TaskRun.Outcome.OK)
                )
        TaskRun.objects.bulk_create(rows, batch_size=_BATCH)
