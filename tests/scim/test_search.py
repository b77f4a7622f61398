"""What a directory asks for: filters, order, pages."""

from __future__ import annotations

import pytest

from tests.scim.conftest import USER, error_of

PEOPLE = [
    (
        "alice",
        {
            "externalId": "00A",
            "title": "Engineer",
            "emails": [{"value": "alice@example.com", "type": "work", "primary": True}],
        },
    ),
    ("Bob", {"externalId": "00b", "active": False, "name": {"familyName": "Builder"}}),
    ("carol", {"title": "Chief", "emails": [{"value": "carol@example.org", "type": "home"}]}),
]


@pytest.fixture
def company(directory, clock):
    ids = {}
    for name, more in PEOPLE:
        clock.forward(seconds=1)  # what was made first comes first
        answer = directory.post("Users", {"schemas": [USER], "userName": name, "active": True, **more})
        ids[name] = answer.json()["id"]
    directory.group("engineering", [ids["alice"], ids["Bob"]], externalId="g-1")
    clock.forward(seconds=1)
    directory.group("Platform", [ids["carol"]])
    clock.forward(seconds=1)
    directory.group("empty")
    directory.ids = ids
    return directory


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ('userName eq "alice"', ["alice"]),
        ('userName eq "ALICE"', ["alice"]),
        ('username EQ "bob"', ["Bob"]),
        ('userName sw "a"', ["alice"]),
        ('userName co "o"', ["Bob", "carol"]),
        ('userName ew "ce"', ["alice"]),
        ('userName ne "alice"', ["Bob", "carol"]),
        ('externalId eq "00A"', ["alice"]),
        ('externalId eq "00a"', []),
        ("externalId pr", ["Bob", "alice"]),
        ("active eq false", ["Bob"]),
        ("active eq true", ["alice", "carol"]),
        ("active pr", ["Bob", "alice", "carol"]),
        ('title eq "engineer"', ["alice"]),
        ("title pr", ["alice", "carol"]),
        ('name.familyName eq "Builder"', ["Bob"]),
        ('emails.value eq "alice@example.com"', ["alice"]),
        ('emails[type eq "work"].value eq "alice@example.com"', ["alice"]),
        ('emails[type eq "work" and value eq "alice@example.com"]', ["alice"]),
        ('userName eq "alice" or userName eq "carol"', ["alice", "carol"]),
        ('userName sw "a" and active eq true', ["alice"]),
        ('not (userName eq "alice")', ["Bob", "carol"]),
        ('not (userName eq "alice" or active eq false)', ["carol"]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "alice"', ["alice"]),
        ('meta.created gt "2026-01-01T00:00:00Z"', ["Bob", "alice", "carol"]),
        ('meta.lastModified lt "2026-01-01T00:00:00Z"', []),
        ('id eq "nothing"', []),
        ("id pr", ["Bob", "alice", "carol"]),
        ("groups pr", ["Bob", "alice", "carol"]),
    ],
)  # fmt: skip
def test_people_are_found(company, filter_, found):
    assert company.found("Users", filter_) == sorted(found)


def test_people_are_found_by_id_and_group_and_groups_by_member(company):
    alice = company.ids["alice"]
    (engineering,) = [g["id"] for g in company.client.get("/scim/v2/Groups", {"filter": 'displayName eq "engineering"'}).json()["Resources"]]  # fmt: skip
    assert company.found("Users", f'id eq "{alice}"') == ["alice"]
    assert company.found("Users", f'groups.value eq "{engineering}"') == ["Bob", "alice"]
    assert company.found("Groups", f'members.value eq "{alice}"') == ["engineering"]
    assert company.found("Groups", f'members[value eq "{alice}"]') == ["engineering"]
    assert company.found("Groups", "members pr") == ["Platform", "engineering"]
    assert company.found("Groups", 'displayName eq "platform"') == []  # rules know it by its letters
    assert company.found("Groups", 'externalId eq "g-1"') == ["engineering"]


@pytest.mark.parametrize(
    "filter_",
    [
        "userName", 'userName gt "b"', "userName eq", 'userName eq "a', 'userName xx "a"', 'shoeSize eq "1"', '(userName eq "a"', 'userName eq "a")',
        'userName eq "a" and', "not userName pr", 'emails[type eq "work"', "active eq 7", 'meta.created gt "yesterday"', "(" * 200,
        'userName eq "' + "x" * 5000 + '"', "a" * 20_000, 'id gt "x"', 'password eq "x"',
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(company, filter_):
    answer = company.client.get("/scim/v2/Users", {"filter": filter_})
    assert error_of(answer)[::2] == (400, "scim_refused"), answer.content


def page(company, **asked):
    answer = company.client.get("/scim/v2/Users", asked)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    return body["totalResults"], [found["userName"] for found in body["Resources"]]


def test_pages_and_order(company):
    assert page(company, sortBy="userName", count=2) == (3, ["alice", "Bob"])
    assert page(company, sortBy="userName", count=2, startIndex=3) == (3, ["carol"])
    assert page(company, sortBy="userName", sortOrder="descending") == (3, ["carol", "Bob", "alice"])
    assert page(company, count=0) == (3, [])
    assert page(company, startIndex=99) == (3, [])
    assert company.client.get("/scim/v2/Users", {"count": "x"}).status_code == 400
    assert company.client.get("/scim/v2/Users", {"sortBy": "shoeSize"}).status_code == 400


def test_everything_at_once_by_post(company):
    schema = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
    body = company.post(".search", {"schemas": [schema], "count": 4, "attributes": ["userName", "displayName"]}).json()
    assert (body["totalResults"], len(body["Resources"])) == (6, 4)
    body = company.post(".search", {"schemas": [schema], "startIndex": 4}).json()
    assert [found.get("displayName") for found in body["Resources"]] == ["engineering", "Platform", "empty"]
    body = company.post("Groups/.search", {"schemas": [schema], "filter": 'displayName sw "e"'}).json()
    assert body["totalResults"] == 2


def test_a_page_ends_early_where_members_would_be_too_many(company, monkeypatch):
    monkeypatch.setattr("federation.flows.directory_search.MOST_ENTRIES", 1)
    body = company.get("Groups").json()
    assert (body["totalResults"], len(body["Resources"])) == (3, 1)
    everyone = company.get("Groups?excludedAttributes=members").json()
    assert len(everyone["Resources"]) == 3
    with_groups = company.get("Users?attributes=groups").json()["Resources"]
    assert [len(found["groups"]) for found in with_groups] == [1]
