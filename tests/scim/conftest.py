"""The cast's company pushes its directory: a token, a client that speaks SCIM, people and groups."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client

from federation.flows import service_tokens
from tests import cast

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


def document(**keys) -> str:
    """The cast's document, with a directory that pushes for `corp` and one for `entra`."""
    entry = {"slug": "staff", "provider": "corp", "scim": "{}", **keys}
    listed = ", ".join(f"{key}: {value}" for key, value in entry.items())
    return cast.DOCUMENT + f"directories:\n  - {{{listed}}}\n  - {{slug: other, provider: entra, scim: {{}}}}\n"


class Clock:
    def __init__(self, now):
        self.now = now

    def forward(self, **amount):
        self.now += timedelta(**amount)


class Directory:
    """A directory with its token. Answers are checked for what every answer must have."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.client = Client(headers={"authorization": f"Bearer {token}"})

    def call(self, method: str, path: str, body=None, **headers):
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self.client.generic(
            method, f"/scim/v2/{path}", content or b"", content_type="application/scim+json", headers=headers
        )
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Request-Id"]
        if answer.content:
            assert answer["Content-Type"] == "application/scim+json"
        if answer.status_code >= 400:
            error = answer.json()
            assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
            assert error["status"] == str(answer.status_code)
            assert error["detail"].endswith(f"request {answer['X-Request-Id']}]")
        return answer

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.call("POST", path, body, **headers)

    def put(self, path, body, **headers):
        return self.call("PUT", path, body, **headers)

    def delete(self, path, **headers):
        return self.call("DELETE", path, **headers)

    def patch(self, path, *operations, **headers):
        return self.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)}, **headers)

    # --- What tests begin with ---

    def person(self, name="alice", **more) -> str:
        """A person with this user name; their id."""
        answer = self.post("Users", {"schemas": [USER], "userName": name, "active": True, **more})
        assert answer.status_code == 201, answer.content
        return answer.json()["id"]

    def people(self, count, prefix="p") -> list[str]:
        return [self.person(f"{prefix}{number:02}") for number in range(count)]

    def group(self, name="engineering", members=(), **more) -> str:
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": m} for m in members], **more}
        answer = self.post("Groups", body)
        assert answer.status_code == 201, answer.content
        return answer.json()["id"]

    def members(self, group) -> set[str]:
        return {member["value"] for member in self.get(f"Groups/{group}").json().get("members", [])}

    def found(self, kind, filter_, **more) -> list[str]:
        """Names of what a filter finds, sorted."""
        answer = self.client.get(f"/scim/v2/{kind}", {"filter": filter_, **more})
        assert answer.status_code == 200, answer.content
        name = "userName" if kind == "Users" else "displayName"
        return sorted(found[name] for found in answer.json()["Resources"])


def error_of(answer) -> tuple[int, str, str]:
    """Status, scimType and our code of an error."""
    body = answer.json()
    code = body["detail"].rpartition("[")[2].partition(",")[0]
    return answer.status_code, body.get("scimType", ""), code


@pytest.fixture
def clock(monkeypatch, now):
    held = Clock(now)
    monkeypatch.setattr("django.utils.timezone.now", lambda: held.now)
    return held


@pytest.fixture
def token(publish, origin, now, clock):
    def do(name="okta", scope="scim:staff", *, days=365) -> str:
        return service_tokens.make(name, scope=scope, days=days, actor="test", origin=origin, now=now).secret

    publish(document())
    return do


@pytest.fixture
def directory(token) -> Directory:
    return Directory(token())
