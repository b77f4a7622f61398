"""A provider is disabled: whoever came by it is out at their next click, and nobody is offered it any more."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, at_console, sign_in
from tests.live import Api, Visitor

pytestmark = pytest.mark.journey


def test_whoever_came_by_it_is_out_and_nobody_is_offered_it(new_context: NewContext, town: Town) -> None:
    document = town.mapping()
    document["staff"].append({"role": "owner", "provider": ["corp"], "groups": ["sre-leads"]})  # a second owner
    town.gateway.apply(document)
    alice, bob = (new_context().new_page() for _ in range(2))
    sign_in(alice, town, "oidc", "alice")
    sign_in(bob, town, "saml", "bob")
    visitor = Visitor()
    visitor.sign_in(town.gateway, "corp-oidc")
    api = Api(town.gateway, visitor.pair(town.gateway))
    assert api.get("/me").status_code == 200

    carol = at_console(new_context, town, "carol", "Identity providers")
    carol.get_by_role("link", name="Example Corp (OpenID Connect)").click()
    carol.get_by_role("button", name="Draft its disabling").click()
    carol.get_by_role("button", name="Preview what changes").first.click()
    expect(carol.get_by_role("heading", name="A second person must publish this")).to_be_visible()
    expect(carol.locator("details.cohort").first).to_contain_text("loses")
    carol.get_by_label("What is it for?").fill("Everybody comes by SAML now")
    carol.get_by_role("button", name="Hand over to a second person").click()
    # Until somebody publishes it nothing has changed.
    alice.reload()
    expect(alice.get_by_role("heading", name="My roles")).to_be_visible()

    frank = at_console(new_context, town, "frank", "Mapping")
    frank.get_by_role(
        "link", name=re.compile("^Review.*Everybody comes by SAML now")
    ).click()  # others wait there as well
    frank.get_by_role("button", name="Publish,").click()
    expect(frank.get_by_text("is in force from now on")).to_be_visible()

    alice.get_by_role("link", name="Requests").click()
    expect(alice).to_have_url(f"{town.url}/signin/?next=%2Frequests%2F")
    expect(alice.get_by_role("link", name="Sign in with Example Corp (SAML)")).to_be_visible()
    expect(alice.get_by_role("link", name="Example Corp (OpenID Connect)")).to_have_count(0)
    alice.goto(f"{town.url}/signin/corp-oidc/")
    expect(alice.get_by_role("main")).to_contain_text("There is no such identity provider here.")
    bob.reload()
    expect(bob.get_by_role("heading", name="My roles")).to_be_visible()  # he came by the other one
    refused = api.post("/credentials", {"role_arn": f"arn:aws:iam::{PRODUCTION}:role/ReadOnly"})
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")  # her command line is unpaired too

    left = {provider for (provider,) in town.gateway.rows("SELECT DISTINCT provider FROM federation_portalsession")}
    assert "corp-oidc" not in left
    assert "corp" in left
    published = town.gateway.audit("mapping.published")[-1]
    assert published["data"]["sessions_ended"].keys() == {"corp-oidc"}
    assert published["data"]["sessions_ended"]["corp-oidc"] >= 2  # Alice's two browsers, and who else was there
    assert published["data"]["people_signed_out"].keys() == {"corp-oidc"}
    assert town.gateway.audit("token.refused")[-1]["reason"] == "session_ended"
