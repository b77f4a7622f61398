"""Back-channel logout tokens: anyone can post one, so each rule of Back-Channel Logout 1.0 section 2.6 is held."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.errors import OidcRefused, UnknownProvider
from federation.signin.oidc import LogoutToken, verify_logout_token
from tests.oidc_kit import NOW, Journey, configured, running, sign

INSTANT = int(NOW.timestamp())
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def op():
    with running() as provider:
        yield provider


def verified(op, token: str) -> LogoutToken:
    journey = Journey(op)
    return verify_logout_token(journey.row, journey.documents, token, now=NOW)


def test_logout_of_alice(op):
    token = verified(op, op.logout_token())
    assert token == LogoutToken("alice-7", "session-1", "logout-1", NOW + timedelta(seconds=120 + 120))


@pytest.mark.parametrize("typ", ["logout+jwt", "JWT", "jwt", None])
def test_types(op, typ):
    op.header = {"typ": typ}
    assert verified(op, op.logout_token(sub=None)).sub == ""
    assert verified(op, op.logout_token(sid=None)).sid == ""


@pytest.mark.parametrize("typ", ["at+jwt", "secevent+jwt", ""])
def test_wrong_types(op, typ):
    op.header = {"typ": typ}
    with pytest.raises(OidcRefused) as caught:
        verified(op, op.logout_token())
    assert caught.value.reason == "typ_wrong"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "n"}, "logout_nonce_present"),
        ({"nonce": ""}, "logout_nonce_present"),
        ({"events": None}, "logout_event_missing"),
        ({"events": {}}, "logout_event_missing"),
        ({"events": [EVENT]}, "logout_event_missing"),
        ({"events": {EVENT: True}}, "logout_event_missing"),
        ({"events": {EVENT + "/": {}}}, "logout_event_missing"),
        ({"sub": None, "sid": None}, "logout_target_missing"),
        ({"sub": None, "sid": ""}, "logout_target_missing"),
        ({"sub": ""}, "subject_malformed"),
        ({"sub": 7}, "subject_malformed"),
        ({"sid": 7}, "claim_malformed"),
        ({"jti": None}, "jti_missing"),
        ({"jti": ""}, "jti_missing"),
        ({"jti": 7}, "jti_malformed"),
        ({"iss": "https://evil.example.com"}, "issuer_mismatch"),
        ({"aud": "other"}, "audience_wrong"),
        ({"aud": ["rolegate", "other"]}, "azp_missing"),
        ({"exp": None}, "time_missing"),
        ({"iat": None}, "time_missing"),
        ({"exp": INSTANT - 60}, "expired"),
        ({"iat": INSTANT - 601}, "too_old"),
        ({"iat": INSTANT + 61}, "not_yet_valid"),
    ],
)
def test_rules(op, changes, reason):
    with pytest.raises(OidcRefused) as caught:
        verified(op, op.logout_token(**changes))
    assert caught.value.reason == reason


def test_an_id_token_ends_no_session(op):
    with pytest.raises(OidcRefused) as caught:
        verified(op, op.mint(op.token_claims(nonce="n")))
    assert caught.value.reason == "logout_event_missing"


def test_a_logout_token_is_no_sign_in(op):
    op.forge = lambda header, claims: sign({**header, "typ": "logout+jwt"}, {**claims, "events": {EVENT: {}}})
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == "typ_wrong"


@pytest.mark.parametrize("alg", ["none", "HS256"])
def test_unsigned(op, alg):
    op.header = {"alg": alg}
    with pytest.raises(OidcRefused) as caught:
        verified(op, op.logout_token())
    assert caught.value.reason == "alg_forbidden"


def test_forged(op):
    op.forge = lambda header, claims: sign(header, claims, key="rsa-evil")
    with pytest.raises(OidcRefused) as caught:
        verified(op, op.logout_token())
    assert caught.value.reason == "signature_invalid"


def test_disabled_provider(op):
    journey = Journey(op)
    with pytest.raises(UnknownProvider):
        verify_logout_token(configured(op.issuer, enabled=False), journey.documents, op.logout_token(), now=NOW)
