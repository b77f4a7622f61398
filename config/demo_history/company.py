"""What the JSON document of the company says, as types. Days are counted back from the moment of seeding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from federation.identity import Identity, Subject


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one person from `since` on."""

    since: datetime
    groups: tuple[str, ...]
    department: str


@dataclass(frozen=True, slots=True)
class Employee:
    """One person: how often they come (`busy`, 0 to 1 a working day), how many roles they use then, from which office."""

    login: str
    subject: Subject
    name: str
    email: str
    groups_complete: bool
    mfa: bool
    busy: float
    uses: float
    office: str
    command_line: bool
    joined: datetime
    left: datetime | None
    claims: tuple[Claims, ...]

    def claims_at(self, at: datetime) -> Claims:
        """What the provider said of the person at that moment."""
        return next((claims for claims in reversed(self.claims) if claims.since <= at), self.claims[0])

    def identity(self, claims: Claims, at: datetime) -> Identity:
        """The identity that a sign-in at `at` proved."""
        return Identity(
            subject=self.subject,
            name=self.name,
            email=self.email,
            groups=frozenset(claims.groups),
            verified_at=at,
            authenticated_at=at,
            attributes=MappingProxyType({"department": (claims.department,)}),
            mfa=self.mfa,
            groups_complete=self.groups_complete,
        )


@dataclass(frozen=True, slots=True)
class Revision:
    """A mapping document that was published at `at`."""

    at: datetime
    author: str
    comment: str
    text: str


@dataclass(frozen=True, slots=True)
class Company:
    """Everything, from `begin` to `now`."""

    begin: datetime
    now: datetime
    employees: tuple[Employee, ...]
    revisions: tuple[Revision, ...]
    organization: tuple[Mapping[str, Any], ...]

    def employee(self, login: str) -> Employee:
        """The person with this login. Raises StopIteration for nobody."""
        return next(one for one in self.employees if one.login == login)


def read(document: Mapping[str, Any], now: datetime) -> Company:
    """The document as types. Raises KeyError, TypeError or ValueError where it is not one."""
    begin = now - timedelta(days=document["days"])
    return Company(
        begin=begin,
        now=now,
        employees=tuple(_employee(person, document, begin, now) for person in document["people"]),
        # At ten in the morning, and none today: what `make demo` applies comes after.
        revisions=tuple(
            Revision(
                max(begin, (now - timedelta(days=one["days"])).replace(hour=10, minute=12)),
                one["author"], one["comment"], one["text"],
            )
            for one in document["revisions"]
        ),
        organization=tuple(document["organization"]),
    )  # fmt: skip


def _employee(person: Mapping[str, Any], document: Mapping[str, Any], begin: datetime, now: datetime) -> Employee:
    def ago(days: int) -> datetime:
        return now - timedelta(days=days)

    joined = begin if person["joined"] is None else ago(person["joined"])
    claims, since = [], joined
    for earlier in person["before"]:
        claims.append(Claims(since, tuple(earlier["groups"]), earlier["department"]))
        since = ago(earlier["days"])
    claims.append(Claims(since, tuple(person["groups"]), person["department"]))
    return Employee(
        login=person["login"],
        subject=Subject(document["provider"], document["subject_format"], person["subject"]),
        name=person["name"],
        email=person["email"],
        groups_complete=person["groups_complete"],
        mfa=person["mfa"],
        busy=person["busy"],
        uses=person["uses"],
        office=person["office"],
        command_line=person["command_line"],
        joined=joined,
        left=None if person["left"] is None else ago(person["left"]),
        claims=tuple(claims),
    )
