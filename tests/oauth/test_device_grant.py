"""The device grant (RFC 8628): a code that a person types, and a device that polls."""

import pytest
from django.test import Client

from federation.flows import pair_cli
from federation.models.clients import DeviceGrant, TokenFamily
from tests.oauth.pairing import CLIENT, DEVICE_CODE, NOW, ORIGIN, events, person, seconds


def begin(scope: str = "") -> pair_cli.DeviceStart:
    return pair_cli.begin_device(client_id=CLIENT, scope=scope, origin=ORIGIN, now=NOW)


def decide(who, code: str, *, allow: bool = True, after: float = 1) -> None:
    pair_cli.decide_device(code, person_id=who.pk, allow=allow, origin=ORIGIN, now=NOW + seconds(after))


def poll(start, after: float, **changes) -> pair_cli.Tokens:
    values = {"client_id": CLIENT, "origin": ORIGIN, "now": NOW + seconds(after)}
    return pair_cli.poll_device(start.device_code, **{**values, **changes})


def refusal(start, after: float, **changes) -> pair_cli.GrantRefused:
    with pytest.raises(pair_cli.GrantRefused) as caught:
        poll(start, after, **changes)
    return caught.value


def find(who, code: str, after: float = 1) -> pair_cli.DeviceRequest:
    return pair_cli.find_device(code, person_id=who.pk, origin=ORIGIN, now=NOW + seconds(after))


def typed(who, code: str, after: float = 1) -> str:
    with pytest.raises(pair_cli.UserCodeRefused) as caught:
        find(who, code, after)
    return caught.value.reason


def test_allowed_the_device_gets_tokens_once(alice):
    start = begin()
    assert refusal(start, 5).oauth_error == "authorization_pending"
    decide(alice, start.user_code, after=6)
    tokens = poll(start, 10)
    assert pair_cli.authenticate(tokens.access_token, now=NOW + seconds(11)).person_id == alice.pk
    assert refusal(start, 15).reason == "device_code_reused"
    assert [event.outcome for event in events("client.pairing_allowed")] == ["ok"]
    (paired,) = events("client.paired")
    assert paired.data["grant"] == "device_code"


def test_denied_the_device_gets_nothing(alice):
    start = begin()
    decide(alice, start.user_code, allow=False)
    error = refusal(start, 5)
    assert (error.oauth_error, error.reason) == ("access_denied", "device_denied")
    assert [event.reason for event in events("client.pairing_denied")] == ["denied_by_person"]
    assert not TokenFamily.objects.exists()


def test_polling_too_fast_slows_down_for_good(alice):
    start = begin()
    assert refusal(start, 5).oauth_error == "authorization_pending"
    assert refusal(start, 7).oauth_error == "slow_down"
    assert DeviceGrant.objects.get().interval == 10
    assert refusal(start, 13).oauth_error == "slow_down"
    assert refusal(start, 28).oauth_error == "authorization_pending"


def test_a_poll_that_arrives_a_little_early_is_on_time(alice):
    start = begin()
    refusal(start, 5)
    assert refusal(start, 9.2).oauth_error == "authorization_pending"


def test_after_ten_minutes_it_is_over_for_both_sides(alice):
    start = begin()
    assert start.expires_in == 600
    assert typed(alice, start.user_code, after=600) == "user_code_unknown"
    assert refusal(start, 600).oauth_error == "expired_token"


def test_allowed_but_fetched_too_late_is_over_too(alice):
    start = begin()
    decide(alice, start.user_code)
    assert refusal(start, 600).oauth_error == "expired_token"


def test_another_client_cannot_fetch_it(alice):
    start = begin()
    decide(alice, start.user_code)
    assert refusal(start, 5, client_id="other").reason == "device_code_unknown"


@pytest.mark.parametrize(
    ("change", "reason"), [({"active": False}, "person_disabled"), ({"session_epoch": 1}, "session_ended")]
)
def test_a_person_who_lost_access_before_the_device_came_gives_it_none(alice, change, reason):
    start = begin()
    decide(alice, start.user_code)
    for name, value in change.items():
        setattr(alice, name, value)
    alice.save()
    assert refusal(start, 5).reason == reason
    assert not TokenFamily.objects.exists()


def test_a_disabled_person_cannot_decide(alice):
    start = begin()
    alice.active = False
    alice.save()
    with pytest.raises(pair_cli.GrantRefused) as caught:
        decide(alice, start.user_code)
    assert caught.value.reason == "person_disabled"


def test_a_decision_is_final(alice, bob):
    start = begin()
    decide(alice, start.user_code, allow=False)
    with pytest.raises(pair_cli.UserCodeRefused) as caught:
        decide(bob, start.user_code)
    assert caught.value.reason == "user_code_unknown"
    assert refusal(start, 5).oauth_error == "access_denied"


def test_a_decision_taken_meanwhile_in_another_window_stands(alice, monkeypatch):
    start = begin()
    look_up = pair_cli._look_up

    def slow_look_up(*args, **kwargs):
        grant = look_up(*args, **kwargs)
        DeviceGrant.objects.update(status="denied")
        return grant

    monkeypatch.setattr(pair_cli, "_look_up", slow_look_up)
    with pytest.raises(pair_cli.UserCodeRefused) as caught:
        decide(alice, start.user_code)
    assert caught.value.reason == "already_decided"
    assert DeviceGrant.objects.get().status == "denied"


# --- The code that is typed ---------------------------------------------------------------------------


def test_what_a_person_is_shown(alice):
    start = begin("credentials")
    asked = find(alice, start.user_code)
    assert asked.client.name == "Rolegate command line"
    assert (asked.address, asked.user_agent, asked.scope) == ("192.0.2.7", "rolegate/0.1 (alice-laptop)", "credentials")
    assert asked.created == NOW


@pytest.mark.parametrize(
    "write", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' – ')} "]
)
def test_case_spaces_and_dashes_do_not_count(alice, write):
    assert find(alice, write(begin().user_code)).client.id == CLIENT


@pytest.mark.parametrize("code", ["", "AAAA-AAAA", "BCDF-GHJ", "BCDF-GHJKL", "\x00", "BCDF-GHJ\u212a"])
def test_what_cannot_be_a_code_is_wrong(alice, code):
    assert typed(alice, code) == "user_code_unknown"


def test_five_wrong_codes_and_the_right_one_comes_too_late(alice):
    start = begin()
    for _ in range(5):
        assert typed(alice, "BCDF-GHJK") == "user_code_unknown"
    assert typed(alice, start.user_code) == "too_many_user_codes"
    with pytest.raises(pair_cli.TooManyUserCodes) as caught:
        decide(alice, start.user_code)
    assert caught.value.retry_after == 600
    assert refusal(start, 5).oauth_error == "authorization_pending"


def test_wrong_codes_count_for_the_one_who_types_them_and_for_ten_minutes(alice, bob):
    for _ in range(5):
        typed(alice, "BCDF-GHJK")
    start = begin()
    assert find(bob, start.user_code).client.id == CLIENT
    later = pair_cli.begin_device(client_id=CLIENT, scope="", origin=ORIGIN, now=NOW + seconds(601))
    assert find(alice, later.user_code, after=602).client.id == CLIENT


def test_codes_that_collide_are_made_anew(db, monkeypatch):
    taken = begin().user_code.replace("-", "")
    letters = iter([*taken, *taken, *"BCDFGHJK"])
    monkeypatch.setattr(pair_cli.secrets, "choice", lambda _: next(letters))
    assert begin().user_code == "BCDF-GHJK"


def test_a_generator_that_only_repeats_itself_is_an_error_not_a_shared_code(db, monkeypatch):
    monkeypatch.setattr(pair_cli.secrets, "choice", lambda _: "B")
    begin()
    with pytest.raises(pair_cli.IntegrityError):
        begin()


@pytest.mark.parametrize(
    ("changes", "reason"), [({"client_id": "other"}, "unknown_client"), ({"scope": "all"}, "unknown_scope")]
)
def test_a_wrong_start(db, changes, reason):
    with pytest.raises(pair_cli.BadRequest) as caught:
        pair_cli.begin_device(**{"client_id": CLIENT, "scope": "", **changes}, origin=ORIGIN, now=NOW)
    assert caught.value.reason == reason


# --- Over HTTP --------------------------------------------------------------------------------------


def start_over_http(**body) -> dict:
    response = Client(headers={"user-agent": "rolegate/0.1 (\u202ebox)"}).post(
        "/oauth/device_authorization", {"client_id": CLIENT, **body}
    )
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    return response.json()


def test_the_device_is_told_where_to_send_the_person_and_offers_no_filled_in_link(db, settings):
    start = start_over_http()
    assert start["verification_uri"] == f"{settings.ROLEGATE_URL}/device/"
    assert "verification_uri_complete" not in start
    assert (start["expires_in"], start["interval"]) == (600, 5)


def test_an_unknown_scope_is_invalid_scope(client, db):
    response = client.post("/oauth/device_authorization", {"client_id": CLIENT, "scope": "all"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


def test_the_page_asks_for_the_code_and_ignores_one_in_the_link(client, alice):
    start = start_over_http()
    client.force_login(alice)
    answer = client.get("/device/", {"user_code": start["user_code"]}, follow=True)
    assert answer.redirect_chain == [("/device/", 302)]
    page = answer.content.decode()
    assert start["user_code"] not in page
    assert start["user_code"].replace("-", "") not in page


def test_the_page_wants_a_signed_in_person(client, db):
    assert client.get("/device/")["Location"] == "/signin/?next=/device/"
    assert client.post("/device/", {"user_code": "x", "decision": "allow"})["Location"] == "/signin/?next=/device/"


def test_the_page_wants_a_csrf_token(alice):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert (
        strict.post("/device/", {"user_code": start_over_http()["user_code"], "decision": "allow"}).status_code == 403
    )
    assert DeviceGrant.objects.get().status == "pending"


def test_the_whole_way_in_the_browser(client, alice):
    start = start_over_http()
    client.force_login(alice)
    page = client.post("/device/", {"user_code": start["user_code"].lower()}).content.decode()
    for shown in (
        "Rolegate command line",
        "127.0.0.1",
        "rolegate/0.1",
        start["user_code"],
        "Alice",
        "temporary AWS credentials",
        "UTC",
    ):
        assert shown in page, shown
    assert "\u202e" not in page
    assert page.index('value="deny"') < page.index('value="allow"')
    poll_body = {"grant_type": DEVICE_CODE, "client_id": CLIENT, "device_code": start["device_code"]}
    assert Client().post("/oauth/token", poll_body).json()["error"] == "authorization_pending"
    assert Client().post("/oauth/token", poll_body).json()["error"] == "slow_down"
    done = client.post("/device/", {"user_code": start["user_code"], "decision": "allow"})
    assert "Paired" in done.content.decode()
    tokens = Client().post("/oauth/token", poll_body).json()
    assert client.get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {tokens['access_token']}").json()["id"] == str(alice.pk)


def test_denying_in_the_browser(client, alice):
    start = start_over_http()
    client.force_login(alice)
    done = client.post("/device/", {"user_code": start["user_code"], "decision": "deny"})
    assert "Denied" in done.content.decode()
    poll_body = {"grant_type": DEVICE_CODE, "client_id": CLIENT, "device_code": start["device_code"]}
    assert Client().post("/oauth/token", poll_body).json()["error"] == "access_denied"


def test_wrong_codes_in_the_browser(client, alice):
    client.force_login(alice)
    answers = [client.post("/device/", {"user_code": "BCDF-GHJK"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert "user_code_refused" in answers[0].content.decode()
    assert answers[5]["Retry-After"] == "600"


def test_mallory_cannot_decide_faster_than_the_limit(client, db):
    """Ten looks a minute and person, whatever is typed."""
    mallory = person("mallory")
    start = begin()
    for _ in range(10):
        find(mallory, start.user_code)
    with pytest.raises(pair_cli.RolegateError) as caught:
        find(mallory, start.user_code)
    assert caught.value.code == "rate_limited"
