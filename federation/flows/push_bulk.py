"""Many SCIM operations in one request (RFC 7644 section 3.7): each its own transaction, in an order that their references allow.

An operation may name what another one makes (`bulkId:…`). It waits for that one, wherever it stands. Groups that name each
other are made without one another first, and get those members afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.directory import scim
from federation.errors import RolegateError
from federation.flows import push_directory as push
from federation.flows.directory_people import Channel
from federation.flows.push_directory import Outcome

_PATH = re.compile(r"/?(?P<endpoint>Users|Groups)(?:/(?P<id>[^/?#]{1,200}))?/?")
_METHODS = ("POST", "PUT", "PATCH", "DELETE")
_REFERENCE = "bulkId:"


class _Circle(RolegateError):
    """Operations that wait for each other, in a way that cannot be resolved."""

    code = "scim_conflict"
    status = 409
    sentence = "This operation refers to others that refer to it, and that cannot be resolved."


@dataclass(slots=True)
class _Operation:
    method: str
    kind: str
    resource_id: str
    bulk_id: str
    version: str
    data: Any
    # Members of a new group that are to be added once those exist.
    later: list[Any] = field(default_factory=list)

    @property
    def on(self) -> tuple[str, str]:
        """What it is done to, as no other resource is called; a new one is its own."""
        return self.kind, scim.canonical_id(self.resource_id) or self.resource_id or f"{_REFERENCE}{self.bulk_id}"

    @property
    def names(self) -> set[str]:
        """The bulkIds that it refers to."""
        return _named(self.data) | _named(self.resource_id)


def run(channel: Channel, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Do the operations of a bulk request; stops after `failOnErrors` errors. Returns the response. Raises ScimRefused."""
    given = {key.lower(): value for key, value in payload.items()}
    listed, most_errors = given.get("operations"), given.get("failonerrors")
    if not isinstance(listed, list) or not listed:
        raise scim.ScimRefused("invalidSyntax", "A bulk request has a list of Operations, with at least one in it.")
    if most_errors is not None and (
        not isinstance(most_errors, int) or isinstance(most_errors, bool) or most_errors < 1
    ):
        raise scim.ScimRefused("invalidValue", "failOnErrors is a number of 1 or more.")
    going = list(_departures(channel, listed))
    people, groups = ([key for kind, key in going if kind == wanted] for wanted in ("User", "Group"))
    accepted = push.hold_departures(channel, people, groups)
    done = scim.bulk_response(_Run(channel, listed, most_errors).results())
    if accepted:
        push.let_through(channel)
    return done


def _departures(channel: Channel, listed: list[Any]) -> Iterator[tuple[str, str]]:
    """Kind and id of the people whom these operations delete or disable, and of the groups that they delete."""
    perhaps: list[_Operation] = []
    for entry in listed:
        try:
            operation = _read(entry)
        except RolegateError:
            continue
        if operation.method == "DELETE":
            yield operation.kind, operation.resource_id
        elif operation.kind == "User" and operation.method != "POST" and _says_active(operation.data):
            perhaps.append(operation)
    for user_id in push.disabling(channel, ((one.method, one.resource_id, one.data) for one in perhaps)):
        yield "User", user_id


def _says_active(data: Any) -> bool:
    """Whether the word is anywhere in it: reading all of a large request twice is for those alone."""
    return "active" in json.dumps(data).lower()


class _Run:
    """One bulk request on its way."""

    def __init__(self, channel: Channel, listed: list[Any], most_errors: int | None) -> None:
        self._channel, self._listed, self._most = channel, listed, most_errors
        self._made: dict[str, str] = {}
        self._errors = 0
        self._done: dict[int, dict[str, Any]] = {}

    def results(self) -> list[dict[str, Any]]:
        """The outcome of each operation that was come to, in the order of the request."""
        waiting: dict[int, _Operation] = {}
        promised: set[str] = set()
        for number, entry in enumerate(self._listed):
            try:
                waiting[number] = operation = _read(entry)
            except RolegateError as error:
                self._failed(number, entry if isinstance(entry, Mapping) else {}, error)
                continue
            if operation.bulk_id and operation.method == "POST":
                if operation.bulk_id in promised:
                    twice = scim.ScimRefused("invalidValue", f"The bulkId {operation.bulk_id!r} is used twice.")
                    self._failed(number, entry, twice)
                    del waiting[number]
                promised.add(operation.bulk_id)
        self._work_off(waiting)
        return [self._done[number] for number in sorted(self._done)]

    def _work_off(self, waiting: dict[int, _Operation]) -> None:
        finish: list[tuple[int, _Operation]] = []
        while waiting and not self._enough:
            ready = self._ready(waiting)
            if not ready:
                number = _open_circle(waiting, self._made)
                if number is None:
                    for stuck in waiting:
                        self._failed(stuck, self._listed[stuck], _Circle("bulk_circle"))
                    return
                ready = [number]
                finish.append((number, waiting[number]))
            for number in ready:
                if self._enough:
                    return
                self._do(number, waiting.pop(number))
        for number, operation in finish:
            self._add_later(number, operation)

    def _ready(self, waiting: dict[int, _Operation]) -> list[int]:
        """Those that refer to nothing that is yet to be made, and that nothing waits before which is done to the same."""
        coming = {operation.bulk_id for operation in waiting.values() if operation.method == "POST"}
        kept: set[tuple[str, str]] = set()
        ready = []
        for number, operation in waiting.items():
            if operation.on in kept or (operation.names - self._made.keys()) & coming:
                kept.add(operation.on)
            else:
                ready.append(number)
        return ready

    @property
    def _enough(self) -> bool:
        return self._most is not None and self._errors >= self._most

    def _do(self, number: int, operation: _Operation) -> None:
        entry = self._listed[number]
        try:
            strangers = operation.names - self._made.keys()
            if strangers:
                raise scim.ScimRefused("invalidValue", f"No operation has made the bulkId {min(strangers)!r}.")
            operation.data = _resolved(operation.data, self._made)
            operation.resource_id = _resolved(operation.resource_id, self._made)
            outcome = _run(self._channel, operation)
        except RolegateError as error:
            self._failed(number, entry, error, operation)
            # A request that is sent again, as its answer never came: what is there is a conflict (RFC 7644 section 3.3), and what
            # refers to it means that one.
            again = isinstance(error, scim.ScimConflict) and operation.method == "POST"
            if again and (there := push.made_already(self._channel, operation.kind, operation.data)):
                self._made[operation.bulk_id] = there.rpartition("/")[2]
                self._done[number]["location"] = there
            return
        if operation.bulk_id and operation.method == "POST":
            self._made[operation.bulk_id] = outcome.location.rpartition("/")[2]
        self._done[number] = _result(entry, outcome)

    def _add_later(self, number: int, operation: _Operation) -> None:
        """The members that could not be named when their group was made."""
        if number not in self._done or operation.bulk_id not in self._made:
            return
        try:
            members = _resolved(operation.later, self._made)
            if _named(members):
                raise scim.ScimRefused("invalidValue", "A member that this group refers to was not made.")
            patch = {"Operations": [{"op": "add", "path": "members", "value": members}]}
            outcome = push.patch_group(self._channel, self._made[operation.bulk_id], patch)
        except RolegateError as error:
            self._failed(number, self._listed[number], error, operation)
            return
        self._done[number] = {**self._done[number], "version": outcome.version}

    def _failed(
        self, number: int, entry: Mapping[str, Any], error: RolegateError, operation: _Operation | None = None
    ) -> None:
        self._errors += 1
        body = scim.error_body(error, self._channel.origin.request_id)
        result = {**_named_as(entry), "status": str(error.status), "response": body}
        if operation is not None and operation.method != "POST":
            result["location"] = f"{self._channel.base_url}/{scim.ENDPOINTS[operation.kind]}/{operation.resource_id}"
        self._done[number] = result


def _read(entry: Any) -> _Operation:
    if not isinstance(entry, Mapping):
        raise scim.ScimRefused("invalidSyntax", "An operation is an object with method, path and data.")
    given = {key.lower(): value for key, value in entry.items()}
    method, path = str(given.get("method", "")).upper(), given.get("path")
    found = _PATH.fullmatch(path) if isinstance(path, str) else None
    if method not in _METHODS or found is None:
        raise scim.ScimRefused(
            "invalidPath", "An operation has a method of POST, PUT, PATCH, DELETE and a path of /Users or /Groups."
        )
    if (method == "POST") != (found["id"] is None):
        raise scim.ScimRefused("invalidPath", "POST goes to /Users or /Groups, everything else to one of them.")
    bulk_id, data = given.get("bulkid") or "", given.get("data")
    if not isinstance(bulk_id, str) or (method == "POST" and not bulk_id):
        raise scim.ScimRefused("invalidValue", "A POST has a bulkId.")
    if method != "DELETE" and not isinstance(data, Mapping):
        raise scim.ScimRefused("invalidValue", "An operation that is not a DELETE has data.")
    kind = "User" if found["endpoint"] == "Users" else "Group"
    return _Operation(method, kind, found["id"] or "", bulk_id, str(given.get("version") or ""), data)


def _run(channel: Channel, operation: _Operation) -> Outcome:
    person = operation.kind == "User"
    match operation.method:
        case "POST":
            return (push.create_person if person else push.create_group)(channel, operation.data)
        case "PUT":
            replace = push.replace_person if person else push.replace_group
            return replace(channel, operation.resource_id, operation.data, if_match=operation.version)
        case "PATCH":
            patch = push.patch_person if person else push.patch_group
            return patch(channel, operation.resource_id, operation.data, if_match=operation.version)
    delete = push.delete_person if person else push.delete_group
    return delete(channel, operation.resource_id, if_match=operation.version)


def _open_circle(waiting: Mapping[int, _Operation], made: Mapping[str, str]) -> int | None:
    """The first new group that can do without the members that are not there yet; it keeps them for later."""
    for number, operation in waiting.items():
        if operation.method != "POST" or operation.kind != "Group":
            continue
        key = next((key for key in operation.data if key.lower() == "members"), None)
        if key is None or not isinstance(operation.data[key], list):
            continue
        later = [member for member in operation.data[key] if _named(member) - made.keys()]
        now = [member for member in operation.data[key] if member not in later]
        rest = {**operation.data, key: now}
        if later and not _named(rest) - made.keys():
            operation.data, operation.later = rest, later
            return number
    return None


def _named(value: Any) -> set[str]:
    """The bulkIds that are referred to anywhere in a value."""
    if isinstance(value, str):
        return {value.removeprefix(_REFERENCE)} if value.startswith(_REFERENCE) else set()
    if isinstance(value, Mapping):
        value = list(value.values())
    return set().union(*(_named(entry) for entry in value)) if isinstance(value, list) else set()


def _resolved(value: Any, made: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith(_REFERENCE):
        return made.get(value.removeprefix(_REFERENCE), value)
    if isinstance(value, Mapping):
        return {key: _resolved(entry, made) for key, entry in value.items()}
    return [_resolved(entry, made) for entry in value] if isinstance(value, list) else value


def _named_as(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the client calls the operation."""
    given = {key.lower(): value for key, value in entry.items()}
    named = {"method": given.get("method"), "bulkId": given.get("bulkid")}
    return {key: value[:200] for key, value in named.items() if isinstance(value, str)}


def _result(entry: Mapping[str, Any], outcome: Outcome) -> dict[str, Any]:
    result: dict[str, Any] = {**_named_as(entry), "location": outcome.location, "status": str(outcome.status)}
    return {**result, "version": outcome.version} if outcome.version else result
