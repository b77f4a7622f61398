"""A browser for BROWSER: opens one address of the gateway, signs in at the demo's identity provider, and answers Allow or Deny.

    python -m tests.cli.visitor_browser WHO DECISION RECORD URL

It is no double of the gateway's pages: it fills in the forms that they have, over HTTP, as a browser without scripts does.
Each start is a line in RECORD, so that a test can count the tabs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from demo.cast import CAST
from tests.live import Visitor


def main(who: str, decision: str, record: str, url: str) -> None:
    with Path(record).open("a") as file:
        file.write(f"{url}\n")
    visitor = Visitor()
    page = visitor.get(url)
    link = next(a["href"] for a in page.soup.find_all("a", href=True) if "/signin/corp-oidc/" in a["href"])
    parts = urlsplit(page.url)
    page = visitor.get(f"{parts.scheme}://{parts.netloc}{link}")
    page = visitor.submit(page, page.form("login", "password"), login=who, password=CAST[who].password)
    visitor.submit(page, page.form("decision"), decision=decision)


if __name__ == "__main__":
    main(*sys.argv[1:5])
