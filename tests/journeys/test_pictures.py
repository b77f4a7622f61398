"""Every page stands; ROLEGATE_TEST_SCREENSHOTS=1 saves a picture of each, in both themes, into var/pictures/.

Without pictures nothing here looks at a theme, and one is enough: what pages are like in both is for looks.py to say.
Those of README and docs are taken of the demo's company, by demo_pictures.py: here is that it has each that they show.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.journeys import demo_pictures
from tests.journeys.conftest import PICTURED, PRODUCTION, NewContext, Town, sign_in
from tests.live import ROOT

pytestmark = pytest.mark.journey
ELSEWHERE = {"cli"}  # taken of a terminal (tests/cli/test_terminal.py)
SCHEMES = ("light", "dark") if PICTURED else ("light",)
Picture = Callable[[Page, str], None]


def test_what_the_documents_show_is_taken_of_the_demo_and_nothing_is_left_over() -> None:
    shown = {
        name
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"images/([a-z-]+)\.png", page.read_text(encoding="utf-8"))
    }
    taken = {f"{one.name}{theme}" for one in demo_pictures.PICTURES for theme in ("", *(["-dark"] if one.dark else []))}
    assert shown == taken | ELSEWHERE
    there = {path.stem for path in (ROOT / "docs" / "images").glob("*.png")}
    assert there == taken | ELSEWHERE


def test_in_light(new_context: NewContext, stage: Town, picture: Picture) -> None:
    page = new_context(color_scheme="light", device_scale_factor=1.5).new_page()
    page.goto(f"{stage.url}/signin/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    picture(page, "signin")
    sign_in(page, stage, "saml")
    expect(page.get_by_role("heading", name="shop-prod")).to_be_visible()
    picture(page, "roles")
    page.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    page.get_by_role("button", name="Get credentials").click()
    expect(page.get_by_role("tablist")).to_be_visible()
    picture(page, "credentials")
    page.goto(f"{stage.url}/")
    page.get_by_role("button", name="Console for ReadOnly in shop-prod").click()
    page.wait_for_url(f"{stage.aws.url}/console")
    picture(page, "console")
    page.goto(f"{stage.url}/signin/corp/complete?code=an-old-one")
    expect(page.locator("#request-id")).to_be_visible()
    picture(page, "error")


@pytest.mark.parametrize(("name", "width"), [("roles-narrow", 320), *([("roles-dark", 1280)] if PICTURED else [])])
def test_roles_in_dark_and_narrow(
    new_context: NewContext, stage: Town, picture: Picture, name: str, width: int
) -> None:
    scheme = "dark" if name == "roles-dark" else "light"
    page = new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, device_scale_factor=1.5
    ).new_page()
    sign_in(page, stage, "oidc")
    expect(page.get_by_role("heading", name="shop-prod")).to_be_visible()
    picture(page, name)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pages_of_the_employee(new_context: NewContext, stage: Town, picture: Picture, scheme: str) -> None:
    """One picture of each page in both themes."""
    page = new_context(color_scheme=scheme).new_page()
    sign_in(page, stage, "oidc", "ivan")
    end = "" if scheme == "light" else "-dark"
    administrator = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
    page.locator("#q").fill("prod")
    expect(page.locator("#found .name").first).to_be_visible()
    picture(page, f"roles-search{end}")
    for path, heading, name in (
        (f"/roles/{PRODUCTION}/ReadOnly/", "ReadOnly", "role"),
        (f"/requests/new?role={administrator}", "Ask for access", "request-new"),
        (f"/why/?role={administrator}", "Why Administrator?", "why"),
        ("/activity/", "My activity", "activity"),
        ("/device/", "Pair a device", "device"),
    ):
        page.goto(f"{stage.url}{path}")
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        picture(page, f"{name}{end}")
    page.goto(f"{stage.url}/requests/new?role={administrator}")
    page.get_by_label("Reason").fill("Deploy 4711 fails, and I must see its task definition")
    page.get_by_role("button", name="Send the request").click()
    page.wait_for_url("**/requests/*-*/")
    lead = new_context(color_scheme=scheme).new_page()
    sign_in(lead, stage, "oidc", "frank")
    lead.goto(page.url)
    expect(lead.get_by_role("heading", name="Ivan Shopkeeper asks for access")).to_be_visible()
    picture(lead, f"request-decide{end}")
    page.get_by_role("button", name="Withdraw the request").click()
    expect(page.locator("main")).to_contain_text("Withdrawn")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_pages_of_the_console(new_context: NewContext, stage: Town, picture: Picture, scheme: str) -> None:
    """One picture of each page of the admin console in both themes."""
    page = new_context(color_scheme=scheme).new_page()
    sign_in(page, stage, "oidc", "carol")
    end = "" if scheme == "light" else "-dark"
    for path, heading, name in (
        ("", "Overview", "overview"),
        ("mapping/", "Mapping", "mapping"),
        ("people/", "People", "people"),
        ("unused/", "Unused access", "unused"),
        ("audit/", "Audit log", "audit"),
        ("accounts/", "Accounts", "accounts"),
        ("roles/", "Roles", "catalogue-roles"),
        ("findings/", "Trust findings", "findings"),
        ("onboard/", "Onboard an account", "onboard"),
        ("held/", "Held answers", "held"),
        ("tasks/", "Background work", "tasks"),
        ("tokens/", "Tokens", "tokens"),
        ("providers/", "Identity providers", "providers"),
        ("rights/", "Rights", "rights"),
    ):
        page.goto(f"{stage.url}/staff/{path}")
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        picture(page, f"staff-{name}{end}")
    page.goto(f"{stage.url}/staff/mapping/")
    page.get_by_role("button", name="Change the mapping").click()
    page.wait_for_url("**/staff/mapping/drafts/*/")
    picture(page, f"staff-mapping-editor{end}")
