"""Bulk requests: each operation by itself, in an order that references allow; and the brake on one that disables many."""

from __future__ import annotations

import pytest

from federation.flows import sources
from federation.models import DirectoryGroup, DirectoryUser, HeldAnswer, Membership
from tests.scim.conftest import BULK, GROUP, PATCH, USER, error_of


def bulk(directory, *operations, **more):
    return directory.post("Bulk", {"schemas": [BULK], "Operations": list(operations), **more})


def make_user(name, bulk_id):
    return {"method": "POST", "path": "/Users", "bulkId": bulk_id, "data": {"schemas": [USER], "userName": name}}


def make_group(name, bulk_id, *members):
    data = {"schemas": [GROUP], "displayName": name, "members": [{"value": f"bulkId:{one}"} for one in members]}
    return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data}


def statuses(answer):
    assert answer.status_code == 200, answer.content
    return [operation["status"] for operation in answer.json()["Operations"]]


def test_people_and_their_group_in_one_whatever_the_order(directory):
    answer = bulk(directory, make_group("engineering", "g", "a", "b"), make_user("alice", "a"), make_user("bob", "b"))
    assert statuses(answer) == ["201", "201", "201"]
    assert Membership.objects.count() == 2
    (group, *_) = answer.json()["Operations"]
    assert (group["bulkId"], group["method"]) == ("g", "POST")
    assert group["location"].endswith(str(DirectoryGroup.objects.get().pk))


def test_groups_that_name_each_other_are_made_first_and_joined_then(directory):
    answer = bulk(directory, make_group("a", "a", "b"), make_group("b", "b", "a"))
    assert statuses(answer) == ["201", "201"]
    assert {tuple(directory.members(group.pk)) for group in DirectoryGroup.objects.all()} == {
        (str(DirectoryGroup.objects.get(display_name=name).pk),) for name in "ab"
    }


def test_a_reference_to_nothing_fails_alone(directory):
    answer = bulk(directory, make_group("engineering", "g", "nobody"), make_user("alice", "a"))
    assert statuses(answer) == ["400", "201"]
    assert DirectoryUser.objects.count() == 1


def test_one_that_fails_takes_those_along_that_need_it(directory):
    directory.person("alice", externalId="another")
    answer = bulk(directory, make_user("alice", "a"), make_group("engineering", "g", "a"), make_user("bob", "b"))
    assert statuses(answer) == ["409", "400", "201"]


def test_one_that_is_sent_again_goes_on_where_the_first_broke_off(directory):
    """Its answer never came (the gateway was killed): who is there already is a conflict, and is meant by what refers to them."""
    first = bulk(directory, make_user("alice", "a"), make_group("inner", "i"))
    answer = bulk(
        directory, make_user("alice", "a"), make_user("bob", "b"), make_group("inner", "i"), make_group("engineering", "g", "a", "b", "i")
    )  # fmt: skip
    assert statuses(answer) == ["409", "201", "409", "201"]
    conflicts = [one for one in answer.json()["Operations"] if one["status"] == "409"]
    assert [one["location"] for one in conflicts] == [one["location"] for one in first.json()["Operations"]]
    assert {one["response"]["scimType"] for one in conflicts} == {"uniqueness"}
    made = answer.json()["Operations"][-1]["location"].rpartition("/")[2]
    ids = [one["location"].rpartition("/")[2] for one in answer.json()["Operations"][:3]]
    assert sorted(directory.members(made)) == sorted(ids)


@pytest.mark.parametrize("other", [{"active": False}, {"externalId": "x"}, {"displayName": "Another"}])
def test_one_of_the_same_name_that_is_another_is_meant_by_nothing(directory, other):
    directory.person("alice", **other)
    answer = bulk(directory, make_user("alice", "a"), make_group("engineering", "g", "a"))
    assert statuses(answer) == ["409", "400"]
    assert "location" not in answer.json()["Operations"][0]


def test_it_stops_after_so_many_errors(directory):
    wrong = {"method": "DELETE", "path": "/Users/00000000-0000-4000-8000-000000000000"}
    answer = bulk(directory, wrong, wrong, make_user("alice", "a"), failOnErrors=2)
    assert statuses(answer) == ["404", "404"]
    assert not DirectoryUser.objects.exists()


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ("text", "400"),
        ({"path": "/Users"}, "400"),
        ({"method": "GET", "path": "/Users"}, "400"),
        ({"method": "POST", "path": "/Elsewhere", "bulkId": "x", "data": {}}, "404"),
        ({"method": "POST", "path": "/Users", "data": {"userName": "x"}}, "400"),
        ({"method": "POST", "path": "/Users", "bulkId": "x"}, "400"),
        ({"method": "PUT", "path": "/Users", "data": {}}, "400"),
        ({"method": "PATCH", "path": "/Users/bulkId:none", "data": {}}, "400"),
    ],
)
def test_what_is_no_operation_fails_by_itself(directory, operation, status):
    found = statuses(bulk(directory, operation, make_user("alice", "a")))
    assert found[1] == "201"
    assert found[0][0] == "4", (found, status)


def test_one_name_for_two_is_refused(directory):
    assert statuses(bulk(directory, make_user("a", "x"), make_user("b", "x"))) == ["201", "400"]


@pytest.mark.parametrize("body", [{}, {"Operations": []}, {"Operations": "x"}, {"Operations": [{}], "failOnErrors": 0}])
def test_what_is_no_bulk_request_is_refused(directory, body):
    assert directory.post("Bulk", {"schemas": [BULK], **body}).status_code == 400


def test_everything_that_can_be_done_to_one(directory):
    alice = directory.person("alice")
    group = directory.group("engineering")
    answer = bulk(
        directory,
        {"method": "PATCH", "path": f"/Groups/{group}", "data": {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": alice}]}]}},
        {"method": "PUT", "path": f"/Users/{alice}", "version": 'W/"1"', "data": {"schemas": [USER], "userName": "alicia"}},
        {"method": "PUT", "path": f"/Users/{alice}", "version": 'W/"1"', "data": {"schemas": [USER], "userName": "old"}},
        {"method": "PUT", "path": f"/Groups/{group}", "data": {"schemas": [GROUP], "displayName": "platform"}},
        {"method": "DELETE", "path": f"/Groups/{group}"},
        {"method": "DELETE", "path": f"/Users/{alice}"},
    )  # fmt: skip
    assert statuses(answer) == ["204", "200", "412", "200", "204", "204"]


def test_what_is_done_to_one_keeps_its_order_also_where_some_of_it_waits(directory):
    """RFC 7644 section 3.7: the same result as one after the other. Attack: a group is filled after it was emptied."""
    alice, group = directory.person("alice"), directory.group("admins")
    answer = bulk(
        directory,
        {"method": "PATCH", "path": f"/Groups/{group}", "data": {"schemas": [PATCH], "Operations": [
            {"op": "add", "path": "members", "value": [{"value": "bulkId:bob"}, {"value": alice}]}]}},
        {"method": "PATCH", "path": f"/Groups/{group.upper()}", "data": {"schemas": [PATCH], "Operations": [
            {"op": "remove", "path": "members"}]}},
        make_user("bob", "bob"),
    )  # fmt: skip
    assert statuses(answer) == ["204", "204", "201"]
    assert directory.members(group) == set()


# --- The brake ----------------------------------------------------------------------------------------


def disable(person, way):
    path = f"/Users/{person}"
    if way == "delete":
        return {"method": "DELETE", "path": path}
    if way.startswith("put"):
        no = "off" if way == "put text" else False
        return {"method": "PUT", "path": path, "data": {"schemas": [USER], "userName": person, "ACTIVE": no}}
    change = {
        "path": {"op": "Replace", "path": "active", "value": "False"},
        "urn": {"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:Active", "value": False},
        "value": {"op": "replace", "value": {"active": False}},
        "wrapped": {"op": "Replace", "path": "active", "value": [{"$ref": None, "value": "False"}]},
        "number": {"op": "replace", "path": "active", "value": 0},
    }[way]
    return {"method": "PATCH", "path": path, "data": {"schemas": [PATCH], "Operations": [change]}}


@pytest.mark.parametrize("way", ["delete", "put", "put text", "path", "urn", "value", "wrapped", "number"])
def test_many_at_once_wait_for_a_person(directory, origin, clock, way):
    people = directory.people(10)
    everyone = [disable(person, way) for person in people[:5]]
    answer = bulk(directory, *everyone)
    assert error_of(answer) == (409, "", "answer_held")
    assert "manage.py held accept bulk:staff" in answer.json()["detail"]
    assert DirectoryUser.objects.filter(active=True, deleted_at=None).count() == 10
    assert HeldAnswer.objects.get().summary["effect"]["never_signed_in"] == 5

    # A few pass, also beside the question; and single ones do.
    assert statuses(bulk(directory, *[disable(person, way) for person in people[8:]])) in (["200"] * 2, ["204"] * 2)
    assert HeldAnswer.objects.get().decision == "waiting"

    clock.forward(minutes=1)
    sources.decide("bulk:staff", accept=True, actor="carol", origin=origin, now=clock.now)
    clock.forward(minutes=1)
    assert set(statuses(bulk(directory, *everyone))) <= {"200", "204"}
    assert DirectoryUser.objects.filter(active=True, deleted_at=None).count() == 3

    # It was accepted once.
    for person in people[:5]:
        if way != "delete":
            directory.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": True})
    if way != "delete":
        assert bulk(directory, *everyone).status_code == 409


def test_an_id_in_another_form_is_nobodys(directory):
    """Attack: the brake counts ids; written otherwise, the same people would be disabled past it."""
    people = directory.people(10)
    for form in ("{%s}", "urn:uuid:%s"):
        gone = [{"method": "DELETE", "path": f"/Users/{form % person}"} for person in people]
        assert statuses(bulk(directory, *gone)) == ["404"] * 10
    bare = [{"method": "DELETE", "path": f"/Users/{person.replace('-', '')}"} for person in people]
    assert statuses(bulk(directory, *bare)) == ["404"] * 10
    assert DirectoryUser.objects.filter(active=True, deleted_at=None).count() == 10


def test_many_small_groups_deleted_at_once_wait_for_a_person(directory, origin, clock):
    """From each of them everybody may go; all of them at once is a filter that has changed."""
    alice, bob = directory.people(2)
    groups = [directory.group(f"g{number:02}", [alice, bob]) for number in range(12)]
    everything = [{"method": "DELETE", "path": f"/Groups/{group}"} for group in groups[:6]]
    answer = bulk(directory, *everything)
    assert error_of(answer) == (409, "", "answer_held")
    assert "0 of 2 people and 6 of 12 groups" in answer.json()["detail"]
    held = HeldAnswer.objects.get()
    assert (held.summary["examples"][0], held.summary["removed"]) == ("group:g00", 6)
    assert DirectoryGroup.objects.count() == 12
    assert statuses(bulk(directory, *everything[:2])) == ["204"] * 2

    clock.forward(minutes=1)
    sources.decide("bulk:staff", accept=True, actor="carol", origin=origin, now=clock.now)
    clock.forward(minutes=1)
    assert set(statuses(bulk(directory, *everything))) == {"204", "404"}
    assert DirectoryGroup.objects.count() == 6


def test_what_disables_nobody_is_not_held(directory):
    people = directory.people(6)
    change = {"op": "replace", "path": "title", "value": "Dr"}
    data = {"schemas": [PATCH], "Operations": [change]}
    odd = [{**disable(p, "path"), "data": {"schemas": [PATCH], "Operations": "x"}} for p in people]
    assert (
        statuses(bulk(directory, *[{"method": "PATCH", "path": f"/Users/{p}", "data": data} for p in people]))
        == ["200"] * 6
    )
    assert set(statuses(bulk(directory, *odd))) == {"400"}
    assert not HeldAnswer.objects.exists()
