"""OpenID Connect by the browser, and the provider's server ending a session."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from federation.flows import provider_documents
from federation.models.sessions import PortalSession
from tests import cast, oidc_kit
from tests.portal.conftest import Browser, soup, text_of


@pytest.fixture
def provider(publish, clock, monkeypatch):
    with oidc_kit.running() as running:
        clock.now = running.now
        monkeypatch.setattr(oidc_kit, "REDIRECT_URI", "http://localhost:8000/oidc/entra/callback")
        monkeypatch.setenv("TEST_OIDC_SECRET", oidc_kit.CLIENT_SECRET)
        monkeypatch.setattr(provider_documents, "oidc_documents", type(provider_documents.oidc_documents)())
        publish(
            cast.DOCUMENT.replace(
                'issuer: "http://127.0.0.1:9", client_id: rolegate',
                f'issuer: "{running.issuer}", client_id: {oidc_kit.CLIENT_ID}',
            )
        )
        yield running


def visit(browser: Browser, next_path: str = "/cli/") -> dict[str, str]:
    """Begin, and let the provider answer; returns the parameters of the callback."""
    begun = browser.get(f"/signin/entra/?next={next_path}")
    assert begun.status_code == 302
    back = requests.get(begun["Location"], allow_redirects=False, timeout=5).headers["Location"]
    assert back.startswith("http://localhost:8000/oidc/entra/callback?")
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def test_a_whole_sign_in(provider, browser):
    answer = browser.get("/oidc/entra/callback", visit(browser))
    assert answer["Location"] == "/cli/"
    row = PortalSession.objects.get(person__provider="entra")
    assert row.provider == "entra"
    assert browser.get("/cli/").status_code == 200


def test_login_csrf_another_browser_cannot_finish_it(provider, browser, events):
    params = visit(browser)
    victim = Browser()
    visit(victim)
    answer = victim.get("/oidc/entra/callback", params)
    assert answer.status_code == 400
    assert "sign_in_expired" in text_of(answer)
    assert events()[-1] == ("sign_in", "refused", "binding_mismatch")
    assert not PortalSession.objects.filter(person__isnull=False).exists()


def test_the_state_works_once(provider, browser, events):
    params = visit(browser)
    assert browser.get("/oidc/entra/callback", params).status_code == 302
    assert browser.get("/oidc/entra/callback", params).status_code == 403
    assert events()[-1] == ("sign_in", "refused", "state_used")


def test_no_state_is_refused(provider, browser, events):
    assert browser.get("/oidc/entra/callback", {"code": "x"}).status_code == 403
    assert events()[-1] == ("sign_in", "refused", "state_missing")


def test_the_providers_server_ends_the_session(provider, browser):
    browser.get("/oidc/entra/callback", visit(browser))
    answer = Browser().post("/oidc/entra/backchannel-logout", {"logout_token": provider.logout_token()})
    assert (answer.status_code, answer.content, answer["Cache-Control"]) == (200, b"", "no-store")
    assert browser.get("/cli/")["Location"].startswith("/signin/")


def test_a_bad_logout_token_ends_nothing_and_is_answered_in_json(provider, browser, events):
    browser.get("/oidc/entra/callback", visit(browser))
    answer = Browser().post("/oidc/entra/backchannel-logout", {"logout_token": "a.b.c"})
    assert (answer.status_code, answer["Cache-Control"]) == (400, "no-store")
    body = answer.json()
    assert body["error"] == "invalid_request"
    assert body["code"] == "oidc_refused"
    assert body["request_id"] == answer["X-Request-Id"]
    assert events()[-1][:2] == ("sign_out.by_provider", "refused")
    assert browser.get("/cli/").status_code == 200


def test_signing_out_goes_on_at_the_provider(provider, browser):
    browser.get("/oidc/entra/callback", visit(browser))
    answer = browser.submit(browser.get("/signout/"), "/signout/")
    target = soup(answer).find("meta", attrs={"http-equiv": "refresh"})["content"].removeprefix("0; url=")
    assert target.startswith(provider.issuer + "/logout?")
    assert parse_qs(urlsplit(target).query)["post_logout_redirect_uri"] == ["http://localhost:8000/signout/done"]
    assert "You are signed out" in text_of(browser.get("/signout/done"))
