"""A real browser, the real gateway as a process, the demo's identity provider on another site (127.0.0.1), and its local AWS.

Chromium is Debian's, without its windows where Debian's chromium-headless-shell is installed: the same engine, network and
storage for half the CPU (https://developer.chrome.com/blog/chrome-headless-shell). The whole one is driven by tests/cli. The
browser lives as long as this folder's tests: Playwright's event loop must not be running when other tests use the database in the
same process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from demo import estate
from demo.aws.server import LocalAws
from demo.cast import CAST
from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp
from tests.faults.servers import RedisServer, celery, wait_until
from tests.live import CLIENT_SECRET, ROOT, Gateway

# In ms: what a busy machine may take to show what is looked for. What is slow by itself is measured in bench/.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)
PICTURED = os.environ.get("ROLEGATE_TEST_SCREENSHOTS") == "1"
PRODUCTION = "111122223333"
STAGING = "222233334444"
DEVELOPMENT = "333344445555"


class Town:
    """Gateway, corporate identity provider and local AWS, set up as `make demo` sets them up, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.aws = LocalAws()
        self.gateway = Gateway(
            folder,
            {
                "AWS_ENDPOINT_URL_STS": self.aws.url,
                "ROLEGATE_SIGNIN_ENDPOINT_URL": self.aws.federation_url,
                "ROLEGATE_SAML_ENDPOINT_URL": f"{self.aws.url}/saml",
                "DEMO_OIDC_SECRET": CLIENT_SECRET,
                "ROLEGATE_EMAIL_URL": "smtp://127.0.0.1:9",  # nobody answers there: letters are written, and wait
            },
        )
        url = self.gateway.url
        client = OidcClient(
            "rolegate",
            CLIENT_SECRET,
            (f"{url}/oidc/corp-oidc/callback",),
            (f"{url}/signout/done",),
            f"{url}/oidc/corp-oidc/backchannel-logout",
        )
        # Registered there, as a provider's own administrators do first, and not known to the gateway yet: for whoever adds them.
        later = OidcClient("later", CLIENT_SECRET, (f"{url}/oidc/second-oidc/callback",), (), "")
        self.idp = CorporateIdp(0, [f"{url}/saml/corp/metadata", f"{url}/saml/second/metadata"], [client, later])
        self.url = url

    def start(self) -> Town:
        self.idp.start()
        self.aws.start()
        self.gateway.start()
        document: dict[str, Any] = yaml.safe_load(estate.MAPPING.read_text())
        for provider in document["identity_providers"]:
            if "saml" in provider:
                provider["saml"]["metadata_url"] = self.idp.metadata_url
            else:
                provider["oidc"] |= {"issuer": self.idp.issuer, "client_secret": "${DEMO_OIDC_SECRET}"}
        self.gateway.apply(document)
        estate.furnish(self.aws, self.gateway.issuer)
        return self

    def stop(self) -> None:
        self.gateway.stop()
        self.aws.stop()
        self.idp.stop()

    def mapping(self) -> dict[str, Any]:
        """The mapping document in force."""
        ((text,),) = self.gateway.rows("SELECT text FROM federation_mappingrevision ORDER BY number DESC LIMIT 1")
        return dict(yaml.safe_load(text))

    def refusal(self, request_id: str) -> tuple[str, str]:
        """(kind, reason) of the one refused event of a request."""
        found = [
            event
            for event in self.gateway.audit()
            if event["request_id"] == request_id and event["outcome"] == "refused"
        ]
        assert len(found) == 1, found
        return found[0]["kind"], found[0]["reason"]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The town, for all journeys of this worker."""
    town = Town(tmp_path_factory.mktemp("town"))
    try:
        yield town.start()
    finally:
        town.stop()


@pytest.fixture(scope="module")
def town(stage: Town) -> Iterator[Town]:
    """The town for a file that publishes mappings: afterwards its mapping is what it was."""
    yield stage
    stage.gateway.manage("rollback", "1")


@pytest.fixture(scope="session")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A town of its own with Redis and a worker behind the gateway: for journeys on which background work is done."""
    folder = tmp_path_factory.mktemp("staffed")
    redis = RedisServer(tmp_path_factory.mktemp("staff-redis"))
    town = Town(folder)
    town.gateway.environment |= {"REDIS_URL": redis.url, "AWS_ENDPOINT_URL_IAM": town.aws.url}
    redis.start()
    worker = ("worker", "--concurrency", "1", "--loglevel", "INFO", "--without-mingle", "--without-gossip")
    try:
        town.start()
        with celery(folder / "worker", town.gateway.environment, *worker) as running:
            running.said("ready")
            yield town
    finally:
        town.stop()
        redis.stop()


class Chromium:
    """Headless Chromium; started anew where it has died, so that one crash is not the end of every journey after it."""

    def __init__(self, launch: Callable[[], Browser]) -> None:
        self._launch = launch
        self._browser: Browser | None = None

    def running(self) -> Browser:
        """The browser, alive."""
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._launch()
        return self._browser

    def close(self) -> None:
        """End it."""
        if self._browser is not None:
            self._browser.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Chromium]:
    """Headless Chromium that calls nobody on its own."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = Chromium(
            lambda: playwright.chromium.launch(
                executable_path=path,
                args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                      "--disable-component-update", "--disable-sync", "--no-proxy-server"],
            )
        )  # fmt: skip
        yield chromium
        chromium.close()


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def faults() -> list[str]:
    """What pages did that they must not: break their own Content-Security-Policy, or throw. Empty at the end of each journey."""
    return []


@pytest.fixture
def new_context(browser: Chromium, faults: list[str]) -> Iterator[NewContext]:
    """A browser profile of somebody's own."""
    contexts: list[BrowserContext] = []

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: (
                faults.append(f"{page.url}: {message.text}") if "Content Security Policy" in message.text else None
            ),
        )

    def make(**options: Any) -> BrowserContext:
        context = browser.running().new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE)
        context.on("page", watch)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        with suppress(Error):  # its browser has died, which the test itself has said
            context.close()
    assert faults == []


def sign_in(page: Page, town: Town, protocol: str, who: str = "alice") -> None:
    """By clicking, as a person does: choose the provider, type name and password there, arrive at My roles."""
    page.goto(f"{town.url}/signin/")
    name = {"saml": "Example Corp (SAML)", "oidc": "Example Corp (OpenID Connect)"}[protocol]
    page.get_by_role("link", name=f"Sign in with {name}").click()
    page.wait_for_url(f"{town.idp.url}/signin**")
    page.get_by_label("Name", exact=True).fill(who)
    page.get_by_label("Password").fill(CAST[who].password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{town.url}/")


def at_console(new_context: NewContext, town: Town, who: str, place: str, **options: Any) -> Page:
    """Somebody who has signed in and come to a page of the console by its navigation."""
    page = new_context(**options).new_page()
    sign_in(page, town, "saml", who)
    page.get_by_role("link", name="Staff", exact=True).click()
    page.get_by_label("Console").get_by_role("link", name=place, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def run_now(page: Page, town: Town, words: str) -> None:
    """By an owner: start a piece of background work by hand, and see it end well."""
    page.goto(f"{town.url}/staff/tasks/")
    row = page.locator("#tasks tbody tr", has=page.get_by_role("link", name=words, exact=True))
    task = str(row.get_by_role("link").get_attribute("id")).removeprefix("task-")
    ended = f"SELECT count(*) FROM federation_taskrun WHERE task = '{task}' AND finished_at IS NOT NULL"
    before = town.gateway.rows(ended)
    with page.expect_navigation():  # to the page that says it has begun: a reload would meet it half way
        row.get_by_role("button", name="Run now").click()
    wait_until(lambda: town.gateway.rows(ended) != before, f"{task} has ended")
    page.reload()
    expect(row).to_contain_text("ended well")


def error_of(page: Page) -> tuple[str, str]:
    """(error code, request id) on the gateway's error page."""
    facts = page.locator("dl.facts")
    return facts.locator("dt:has-text('Error code') + dd").inner_text(), page.locator("#request-id").inner_text()


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Saves a screenshot into var/pictures/ when ROLEGATE_TEST_SCREENSHOTS=1. Those of the README are of the demo (demo_pictures.py)."""

    def take(page: Page, name: str) -> None:
        if PICTURED:
            folder = ROOT / "var" / "pictures"
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png")

    return take
