"""GET /api/v1/me, /roles and /explain."""

from datetime import UTC, datetime

import pytest

from federation.flows import rate_limits
from federation.models import AuditEvent
from tests import cast
from tests.api.problems import code_of

pytestmark = pytest.mark.usefixtures("federated")


def test_me(api):
    response = api(cast.alice(now=datetime.now(UTC))).get("me")
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert (body["provider"], body["subject"], body["name"], body["email"]) == (
        "corp",
        "alice",
        "Alice",
        "alice@example.com",
    )
    assert body["groups"] == ["engineering"]
    assert body["mfa"] is False
    assert body["scope"] == "roles credentials console requests"
    assert datetime.fromisoformat(body["claims_at"]).tzinfo is not None


def test_me_holds_nothing_else(api):
    assert set(api().get("me").json()) == {
        "id",
        "provider",
        "subject",
        "name",
        "email",
        "groups",
        "mfa",
        "claims_at",
        "scope",
        "pairing_ends",
    }


def test_roles_by_account(api):
    response = api().get("roles")
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    accounts = {account["account_id"]: account for account in body["accounts"]}
    assert set(accounts) == {cast.PROD, cast.STAGING, cast.DEV}
    assert accounts[cast.PROD]["name"] == "shop-prod"
    assert accounts[cast.PROD]["environment"] == "production"
    assert accounts[cast.PROD]["tags"] == {"environment": "production", "team": "shop"}
    roles = {role["arn"]: role for account in body["accounts"] for role in account["roles"]}
    assert body["total"] == len(roles)
    assert roles[cast.role(cast.PROD, "ReadOnly")]["rules"] == ["engineers-read-production"]
    assert roles[cast.role(cast.PROD, "ReadOnly")]["max_duration"] == 3600
    assert roles[cast.role(cast.STAGING, "Developer")]["needs_approval"] is False


def test_a_contractor_sees_less(api):
    body = api(cast.bob(now=datetime.now(UTC))).get("roles").json()
    assert cast.PROD not in {account["account_id"] for account in body["accounts"]}


def test_the_same_roles_again_are_not_sent_again(api):
    caller = api()
    etag = caller.get("roles")["ETag"]
    assert etag.startswith('"')
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = caller.get("roles", HTTP_IF_NONE_MATCH=header)
        assert (again.status_code, again.content, again["ETag"], again["Cache-Control"]) == (304, b"", etag, "no-store")
    assert caller.get("roles", HTTP_IF_NONE_MATCH='"other"').status_code == 200


def test_another_persons_etag_is_another(api):
    assert api().get("roles")["ETag"] != api(cast.carol(now=datetime.now(UTC))).get("roles")["ETag"]


def test_a_new_mapping_is_a_new_etag(api, publish):
    caller = api()
    etag = caller.get("roles")["ETag"]
    publish(cast.DOCUMENT.replace("roles: [ReadOnly]", "roles: [Viewer]"))
    again = caller.get("roles", HTTP_IF_NONE_MATCH=etag)
    assert again.status_code == 200
    assert cast.role(cast.PROD, "Viewer") in again.content.decode()


def test_groups_that_are_not_complete_are_a_problem_not_an_empty_list(api):
    caller = api(cast.alice(now=datetime.now(UTC), groups_complete=False))
    assert code_of(caller.get("roles"), 403) == "groups_incomplete"


def test_explain_a_yes_and_a_no(api):
    yes = api().get(f"explain?role_arn={cast.role(cast.PROD, 'ReadOnly')}").json()
    assert yes["allowed"] is True
    assert "engineers-read-production" in {rule["name"] for rule in yes["rules"]}
    no = api(cast.bob(now=datetime.now(UTC))).get(f"explain?role_arn={cast.role(cast.PROD, 'ReadOnly')}")
    assert no["Cache-Control"] == "no-store"
    assert no.json()["allowed"] is False
    assert "no-contractors-in-production" in {rule["name"] for rule in no.json()["rules"]}


@pytest.mark.parametrize("query", ["", "?role_arn=", "?role_arn=x", "?arn=x"])
def test_explain_wants_a_role_arn(api, query):
    assert code_of(api().get(f"explain{query}"), 400) == "bad_request"


@pytest.mark.parametrize("path", ["roles", f"explain?role_arn={cast.role(cast.PROD, 'ReadOnly')}"])
def test_who_asks_in_a_loop_is_slowed_down_and_nobody_else(api, monkeypatch, path):
    monkeypatch.setitem(rate_limits.LIMITS, "explain", rate_limits.Limit(60, 2, 100))
    caller, other = api(), api(cast.carol(now=datetime.now(UTC)))
    events = AuditEvent.objects.count()
    answers = [caller.get(path) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert code_of(answers[-1], 429) == "rate_limited"
    assert int(answers[-1]["Retry-After"]) >= 1
    assert other.get(path).status_code == 200
    assert AuditEvent.objects.count() == events
