"""Asking for access as people do it: Alice asks, Frank says yes, she uses it, it ends by itself; and without JavaScript."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, sign_in

pytestmark = pytest.mark.journey
REASON = "Deploy 4711 fails, and I must see its task definition"


def _as(new_context: NewContext, stage: Town, who: str, **options: bool) -> Page:
    page = new_context(**options).new_page()
    sign_in(page, stage, "oidc", who)
    return page


def _ask(page: Page, stage: Town) -> str:
    """Ask for Administrator in shop-prod, from the list of roles; returns the request's address."""
    page.goto(f"{stage.url}/")
    page.get_by_role("link", name="Ask for Administrator in shop-prod").click()
    expect(page.get_by_role("heading", name="Who can approve it")).to_be_visible()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_text("30 min", exact=True).click()
    page.get_by_role("button", name="Send the request").click()
    page.wait_for_url("**/requests/*-*/")
    expect(page.locator("main")).to_contain_text("Waiting")
    return page.url


def _end_now(stage: Town) -> None:
    """Half an hour later. The clock of a real process cannot be moved, so its approvals are."""
    stage.gateway.manage(
        "shell", "-v", "0", "-c",
        "from django.utils import timezone; from datetime import timedelta; from federation.models import RequestedRole;"
        "RequestedRole.objects.filter(state='approved').update(ends_at=timezone.now() - timedelta(seconds=1))",
    )  # fmt: skip


@pytest.mark.parametrize("scripts", [True, False], ids=["with-script", "without-script"])
def test_asked_approved_used_and_ended_by_itself(new_context: NewContext, stage: Town, scripts: bool) -> None:
    frank = _as(new_context, stage, "frank", java_script_enabled=scripts)
    alice = _as(new_context, stage, "alice", java_script_enabled=scripts)
    address = _ask(alice, stage)
    expect(alice.get_by_role("button", name="Withdraw the request")).to_be_visible()

    frank.goto(f"{stage.url}/requests/")
    frank.get_by_role("link", name="To decide").first.click()
    frank.get_by_role("link", name="Decide Alice Liddell").last.click()
    expect(frank.locator("main")).to_contain_text(REASON)
    expect(frank.locator("main")).to_contain_text("Everything that the role itself may do")
    frank.get_by_text("Approve", exact=True).click()
    frank.get_by_label("Comment").fill("Until the deploy is through")
    frank.get_by_role("button", name="Decide").click()
    expect(frank.locator("main")).to_contain_text("Approved")

    alice.goto(address)
    expect(alice.locator("main")).to_contain_text("Until the deploy is through")
    alice.get_by_role("button", name="Console Administrator, shop-prod").click()
    alice.wait_for_url(f"{stage.aws.url}/console")
    expect(alice.locator("#account")).to_have_text(PRODUCTION)
    expect(alice.locator("#role")).to_have_text("Administrator")

    _end_now(stage)
    alice.goto(f"{stage.url}/roles/{PRODUCTION}/Administrator/credentials")
    expect(alice.locator("main")).to_contain_text("This role needs an approval by sre-leads")
    alice.goto(address)
    expect(alice.locator("main")).to_contain_text("Ended")


def test_a_fault_takes_the_focus_and_keeps_what_was_typed(new_context: NewContext, stage: Town) -> None:
    page = _as(new_context, stage, "alice")
    page.goto(f"{stage.url}/requests/new?role=arn:aws:iam::{PRODUCTION}:role/Administrator")
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_role("heading", name="There is a problem")).to_be_visible()
    assert page.title().startswith("Error")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "alert"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "reason"


def test_a_draft_survives_a_session_that_has_ended(new_context: NewContext, stage: Town) -> None:
    page = _as(new_context, stage, "alice")
    path = f"{stage.url}/requests/new?role=arn:aws:iam::{PRODUCTION}:role/Administrator"
    page.goto(path)
    page.get_by_label("Reason").fill("Half a page of reasons")
    page.context.clear_cookies(name="rolegate_session")
    page.get_by_role("button", name="Send the request").click()
    expect(page.get_by_label("Reason")).to_have_value(
        "Half a page of reasons"
    )  # on the page of the sign-in, without script too
    page.get_by_role("link", name="Sign in with Example Corp (OpenID Connect)").click()
    page.wait_for_url(f"{stage.url}/requests/new?role=**")  # where the form was, not the address that it is sent to
    expect(page.get_by_label("Reason")).to_have_value("Half a page of reasons")
