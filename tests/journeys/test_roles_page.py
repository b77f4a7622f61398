"""My roles in a browser: the search as one types, the keyboard all the way, favourites, and what was used last."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import NewContext, Town, sign_in

pytestmark = pytest.mark.journey


@pytest.fixture
def page(new_context: NewContext, stage: Town) -> Page:
    page = new_context().new_page()
    sign_in(page, stage, "oidc", "ivan")
    return page


def _names(page: Page) -> list[str]:
    return page.locator("#found .name").all_inner_texts()


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.innerText.trim()"))


def test_letters_in_order_are_enough_and_the_address_can_be_shared(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("shpdv dplyr")
    expect(page.locator("#found .name").first).to_have_text("Deployer")
    expect(page.locator("#found [data-account]").first).to_have_text("shop-dev")
    page.wait_for_url("**q=shpdv*")
    page.reload()
    expect(page.locator("#q")).to_have_value("shpdv dplyr")
    page.locator("#q").fill("shop-dev deployer")
    expect(page.locator("#count")).to_contain_text("1 of")
    assert _names(page) == ["Deployer"]


def test_arrows_enter_and_escape(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("deployer")
    page.keyboard.press("ArrowDown")
    assert _focused(page) == "Deployer"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Enter")
    assert _focused(page).startswith("Console")
    page.keyboard.press("ArrowDown")
    assert _focused(page).startswith("Console")  # down the same column
    page.locator("#q").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#results")).to_be_hidden()
    expect(page.locator("#roles")).to_be_visible()


def test_single_keys_can_be_turned_off_and_stay_so(page: Page) -> None:
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Shortcuts of a single key").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.reload()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") != "q"
    page.get_by_role("button", name="Keyboard").click()
    page.get_by_label("Shortcuts of a single key").check()
    page.get_by_role("button", name="Close").click()
    assert _focused(page) == "Keyboard"  # the dialog gives the focus back
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


def test_a_favourite_stands_first_and_can_be_taken_away(page: Page, stage: Town) -> None:
    star = page.get_by_role("button", name="Favourite: Deployer, shop-dev")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    page.goto(f"{stage.url}/")
    expect(page.locator(".shortcuts")).to_contain_text("shop-dev")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "false")
    page.goto(f"{stage.url}/")
    expect(page.locator(".shortcuts")).to_have_count(0)


def test_a_row_that_the_search_made_works_like_any_other(page: Page, stage: Town) -> None:
    page.locator("#q").fill("shop-dev deployer")
    page.get_by_role("button", name="Console for Deployer in shop-dev").locator("visible=true").click()
    page.wait_for_url(f"{stage.aws.url}/console")
    page.goto(f"{stage.url}/")
    expect(page.get_by_role("button", name="Open again: Deployer shop-dev")).to_be_visible()


def test_why_opens_in_place(page: Page, stage: Town) -> None:
    page.get_by_role("link", name="Deployer").first.click()
    page.get_by_text("Why do I have this?").click()
    expect(page.locator("#story")).to_contain_text("teams-deploy-their-shops")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
