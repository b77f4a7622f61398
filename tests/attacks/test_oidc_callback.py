"""Attacks on the callback: login CSRF, mix-up, code injection. None reaches the token endpoint."""

from __future__ import annotations

import pytest

from federation.errors import OidcRefused
from tests.oidc_kit import Journey, running


@pytest.fixture
def op():
    with running() as provider:
        yield provider


def refused_quietly(journey: Journey, *, callback: dict[str, str] | None = None, **changes) -> OidcRefused:
    """The refusal of an honest callback with `callback` changed ("-" removes), which caused no call at all."""
    request = journey.begin()
    params = {**journey.visit(request), **(callback or {})}
    journey.outbound.calls.clear()
    with pytest.raises(OidcRefused) as caught:
        journey.complete(request, {name: value for name, value in params.items() if value != "-"}, **changes)
    assert journey.outbound.calls == []
    return caught.value


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        ({"state": "-"}, "state_missing"),
        ({"state": ""}, "state_missing"),
        ({"state": "of another browser"}, "state_wrong"),
        ({"state": "é\ud800"}, "state_wrong"),
        ({"iss": "https://evil.example.com"}, "callback_iss_wrong"),
        ({"iss": ""}, "callback_iss_wrong"),
        ({"code": "-"}, "code_missing"),
        ({"code": ""}, "code_missing"),
        ({"code": "c" * 10_000}, "code_missing"),
    ],
)
def test_callback(op, callback, reason):
    assert refused_quietly(Journey(op), callback=callback).reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ""}, "state_missing"),
        ({"nonce": ""}, "nonce_unknown"),
        ({"code_verifier": ""}, "pkce_missing"),
        ({"code_verifier": "short"}, "pkce_missing"),
        ({"code_verifier": "ä" * 50}, "pkce_missing"),
    ],
)
def test_a_caller_that_lost_what_it_should_have_kept(op, changes, reason):
    assert refused_quietly(Journey(op), **changes).reason == reason


def test_issuer_on_the_callback_is_wanted_where_the_provider_promises_it(op):
    op.discovery = {"authorization_response_iss_parameter_supported": True}
    assert refused_quietly(Journey(op), callback={"iss": "-"}).reason == "callback_iss_missing"
    assert Journey(op).sign_in().identity.name == "Alice"


def test_issuer_on_the_callback_is_not_wanted_elsewhere(op):
    op.callback = {"iss": None}
    assert Journey(op).sign_in().identity.name == "Alice"


def test_mix_up_is_seen_before_the_error_is_read(op):
    journey = Journey(op)
    error = refused_quietly(journey, callback={"error": "access_denied", "iss": "https://evil.example.com"})
    assert error.reason == "callback_iss_wrong"


@pytest.mark.parametrize(
    ("given", "kept"), [("access_denied", "access_denied"), ('x"\n<script>', "unprintable"), ("", "unprintable")]
)
def test_error_of_the_provider(op, given, kept):
    error = refused_quietly(Journey(op), callback={"error": given, "error_description": "<b>call 555</b>"})
    assert error.reason == "provider_error"
    assert error.context == {"error": kept}
    assert "555" not in error.public_sentence + error.detail
    assert error.code == "oidc_refused"


def test_code_injection_is_stopped_by_pkce_and_by_the_nonce(op):
    """Mallory's code in Alice's browser: the provider refuses the verifier; one that does not look loses on the nonce."""
    journey = Journey(op)
    mallory, alice = journey.begin(), journey.begin()
    params = {**journey.visit(mallory), "state": alice.state}
    with pytest.raises(OidcRefused) as caught:
        journey.complete(alice, params)
    assert caught.value.reason == "code_refused"

    params = {**journey.visit(mallory), "state": alice.state}
    with pytest.raises(OidcRefused) as caught:
        journey.complete(alice, params, code_verifier=mallory.code_verifier)
    assert caught.value.reason == "nonce_wrong"


def test_no_downgrade_of_pkce(op):
    op.discovery = {"code_challenge_methods_supported": ["plain"]}
    with pytest.raises(OidcRefused) as caught:
        Journey(op).begin()
    assert caught.value.reason == "pkce_unsupported"


def test_a_provider_silent_about_pkce_still_gets_s256(op):
    op.discovery = {"code_challenge_methods_supported": None}
    assert Journey(op).sign_in().identity.name == "Alice"


def test_the_same_sentence_for_every_forgery(op):
    journey = Journey(op)
    forged = refused_quietly(journey, callback={"state": "x"})
    mixed = refused_quietly(journey, callback={"iss": "x"})
    assert forged.public_sentence == mixed.public_sentence
