"""The audit log while things happen: what somebody else does turns up by itself, is exported, and the chain is verified."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, at_console, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey


def test_what_somebody_else_does_turns_up_by_itself(new_context: NewContext, staffed: Town) -> None:
    alice = new_context().new_page()
    sign_in(alice, staffed, "oidc", "alice")
    grace = at_console(new_context, staffed, "grace", "Audit log", accept_downloads=True)
    grace.get_by_label("Search").fill("kind:credentials person:alice")
    grace.get_by_role("button", name="Search", exact=True).click()
    before = grace.locator("#events tr").count()
    loads: list[str] = []
    grace.on("framenavigated", lambda frame: loads.append(frame.url))
    grace.get_by_text("Watch it live").click()
    expect(grace.get_by_text("Watching")).to_be_visible()

    alice.goto(f"{staffed.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    alice.get_by_role("button", name="Get credentials").click()
    expect(alice.get_by_role("tablist")).to_be_visible()
    key = alice.get_by_text(re.compile(r"^A[SK]IA[A-Z0-9]{16}$")).first.inner_text()
    expect(grace.locator("#events tr")).to_have_count(before + 1)
    newest = grace.locator("#events tr").first
    expect(newest).to_contain_text(f"got credentials of ReadOnly in shop-prod ({PRODUCTION}): {key}.")
    expect(grace.locator("#announce")).to_have_text("1 new event")
    look(grace, "audit, watched live")
    # What the search leaves out stays out: a sign-in of somebody else is no credentials of Alice's.
    sign_in(new_context().new_page(), staffed, "saml", "bob")
    alice.goto(f"{staffed.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    alice.get_by_role("button", name="Get credentials").click()
    expect(grace.locator("#events tr")).to_have_count(before + 2)
    assert loads == []  # nobody has loaded the page anew

    grace.get_by_role("button", name="Search", exact=True).click()
    with grace.expect_download() as downloaded:
        grace.get_by_role("button", name="JSON lines").click()
    exported = [json.loads(line) for line in downloaded.value.path().read_text(encoding="utf-8").splitlines()]
    assert {event["kind"] for event in exported} == {"credentials"}
    assert len(exported) == before + 2
    assert key in {event["data"]["access_key_id"] for event in exported}
    assert [event["data"]["format"] for event in staffed.gateway.audit("audit.exported")][-1] == "jsonl"

    grace.get_by_role("link", name="Verify").click()
    grace.get_by_role("button", name="Verify now").click()
    expect(grace.locator("#runs tbody tr").first).to_contain_text("intact", timeout=20_000)
    look(grace, "audit, verified")
