"""What Okta sends, as it sends it. Source of the forms: Okta developer documentation, "Okta and SCIM Version 2.0"."""

from __future__ import annotations

import pytest

from federation.models import DirectoryUser
from tests.scim.conftest import GROUP, USER

NEW = {
    "schemas": [USER],
    "userName": "test.user@okta.local",
    "name": {"givenName": "Test", "familyName": "User"},
    "emails": [{"primary": True, "value": "test.user@okta.local", "type": "work"}],
    "displayName": "Test User",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}


@pytest.fixture
def user(directory):
    answer = directory.post("Users", NEW)
    assert answer.status_code == 201
    assert answer.json()["active"] is True
    return answer.json()["id"]


def test_the_question_before_a_person_is_made(directory, user):
    answer = directory.get("Users?filter=userName%20eq%20%22test.user%40okta.local%22&startIndex=1&count=100")
    body = answer.json()
    assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (1, 1, 1)
    assert body["Resources"][0]["id"] == user


def test_a_person_is_updated_whole(directory, user):
    body = {
        **NEW,
        "id": user,
        "name": {"givenName": "Another", "middleName": "", "familyName": "User"},
        "meta": {"resourceType": "User"},
    }
    answer = directory.put(f"Users/{user}", body)
    assert answer.status_code == 200
    assert answer.json()["name"]["givenName"] == "Another"


def test_a_person_is_deactivated_and_comes_back(directory, user):
    for active in (False, True):
        answer = directory.patch(f"Users/{user}", {"op": "replace", "value": {"active": active}})
        assert (answer.status_code, answer.json()["active"]) == (200, active)
        assert DirectoryUser.objects.get(pk=user).active is active


def test_a_person_is_deactivated_by_put(directory, user):
    assert directory.put(f"Users/{user}", {**NEW, "id": user, "active": False}).json()["active"] is False
    assert not DirectoryUser.objects.get(pk=user).active


def test_a_group_is_pushed_renamed_and_filled(directory, user):
    group = directory.post("Groups", {"schemas": [GROUP], "displayName": "Test SCIMv2", "members": []}).json()["id"]
    (other,) = directory.people(1)
    renamed = directory.patch(
        f"Groups/{group}", {"op": "replace", "value": {"id": group, "displayName": "Test SCIMv2, renamed"}}
    )
    assert renamed.status_code == 204
    filled = directory.patch(
        f"Groups/{group}",
        {"op": "add", "path": "members", "value": [{"value": user, "display": "test.user@okta.local"}]},
        {"op": "add", "path": "members", "value": [{"value": other, "display": "p00"}]},
    )
    assert filled.status_code == 204
    assert directory.members(group) == {user, other}
    body = directory.get(f"Groups/{group}").json()
    assert (body["displayName"], body["meta"]["version"]) == ("Test SCIMv2, renamed", 'W/"3"')
    emptied = directory.patch(f"Groups/{group}", {"op": "remove", "path": f'members[value eq "{user}"]'})
    assert emptied.status_code == 204
    assert directory.members(group) == {other}


def test_a_group_is_replaced_without_a_path(directory, user):
    (other,) = directory.people(1)
    group = directory.group("g", [other])
    directory.patch(f"Groups/{group}", {"op": "replace", "value": {"displayName": "h", "members": [{"value": user}]}})
    assert directory.members(group) == {user}
    assert directory.get(f"Groups/{group}").json()["displayName"] == "h"


def test_a_group_is_replaced_whole(directory, user):
    group = directory.group("g")
    body = {"schemas": [GROUP], "id": group, "displayName": "g2", "members": [{"value": user, "display": "x"}]}
    answer = directory.put(f"Groups/{group}", body)
    assert answer.status_code == 200
    assert [member["value"] for member in answer.json()["members"]] == [user]
    without = directory.put(f"Groups/{group}", {"schemas": [GROUP], "displayName": "g3"})
    assert without.json()["displayName"] == "g3"
    assert directory.members(group) == {user}  # what is left out is not said to be empty


def test_groups_are_imported_by_pages(directory):
    for number in range(5):
        directory.group(f"g{number}")
    pages = [directory.get(f"Groups?startIndex={start}&count=2").json() for start in (1, 3, 5, 7)]
    assert [len(page["Resources"]) for page in pages] == [2, 2, 1, 0]
    assert len({found["displayName"] for page in pages for found in page["Resources"]}) == 5
    assert {page["totalResults"] for page in pages} == {5}
