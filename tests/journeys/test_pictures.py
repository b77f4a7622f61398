"""The pictures in the README: ROLEGATE_TEST_SCREENSHOTS=1 saves them into docs/images/. Without it the same pages are looked at all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, sign_in

pytestmark = pytest.mark.journey
Picture = Callable[[Page, str], None]


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


@pytest.mark.parametrize(("name", "width"), [("roles-dark", 1280), ("roles-narrow", 320)])
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
