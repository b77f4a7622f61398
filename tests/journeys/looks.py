"""One look at a page as each of its readers has it: axe in both themes and two widths, in forced colours, at 4K and while it waits.

A page is loaded once and looked at several times: theme and width are the browser's, and a page of ours changes by them without
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
LARGE = {"width": 3840, "height": 2160}
# Everything that axe knows, with the rule that it leaves off by itself: targets of at least 24 px. A theme is colours and
# nothing else, so in the second one the rules about colours are asked.
_RUN = """(only) => axe.run(document, {resultTypes: ["violations"], rules: {"target-size": {enabled: true}}, ...only}).then(found =>
  found.violations.flatMap(item => item.nodes.slice(0, 3).map(node =>
    `${item.id} (${item.impact}): ${node.html.slice(0, 200)} ${(node.failureSummary || "").slice(0, 300)}`)))"""
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Events of the log have key ids, digests and addresses within their sentences, which break where they must.
_BROKEN = """() => [...document.querySelectorAll('.button, .badge, h1, h2, .stacks:not(.events) :is(th, td)')].filter((element) => {
  // A word that is drawn in two pieces has more boxes than one.
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    if (node.parentElement.closest('.vh, .id, .mono')) continue;  // an id breaks where it must
    for (const word of node.data.matchAll(/[A-Za-z]{3,15}/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) return true;
    }
  }
  return false;
}).map((element) => element.innerText)"""


# What is chosen in a list is read without opening it. The arrow takes 24 px at most.
_CUT = """() => [...document.querySelectorAll('main select:not([multiple])')].filter((select) => {
  if (!select.checkVisibility() || !select.selectedOptions.length) return false;
  const style = getComputedStyle(select);
  const pen = document.createElement('canvas').getContext('2d');
  pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 24;
  return pen.measureText(select.selectedOptions[0].text).width > room;
}).map((select) => select.selectedOptions[0].text)"""

# In forced colours nothing has the colours that its author gave it, so nothing may be told by a background or a shadow alone.
_FORCED = """() => {
  const found = [];
  const shown = (element) => element.checkVisibility({visibilityProperty: true}) && element.getClientRects().length > 0;
  const probe = document.body.appendChild(document.createElement('i'));
  const system = new Set(['CanvasText', 'Canvas', 'LinkText', 'Highlight', 'ButtonText', 'ButtonBorder', 'GrayText', 'HighlightText', 'SelectedItem'].map((name) => {
    probe.style.color = name;
    return getComputedStyle(probe).color;
  }));
  const canvas = getComputedStyle(document.documentElement).backgroundColor;
  probe.remove();
  const looks = (element) => {
    const style = getComputedStyle(element);
    return ['borderTopWidth', 'borderTopColor', 'borderBottomWidth', 'borderBottomColor', 'borderBottomStyle', 'borderInlineStartWidth', 'borderInlineStartColor',
      'fontWeight', 'outlineStyle', 'outlineWidth', 'textDecorationLine'].map((name) => style[name]).join(' ');
  };
  const chosen = '[aria-current]:not([aria-current="false"]), [aria-selected="true"], [aria-pressed="true"]';
  for (const element of document.querySelectorAll(chosen)) {
    if (!shown(element)) continue;
    const siblings = [...document.querySelectorAll(`${element.tagName}.${[...element.classList].join('.') || 'none'}, ${element.tagName}`)]
      .filter((other) => !other.matches(chosen) && shown(other) && other.className === element.className && other.closest('nav, ul, form, tbody, table, [role=tablist]') === element.closest('nav, ul, form, tbody, table, [role=tablist]'));
    if (siblings.length && siblings.every((other) => looks(other) === looks(element))) found.push(`looks as if it were not chosen: ${element.outerHTML.slice(0, 150)}`);
  }
  for (const element of document.querySelectorAll('.button, .badge, .input:not(.code-area *), .select, .note, .tile, .chip, .choices > label')) {
    const style = getComputedStyle(element);
    if (shown(element) && (parseFloat(style.borderTopWidth) < 1 || style.borderTopColor === canvas)) found.push(`has no border: ${element.outerHTML.slice(0, 150)}`);
  }
  for (const shape of document.querySelectorAll('main svg :is(rect, path, circle)')) {
    const style = getComputedStyle(shape);
    if (shown(shape) && style.fill !== 'none' && style.fill !== getComputedStyle(shape.ownerSVGElement).color && !system.has(style.fill)) found.push(`a colour of its own: ${style.fill} of ${shape.outerHTML.slice(0, 100)}`);
  }
  return [...new Set(found)];
}"""
# What is being waited for is read meanwhile.
_BUSY = """(busy) => document.querySelectorAll('main .button, main form[data-busy], #list, #result, #found, #story, #status, main section').forEach(
  (element) => busy ? element.setAttribute('aria-busy', 'true') : element.removeAttribute('aria-busy'))"""
_LONG = """() => [...document.querySelectorAll('main p, main dd')].filter((element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const size = parseFloat(getComputedStyle(element).fontSize);
  return element.innerText.length > 200 && range.getBoundingClientRect().width > size * 60;
}).map((element) => element.innerText.slice(0, 80))"""
# Lists and tables take the room that a large screen has: at the least a third of it.
_NARROW = """() => [...document.querySelectorAll('main > .wrap:is(.console, .roomy)')].filter(
  (element) => element.getBoundingClientRect().width < innerWidth / 3).map((element) => element.className)"""


def look(page: Page, what: str) -> None:
    """All views, and the page laid out from right to left; the page is left as it was: light, 1280 px. Raises AssertionError."""
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
        cut = page.evaluate(_CUT)
        assert not cut, f"{view} cuts short what is chosen: {cut}"
        _picture(page, what, f"{scheme}-{width}")
    page.set_viewport_size({"width": 1280, "height": HEIGHT})
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(_BUSY, True)
        told = page.evaluate(_RUN, _COLOURS)
        page.evaluate(_BUSY, False)
        assert not told, f"{what} at {page.url}, {scheme}, while it waits:\n" + "\n".join(told)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, forced_colors="active", reduced_motion="reduce")
        found = page.evaluate(_FORCED)  # not by axe: it reads the colours that the author gave
        assert not found, f"{what} at {page.url}, {scheme}, in forced colours:\n" + "\n".join(found)
        _picture(page, what, f"forced-{scheme}-1280")
    page.emulate_media(color_scheme="light", forced_colors="none", reduced_motion="reduce")
    page.set_viewport_size(LARGE)
    assert page.evaluate(_WIDER) <= 0, f"{what} at {page.url}, 3840 px, is wider than the window"
    found = page.evaluate(_LONG)
    assert not found, f"{what} at {page.url}, 3840 px, has lines that are too long to read: {found}"
    narrow = page.evaluate(_NARROW)
    assert not narrow, f"{what} at {page.url}, 3840 px, leaves most of the window empty: {narrow}"
    _picture(page, what, "light-3840")
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
