"""The page of directories: how fresh they are, and what one says of somebody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.models import DirectoryGroup, DirectoryUser, GroupNesting, Membership, Source
from tests import cast
from tests.portal.conftest import soup, text_of
from tests.portal.staff.conftest import DOCUMENT

URL = "/staff/directories/"
DIRECTORIES = """directories:
  - {slug: staff, provider: entra, scim: {}, groups: add}
  - {slug: ad, provider: corp, groups: add, ldap: {url: [ldaps://dc1, ldaps://dc2], base_dn: "dc=x"}}
"""


@pytest.fixture
def town(console, publish, clock):
    """A browser of somebody with this right; two directories, of which the read one has a few people and left something out."""

    def do(right="owner"):
        browser = console(right)
        publish(DOCUMENT + DIRECTORIES, at=clock.now)
        at = {"created_at": clock.now, "modified_at": clock.now}
        Source.objects.create(
            key="directory:ad", state="failed", error_code="unreachable", attempted_at=clock.now, succeeded_at=clock.now - timedelta(hours=2),
            counts={"people": 2, "groups": 2, "members that are nobody here": 7},
        )  # fmt: skip
        users = {
            name: DirectoryUser.objects.create(
                directory="ad", user_name=name, user_name_key=name, external_id=f"guid-{name}", subject=name, name=name.title(),
                email=f"{name}@example.com", active=name != "bob", **at,
            )
            for name in ("alice", "bob")
        }  # fmt: skip
        inner, outer = (
            DirectoryGroup.objects.create(directory="ad", display_name=name, **at) for name in ("berlin", "<b>germany")
        )
        GroupNesting.objects.create(parent=outer, child=inner, since=clock.now)
        Membership.objects.create(user=users["alice"], group=inner, since=clock.now)
        return browser

    return do


def test_each_directory_is_shown_with_its_freshness_and_what_it_left_out(town, clock):
    rows = soup(town().get(URL)).select("table tbody tr")
    pushed, read = (row.get_text(" ", strip=True) for row in rows)
    assert "pushes by SCIM" in pushed
    assert "never read" in pushed
    for said in ("read over LDAP", "its groups count besides the claims", "failed", "unreachable", "1 inactive", "7"):
        assert said in read
    assert "members that are nobody here" in read
    assert "production closes at" in read


@pytest.mark.parametrize("words", ["alice", "ALICE", "Alice@Example.com", "guid-alice"])
def test_what_a_directory_says_of_somebody(town, words):
    shown = text_of(town().get(URL, {"q": words}))
    for said in ("Alice", "active", "Signs in as", "has not done so yet", "berlin", "<b>germany"):
        assert said in shown


def test_whoever_is_inactive_or_deleted_is_said_to_be(town, clock):
    browser = town()
    assert "inactive: no sign-in" in text_of(browser.get(URL, {"q": "bob"}))
    DirectoryUser.objects.filter(user_name="bob").update(deleted_at=clock.now)
    assert "deleted: no sign-in" in text_of(browser.get(URL, {"q": "bob"}))


def test_whoever_has_signed_in_is_a_click_away(town, sign_in_as, clock):
    browser = town()
    alice = sign_in_as(cast.alice(), at=clock.now)
    assert f"/staff/people/{alice.pk}/" in browser.get(URL, {"q": "alice"}).content.decode()


def test_two_of_one_subject_are_said_to_get_nothing(town):
    browser = town()
    DirectoryUser.objects.filter(user_name="bob").update(subject="alice", active=True)
    assert text_of(browser.get(URL, {"q": "bob"})).count("Several people have this name") == 1


def test_nobody_of_a_name_is_said(town):
    assert "No directory lists anybody of this name" in text_of(town().get(URL, {"q": "ali"}))


def test_a_constant_number_of_queries_whoever_is_found(town, django_assert_max_num_queries):
    browser = town()
    browser.get(URL)
    with django_assert_max_num_queries(16):
        browser.get(URL, {"q": "alice"})


def test_whoever_may_not_start_work_or_look_at_people_has_no_form_for_it(town):
    page = soup(town("auditor").get(URL))
    assert not page.select("main form[method=post]")
    assert page.select("main form[role=search]")


def test_where_none_is_read_nothing_offers_to_read_it(owner, publish, clock):
    publish(DOCUMENT + "directories:\n  - {slug: staff, provider: entra, scim: {}, groups: add}\n", at=clock.now)
    page = soup(owner.get(URL))
    assert "pushes by SCIM" in page.get_text()
    assert not page.select("main form[method=post]")


def test_without_a_directory_the_page_says_what_one_is_good_for(owner):
    assert "The mapping names no directory" in text_of(owner.get(URL))
