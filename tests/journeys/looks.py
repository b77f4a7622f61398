"""One look at a page as each of its readers has it: axe in both themes and two widths, and nothing wider than the window.

A page is loaded once and looked at four times: theme and width are the browser's, and a page of ours changes by them without
being fetched anew. With ROLEGATE_TEST_SCREENSHOTS=1 each look is a picture in var/pictures/, for looking at by eye.
"""

from __future__ import annotations

import os
import re
from importlib.resources import files
from urllib.parse import urlsplit

from playwright.sync_api import Page

from tests.live import ROOT

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
VIEWS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 320)]
HEIGHT = 800
# Everything that axe knows, with the rule that it leaves off by itself: targets of at least 24 px. A theme is colours and
# nothing else, so in the second one the rules about colours are asked.
_RUN = """(only) => axe.run(document, {resultTypes: ["violations"], rules: {"target-size": {enabled: true}}, ...only}).then(found =>
  found.violations.flatMap(item => item.nodes.slice(0, 3).map(node =>
    `${item.id} (${item.impact}): ${node.html.slice(0, 200)} ${(node.failureSummary || "").slice(0, 300)}`)))"""
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_BROKEN = """() => [...document.querySelectorAll('.button, .badge, h1, h2')].filter((element) => {
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


def look(page: Page, what: str) -> None:
    """All four views, and the page laid out from right to left; the page is left as it was: light, 1280 px. Raises AssertionError."""
    # What is still on its way is dimmed, or not there at all.
    page.wait_for_load_state("networkidle" if page.locator("[hx-trigger=load]").count() else "load")
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    for scheme, width in VIEWS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # a colour on its way to another is neither
        page.set_viewport_size({"width": width, "height": HEIGHT})
        view = f"{what} at {page.url}, {scheme}, {width} px"
        told = page.evaluate(_RUN, _COLOURS if scheme == "dark" else {})
        assert not told, f"{view}:\n" + "\n".join(told)
        assert page.evaluate(_WIDER) <= 0, f"{view} is {page.evaluate(_WIDER)} px wider than the window"
        broken = page.evaluate(_BROKEN)
        assert not broken, f"{view} breaks words: {broken}"
        _picture(page, what, f"{scheme}-{width}")
    page.evaluate("document.documentElement.dir = 'rtl'")
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        wider = page.evaluate(_WIDER)
        assert wider <= 0, f"{what} at {page.url}, from right to left, {width} px, is {wider} px wider than the window"
    page.evaluate("document.documentElement.removeAttribute('dir')")
    page.emulate_media(color_scheme="light")


def _picture(page: Page, what: str, view: str) -> None:
    if os.environ.get("ROLEGATE_TEST_SCREENSHOTS") != "1":
        return
    folder = ROOT / "var" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", (what if not what.startswith("/") else urlsplit(what).path).lower()).strip("-")
    page.screenshot(
        path=folder / f"{name[:60]}-{view}.png", full_page=not page.locator("dialog[open]").count(), caret="initial"
    )
