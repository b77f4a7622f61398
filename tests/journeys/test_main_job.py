"""The main job in a browser, by SAML and by OpenID Connect: sign in, see the roles, be in the console, get credentials, sign out."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DEVELOPMENT, PRODUCTION, STAGING, NewContext, Town, sign_in
from tests.live import caller_identity

pytestmark = pytest.mark.journey


@pytest.fixture
def page(new_context: NewContext) -> Page:
    return new_context().new_page()


@pytest.mark.parametrize("protocol", ["saml", "oidc"])
def test_from_sign_in_to_console_to_sign_out(page: Page, stage: Town, protocol: str) -> None:
    sign_in(page, stage, protocol)
    expect(page.get_by_role("heading", name="My roles")).to_be_visible()
    expect(page.get_by_role("banner")).to_contain_text("Alice Liddell")

    # One account that trusts us by SAML, one by OpenID Connect: one click each.
    for account, name, role in ((PRODUCTION, "shop-prod", "ReadOnly"), (STAGING, "shop-staging", "Developer")):
        page.get_by_role("button", name=f"Console for {role} in {name}").click()
        page.wait_for_url(f"{stage.aws.url}/console")
        expect(page.locator("#account")).to_have_text(account)
        expect(page.locator("#role")).to_have_text(role)
        expect(page.locator("#tags")).to_contain_text("Department = Engineering")
        page.goto(f"{stage.url}/")

    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    if protocol == "oidc":  # no ID token is kept to hint with, so the provider asks
        page.wait_for_url(f"{stage.idp.url}/**")
        page.get_by_role("button", name="Sign out").click()
    else:
        page.wait_for_url(f"{stage.url}/signout/done**")
    expect(page.get_by_role("heading", name="signed out")).to_be_visible()
    page.goto(f"{stage.url}/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_credentials_panel_hands_out_credentials_that_work(page: Page, stage: Town) -> None:
    sign_in(page, stage, "saml")
    page.get_by_role("link", name="Credentials for ReadOnly in shop-prod").click()
    page.get_by_label("How long").select_option("900")
    page.get_by_role("button", name="Get credentials").click()

    expect(page.get_by_role("tab", selected=True)).to_have_text("bash, zsh")
    secret = page.locator("#text-bash")
    expect(secret).to_be_hidden()  # nobody who looks over a shoulder sees it
    page.get_by_role("tab", name="JSON").click()
    page.get_by_text("Show the secret").locator("visible=true").click()
    document = json.loads(page.locator("#text-json").inner_text())
    assert f":sts::{PRODUCTION}:assumed-role/ReadOnly/" in caller_identity(stage.aws, document)

    page.goto(f"{stage.url}/")
    with pytest.raises(PlaywrightError, match="ERR_CACHE_MISS"):  # no-store: the back button shows no secret again
        page.go_back()
    expect(page.locator("#text-json")).to_have_count(0)


def test_the_session_cookies_are_lax_and_out_of_reach_of_scripts(page: Page, stage: Town) -> None:
    """The identity provider is another site, and its POST to the ACS carries no Lax cookie: the sign-in works all the same."""
    sent: list[str | None] = []
    page.on(
        "request",
        lambda request: (
            sent.append(request.all_headers().get("cookie")) if request.url.endswith("/saml/corp/acs") else None
        ),
    )
    sign_in(page, stage, "saml")
    assert sent == [None]
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(stage.url)}
    assert {"rolegate_session", "rolegate_signin"} <= cookies.keys()
    for cookie in cookies.values():
        assert (cookie["sameSite"], cookie["httpOnly"]) == ("Lax", True), cookie


def test_the_direct_way_into_the_console(page: Page, stage: Town) -> None:
    """A signed SAML statement that the browser itself posts to AWS. Not for a role under a session policy: it could not carry one."""
    sign_in(page, stage, "saml")
    page.goto(f"{stage.url}/roles/{DEVELOPMENT}/Deployer/console")
    page.get_by_text("It does not open?").click()
    page.get_by_role("button", name="Open it by SAML").click()
    page.wait_for_url(f"{stage.aws.url}/console")
    expect(page.locator("#account")).to_have_text(DEVELOPMENT)


def test_a_deep_link_survives_the_sign_in(page: Page, stage: Town) -> None:
    """A shared link to one page of one account's console: sign-in, then exactly there."""
    destination = "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1"
    page.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/console?destination={destination.replace('?', '%3F')}")
    page.get_by_role("link", name="Sign in with Example Corp (SAML)").click()
    page.get_by_role("button", name="Alice Liddell").click()
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/console**")
    page.get_by_role("button", name="Open the console").click()
    page.wait_for_url(f"{stage.aws.url}/console")
    expect(page.locator("#destination")).to_have_text(destination)


def test_the_provider_is_found_by_e_mail_domain(page: Page, stage: Town) -> None:
    page.goto(f"{stage.url}/signin/")
    page.get_by_label("Work e-mail").fill("alice@example.com")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{stage.idp.url}/signin**")


def test_bob_the_contractor_sees_nothing_in_production(page: Page, stage: Town) -> None:
    sign_in(page, stage, "oidc", "bob")
    expect(page.get_by_role("heading", name="playground")).to_be_visible()
    expect(page.get_by_role("heading", name="shop-prod")).to_have_count(0)


def test_erin_in_finance_is_told_why_she_has_no_role(page: Page, stage: Town) -> None:
    sign_in(page, stage, "saml", "erin")
    expect(page.get_by_role("heading", name="No role is mapped to you yet")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("finance")


@pytest.mark.parametrize("protocol", ["saml", "oidc"])
def test_olivia_with_too_many_groups_is_told_so(page: Page, stage: Town, protocol: str) -> None:
    """Unknown is not "no groups": the page says that the list is incomplete, not that she has nothing."""
    sign_in(page, stage, protocol, "olivia")
    expect(page.get_by_role("heading", name="Your roles cannot be decided")).to_be_visible()


def test_a_command_line_is_paired_in_the_browser(page: Page, stage: Town) -> None:
    """The consent page's form leads to a loopback address: the Content-Security-Policy must let it."""
    reached: list[str] = []

    class CommandLine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"paired")

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), CommandLine) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        back = f"http://127.0.0.1:{listener.server_port}/callback"
        sign_in(page, stage, "saml")
        page.goto(
            f"{stage.url}/oauth/authorize?response_type=code&client_id=rolegate-cli&redirect_uri={quote(back, safe='')}"
            f"&code_challenge={'A' * 43}&code_challenge_method=S256&state=abc"
        )
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url(f"{back}**")
        expect(page.locator("body")).to_have_text("paired")
        listener.shutdown()
    reached = [path for path in reached if path != "/favicon.ico"]
    assert len(reached) == 1
    assert "state=abc" in reached[0]
    assert "code=" in reached[0]
