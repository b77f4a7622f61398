"""The form of the token endpoint's answers (RFC 6749 sections 3.2, 5.1, 5.2), and of revocation (RFC 7009)."""

import pytest
from django.test import Client

from federation.flows import pair_cli, rate_limits
from tests.oauth import pairing
from tests.oauth.pairing import CLIENT, redeem_over_http


@pytest.fixture
def tokens(client, alice):
    return pairing.pair_over_http(client, alice)


def test_answers_and_errors_are_json_that_no_cache_keeps(tokens, db):
    refresh = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": tokens["refresh_token"]}
    for response, status in [
        (Client().post("/oauth/token", refresh), 200),
        (Client().post("/oauth/token", refresh), 400),
    ]:
        assert response.status_code == status
        assert response["Content-Type"] == "application/json"
        assert response["Cache-Control"] == "no-store"
        assert response["Pragma"] == "no-cache"
        assert not response.cookies


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "invalid_request"),
        (
            {"grant_type": "password", "client_id": CLIENT, "username": "alice", "password": "x"},
            "unsupported_grant_type",
        ),
        ({"grant_type": "client_credentials", "client_id": CLIENT}, "unsupported_grant_type"),
        ({"grant_type": 'é"\\', "client_id": CLIENT}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_client"),
        ({"grant_type": "authorization_code", "client_id": "other", "code": "x"}, "invalid_client"),
        (
            {"grant_type": "authorization_code", "client_id": CLIENT, "client_secret": "x", "code": "x"},
            "invalid_client",
        ),
        (
            {
                "grant_type": "authorization_code",
                "client_id": CLIENT,
                "code": "x",
                "redirect_uri": "x",
                "code_verifier": "x",
            },
            "invalid_grant",
        ),
        ({"grant_type": "refresh_token", "client_id": CLIENT}, "invalid_request"),
        ({"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": ["x", "y"]}, "invalid_request"),
        ({"grant_type": pairing.DEVICE_CODE, "client_id": CLIENT}, "invalid_request"),
        ({"grant_type": pairing.DEVICE_CODE, "client_id": CLIENT, "device_code": "x"}, "invalid_grant"),
    ],
)
def test_wrong_requests(client, db, body, error):
    response = client.post("/oauth/token", body)
    assert response.status_code == 400
    assert response.json()["error"] == error
    assert response.json()["error_description"].isascii()


def test_parameters_in_the_query_do_not_count(client, alice, tokens):
    """A token in a query ends up in access logs (RFC 6749 section 3.2: parameters are in the body)."""
    response = client.post(
        f"/oauth/token?grant_type=refresh_token&client_id={CLIENT}&refresh_token={tokens['refresh_token']}"
    )
    assert response.json()["error"] == "invalid_request"


def test_get_is_not_allowed(client, db):
    assert client.get("/oauth/token").status_code == 405


def test_the_endpoints_for_the_client_want_no_csrf_token(alice):
    strict = Client(enforce_csrf_checks=True)
    assert redeem_over_http(strict, "x").json()["error"] == "invalid_grant"
    assert strict.post("/oauth/device_authorization", {"client_id": CLIENT}).status_code == 200
    assert strict.post("/oauth/revoke", {"client_id": CLIENT, "token": "x"}).status_code == 200


def test_an_error_repeats_nothing_of_what_was_sent(client, db):
    response = client.post("/oauth/token", {"grant_type": "canary-7d1", "client_id": CLIENT})
    assert b"canary-7d1" not in response.content


def test_too_many_requests_from_one_address_wait(client, db, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 5, 5))
    answers = [
        client.post("/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": "x"})
        for _ in range(6)
    ]
    assert [answer.status_code for answer in answers[:5]] == [400] * 5
    assert answers[5].status_code == 429
    assert answers[5].json()["code"] == "rate_limited"
    assert answers[5].json()["error"] == "temporarily_unavailable"
    assert int(answers[5]["Retry-After"]) >= 1


def test_a_device_that_asks_too_often_is_told_to_slow_down(client, db, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 0, 0))
    response = client.post("/oauth/token", {"grant_type": pairing.DEVICE_CODE, "client_id": CLIENT, "device_code": "x"})
    assert (response.status_code, response.json()["error"]) == (429, "slow_down")


def test_starting_device_grants_is_limited(client, db, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "device", rate_limits.Limit(60, 2, 2))
    answers = [client.post("/oauth/device_authorization", {"client_id": CLIENT}).status_code for _ in range(3)]
    assert answers == [200, 200, 429]


# --- Revocation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_pairing_at_once(client, tokens, which):
    assert (
        client.post(
            "/oauth/revoke", {"client_id": CLIENT, "token": tokens[which], "token_type_hint": "nonsense"}
        ).status_code
        == 200
    )
    me = client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}")
    assert (me.status_code, me.json()["code"]) == (401, "invalid_token")
    again = client.post(
        "/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": tokens["refresh_token"]}
    )
    assert again.json()["error"] == "invalid_grant"
    (revoked,) = pairing.events("client.revoked")
    assert revoked.reason == "by_client"


def test_revoking_twice_is_one_event(client, tokens):
    for _ in range(2):
        assert client.post("/oauth/revoke", {"client_id": CLIENT, "token": tokens["access_token"]}).status_code == 200
    assert len(pairing.events("client.revoked")) == 1


@pytest.mark.parametrize("token", ["nonsense", "rlg_at_" + "A" * 43, "rlg_rt_" + "A" * 43])
def test_revoking_an_unknown_token_says_nothing(client, db, token):
    """RFC 7009 section 2.2: 200, or the endpoint would tell which tokens exist."""
    assert client.post("/oauth/revoke", {"client_id": CLIENT, "token": token}).status_code == 200


@pytest.mark.parametrize(
    ("body", "error"), [({"client_id": CLIENT}, "invalid_request"), ({"token": "x"}, "invalid_client")]
)
def test_wrong_revocations(client, db, body, error):
    response = client.post("/oauth/revoke", body)
    assert (response.status_code, response.json()["error"]) == (400, error)


def test_another_client_cannot_revoke(tokens, alice):
    pair_cli.revoke_token(tokens["refresh_token"], client_id="other", origin=pairing.ORIGIN, now=pairing.NOW)
    assert pair_cli.list_grants(alice.pk, now=pairing.NOW.replace(year=2020))


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/device_authorization"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("code=" + "A" * 1_100_000, "application/x-www-form-urlencoded"),
        ("&".join(f"f{n}=x" for n in range(300)), "application/x-www-form-urlencoded"),
        ("--x\r\njunk", "multipart/form-data"),
    ],
)
def test_a_body_that_cannot_be_read_is_an_invalid_request_of_the_protocol(db, path, body, kind):
    response = Client().post(path, body, content_type=kind)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/json"
    said = response.json()
    assert (said["error"], said["code"]) == ("invalid_request", "bad_request")
    assert said["request_id"] == response["X-Request-Id"]


def test_every_refusal_has_its_request_id(db):
    for body in ({}, {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": "rlg_rt_" + "x" * 43}):
        response = Client().post("/oauth/token", body)
        assert response.status_code == 400
        assert response.json()["request_id"] == response["X-Request-Id"]


def test_guessed_codes_and_tokens_weigh_more_than_honest_ones(db, monkeypatch):
    """Each is an event in the audit log: a flood of them must end long before one of honest requests would."""
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 60, 30, refused=10))
    guesses = [
        {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": "rlg_rt_" + "x" * 43},
        {"grant_type": "authorization_code", "client_id": CLIENT, "code": "x", "redirect_uri": pairing.REDIRECT,
         "code_verifier": "x" * 43},
    ]  # fmt: skip
    statuses = [Client().post("/oauth/token", guesses[n % 2]).status_code for n in range(4)]
    assert statuses == [400, 400, 400, 429]
    limited = Client(headers={"authorization": "Bearer rlg_at_" + "x" * 43}).get("/api/v1/me")
    assert limited.status_code == 429
    assert int(limited["Retry-After"]) >= 1


def test_tokens_that_nobody_issued_weigh_more_than_honest_ones(db, monkeypatch, events):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 60, 30, refused=10))
    stranger = Client(headers={"authorization": "Bearer rlg_at_" + "x" * 43})
    statuses = [stranger.get("/api/v1/me").status_code for _ in range(15)]
    assert statuses[:3] == [401] * 3
    assert set(statuses[3:]) == {429}
    reasons = [reason for _, _, reason in events()]
    assert reasons[:4] == ["token_unknown"] * 3 + ["token_rate"]
    assert len(reasons) <= 3 + 10  # of the rest, the log tells that it began


def test_a_device_that_waits_is_no_guesser(db, alice, client, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 60, 30, refused=10))
    started = client.post("/oauth/device_authorization", {"client_id": CLIENT}).json()
    body = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": CLIENT,
            "device_code": started["device_code"]}  # fmt: skip
    errors = [client.post("/oauth/token", body).json()["error"] for _ in range(10)]
    assert errors == ["authorization_pending"] + ["slow_down"] * 9


def test_one_person_gets_so_many_tokens_a_minute(client, alice, monkeypatch):
    tokens = pairing.pair_over_http(client, alice)
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 3, 1000, refused=10))
    refresh = tokens["refresh_token"]
    for _ in range(3):
        answer = client.post(
            "/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": refresh}
        )
        if answer.status_code == 429:
            break
        refresh = answer.json()["refresh_token"]
    limited = client.post(
        "/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": refresh}
    )
    assert limited.status_code == 429
    assert int(limited["Retry-After"]) >= 1
    # The refresh token was not spent by it: told to wait, the client loses nothing.
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 300, 1000, refused=10))
    assert (
        client.post(
            "/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": refresh}
        ).status_code
        == 200
    )
