"""Lighthouse on sign-in, roles and the mapping editor of the whole demo company.

    npm ci --prefix bench/lighthouse      # once: Lighthouse; the browser is the machine's own Chromium
    .venv/bin/python -m bench.lighthouse

Starts the demo (ports 8000 to 8002), signs in as Alice and as Carol, and asks Lighthouse for each page, as on a slow phone and
on a desk. Targets: performance at least 95, accessibility and best practices 100. The process exits with 1 if one is missed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo import __main__ as demo
from demo import check

HERE = Path(__file__).parent
TARGETS = {"performance": 95, "accessibility": 100, "best-practices": 100}


def cookies(visitor: check.Visitor) -> dict[str, str]:
    """What the browser of this visitor would send to the gateway."""
    return {
        cookie.name: cookie.value or "" for cookie in visitor._session.cookies if cookie.domain.startswith("localhost")
    }


def pages() -> list[dict[str, Any]]:
    """The pages, each as on a phone and on a desk."""
    alice, _ = check.sign_in(demo.GATEWAY, "corp", "alice")
    carol, _ = check.sign_in(demo.GATEWAY, "corp", "carol")
    editor = carol.submit(carol.get(f"{demo.GATEWAY}/staff/mapping/"), "/staff/mapping/begin")
    if editor.status_code != 200 or "/drafts/" not in editor.url:
        raise SystemExit(f"No draft could be begun: {editor.url} answers {editor.status_code}")
    found: list[dict[str, Any]] = [
        {"name": "sign-in", "url": f"{demo.GATEWAY}/signin/", "cookies": {}},
        {"name": "my roles", "url": f"{demo.GATEWAY}/", "cookies": cookies(alice)},
        {"name": "mapping", "url": f"{demo.GATEWAY}/staff/mapping/", "cookies": cookies(carol)},
        {"name": "mapping editor", "url": editor.url, "cookies": cookies(carol)},
    ]
    return [{**page, "preset": preset} for page in found for preset in ("mobile", "desktop")]


def main() -> int:
    chromium = os.environ.get("CHROME_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
    if not (HERE / "node_modules").is_dir() or chromium is None:
        raise SystemExit(
            "Lighthouse and Chromium are wanted: npm ci --prefix bench/lighthouse, and a chromium on the path."
        )
    os.chdir(demo.ROOT)
    demo.clear_environment()
    undo: list[Callable[[], None]] = []
    missed = 0
    try:
        demo.start(undo)
        asked = json.dumps(pages())
        ran = subprocess.run(
            ["node", "run.mjs"], cwd=HERE, input=asked, capture_output=True, text=True, check=False,
            env={**os.environ, "CHROME_PATH": chromium},
        )  # fmt: skip
        if ran.returncode:
            raise SystemExit(ran.stderr[-2000:])
    finally:
        for stop in reversed(undo):
            stop()
    print(f"{'page':24}{'as on a':10}{'performance':>12}{'accessibility':>15}{'best practices':>16}")
    for line in ran.stdout.splitlines():
        page = json.loads(line)
        if page["final"] != page["url"]:
            raise SystemExit(f"{page['url']} led to {page['final']}: not the page that was meant.")
        scores = page["scores"]
        bad = [name for name, least in TARGETS.items() if scores.get(name, 0) < least]
        missed += len(bad)
        print(
            f"{page['name']:24}{page['preset']:10}{scores['performance']:12}{scores['accessibility']:15}{scores['best-practices']:16}"
            f"{'  MISSED' if bad else ''}"
        )
        for why in page["missed"]:
            print(f"    {why}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
