"""Signing out takes a click, ends the session, and is not undone by itself."""

from federation.models.sessions import PortalSession
from tests.portal.conftest import Browser, text_of


def test_get_only_asks(publish, signed_in):
    publish()
    browser = signed_in()
    assert "Sign out?" in text_of(browser.get("/signout/"))
    assert browser.get("/").status_code == 200


def test_post_ends_the_session_and_waits(publish, signed_in, events):
    publish()
    browser = signed_in()
    stolen = browser.cookies["rolegate_session"].value
    answer = browser.submit(browser.get("/signout/"), "/signout/")
    assert answer["Location"] == "/signout/done"
    page = browser.get("/signout/done")
    assert "You are signed out" in text_of(page)
    assert b"http-equiv" not in page.content
    assert not PortalSession.objects.exists()
    assert ("sign_out", "ok", "") in events()
    thief = Browser()
    thief.cookies["rolegate_session"] = stolen
    assert thief.get("/")["Location"] == "/signin/"


def test_another_site_cannot_sign_anybody_out(publish, signed_in):
    publish()
    browser = signed_in()
    assert browser.post("/signout/", {}).status_code == 403
    assert browser.get("/").status_code == 200


def test_whoever_is_not_signed_in_is_told(db, browser):
    assert browser.get("/signout/")["Location"] == "/signout/done"
