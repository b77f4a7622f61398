"""The discovery document: what is taken from it, and what makes it worthless."""

from __future__ import annotations

import json

import pytest

from federation.errors import ProviderUnavailable
from federation.net import Answer
from federation.signin.oidc import Discovery, ProviderDocumentRefused, fetch_discovery
from tests.oidc_kit import NOW

ISSUER = "https://login.example.com/t/v2.0"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example.com/authorize",
    "token_endpoint": "https://login.example.com/token",
    "jwks_uri": "https://keys.example.com/jwks",
}


def fetched(document: object, issuer: str = ISSUER, status: int = 200) -> Discovery:
    def request(method: str, url: str, **options: object) -> Answer:
        assert (method, url) == ("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        return Answer(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())

    return fetch_discovery(issuer, now=NOW, request=request)


def test_the_least_that_a_provider_says():
    assert fetched(DOCUMENT) == Discovery(
        issuer=ISSUER,
        authorization_endpoint="https://login.example.com/authorize",
        token_endpoint="https://login.example.com/token",
        jwks_uri="https://keys.example.com/jwks",
        signing_algorithms=frozenset({"RS256"}),
        pkce_s256=True,
        issuer_parameter=False,
    )


def test_everything_that_is_used():
    discovery = fetched(
        {
            **DOCUMENT,
            "userinfo_endpoint": "https://login.example.com/userinfo",
            "end_session_endpoint": "https://login.example.com/logout",
            "authorization_response_iss_parameter_supported": True,
            "id_token_signing_alg_values_supported": ["none", "HS256", "ES256", "PS512", "EdDSA"],
            "code_challenge_methods_supported": ["plain"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
    )
    assert discovery.userinfo_endpoint.endswith("/userinfo")
    assert discovery.end_session_endpoint.endswith("/logout")
    assert discovery.issuer_parameter
    assert not discovery.pkce_s256
    assert discovery.signing_algorithms == {"ES256", "PS512"}
    assert discovery.token_endpoint_auth_methods == ("client_secret_post",)


def test_issuer_with_a_slash_at_its_end():
    issuer = "https://login.example.com/"
    assert fetched({**DOCUMENT, "issuer": issuer}, issuer).issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        None,
        "",
        ISSUER + "/",
        "https://LOGIN.example.com/t/v2.0",
        "https://login.example.com/{tenantid}/v2.0",
        [ISSUER],
        "https://evil.example.com",
    ],
)
def test_issuer_must_match_exactly(issuer):
    with pytest.raises(ProviderDocumentRefused) as caught:
        fetched({**DOCUMENT, "issuer": issuer})
    assert caught.value.reason == "document_issuer_mismatch"


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/x",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:6379/",
        "http://localhost/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//evil.example.com",
        "/relative",
        "https://user:pass@login.example.com/",
        "https://login.example.com/#fragment",
        "https://login.example.com:99999/",
        "https://",
    ],
)
@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"]
)
def test_endpoints(name, url):
    with pytest.raises(ProviderDocumentRefused) as caught:
        fetched({**DOCUMENT, name: url})
    assert caught.value.reason == "endpoint_forbidden"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint": None},
        {"token_endpoint": ""},
        {"jwks_uri": ["https://login.example.com"]},
        {"userinfo_endpoint": 7},
        {"id_token_signing_alg_values_supported": "RS256"},
        {"id_token_signing_alg_values_supported": [["RS256"]]},
        {"code_challenge_methods_supported": "S256"},
    ],
)
def test_malformed_members(changes):
    with pytest.raises(ProviderDocumentRefused) as caught:
        fetched({**DOCUMENT, **changes})
    assert caught.value.reason == "document_malformed"


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"issuer":"a","issuer":"b"}', b"\xff"])
def test_malformed_documents(body):
    with pytest.raises(ProviderDocumentRefused) as caught:
        fetched(body)
    assert caught.value.reason == "document_malformed"
    assert caught.value.status == 503


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_other_statuses(status):
    with pytest.raises(ProviderUnavailable) as caught:
        fetched(DOCUMENT, status=status)
    assert caught.value.reason == "document_unavailable"
