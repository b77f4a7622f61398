"""The web-identity token: two libraries verify it, and its claims are those that AWS reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jwt as pyjwt
import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from federation.issuer.publish import PublicKey, jwks
from federation.issuer.token import mint_token
from tests.issuer.material import ISSUER, NOW, alices_token, key, signer

ALGORITHMS = ["RS256", "ES256"]


def published():
    return jwks(
        [PublicKey(k.kid, k.algorithm, k.certificate_pem) for k in (key("ES256"), key("RS256", 1), key("RS256"))]
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_verifies_it_with_the_published_keys(algorithm):
    minted = mint_token(alices_token(), signer(algorithm), now=NOW)
    token = joserfc_jwt.decode(minted.token, KeySet.import_key_set(published()), algorithms=[algorithm])
    assert token.header == {"alg": algorithm, "kid": key(algorithm).kid, "typ": "JWT"}
    assert token.claims == {
        "iss": ISSUER,
        "sub": "corp/alice",
        "aud": "sts.amazonaws.com",
        "iat": 1772627415,
        "exp": 1772627715,
        "jti": minted.jti,
        "https://aws.amazon.com/tags": {
            "principal_tags": {"Team": ["shop"], "Department": ["engineering"]},
            "transitive_tag_keys": ["Team"],
        },
        "https://aws.amazon.com/source_identity": "alice-4f2a",
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_verifies_it_with_the_published_keys(algorithm):
    minted = mint_token(alices_token(), signer(algorithm), now=datetime.now(UTC))
    keys = pyjwt.PyJWKSet.from_json(json.dumps(published()))
    claims = pyjwt.decode(
        minted.token, keys[key(algorithm).kid], algorithms=[algorithm], audience="sts.amazonaws.com", issuer=ISSUER
    )
    assert claims["jti"] == minted.jti


def test_another_key_does_not_verify_it():
    minted = mint_token(alices_token(), signer("RS256", 1), now=NOW)
    other = {"keys": [{**signer().public_jwk(), "kid": signer("RS256", 1).kid}]}
    with pytest.raises(BadSignatureError):
        joserfc_jwt.decode(minted.token, KeySet.import_key_set(other), algorithms=["RS256"])


def claims_of(minted):
    return joserfc_jwt.decode(minted.token, KeySet.import_key_set(published()), algorithms=ALGORITHMS).claims


def test_times_are_whole_seconds_and_there_is_no_azp():
    claims = claims_of(mint_token(alices_token(), signer(), now=NOW, lifetime=timedelta(seconds=90)))
    assert type(claims["iat"]) is int
    assert claims["exp"] - claims["iat"] == 90
    assert "azp" not in claims


def test_no_tags_and_no_source_identity_leave_no_claim():
    claims = claims_of(mint_token(alices_token(tags={}, transitive_tags=(), source_identity=""), signer(), now=NOW))
    assert not [name for name in claims if name.startswith("https://aws.amazon.com/")]


def test_tags_in_any_script_survive():
    tags = {"Tëam": "Größe", "名前": "営業 部"}
    claims = claims_of(mint_token(alices_token(tags=tags, transitive_tags=()), signer(), now=NOW))
    assert claims["https://aws.amazon.com/tags"]["principal_tags"] == {k: [v] for k, v in tags.items()}


def test_a_local_issuer_may_be_plain_http_for_a_local_aws():
    assert (
        claims_of(mint_token(alices_token(issuer="http://localhost:8000/issuer"), signer(), now=NOW))["iss"]
        == "http://localhost:8000/issuer"
    )


def test_jti_is_new_each_time_and_the_token_stays_out_of_repr():
    minted = [mint_token(alices_token(), signer(), now=NOW) for _ in range(10)]
    assert len({m.jti for m in minted}) == 10
    assert minted[0].token[-40:] not in repr(minted[0])
