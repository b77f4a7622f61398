"""Text and cursors that no database keeps or compares: a no that says so, never a fault of the gateway's own (500)."""

import base64
import json
from datetime import UTC, datetime

import pytest
from django.db import DataError
from django.test import Client

from federation.flows import request_access
from federation.models import AccessRequest
from tests import cast
from tests.flows.requests_kit import DOCUMENT, OPERATOR
from tests.oauth.pairing import paired

pytestmark = pytest.mark.django_db
NUL = "Deploy\x00 4711"  # PostgreSQL keeps none, SQLite does


@pytest.fixture
def carol(publish, gateway_keys, sign_in_as):
    publish(DOCUMENT)
    groups = ("cloud-platform", "engineering", "sre-leads")
    return sign_in_as(cast.identity("carol", groups=groups, mfa=True), at=datetime.now(UTC))


@pytest.fixture
def browser(carol):
    client = Client(raise_request_exception=False)
    client.force_login(carol)
    return client


def token_of(carol):
    return Client(headers={"authorization": f"Bearer {paired(carol, now=datetime.now(UTC)).access_token}"})


def ask(client, reason):
    return client.post("/requests/new", {"role": OPERATOR, "duration": "3600", "reason": reason})


def ask_by_api(client, reason):
    body = {"role_arns": [OPERATOR], "duration": 3600, "reason": reason}
    return client.post("/api/v1/requests", body, content_type="application/json")


def refuse_to_store(monkeypatch):
    def refused(*args, **kwargs):
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")

    monkeypatch.setattr(request_access, "_store", refused)


def test_a_nul_that_the_database_cannot_keep_is_a_fault_of_what_was_sent(browser, carol, monkeypatch):
    refuse_to_store(monkeypatch)
    answer = ask(browser, NUL)
    assert answer.status_code == 400
    assert "bad_request" in answer.text
    answer = ask_by_api(token_of(carol), NUL)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_whatever_else_it_cannot_keep_is_a_fault_of_ours(browser, carol, monkeypatch):
    refuse_to_store(monkeypatch)
    assert ask(browser, "Deploy").status_code == 500
    assert ask_by_api(token_of(carol), "Deploy").status_code == 500


def test_so_it_is_with_the_real_one(browser, carol):
    before = AccessRequest.objects.count()
    answers = [ask(browser, NUL), ask_by_api(token_of(carol), NUL)]
    answers.append(browser.post("/staff/tokens/revoke", {"name": NUL}))
    assert {answer.status_code for answer in answers} <= {201, 302, 400, 404, 422}
    if any(answer.status_code == 400 for answer in answers):
        assert AccessRequest.objects.count() == before


def cursor(*values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", ["people", "requests", "roles", "findings"])
@pytest.mark.parametrize(
    "place",
    [("x", "y"), (5, "z"), ("x", {"u": "00000000-0000-0000-0000-000000000000"}), ({"t": "2026-01-01T00:00:00+00:00"}, 1), (1, 1)],
    ids=["texts", "number", "id", "moment", "numbers"],
)  # fmt: skip
def test_a_cursor_of_another_list_is_the_first_page(browser, path, place):
    first = browser.get(f"/staff/{path}/")
    for backwards in (False, True):
        answer = browser.get(f"/staff/{path}/", {"after": cursor(backwards, *place)})
        assert answer.status_code == first.status_code == 200
