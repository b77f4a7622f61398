"""What the company's directory pushed during the ninety days, told by the flows of SCIM: its first load, who joined, left, moved.

From the revision of the mapping on that first names a directory which pushes; without one there is nothing to tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, Final

from django.conf import settings

from config.demo_history.company import Claims, Company, Employee
from config.demo_history.days import InForce
from config.demo_history.requests import Milestone
from federation.audit.events import Origin
from federation.flows import push_directory as push
from federation.flows import service_tokens
from federation.flows.directory_people import Channel
from federation.mapping.rules import Directory

_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0"
_ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_ORIGIN: Final = Origin(request_id="history", address="192.0.2.10", user_agent="Example Corp directory")
TOKEN: Final = "example-corp-directory"  # its name
_LATER: Final = timedelta(minutes=20)  # than whoever decided it: the mapping was published, somebody was told to leave


@dataclass(slots=True)
class Pushed:
    """The directory over ninety days. `secret`: of its token, once that has been made; "" before. `people`, `groups`: ids by login and name."""

    company: Company
    revisions: Sequence[InForce]
    secret: str = ""
    people: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def milestones(self, operator: str) -> list[Milestone]:
        """When it said what. `operator`: the actor who made its token."""
        first = next((one for one in self.revisions if self._directory(one) is not None), None)
        directory = self._directory(first) if first is not None else None
        if first is None or directory is None:
            return []
        begin = first.since + _LATER
        found: list[Milestone] = [(begin, partial(self._first_load, directory, operator))]
        for one in self.company.employees:
            if begin < one.joined:
                found.append((one.joined, partial(self._came, directory, one)))
            if one.left is not None and begin < one.left:
                found.append((one.left + _LATER, partial(self._went, directory, one)))
            for earlier, later in pairwise(one.claims):
                if begin < later.since:
                    found.append((later.since, partial(self._moved, directory, one, earlier, later)))
        return found

    @staticmethod
    def _directory(revision: InForce) -> Directory | None:
        return next((one for one in revision.compiled.document.directories if one.scim is not None), None)

    def _first_load(self, directory: Directory, operator: str, at: datetime) -> None:
        scope = f"scim:{directory.slug}"
        self.secret = service_tokens.make(
            TOKEN, scope=scope, days=365, actor=operator, origin=_ORIGIN, now=at - _LATER / 2
        ).secret
        channel = _channel(directory, at)
        there = [one for one in self.company.employees if one.joined <= at and (one.left is None or one.left > at)]
        inside: dict[str, list[str]] = {
            group: [] for one in self.company.employees for claims in one.claims for group in claims.groups
        }
        for one in there:
            self._make(channel, one)
            for group in one.claims_at(at).groups:
                inside[group].append(self.people[one.login])
        for group, members in sorted(inside.items()):
            payload = {
                "schemas": [f"{_CORE}:Group"],
                "displayName": group,
                "members": [{"value": key} for key in members],
            }
            self.groups[group] = _id(push.create_group(channel, payload))

    def _came(self, directory: Directory, one: Employee, at: datetime) -> None:
        channel = _channel(directory, at)
        self._make(channel, one)
        self._change(channel, one, coming=one.claims_at(at).groups)

    def _went(self, directory: Directory, one: Employee, at: datetime) -> None:
        inactive = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
        push.patch_person(_channel(directory, at), self.people[one.login], inactive)

    def _moved(self, directory: Directory, one: Employee, earlier: Claims, later: Claims, at: datetime) -> None:
        before, after = set(earlier.groups), set(later.groups)
        self._change(_channel(directory, at), one, coming=after - before, going=before - after)

    def _make(self, channel: Channel, one: Employee) -> None:
        self.people[one.login] = _id(push.create_person(channel, person(one, one.claims_at(channel.now))))

    def _change(self, channel: Channel, one: Employee, *, coming: Iterable[str], going: Iterable[str] = ()) -> None:
        key = self.people[one.login]
        changes = [
            *((group, {"op": "remove", "path": f"members[value eq {json.dumps(key)}]"}) for group in sorted(going)),
            *((group, {"op": "add", "path": "members", "value": [{"value": key}]}) for group in sorted(coming)),
        ]
        for group, operation in changes:
            push.patch_group(channel, self.groups[group], {"Operations": [operation]})


def person(one: Employee, claims: Claims) -> dict[str, Any]:
    """The person as a directory writes them (RFC 7643 sections 4.1 and 4.3); `externalId` is what sign-ins call them."""
    return {
        "schemas": [f"{_CORE}:User", _ENTERPRISE],
        "userName": one.email,
        "externalId": one.subject.value,
        "displayName": one.name,
        "active": True,
        "emails": [{"value": one.email, "type": "work", "primary": True}],
        _ENTERPRISE: {"department": claims.department},
    }


def _channel(directory: Directory, at: datetime) -> Channel:
    return Channel(directory, f"service:{TOKEN}", f"{settings.ROLEGATE_URL}/scim/v2", _ORIGIN, at)


def _id(outcome: push.Outcome) -> str:
    return outcome.location.rpartition("/")[2]
