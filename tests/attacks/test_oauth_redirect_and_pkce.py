"""A code must never reach anybody but the program that asked: redirect URIs and PKCE, as an attacker would try them."""

import pytest

from federation.flows import pair_cli
from federation.models.clients import AuthorizationCode
from tests.oauth.pairing import REDIRECT, answer_of, authorization_request, challenge, person

ALLOWED = [
    "http://127.0.0.1:1/callback",
    "http://127.0.0.1:49152/callback",
    "http://127.0.0.1:65535/callback",
    "http://[::1]:49152/callback",
]

REFUSED = [
    "",
    "http://127.0.0.1/callback",
    "http://127.0.0.1:/callback",
    "http://127.0.0.1:0/callback",
    "http://127.0.0.1:065/callback",
    "http://127.0.0.1:65536/callback",
    "http://127.0.0.1:4915２/callback",
    "http://127.0.0.1:49152",
    "http://127.0.0.1:49152/",
    "http://127.0.0.1:49152/callback/",
    "http://127.0.0.1:49152/Callback",
    "http://127.0.0.1:49152/callback/../evil",
    "http://127.0.0.1:49152/callback%2f",
    "http://127.0.0.1:49152/callback?next=x",
    "http://127.0.0.1:49152/callback#fragment",
    "http://127.0.0.1:49152/callback\n",
    " http://127.0.0.1:49152/callback",
    "HTTP://127.0.0.1:49152/callback",
    "https://127.0.0.1:49152/callback",
    "http://localhost:49152/callback",
    "http://127.0.0.2:49152/callback",
    "http://127.1:49152/callback",
    "http://2130706433:49152/callback",
    "http://0x7f000001:49152/callback",
    "http://0.0.0.0:49152/callback",
    "http://[::]:49152/callback",
    "http://[0:0:0:0:0:0:0:1]:49152/callback",
    "http://[::ffff:127.0.0.1]:49152/callback",
    "http://[::1%25eth0]:49152/callback",
    "http://127.0.0.1.evil.example:49152/callback",
    "http://127.0.0.1:49152@evil.example/callback",
    "http://user@127.0.0.1:49152/callback",
    "http://evil.example#@127.0.0.1:49152/callback",
    "http://evil.example\\@127.0.0.1:49152/callback",
    "//127.0.0.1:49152/callback",
    "javascript://127.0.0.1:49152/callback",
    "rolegate://callback",
    "urn:ietf:wg:oauth:2.0:oob",
    'http://é"\\/callback',
]


@pytest.mark.parametrize("uri", ALLOWED)
def test_loopback_addresses_on_any_port_are_right(uri):
    assert pair_cli.is_loopback_redirect(uri)


@pytest.mark.parametrize("uri", REFUSED)
@pytest.mark.parametrize("method", ["get", "post"])
def test_any_other_address_gets_a_page_no_redirect_and_no_code(client, db, uri, method):
    client.force_login(person("alice"))
    body = {**authorization_request(redirect_uri=uri), **({"decision": "allow"} if method == "post" else {})}
    response = getattr(client, method)("/oauth/authorize", body)
    assert response.status_code == 400
    assert "Location" not in response
    assert "invalid_request" in response.content.decode()
    assert not AuthorizationCode.objects.exists()


@pytest.mark.parametrize("parameter", ["redirect_uri", "client_id"])
def test_a_doubled_address_or_client_gets_a_page(client, db, parameter):
    """Two readers of one request must not see two different addresses."""
    client.force_login(person("alice"))
    values = authorization_request()
    response = client.get(
        "/oauth/authorize", {**values, parameter: [values[parameter], "http://evil.example/callback"]}
    )
    assert response.status_code == 400
    assert "Location" not in response


@pytest.mark.parametrize("parameter", ["response_type", "scope", "state", "code_challenge", "code_challenge_method"])
def test_other_doubled_parameters_are_refused(client, db, parameter):
    client.force_login(person("alice"))
    values = {"scope": "roles", **authorization_request()}
    response = client.get("/oauth/authorize", {**values, parameter: [values[parameter], values[parameter]]})
    assert answer_of(response)["error"] == "invalid_request"


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge_method": "S512"},
        {"code_challenge_method": "plain", "code_challenge": "test-verifier-that-is-public-and-protects-nothing"},
        {"code_challenge": challenge()[:-1]},
        {"code_challenge": challenge() + "="},
        {"code_challenge": challenge() + "A"},
        {"code_challenge": "é" * 43},
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_without_s256_there_is_no_code(client, db, changes, method):
    client.force_login(person("alice"))
    body = {**authorization_request(**changes), **({"decision": "allow"} if method == "post" else {})}
    answer = answer_of(getattr(client, method)("/oauth/authorize", body))
    assert answer["error"] == "invalid_request"
    assert not AuthorizationCode.objects.exists()


def test_a_forged_host_changes_nothing_of_the_answer(client, db, settings):
    settings.ALLOWED_HOSTS = ["*"]
    client.force_login(person("alice"))
    response = client.post(
        "/oauth/authorize", {**authorization_request(), "decision": "allow"}, headers={"host": "evil.example"}
    )
    assert answer_of(response)["iss"] == settings.ROLEGATE_URL
    start = client.post(
        "/oauth/device_authorization", {"client_id": "rolegate-cli"}, headers={"host": "evil.example"}
    ).json()
    assert start["verification_uri"].startswith(settings.ROLEGATE_URL)
    assert (
        "evil"
        not in client.get("/.well-known/oauth-authorization-server", headers={"host": "evil.example"}).content.decode()
    )


def test_consent_cannot_be_clicked_from_another_site(client, db):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person("alice"))
    assert strict.post("/oauth/authorize", {**authorization_request(), "decision": "allow"}).status_code == 403
    assert not AuthorizationCode.objects.exists()
    page = strict.get("/oauth/authorize", authorization_request())
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]


def test_consent_is_not_given_by_a_link(client, db):
    client.force_login(person("alice"))
    response = client.get("/oauth/authorize", {**authorization_request(), "decision": "allow"})
    assert response.status_code == 200
    assert not AuthorizationCode.objects.exists()


def test_what_the_client_says_is_escaped_on_the_consent_page(client, db):
    client.force_login(person("alice", name="<script>alert(1)</script>\u202eecila"))
    page = client.get("/oauth/authorize", authorization_request(state='"><script>alert(2)</script>')).content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert REDIRECT in page
