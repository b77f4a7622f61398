"""SAML by the browser: out, the cross-site POST back, the same-site GET, and single logout both ways."""

import base64
import zlib
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from lxml import etree

from federation.models.sessions import PortalSession
from tests import cast, saml_kit
from tests.portal.conftest import Browser, soup, text_of

BASE = "http://localhost:8000/saml/corp"


@pytest.fixture
def provider(publish, gateway_keys, clock):
    """Publishes the cast's document with a provider whose metadata is in the document; returns a publisher of variants."""

    def do(**options):
        metadata = saml_kit.metadata_xml().replace('"', "'")
        more = "".join(f", {name}: {str(value).lower()}" for name, value in options.items())
        publish(
            cast.DOCUMENT.replace(
                '{metadata_url: "http://127.0.0.1:9/metadata"}', f'{{metadata_xml: "{metadata}"{more}}}'
            )
        )

    return do


def request_id(location: str) -> str:
    packed = parse_qs(urlsplit(location).query)["SAMLRequest"][0]
    return etree.fromstring(zlib.decompress(base64.b64decode(packed), -15)).get("ID")


def answer_to(asked: str | None, **changes) -> str:
    draft = replace(
        saml_kit.Draft(),
        destination=f"{BASE}/acs",
        recipient=f"{BASE}/acs",
        audiences=((f"{BASE}/metadata",),),
        in_response_to=asked,
        response_in_response_to=asked,
        **changes,
    )
    return saml_kit.post(saml_kit.signed(draft, "both"))


def begin(browser: Browser, next_path: str = "/cli/") -> str:
    answer = browser.get(f"/signin/corp/?next={next_path}")
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://idp.example.com/sso?")
    return request_id(answer["Location"])


def cross_site_post(saml_response: str, path: str = "/saml/corp/acs", **fields):
    """What a browser sends from another site: no cookie of ours (SameSite=Lax), a foreign Origin."""
    return Browser().post(
        path, {"SAMLResponse": saml_response, **fields}, headers={"origin": "https://idp.example.com"}
    )


def test_a_whole_sign_in(provider, browser):
    provider()
    asked = begin(browser)
    before = browser.session.session_key
    received = cross_site_post(answer_to(asked))
    assert received.status_code == 303
    assert received["Location"].startswith("/signin/corp/complete?code=")
    assert "Set-Cookie" not in received.headers
    assert "rolegate_session" not in received.cookies
    done = browser.get(received["Location"])
    assert done["Location"] == "/cli/"
    assert browser.session.session_key != before
    row = PortalSession.objects.get(person__subject="alice")
    assert (row.provider, row.session_index, row.name_id["value"]) == ("corp", "session-1", "alice")
    assert "Alice Ng" in text_of(browser.get("/cli/"))


def test_the_binding_cookie_is_fenced(provider, browser):
    provider()
    begin(browser)
    cookie = browser.cookies["rolegate_signin"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "Lax", "/", 600)
    assert len(cookie.value) == 43


def test_the_binding_cookie_is_secure_under_https(provider, browser, settings):
    settings.SESSION_COOKIE_SECURE = True
    provider()
    begin(browser)
    assert browser.cookies["rolegate_signin"]["secure"]


def test_two_tabs_can_both_finish(provider, browser):
    provider()
    first, second = begin(browser, "/cli/"), begin(browser, "/device/")
    for asked, where, assertion in ((second, "/device/", "_a2"), (first, "/cli/", "_a1")):
        received = cross_site_post(answer_to(asked, assertion_id=assertion, response_id=assertion + "r"))
        assert browser.get(received["Location"])["Location"] == where


def test_a_planted_cookie_of_another_form_is_replaced(provider, browser):
    provider()
    browser.cookies["rolegate_signin"] = "x"
    begin(browser)
    assert len(browser.cookies["rolegate_signin"].value) == 43


def test_session_fixation_the_key_from_before_is_worthless(provider, browser):
    provider()
    browser.get("/signin/")
    session = browser.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    browser.cookies["rolegate_session"] = planted
    received = cross_site_post(answer_to(begin(browser)))
    browser.get(received["Location"])
    assert browser.cookies["rolegate_session"].value != planted
    attacker = Browser()
    attacker.cookies["rolegate_session"] = planted
    assert attacker.get("/cli/")["Location"].startswith("/signin/")


def test_login_csrf_another_browser_cannot_finish_it(provider, browser, events):
    provider()
    received = cross_site_post(answer_to(begin(browser)))
    victim = Browser()
    begin(victim)
    answer = victim.get(received["Location"])
    assert answer.status_code == 400
    assert "sign_in_expired" in text_of(answer)
    assert victim.get("/cli/")["Location"].startswith("/signin/")
    assert events()[-1] == ("sign_in", "refused", "binding_mismatch")


def test_the_code_works_once(provider, browser, events):
    provider()
    received = cross_site_post(answer_to(begin(browser)))
    assert browser.get(received["Location"]).status_code == 302
    assert browser.get(received["Location"]).status_code == 400
    assert events()[-1] == ("sign_in", "refused", "code_unknown")


def test_a_refused_answer_says_nothing_but_code_and_request_id(provider, browser, events):
    provider()
    answer = cross_site_post(answer_to("_never-asked"))
    assert answer.status_code == 403
    kind, outcome, reason = events()[-1]
    assert (kind, outcome) == ("sign_in", "refused")
    shown = text_of(answer)
    assert "saml_refused" in shown
    assert reason not in shown
    assert answer["X-Request-Id"] in shown


def test_relay_state_never_leads_anywhere(provider, browser):
    provider()
    received = cross_site_post(answer_to(begin(browser)), RelayState="https://evil.example/")
    assert browser.get(received["Location"])["Location"] == "/cli/"


def test_idp_initiated_is_confirmed_by_the_person(provider, browser):
    provider(allow_unsolicited=True)
    received = cross_site_post(answer_to(None))
    page = browser.get(received["Location"])
    assert page.status_code == 200
    assert "Sign in as Alice Ng" in text_of(page)
    assert not PortalSession.objects.filter(person__isnull=False).exists()
    forged = Browser().post(
        "/signin/corp/complete", {"code": parse_qs(urlsplit(received["Location"]).query)["code"][0]}
    )
    assert forged.status_code == 403
    assert "form_refused" in text_of(forged)
    done = browser.submit(page, "/signin/corp/complete")
    assert done["Location"] == "/"
    assert PortalSession.objects.filter(person__subject="alice").count() == 1


def test_idp_initiated_is_refused_where_it_is_not_allowed(provider, events):
    provider()
    assert cross_site_post(answer_to(None)).status_code == 403
    assert events()[-1][1] == "refused"


def test_a_name_with_markup_is_shown_as_text(provider, browser):
    provider()
    attributes = {**saml_kit.ALICE, "displayName": ["&lt;img src=x onerror=alert(1)&gt;"]}
    received = cross_site_post(answer_to(begin(browser), attributes=attributes))
    answer = browser.get(browser.get(received["Location"])["Location"])
    assert b"<img" not in answer.content
    who = soup(answer).select_one(".account-of bdi")
    assert who.get_text() == "<img src=x onerror=alert(1)>"


def test_the_metadata_names_our_endpoints(provider, browser):
    provider()
    answer = browser.get("/saml/corp/metadata")
    assert answer["Content-Type"] == "application/samlmetadata+xml"
    root = etree.fromstring(answer.content)
    assert root.get("entityID") == f"{BASE}/metadata"
    assert f"{BASE}/acs" in root.xpath("//*[local-name()='AssertionConsumerService']/@Location")


def sign_in(browser):
    return browser.get(cross_site_post(answer_to(begin(browser)))["Location"])


def test_signing_out_goes_on_at_the_provider(provider, browser):
    provider()
    sign_in(browser)
    answer = browser.submit(browser.get("/signout/"), "/signout/")
    target = soup(answer).find("meta", attrs={"http-equiv": "refresh"})["content"].removeprefix("0; url=")
    assert target.startswith("https://idp.example.com/slo?SAMLRequest=")
    assert not PortalSession.objects.exists()
    assert browser.get("/cli/")["Location"].startswith("/signin/")


@pytest.mark.parametrize("binding", ["redirect", "post"])
def test_the_provider_can_end_the_session(provider, browser, binding):
    provider()
    sign_in(browser)
    xml = saml_kit.logout_request_xml(destination=f"{BASE}/slo")
    if binding == "redirect":
        answer = Browser().get("/saml/corp/slo?" + saml_kit.query(xml))
    else:
        root = saml_kit.sign(saml_kit.tree(xml))
        answer = Browser().post(
            "/saml/corp/slo", {"SAMLRequest": saml_kit.post(root)}, headers={"origin": "https://idp.example.com"}
        )
    assert answer.status_code == 302
    assert answer["Location"].startswith("https://idp.example.com/slo?SAMLResponse=")
    assert browser.get("/cli/")["Location"].startswith("/signin/")


def test_an_unsigned_logout_request_ends_nothing(provider, browser, events):
    provider()
    sign_in(browser)
    packed = base64.b64encode(saml_kit.deflate(saml_kit.logout_request_xml(destination=f"{BASE}/slo"))).decode()
    answer = Browser().get("/saml/corp/slo", {"SAMLRequest": packed})
    assert answer.status_code == 403
    assert browser.get("/cli/").status_code == 200
