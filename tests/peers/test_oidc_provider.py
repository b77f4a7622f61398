"""Alice signs in by npm's oidc-provider, RS256 and ES256, and ends with AWS credentials that work; logout both ways."""

from __future__ import annotations

import pytest

from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Api, Stage, Visitor, caller_identity
from tests.peers.oidc_provider import OidcProvider

pytestmark = pytest.mark.peer


@pytest.fixture(params=["op_rs256", "op_es256"])
def peer(request: pytest.FixtureRequest) -> tuple[str, OidcProvider]:
    """(the gateway's slug, the OpenID provider)"""
    return request.param.replace("_", "-"), request.getfixturevalue(request.param)


def test_a_sign_in_ends_in_working_credentials_and_a_console(stage: Stage, peer: tuple[str, OidcProvider]) -> None:
    slug, _ = peer
    alice = Visitor()

    page = alice.sign_in(stage.gateway, slug)
    assert page.url == f"{stage.gateway.url}/", page.text[:800]
    assert "Alice Liddell" in page.text
    opened = alice.submit(page, page.form(action="/roles/444455556666/ReadOnly/console"))
    assert opened.url == f"{stage.aws.url}/console", opened.text[:800]

    api = Api(stage.gateway, alice.pair(stage.gateway))
    for role_arn in (READ_ONLY_SAML, READ_ONLY_OIDC):
        who = caller_identity(stage.aws, api.credentials(role_arn))
        assert ":assumed-role/ReadOnly/" in who
    me = api.get("/me").json()
    assert (me["provider"], me["subject"], me["email"]) == (slug, "alice", "alice@example.com")


def test_the_way_back_leads_to_the_page_asked_for(stage: Stage, op_rs256: OidcProvider) -> None:
    page = Visitor().sign_in(stage.gateway, "op-rs256", next_path="/roles/111122223333/ReadOnly/credentials")
    assert page.url == f"{stage.gateway.url}/roles/111122223333/ReadOnly/credentials"


def test_a_callback_twice_gives_no_second_sign_in(stage: Stage, op_rs256: OidcProvider) -> None:
    alice = Visitor()
    alice.sign_in(stage.gateway, "op-rs256")
    callback = next(url for url in alice.trail if "/oidc/op-rs256/callback" in url)
    code, request_id = alice.get(callback).problem
    assert code == "oidc_refused"
    event = next(event for event in stage.gateway.audit("sign_in") if event["request_id"] == request_id)
    assert (event["outcome"], event["reason"]) == ("refused", "state_used")


def test_rp_initiated_logout_reaches_the_provider(stage: Stage, op_rs256: OidcProvider) -> None:
    """The provider asks (we keep no ID token to hint with), ends its session, and sends the browser back."""
    alice = Visitor()
    alice.sign_in(stage.gateway, "op-rs256")
    page = alice.get(f"{stage.gateway.url}/signout/")
    there = alice.submit(page, page.form(action="/signout/"))
    assert there.url.startswith(f"{op_rs256.issuer}/session/end"), there.text[:500]

    done = alice.submit(there, there.form("xsrf"), logout="yes")
    assert done.url.startswith(f"{stage.gateway.url}/signout/done"), (done.url, done.text[:500])
    asked = alice.get(f"{stage.gateway.url}/signin/op-rs256/")
    assert asked.soup.find("input", attrs={"name": "password"}), asked.text[:500]


def test_back_channel_logout_ends_the_session_here(stage: Stage, peer: tuple[str, OidcProvider]) -> None:
    """Alice ends her session at the provider; its logout token ends that session at the gateway, and no other of hers."""
    slug, op = peer
    alice, at_home = Visitor(), Visitor()
    alice.sign_in(stage.gateway, slug)
    at_home.sign_in(stage.gateway, slug)
    there = alice.get(f"{op.issuer}/session/end?client_id={op.client_id}")
    alice.submit(there, there.form("xsrf"), logout="yes")

    last = stage.gateway.audit("sign_out.by_provider")[-1]
    assert (last["outcome"], last["data"]["provider"], last["data"]["sessions"]) == ("ok", slug, 1), (last, op.log)
    assert alice.get(f"{stage.gateway.url}/").url.startswith(f"{stage.gateway.url}/signin/")
    assert at_home.get(f"{stage.gateway.url}/").url == f"{stage.gateway.url}/"
