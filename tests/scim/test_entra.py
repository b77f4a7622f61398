"""What Entra sends, as it sends it: capitals, text for booleans, paths as keys, values in removals.

Source of the forms: Microsoft Learn, "Tutorial: Develop a SCIM endpoint" and "Known issues and resolutions with SCIM 2.0
protocol compliance", with and without the flag aadOptscim062020.
"""

from __future__ import annotations

import pytest

from federation.models import DirectoryUser
from tests.scim.conftest import ENTERPRISE, GROUP, PATCH, USER

NEW = {
    "schemas": [USER, ENTERPRISE],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1",
    "active": True,
    "emails": [{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@testuser.com"}],
    "meta": {"resourceType": "User"},
    "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
    "roles": [],
}


@pytest.fixture
def user(directory):
    answer = directory.post("Users", NEW)
    assert answer.status_code == 201
    return answer.json()["id"]


def patch(directory, path, *operations):
    body = {"schemas": [PATCH], "Operations": list(operations)}
    return directory.call("PATCH", f"{path}?aadOptscim062020", body)


def test_the_first_question_finds_nobody_and_that_is_no_error(directory):
    """The connection test asks for a person that cannot be there and wants an empty list."""
    answer = directory.get('Users?filter=userName+eq+"non-existent+user"')
    assert answer.status_code == 200
    assert answer.json() == {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 0, "startIndex": 1, "itemsPerPage": 0,
        "Resources": [],
    }  # fmt: skip


@pytest.mark.parametrize("value", ["False", "false", False])
@pytest.mark.parametrize("op", ["Replace", "replace"])
def test_a_person_is_disabled(directory, user, op, value):
    answer = patch(directory, f"Users/{user}", {"op": op, "path": "active", "value": value})
    assert (answer.status_code, answer.json()["active"]) == (200, False)
    assert not DirectoryUser.objects.get(pk=user).active


def test_a_person_is_disabled_by_a_wrapped_value(directory, user):
    patch(directory, f"Users/{user}", {"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]})
    assert not DirectoryUser.objects.get(pk=user).active


def test_one_operation_an_attribute(directory, user):
    answer = patch(
        directory, f"Users/{user}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updatedEmail@microsoft.com"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 555"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Sales"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "7a2f"},
        {"op": "Add", "path": "displayName", "value": [{"$ref": None, "value": "New Name"}]},
    )  # fmt: skip
    body = answer.json()
    assert answer.status_code == 200, body
    assert body["emails"] == [{"primary": True, "type": "work", "value": "updatedEmail@microsoft.com"}]
    assert body["name"]["familyName"] == "updatedFamilyName"
    assert body["phoneNumbers"] == [{"type": "mobile", "value": "+1 555"}]
    assert body[ENTERPRISE] == {"department": "Sales", "manager": {"value": "7a2f"}}
    assert body["displayName"] == "New Name"


def test_one_operation_for_all_with_paths_as_keys(directory, user):
    answer = patch(
        directory, f"Users/{user}",
        {
            "op": "Replace",
            "value": {
                "displayName": "Pvlo", "active": "False", "name.givenName": "Gn", "userName": "renamed",
                'emails[type eq "work"].value': "TestBcwqnm@test.microsoft.com", 'addresses[type eq "work"].locality': "Berlin",
                f"{ENTERPRISE}:employeeNumber": "111", f"{ENTERPRISE}:manager": "7a2f",
            },
        },
    )  # fmt: skip
    body = answer.json()
    assert answer.status_code == 200, body
    assert (body["displayName"], body["active"], body["userName"]) == ("Pvlo", False, "renamed")
    assert body["name"]["givenName"] == "Gn"
    assert body["emails"][0]["value"] == "TestBcwqnm@test.microsoft.com"
    assert body["addresses"] == [{"type": "work", "locality": "Berlin"}]
    assert body[ENTERPRISE] == {"employeeNumber": "111", "manager": {"value": "7a2f"}}
    assert DirectoryUser.objects.get(pk=user).email == "TestBcwqnm@test.microsoft.com"


def test_roles_with_text_for_primary(directory, user):
    value = [{"primary": "True", "type": "WindowsAzureActiveDirectoryRole", "value": "Admin", "display": "Admin"}]
    answer = patch(directory, f"Users/{user}", {"op": "Add", "path": "roles", "value": value})
    assert answer.json()["roles"][0]["primary"] is True


def test_a_manager_goes(directory, user):
    patch(directory, f"Users/{user}", {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "7a2f"})
    answer = patch(directory, f"Users/{user}", {"op": "Remove", "path": f"{ENTERPRISE}:manager"})
    assert "manager" not in answer.json().get(ENTERPRISE, {})


@pytest.fixture
def group(directory):
    answer = directory.post(
        "Groups",
        {
            "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "displayName", "meta": {"resourceType": "Group"},
        },
    )  # fmt: skip
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


def test_members_come_and_go_with_values_in_the_operations(directory, group):
    people = directory.people(3)
    added = patch(
        directory, f"Groups/{group}",
        {"op": "Add", "path": "members", "value": [{"$ref": None, "value": people[0]}]},
        {"op": "Add", "path": "members", "value": [{"$ref": None, "value": person} for person in people[1:]]},
    )  # fmt: skip
    assert added.status_code == 204
    assert directory.members(group) == set(people)
    removed = patch(
        directory, f"Groups/{group}", {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": people[1]}]}
    )
    assert removed.status_code == 204
    assert directory.members(group) == {people[0], people[2]}
    patch(directory, f"Groups/{group}", {"op": "Remove", "path": f'members[value eq "{people[0]}"]'})
    assert directory.members(group) == {people[2]}


def test_a_removal_that_names_nobody_removes_nobody(directory, group):
    """Read as the RFC alone would have it, a removal with a value empties the group."""
    (person,) = directory.people(1)
    patch(directory, f"Groups/{group}", {"op": "Add", "path": "members", "value": [{"value": person}]})
    assert patch(directory, f"Groups/{group}", {"op": "Remove", "path": "members", "value": []}).status_code == 204
    assert directory.members(group) == {person}


def test_a_group_is_renamed_and_found(directory, group):
    assert (
        patch(directory, f"Groups/{group}", {"op": "Replace", "path": "displayName", "value": "new"}).status_code == 204
    )
    answer = directory.get('Groups?excludedAttributes=members&filter=displayName+eq+"new"')
    assert [found["id"] for found in answer.json()["Resources"]] == [group]
    assert "members" not in answer.json()["Resources"][0]


def test_whether_somebody_is_a_member(directory, group):
    inside, outside = directory.people(2)
    patch(directory, f"Groups/{group}", {"op": "Add", "path": "members", "value": [{"value": inside}]})
    for person, found in ((inside, 1), (outside, 0)):
        answer = directory.get(f'Groups?attributes=id&filter=id+eq+"{group}"+and+members+eq+"{person}"')
        assert answer.json()["totalResults"] == found


def test_whether_somebody_is_a_manager(directory, user):
    (boss,) = directory.people(1)
    patch(directory, f"Users/{user}", {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": boss})
    for manager, found in ((boss, 1), ("nobody", 0)):
        answer = directory.get(f'Users?attributes=id&filter=id+eq+"{user}"+and+manager+eq+"{manager}"')
        assert answer.json()["totalResults"] == found
    named = directory.person("x", displayName='a "manager eq 1"')
    assert directory.found("Users", r'displayName eq "a \"manager eq 1\""') == ["x"], named
