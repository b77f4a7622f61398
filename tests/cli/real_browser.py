"""A browser for BROWSER: Debian's Chromium, driven as a person would, from the address that it is started with to the end.

    python -m tests.cli.real_browser WHO DECISION PROFILE RECORD URL

Signs in at the demo's identity provider where it is asked to, presses Allow or Deny where a command line asks to be paired,
and writes into RECORD, as JSON, where it ended, what stood there, and what the pages did that they must not.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from demo.cast import CAST

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-proxy-server"]  # fmt: skip


def _sign_in(page: Page, who: str) -> None:
    page.get_by_role("link", name="Sign in with Example Corp (OpenID Connect)").click()
    page.get_by_label("Name", exact=True).fill(who)
    page.get_by_label("Password").fill(CAST[who].password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def main(who: str, decision: str, profile: str, record: str, url: str) -> None:
    """One visit."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=shutil.which("chromium"), args=ARGUMENTS, headless=True
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Security Policy" in message.text else None)
        page.goto(url)
        if "/signin/" in page.url:
            _sign_in(page, who)
        if decision:
            page.get_by_role("button", name=decision, exact=True).click()
            page.wait_for_url(re.compile(r"^http://(127\.0\.0\.1|\[::1\]):\d+/callback"))
            expect(page.get_by_role("heading")).to_have_text(re.compile("signed in"))
        text = page.locator("body").inner_text()
        written = Path(f"{record}.new")
        written.write_text(json.dumps({"url": page.url, "text": text, "faults": faults}))
        written.rename(record)
        context.close()


if __name__ == "__main__":
    main(*sys.argv[1:6])
