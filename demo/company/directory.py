"""Example Corp's directory: a SCIM 2.0 client (RFC 7644) that pushes the company to the gateway. DEMO ONLY.

It knows of the gateway its address and its token, as Okta or Entra do. What is there already stays as it is; who and what is
missing is made. Its export of this morning is broken: three departments are not in it, so it wants to disable everybody in
them by one request. The gateway's brake holds that until an administrator has decided; it is sent again until then.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import requests

from demo.cast import Actor
from demo.processes import DemoFailed

LOST: Final = ("Customer Support", "Marketing", "Sales")  # the departments that this morning's export leaves out
AGAIN_SECONDS: Final = 20.0
_HEARTBEAT_SECONDS: Final = 600.0
_PAGE: Final = 200
_AT_ONCE: Final = 500  # operations in one bulk request
_CORE: Final = "urn:ietf:params:scim:schemas:core:2.0"
_ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_MESSAGE: Final = "urn:ietf:params:scim:api:messages:2.0"


class CompanyDirectory:
    """`push()` brings the gateway up to date; `start()` goes on in the background, until `stop()`. `people`: who is there, by login."""

    def __init__(self, gateway: str, token: str, people: Mapping[str, Actor]) -> None:
        self._base = f"{gateway}/scim/v2"
        self._people = {actor.email: actor for actor in people.values()}
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/scim+json",
                "User-Agent": "Example Corp directory",
            }
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="directory", daemon=True)

    def start(self) -> None:
        """Go on pushing, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._session.close()

    def push(self) -> int:
        """Make who and what is missing, then send the broken export of this morning. Returns how many were made. Raises DemoFailed."""
        there = {one["userName"]: str(one["id"]) for one in self._all("Users", "userName")}
        people = [actor for email, actor in self._people.items() if email not in there]
        made = self._bulk([_creation("Users", actor.email, _person(actor)) for actor in people])
        ids = {**there, **{operation["bulkId"]: operation["location"].rpartition("/")[2] for operation in made}}
        known = {one["displayName"] for one in self._all("Groups", "displayName")}
        groups = _members(self._people.values())
        made += self._bulk(
            [
                _creation("Groups", name, _group(name, [ids[actor.email] for actor in members]))
                for name, members in sorted(groups.items())
                if name not in known
            ]
        )
        self.send_broken_export()
        return len(made)

    def send_broken_export(self) -> bool:
        """Disable everybody of the departments that it lacks, in one request. False where the gateway holds that."""
        lost = {email for email, actor in self._people.items() if actor.department in LOST}
        listed = self._all("Users", "userName,active")
        inactive = {
            "schemas": [f"{_MESSAGE}:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": False}],
        }
        operations = [
            {"method": "PATCH", "path": f"/Users/{one['id']}", "data": inactive}
            for one in listed
            if one["active"] and one["userName"] in lost
        ]
        if not operations:
            return True
        answer = self._send("POST", "Bulk", {"schemas": [f"{_MESSAGE}:BulkRequest"], "Operations": operations})
        return answer.status_code == 200

    def _go_on(self) -> None:
        done = False
        while not self._stopping.wait(_HEARTBEAT_SECONDS if done else AGAIN_SECONDS):
            with contextlib.suppress(requests.RequestException, DemoFailed):  # the gateway is away for a moment
                done = self.send_broken_export()

    def _bulk(self, operations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        done: list[dict[str, Any]] = []
        for begin in range(0, len(operations), _AT_ONCE):
            body = {"schemas": [f"{_MESSAGE}:BulkRequest"], "Operations": operations[begin : begin + _AT_ONCE]}
            answer = self._send("POST", "Bulk", body)
            if answer.status_code != 200:
                raise DemoFailed(f"The directory's push was answered with {answer.status_code}: {answer.text[:300]}")
            done += answer.json()["Operations"]
        if refused := [one for one in done if one["status"] != "201"]:
            raise DemoFailed(
                f"{len(refused)} of {len(done)} of the directory's operations failed, such as {refused[0]}"
            )
        return done

    def _all(self, endpoint: str, attributes: str) -> list[dict[str, Any]]:
        return list(self._pages(endpoint, attributes))

    def _pages(self, endpoint: str, attributes: str) -> Iterator[dict[str, Any]]:
        """Every resource, page by page (RFC 7644 section 3.4.2.4)."""
        begin = 1
        while True:
            answer = self._send("GET", f"{endpoint}?startIndex={begin}&count={_PAGE}&attributes={attributes}")
            if answer.status_code != 200:
                raise DemoFailed(f"The directory was answered with {answer.status_code}: {answer.text[:300]}")
            found = answer.json()
            yield from found.get("Resources", ())
            begin += found["itemsPerPage"]
            if not found["itemsPerPage"] or begin > found["totalResults"]:
                return

    def _send(self, method: str, path: str, body: object = None) -> requests.Response:
        return self._session.request(method, f"{self._base}/{path}", json=body, timeout=60)


def _creation(endpoint: str, bulk_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"method": "POST", "path": f"/{endpoint}", "bulkId": bulk_id, "data": data}


def _person(actor: Actor) -> dict[str, Any]:
    """RFC 7643 sections 4.1 and 4.3; `externalId` is what the identity provider calls the person."""
    return {
        "schemas": [f"{_CORE}:User", _ENTERPRISE],
        "userName": actor.email,
        "externalId": actor.subject,
        "displayName": actor.name,
        "active": True,
        "emails": [{"value": actor.email, "type": "work", "primary": True}],
        _ENTERPRISE: {"department": actor.department},
    }


def _group(name: str, members: Sequence[str]) -> dict[str, Any]:
    return {"schemas": [f"{_CORE}:Group"], "displayName": name, "members": [{"value": key} for key in members]}


def _members(people: Iterable[Actor]) -> dict[str, list[Actor]]:
    """Group -> who is in it. Of somebody with more groups than a token holds the directory is not asked to push any: unknown they stay."""
    found: dict[str, list[Actor]] = {}
    for actor in people:
        for group in () if actor.overage else actor.groups:
            found.setdefault(group, []).append(actor)
    return found
