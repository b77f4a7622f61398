"""A command line that was paired by a typed code, over HTTP, and the roles that are kept from it."""

from datetime import UTC, datetime

import pytest
from django.test import Client

from tests import cast
from tests.api.problems import code_of
from tests.flows.requests_kit import ADMIN, DOCUMENT, OPERATOR, alice, dana
from tests.oauth.pairing import CLIENT, DEVICE_CODE

pytestmark = pytest.mark.usefixtures("gateway_keys")
READ = cast.role(cast.PROD, "ReadOnly")


@pytest.fixture
def device(api):
    """The API with a token that came by the device grant: somebody typed the code in their browser."""

    def do(identity):
        made = api(identity)
        started = Client().post("/oauth/device_authorization", {"client_id": CLIENT}).json()
        browser = Client()
        browser.force_login(made.person)
        answer = browser.post("/device/", {"user_code": started["user_code"], "decision": "allow"})
        assert answer.status_code == 200
        form = {"grant_type": DEVICE_CODE, "client_id": CLIENT, "device_code": started["device_code"]}
        token = Client().post("/oauth/token", form).json()["access_token"]
        made.client = Client(headers={"authorization": f"Bearer {token}"})
        return made

    return do


def test_the_role_is_refused_to_the_device_and_given_to_the_browser(publish, api, device, sts, settings, events):
    publish()
    now = datetime.now(UTC)
    typed, by_browser = device(cast.alice(now=now)), api(cast.alice(now=now))
    assert typed.post("credentials", {"role_arn": READ}).status_code == 200
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = ("production/*",)
    for path, kind in (("credentials", "credentials"), ("console", "console")):
        assert code_of(typed.post(path, {"role_arn": READ}), 403) == "pairing_too_weak"
        assert events()[-1][1:] == ("refused", "pairing_too_weak")
        assert events()[-1][0].startswith(kind)
    # At the moment of use: the pairing is older than the setting. And one that came by the browser's redirect goes on.
    assert by_browser.post("credentials", {"role_arn": READ}).status_code == 200
    listed = [role["arn"] for account in typed.get("roles").json()["accounts"] for role in account["roles"]]
    assert READ in listed  # it is theirs; only this machine does not get it


def test_a_yes_to_it_is_not_said_from_the_device(publish, api, device, settings, events):
    """Mallory asks for a role and has an approver type the code of Mallory's own device: it must not say yes."""
    publish(DOCUMENT)
    now = datetime.now(UTC)
    asker, lead = api(alice(now=now)), device(dana(now=now))
    made = asker.post("requests", {"role_arns": [ADMIN, OPERATOR], "duration": 3600, "reason": "Deploy 4711"}).json()
    path = f"requests/{made['id']}/decisions"
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = ("production/*",)
    seen = {role["role_arn"]: role for role in lead.get("requests").json()["waiting"][0]["roles"]}

    def choice(arn, *, approve):
        return {"id": seen[arn]["id"], "approve": approve, "seen": seen[arn]["seen"]}

    both = {"decisions": [choice(ADMIN, approve=True), choice(OPERATOR, approve=True)]}
    assert code_of(lead.post(path, both), 403) == "pairing_too_weak"
    assert events()[-1][1:] == ("refused", "pairing_too_weak")
    assert {role["standing"] for role in asker.get(f"requests/{made['id']}").json()["roles"]} == {"pending"}
    # A no does no harm, and what is not kept out is decided as ever.
    some = {"decisions": [choice(ADMIN, approve=False), choice(OPERATOR, approve=True)]}
    assert [role["standing"] for role in lead.post(path, some).json()["roles"]] == ["refused", "active"]
