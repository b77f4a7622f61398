"""Nine in the morning, and something is not as it was: another tab has signed in anew, a session is over, a role is gone."""

from __future__ import annotations

from contextlib import suppress

import pytest
from playwright.sync_api import Error, expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, error_of, sign_in

pytestmark = pytest.mark.journey
ADMINISTRATOR = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
REASON = "Deploy 4711: the certificate ends today"


@pytest.mark.parametrize("scripts", [True, False], ids=["with-script", "without-script"])
def test_a_form_that_was_open_before_a_sign_in_elsewhere_leads_back_to_itself(
    stage: Town, new_context: NewContext, scripts: bool
) -> None:
    browser = new_context(java_script_enabled=scripts)
    first = browser.new_page()
    sign_in(first, stage, "oidc", "ivan")
    first.goto(f"{stage.url}/requests/new?role={ADMINISTRATOR}")
    first.get_by_label("Reason").fill(REASON)
    other = browser.new_page()
    other.goto(f"{stage.url}/signin/corp-oidc/")  # a new session, and with it a new secret for forms
    other.wait_for_url(f"{stage.url}/")

    first.get_by_role("button", name="Send the request").click()
    code, _ = error_of(first)
    assert code == "form_refused"
    expect(first.get_by_role("main")).to_contain_text("reload the page, and send it again")
    first.get_by_role("link", name="Load the page again").click()
    expect(first.get_by_role("heading", name="Ask for access")).to_be_visible()
    if scripts:
        expect(first.get_by_label("Reason")).to_have_value(REASON)  # the draft outlived the refusal
    first.get_by_label("Reason").fill(REASON)
    first.get_by_role("button", name="Send the request").click()
    first.wait_for_url("**/requests/*-*/")
    first.get_by_role("button", name="Withdraw the request").click()
    expect(first.get_by_role("main")).to_contain_text("Withdrawn")


def test_back_after_signing_out_shows_neither_credentials_nor_roles(stage: Town, new_context: NewContext) -> None:
    page = new_context().new_page()
    sign_in(page, stage, "saml", "alice")
    page.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    page.get_by_role("button", name="Get credentials").click()
    expect(page.get_by_role("tablist")).to_be_visible()
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{stage.url}/signout/done**")
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    seen = []
    for _ in range(5):
        with suppress(Error):  # of what answered a form nothing was kept: Chromium would have to send it again
            page.go_back()
        expect(page.locator("body")).not_to_contain_text("AWS_SECRET_ACCESS_KEY")  # nor in what is folded away
        seen.append(page.url)
    page.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert any(url.startswith(stage.url) for url in seen)


def test_a_link_to_a_role_that_is_gone_leads_to_why_and_whom_to_ask(stage: Town, new_context: NewContext) -> None:
    page = new_context().new_page()
    sign_in(page, stage, "oidc", "alice")
    page.goto(f"{stage.url}/roles/{PRODUCTION}/Retired/console?destination=s3")  # an old bookmark
    assert error_of(page)[0] == "access_denied"
    page.get_by_role("link", name="Find out why, and whom to ask").click()
    # Its accounts have not been read here: a name that nobody knows may be anything, and is on no page (test_error_pages has the other).
    expect(page.get_by_label("Account or role")).to_have_value(PRODUCTION)
    page.get_by_label("Or the role’s ARN").fill(f"arn:aws:iam::{PRODUCTION}:role/Retired")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("region", name="Whom to ask")).to_contain_text("shop-owners")
