"""A trust finding, mended: its corrected policy is copied, put into the account, and found good."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from demo import estate
from tests.journeys.conftest import STAGING, NewContext, Town, at_console, run_now, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey


def test_the_corrected_policy_is_copied_and_mends_the_role(new_context: NewContext, staffed: Town) -> None:
    issuer = staffed.gateway.issuer
    provider = staffed.aws.register_oidc_provider(STAGING, issuer, [estate.AUDIENCE])
    faulty = estate.trust_policy(provider, issuer)
    faulty["Statement"][0]["Action"] = ["sts:AssumeRoleWithWebIdentity"]  # as of somebody who read half of the page
    del faulty["Statement"][0]["Condition"]  # and whoever has a token of the gateway's gets in
    arn = staffed.aws.create_role(STAGING, "Developer", faulty, estate.ROLES["Developer"])
    try:
        carol = at_console(
            new_context, staffed, "carol", "Background work", permissions=["clipboard-read", "clipboard-write"]
        )
        run_now(carol, staffed, "Accounts and roles")
        run_now(carol, staffed, "Trust findings")
        alice = new_context().new_page()
        sign_in(alice, staffed, "oidc", "alice")
        alice.goto(f"{staffed.url}/roles/{STAGING}/Developer/credentials")
        alice.get_by_role("button", name="Get credentials").click()
        expect(alice.get_by_role("main")).to_contain_text("AWS refused the role.")

        carol.get_by_label("Console").get_by_role("link", name="Trust findings").click()
        row = carol.locator("#list tbody tr", has_text="shop-staging").filter(has_text="Keeps people out")
        row = row.filter(has=carol.get_by_role("link", name="Developer")).first
        expect(row).to_contain_text("a corrected policy is on the role's page")
        row.get_by_role("link", name="Developer").click()
        trust = carol.get_by_role("region", name="Trust")
        expect(trust).to_contain_text("sts:TagSession")
        look(carol, "staff, a role with findings")
        trust.get_by_role("button", name="Copy the corrected policy").click()
        expect(trust.get_by_text("Copied")).to_be_visible()
        corrected = json.loads(carol.evaluate("navigator.clipboard.readText()"))
        actions = {action for statement in corrected["Statement"] for action in statement["Action"]}
        assert {"sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"} <= actions

        # The account's owner puts it there; AWS lets her in, and the next reading finds nothing.
        staffed.aws.create_role(STAGING, "Developer", corrected, estate.ROLES["Developer"])
        alice.goto(f"{staffed.url}/roles/{STAGING}/Developer/credentials")
        alice.get_by_role("button", name="Get credentials").click()
        expect(alice.get_by_role("tablist")).to_be_visible()
        of_role = carol.url
        run_now(carol, staffed, "Accounts and roles")
        run_now(carol, staffed, "Trust findings")
        carol.goto(of_role)
        expect(trust).to_contain_text("Nothing is wrong")
        expect(trust.get_by_role("button", name="Copy the corrected policy")).to_have_count(0)
    finally:
        staffed.aws.create_role(STAGING, "Developer", estate.trust_policy(provider, issuer), estate.ROLES["Developer"])
    found = staffed.gateway.rows(f"SELECT code FROM federation_trustfinding WHERE role_arn = '{arn}'")
    assert found == []
    tries = [event for event in staffed.gateway.audit("credentials") if event["data"].get("role_arn") == arn]
    assert [(event["outcome"], event["reason"]) for event in tries[-2:]] == [
        ("failed", "sts_access_denied"),
        ("ok", ""),
    ]
