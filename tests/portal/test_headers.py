"""What fences the browser in, on every page; and that no page needs more than the fence allows."""

import re

import pytest

from tests import cast
from tests.portal.conftest import soup

ANYONE = ["/signin/", "/signout/done", "/no-such-page", "/signin/nobody/", "/saml/corp/acs"]
PERSONS = [
    "/",
    "/?q=nothing-at-all",
    "/cli/",
    "/signout/",
    "/requests/",
    "/requests/new",
    "/requests/to-decide/",
    "/why/",
    "/why/?q=shop",
    f"/why/?role={cast.role(cast.PROD, 'ReadOnly')}",
    "/activity/",
    f"/roles/{cast.PROD}/ReadOnly/",
    f"/roles/{cast.PROD}/ReadOnly/console",
    f"/roles/{cast.PROD}/ReadOnly/credentials",
]


def policy(answer):
    return dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))


def check(answer):
    given = policy(answer)
    assert given["default-src"] == "'none'"
    assert given["script-src"] == "'self'"
    assert given["style-src"] == "'self'"
    assert given["frame-ancestors"] == "'none'"
    assert given["base-uri"] == "'none'"
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer["Cache-Control"]
    if answer["Content-Type"].startswith("text/html") and answer.content:
        page = soup(answer)
        scripts = {s["src"] for s in page.find_all("script") if s.get("type") != "application/json"}
        assert scripts <= {"/static/django_htmx/htmx-2.min.js", "/static/portal/app.js", "/static/portal/roles.js"}
        for template in page.find_all("template"):
            template.decompose()  # its fields get their names with the rows that are made of it
        assert not page.find_all("style")
        assert not page.find_all(style=True)
        assert not re.findall(rb"\son[a-z]+\s*=", re.sub(rb">[^<]*<", b"><", answer.content))
        assert page.html["lang"] == "en"
        assert page.title.get_text()
        assert len(page.find_all("h1")) == 1
        for field in page.find_all(["input", "select"]):
            assert field.get("type") == "hidden" or page.find("label", attrs={"for": field["id"]}), field


@pytest.mark.parametrize("path", ANYONE)
def test_pages_for_anyone(publish, browser, path):
    publish()
    check(browser.get(path))


@pytest.mark.parametrize("path", PERSONS)
def test_pages_for_a_person(publish, signed_in, path):
    publish()
    check(signed_in().get(path))


def test_pages_with_secrets(publish, signed_in, fake_aws):
    publish()
    browser = signed_in()
    path = f"/roles/{cast.PROD}/ReadOnly/credentials"
    check(browser.submit(browser.get(path), path))
    path = f"/roles/{cast.DEV}/Developer/console"
    check(browser.submit(browser.get(path), path, mode="form"))


def test_only_pages_with_a_console_button_let_forms_reach_aws(publish, signed_in):
    publish()
    browser = signed_in()
    for path in ("/cli/", "/signout/", "/signin/"):
        assert policy(browser.get(path))["form-action"] == "'self'"
    for path in ("/", f"/roles/{cast.PROD}/ReadOnly/console"):
        hosts = policy(browser.get(path))["form-action"].split()
        assert {
            "'self'",
            "https://signin.aws.amazon.com",
            "https://*.signin.aws.amazon.com",
            "https://*.console.amazonaws.cn",
        } <= set(hosts)
        assert not [h for h in hosts if h in {"https:", "http:", "*"}]


def test_the_local_endpoint_of_the_demo_can_be_reached_too(publish, signed_in, settings):
    settings.ROLEGATE_SIGNIN_ENDPOINT_URL = "http://127.0.0.1:4566/federation"
    publish()
    assert "http://127.0.0.1:4566" in policy(signed_in().get("/"))["form-action"].split()


def test_the_demo_says_so_in_big_letters(publish, browser, settings):
    publish()
    assert not soup(browser.get("/signin/")).select(".demo")
    settings.ROLEGATE_DEMO = True
    assert soup(browser.get("/signin/")).select_one(".demo strong").get_text() == "DEMO"
