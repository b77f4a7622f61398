"""Group overage: "some were left out" is never read as "none", and no URL out of a token or answer is followed."""

from __future__ import annotations

import pytest

from federation.errors import OidcRefused
from federation.mapping.rules import ClaimMap
from tests.oidc_kit import Journey, running


@pytest.fixture
def op():
    with running() as provider:
        yield provider


@pytest.mark.parametrize(
    "claims",
    [
        {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "{issuer}/evil"}}},
        {"_claim_names": {"memberOf": "src1"}, "_claim_sources": {"src1": {"JWT": "a.b.c"}}},
        {"_claim_names": "groups"},
        {"_claim_names": []},
        {"hasgroups": True},
        {"hasgroups": "true"},
        {"hasgroups": ["x"]},
        {"memberOf": [f"g{n}" for n in range(200)]},
        {"memberOf": ["same"] * 200},
        {"memberOf": ["engineering"], "hasgroups": True},
    ],
)
def test_overage(op, claims):
    if "_claim_sources" in claims:
        sources = {"src1": {"endpoint": op.issuer + "/evil", "access_token": "x"}}
        claims = {**claims, "_claim_sources": sources}
    op.claims = {"sub": "alice-7", "name": "Alice", "email": "a@example.com", **claims}
    op.userinfo = {"sub": "alice-7", "memberOf": ["admins"]}
    journey = Journey(op, claims=ClaimMap(groups="memberOf"))
    person = journey.sign_in().identity
    assert not person.groups_complete
    assert "admins" not in person.groups
    assert journey.outbound.paths() == ["/.well-known/openid-configuration", "/token", "/jwks"]


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": [f"g{n}" for n in range(199)]},
        {"groups": ["g"], "hasgroups": False},
        {"groups": ["g"], "hasgroups": "false"},
        {"groups": ["g"], "_claim_names": {"address": "src1"}},
    ],
)
def test_not_overage(op, claims):
    op.claims.update(claims)
    person = Journey(op).sign_in().identity
    assert person.groups_complete
    assert person.groups == set(claims["groups"])


def test_overage_said_by_userinfo(op):
    op.claims = {"sub": "alice-7"}
    op.userinfo = {
        "sub": "alice-7",
        "_claim_names": {"groups": "s"},
        "_claim_sources": {"s": {"endpoint": op.issuer + "/evil"}},
    }
    journey = Journey(op)
    assert not journey.sign_in().identity.groups_complete
    assert "/evil" not in journey.outbound.paths()


@pytest.mark.parametrize("subject", ["mallory-1", None, "Alice-7", ["alice-7"], ""])
def test_userinfo_about_somebody_else(op, subject):
    op.claims, op.userinfo = {"sub": "alice-7"}, {"sub": subject, "groups": ["admins"]}
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == "userinfo_subject_mismatch"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"{}", "userinfo_refused"),
        (403, b"{}", "userinfo_refused"),
        (200, b"eyJ.eyJ.x", "userinfo_malformed"),
        (200, b'{"sub":"mallory-1","sub":"alice-7"}', "userinfo_malformed"),
        (200, b'{"sub":"alice-7","groups":["admins",1]}', "claim_malformed"),
        (200, b'{"sub":"alice-7","groups":{"admins":1}}', "claim_malformed"),
    ],
)
def test_userinfo_answers(op, status, body, reason):
    op.claims, op.userinfo = {"sub": "alice-7"}, {}
    op.statuses, op.bodies = {"/userinfo": status}, {"/userinfo": body}
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == reason


def test_userinfo_without_an_access_token(op):
    op.claims, op.userinfo, op.tokens = {"sub": "alice-7"}, {"sub": "alice-7"}, {"access_token": None}
    op.id_token = {"at_hash": None}
    with pytest.raises(OidcRefused) as caught:
        Journey(op).sign_in()
    assert caught.value.reason == "access_token_missing"
