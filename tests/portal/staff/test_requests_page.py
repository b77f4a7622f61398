"""Everybody's requests in the console, and the loud notice while somebody uses what they took without a yes."""

import pytest

from federation.models import AccessRequest, RequestedRole
from tests import cast
from tests.flows.requests_kit import ADMIN, BREAKER, OPERATOR, alice, erin
from tests.flows.requests_kit import DOCUMENT as BY_REQUEST
from tests.portal.conftest import soup, text_of
from tests.portal.staff.conftest import GROUP_OF, STAFF
from tests.portal.test_requests import ask, page_of

DOCUMENT = BY_REQUEST.replace("staff:\n  - {role: owner, groups: [cloud-platform]}\n", STAFF)
LOUD = "Break-glass in use"


@pytest.fixture
def console(publish, gateway_keys, signed_in, clock):
    publish(DOCUMENT, at=clock.now)
    return lambda right: signed_in(cast.identity(f"w-{right}", groups=(GROUP_OF[right],)))


@pytest.fixture
def asker(console, signed_in):
    return signed_in(alice())


@pytest.fixture
def broken(console, signed_in):
    """Erin has taken BreakGlass in shop-prod."""
    on_duty = signed_in(erin())
    form = on_duty.get(f"/requests/break-glass?role={BREAKER}")
    page_of(on_duty.submit(form, "/requests/break-glass", role=BREAKER, duration="1800", reason="INC-1", confirmation="shop-prod"))  # fmt: skip
    return AccessRequest.objects.get()


@pytest.mark.parametrize("right", ["owner", "approver", "auditor"])
def test_a_broken_glass_is_loud_on_every_page_until_it_ends(console, broken, clock, right):
    browser = console(right)
    for path in ("/staff/", "/staff/people/", "/staff/requests/"):
        told = soup(browser.get(path)).select_one(".loud").get_text(" ", strip=True)
        assert LOUD in told
        for word in ("Erin", "BreakGlass", "shop-prod", f"{clock.now:%Y-%m-%d}"):
            assert word in told
        assert soup(browser.get(path)).select_one(".loud a")["href"] == f"/requests/{broken.pk}/"
    clock.forward(minutes=31)
    assert LOUD not in text_of(browser.get("/staff/"))


def test_whoever_does_not_see_requests_is_not_told_by_name(console, broken):
    assert LOUD not in text_of(console("mapper").get("/staff/"))
    assert console("mapper").get("/staff/requests/").status_code == 403


def test_one_that_was_given_back_is_not_in_use_but_is_to_be_reviewed(console, broken, clock):
    RequestedRole.objects.update(ended_at=clock.now)
    page = soup(console("owner").get("/staff/"))
    assert LOUD not in page.get_text()
    tile = page.select_one("a.tile[href='/staff/requests/?state=glass']")
    assert tile.get_text(" ", strip=True) == "1 Break-glasses to review"
    assert "bad" in tile["class"]


def test_the_list_is_searched_filtered_and_leads_to_each_request(console, asker, broken, clock):
    clock.forward(minutes=1)
    page = page_of(ask(asker, ADMIN, OPERATOR))
    browser = console("auditor")

    def found(query=""):
        rows = soup(browser.get(f"/staff/requests/{query}")).select("#list tbody tr")
        return [row.select_one("td.act a")["href"] for row in rows]

    glass = f"/requests/{broken.pk}/"
    assert found() == [page, glass]
    assert found("?state=waiting") == [page]
    assert found("?state=active") == [glass]
    assert found("?state=glass") == [glass]
    assert found("?q=deploy") == [page]
    assert found("?q=nobody") == []
    assert browser.get(page).status_code == 200  # whoever watches may look, and decides nothing
    assert not soup(browser.get(page)).find(id="decide")


def test_it_comes_in_pages_at_a_constant_cost(console, asker, clock, django_assert_num_queries):
    for _ in range(26):
        clock.forward(seconds=61)
        page_of(ask(asker, OPERATOR))
        RequestedRole.objects.update(state="withdrawn")
    browser = console("owner")
    first = browser.get("/staff/requests/")
    assert len(soup(first).select("#list tbody tr")) == 25
    later = soup(first).find("a", rel="next")["href"]
    # Session with its person, revision for the rights; requests with askers, their roles, revision for names; what is broken.
    for path in ("/staff/requests/", f"/staff/requests/{later}"):
        with django_assert_num_queries(6):
            browser.get(path)
    assert len(soup(browser.get(f"/staff/requests/{later}")).select("#list tbody tr")) == 1
