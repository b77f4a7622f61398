"""Attacks on the ID token. Every forgery is otherwise valid; each is refused at its own check, with no call it causes."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from federation.errors import OidcRefused
from federation.signin.oidc_reasons import ALERTS, Reason
from tests.oidc_kit import ALICE, CLIENT_ID, NOW, Journey, TestProvider, b64, half_hash, jwk, private_key, running, sign

INSTANT = int(NOW.timestamp())
QUIET = ["/.well-known/openid-configuration", "/token"]  # the honest calls before the token is looked at


@pytest.fixture(scope="module")
def listening():
    with running() as provider:
        yield provider


@pytest.fixture
def op(listening: TestProvider):
    fresh = TestProvider(issuer=listening.issuer)
    listening.__dict__.update(fresh.__dict__)
    return listening


def refusal(op: TestProvider) -> tuple[str, list[str]]:
    """(reason, paths called) of a sign-in whose token `op` forges."""
    journey = Journey(op)
    with pytest.raises(OidcRefused) as caught:
        journey.sign_in()
    assert caught.value.status == 403
    return caught.value.reason, journey.outbound.paths()


def test_the_baseline_is_accepted(op):
    assert Journey(op).sign_in().identity.subject.value == "alice-7"


# --- header ---


@pytest.mark.parametrize(
    "alg",
    ["none", "None", "NONE", "nOnE", "", None, ["RS256"], {"a": 1}, 7, "HS256", "HS512", "rs256", "EdDSA", "ES256K"],
)
def test_algorithms(op, alg):
    def forge(header: dict[str, Any], claims: dict[str, Any]) -> str:
        return sign({**header, "alg": alg}, claims, alg=alg if alg in ("none", "HS256", "HS512") else "RS256")

    op.forge = forge
    assert refusal(op) == ("alg_forbidden", QUIET)


def test_no_algorithm(op):
    op.forge = lambda header, claims: sign({"kid": "rsa"}, claims, alg="RS256")
    assert refusal(op) == ("alg_forbidden", QUIET)


def test_algorithm_that_the_provider_does_not_use(op):
    op.alg = "RS384"  # ours, but not in the provider's list
    assert refusal(op) == ("alg_forbidden", QUIET)


def test_provider_without_a_list_means_rs256(op):
    op.discovery = {"id_token_signing_alg_values_supported": None}
    op.alg = "PS256"
    assert refusal(op) == ("alg_forbidden", QUIET)


def test_provider_that_allows_only_hmac_and_none(op):
    op.discovery = {"id_token_signing_alg_values_supported": ["HS256", "none"]}
    op.forge = lambda header, claims: sign({**header, "alg": "HS256"}, claims)
    assert refusal(op) == ("alg_forbidden", QUIET)


@pytest.mark.parametrize("name", ["jku", "x5u"])
def test_headers_that_point_to_a_key(op, name):
    op.forge = lambda header, claims: sign(
        {**header, name: op.issuer + "/evil", "kid": "rsa-evil"}, claims, key="rsa-evil"
    )
    assert refusal(op) == ("header_forbidden", QUIET)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwk", "its own"),
        ("x5c", ["MIIB"]),
        ("crit", ["exp"]),
        ("crit", []),
        ("crit", ["b64"]),
        ("b64", False),
        ("zip", "DEF"),
        ("enc", "A128GCM"),
        ("cty", "JWT"),
    ],
)
def test_forbidden_headers(op, name, value):
    op.header = {name: jwk("rsa-evil") if value == "its own" else value}
    assert refusal(op) == ("header_forbidden", QUIET)


@pytest.mark.parametrize(
    "kid",
    [
        ["rsa"],
        {"kid": "rsa"},
        7,
        True,
        "",
        "../../../../dev/null",
        "/dev/null",
        "keys/rsa",
        "..",
        "file:///etc/passwd",
        "https://evil.example.com/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "rsa\n",
        "rsa\x00",
        "rsa' OR '1'='1",
        "rsa|id",
        "r" * 201,
        "ｒｓａ",
    ],
)
def test_key_ids(op, kid):
    op.header = {"kid": kid}
    assert refusal(op) == ("kid_invalid", QUIET)


def test_a_key_id_that_is_a_standard_base64_digest_is_fine(op):
    kid = "/8rsaM+GfLmz/8QGB8b5NMgJvbV1PtOSZ0yTzxB6Vk="
    op.keys, op.header = [jwk("rsa", kid=kid)], {"kid": kid}
    assert Journey(op).sign_in().identity.name == "Alice"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "", 7, ["JWT"], None])
def test_other_kinds_of_token(op, typ):
    op.forge = lambda header, claims: sign({**header, "typ": typ}, claims)
    assert refusal(op) == ("typ_wrong", QUIET)


def test_a_header_parameter_twice(op):
    op.forge = lambda header, claims: sign(b'{"alg":"none","kid":"rsa","alg":"RS256"}', claims, alg="RS256")
    assert refusal(op) == ("duplicate_header", QUIET)


# --- form ---


@pytest.mark.parametrize(
    "token",
    [
        "abc",
        "a.b",
        "..",
        "a.b.c.d.e",
        b64(b'{"alg":"RS256"}') + ".a.b.c.d",
        b64(b"[]") + ".e30.x",
        b64(b"[" * 20000) + ".e30.x",
        b64(b'{"alg":NaN}') + ".e30.x",
        b64(b'{"alg":"RS256"}') + "=.e30.x",
        b64(b"\xff") + ".e30.x",
        b64(b'{"alg":"RS256","kid":"rsa"}') + ".é.x",
    ],
)
def test_malformed(op, token):
    op.forge = lambda header, claims: token
    assert refusal(op) == ("token_malformed", QUIET)


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"{", b'{"exp":Infinity}', b'{"a":' + b"[" * 20000, b"\xff\xfe{}"])
def test_signed_rubbish(op, raw):
    op.forge = lambda header, claims: sign(header, raw)
    assert refusal(op)[0] == "token_malformed"


def test_size(op):
    op.claims["padding"] = "x" * 70_000
    assert refusal(op) == ("token_too_large", QUIET)


# --- signature and keys ---


def test_changed_payload(op):
    def forge(header: dict[str, Any], claims: dict[str, Any]) -> str:
        honest = sign(header, claims).split(".")
        return ".".join([honest[0], b64(json.dumps({**claims, "groups": ["admins"]}).encode()), honest[2]])

    op.forge = forge
    assert refusal(op) == ("signature_invalid", [*QUIET, "/jwks"])


def test_stripped_signature(op):
    op.forge = lambda header, claims: sign(header, claims).rpartition(".")[0] + "."
    assert refusal(op) == ("signature_invalid", [*QUIET, "/jwks"])


def test_signed_by_another_key_under_a_known_key_id(op):
    op.forge = lambda header, claims: sign(header, claims, key="rsa-evil")
    assert refusal(op) == ("signature_invalid", [*QUIET, "/jwks"])


def test_ecdsa_signature_of_zeros(op):
    op.alg, op.key, op.keys = "ES256", "p256", [jwk("p256")]
    op.forge = lambda header, claims: sign(header, claims, key="p256").rpartition(".")[0] + "." + b64(bytes(64))
    assert refusal(op) == ("signature_invalid", [*QUIET, "/jwks"])


@pytest.mark.parametrize(
    ("published", "alg"),
    [
        ([jwk("p256", kid="rsa")], "RS256"),  # key type
        ([jwk("p384", kid="rsa")], "ES256"),  # curve
        ([jwk("rsa", alg="PS256")], "RS256"),  # the key's own alg
        ([jwk("rsa")], "ES256"),
    ],
)
def test_key_of_another_kind(op, published, alg):
    op.keys = published
    op.forge = lambda header, claims: sign({**header, "alg": alg}, claims, alg="RS256")
    assert refusal(op) == ("key_unfit", [*QUIET, "/jwks"])


def test_weak_rsa_key_is_no_key(op):
    op.keys, op.key = [jwk("rsa1024"), jwk("rsa")], "rsa1024"
    assert refusal(op) == ("kid_unknown", [*QUIET, "/jwks"])


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "AQAB"},
        {"kty": "oct", "k": "AQAB"},
        {"n": "!"},
        {"n": 7},
        {"kid": 7},
    ],
)
def test_key_that_is_not_for_verifying(op, changes):
    op.keys = [
        jwk("rsa", **changes),
        jwk("p256"),
        "not a key",
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "rsa"},
    ]  # type: ignore[list-item]
    assert refusal(op) == ("kid_unknown", [*QUIET, "/jwks"])


def test_public_key_as_hmac_secret_published_as_a_symmetric_key(op):
    """RS -> HS, with the provider's own key set talked into helping."""
    op.keys = [{"kty": "oct", "kid": "rsa", "k": "AQAB", "alg": "HS256"}, jwk("p256")]
    op.forge = lambda header, claims: sign({**header, "alg": "HS256"}, claims)
    assert refusal(op) == ("alg_forbidden", QUIET)


@pytest.mark.parametrize("keys", [["rsa", "rsa-new"], ["p256"], []])
def test_no_key_id_where_it_is_not_clear_which_key(op, keys):
    op.keys, op.header = [jwk(name) for name in keys], {"kid": None}
    assert refusal(op) == ("kid_missing", [*QUIET, "/jwks"])


# --- claims ---


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": None}, "issuer_missing"),
        ({"iss": "https://evil.example.com"}, "issuer_mismatch"),
        ({"iss": lambda issuer: [issuer]}, "issuer_mismatch"),
        ({"iss": lambda issuer: issuer + "/"}, "issuer_mismatch"),
        ({"iss": lambda issuer: issuer + ".evil.example.com"}, "issuer_mismatch"),
        ({"aud": None}, "audience_missing"),
        ({"aud": "other"}, "audience_wrong"),
        ({"aud": "rolegate-staging"}, "audience_wrong"),
        ({"aud": "Rolegate"}, "audience_wrong"),
        ({"aud": []}, "audience_wrong"),
        ({"aud": ["other"]}, "audience_wrong"),
        ({"aud": [CLIENT_ID, 7], "azp": CLIENT_ID}, "audience_wrong"),
        ({"aud": {CLIENT_ID: True}}, "audience_wrong"),
        ({"aud": "other", "azp": CLIENT_ID}, "audience_wrong"),
        ({"aud": ["other"], "azp": CLIENT_ID}, "audience_wrong"),
        ({"aud": [CLIENT_ID, "other"]}, "azp_missing"),
        ({"aud": [CLIENT_ID, CLIENT_ID]}, "azp_missing"),
        ({"aud": [CLIENT_ID, "other"], "azp": "other"}, "azp_wrong"),
        ({"azp": "other"}, "azp_wrong"),
        ({"azp": [CLIENT_ID]}, "azp_wrong"),
        ({"exp": None}, "time_missing"),
        ({"iat": None}, "time_missing"),
        ({"exp": "9999999999"}, "time_malformed"),
        ({"exp": True}, "time_malformed"),
        ({"exp": 1e300}, "time_malformed"),
        ({"exp": -1}, "time_malformed"),
        ({"iat": [INSTANT]}, "time_malformed"),
        ({"nbf": "0"}, "time_malformed"),
        ({"auth_time": "0"}, "time_malformed"),
        ({"iat": INSTANT - 120, "exp": INSTANT - 60}, "expired"),
        ({"iat": INSTANT + 61}, "not_yet_valid"),
        ({"nbf": INSTANT + 61}, "not_yet_valid"),
        ({"auth_time": INSTANT + 61}, "not_yet_valid"),
        ({"iat": INSTANT - 601}, "too_old"),
        ({"sub": None}, "subject_missing"),
        ({"sub": ""}, "subject_malformed"),
        ({"sub": 7}, "subject_malformed"),
        ({"sub": ["alice-7"]}, "subject_malformed"),
        ({"sub": "a" * 256}, "subject_malformed"),
        ({"sub": "alice-7\x00"}, "subject_malformed"),
        ({"sub": "alice-7\ud800"}, "subject_malformed"),
        ({"nonce": None}, "nonce_missing"),
        ({"nonce": ""}, "nonce_wrong"),
        ({"nonce": "of another sign-in"}, "nonce_wrong"),
        ({"nonce": ["x"]}, "nonce_wrong"),
        ({"nonce": "\ud800"}, "nonce_wrong"),
        ({"at_hash": half_hash("another token")}, "at_hash_wrong"),
        ({"at_hash": ""}, "at_hash_wrong"),
        ({"at_hash": 7}, "at_hash_wrong"),
        ({"c_hash": half_hash("another code")}, "c_hash_wrong"),
        ({"jti": 7}, "jti_malformed"),
        ({"jti": "j" * 256}, "jti_malformed"),
        ({"sid": 7}, "claim_malformed"),
        ({"groups": {"admins": True}}, "claim_malformed"),
        ({"groups": ["engineering", 7]}, "claim_malformed"),
        ({"groups": ["engineering", None]}, "claim_malformed"),
        ({"groups": ["engineering", ["admins"]]}, "claim_malformed"),
        ({"groups": ["contractors\x00"]}, "claim_malformed"),
        ({"groups": ["contractors\udfff"]}, "claim_malformed"),
        ({"email": True}, "claim_malformed"),
        ({"amr": [1]}, "claim_malformed"),
        # As SAML has it: what nobody sees, and makes one name look like another or ends a line of a log.
        ({"sub": "alice-7\u202e"}, "subject_malformed"),
        *[
            ({name: f"engi{character}neering"}, "control_character")
            for name in ("groups", "email", "name")
            for character in ("\t", "\n", "\r", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ufeff")
        ],
        ({"groups": ["engineering", "x" * 1_025]}, "value_too_long"),
        ({"name": "x" * 1_025}, "value_too_long"),
        ({"groups": [str(number) for number in range(2_001)]}, "too_many_groups"),
    ],
)
def test_claims(op, changes, reason):
    op.id_token = {name: value(op.issuer) if callable(value) else value for name, value in changes.items()}
    assert refusal(op) == (reason, [*QUIET, "/jwks"])


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID},
        {"azp": CLIENT_ID},
        {"exp": INSTANT - 59},
        {"iat": INSTANT + 60},
        {"iat": INSTANT - 600},
        {"nbf": INSTANT + 60, "iat": INSTANT - 0.5},
        {"at_hash": None},
        {"groups": ["x" * 1_024, "a,b", " spaced ", "\U0001f469\u200d\U0001f680"]},
    ],
)
def test_just_inside_the_limits(op, changes):
    op.id_token = changes
    assert Journey(op).sign_in().identity.name == "Alice"


@pytest.mark.parametrize(
    "doubled",
    ['"sub": "carol-1", ', '"groups": ["admins"], ', '"address": {"a": 1, "a": 2}, ', '"\\u0073ub": "carol-1", '],
)
def test_a_claim_twice(op, doubled):
    op.forge = lambda header, claims: sign(header, ("{" + doubled + json.dumps(claims)[1:]).encode())
    assert refusal(op) == ("duplicate_claim", [*QUIET, "/jwks"])


def test_access_token_swapped_or_taken_away(op):
    op.tokens = {"access_token": "test-only-of-mallory"}
    assert refusal(op)[0] == "at_hash_wrong"
    op.tokens = {"access_token": None}
    assert refusal(op)[0] == "at_hash_wrong"


def test_subject_is_compared_letter_by_letter(op):
    digests = set()
    for subject in ("alice-7", "Alice-7", "ALICE-7", "alice-7 ", "ａlice-7", "alicé-7", "alice\u0301-7"):
        op.claims["sub"] = subject
        digests.add(Journey(op).sign_in().identity.subject.digest)
    assert len(digests) == 7


def test_pyjwt_would_have_signed_the_same(op):
    """The forge agrees with a library that nobody here wrote: its tokens are otherwise valid."""
    op.forge = lambda header, claims: jwt.encode(claims, private_key("rsa"), algorithm="RS256", headers={"kid": "rsa"})
    assert Journey(op).sign_in().identity.name == "Alice"


@pytest.mark.parametrize(
    ("spoil", "reason", "alert"),
    [
        ({"header": {"alg": "none"}}, "alg_forbidden", True),
        ({"header": {"typ": "at+jwt"}}, "typ_wrong", True),
        ({"keys": [jwk("rsa-other", kid="rsa")]}, "signature_invalid", True),
        ({"id_token": {"nonce": "of another sign-in"}}, "nonce_wrong", True),
        ({"auth_method": "none"}, "client_refused", True),  # nobody can sign in any more: the secret has ended
        ({"id_token": {"aud": "other"}}, "audience_wrong", False),
        ({"id_token": {"exp": INSTANT - 3600}}, "expired", False),
        ({"claims": {**ALICE, "groups": [7]}}, "claim_malformed", False),
    ],
)
def test_an_attack_raises_an_alert_and_a_misconfiguration_does_not(op, spoil, reason, alert):
    op.__dict__.update(spoil)
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert (caught.value.reason, caught.value.context["alert"]) == (reason, alert)
    assert (Reason(reason) in ALERTS) is alert
