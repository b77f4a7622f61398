"""Break-glass as people live it: taken with a second look, told aloud, seen by who watches, reviewed by somebody else."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, at_console, sign_in
from tests.journeys.looks import look

pytestmark = pytest.mark.journey
INCIDENT = "INC-17: the shop is down, and its queue must be emptied by hand"


def test_from_the_emergency_to_the_review(new_context: NewContext, town: Town) -> None:
    # Who could say yes besides: somebody who is told, and may review.
    document = town.mapping()
    rule = next(rule for rule in document["mapping"] if rule["name"] == "administrators-by-request")
    rule["approval"]["by"].append("cloud-platform")
    town.gateway.apply(document)
    carol = at_console(new_context, town, "carol", "Overview")
    unreviewed = carol.locator("a.tile", has_text="Break-glasses to review").locator(".figure")
    before = int(unreviewed.inner_text())
    frank = new_context().new_page()
    sign_in(frank, town, "saml", "frank")

    frank.get_by_role("link", name="Ask for Administrator in shop-prod").click()
    frank.get_by_role("link", name="Break the glass").click()
    expect(frank.get_by_role("main")).to_contain_text(re.compile(r"[1-9] (person|people) who could have approved it"))
    expect(frank.get_by_role("main")).to_contain_text("everything that the role itself may do")
    expect(frank.get_by_role("group", name="How long")).to_contain_text("From now on.")
    look(frank, "break the glass")
    # The second look: nothing happens by a click alone, nor with another account's name.
    frank.get_by_label("Reason").fill(INCIDENT)
    frank.get_by_label("The account’s name").fill("shop-staging")
    frank.get_by_role("button", name="Break the glass").click()
    expect(frank.get_by_role("heading", name="There is a problem")).to_be_visible()
    expect(frank.get_by_label("Reason")).to_have_value(INCIDENT)
    refused = town.gateway.audit("access.break_glass")[-1]
    assert (refused["outcome"], refused["reason"]) == ("refused", "not_confirmed")
    frank.get_by_label("The account’s name").fill("shop-prod")
    frank.get_by_role("button", name="Break the glass").click()
    expect(frank.get_by_role("heading", name="Break-glass: taken without an approval")).to_be_visible()
    expect(frank.get_by_role("main")).to_contain_text("It has not been reviewed yet.")
    case = frank.url
    request_id = case.rstrip("/").rpartition("/")[2]

    # Told aloud: a letter to who could have said yes, and a banner on every page of who watches.
    letters = town.gateway.rows(f"SELECT \"to\", subject FROM federation_letter WHERE body LIKE '%{request_id}%'")
    assert ("carol@example.com", "BREAK-GLASS: Frank Oncall took Administrator in shop-prod") in letters
    carol.reload()
    expect(unreviewed).to_have_text(str(before + 1))
    banner = carol.get_by_role("region", name="Break-glass in use")
    for place in ("People", "Audit log"):
        carol.get_by_label("Console").get_by_role("link", name=place, exact=True).click()
        expect(banner).to_contain_text("Frank Oncall has taken Administrator in shop-prod, until ")
    look(carol, "staff, break-glass in use")

    frank.get_by_role("button", name="Console Administrator, shop-prod").click()
    frank.wait_for_url(f"{town.aws.url}/console")
    expect(frank.locator("#role")).to_have_text("Administrator")
    expect(frank.locator("#account")).to_have_text(PRODUCTION)
    frank.goto(f"{town.url}/")
    expect(frank.locator(".account", has_text="shop-prod").first).to_contain_text(re.compile("Break-glass until"))
    # Whoever took it does not review it.
    frank.goto(case)
    expect(frank.get_by_role("heading", name="Review")).to_have_count(0)

    banner.get_by_role("link", name=re.compile("^Look at it")).click()
    expect(carol.get_by_role("main")).to_contain_text(INCIDENT)
    carol.get_by_role("button", name="Write it down").click()
    expect(carol.get_by_role("heading", name="There is a problem")).to_be_visible()
    carol.get_by_label("What you found").fill("The queue was full, and is empty now: see the post-mortem")
    carol.get_by_label("Yes").check()
    carol.get_by_role("button", name="Write it down").click()
    expect(carol.get_by_role("main")).to_contain_text("Reviewed: it was justified.")
    look(carol, "a break-glass, reviewed")
    frank.reload()
    expect(frank.get_by_role("main")).to_contain_text("Carol Admin")
    expect(frank.get_by_role("main")).to_contain_text("see the post-mortem")
    frank.get_by_role("button", name="Give it back now").click()
    expect(frank.get_by_role("main")).to_contain_text("Ended")
    carol.goto(f"{town.url}/staff/")
    expect(banner).to_have_count(0)
    expect(unreviewed).to_have_text(str(before))

    # The log has all of it, in this order, each by who did it.
    by_whom = town.gateway.actors()
    told = [
        (event["kind"], by_whom[event["actor"]], event["outcome"])
        for event in town.gateway.audit()
        if request_id in json.dumps(event["data"])
    ]
    assert [one for one in told if not one[0].startswith("mint.")] == [
        ("access.break_glass", "Frank Oncall", "ok"),
        ("console", "Frank Oncall", "ok"),
        ("access.reviewed", "Carol Admin", "ok"),
        ("access.ended", "Frank Oncall", "ok"),
    ]
