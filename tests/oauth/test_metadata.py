"""The authorization server's metadata (RFC 8414), checked by Authlib's own reading of it."""

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from django.urls import resolve


def metadata(client) -> dict:
    response = client.get("/.well-known/oauth-authorization-server")
    assert response.status_code == 200
    assert response["Cache-Control"] == "public, max-age=300"
    assert not response.cookies
    return response.json()


def test_the_document_is_valid(client, settings):
    settings.ROLEGATE_URL = "https://gateway.example.com"
    document = AuthorizationServerMetadata(metadata(client))
    document.validate()
    assert document["issuer"] == "https://gateway.example.com"


def test_every_endpoint_that_it_names_is_there(client, settings):
    document = metadata(client)
    named = [url for name, url in document.items() if name.endswith("_endpoint")]
    assert len(named) == 4
    for url in named:
        assert resolve(url.removeprefix(settings.ROLEGATE_URL)).url_name.startswith("oauth-")


def test_it_promises_only_what_is_safe(client):
    document = metadata(client)
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    assert document["token_endpoint_auth_methods_supported"] == ["none"]
    assert document["authorization_response_iss_parameter_supported"] is True
