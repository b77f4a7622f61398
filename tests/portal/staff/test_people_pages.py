"""People: who there is, what each may use and why, and taking everything away."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from federation.flows import publish_mapping
from federation.models import AuditEvent, DirectoryGroup, DirectoryUser, GroupNesting, Person, PortalSession
from tests import cast
from tests.flows.test_latest_word import listed
from tests.portal.conftest import soup, text_of
from tests.portal.staff.conftest import DOCUMENT


@pytest.fixture
def company(console, sign_in_as, clock):
    """Alice, Bob and Carol have signed in; Carol is at the console."""
    browser = console("owner")
    browser.alice = sign_in_as(cast.alice(), at=clock.now - timedelta(hours=2))
    browser.bob = sign_in_as(cast.bob(), at=clock.now - timedelta(hours=1))
    return browser


def names(answer):
    return [a.get_text(strip=True) for a in soup(answer).select("#list tbody th a")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Alice", "Bob", "Carol"]),
        ("q=ali", ["Alice"]),
        ("q=BOB%40example.com", ["Bob"]),
        ("group=contractors", ["Bob"]),
        ("group=contract", []),
        ("sort=-name", ["Carol", "Bob", "Alice"]),
        ("sort=seen", ["Alice", "Bob", "Carol"]),
        ("sort=-seen", ["Carol", "Bob", "Alice"]),
        ("state=disabled", []),
        ("q=%25", []),
    ],
)
def test_people_are_searched_filtered_and_sorted(company, query, found):
    assert names(company.get(f"/staff/people/?{query}")) == found


@pytest.mark.parametrize(("groups", "claimed"), [("replace", []), ("add", ["Alice", "Bob"])])
def test_a_group_is_the_directorys_word_through_groups_in_groups(console, publish, sign_in_as, clock, groups, claimed):
    """The chips of a person's page lead here with the directory's groups: its people are there, not those of an old sign-in."""
    browser = console("owner")
    sign_in_as(cast.alice(), at=clock.now)
    sign_in_as(cast.bob(), at=clock.now)
    extra = f"directories: [{{slug: staff, provider: corp, scim: {{}}, groups: {groups}}}]\n"
    publish(DOCUMENT + extra, at=clock.now)
    listed(clock.now, "carol", ["cloud-platform"])
    listed(clock.now, "alice", ["berlin"])
    listed(clock.now, "bob", ["europe"])
    members = {row.display_name: row for row in DirectoryGroup.objects.all()}
    GroupNesting.objects.create(parent=members["europe"], child=members["berlin"], since=clock.now)
    assert names(browser.get("/staff/people/?group=europe")) == ["Alice", "Bob"]
    assert names(browser.get("/staff/people/?group=berlin")) == ["Alice"]
    assert names(browser.get("/staff/people/?group=engineering")) == claimed


def states(answer):
    return {
        row.find("th").a.get_text(strip=True): row.find("td", {"data-label": "State"}).get_text(strip=True)
        for row in soup(answer).select("#list tbody tr")
    }


def test_whom_a_directory_has_disabled_is_not_called_active(
    console, publish, sign_in_as, clock, django_assert_num_queries
):
    """Nothing is minted for them: who looks for why must not read that they are active."""
    browser = console("owner")
    for who in (cast.alice(), cast.bob(), cast.identity("dave", provider="entra")):
        sign_in_as(who, at=clock.now)
    Person.objects.filter(subject="bob").update(active=False)
    publish(DOCUMENT + "directories: [{slug: staff, provider: corp, scim: {}, groups: add}]\n", at=clock.now)
    listed(clock.now, "alice", [], active=False)
    listed(clock.now, "bob", [], active=False)
    said = states(browser.get("/staff/people/"))
    assert (said["Alice"], said["Bob"], said["Carol"]) == ("disabled in the directory", "disabled", "active")
    DirectoryUser.objects.update(active=True, deleted_at=clock.now)
    # Four more: what the directory says of who is looking, and of these people; under their names, and in any case.
    with django_assert_num_queries(11):
        said = states(browser.get("/staff/people/"))
    assert said["Alice"] == "disabled in the directory"


def test_people_are_paged_there_and_back(company, monkeypatch):
    from federation.queries import people

    monkeypatch.setitem(people.people.__kwdefaults__, "size", 2)
    first = company.get("/staff/people/")
    assert names(first) == ["Alice", "Bob"]
    second = company.get(f"/staff/people/{soup(first).find('a', rel='next')['href']}")
    assert names(second) == ["Carol"]
    assert names(company.get(f"/staff/people/{soup(second).find('a', rel='prev')['href']}")) == ["Alice", "Bob"]


def test_a_persons_page_shows_the_way_from_the_group_by_the_rule_to_the_role(company):
    answer = company.get(f"/staff/people/{company.alice.pk}/")
    rows = [
        [c.get_text(" ", strip=True) for c in row.select("td, th")]
        for row in soup(answer).select("#access ~ .scroll tbody tr, section[aria-labelledby=access] tbody tr")
    ]
    assert ["engineering", "engineers-read-production", "ReadOnly"] in [row[:3] for row in rows]
    shown = text_of(answer)
    assert "has group engineering" in shown
    assert "admins-by-request" in shown  # not matched: no second factor
    assert "second factor was not used" in shown


def test_what_a_rule_denies_is_said_with_the_rule(company):
    shown = text_of(company.get(f"/staff/people/{company.bob.pk}/"))
    assert "Given, and denied" in shown
    assert f"{cast.role(cast.PROD, 'ReadOnly')} by no-contractors-in-production" in shown


def test_what_stops_every_mint_is_said_first(company, clock):
    Person.objects.filter(pk=company.alice.pk).update(active=False)
    shown = text_of(company.get(f"/staff/people/{company.alice.pk}/"))
    assert "Nothing is minted for them now." in shown
    assert "person_disabled" in shown
    Person.objects.filter(pk=company.alice.pk).update(active=True, claims_at=clock.now - timedelta(days=3))
    shown = text_of(company.get(f"/staff/people/{company.alice.pk}/"))
    assert "Signing in again helps. claims_too_old" in shown  # in words, not by its code alone


def test_the_roles_and_the_rules_of_a_person_can_be_searched(company):
    shown = text_of(company.get(f"/staff/people/{company.alice.pk}/?find=readonly&rule=admins"))
    assert "Access now (1)" in shown
    assert "Not matched (1)" in shown


def test_explaining_now_and_on_a_day_that_has_passed(company, clock, origin):
    publish_mapping.publish(
        DOCUMENT.replace("roles: [ReadOnly]", "roles: [Auditing]"), author="x", comment="", origin=origin, now=clock.now + timedelta(days=2)
    )  # fmt: skip
    clock.forward(days=3)
    company.person.refresh_from_db()
    company.force_login(company.person, backend="portal.auth.FederatedBackend")
    Person.objects.filter(pk=company.person.pk).update(claims_at=clock.now)
    path = f"/staff/people/{company.alice.pk}/explain?role={cast.role(cast.PROD, 'ReadOnly')}"
    assert soup(company.get(path)).find(id="answer").get_text(" ", strip=True).startswith("No")
    then = company.get(f"{path}&at={clock.now - timedelta(days=2):%Y-%m-%d}")
    assert soup(then).find(id="answer").get_text(" ", strip=True).startswith("Yes")
    assert "engineers-read-production" in text_of(then)
    by_name = company.get(f"{path.partition('?')[0]}?role=shop-prod/ReadOnly")
    assert soup(by_name).find(id="answer").get_text(" ", strip=True).startswith("No")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("role=nonsense", "ARN"),
        (f"role={cast.role(cast.PROD, 'ReadOnly')}&at=yesterday", "Write a day or a moment"),
        (f"role={cast.role(cast.PROD, 'ReadOnly')}&at=1999-01-01", "No mapping was in force"),
    ],
)
def test_what_cannot_be_explained_comes_back_as_a_form_with_a_fault(company, query, sentence):
    answer = company.get(f"/staff/people/{company.alice.pk}/explain?{query}")
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert soup(answer).title.get_text().startswith("Error:")


def test_two_colleagues_side_by_side(company):
    answer = company.get(f"/staff/people/{company.alice.pk}/compare?with=bob@example.com")
    rows = {
        r.th.select_one(".id").get_text(): [td.get_text(strip=True) for td in r.select("td")]
        for r in soup(answer).select("tbody tr")
    }
    assert rows[cast.role(cast.PROD, "ReadOnly")] == ["yes", "no"]
    assert rows[cast.role(cast.DEV, "Developer")] == ["yes", "yes"]
    shown = text_of(answer)
    assert "contractors" in shown
    assert "no-contractors-in-production" in shown
    assert company.get(f"/staff/people/{company.alice.pk}/compare?with=Bo").status_code == 200
    assert company.get(f"/staff/people/{company.alice.pk}/compare?with=nobody").status_code == 422
    same = company.get(f"/staff/people/{company.alice.pk}/compare?with=alice@example.com")
    assert same.status_code == 422
    assert "This is the same person. Name a colleague." in same.content.decode()


def test_revoking_ends_sessions_is_audited_and_hands_out_the_policy_for_aws(company, clock, signed_in):
    alices = signed_in(cast.alice())
    assert alices.get("/").status_code == 200
    page = company.get(f"/staff/people/{company.alice.pk}/revoke")
    assert "Ends 1 session of the portal and 0 paired programs at once." in text_of(page)
    policy = json.loads(soup(page).find(id="policy").get_text())
    answer = company.submit(page, f"/staff/people/{company.alice.pk}/revoke/now", why="laptop stolen", disable="1")
    assert answer.status_code == 302
    assert alices.get("/").status_code == 302
    assert not PortalSession.objects.filter(person=company.alice).exists()
    event = AuditEvent.objects.filter(kind="revoked").get()
    assert event.actor == f"corp:{company.person.session_name}"
    assert (event.data["why"], event.data["disabled"]) == ("laptop stolen", True)
    done = company.get(answer["Location"])
    assert "Done." in text_of(done)
    policy = json.loads(soup(done).find(id="policy").get_text())
    condition = policy["Statement"][0]["Condition"]
    assert condition["StringEquals"]["aws:SourceIdentity"] == company.alice.session_name
    assert condition["DateLessThan"]["aws:TokenIssueTime"] == f"{clock.now + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    assert policy["Statement"][0]["Effect"] == "Deny"
    allowed = company.submit(
        company.get(f"/staff/people/{company.alice.pk}/"), f"/staff/people/{company.alice.pk}/allow"
    )
    assert "They may sign in again" in text_of(company.get(allowed["Location"]))
    assert Person.objects.get(pk=company.alice.pk).active


def test_a_link_that_says_that_it_is_done_is_not_believed(company):
    assert "Done." not in text_of(company.get(f"/staff/people/{company.alice.pk}/revoke?since=2026-01-01T00:00:00Z"))


def test_without_a_reason_nothing_is_revoked(company):
    page = company.get(f"/staff/people/{company.alice.pk}/revoke")
    answer = company.submit(page, f"/staff/people/{company.alice.pk}/revoke/now", why="  ")
    assert answer.status_code == 422
    assert "Say why" in text_of(answer)
    assert not AuditEvent.objects.filter(kind="revoked").exists()


def test_whoever_may_only_look_has_no_form_to_revoke(console, company):
    browser = console("auditor")
    page = browser.get(f"/staff/people/{company.alice.pk}/revoke")
    assert page.status_code == 200
    assert not soup(page).select("main form[method=post]")


def test_the_roles_that_were_used_lately_are_named_with_the_command(company, clock, origin):
    from django.db import transaction

    from federation.audit.events import Kind
    from federation.audit.record import record

    with transaction.atomic():
        record(
            Kind.CREDENTIALS, actor=f"corp:{company.alice.session_name}", outcome="ok", origin=origin, now=clock.now - timedelta(hours=1),
            role_arn=f"arn:aws:iam::{cast.PROD}:role/team/ReadOnly", access_key_id="ASIATESTONLY00000001",
        )  # fmt: skip
    answer = company.get(f"/staff/people/{company.alice.pk}/revoke")
    assert "put-role-policy --role-name ReadOnly " in soup(answer).find(id="commands").get_text()
    assert "ASIATESTONLY00000001" in text_of(company.get(f"/staff/people/{company.alice.pk}/"))


def test_names_from_outside_cannot_become_markup(company):
    Person.objects.filter(pk=company.alice.pk).update(name="<img src=x>\u202eecilA")
    for path in (
        "",
        f"{company.alice.pk}/",
        f"{company.alice.pk}/revoke",
        f"{company.alice.pk}/compare?with=bob",
        f"{company.alice.pk}/explain",
    ):
        content = company.get(f"/staff/people/{path}").content.decode()
        assert "<img" not in content
        assert "\u202e" not in content.split("<title>")[1].split("</title>")[1]


@pytest.mark.parametrize("many", [0, 40])
def test_the_list_costs_the_same_queries_whatever_its_length(
    company, sign_in_as, clock, many, django_assert_num_queries
):
    for number in range(many):
        sign_in_as(cast.identity(f"extra{number}"), at=clock.now)
    company.get("/staff/people/")
    with django_assert_num_queries(7):  # session, person, revision; people, their roles, which directories, how many
        company.get("/staff/people/")
    with django_assert_num_queries(10):
        company.get(f"/staff/people/{company.alice.pk}/")
