"""What AWS fetches from the issuer: public, cacheable, the same for everybody."""

import json

import pytest
from lxml import etree

from tests.oauth.pairing import person

PATHS = {
    "/issuer/.well-known/openid-configuration": "application/json",
    "/issuer/jwks.json": "application/json",
    "/issuer/saml/metadata.xml": "application/samlmetadata+xml",
}
pytestmark = pytest.mark.usefixtures("gateway_keys")


@pytest.mark.parametrize("path", PATHS)
def test_cacheable_without_a_cookie_whoever_asks(client, path):
    anonymous = client.get(path)
    client.force_login(person())
    signed_in = client.get(path)
    assert anonymous.content == signed_in.content
    for response in (anonymous, signed_in):
        assert response.status_code == 200
        assert response["Content-Type"] == PATHS[path]
        assert response["Cache-Control"] == "public, max-age=300"
        assert not response.cookies
        assert "Cookie" not in response.get("Vary", "")


@pytest.mark.parametrize("path", PATHS)
def test_unchanged_is_not_sent_again(client, path):
    etag = client.get(path)["ETag"]
    for header in (etag, f"W/{etag}", "*"):
        again = client.get(path, HTTP_IF_NONE_MATCH=header)
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    assert client.get(path, HTTP_IF_NONE_MATCH='"other"').status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_head_works_and_nothing_else_does(client, path):
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head["ETag"] == client.get(path)["ETag"]
    assert client.post(path).status_code == 405


def test_discovery_points_at_the_keys(client, settings):
    document = client.get("/issuer/.well-known/openid-configuration").json()
    assert document["issuer"] == settings.ROLEGATE_ISSUER_URL
    assert document["jwks_uri"] == f"{settings.ROLEGATE_ISSUER_URL}/jwks.json"


def test_the_active_rsa_key_is_first_and_no_private_part_is_there(client):
    content = client.get("/issuer/jwks.json").content
    keys = json.loads(content)["keys"]
    assert (keys[0]["kty"], keys[0]["use"], keys[0]["alg"]) == ("RSA", "sig", "RS256")
    for key in keys:
        assert {"kid", "use", "alg", "x5c"} <= set(key)
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)


def test_the_metadata_is_long_enough_for_iam_and_names_the_issuer(client):
    content = client.get("/issuer/saml/metadata.xml").content
    assert len(content) >= 1000
    assert etree.fromstring(content).tag == "{urn:oasis:names:tc:SAML:2.0:metadata}EntityDescriptor"
