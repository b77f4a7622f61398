"""A newcomer maps a group to a role without a manual, and the employee has it; a text is written, kept, and tried out."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import NewContext, Town, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey


@pytest.fixture
def heidi(town: Town, new_context: NewContext) -> Page:
    """A mapper at the console's page of the mapping."""
    page = new_context().new_page()
    sign_in(page, town, "saml", "heidi")
    page.get_by_role("link", name="Staff").click()
    page.get_by_role("link", name="Mapping", exact=True).click()
    return page


def test_a_newcomer_maps_a_group_to_a_role_and_the_employee_has_it(
    town: Town, heidi: Page, new_context: NewContext, picture
) -> None:
    erin = new_context().new_page()
    # By either provider, so that whoever has signed in as Erin before changes no number: each is a person of their own.
    sign_in(new_context().new_page(), town, "oidc", "erin")
    sign_in(erin, town, "saml", "erin")
    expect(erin.get_by_role("heading", name="No role is mapped to you yet")).to_be_visible()

    heidi.get_by_role("button", name="Add a rule").click()
    heidi.get_by_label("Group", exact=True).fill("finance")
    expect(heidi.locator("#measure")).to_contain_text("Matches 2 people. Fill in account and role")
    heidi.get_by_label("Account", exact=True).select_option(label="playground (555566667777) – sandbox")
    heidi.get_by_label("Role", exact=True).fill("PowerUser")
    expect(heidi.locator("#measure")).to_contain_text("Matches 2 people, gives 1 role.")
    heidi.get_by_role("button", name="Add to the draft").click()
    expect(heidi.locator("tr[aria-selected=true]")).to_contain_text("finance PowerUser playground")
    expect(heidi.locator("#text")).to_be_focused()
    picture(heidi, "mapping-editor")

    heidi.get_by_role("button", name="Preview what changes").first.click()
    expect(heidi.locator("details.cohort")).to_contain_text("Erin Ledger")
    expect(heidi.locator("details.cohort")).to_contain_text("gets the role")
    heidi.get_by_label("Comment").fill("Finance tries things out")
    picture(heidi, "mapping-preview")
    heidi.get_by_role("button", name="Publish, 2 people affected").click()
    expect(heidi.get_by_text("is in force from now on")).to_be_visible()

    erin.reload()
    expect(erin.get_by_role("heading", name="playground")).to_be_visible()
    expect(erin.get_by_text("PowerUser").first).to_be_visible()


def test_text_is_checked_at_its_lines_kept_as_one_types_and_outlives_the_session(town: Town, heidi: Page) -> None:
    heidi.get_by_role("button", name="Change the mapping").click()
    text = heidi.locator("#text")
    written = text.input_value()
    line = next(n for n, content in enumerate(written.split("\n"), 1) if "name: engineers-read-production" in content)
    text.fill(written.replace("- name: engineers-read-production", "- nam: engineers-read-production"))
    expect(heidi.get_by_role("link", name=f"Line {line}").first).to_be_visible()
    expect(heidi.locator(".lines .bad").first).to_have_text(str(line))
    heidi.get_by_role("link", name=f"Line {line}").first.click()
    expect(text).to_be_focused()
    selected = (
        "document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)"
    )
    assert "nam: engineers-read-production" in heidi.evaluate(selected)

    # A text that cannot be read at all: the rules stay in sight as they were, and are changed again once it is mended.
    text.fill("# A comment of mine.\n" + written)
    expect(heidi.get_by_text("Kept. No faults.")).to_be_visible()
    rules = heidi.locator("#sheet-rules tbody tr")
    many = rules.count()
    for unreadable in (written + "mapping: [\n", written + "mapping: [{\n"):
        text.fill(unreadable)
        expect(heidi.get_by_text("these are the rules as they were last read")).to_be_visible()
        expect(rules).to_have_count(many)
        expect(rules.first).to_contain_text("matches")
        expect(heidi.get_by_role("link", name="Edit engineers-read-production")).to_have_count(0)
    text.fill("# A comment of mine.\n" + written)
    expect(heidi.get_by_text("Kept. No faults.")).to_be_visible()
    expect(heidi.get_by_role("link", name="Edit engineers-read-production")).to_be_visible()
    expect(heidi.get_by_text("these are the rules as they were last read")).to_have_count(0)
    heidi.reload()
    assert text.input_value().startswith("# A comment of mine.\n")

    heidi.get_by_label("Person").fill("heidi")
    heidi.get_by_label("Role", exact=True).fill("playground/PowerUser")
    heidi.get_by_role("button", name="Find out").click()
    expect(heidi.locator("#trial .state").first).to_have_text("No")

    heidi.context.clear_cookies(name="rolegate_session")
    text.fill("# Typed after the session had ended.\n" + written)
    heidi.wait_for_url("**/signin/**")
    heidi.get_by_role("link", name="Sign in with Example Corp (SAML)").click()
    heidi.wait_for_url("**/staff/mapping/drafts/**")
    expect(text).to_have_value("# Typed after the session had ended.\n" + written)
    expect(heidi.get_by_text("Kept. No faults.")).to_be_visible()
    heidi.get_by_role("button", name="Withdraw this draft").click()
    expect(heidi.get_by_role("heading", name="Drafts")).to_have_count(0)


def test_production_goes_to_the_owner_who_types_the_word(town: Town, heidi: Page, new_context: NewContext) -> None:
    heidi.get_by_role("button", name="Add a rule").click()
    heidi.get_by_label("Group", exact=True).fill("finance")
    heidi.get_by_label("Account", exact=True).select_option(label="shop-prod (111122223333) – production")
    heidi.get_by_label("Role", exact=True).fill("ReadOnly")
    heidi.get_by_role("button", name="Add to the draft").click()
    heidi.get_by_role("button", name="Preview what changes").first.click()
    expect(heidi.get_by_role("heading", name="A second person must publish this")).to_be_visible()
    heidi.get_by_label("What is it for?").fill("Month end")
    heidi.get_by_role("button", name="Hand over to a second person").click()
    expect(heidi.get_by_text("It waits for a second person")).to_be_visible()

    carol = new_context().new_page()
    sign_in(carol, town, "saml", "carol")
    carol.goto(f"{town.url}/staff/mapping/")
    carol.get_by_role("link", name="Review").click()
    carol.get_by_label("to confirm what changes in production").fill("production")
    carol.get_by_role("button", name="Publish,").click()
    expect(carol.get_by_text("is in force from now on")).to_be_visible()
    expect(carol.get_by_text("published by")).to_be_visible()


def test_without_javascript_a_rule_is_added_and_published(town: Town, new_context: NewContext) -> None:
    page = new_context(java_script_enabled=False).new_page()
    sign_in(page, town, "oidc", "heidi")
    page.goto(f"{town.url}/staff/mapping/")
    page.get_by_role("button", name="Add a rule").click()
    page.get_by_label("Group", exact=True).fill("nobody-yet")
    page.get_by_label("Account", exact=True).select_option(label="playground (555566667777) – sandbox")
    page.get_by_label("Role", exact=True).fill("PowerUser")
    page.get_by_role("button", name="Add to the draft").click()
    text = page.locator("#text").input_value()
    page.locator("#text").fill(text + "# by hand\n")
    page.get_by_role("button", name="Preview what changes").first.click()
    expect(page.get_by_text("Nobody's access changes")).to_be_visible()
    page.get_by_role("button", name="Publish,").click()
    expect(page.get_by_text("is in force from now on")).to_be_visible()


def test_the_pages_are_for_everybody(town: Town, new_context: NewContext) -> None:
    page = new_context().new_page()
    sign_in(page, town, "saml", "heidi")
    page.goto(f"{town.url}/staff/mapping/")
    page.get_by_role("button", name="Add a rule").click()
    expect(page.get_by_role("heading", name="Add a rule")).to_be_visible()
    look(page, "add a rule")
    page.get_by_label("Group", exact=True).fill("engineering")
    page.get_by_label("Account", exact=True).select_option(label="playground (555566667777) – sandbox")
    page.get_by_label("Role", exact=True).fill("NoSuchRole")
    page.get_by_role("button", name="Add to the draft").click()
    look(page, "editor")
    draft = page.url.split("?")[0]
    page.locator("#text").fill("version: 1\nmaping: []\n")
    expect(page.get_by_role("heading", name="1 fault in the text")).to_be_visible()
    look(page, "editor with a fault")
    page.locator("#text").fill("mapping: [")
    expect(page.get_by_text("these are the rules as they were last read")).to_be_visible()
    look(page, "editor that cannot be read")
    page.goto(f"{draft}preview")
    look(page, "preview with faults")
    page.goto(f"{town.url}/staff/mapping/")
    page.get_by_role("button", name="Change the mapping").click()
    other = page.url
    page.goto(f"{other}rules/0/")
    page.get_by_label("The rule, as YAML").fill(
        page.get_by_label("The rule, as YAML").input_value().replace("1h", "2h")
    )
    page.get_by_role("button", name="Save this rule").click()
    page.goto(f"{other}preview")
    look(page, "preview")
    # Rights that somebody gains are a sentence, however many accounts they are for.
    sign_in(new_context().new_page(), town, "saml", "alice")
    page.goto(other)
    page.locator("#text").fill(page.locator("#text").input_value().replace("shop-owners", "engineering"))
    expect(page.get_by_text("Kept. No faults.")).to_be_visible()
    page.goto(f"{other}preview")
    expect(page.get_by_role("region", name="Rights in the gateway")).to_contain_text("Account owner of")
    look(page, "preview, rights")
    for path in ("/staff/mapping/", "/staff/mapping/history/", "/staff/mapping/history/1/"):
        page.goto(f"{town.url}{path}")
        look(page, path)
