"""Alice signs in by SimpleSAMLphp and ends with AWS credentials that work; plain and with encrypted assertions."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, SAML_ACCOUNT, Api, Page, Stage, Visitor, caller_identity
from tests.peers.simplesamlphp import SimpleSamlPhp

pytestmark = pytest.mark.peer


@pytest.fixture(params=["ssp", "ssp_encrypting"])
def peer(request: pytest.FixtureRequest) -> tuple[str, SimpleSamlPhp]:
    """(the gateway's slug, the identity provider)"""
    return request.param.replace("_", "-"), request.getfixturevalue(request.param)


def test_a_sign_in_ends_in_working_credentials(stage: Stage, peer: tuple[str, SimpleSamlPhp]) -> None:
    slug, _ = peer
    alice = Visitor()

    page = alice.sign_in(stage.gateway, slug)
    assert page.url == f"{stage.gateway.url}/", page.text[:800]
    assert "Alice Liddell" in page.text

    api = Api(stage.gateway, alice.pair(stage.gateway))
    for role_arn, account in ((READ_ONLY_SAML, SAML_ACCOUNT), (READ_ONLY_OIDC, "444455556666")):
        document = api.credentials(role_arn)
        who = caller_identity(stage.aws, document)
        assert who.startswith(f"arn:aws:sts::{account}:assumed-role/ReadOnly/"), who
    me = api.get("/me").json()
    assert (me["provider"], me["email"], me["groups"]) == (slug, "alice@example.com", ["engineering", "shop-team"])


def test_the_assertion_really_is_encrypted(stage: Stage, ssp_encrypting: SimpleSamlPhp) -> None:
    """Otherwise the test above proves nothing about decryption."""
    alice = Visitor()
    page = alice.get(f"{stage.gateway.url}/signin/ssp-encrypting/")
    page = alice.submit(page, page.form("username", "password"), username="alice", password="wonderland")
    response = str(page.form("SAMLResponse").find("input", attrs={"name": "SAMLResponse"})["value"])
    xml = base64.b64decode(response).decode()
    assert "EncryptedAssertion" in xml
    assert "alice" not in xml


def test_an_unsigned_request_is_refused_by_it(stage: Stage, ssp: SimpleSamlPhp) -> None:
    """It wants signed requests, so that ours got through means that our signature verified."""
    alice = Visitor()
    begin = alice.http.get(f"{stage.gateway.url}/signin/ssp/", allow_redirects=False, timeout=20)
    query = parse_qs(urlsplit(begin.headers["Location"]).query)
    assert {"SAMLRequest", "RelayState", "SigAlg", "Signature"} <= query.keys()
    bare = Page(alice.http.get(begin.headers["Location"].split("&Signature=")[0].split("&SigAlg=")[0], timeout=20))
    assert not bare.soup.find("input", attrs={"name": "username"}), bare.text[:500]
    assert "no signature found on message" in bare.text, bare.text[:2000]


def test_the_same_response_twice_gives_no_second_sign_in(stage: Stage, ssp: SimpleSamlPhp) -> None:
    alice = Visitor()
    page = alice.get(f"{stage.gateway.url}/signin/ssp/")
    page = alice.submit(page, page.form("username", "password"), username="alice", password="wonderland")
    form = page.form("SAMLResponse")
    assert alice.submit(page, form).url == f"{stage.gateway.url}/"

    again = alice.submit(page, form)
    code, request_id = again.problem
    assert code == "saml_refused"
    event = next(event for event in stage.gateway.audit("sign_in") if event["request_id"] == request_id)
    assert event["outcome"] == "refused"
    assert event["reason"] in {"replayed", "in_response_to_unknown"}, event


def test_the_console_opens(stage: Stage, peer: tuple[str, SimpleSamlPhp]) -> None:
    slug, _ = peer
    alice = Visitor()
    page = alice.sign_in(stage.gateway, slug)
    for account in (SAML_ACCOUNT, "444455556666"):
        opened = alice.submit(page, page.form(action=f"/roles/{account}/ReadOnly/console"))
        assert opened.url == f"{stage.aws.url}/console", opened.text[:800]
        assert opened.soup.find(id="account").get_text() == account


def test_bob_the_contractor_signs_in_and_gets_nothing(stage: Stage, ssp: SimpleSamlPhp) -> None:
    bob = Visitor()
    page = bob.sign_in(stage.gateway, "ssp", user="bob", password="builder")
    assert page.url == f"{stage.gateway.url}/"
    answer = Api(stage.gateway, bob.pair(stage.gateway)).post("/credentials", {"role_arn": READ_ONLY_SAML})
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "access_denied"


def test_signing_out_here_signs_out_there(stage: Stage, peer: tuple[str, SimpleSamlPhp]) -> None:
    """Our LogoutRequest is taken, its answer verified, and the next sign-in asks for the password again."""
    slug, idp = peer
    alice = Visitor()
    alice.sign_in(stage.gateway, slug)
    page = alice.get(f"{stage.gateway.url}/signout/")
    alice.trail.clear()
    done = alice.submit(page, page.form(action="/signout/"))
    assert done.url.startswith(f"{stage.gateway.url}/signout/done"), done.text[:800]
    assert any(url.startswith(idp.url) for url in alice.trail), alice.trail
    assert any(url.startswith(f"{stage.gateway.url}/saml/{slug}/slo") for url in alice.trail), alice.trail

    asked = alice.get(f"{stage.gateway.url}/signin/{slug}/")
    assert asked.soup.find("input", attrs={"name": "password"}), asked.text[:500]


def test_signing_out_there_signs_out_here(stage: Stage, ssp: SimpleSamlPhp) -> None:
    """Its LogoutRequest ends Alice's session at the gateway, and nobody else's."""
    alice, other = Visitor(), Visitor()
    alice.sign_in(stage.gateway, "ssp")
    other.sign_in(stage.gateway, "ssp")
    ended = alice.get(f"{ssp.url}/saml2/idp/initSLO.php?RelayState={ssp.url}/")
    assert ended.status < 500, ended.text[:500]
    assert any(url.startswith(f"{stage.gateway.url}/saml/ssp/slo") for url in alice.trail), alice.trail

    assert alice.get(f"{stage.gateway.url}/").url.startswith(f"{stage.gateway.url}/signin/")
    assert other.get(f"{stage.gateway.url}/").url == f"{stage.gateway.url}/"
