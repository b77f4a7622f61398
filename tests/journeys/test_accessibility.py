"""axe on every page: light and dark, 320 and 1280 px wide, full, empty and in error; and nothing is wider than the window."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey


@pytest.fixture
def view(new_context: NewContext) -> Page:
    """A page of a profile of its own."""
    return new_context().new_page()


def test_pages_of_somebody_who_is_not_signed_in(view: Page, stage: Town) -> None:
    view.goto(f"{stage.url}/signin/")
    look(view, "sign-in")
    view.get_by_label("Work e-mail").fill("nobody")
    view.get_by_role("button", name="Continue").click()
    expect(view.get_by_role("heading", name="There is a problem")).to_be_visible()
    look(view, "sign-in with a fault")
    for path in ("/signin/nowhere/", "/no-such-page", "/signout/done", "/signin/corp/complete?code=x"):
        view.goto(f"{stage.url}{path}")
        look(view, path)


def test_pages_of_alice(view: Page, stage: Town) -> None:
    sign_in(view, stage, "saml")
    look(view, "roles")
    view.get_by_label("Search by account, id, role or environment").fill("nothing has this name")
    expect(view.get_by_role("heading", name="No role matches")).to_be_visible()
    look(view, "roles, no match")
    view.locator("#q").fill("prod")
    expect(view.locator("#found .name").first).to_be_visible()
    look(view, "roles, found")
    view.get_by_role("button", name="Keyboard").click()
    look(view, "roles, the dialog open")
    for path in (
        f"/roles/{PRODUCTION}/ReadOnly/",
        "/requests/",
        "/requests/to-decide/",
        "/requests/new",
        "/why/?q=shop",
        f"/why/?role=arn:aws:iam::{PRODUCTION}:role/Administrator",
        "/why/?role=nothing",
        "/activity/",
        f"/roles/{PRODUCTION}/ReadOnly/console",
        f"/roles/{PRODUCTION}/ReadOnly/credentials",
        f"/roles/{PRODUCTION}/Administrator/console",
        "/cli/",
        "/errors",
        "/device/",
        "/signout/",
        f"/oauth/authorize?response_type=code&client_id=rolegate-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A49152%2Fcallback&code_challenge={'A' * 43}&code_challenge_method=S256",
    ):
        view.goto(f"{stage.url}{path}")
        look(view, path)
    view.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    view.get_by_role("button", name="Get credentials").click()
    expect(view.get_by_role("tablist")).to_be_visible()
    look(view, "credentials")
    view.get_by_text("Show the secret").locator("visible=true").click()
    look(view, "credentials, opened")
    for path in ("/activity/", f"/roles/{PRODUCTION}/ReadOnly/"):
        view.goto(f"{stage.url}{path}")
        expect(
            view.locator("section[aria-labelledby=aws], section[aria-labelledby=open]").locator("td").first
        ).to_be_visible()
        look(view, f"{path} with what is open")


def test_pages_of_a_request(view: Page, stage: Town, new_context: NewContext) -> None:
    """Asked for (with a fault first), decided on by somebody else, taken in an emergency."""
    role = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
    sign_in(view, stage, "oidc", "ivan")
    view.goto(f"{stage.url}/requests/new?role={role}")
    look(view, "asking")
    view.get_by_role("button", name="Send the request").click()
    look(view, "asking, with a fault")
    view.get_by_label("Reason").fill("Something is to be looked at")
    view.get_by_role("button", name="Send the request").click()
    view.wait_for_url("**/requests/*-*/")
    look(view, "asked")
    address = view.url
    lead = new_context().new_page()
    sign_in(lead, stage, "oidc", "frank")
    lead.goto(f"{stage.url}/requests/to-decide/")
    look(lead, "to decide")
    lead.goto(address)
    look(lead, "deciding")
    lead.goto(f"{stage.url}/requests/break-glass?role={role}")
    look(lead, "break-glass")
    lead.get_by_role("button", name="Break the glass").click()
    look(lead, "break-glass, with a fault")
    view.goto(f"{stage.url}/requests/")
    look(view, "requests of one's own")
    view.goto(address)
    view.get_by_role("button", name="Withdraw the request").click()
    expect(view.locator("main")).to_contain_text("Withdrawn")
    look(view, "withdrawn")


@pytest.mark.parametrize("who", ["erin", "olivia"])
def test_empty_states(view: Page, stage: Town, who: str) -> None:
    sign_in(view, stage, "oidc", who)
    expect(view.get_by_role("heading", name="roles").first).to_be_visible()
    look(view, f"roles of {who}")


def test_the_check_itself_sees_a_fault(new_context: NewContext, stage: Town) -> None:
    """Without this, a checker that finds nothing would pass everything above."""
    page = new_context().new_page()
    page.goto(f"{stage.url}/signin/")
    page.evaluate("document.querySelector('label[for=email]').remove()")
    with pytest.raises(AssertionError, match="label"):
        look(page, "sign-in without a label")
