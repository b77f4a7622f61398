"""Two accounts answer with almost nothing: nobody loses a role before somebody has looked, one answer is refused, one is let through."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from demo import estate
from tests.journeys.conftest import NewContext, Town, at_console, run_now, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey
PLAYGROUND, LAKE = "555566667777", "777788889999"
KEPT = {estate.READER, "SecurityAudit"}


@pytest.fixture
def shrunken(staffed: Town) -> Iterator[Town]:
    """The town; afterwards both accounts have their roles again, for the next reading to find."""
    yield staffed
    estate.furnish(staffed.aws, staffed.gateway.issuer)


def _roles(page: Page, town: Town, account: str) -> list[str]:
    page.goto(f"{town.url}/")
    return page.locator(".account", has=page.get_by_role("heading", name=account)).locator("a.name").all_inner_texts()


def test_the_last_good_state_goes_on_until_somebody_has_decided(new_context: NewContext, shrunken: Town) -> None:
    dave = new_context().new_page()
    sign_in(dave, shrunken, "saml", "dave")
    carol = at_console(new_context, shrunken, "carol", "Background work")
    run_now(carol, shrunken, "Accounts and roles")
    run_now(carol, shrunken, "Entitlements")
    for account in (PLAYGROUND, LAKE):
        for name in estate.ROLES.keys() - KEPT:
            shrunken.aws.delete_role(f"arn:aws:iam::{account}:role/{name}")
    run_now(carol, shrunken, "Accounts and roles")
    carol.get_by_label("Console").get_by_role("link", name="Overview").click()
    tile = carol.locator("a.tile", has_text="Held answers")
    expect(tile.locator(".figure")).to_have_text("2")
    assert _roles(dave, shrunken, "playground") == ["PowerUser"]  # the last good state
    assert _roles(dave, shrunken, "data-lake") == ["DataScientist", "Developer"]

    tile.click()
    held = {
        name: carol.get_by_role("main").locator("section.card", has=carol.get_by_role("heading", name=re.compile(name)))
        for name in ("playground", "data-lake")
    }
    for name, role in (("playground", "PowerUser"), ("data-lake", "DataScientist")):
        expect(held[name]).to_contain_text("Far more is gone than usual.")
        expect(held[name].locator(".tile").first).to_have_text(re.compile(r"\s*6\s*of 8 would go"))
        expect(held[name]).to_contain_text(f":role/{role}")
        expect(held[name].get_by_text("Who would lose what")).to_be_visible()
        expect(held[name]).to_contain_text("Dave Data")
    look(carol, "staff, answers held")

    held["playground"].get_by_role("button", name="Refuse").click()
    expect(carol.get_by_text("Refused: the last good state stays in force.")).to_be_visible()
    expect(held["playground"]).to_have_count(0)
    held["data-lake"].get_by_role("button", name="Accept").click()
    expect(carol.get_by_text("Accepted: it comes into force with the next reading")).to_be_visible()
    expect(carol.get_by_role("heading", name="Nothing waits")).to_be_visible()
    decided = carol.get_by_role("region", name="Decided lately")
    expect(decided.locator("tbody tr")).to_have_count(2)
    look(carol, "staff, answers decided")

    # A worker reads again by itself: what was let through is gone, what was refused is not, and is not asked again.
    carol.goto(f"{shrunken.url}/staff/accounts/{LAKE}/")
    expect(carol.get_by_role("main")).not_to_contain_text("DataScientist", timeout=20_000)
    run_now(carol, shrunken, "Accounts and roles")
    assert _roles(dave, shrunken, "data-lake") == []
    assert _roles(dave, shrunken, "playground") == ["PowerUser"]
    carol.goto(f"{shrunken.url}/staff/held/")
    expect(carol.get_by_role("heading", name="Nothing waits")).to_be_visible()

    by_whom = shrunken.gateway.actors()
    told = {
        (event["data"]["source"], event["data"]["decision"], by_whom[event["actor"]], event["data"]["removed"])
        for event in shrunken.gateway.audit("answer.decided")
    }
    assert told == {
        (f"account:{PLAYGROUND}", "refused", "Carol Admin", 6),
        (f"account:{LAKE}", "accepted", "Carol Admin", 6),
    }
