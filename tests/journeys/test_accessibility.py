"""axe on every page: light and dark, 320 and 1280 px wide, full, empty and in error; and nothing is wider than the window."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.journeys.conftest import PRODUCTION, NewContext, Town, sign_in

pytestmark = pytest.mark.journey

# Everything that axe knows, with the rule that it leaves off by itself: targets of at least 24 px.
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
VIEWS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 320)]
IDS = [f"{scheme}-{width}" for scheme, width in VIEWS]


def _check(page: Page, what: str) -> None:
    found = Axe().run(page, options=OPTIONS).response["violations"]
    told = [
        f"{item['id']} ({item['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for item in found
        for node in item["nodes"][:3]
    ]
    assert not told, f"{what} at {page.url}:\n" + "\n".join(told)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{what} at {page.url} is {wide} px wider than the window"
    broken = page.evaluate(
        """() => [...document.querySelectorAll('.button, .badge, h1, h2')].filter((element) => {
          // A word that is drawn in two pieces has more boxes than one.
          const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
          for (let node = texts.nextNode(); node; node = texts.nextNode()) {
            if (node.parentElement.closest('.vh')) continue;
            for (const word of node.data.matchAll(/[A-Za-z]{3,15}/g)) {
              const range = document.createRange();
              range.setStart(node, word.index);
              range.setEnd(node, word.index + word[0].length);
              if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) return true;
            }
          }
          return false;
        }).map((element) => element.innerText)"""
    )
    assert not broken, f"{what} at {page.url} breaks words: {broken}"


@pytest.fixture(params=VIEWS, ids=IDS)
def view(request: pytest.FixtureRequest, new_context: NewContext) -> Page:
    """A page in one of the four views."""
    scheme, width = request.param
    return new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()


def test_pages_of_somebody_who_is_not_signed_in(view: Page, stage: Town) -> None:
    view.goto(f"{stage.url}/signin/")
    _check(view, "sign-in")
    view.get_by_label("Work e-mail").fill("nobody")
    view.get_by_role("button", name="Continue").click()
    expect(view.get_by_role("heading", name="There is a problem")).to_be_visible()
    _check(view, "sign-in with a fault")
    for path in ("/signin/nowhere/", "/no-such-page", "/signout/done", "/signin/corp/complete?code=x"):
        view.goto(f"{stage.url}{path}")
        _check(view, path)


def test_pages_of_alice(view: Page, stage: Town) -> None:
    sign_in(view, stage, "saml")
    _check(view, "roles")
    view.get_by_label("Search by account, id, role or environment").fill("nothing has this name")
    expect(view.get_by_role("heading", name="No role matches")).to_be_visible()
    _check(view, "roles, no match")
    view.locator("#q").fill("prod")
    expect(view.locator("#found .name").first).to_be_visible()
    _check(view, "roles, found")
    view.get_by_role("button", name="Keyboard").click()
    _check(view, "roles, the dialog open")
    for path in (
        f"/roles/{PRODUCTION}/ReadOnly/",
        "/requests/",
        "/requests/to-decide/",
        "/requests/new",
        "/why/?q=shop",
        f"/why/?role=arn:aws:iam::{PRODUCTION}:role/Administrator",
        "/why/?role=nothing",
        "/activity/",
        f"/roles/{PRODUCTION}/ReadOnly/console",
        f"/roles/{PRODUCTION}/ReadOnly/credentials",
        f"/roles/{PRODUCTION}/Administrator/console",
        "/cli/",
        "/device/",
        "/signout/",
        f"/oauth/authorize?response_type=code&client_id=rolegate-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A49152%2Fcallback&code_challenge={'A' * 43}&code_challenge_method=S256",
    ):
        view.goto(f"{stage.url}{path}")
        _check(view, path)
    view.goto(f"{stage.url}/roles/{PRODUCTION}/ReadOnly/credentials")
    view.get_by_role("button", name="Get credentials").click()
    expect(view.get_by_role("tablist")).to_be_visible()
    _check(view, "credentials")
    view.get_by_text("Show the secret").locator("visible=true").click()
    _check(view, "credentials, opened")


def test_pages_of_a_request(view: Page, stage: Town, new_context: NewContext) -> None:
    """Asked for (with a fault first), decided on by somebody else, taken in an emergency."""
    role = f"arn:aws:iam::{PRODUCTION}:role/Administrator"
    sign_in(view, stage, "oidc", "ivan")
    view.goto(f"{stage.url}/requests/new?role={role}")
    _check(view, "asking")
    view.get_by_role("button", name="Send the request").click()
    _check(view, "asking, with a fault")
    view.get_by_label("Reason").fill("Something is to be looked at")
    view.get_by_role("button", name="Send the request").click()
    view.wait_for_url("**/requests/*-*/")
    _check(view, "asked")
    address = view.url
    lead = new_context(color_scheme="dark" if view.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light",
                       viewport=view.viewport_size).new_page()  # fmt: skip
    sign_in(lead, stage, "oidc", "frank")
    lead.goto(f"{stage.url}/requests/to-decide/")
    _check(lead, "to decide")
    lead.goto(address)
    _check(lead, "deciding")
    lead.goto(f"{stage.url}/requests/break-glass?role={role}")
    _check(lead, "break-glass")
    view.get_by_role("button", name="Withdraw the request").click()
    expect(view.locator("main")).to_contain_text("Withdrawn")
    _check(view, "withdrawn")


@pytest.mark.parametrize("who", ["erin", "olivia"])
def test_empty_states(view: Page, stage: Town, who: str) -> None:
    sign_in(view, stage, "oidc", who)
    expect(view.get_by_role("heading", name="roles").first).to_be_visible()
    _check(view, f"roles of {who}")


def test_the_check_itself_sees_a_fault(new_context: NewContext, stage: Town) -> None:
    """Without this, a checker that finds nothing would pass everything above."""
    page = new_context().new_page()
    page.goto(f"{stage.url}/signin/")
    page.evaluate("document.querySelector('label[for=email]').remove()")
    with pytest.raises(AssertionError, match="label"):
        _check(page, "sign-in without a label")
