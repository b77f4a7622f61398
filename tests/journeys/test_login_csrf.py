"""Login CSRF in a real browser: Mallory's own valid, unused sign-in is brought to Alice's browser, and must not sign her in as him.

The attacker's page is on 127.0.0.1, another site than the gateway's localhost, as in life.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from demo.cast import CAST
from tests.journeys.conftest import NewContext, Town, error_of, sign_in
from tests.live import Visitor

pytestmark = pytest.mark.journey


class EvilSite:
    """One page on 127.0.0.1 that does whatever `page` says."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.page = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def evil_site() -> Iterator[EvilSite]:
    site = EvilSite()
    yield site
    site.server.shutdown()
    site.server.server_close()


def _until(page: Page, town: Town, slug: str, pattern: str) -> list[Route]:
    """Mallory signs in at the identity provider as himself (Bob's account) and holds back the last step to the gateway."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)
        route.fulfill(body="held")

    page.context.route(pattern, hold)
    page.goto(f"{town.url}/signin/{slug}/")
    page.get_by_label("Name", exact=True).fill("bob")
    page.get_by_label("Password").fill(CAST["bob"].password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("held")).to_be_visible()
    assert len(held) == 1
    return held


def _is_signed_out(page: Page, town: Town) -> bool:
    page.goto(f"{town.url}/")
    return urlsplit(page.url).path == "/signin/"


@pytest.mark.parametrize("victim_began", [False, True], ids=["fresh-victim", "victim-was-signing-in-too"])
def test_a_saml_response_of_somebody_else_gives_no_session(
    new_context: NewContext, stage: Town, evil_site: EvilSite, victim_began: bool
) -> None:
    mallory = new_context().new_page()
    held = _until(mallory, stage, "corp", f"{stage.url}/saml/corp/acs")
    fields = held[0].request.post_data_json
    assert set(fields) >= {"SAMLResponse", "RelayState"}
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items()
    )
    evil_site.page = (
        f'<form id="f" method="post" action="{stage.url}/saml/corp/acs">{inputs}</form><script>f.submit()</script>'
    )

    alice = new_context().new_page()
    if victim_began:  # her browser has a binding cookie of its own
        alice.goto(f"{stage.url}/signin/corp/")
    alice.goto(evil_site.url)
    alice.wait_for_url(f"{stage.url}/signin/corp/complete**")
    code, request_id = error_of(alice)
    assert code == "sign_in_expired"
    assert stage.refusal(request_id) == ("sign_in", "binding_mismatch")
    assert _is_signed_out(alice, stage)


def test_the_same_response_in_the_right_browser_would_have_worked(new_context: NewContext, stage: Town) -> None:
    """So that what is refused above is refused for its browser alone, and not because the response was bad."""
    mallory = new_context().new_page()
    held = _until(mallory, stage, "corp", f"{stage.url}/saml/corp/acs")
    mallory.context.unroute(f"{stage.url}/saml/corp/acs")
    fields = held[0].request.post_data_json
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items()
    )
    mallory.goto("about:blank")
    mallory.set_content(
        f'<form id="f" method="post" action="{stage.url}/saml/corp/acs">{inputs}<button>go</button></form>'
    )
    mallory.get_by_role("button", name="go").click()
    mallory.wait_for_url(f"{stage.url}/")
    expect(mallory.get_by_role("banner")).to_contain_text("Bob Contractor")


def test_an_oidc_callback_of_somebody_else_gives_no_session(
    new_context: NewContext, stage: Town, evil_site: EvilSite
) -> None:
    mallory = Visitor()
    form = mallory.get(f"{stage.url}/signin/corp-oidc/")
    back = mallory.submit(
        form, form.form("login", "password"), follow=False, login="bob", password=CAST["bob"].password
    )
    callback = back.answer.headers["Location"]
    assert callback.startswith(f"{stage.url}/oidc/corp-oidc/callback?")
    evil_site.page = f'<a href="{html.escape(callback)}">A prize</a><script>location = document.links[0].href</script>'

    alice = new_context().new_page()
    alice.goto(evil_site.url)
    alice.wait_for_url(f"{stage.url}/oidc/corp-oidc/callback**")
    code, request_id = error_of(alice)
    assert code == "sign_in_expired"
    assert stage.refusal(request_id) == ("sign_in", "binding_mismatch")
    assert _is_signed_out(alice, stage)
    assert "Bob Contractor" in mallory.get(callback).text  # in the right browser the same callback signs in


def test_a_foreign_page_can_open_no_console_and_sign_nobody_out(
    new_context: NewContext, stage: Town, evil_site: EvilSite
) -> None:
    """Cross-site forms to the two things that a session can do: refused for want of cookie and token."""
    alice = new_context().new_page()
    sign_in(alice, stage, "saml")
    before = len(stage.aws.trail)
    for path in ("/roles/111122223333/ReadOnly/console", "/signout/"):
        evil_site.page = f'<form id="f" method="post" action="{stage.url}{path}"></form><script>f.submit()</script>'
        alice.goto(evil_site.url)
        alice.wait_for_url(f"{stage.url}{path}")
        assert error_of(alice)[0] == "form_refused"
    assert len(stage.aws.trail) == before
    assert not _is_signed_out(alice, stage)


def test_no_page_can_be_framed(new_context: NewContext, faults: list[str], stage: Town, evil_site: EvilSite) -> None:
    alice = new_context().new_page()
    sign_in(alice, stage, "saml")
    evil_site.page = f'<iframe src="{stage.url}/" width="800" height="600"></iframe>'
    alice.goto(evil_site.url)
    alice.wait_for_load_state("networkidle")
    assert "My roles" not in alice.frames[1].content()
    assert faults
    assert all("frame-ancestors" in fault for fault in faults), faults
    faults.clear()
