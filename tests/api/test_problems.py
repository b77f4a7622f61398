"""Every error of the API is a problem document (RFC 9457) with a stable code, and nothing of the input in it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from django.test import Client

from federation.errors import AwsError, RateLimited
from federation.flows import pair_cli, rate_limits
from federation.models import AuditEvent
from portal.api import views
from tests.api.problems import code_of
from tests.oauth.pairing import paired, person

ROLE = "arn:aws:iam::111122223333:role/ReadOnly"


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("header", [None, "", "Basic YWxpY2U6eA==", "Bearer", "Token x"])
def test_without_a_bearer_token(db, method, header):
    path = {"get": "/api/v1/me", "post": "/api/v1/credentials"}[method]
    response = getattr(Client(headers={"authorization": header} if header is not None else {}), method)(path)
    assert code_of(response, 401) in {"not_signed_in", "invalid_token"}
    assert response["WWW-Authenticate"].startswith('Bearer realm="rolegate"')
    if header in {None, "", "Basic YWxpY2U6eA==", "Token x"}:
        assert "error=" not in response["WWW-Authenticate"]


@pytest.mark.parametrize(
    "token",
    [
        "canary-x",
        "rlg_at_" + "A" * 43,
        "rlg_rt_" + "A" * 43,
        "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJzdHMuYW1hem9uYXdzLmNvbSJ9.c2ln",
        "é" * 50,
        "x" * 60_000,
    ],
)
def test_with_a_wrong_token(db, token):
    """Also a token that was minted for STS: another format, another key, another audience."""
    response = Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert code_of(response, 401) == "invalid_token"
    assert response["WWW-Authenticate"] == 'Bearer realm="rolegate", error="invalid_token"'
    assert token not in response.content.decode()


def test_a_session_cookie_is_no_token(client, db):
    client.force_login(person())
    assert code_of(client.get("/api/v1/me"), 401) == "not_signed_in"


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda alice: type(alice).objects.update(active=False), "invalid_token"),
        (lambda alice: type(alice).objects.update(session_epoch=7), "invalid_token"),
        (lambda alice: alice.delete(), "invalid_token"),
    ],
)
def test_a_person_who_lost_access(db, break_it, code):
    alice = person()
    token = paired(alice, now=datetime.now(UTC)).access_token
    break_it(alice)
    assert code_of(Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {token}"), 401) == code


def test_an_expired_token(db):
    token = paired(person(), now=datetime.now(UTC) - timedelta(minutes=16)).access_token
    assert code_of(Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {token}"), 401) == "invalid_token"


@pytest.mark.parametrize(
    ("path", "method", "scope"),
    [
        ("me", "get", "console"),
        ("roles", "get", "credentials"),
        ("explain?role_arn=" + ROLE, "get", "console"),
        ("credentials", "post", "roles"),
        ("console", "post", "roles credentials"),
    ],
)
def test_a_scope_that_was_not_granted(api, path, method, scope):
    caller = api(scope=scope)
    response = caller.get(path) if method == "get" else caller.post(path, {"role_arn": ROLE})
    assert code_of(response, 403) == "insufficient_scope"
    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/me", "/api/v1/me/", "/api/v1/credentials/x"]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_no_such_operation(client, db, path, method):
    assert code_of(getattr(client, method)(path), 404) == "not_found"


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [("me", "post", "GET"), ("roles", "delete", "GET"), ("credentials", "get", "POST"), ("console", "put", "POST")],
)
def test_a_method_that_is_not_there(client, db, path, method, allow):
    response = getattr(client, method)(f"/api/v1/{path}")
    assert code_of(response, 405) == "method_not_allowed"
    assert response["Allow"] == allow


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "role_arn"),
        ({"role_arn": None}, "role_arn"),
        ({"role_arn": 5}, "role_arn"),
        ({"role_arn": ""}, "role_arn"),
        ({"role_arn": "ReadOnly"}, "role_arn"),
        ({"role_arn": ROLE + "\n"}, "role_arn"),
        ({"role_arn": ROLE + "\x00"}, "role_arn"),
        ({"role_arn": ROLE.replace("1111", "١١١١")}, "role_arn"),
        ({"role_arn": ROLE + "," + ROLE}, "role_arn"),
        ({"role_arn": "arn:aws:iam::111122223333:role/" + "a" * 600}, "role_arn"),
        ({"role_arn": ROLE, "duration": "3600"}, "duration"),
        ({"role_arn": ROLE, "duration": True}, "duration"),
        ({"role_arn": ROLE, "duration": 3600.5}, "duration"),
        ({"role_arn": ROLE, "duration": 899}, "duration"),
        ({"role_arn": ROLE, "duration": 43_201}, "duration"),
        ({"role_arn": ROLE, "duration": 10**400}, "duration"),
        ({"role_arn": ROLE, "policy": ""}, "policy"),
        ({"role_arn": ROLE, "policy": {"Version": "2012-10-17"}}, "policy"),
        ({"role_arn": ROLE, "Policy": "read-only"}, "Policy"),
        ({"role_arn": ROLE, "__proto__": "canary-9f3"}, "__proto__"),
    ],
)
def test_bodies_that_are_not_in_the_documented_form(api, body, where):
    response = api().post("credentials", json.dumps(body))
    assert code_of(response, 400) == "bad_request"
    assert [error["where"] for error in response.json()["errors"]] == [where]
    assert "canary-9f3" not in response.content.decode()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"role_arn=x",
        b"\xff\xfe",
        b"\x00",
        b'{"role_arn": "a", "role_arn": "b"}',
        b'{"role_arn": NaN}',
        b"[" * 60_000,
        b'{"a":' * 12_000,
    ],
)
def test_bodies_that_are_not_json(api, body):
    response = api().post("credentials", body)
    assert code_of(response, 400) == "bad_request"
    assert "errors" not in response.json()


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"5", b"null"])
def test_bodies_that_are_not_objects(api, body):
    assert code_of(api().post("credentials", body), 400) == "bad_request"


def test_a_body_above_64_kb_is_refused_unread(api):
    caller = api()
    assert code_of(caller.post("credentials", b" " * (64 * 1024 + 1)), 413) == "too_large"
    assert code_of(caller.post("credentials", b" " * (64 * 1024)), 400) == "bad_request"


def test_the_database_away_is_503_with_a_time_to_come_back(api, monkeypatch):
    caller = api()

    def away(*args, **kwargs):
        raise OperationalError("canary-db: the connection is lost")

    monkeypatch.setattr(pair_cli, "authenticate", away)
    response = caller.get("me")
    assert code_of(response, 503) == "service_unavailable"
    assert int(response["Retry-After"]) >= 1
    assert "canary-db" not in response.content.decode()


def test_an_unexpected_error_says_nothing_but_the_request_id(api, monkeypatch):
    caller = api()

    def broken(*args, **kwargs):
        raise KeyError("canary-key")

    monkeypatch.setattr(views, "issue_credentials", broken)
    response = caller.post("credentials", {"role_arn": ROLE})
    assert code_of(response, 500) == "internal_error"
    assert "canary-key" not in response.content.decode()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AwsError("sts_throttled", aws_code="Throttling", detail="canary"), 502, "aws_error"),
        (RateLimited("credentials_rate", retry_after=7), 429, "rate_limited"),
    ],
)
def test_what_a_flow_refuses(api, monkeypatch, error, status, code):
    caller = api()

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(views, "issue_credentials", refuse)
    response = caller.post("credentials", {"role_arn": ROLE})
    assert code_of(response, status) == code
    assert response.json().get("aws_code") == (getattr(error, "aws_code", "") or None)
    assert response.get("Retry-After") == ("7" if error.retry_after else None)
    assert "canary" not in response.content.decode()


@pytest.mark.parametrize("kind", ["credentials", "console"])
@pytest.mark.parametrize(
    ("body", "scope", "status", "reason"),
    [
        ({"role_arn": ROLE, "polcy": "canary-typo"}, "", 400, "body_invalid"),
        ({}, "", 400, "body_invalid"),
        ("{", "", 400, "body_not_json"),
        ({"role_arn": ROLE}, "roles", 403, "scope_missing"),
    ],
)
def test_a_use_of_a_role_that_is_refused_before_it_is_looked_at_is_in_the_audit_log(
    api, events, kind, body, scope, status, reason
):
    caller = api(scope=scope)
    response = caller.post(kind, body)
    code_of(response, status)
    event = AuditEvent.objects.order_by("seq").last()
    assert (event.kind, event.outcome, event.reason) == (kind, "refused", reason)
    assert (event.actor, event.request_id) == (str(caller.person.pk), response["X-Request-Id"])
    assert "canary" not in json.dumps(event.data)


def test_such_refusals_count_against_the_limit(api, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "credentials", rate_limits.Limit(60, 3, 100))
    caller = api()
    answers = [caller.post("credentials", {}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]
    assert int(answers[-1]["Retry-After"]) >= 1
    reasons = list(AuditEvent.objects.filter(kind="credentials").order_by("seq").values_list("reason", flat=True))
    assert reasons == ["body_invalid"] * 3 + ["credentials_rate"]


def test_what_only_reads_leaves_no_event(api):
    caller = api(scope="console")
    code_of(caller.get("roles"), 403)
    code_of(caller.get("explain?role_arn=x"), 400)
    assert not AuditEvent.objects.filter(kind__in=["credentials", "console"]).exists()
