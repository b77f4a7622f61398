"""What htmx is told where a whole page would be wrong: an ended session, an error, a page of somebody who went back."""

import pytest

from tests import cast
from tests.portal.conftest import soup

HX = {"hx-request": "true"}
HERE = {**HX, "hx-current-url": "http://localhost:8000/?q=prod"}


def test_an_ended_session_leads_the_whole_browser_to_the_sign_in_and_back(publish, browser):
    publish()
    answer = browser.get("/cli/", headers={**HERE, "host": "localhost:8000"})
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == "/signin/?next=%2F%3Fq%3Dprod"
    assert not answer.content


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_the_way_back_is_never_another_site(publish, browser, elsewhere):
    publish()
    answer = browser.get("/cli/", headers={**HX, "hx-current-url": elsewhere})
    assert answer["HX-Redirect"] == "/signin/"


def test_claims_that_are_too_old_lead_to_the_provider(publish, signed_in, clock, settings):
    settings.SESSION_COOKIE_AGE = 10**6
    publish()
    browser = signed_in()
    clock.forward(hours=13)
    answer = browser.get("/", headers={**HERE, "host": "localhost:8000"})
    assert answer["HX-Redirect"] == "/signin/corp/?next=%2F%3Fq%3Dprod"


def test_an_error_is_a_note_at_the_top_of_the_open_page(publish, signed_in):
    publish()
    answer = signed_in().get(f"/roles/{cast.PROD}/Nothing/console", headers=HX)
    assert (answer.status_code, answer["HX-Retarget"], answer["HX-Reswap"]) == (403, "#problems", "innerHTML")
    assert not soup(answer).find("html")
    assert soup(answer).find(string="access_denied")


def test_htmx_may_do_no_more_than_the_policy_allows(publish, signed_in):
    import json

    publish()
    page = soup(signed_in().get("/"))
    config = json.loads(page.find("meta", attrs={"name": "htmx-config"})["content"])
    assert config["allowEval"] is config["allowScriptTags"] is config["includeIndicatorStyles"] is False
    assert config["selfRequestsOnly"] is True
    assert config["historyCacheSize"] == 0  # no page of somebody's stays in the browser's storage
