"""The main job without a mouse: Tab, Enter, arrows. What has the focus is always visible, and never the bare page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DEVELOPMENT, NewContext, Town, sign_in

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
