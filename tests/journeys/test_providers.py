"""An owner adds an identity provider: by its metadata address and by its issuer, tested before anybody signs in by it."""

from __future__ import annotations

import re

import pytest
import yaml
from playwright.sync_api import Page, expect

from demo import keypair
from demo.cast import CAST
from tests.journeys.conftest import NewContext, Town, sign_in
from tests.journeys.looks import look
from tests.live import CLIENT_SECRET, Visitor

pytestmark = pytest.mark.journey


@pytest.fixture
def carol(town: Town, new_context: NewContext) -> Page:
    """An owner at the list of providers."""
    page = new_context().new_page()
    sign_in(page, town, "oidc", "carol")
    page.goto(f"{town.url}/staff/providers/")
    return page


def _add(carol: Page, protocol: str, slug: str) -> None:
    carol.get_by_role("link", name="Add a provider").click()
    carol.get_by_label(protocol).check()
    carol.get_by_label("Short name").fill(slug)
    carol.get_by_role("button", name="Go on").click()
    expect(carol.get_by_role("heading", name="1. Give these to the provider")).to_be_visible()


def try_signing_in(carol: Page, town: Town, who: str) -> None:
    """The test sign-in: away to the provider as somebody, and back on the entry's page as who one was."""
    carol.context.clear_cookies(domain="127.0.0.1")  # else the provider still knows who signed in here
    carol.get_by_role("button", name="Test sign-in").click()
    carol.wait_for_url(f"{town.idp.url}/signin**")
    carol.get_by_label("Name", exact=True).fill(who)
    carol.get_by_label("Password").fill(CAST[who].password)
    carol.get_by_role("button", name="Sign in", exact=True).click()
    carol.wait_for_url(f"{town.url}/staff/providers/trials/**")


def test_by_metadata_address_tested_read_otherwise_and_put_in_force(
    town: Town, carol: Page, new_context: NewContext
) -> None:
    _add(carol, "SAML 2.0", "second")
    ours = carol.locator("#our-metadata").inner_text()
    assert ours == f"{town.url}/saml/second/metadata"
    carol.get_by_label("Name", exact=True).first.fill("Second Corp")
    carol.get_by_label("Metadata address").fill(town.idp.metadata_url)
    carol.get_by_label("Who they are").fill("NameID")
    carol.get_by_label("Groups", exact=True).fill("isMemberOf")  # as it is called elsewhere
    carol.get_by_role("button", name="Go on to the test").click()
    expect(carol.get_by_role("heading", name="4. Test it")).to_be_visible()
    expect(carol.get_by_label("Enabled: it is on the sign-in page")).to_be_disabled()
    look(carol, "provider, to be tested")

    # The provider reads our metadata at the address that the page shows, before anything is in force.
    assert Visitor().get(ours).answer.status_code == 200
    try_signing_in(carol, town, "alice")
    expect(carol.locator("#result")).to_contain_text("The test succeeded")
    expect(carol.locator("#result")).to_contain_text("without groups no rule gives anything")
    expect(carol.get_by_role("banner")).to_contain_text("Carol Admin")  # nobody was signed in
    every = carol.get_by_role("group", name="Every claim that came")
    expect(every).to_contain_text("memberOf")
    look(carol, "provider, tested")

    # The claim map is tried on what came, as one types.
    carol.get_by_label("Groups", exact=True).fill("memberOf")
    expect(carol.locator("#result")).to_contain_text("engineers-read-production")
    expect(carol.locator("#result")).not_to_contain_text("without groups no rule gives anything")
    carol.get_by_role("button", name="Keep these").click()
    expect(carol.get_by_text("The test has proven exactly this entry.")).to_be_visible()
    carol.get_by_role("button", name="Put it into a draft").click()
    expect(carol.locator("#text")).to_have_value(re.compile("slug: second"))
    stranger = new_context().new_page()
    stranger.goto(f"{town.url}/signin/")
    expect(stranger.get_by_role("link", name="Second Corp")).to_have_count(0)

    text = carol.locator("#text").input_value()
    carol.get_by_role("button", name="Preview what changes").first.click()
    expect(carol.get_by_role("heading", name="A second person must publish this")).to_be_visible()
    look(carol, "provider, its draft")
    carol.get_by_label("What is it for?").fill("A second way in")
    carol.get_by_role("button", name="Hand over to a second person").click()
    expect(carol.get_by_text("It waits for a second person")).to_be_visible()
    # Under another identity she is the same person by her address, and is offered nothing that would be refused.
    herself = new_context().new_page()
    sign_in(herself, town, "saml", "carol")
    herself.goto(carol.url)
    expect(herself.get_by_text("It waits for a second person")).to_be_visible()
    expect(herself.get_by_role("button", name="Publish,")).to_have_count(0)
    # The company of this town has one owner: the operator at the shell is the second person.
    town.gateway.apply(yaml.safe_load(text))
    stranger.reload()
    stranger.get_by_role("link", name="Sign in with Second Corp").click()
    stranger.wait_for_url(f"{town.idp.url}/signin**")
    stranger.get_by_label("Name", exact=True).fill("alice")
    stranger.get_by_label("Password").fill(CAST["alice"].password)
    stranger.get_by_role("button", name="Sign in", exact=True).click()
    expect(stranger.get_by_role("heading", name="shop-prod")).to_be_visible()


def test_by_issuer_and_a_failure_says_precisely_why(town: Town, carol: Page) -> None:
    _add(carol, "OpenID Connect", "second-oidc")
    assert carol.locator("#our-redirect").inner_text() == f"{town.url}/oidc/second-oidc/callback"
    carol.get_by_label("Name", exact=True).first.fill("Second by issuer")
    carol.get_by_label("Issuer").fill(town.idp.issuer)
    carol.get_by_label("Client ID").fill("later")
    carol.get_by_label("Client secret").fill("not the secret")
    carol.get_by_label("Scopes").fill("openid profile email groups")
    carol.get_by_role("button", name="Go on to the test").click()
    try_signing_in(carol, town, "alice")
    expect(carol.locator("#result")).to_contain_text("The provider does not take the client ID and secret.")
    look(carol, "provider, a test that failed")
    carol.get_by_label("Client secret").fill(CLIENT_SECRET)
    carol.get_by_role("button", name="Keep these").click()
    expect(carol.get_by_text("Kept. Test it again")).to_be_visible()
    assert CLIENT_SECRET not in carol.content()
    try_signing_in(carol, town, "alice")
    expect(carol.locator("#result")).to_contain_text("The test succeeded")
    expect(carol.get_by_role("group", name="Every claim that came")).to_contain_text("alice@example.com")


def test_a_certificate_rolls_old_and_new_side_by_side(town: Town, carol: Page) -> None:
    """The provider's metadata name a second certificate: both are shown as in force, and the days that each has left."""
    new = keypair.generate("the next key of the provider")
    carol.get_by_role("link", name="Example Corp (SAML)").click()
    carol.get_by_role("button", name="Read its documents now").click()
    expect(carol.get_by_role("group", name="Certificates").locator("tbody tr")).to_have_count(1)
    town.idp.following = new
    try:
        carol.get_by_role("button", name="Read its documents now").click()
        expect(carol.get_by_text("The provider's documents were read just now.")).to_be_visible()
        rows = carol.get_by_role("group", name="Certificates").locator("tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.nth(1)).to_contain_text("left")
        look(carol, "provider, its key rolls")
    finally:
        town.idp.following = None
    carol.get_by_role("button", name="Read its documents now").click()
    expect(carol.get_by_role("group", name="Certificates").locator("tbody tr")).to_have_count(1)
