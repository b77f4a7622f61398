"""Asking for access and deciding on it over the API."""

from datetime import UTC, datetime

import pytest

from tests import cast
from tests.api.problems import code_of
from tests.flows.requests_kit import ADMIN, DOCUMENT, OPERATOR, alice, dana

pytestmark = pytest.mark.usefixtures("gateway_keys")


@pytest.fixture
def two(publish, api):
    publish(DOCUMENT)
    now = datetime.now(UTC)
    return api(alice(now=now)), api(dana(now=now))


BODY = {"role_arns": [ADMIN, OPERATOR], "duration": 3600, "reason": "Deploy 4711"}


def test_several_roles_in_one_request_decided_in_parts_and_used(two, sts):
    asker, lead = two
    made = asker.post("requests", BODY)
    assert made.status_code == 201
    body = made.json()
    assert [(role["role_arn"], role["standing"], role["decidable"]) for role in body["roles"]] == [
        (ADMIN, "pending", False),
        (OPERATOR, "pending", False),
    ]
    waiting = lead.get("requests").json()["waiting"]
    assert [case["id"] for case in waiting] == [body["id"]]
    seen = {role["role_arn"]: role for role in waiting[0]["roles"]}
    decisions = [
        {"id": seen[ADMIN]["id"], "approve": True, "seen": seen[ADMIN]["seen"]},
        {"id": seen[OPERATOR]["id"], "approve": False, "seen": seen[OPERATOR]["seen"]},
    ]
    decided = lead.post(f"requests/{body['id']}/decisions", {"decisions": decisions, "comment": "Go"})
    assert [role["standing"] for role in decided.json()["roles"]] == ["active", "refused"]
    assert asker.get(f"requests/{body['id']}").json()["standing"] == "active"
    listed = {r["arn"]: r for account in asker.get("roles").json()["accounts"] for r in account["roles"]}
    assert listed[ADMIN]["needs_approval"] is False
    assert asker.post("credentials", {"role_arn": ADMIN}).status_code == 200
    assert code_of(asker.post("credentials", {"role_arn": OPERATOR}), 403) == "approval_required"


def test_one_cannot_decide_on_ones_own_nor_on_what_was_not_seen(two):
    asker, lead = two
    made = asker.post("requests", BODY).json()
    choice = {"id": made["roles"][0]["id"], "approve": True, "seen": "0" * 24}
    path = f"requests/{made['id']}/decisions"
    assert code_of(asker.post(path, {"decisions": [choice]}), 403) == "may_not_decide"
    assert code_of(lead.post(path, {"decisions": [choice]}), 409) == "request_stale"
    assert code_of(lead.post(path, {"decisions": []}), 400) == "bad_request"


def test_withdrawing_ones_own_and_nobody_elses(two):
    asker, lead = two
    made = asker.post("requests", BODY).json()
    assert code_of(lead.post(f"requests/{made['id']}/withdraw", {}), 404) == "not_found"
    assert asker.post(f"requests/{made['id']}/withdraw", {}).json()["standing"] == "withdrawn"
    assert code_of(asker.post(f"requests/{made['id']}/withdraw", {}), 409) == "request_stale"


def test_a_stranger_finds_nothing(two, api):
    asker, _ = two
    made = asker.post("requests", BODY).json()
    assert code_of(api(cast.bob(now=datetime.now(UTC))).get(f"requests/{made['id']}"), 404) == "not_found"
    assert code_of(asker.get("requests/not-an-id"), 400) == "bad_request"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"duration": 60}, 400),
        ({"duration": 8 * 3600}, 422),
        ({"reason": ""}, 422),
        ({"role_arns": []}, 400),
        ({"role_arns": [cast.role(cast.PROD, "ReadOnly")]}, 422),
        ({"approved": True}, 400),
    ],
)
def test_what_cannot_be_asked_for(two, changes, status):
    assert two[0].post("requests", BODY | changes).status_code == status


def test_a_token_without_the_scope(publish, api):
    publish(DOCUMENT)
    now = datetime.now(UTC)
    narrow = api(alice(now=now), scope="roles credentials console")
    assert code_of(narrow.get("requests"), 403) == "insufficient_scope"
    assert code_of(narrow.post("requests", BODY), 403) == "insufficient_scope"
