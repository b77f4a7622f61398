"""Where a sign-in may lead: to a path of this gateway, or home."""

import pytest

from portal.views.guard import safe_next

LOCAL = [
    "/",
    "/cli/",
    "/roles/111122223333/ReadOnly/console?destination=s3",
    "/device/",
    "/?q=prod%20read",
    "/roles/1/a/b,c=d@e/credentials",
]
ELSEWHERE = [
    None,
    "",
    "https://evil.example/",
    "http:evil.example",
    "//evil.example/",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/ok\\..\\evil",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nLocation: https://evil.example",
    " //evil.example",
    "\x00/x",
    "/x\x00",
    "/\u2028x",
    "/\u202ex",
    "evil.example",
    "?next=/x",
    "/" + "a" * 2048,
    "/signin/corp/",
    "/signin/?next=/signin/",
    "/signout/",
]


@pytest.mark.parametrize("path", LOCAL)
def test_a_path_of_ours_is_kept(path):
    assert safe_next(path) == path


@pytest.mark.parametrize("path", ELSEWHERE)
def test_anything_else_leads_home(path):
    assert safe_next(path) == "/"


@pytest.mark.parametrize("path", [p for p in ELSEWHERE if p])
def test_the_sign_in_page_carries_no_bad_next(publish, browser, path):
    publish()
    page = browser.page("/signin/", data={"next": path})
    assert page.find("input", attrs={"name": "next"})["value"] == "/"
    assert not [a for a in page.find_all("a") if "next=" in a.get("href", "")]
