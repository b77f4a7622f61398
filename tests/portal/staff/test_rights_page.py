"""The page of rights, and how rights are decided: at each click, on today's groups."""

from pathlib import Path

import pytest

from federation.flows import staff_rights
from federation.mapping.capabilities import NONE, RIGHTS, WHILE_STALE, Capability, powers
from federation.models import AuditEvent
from tests import cast
from tests.portal.conftest import soup, text_of
from tests.portal.staff.conftest import DOCUMENT


def test_the_page_says_who_has_which_right_by_which_group(console):
    console("auditor")
    answer = console("owner").get("/staff/rights/")
    rows = [
        [cell.get_text(" ", strip=True) for cell in row.select("td, th")]
        for row in soup(answer).select("table")[0].select("tbody tr")
    ]
    assert [row[0] for row in rows] == ["Owner", "Mapper", "Account owner", "Approver", "Auditor"]
    assert rows[2][1:3] == ["staging-owners", f"{cast.STAGING} 1 account"]
    page = console("owner").get("/staff/rights/4/")
    people = text_of(page)
    assert soup(page).select_one("tbody th a")["href"].startswith("/staff/people/")
    assert "Dora" in people
    assert "audit-team" in people
    assert "in force" in people


def test_whoever_must_sign_in_again_is_said_to(console, clock):
    console("auditor")
    clock.forward(hours=13)
    assert "after the next sign-in" in text_of(console("owner").get("/staff/rights/4/"))


def test_an_entry_that_is_not_there_is_not_found(owner):
    assert owner.get("/staff/rights/99/").status_code == 404


def test_a_right_is_gone_at_the_next_click(owner, publish, clock):
    assert owner.get("/staff/rights/").status_code == 200
    publish(DOCUMENT.replace("groups: [cloud-platform]", "groups: [others]"))
    answer = owner.get("/staff/rights/")
    assert answer.status_code == 403
    assert AuditEvent.objects.order_by("-seq").first().reason == "see_rights"


def test_old_claims_lead_to_the_sign_in_and_are_no_refusal(owner, clock, settings):
    settings.SESSION_COOKIE_AGE = 10**6
    clock.forward(hours=13)
    events = AuditEvent.objects.count()
    answer = owner.get("/staff/rights/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/signin/")
    assert AuditEvent.objects.count() == events


def test_htmx_is_sent_to_the_sign_in_with_the_whole_page(client, publish):
    answer = client.get(
        "/staff/rights/", headers={"hx-request": "true", "hx-current-url": "http://testserver/staff/rights/?q=1"}
    )
    assert answer["HX-Redirect"] == "/signin/?next=%2Fstaff%2Frights%2F%3Fq%3D1"


def test_incomplete_groups_open_nothing_and_are_audited(console):
    answer = console("owner", groups_complete=False).get("/staff/rights/")
    assert answer.status_code == 403
    assert b"groups_incomplete" in answer.content
    event = AuditEvent.objects.order_by("-seq").first()
    assert (event.kind, event.reason) == ("staff.refused", "group_overage")


def test_a_flood_of_refusals_is_recorded_as_one(console):
    browser = console("approver")
    codes = [browser.get("/staff/rights/").status_code for _ in range(70)]
    assert codes[:60] == [403] * 60
    assert set(codes[60:]) == {429}
    assert AuditEvent.objects.filter(kind="staff.refused").count() == 61


def test_scopes_add_up_and_the_wider_one_counts():
    own = powers([("account-owner", ["1"]), ("account-owner", ["2"])])
    assert own.scope(Capability.SEE_ACCOUNTS) == {"1", "2"}
    assert own.may(Capability.ONBOARD_ACCOUNTS, "2")
    assert not own.may(Capability.ONBOARD_ACCOUNTS, "3")
    assert own.rights == ("account-owner",)
    for order in (1, -1):
        both = powers([("account-owner", ["1"]), ("mapper", None)][::order])
        assert both.scope(Capability.SEE_ACCOUNTS) is None
        assert both.scope(Capability.ONBOARD_ACCOUNTS) == {"1"}
    assert NONE.scope(Capability.SEE_ACCOUNTS) == frozenset()
    assert not NONE.is_staff


def test_on_groups_too_old_to_be_believed_only_reading_and_taking_away_stay_open():
    stale = powers([("owner", None)], stale=True)
    assert set(stale.scopes) == WHILE_STALE
    assert not stale.may(Capability.PUBLISH_MAPPING)
    assert stale.may(Capability.REVOKE_PEOPLE)


def test_a_glance_never_raises(sign_in_as, publish, now):
    publish(DOCUMENT)
    person = sign_in_as(cast.carol(groups_complete=False))
    assert staff_rights.glance(person, now=now) is NONE
    assert staff_rights.glance(sign_in_as(cast.carol()), now=now).is_staff


def test_the_documentation_has_the_table_that_decides():
    lines = (Path(__file__).parents[3] / "docs/staff.md").read_text().splitlines()
    head = next(line for line in lines if line.startswith("| capability |"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == list(RIGHTS)
    rows = {}
    for line in lines[lines.index(head) + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        rows[name.strip("`")] = [cell == "yes" for cell in cells]
    assert rows == {c.value: [c in RIGHTS[right] for right in RIGHTS] for c in Capability}


@pytest.mark.parametrize("right", [*RIGHTS, ""])
def test_the_way_in_is_shown_to_staff_alone_and_costs_no_query(console, right, django_assert_max_num_queries):
    browser = console(right)
    browser.get("/")
    with django_assert_max_num_queries(6):  # what the page may cost, with the way in or without
        answer = browser.get("/")
    assert bool(soup(answer).select('a[href="/staff/"]')) == bool(right)
