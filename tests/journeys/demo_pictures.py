"""The pictures of README and docs, taken of the running demo: a whole company, forty accounts, ninety days.

    make demo                                        # in another shell
    .venv/bin/python -m tests.journeys.demo_pictures [--base http://localhost:8000] [--into docs/images] [NAME …]

Each is a page as somebody of the company has it. Nothing is published and nothing is decided; a draft that is begun is withdrawn.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from demo.cast import CAST
from tests.live import ROOT

SHOP = "111122223333"
ADMINISTRATOR = f"arn:aws:iam::{SHOP}:role/Administrator"
RESPONDER = f"{SHOP}/roles/IncidentResponder"
HEIGHT = 1000


@dataclass(frozen=True)
class Picture:
    """`who` at `path`; `ready`: what to do and wait for before it is taken. `dark`: in both themes."""

    name: str
    who: str
    path: str
    ready: Callable[[Page], None] = lambda page: None
    dark: bool = False
    width: int = 1280


def _credentials(page: Page) -> None:
    page.get_by_role("button", name="Get credentials").click()
    expect(page.get_by_role("tablist")).to_be_visible()


def _waiting(page: Page) -> None:
    page.locator("main").get_by_role("link", name=re.compile("asks|Alice")).first.click()
    expect(page.get_by_role("button", name="Decide")).to_be_visible()


def _policies(page: Page) -> None:
    page.locator(".can summary").first.click()
    expect(page.locator(".can pre").first).to_be_visible()


def _somebody(page: Page) -> None:
    page.locator("tbody th a").first.click()
    expect(page.get_by_role("heading", name="Access now")).to_be_visible()


def _editor(page: Page) -> None:
    page.get_by_role("button", name="Change the mapping").click()
    page.wait_for_url("**/staff/mapping/drafts/*/")
    expect(page.locator("#rules-sheet, .sheet-rules").first).to_contain_text("matches")


def _preview(page: Page) -> None:
    _editor(page)
    text = page.locator("#text")
    text.fill(text.input_value().replace("groups: [finops]", "groups: [finops, finance]"))
    page.get_by_role("button", name="Preview what changes").first.click()
    page.wait_for_load_state()
    expect(page.get_by_role("heading", name="Who gains and who loses what")).to_be_visible()


PICTURES = (
    Picture("signin", "", "/signin/"),
    Picture("roles", "alice", "/", dark=True),
    Picture("roles-narrow", "alice", "/", width=320),
    Picture("credentials", "alice", f"/roles/{SHOP}/ReadOnly/credentials", _credentials),
    Picture("why", "alice", f"/why/?role={ADMINISTRATOR}"),
    Picture("device", "alice", "/device/"),
    Picture("request-decide", "frank", "/requests/to-decide/", _waiting),
    Picture("staff-overview", "carol", "/staff/"),
    Picture("staff-mapping-editor", "heidi", "/staff/mapping/", _editor, dark=True),
    Picture("staff-mapping-preview", "heidi", "/staff/mapping/", _preview),
    Picture("staff-person", "carol", "/staff/people/?q=alice", _somebody),
    Picture("staff-unused", "carol", "/staff/unused/"),
    Picture("staff-audit", "grace", "/staff/audit/?q=-kind:mint.token"),
    Picture("staff-accounts", "carol", "/staff/accounts/"),
    Picture("staff-catalogue-role", "carol", f"/staff/accounts/{RESPONDER}/", _policies),
    Picture("staff-findings", "carol", "/staff/findings/"),
    Picture("staff-onboard", "carol", "/staff/onboard/"),
    Picture("staff-tasks", "carol", "/staff/tasks/"),
    Picture("staff-provider", "carol", "/staff/providers/of/corp/"),
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless, and it calls nobody on its own."""
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"]
        )
        yield browser
        browser.close()


def sign_in(page: Page, base: str, who: str) -> None:
    """By clicking, at the demo's identity provider."""
    page.goto(f"{base}/signin/")
    page.get_by_role("link", name="Sign in with Example Corp (SAML)").click()
    page.get_by_label("Name", exact=True).fill(who)
    page.get_by_label("Password").fill(CAST[who].password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{base}/")


def take(browser: Browser, base: str, pictures: list[Picture], into: Path) -> None:
    """Every picture, in both themes where it is so."""
    into.mkdir(parents=True, exist_ok=True)
    for who in dict.fromkeys(picture.who for picture in pictures):
        page = browser.new_context(device_scale_factor=1.25, reduced_motion="reduce").new_page()
        if who:
            sign_in(page, base, who)
        for picture in (one for one in pictures if one.who == who):
            page.set_viewport_size({"width": picture.width, "height": HEIGHT})
            for scheme in ("light", "dark") if picture.dark else ("light",):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.goto(base + picture.path)
                if page.locator("[hx-trigger=load]").count():
                    page.wait_for_load_state("networkidle")  # what comes by itself a moment later
                picture.ready(page)
                page.screenshot(path=into / f"{picture.name}{'-dark' if scheme == 'dark' else ''}.png")
                draft = page.get_by_role("button", name="Withdraw this draft")
                if "/drafts/" in page.url:
                    page.goto(re.sub(r"(/drafts/[^/]+/).*", r"\1", page.url))
                    draft.click()
                    page.wait_for_load_state()


def main() -> None:
    """Take them all, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--base", default="http://localhost:8000")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args()
    unknown = set(given.names) - {picture.name for picture in PICTURES}
    if unknown:
        raise SystemExit(f"There is no picture {', '.join(sorted(unknown))}.")
    with chromium() as browser:
        take(browser, given.base, [one for one in PICTURES if not given.names or one.name in given.names], given.into)


if __name__ == "__main__":
    main()
