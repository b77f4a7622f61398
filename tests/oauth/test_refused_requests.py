"""Every request at an OAuth endpoint that is refused leaves one audit event with its precise reason; a flood, one a minute."""

import pytest
from django.test import Client

from federation.flows import pair_cli, rate_limits
from federation.models import AuditEvent
from tests.oauth.pairing import (
    CLIENT,
    DEVICE_CODE,
    NOW,
    ORIGIN,
    REDIRECT,
    VERIFIER,
    authorization_request,
    code_for,
    events,
    paired,
    person,
    redeem_over_http,
)

PAIR = {"client_id": CLIENT}
CODE = PAIR | {"grant_type": "authorization_code", "code": "x", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}


def only_event():
    (event,) = AuditEvent.objects.all()
    return event


@pytest.mark.parametrize(
    ("path", "body", "error", "reason"),
    [
        ("token", {}, "invalid_request", "grant_type_not_once"),
        ("token", PAIR, "invalid_request", "grant_type_not_once"),
        ("token", PAIR | {"grant_type": ["refresh_token"] * 2}, "invalid_request", "grant_type_not_once"),
        ("token", PAIR | {"grant_type": "password"}, "unsupported_grant_type", "unsupported_grant_type"),
        ("token", {"client_id": "evil", "grant_type": "refresh_token"}, "invalid_client", "invalid_client"),
        ("token", CODE | {"code": ""}, "invalid_request", "code_not_once"),
        ("token", CODE | {"redirect_uri": ""}, "invalid_request", "redirect_uri_not_once"),
        ("token", CODE | {"code_verifier": [VERIFIER] * 2}, "invalid_request", "code_verifier_not_once"),
        ("token", PAIR | {"grant_type": "refresh_token"}, "invalid_request", "refresh_token_not_once"),
        ("token", PAIR | {"grant_type": DEVICE_CODE}, "invalid_request", "device_code_not_once"),
        ("token", {f"f{n}": "x" for n in range(300)}, "invalid_request", "form_unreadable"),
        ("device_authorization", {}, "invalid_client", "invalid_client"),
        ("device_authorization", PAIR | {"scope": "everything"}, "invalid_scope", "invalid_scope"),
        ("revoke", {"token": "x"}, "invalid_client", "invalid_client"),
        ("revoke", PAIR, "invalid_request", "token_not_once"),
    ],
)
def test_a_malformed_request_of_a_client(db, path, body, error, reason):
    answer = Client().post(f"/oauth/{path}", body)
    assert answer.json()["error"] == error
    event = only_event()
    assert (event.kind, event.outcome, event.reason) == ("oauth.refused", "refused", reason)
    ours = body.get("client_id") == CLIENT
    assert event.data == {"endpoint": path, "error": error, "client": CLIENT if ours else "unknown"}
    assert event.request_id == answer.json()["request_id"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": None}, "client_id_not_once"),
        ({"client_id": "evil"}, "invalid_client"),
        ({"redirect_uri": "https://evil.example/callback"}, "redirect_uri_not_loopback"),
        ({"redirect_uri": None}, "redirect_uri_not_once"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"state": ["a", "b"]}, "state_not_once"),
        ({"code_challenge": None}, "code_challenge_not_once"),
        ({"code_challenge": "short"}, "code_challenge_malformed"),
        ({"code_challenge_method": "plain"}, "code_challenge_method_not_s256"),
        ({"code_challenge_method": None}, "code_challenge_method_not_once"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_malformed_request_through_the_browser(client, alice, changes, reason, method):
    client.force_login(alice)
    answer = getattr(client, method)("/oauth/authorize", authorization_request(**changes) | {"decision": "allow"})
    assert answer.status_code in {302, 400}
    event = only_event()
    assert (event.kind, event.reason, event.data["endpoint"]) == ("oauth.refused", reason, "authorize")


def test_a_form_that_cannot_be_read(client, alice):
    client.force_login(alice)
    answer = client.post("/oauth/authorize", {f"f{n}": "x" for n in range(300)})
    assert answer.status_code == 400
    assert only_event().reason == "form_unreadable"


def test_what_is_well_formed_leaves_none(client, alice):
    client.force_login(alice)
    assert client.get("/oauth/authorize", authorization_request()).status_code == 200
    assert not events("oauth.refused")


def test_what_stands_where_the_clients_name_belongs_is_not_kept(db):
    """It may be a code or token in the wrong field."""
    secret = "rlg_rt_" + "S" * 43
    for name in (secret, "S" * 43, "e\u202evil\x00\n" + "S" * 500):
        Client().post("/oauth/token", {"client_id": name, "refresh_token": secret, "grant_type": "refresh_token"})
    found = events("oauth.refused")
    assert {event.data["client"] for event in found} == {"unknown"}
    assert not any("S" * 20 in str(event.data) + event.actor + event.reason for event in found)


@pytest.mark.parametrize("path", ["token", "revoke", "device_authorization"])
def test_a_flood_of_malformed_requests_ends_in_one_event(db, client, monkeypatch, path):
    for scope in ("token", "device"):
        monkeypatch.setitem(rate_limits.LIMITS, scope, rate_limits.Limit(60, 20, 50, refused=10))
    answers = [client.post(f"/oauth/{path}", {"client_id": "evil"}) for _ in range(40)]
    assert {answer.status_code for answer in answers[10:]} == {429}
    reasons = [event.reason for event in events("oauth.refused")]
    assert reasons.count("token_rate") == 1
    assert len(reasons) < 10


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_flood_at_the_page_too(client, alice, monkeypatch, method):
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 20, 50, refused=10))
    client.force_login(alice)
    fields = {f"f{n}": "x" for n in range(300)} if method == "post" else {"client_id": "evil"}
    answers = [getattr(client, method)("/oauth/authorize", fields) for _ in range(20)]
    assert answers[-1].status_code == 429
    assert [event.reason for event in events("oauth.refused")].count("token_rate") == 1


def test_a_flood_of_honest_starts_is_told_once(db, client, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "device", rate_limits.Limit(60, 5, 5))
    codes = [client.post("/oauth/device_authorization", PAIR).status_code for _ in range(12)]
    assert codes == [200] * 5 + [429] * 7
    assert [(e.reason, e.data["endpoint"]) for e in events("oauth.refused")] == [
        ("device_rate", "device_authorization")
    ]


def test_a_person_who_types_codes_too_fast_is_told_once(client, alice, monkeypatch):
    monkeypatch.setitem(rate_limits.LIMITS, "device", rate_limits.Limit(60, 3, 100))
    client.force_login(alice)
    codes = [client.post("/device/", {"user_code": "BCDF-GHJK"}).status_code for _ in range(8)]
    assert codes[3:] == [429] * 5
    assert [(e.reason, e.data["endpoint"]) for e in events("oauth.refused")] == [("device_rate", "device")]


def test_tokens_of_one_person_too_fast_is_told_once(db, alice, client, monkeypatch):
    """The limit undoes the transaction that it refuses in: what was told must not be undone with it."""
    codes = [code_for(alice) for _ in range(6)]
    monkeypatch.setitem(rate_limits.LIMITS, "token", rate_limits.Limit(60, 0, 100))
    monkeypatch.setattr("portal.oauth.views._now", lambda: NOW)
    assert [redeem_over_http(client, code).status_code for code in codes] == [429] * 6
    assert [event.reason for event in events("oauth.refused")] == ["token_rate"]


def test_a_person_who_says_no_is_recorded(client, alice):
    client.force_login(alice)
    client.post("/oauth/authorize", authorization_request(decision="deny"))
    (event,) = events("client.pairing_denied")
    assert (event.reason, event.actor) == ("denied_by_person", f"corp:{alice.session_name}")


def test_a_refresh_token_that_is_none_is_recorded(db):
    with pytest.raises(pair_cli.GrantRefused):
        pair_cli.rotate("nonsense", client_id=CLIENT, origin=ORIGIN, now=NOW)
    assert [event.reason for event in events("token.refused")] == ["token_malformed"]


def test_a_device_code_that_comes_again_is_recorded(alice):
    start = pair_cli.begin_device(client_id=CLIENT, scope="", origin=ORIGIN, now=NOW)
    pair_cli.decide_device(start.user_code, person_id=alice.pk, allow=True, origin=ORIGIN, now=NOW)
    pair_cli.poll_device(start.device_code, client_id=CLIENT, origin=ORIGIN, now=NOW)
    with pytest.raises(pair_cli.GrantRefused):
        pair_cli.poll_device(start.device_code, client_id=CLIENT, origin=ORIGIN, now=NOW)
    assert [event.reason for event in events("client.pairing_denied")] == ["device_code_reused"]


def test_a_disabled_person_who_consents_is_recorded(db):
    leaver = person("leaver", active=False)
    with pytest.raises(pair_cli.GrantRefused, match="person_disabled"):
        code_for(leaver)
    start = pair_cli.begin_device(client_id=CLIENT, scope="", origin=ORIGIN, now=NOW)
    with pytest.raises(pair_cli.GrantRefused, match="person_disabled"):
        pair_cli.decide_device(start.user_code, person_id=leaver.pk, allow=True, origin=ORIGIN, now=NOW)
    assert [event.reason for event in events("client.pairing_denied")] == ["person_disabled"] * 2


def test_a_token_that_works_is_no_event(alice):
    tokens = paired(alice)
    pair_cli.rotate(tokens.refresh_token, client_id=CLIENT, origin=ORIGIN, now=NOW)
    assert not events("token.refused") and not events("oauth.refused")
