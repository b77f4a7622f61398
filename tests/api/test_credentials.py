"""POST /api/v1/credentials and /console: from an access token to something that AWS takes."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from federation.flows import pair_cli, rate_limits
from federation.models.audit import AuditEvent
from tests import cast
from tests.api.problems import code_of
from tests.aws.scripted import SECRET_KEY, SESSION_TOKEN, Reply, refused, serving

pytestmark = pytest.mark.usefixtures("federated")

READ_ONLY = cast.role(cast.PROD, "ReadOnly")


def test_the_answer_is_exactly_the_credential_process_document(api, sts):
    response = api().post("credentials", {"role_arn": READ_ONLY})
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-store"
    assert json.loads(response.content) == {
        "Version": 1,
        "AccessKeyId": "ASIATESTKEY000000001",
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": SESSION_TOKEN,
        "Expiration": "2026-03-04T13:30:15Z",
        "AccountId": cast.PROD,
    }


@pytest.mark.parametrize(
    ("account", "name", "action"),
    [(cast.PROD, "Developer", "AssumeRoleWithSAML"), (cast.STAGING, "Developer", "AssumeRoleWithWebIdentity")],
)
def test_duration_and_role_reach_sts_by_the_accounts_kind_of_federation(api, sts, account, name, action):
    assert api().post("credentials", {"role_arn": cast.role(account, name), "duration": 1800}).status_code == 200
    (call,) = sts.calls
    assert call.fields["Action"] == action
    assert call.fields["RoleArn"] == cast.role(account, name)
    assert call.fields["DurationSeconds"] == "1800"


def test_the_event_names_the_channel_and_the_key_but_no_secret(api, sts):
    caller = api()
    caller.post("credentials", {"role_arn": READ_ONLY})
    event = AuditEvent.objects.get(kind="credentials")
    assert (event.outcome, event.data["channel"], event.data["access_key_id"]) == ("ok", "api", "ASIATESTKEY000000001")
    stored = json.dumps([[e.kind, e.data] for e in AuditEvent.objects.all()])
    for secret in (SECRET_KEY, SESSION_TOKEN, caller.token):
        assert secret not in stored


@pytest.mark.parametrize(
    ("who", "role", "code"),
    [
        (cast.alice, cast.role(cast.PROD, "Nothing"), "access_denied"),
        (cast.alice, cast.role("999999999999", "ReadOnly"), "access_denied"),
        (cast.bob, READ_ONLY, "access_denied"),
    ],
)
def test_a_role_that_is_not_theirs(api, sts, who, role, code):
    response = api(who(now=datetime.now(UTC))).post("credentials", {"role_arn": role})
    assert code_of(response, 403) == code
    assert not sts.calls
    assert AuditEvent.objects.get(kind="credentials").outcome == "refused"


def test_a_role_that_needs_an_approval(api, sts):
    response = api(cast.alice(now=datetime.now(UTC), mfa=True)).post(
        "credentials", {"role_arn": cast.role(cast.PROD, "Administrator")}
    )
    assert code_of(response, 403) == "approval_required"
    assert not sts.calls


def test_claims_that_are_too_old(api, sts, settings):
    caller = api()
    type(caller.person).objects.update(
        claims_at=datetime.now(UTC) - settings.ROLEGATE_CLAIMS_MAX_AGE - timedelta(seconds=1)
    )
    response = caller.post("credentials", {"role_arn": READ_ONLY})
    assert code_of(response, 401) == "claims_too_old"
    assert "WWW-Authenticate" in response
    assert not sts.calls


def test_a_refusal_by_aws_keeps_awss_code(api, monkeypatch):
    with serving(refused("AccessDenied", "canary-aws: not authorized", status=403)) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        response = api().post("credentials", {"role_arn": READ_ONLY})
    assert response.status_code >= 400
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["aws_code"] == "AccessDenied"
    assert "canary-aws" not in response.content.decode()


def test_throttling_that_lasts_ends_in_a_clear_error_with_awss_code_and_when_to_come_back(api, monkeypatch):
    from federation.aws import sts

    monkeypatch.setitem(sts.assume_role.__kwdefaults__, "deadline_seconds", 0.3)
    with serving(refused("Throttling", "Rate exceeded")) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        response = api().post("credentials", {"role_arn": READ_ONLY})
    assert code_of(response, 503) == "sts_throttled"
    assert response.json()["aws_code"] == "Throttling"
    assert int(response["Retry-After"]) >= 1
    event = AuditEvent.objects.get(kind="credentials")
    assert (event.outcome, event.reason, event.data["aws_code"]) == ("failed", "sts_throttled", "Throttling")
    assert AuditEvent.objects.filter(kind="mint.assertion").count() == 1  # the retries sent the same document


def test_too_many_requests_of_one_person(api, sts, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "credentials", rate_limits.Limit(60, 2, 100))
    caller = api()
    answers = [caller.post("credentials", {"role_arn": READ_ONLY}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert code_of(answers[2], 429) == "rate_limited"
    assert int(answers[2]["Retry-After"]) >= 1
    assert len(sts.calls) == 2


def test_after_the_pairing_is_revoked_there_is_nothing(api, sts):
    caller = api()
    pair_cli.revoke_token(
        caller.token, client_id="rolegate-cli", origin=pair_cli.Origin("x", "192.0.2.7"), now=datetime.now(UTC)
    )
    assert code_of(caller.post("credentials", {"role_arn": READ_ONLY}), 401) == "invalid_token"
    assert not sts.calls


def test_no_session_is_made_and_no_cookie_is_set(api, sts):
    response = api().post("credentials", {"role_arn": READ_ONLY})
    assert not response.cookies
    assert "Cookie" not in response.get("Vary", "")


def test_the_assertion_that_sts_gets_is_for_this_person(api, sts):
    caller = api()
    caller.post("credentials", {"role_arn": READ_ONLY})
    document = base64.b64decode(sts.calls[0].fields["SAMLAssertion"]).decode()
    assert caller.person.session_name in document


def test_the_hot_path_asks_the_database_a_constant_number_of_times(api, sts, django_assert_max_num_queries):
    caller = api()
    caller.post("credentials", {"role_arn": READ_ONLY})
    with django_assert_max_num_queries(40):
        assert caller.post("credentials", {"role_arn": READ_ONLY}).status_code == 200


# --- The console ------------------------------------------------------------------------------------


@pytest.fixture
def sign_in_endpoint(settings):
    with serving(Reply(200, json.dumps({"SigninToken": "TEST-sign-in-token"}), "application/json")) as double:
        settings.ROLEGATE_SIGNIN_ENDPOINT_URL = double.url
        yield double


def test_a_console_url_and_when_it_ends(api, sts, sign_in_endpoint):
    response = api().post("console", {"role_arn": READ_ONLY})
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    assert set(body) == {"url", "expires_at"}
    assert "SigninToken=TEST-sign-in-token" in body["url"]
    ends = datetime.fromisoformat(body["expires_at"])
    assert timedelta(minutes=14) < ends - datetime.now(UTC) <= timedelta(minutes=15)


def test_a_destination_outside_the_console_is_refused_before_anything_is_minted(api, sts, sign_in_endpoint):
    response = api().post("console", {"role_arn": READ_ONLY, "destination": "https://evil.example/"})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert not sts.calls


def test_a_console_of_a_role_that_is_not_theirs(api, sts, sign_in_endpoint):
    assert code_of(api().post("console", {"role_arn": cast.role(cast.PROD, "Nothing")}), 403) == "access_denied"


def test_a_wrong_clock_is_a_problem_that_says_so_and_when_to_come_back(api, monkeypatch):
    from dataclasses import replace

    from federation.aws import clock

    clock.watch.forget()
    with serving(replace(refused("MissingAuthenticationToken", status=403), clock=-900)) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        response = api().post("credentials", {"role_arn": READ_ONLY})
    assert code_of(response, 503) == "clock_wrong"
    assert "seconds ahead" in response.json()["detail"]
    assert int(response["Retry-After"]) >= 1
    assert not AuditEvent.objects.filter(kind__startswith="mint.").exists()
