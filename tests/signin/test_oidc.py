"""Alice signs in through OpenID Connect: what is sent, and what Identity comes back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from federation.errors import ConfigurationError, OidcRefused, ProviderUnavailable, UnknownProvider
from federation.identity import Subject
from federation.mapping.rules import ClaimMap
from federation.signin.oidc import end_session_url
from tests.oidc_kit import CLIENT_ID, NOW, REDIRECT_URI, Journey, TestProvider, b64, configured, jwk, running


@pytest.fixture
def op():
    with running() as provider:
        yield provider


def test_alice_signs_in(op):
    journey = Journey(op)
    request = journey.begin()
    verified = journey.complete(request, journey.visit(request))

    person = verified.identity
    assert person.subject == Subject("corp", "", "alice-7")
    assert (person.name, person.email) == ("Alice", "alice@example.com")
    assert person.groups == {"engineering", "everyone"}
    assert person.groups_complete
    assert not person.mfa
    assert person.verified_at == NOW
    assert person.authenticated_at == NOW - timedelta(seconds=60)
    assert person.session_index == verified.session_index == "session-1"
    assert verified.in_response_to == request.state
    assert (verified.name_id.value, verified.name_id.format) == ("alice-7", "")
    assert journey.outbound.paths() == ["/.well-known/openid-configuration", "/token", "/jwks"]


def test_authorization_request(op):
    journey = Journey(op)
    request, other = journey.begin(), journey.begin()
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
    assert query == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid profile email groups",
        "state": request.state,
        "nonce": request.nonce,
        "code_challenge": b64(hashlib.sha256(request.code_verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    secrets = [request.state, request.nonce, request.code_verifier, other.state, other.nonce, other.code_verifier]
    assert len(set(secrets)) == 6
    assert min(map(len, secrets)) >= 43  # 256 bits, base64url
    assert request.code_verifier not in repr(request)


def test_openid_scope_is_always_asked_for_and_an_endpoint_with_a_query_keeps_it(op):
    op.discovery["authorization_endpoint"] = op.issuer + "/authorize?tenant=a"
    journey = Journey(op, scopes=("email",))
    query = parse_qs(urlsplit(journey.begin().url).query)
    assert query["scope"] == ["openid email"]
    assert query["tenant"] == ["a"]


@pytest.mark.parametrize(
    ("ours", "theirs", "secret"),
    [
        ("client_secret_basic", "client_secret_basic", True),
        ("client_secret_post", "client_secret_post", True),
        ("none", "none", True),
        ("client_secret_basic", "none", False),
    ],
)
def test_client_authentication(op, ours, theirs, secret):
    op.auth_method = theirs
    journey = Journey(op, token_endpoint_auth_method=ours)
    journey.secret = journey.secret if secret else ""
    assert journey.sign_in().identity.name == "Alice"


def test_unknown_client_authentication_is_a_configuration_error(op):
    with pytest.raises(ConfigurationError) as caught:
        Journey(op, token_endpoint_auth_method="private_key_jwt").sign_in()
    assert caught.value.reason == "token_endpoint_auth_method_unsupported"


@pytest.mark.parametrize(
    ("alg", "key"),
    [("RS256", "rsa"), ("PS256", "rsa"), ("ES256", "p256"), ("ES384", "p384"), ("ES512", "p521")],
)
def test_every_kind_of_key_verifies(op, alg, key):
    op.alg, op.key, op.keys = alg, key, [jwk("rsa"), jwk("p256"), jwk("p384"), jwk("p521")]
    assert Journey(op).sign_in().identity.name == "Alice"


def test_a_provider_that_names_no_key_and_no_type(op):
    op.keys, op.header = [jwk("rsa", kid=None), jwk("p256")], {"kid": None, "typ": None}
    assert Journey(op).sign_in().identity.name == "Alice"


def test_claims_are_mapped(op):
    op.claims = {
        "sub": "x",
        "oid": "alice-7",
        "mail": ["alice@example.com", "a@example.com"],
        "realm_access": {"roles": ["engineering"]},
        "https://example.com/department": "R&D",
        "teams": ["shop", "search"],
    }
    claims = ClaimMap(
        subject="oid",
        email="mail",
        name="",
        groups="realm_access.roles",
        attributes={"department": "https://example.com/department", "team": "teams", "none": "a.b", "deep": "teams.x"},
    )
    person = Journey(op, claims=claims).sign_in().identity
    assert person.subject.value == "alice-7"
    assert (person.name, person.email) == ("", "alice@example.com")
    assert person.groups == {"engineering"}
    assert person.attributes == {"department": ("R&D",), "team": ("shop", "search"), "none": (), "deep": ()}


@pytest.mark.parametrize(
    ("claims", "mfa"),
    [
        ({"amr": ["pwd", "otp"]}, True),
        ({"acr": "urn:example:mfa"}, True),
        ({"amr": ["pwd"]}, False),
        ({"amr": ["OTP"]}, False),
        ({"acr": "otp urn:example:mfa"}, False),
    ],
)
def test_second_factor(op, claims, mfa):
    op.id_token = claims
    person = Journey(op, claims=ClaimMap(mfa=("otp", "urn:example:mfa"))).sign_in().identity
    assert person.mfa is mfa


def test_without_auth_time_the_token_says_when(op):
    op.id_token = {"auth_time": None, "sid": None}
    person = Journey(op).sign_in().identity
    assert person.authenticated_at == NOW
    assert person.session_index == ""


def test_userinfo_fills_gaps_and_only_gaps(op):
    op.claims = {"sub": "alice-7", "name": "Alice", "groups": None}
    op.userinfo = {
        "sub": "alice-7",
        "name": "Mallory",
        "groups": "engineering",
        "amr": ["mfa"],
        "auth_time": "never",
        "sid": "x",
    }
    journey = Journey(op, claims=ClaimMap(mfa=("mfa",)))
    person = journey.sign_in().identity
    assert person.name == "Alice"
    assert person.groups == {"engineering"}
    assert person.groups_complete
    # How and when she authenticated counts only where it is signed.
    assert not person.mfa
    assert person.authenticated_at == NOW - timedelta(seconds=60)
    assert person.session_index == "session-1"
    assert journey.outbound.paths().count("/userinfo") == 1


def test_userinfo_may_hold_the_mapped_subject_and_many_groups(op):
    op.claims = {"sub": "opaque"}
    op.userinfo = {"sub": "opaque", "employee": "alice-7", "groups": [f"g{n}" for n in range(250)]}
    person = Journey(op, claims=ClaimMap(subject="employee")).sign_in().identity
    assert person.subject.value == "alice-7"
    assert len(person.groups) == 250
    assert person.groups_complete  # the limit of 200 is one of JWTs


def test_userinfo_is_not_asked_when_nothing_is_missing(op):
    op.userinfo = {"sub": "alice-7"}
    journey = Journey(op)
    journey.sign_in()
    assert "/userinfo" not in journey.outbound.paths()


def test_somebody_without_groups_has_none(op):
    op.claims = {"sub": "bob-3", "groups": []}
    person = Journey(op).sign_in().identity
    assert person.groups == frozenset()
    assert person.groups_complete


@pytest.mark.parametrize(("status", "reason"), [(500, "userinfo_failed"), (429, "userinfo_failed")])
def test_userinfo_down(op, status, reason):
    op.claims, op.userinfo, op.statuses = {"sub": "alice-7"}, {"sub": "alice-7"}, {"/userinfo": status}
    with pytest.raises(ProviderUnavailable) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == reason


@pytest.mark.parametrize(("status", "reason"), [(500, "token_endpoint_failed"), (429, "token_endpoint_failed")])
def test_token_endpoint_down(op, status, reason):
    op.statuses = {"/token": status}
    with pytest.raises(ProviderUnavailable) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == reason
    assert op.calls["/token"] == 1  # a code is used once


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"error":"invalid_grant"}', "code_refused"),
        (401, b'{"error":"invalid_client"}', "client_refused"),
        (400, b'{"error":"invalid_scope"}', "token_request_refused"),
        (200, b'{"error":["x"]}', "token_request_refused"),
        (200, b"<html>", "token_response_malformed"),
        (200, b'{"id_token":"a","id_token":"b"}', "token_response_malformed"),
        (200, b"{}", "id_token_missing"),
        (200, b'{"id_token":7}', "id_token_missing"),
        (200, b'{"id_token":"a.b.c","access_token":"x"}', "token_response_malformed"),
        (200, b'{"id_token":"a.b.c","access_token":"x","token_type":"mac"}', "token_response_malformed"),
        (
            200,
            b'{"id_token":"a.b.c","access_token":"x\\r\\nHost: y","token_type":"bearer"}',
            "token_response_malformed",
        ),
        (200, b'{"id_token":"a.b.c","access_token":7,"token_type":"bearer"}', "token_response_malformed"),
    ],
)
def test_token_endpoint_answers(op, status, body, reason):
    op.statuses, op.bodies = {"/token": status}, {"/token": body}
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == reason


def test_wrong_secret(op):
    journey = Journey(op)
    journey.secret = "test-only-wrong"
    with pytest.raises(OidcRefused) as caught:
        journey.sign_in()
    assert caught.value.reason == "client_refused"


def test_disabled_and_foreign_providers_are_closed(op):
    with pytest.raises(UnknownProvider) as caught:
        Journey(op, enabled=False).begin()
    assert caught.value.reason == "provider_disabled"
    journey = Journey(op)
    journey.row = replace(journey.row, oidc=None)
    with pytest.raises(ConfigurationError) as caught_too:
        journey.begin()
    assert caught_too.value.reason == "not_an_oidc_provider"


def test_replay_key_follows_the_token(op):
    journey = Journey(op)
    first, second = journey.sign_in(), journey.sign_in()
    assert first.replay_key != second.replay_key  # no jti: the token itself
    assert len(first.replay_key) == 64
    assert first.replay_until == NOW + timedelta(seconds=300 + 120)
    op.id_token = {"jti": "one", "exp": int(NOW.timestamp()) + 10**6}
    third, fourth = journey.sign_in(), journey.sign_in()
    assert third.replay_key == fourth.replay_key
    assert third.replay_until == NOW + timedelta(seconds=600 + 120)  # never accepted after ten minutes


def test_sign_out_at_the_provider(op):
    journey = Journey(op)
    back = "https://rolegate.example.com/"
    url = end_session_url(journey.row, journey.documents, post_logout_redirect_uri=back, state="s1", now=NOW)
    assert url is not None
    assert url.startswith(op.issuer + "/logout?")
    assert parse_qs(urlsplit(url).query) == {
        "from": ["app"],
        "client_id": [CLIENT_ID],
        "post_logout_redirect_uri": [back],
        "state": ["s1"],
    }
    hinted = end_session_url(
        journey.row, journey.documents, id_token_hint="h.i.nt", post_logout_redirect_uri=back, state="s1", now=NOW
    )
    assert "id_token_hint=h.i.nt" in str(hinted)


def test_no_sign_out_at_a_provider_without_it_or_out_of_reach(op):
    op.discovery = {"end_session_endpoint": None}
    journey = Journey(op)
    assert end_session_url(journey.row, journey.documents, post_logout_redirect_uri=REDIRECT_URI, state="s") is None
    down = configured("http://127.0.0.1:9")
    assert end_session_url(down, journey.documents, post_logout_redirect_uri=REDIRECT_URI, state="s") is None


def test_the_double_is_a_strict_provider(op: TestProvider):
    """The kit itself refuses a second use of a code; else the tests above would prove less than they say."""
    journey = Journey(op)
    request = journey.begin()
    params = journey.visit(request)
    journey.complete(request, params)
    with pytest.raises(OidcRefused) as caught:
        journey.complete(request, params)
    assert caught.value.reason == "code_refused"
