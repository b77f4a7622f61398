"""The admin console in a real browser: what owners and auditors come for, and axe over every page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, at_console, run_now, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey

PAGES = (
    "/staff/", "/staff/people/", "/staff/people/?q=nobody+has+this+name", "/staff/unused/",
    "/staff/unused/rule?name=engineers-read-production", "/staff/audit/", "/staff/audit/?kind=sign_in", "/staff/audit/?q=kind:nonsense",
    "/staff/audit/verify/", "/staff/accounts/", f"/staff/accounts/{PRODUCTION}/", "/staff/roles/", "/staff/roles/?used=never",
    "/staff/findings/", f"/staff/onboard/?account={PRODUCTION}", f"/staff/accounts/{PRODUCTION}/verify", "/staff/tasks/",
    "/staff/tasks/refresh_catalogue/", "/staff/directories/?q=alice", "/staff/held/", "/staff/tokens/", "/staff/rights/", "/staff/rights/0/",
    "/staff/requests/", "/staff/requests/?q=nobody", "/staff/providers/", "/staff/providers/of/corp/", "/staff/providers/of/corp-oidc/",
    "/staff/providers/add/", "/staff/providers/add/?protocol=saml&slug=second", "/staff/providers/add/?protocol=saml&slug=corp", "/staff/audit/1/",
    "/staff/mapping/history/", "/staff/audit/?q=since:yesterday",
)  # fmt: skip


@pytest.fixture(scope="module")
def town(staffed: Town) -> Town:
    """With a worker: accounts are verified, work is started by hand."""
    return staffed


def test_an_auditor_finds_who_had_an_access_key(new_context: NewContext, town: Town) -> None:
    alice = new_context().new_page()
    sign_in(alice, town, "saml", "alice")
    alice.goto(f"{town.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    alice.get_by_role("button", name="Get credentials").click()
    expect(alice.get_by_text(re.compile(r"^A[SK]IA[A-Z0-9]{16}$")).first).to_be_visible()
    key = alice.get_by_text(re.compile(r"^A[SK]IA[A-Z0-9]{16}$")).first.inner_text()

    page = at_console(new_context, town, "grace", "Audit log")
    page.get_by_text("More fields").click()
    page.get_by_label("Access key id").fill(key)
    page.get_by_role("button", name="Search").click()
    rows = page.locator("#events tr")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text(f"got credentials of ReadOnly in shop-prod ({PRODUCTION}): {key}.")
    rows.first.get_by_role("link", name=re.compile("JSON")).click()
    expect(rows.first.locator("pre")).to_contain_text('"access_key_id"')
    # The search is in the address, and nothing that an auditor may not do is offered.
    assert f"key={key}" in page.url
    expect(page.get_by_label("Console").get_by_role("link", name="Background work")).to_be_visible()
    page.goto(f"{town.url}/staff/tasks/")
    expect(page.get_by_role("button", name=re.compile("Run now"))).to_have_count(0)


def test_an_owner_onboards_an_account_and_verifies_it(new_context: NewContext, town: Town) -> None:
    page = at_console(new_context, town, "carol", "Accounts")
    page.get_by_role("link", name="Onboard an account").click()
    page.get_by_label(re.compile("^Account")).fill(PRODUCTION)
    page.get_by_role("button", name="Write the template").click()
    expect(page.locator("#text")).to_contain_text("AWSTemplateFormatVersion")
    # Its owner has applied it: the local AWS is set up as the template says.
    page.get_by_role("link", name="It has been applied: verify").click()
    page.get_by_role("button", name="Verify now").click()
    last = page.locator(".steps > li").last
    expect(last).to_contain_text("A mapped role, assumed", timeout=30_000)
    expect(last).to_contain_text("in order", timeout=30_000)
    expect(page.locator(".steps > li.bad")).to_have_count(0)
    events = [event["kind"] for event in town.gateway.audit()]
    assert events.index("account.verification_asked") < events.index("account.verified")


def test_an_owner_takes_everything_away_from_somebody(new_context: NewContext, town: Town) -> None:
    bob = new_context().new_page()
    sign_in(bob, town, "saml", "bob")
    page = at_console(new_context, town, "carol", "People")
    page.get_by_label("Search").fill("bob")
    page.get_by_role("link", name="Bob Contractor").click()
    page.get_by_role("link", name="Revoke everything").click()
    page.get_by_label("Why").fill("laptop stolen")
    page.get_by_role("button", name="Revoke everything").click()
    expect(page.get_by_text("Done.")).to_be_visible()
    expect(page.locator("#policy")).to_contain_text("aws:SourceIdentity")
    bob.reload()
    expect(bob).to_have_url(re.compile("/signin/"))


def test_background_work_is_started_by_hand_and_its_end_is_seen(new_context: NewContext, town: Town) -> None:
    page = at_console(new_context, town, "carol", "Background work")
    expect(page.get_by_text("1 worker answers")).to_be_visible()
    page.get_by_role("button", name=re.compile("Run now.*Clearing up")).click()
    row = page.locator("tr", has_text="Clearing up")
    expect(row).to_contain_text("ended well", timeout=20_000)


def test_axe_finds_nothing_on_any_page(new_context: NewContext, town: Town) -> None:
    page = new_context().new_page()
    sign_in(page, town, "saml", "carol")
    person = page.goto(f"{town.url}/staff/people/") and page.locator(
        "#list tbody th a", has_text="Carol"
    ).first.get_attribute("href")
    admin = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
    of_person = (
        "",
        "explain",
        f"explain?role={admin}",
        "explain?role=nothing",
        "compare?with=alice",
        "compare?with=nobody",
        "revoke",
    )
    for path in (*PAGES, *(f"{person}{more}" for more in of_person)):
        page.goto(f"{town.url}{path}")
        expect(page.locator("[aria-busy=true]")).to_have_count(0)  # what is being fetched is dimmed meanwhile
        look(page, path)
    page.goto(f"{town.url}/staff/tokens/")
    page.get_by_role("button", name="Make it").click()
    look(page, "tokens, with a fault")


def test_a_narrow_window_has_the_lists_on_their_side_and_sorts_them(new_context: NewContext, town: Town) -> None:
    """At 320 px nothing is out of sight to the side, and what sorts is there to be tapped."""
    page = at_console(new_context, town, "carol", "Background work")
    run_now(page, town, "Accounts and roles")  # without it there is no list of roles
    page.set_viewport_size({"width": 320, "height": 800})
    for path, head in (("accounts", "Roles"), ("people", "Last sign-in"), ("roles", "Last used"), ("unused", "People")):
        page.goto(f"{town.url}/staff/{path}/")
        table = page.locator("#list table.stacks")
        expect(table.locator("tbody tr").first).to_be_visible()
        assert page.locator("#list .scroll").evaluate("(box) => box.scrollWidth - box.clientWidth") <= 0, path
        sorts = table.locator("thead").get_by_role("link", name=head)
        expect(sorts).to_be_visible()
        sorts.click()
        expect(page).to_have_url(re.compile("sort="))
        expect(table.locator("thead th[aria-sort=ascending], thead th[aria-sort=descending]")).to_have_text(head)
    page.goto(f"{town.url}/staff/audit/")
    assert page.locator("#list .scroll").evaluate("(box) => box.scrollWidth - box.clientWidth") <= 0


def test_the_console_is_walked_by_keyboard_alone(new_context: NewContext, town: Town) -> None:
    """Skip link, navigation, search, result: and after the list was swapped the focus is where it was."""
    page = at_console(new_context, town, "carol", "People")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "q":
            break
    expect(page.get_by_label("Search")).to_be_focused()
    with page.expect_response(re.compile("q=carol")):
        page.keyboard.type("carol")
    expect(page.locator("#list tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search")).to_be_focused()
