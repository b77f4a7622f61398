"""The main job without a mouse: Tab, Enter, arrows. What has the focus is always visible, and never the bare page."""

from __future__ import annotations

import re

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DEVELOPMENT, PRODUCTION, NewContext, Town, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey


def _tab_to(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until the element with this accessible name has the focus; every stop on the way must show its focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const e = document.activeElement, s = getComputedStyle(e);
              return {tag: e.tagName, text: (e.labels?.[0]?.innerText || e.innerText || e.ariaLabel || '').replace(/\\s+/g, ' ').trim(),
                      shown: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 || s.boxShadow !== 'none'};
            }"""
        )
        assert found["tag"] != "BODY", f"the focus was lost before {name!r}"
        assert found["shown"], f"no visible focus on {found}"
        if found["text"].endswith(name) or found["text"].startswith(name):
            return
    pytest.fail(f"{name!r} is not reached by Tab")


@pytest.fixture
def page(new_context: NewContext, stage: Town) -> Page:
    page = new_context().new_page()
    sign_in(page, stage, "saml")
    return page


def test_skip_link_search_console(page: Page, stage: Town) -> None:
    page.goto(f"{stage.url}/")
    _tab_to(page, "Skip to content", most=1)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    _tab_to(page, "Search by account, id, role or environment", most=1)
    page.keyboard.type("shop-dev deployer")
    expect(page.locator("#count")).to_have_text(re.compile(r"1 of \d+ roles"))
    _tab_to(page, "Console for Deployer in shop-dev", most=8)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stage.aws.url}/console")
    expect(page.locator("#account")).to_have_text(DEVELOPMENT)


def test_credentials_by_keyboard(page: Page, stage: Town) -> None:
    page.goto(f"{stage.url}/")
    _tab_to(page, "Credentials for Deployer in shop-dev")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stage.url}/roles/{DEVELOPMENT}/Deployer/credentials")
    _tab_to(page, "How long")
    _tab_to(page, "Get credentials", most=3)
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", selected=True)).to_have_text("bash, zsh")
    _tab_to(page, "bash, zsh")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", selected=True)).to_have_text("fish")
    page.keyboard.press("End")
    expect(page.get_by_role("tab", selected=True)).to_have_text("JSON")
    _tab_to(page, "Show the secret", most=3)
    page.keyboard.press("Enter")
    expect(page.locator("#text-json")).to_be_visible()


def test_signing_in_by_keyboard(new_context: NewContext, stage: Town) -> None:
    page = new_context().new_page()
    page.goto(f"{stage.url}/signin/")
    _tab_to(page, "Sign in with Example Corp (OpenID Connect)")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stage.idp.url}/signin**")
    page.keyboard.press("Tab")
    page.keyboard.type("alice")
    page.keyboard.press("Tab")
    page.keyboard.type("wonderland")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stage.url}/")


def test_a_fault_takes_the_focus(new_context: NewContext, stage: Town) -> None:
    """A form that was sent wrongly: the title begins with Error, the summary has the focus and leads to the field."""
    page = new_context().new_page()
    page.goto(f"{stage.url}/signin/")
    page.get_by_label("Work e-mail").fill("alice@nowhere.example.org")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="There is a problem")).to_be_visible()
    assert page.title().startswith("Error:")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "email"


def test_a_request_is_asked_for_and_decided_by_keyboard(new_context: NewContext, stage: Town) -> None:
    asker = new_context().new_page()
    sign_in(asker, stage, "oidc", "ivan")
    asker.goto(f"{stage.url}/requests/new?role=arn:aws:iam::{PRODUCTION}:role/Administrator")
    _tab_to(asker, "1 h")
    _tab_to(asker, "Reason", most=3)
    asker.keyboard.type("Deploy 4711 fails")
    _tab_to(asker, "Send the request", most=2)
    asker.keyboard.press("Enter")
    asker.wait_for_url("**/requests/*-*/")
    lead = new_context().new_page()
    sign_in(lead, stage, "oidc", "frank")
    lead.goto(asker.url)
    # The one that is chosen has the focus of its group; arrows choose another.
    _tab_to(lead, "Leave it")
    lead.keyboard.press("ArrowLeft")
    expect(lead.get_by_role("radio", name="Refuse")).to_be_checked()
    _tab_to(lead, "Comment", most=2)
    lead.keyboard.type("Ask the team first")
    _tab_to(lead, "Decide", most=2)
    lead.keyboard.press("Enter")
    expect(lead.locator("main")).to_contain_text("Refused")
    asker.reload()
    expect(asker.locator("main")).to_contain_text("Ask the team first")


def test_a_device_is_paired_by_keyboard(page: Page, stage: Town) -> None:
    """The code is typed, never filled in; Deny comes first and weighs as much as Allow."""
    asked = requests.post(
        f"{stage.url}/oauth/device_authorization", data={"client_id": "rolegate-cli"}, timeout=10
    ).json()
    page.goto(f"{stage.url}/device/")
    _tab_to(page, "Code")
    assert page.evaluate("document.activeElement.value") == ""
    page.keyboard.type(asked["user_code"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pair this device?")).to_be_visible()
    look(page, "device, to be confirmed")
    _tab_to(page, "Deny")
    _tab_to(page, "Allow", most=1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Paired")).to_be_visible()
    look(page, "device, paired")


def test_after_sorting_filtering_and_paging_the_focus_is_on_the_list(new_context: NewContext, stage: Town) -> None:
    page = new_context().new_page()
    sign_in(page, stage, "saml", "carol")
    page.goto(f"{stage.url}/staff/accounts/")
    for name in ("production", "Account", "Roles"):
        page.locator("#list").get_by_role("link", name=name, exact=True).first.focus()
        page.keyboard.press("Enter")
        page.wait_for_load_state()
        expect(page.locator("#list")).to_be_focused()


def test_what_comes_by_itself_takes_the_focus_from_nobody(new_context: NewContext, stage: Town) -> None:
    page = new_context().new_page()
    sign_in(page, stage, "saml", "carol")
    with page.expect_response("**/staff/workers"):
        page.goto(f"{stage.url}/staff/tasks/")
    page.wait_for_function("document.querySelector('[hx-get$=workers]').innerText.includes('orker')")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


def test_the_consoles_pages_are_behind_one_button_where_it_is_narrow(new_context: NewContext, stage: Town) -> None:
    page = new_context(viewport={"width": 320, "height": 800}, java_script_enabled=False).new_page()
    sign_in(page, stage, "oidc", "carol")
    page.goto(f"{stage.url}/staff/")
    expect(page.get_by_role("heading", name="Overview")).to_be_in_viewport()
    expect(page.get_by_label("Console", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Pages of the console").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Console", exact=True).get_by_role("link", name="People", exact=True).click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()


def test_a_session_that_is_about_to_end_says_so(new_context: NewContext, stage: Town) -> None:
    """Five minutes before, while there is time; and what was typed is there after signing in again."""
    page = new_context().new_page()
    page.clock.install()
    sign_in(page, stage, "oidc", "ivan")
    page.goto(f"{stage.url}/requests/new?role=arn:aws:iam::{PRODUCTION}:role/Administrator")
    page.get_by_label("Reason").fill("Half a page of reasons")
    page.clock.fast_forward("11:50:00")
    expect(page.locator("#session")).to_be_empty()
    page.clock.fast_forward("06:00")
    expect(page.locator("#session")).to_contain_text("Your session ends in 4 min.")
    page.get_by_role("link", name="Sign in again").click()
    page.get_by_role("link", name="Sign in with Example Corp (OpenID Connect)").click()
    page.wait_for_url("**/requests/new**")
    expect(page.get_by_label("Reason")).to_have_value("Half a page of reasons")
