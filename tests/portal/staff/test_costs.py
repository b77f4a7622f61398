"""What a page of the console asks of the database does not grow with the company."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from federation.models import DirectoryUser, TaskRun
from portal.staff import navigation
from tests import cast

PAGES = [reverse(place.name) for _, places in navigation.SECTIONS for place in places]


def cost(browser, path):
    with CaptureQueriesContext(connection) as asked:
        assert browser.get(path).status_code == 200
    return [query["sql"][:200] for query in asked]


@pytest.fixture
def grown(console, sign_in_as, clock):
    """(an owner's browser, what makes the company grow by forty)."""
    browser = console("owner")

    def grow():
        for number in range(40):
            name = f"n{number}"
            sign_in_as(cast.identity(name, groups=("engineering", f"team-{number}")), at=clock.now)
            DirectoryUser.objects.create(
                directory="staff", user_name=name, user_name_key=name, created_at=clock.now, modified_at=clock.now
            )
            TaskRun.objects.create(task="purge_expired", started_at=clock.now, finished_at=clock.now, outcome="ok")

    return browser, grow


@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_the_navigation_costs_the_same_however_large_the_company(grown, path):
    browser, grow = grown
    cost(browser, path)  # what is read once a process
    before = cost(browser, path)
    grow()
    assert len(cost(browser, path)) == len(before), before


def test_a_persons_pages_cost_the_same(grown):
    browser, grow = grown
    of_carol = f"/staff/people/{browser.person.pk}/"
    role = cast.role(cast.PROD, "Administrator")
    pages = (of_carol, f"{of_carol}explain?role={role}", f"{of_carol}revoke")
    for path in pages:
        cost(browser, path)
    before = [len(cost(browser, path)) for path in pages]
    grow()
    assert [len(cost(browser, path)) for path in pages] == before
