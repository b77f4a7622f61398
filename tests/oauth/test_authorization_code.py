"""The loopback way: consent in the browser, a code to 127.0.0.1, tokens for the code (RFC 6749 section 4.1, RFC 7636)."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from federation.flows import pair_cli
from federation.models.clients import AuthorizationCode, TokenFamily
from tests.oauth import pairing
from tests.oauth.pairing import (
    NOW,
    ORIGIN,
    answer_of,
    authorization_request,
    code_for,
    events,
    redeem,
    redeem_over_http,
    seconds,
)


def refused(code, **changes) -> str:
    with pytest.raises(pair_cli.GrantRefused) as caught:
        redeem(code, **changes)
    return caught.value.reason


def test_the_whole_way_gives_tokens_that_work(client, alice):
    tokens = pairing.pair_over_http(client, alice)
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    assert tokens["scope"] == "roles credentials console requests"
    me = Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}")
    assert me.json()["email"] == "alice@example.com"
    (paired,) = events("client.paired")
    assert paired.outcome == "ok"
    assert paired.data["person"] == str(alice.pk)
    assert paired.data["grant"] == "authorization_code"


def test_the_answer_names_its_issuer_and_returns_the_state(client, alice, settings):
    client.force_login(alice)
    answer = answer_of(
        client.post("/oauth/authorize", {**authorization_request(state='a"b&c=d é'), "decision": "allow"})
    )
    assert answer["iss"] == settings.ROLEGATE_URL
    assert answer["state"] == 'a"b&c=d é'


def test_denying_gives_access_denied_and_no_code(client, alice):
    client.force_login(alice)
    answer = answer_of(client.post("/oauth/authorize", {**authorization_request(), "decision": "deny"}))
    assert answer["error"] == "access_denied"
    assert answer["state"] == "the-state"
    assert "iss" in answer
    assert not AuthorizationCode.objects.exists()


def test_nobody_signed_in_goes_to_the_sign_in_page_and_comes_back_with_the_whole_request(client, db):
    response = client.get("/oauth/authorize", authorization_request())
    assert response.status_code == 302
    target = urlsplit(response["Location"])
    assert target.path == "/signin/"
    back = urlsplit(parse_qs(target.query)["next"][0])
    assert back.path == "/oauth/authorize"
    assert {name: values[0] for name, values in parse_qs(back.query).items()} == authorization_request()


@pytest.mark.parametrize("path", ["/oauth/authorize", "/device/"])
def test_claims_that_are_too_old_send_to_their_provider_before_anything_is_agreed_to(client, alice, settings, path):
    """Else the helper is refused at its first call, pairs again with the same old claims, and so on while the session lasts."""
    alice.claims_at = datetime.now(UTC) - settings.ROLEGATE_CLAIMS_MAX_AGE - timedelta(minutes=1)
    alice.save()
    client.force_login(alice)
    response = client.get(path, authorization_request() if path == "/oauth/authorize" else {})
    assert response.status_code == 302
    target = urlsplit(response["Location"])
    assert target.path == "/signin/corp/"
    back = urlsplit(parse_qs(target.query)["next"][0])
    assert back.path == path
    if path == "/oauth/authorize":
        assert {name: values[0] for name, values in parse_qs(back.query).items()} == authorization_request()


def test_a_provider_whose_sessions_are_over_at_once_is_no_circle(client, alice):
    alice.claims_expire_at = alice.claims_at
    alice.save()
    client.force_login(alice)
    response = client.get("/oauth/authorize", authorization_request())
    assert response.status_code == 401
    assert b"claims_too_old" in response.content


def test_posting_consent_without_a_session_gives_nothing(client, db):
    response = client.post("/oauth/authorize", {**authorization_request(), "decision": "allow"})
    assert response["Location"].startswith("/signin/")
    assert not AuthorizationCode.objects.exists()


def test_the_consent_page_names_the_client_and_what_it_gets_and_decides_nothing_itself(client, alice):
    client.force_login(alice)
    response = client.get("/oauth/authorize", authorization_request(scope="roles console"))
    page = response.content.decode()
    assert "Rolegate command line" in page
    assert "see who you are and which roles you have" in page
    assert "open the AWS console in your roles" in page
    assert "temporary AWS credentials" not in page
    assert pairing.REDIRECT in page
    assert "no-store" in response["Cache-Control"]
    assert not AuthorizationCode.objects.exists()


def test_deny_weighs_as_much_as_allow(client, alice):
    client.force_login(alice)
    page = client.get("/oauth/authorize", authorization_request()).content.decode()
    deny, allow = page.index('value="deny"'), page.index('value="allow"')
    assert deny < allow
    classes = [page[page.rindex("<button", 0, at) : at].split('class="')[1].split('"')[0] for at in (deny, allow)]
    assert classes[0] == classes[1]


@pytest.mark.parametrize(
    ("redirect", "wanted"),
    [("http://127.0.0.1:49152/callback", "http://127.0.0.1:49152"), ("http://[::1]:49152/callback", "http:")],
)
def test_the_policy_of_the_consent_page_lets_the_form_reach_the_loopback_address(client, alice, redirect, wanted):
    """Chromium holds the redirect after a form to form-action as well."""
    client.force_login(alice)
    policy = client.get("/oauth/authorize", authorization_request(redirect_uri=redirect))["Content-Security-Policy"]
    directive = next(part.split() for part in policy.split(";") if part.split()[:1] == ["form-action"])
    assert directive == ["form-action", "'self'", wanted]


def test_a_smaller_scope_is_kept(alice):
    tokens = pairing.paired(alice, scope="credentials roles")
    assert tokens.scope == "roles credentials"
    assert pair_cli.authenticate(tokens.access_token, now=NOW).scope == "roles credentials"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "roles everything"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'code"é'}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
    ],
)
def test_errors_go_back_to_the_client_once_its_address_is_known_to_be_right(client, alice, changes, error):
    client.force_login(alice)
    answer = answer_of(client.get("/oauth/authorize", authorization_request(**changes)))
    assert answer["error"] == error
    assert answer["state"] == "the-state"
    assert "iss" in answer


def test_an_unknown_client_gets_a_page_and_no_redirect(client, alice):
    client.force_login(alice)
    response = client.get("/oauth/authorize", authorization_request(client_id="someone-else"))
    assert response.status_code == 400
    assert "Location" not in response
    assert "invalid_client" in response.content.decode()


def test_a_code_lives_for_sixty_seconds(alice):
    assert refused(code_for(alice), now=NOW + seconds(60)) == "code_expired"
    assert redeem(code_for(alice), now=NOW + seconds(59)).expires_in == 900


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": "someone-else"}, "wrong_client"),
        ({"redirect_uri": "http://127.0.0.1:49153/callback"}, "wrong_redirect_uri"),
        ({"code_verifier": "x" * 43}, "wrong_verifier"),
        ({"code_verifier": ""}, "wrong_verifier"),
        ({"code_verifier": pairing.challenge()}, "wrong_verifier"),
        ({"code_verifier": "short"}, "wrong_verifier"),
        ({"code_verifier": "é" * 50}, "wrong_verifier"),
    ],
)
def test_whoever_is_not_the_client_that_asked_gets_nothing_and_the_code_is_spent(alice, changes, reason):
    code = code_for(alice)
    assert refused(code, **changes) == reason
    assert refused(code) == "code_reused"
    assert not TokenFamily.objects.exists()
    assert [event.reason for event in events("client.pairing_denied")] == [reason, "code_reused"]


def test_a_person_disabled_between_consent_and_redemption_gets_nothing(alice):
    code = code_for(alice)
    alice.active = False
    alice.save()
    assert refused(code) == "person_disabled"


def test_a_person_signed_out_everywhere_between_consent_and_redemption_gets_nothing(alice):
    code = code_for(alice)
    alice.session_epoch += 1
    alice.save()
    assert refused(code) == "session_ended"


def test_a_disabled_person_gets_no_code(alice):
    alice.active = False
    alice.save()
    with pytest.raises(pair_cli.GrantRefused) as caught:
        code_for(alice)
    assert caught.value.reason == "person_disabled"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": "other"}, "unknown_client"),
        ({"redirect_uri": "https://evil.example/callback"}, "redirect_uri_not_loopback"),
        ({"code_challenge": "plain"}, "code_challenge_malformed"),
        ({"scope": "everything"}, "unknown_scope"),
    ],
)
def test_the_flow_itself_refuses_what_the_endpoint_should_have_refused(alice, changes, reason):
    values = {
        "client_id": pairing.CLIENT,
        "redirect_uri": pairing.REDIRECT,
        "code_challenge": pairing.challenge(),
        "scope": "",
    }
    with pytest.raises(pair_cli.BadRequest) as caught:
        pair_cli.issue_code(alice.pk, **{**values, **changes}, origin=ORIGIN, now=NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize("missing", ["code", "redirect_uri", "code_verifier"])
def test_a_token_request_without_a_parameter_is_invalid_and_spends_nothing(client, alice, missing):
    client.force_login(alice)
    code = answer_of(client.post("/oauth/authorize", {**authorization_request(), "decision": "allow"}))["code"]
    response = redeem_over_http(client, code, **{missing: None})
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert redeem_over_http(client, code).status_code == 200
