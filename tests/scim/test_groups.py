"""Groups by SCIM: members, groups within groups, and the brake on what takes too many out."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from federation.flows import sources
from federation.models import AuditEvent, DirectoryGroup, GroupNesting, HeldAnswer, Membership, PastMembership, Source
from tests import cast
from tests.scim.conftest import GROUP, Directory, document, error_of


def remove(ids):
    return {"op": "remove", "path": "members", "value": [{"value": one} for one in ids]}


def accept(key, origin, clock, *, yes=True):
    return sources.decide(key, accept=yes, actor="carol", origin=origin, now=clock.now)


def test_members_come_and_go(directory):
    alice, bob, carol = directory.people(3)
    group = directory.group("engineering", [alice])
    directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": bob}, {"value": alice}]})
    assert directory.members(group) == {alice, bob}
    directory.patch(f"Groups/{group}", {"op": "remove", "path": f'members[value eq "{alice}"]'})
    assert directory.members(group) == {bob}
    answer = directory.put(
        f"Groups/{group}", {"schemas": [GROUP], "displayName": "engineering", "members": [{"value": carol}]}
    )
    assert answer.status_code == 200
    assert directory.members(group) == {carol}
    directory.patch(
        f"Groups/{group}", {"op": "replace", "value": {"members": [{"value": alice}], "displayName": "platform"}}
    )
    assert directory.members(group) == {alice}
    assert DirectoryGroup.objects.get().display_name == "platform"
    # What left, what left for it, and whoever was in the group under its old name.
    assert PastMembership.objects.filter(display_name="engineering").count() >= 3
    directory.patch(f"Groups/{group}", {"op": "remove", "path": "members"})
    assert directory.members(group) == set()


def test_a_patch_that_names_attributes_is_answered_with_them(directory):
    """RFC 7644 section 3.5.2: 200 where the request says `attributes`; otherwise nothing, as the group may be large."""
    alice, bob = directory.people(2)
    group = directory.group("engineering", [alice])
    change = {"op": "add", "path": "members", "value": [{"value": bob}]}
    answer = directory.patch(f"Groups/{group}?attributes=members.value", change)
    assert (answer.status_code, answer["ETag"]) == (200, 'W/"2"')
    assert {member["value"] for member in answer.json()["members"]} == {alice, bob}
    assert "displayName" not in answer.json()
    answer = directory.patch(f"Groups/{group}?excludedAttributes=members", {**change, "op": "remove"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    "removal",
    [
        {"op": "remove", "value": {"members": [{"value": "BOB"}]}},
        {"op": "Remove", "path": "members", "value": {"value": "BOB"}},
        {"op": "remove", "path": 'members[value eq "BOB" and type eq "User"]'},
        {"op": "remove", "path": f'{GROUP}:members[VALUE EQ "BOB"]'},
        {"op": "remove", "path": "members", "value": ["BOB"]},
    ],
    ids=range(5),
)
def test_somebody_is_taken_out_however_the_sender_says_it(directory, removal):
    """A removal that is refused leaves somebody in a group: whoever is named is taken out, and nobody else."""
    alice, bob = directory.people(2)
    group = directory.group("engineering", [alice, bob])
    answer = directory.patch(f"Groups/{group}", json.loads(json.dumps(removal).replace("BOB", bob)))
    assert (answer.status_code, directory.members(group)) == (204, {alice})


@pytest.mark.parametrize("value", [{"displayName": "x"}, {"members": [{"value": 7}]}])
def test_a_removal_without_a_path_names_members_or_is_none(directory, value):
    group = directory.group("engineering", directory.people(2))
    status, _, code = error_of(directory.patch(f"Groups/{group}", {"op": "remove", "value": value}))
    assert (status, code, len(directory.members(group))) == (400, "scim_refused", 2)


def test_a_group_may_be_in_a_group_and_leave_it(directory):
    (alice,) = directory.people(1)
    child = directory.group("berlin", [alice])
    parent = directory.group("germany", [child])
    assert directory.members(parent) == {child}
    assert GroupNesting.objects.count() == 1
    directory.patch(f"Groups/{parent}", remove([child]))
    assert GroupNesting.objects.count() == 0
    directory.patch(f"Groups/{parent}", {"op": "add", "path": "members", "value": [{"value": child}]})
    directory.put(f"Groups/{parent}", {"schemas": [GROUP], "displayName": "germany", "members": []})
    assert GroupNesting.objects.count() == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"value": str(uuid4())}], "nobody with the id"),
        ([{"value": "not-an-id"}], "nobody with the id not-an-id"),
        ([{"display": "alice"}], 'A member is {"value"'),
        ([{"value": ""}], 'A member is {"value"'),
        (["x" * 600], 'A member is {"value"'),
        (None, "needs a value"),
    ],
)
def test_members_that_are_nobody_are_refused(directory, value, said):
    group = directory.group("engineering")
    answer = directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": value})
    assert error_of(answer) == (400, "invalidValue", "scim_refused")
    assert said in answer.json()["detail"]


def test_a_group_is_no_member_of_itself_and_no_circle_hangs(directory):
    group = directory.group("a")
    answer = directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": group}]})
    assert error_of(answer) == (400, "invalidValue", "scim_refused")
    answer = directory.patch(f"Groups/{group}", {"op": "remove", "path": 'members[display eq "x"]'})
    assert error_of(answer) == (400, "invalidFilter", "scim_refused")


def test_what_is_gone_is_not_found_whatever_is_done_with_it(directory):
    """Operations on things that are gone: each is told so, and nothing else changes."""
    alice, bob = directory.people(2)
    group, other = directory.group("engineering", [alice, bob]), directory.group("platform", [alice])
    directory.delete(f"Users/{alice}")
    directory.delete(f"Groups/{other}")
    before = (
        Membership.objects.count(),
        DirectoryGroup.objects.count(),
        Source.objects.get(pk="directory:staff").version,
    )
    member = [{"value": alice}]
    for path in (f"Users/{alice}", f"Groups/{other}", f"Users/{uuid4()}", "Users/x", "Groups/x"):
        for answer in (
            directory.get(path),
            directory.delete(path),
            directory.patch(path, {"op": "replace", "path": "displayName", "value": "x"}),
            directory.put(path, {"schemas": [GROUP], "displayName": "x", "userName": "x"}),
        ):
            assert error_of(answer) == (404, "", "not_found"), path
    answer = directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": member})
    assert error_of(answer) == (400, "invalidValue", "scim_refused")
    assert directory.patch(f"Groups/{group}", remove([alice])).status_code == 204  # gone already: as they want it
    assert before == (
        Membership.objects.count(), DirectoryGroup.objects.count(), Source.objects.get(pk="directory:staff").version,
    )  # fmt: skip


def test_two_of_a_name_are_a_conflict(directory):
    directory.group("engineering")
    other = directory.group("platform")
    answer = directory.post("Groups", {"schemas": [GROUP], "displayName": "engineering"})
    assert error_of(answer) == (409, "uniqueness", "scim_conflict")
    answer = directory.patch(f"Groups/{other}", {"op": "replace", "path": "displayName", "value": "engineering"})
    assert error_of(answer) == (409, "uniqueness", "scim_conflict")


@pytest.mark.parametrize("way", ["made", "put", "patch"])
def test_where_rules_know_groups_by_their_id_no_two_have_the_same(publish, token, way):
    """Attack: whoever may make a group of any name and id would be in the one that a rule names."""
    directory = Directory(token())
    directory.group("engineering", externalId="g-1")
    other = directory.group("mine", externalId="g-1")  # by their names they are told apart
    directory.delete(f"Groups/{other}")
    publish(document(scim="{group_name: externalId}"))
    mine = directory.group("mine", externalId="g-2")
    body = {"schemas": [GROUP], "displayName": "mine", "externalId": "g-1"}
    if way == "made":
        answer = directory.post("Groups", {**body, "displayName": "theirs"})
    elif way == "put":
        answer = directory.put(f"Groups/{mine}", body)
    else:
        answer = directory.patch(f"Groups/{mine}", {"op": "replace", "path": "externalId", "value": "g-1"})
    assert error_of(answer) == (409, "uniqueness", "scim_conflict")
    assert sorted(DirectoryGroup.objects.values_list("external_id", flat=True)) == ["g-1", "g-2"]
    assert directory.put(f"Groups/{mine}", {**body, "externalId": "g-3"}).status_code == 200


def test_an_old_version_is_refused(directory):
    group = directory.group("engineering")
    answer = directory.patch(
        f"Groups/{group}", {"op": "replace", "path": "displayName", "value": "x"}, if_match='W/"7"'
    )
    assert error_of(answer) == (412, "", "version_mismatch")


# --- The brake ------------------------------------------------------------------------------------------


def signed_in(sign_in_as, count, clock):
    return [sign_in_as(cast.identity(f"p{number:02}"), at=clock.now) for number in range(count)]


def test_too_many_out_of_a_group_wait_for_a_person_who_sees_what_it_means(
    directory, sign_in_as, origin, clock, gateway_keys
):
    signed_in(sign_in_as, 3, clock)
    people = directory.people(10)
    group = directory.group("engineering", people)
    key = f"group:{group}"
    answer = directory.patch(f"Groups/{group}", remove(people[:5]))
    assert error_of(answer) == (409, "", "answer_held")
    assert f"manage.py held accept {key}" in answer.json()["detail"]
    assert directory.members(group) == set(people)
    waiting = HeldAnswer.objects.get()
    assert waiting.summary["removed"] == 5
    effect = waiting.summary["effect"]
    assert (effect["people"], effect["never_signed_in"]) == (5, 2)
    roles = {role["role"]: (role["people"], role["who"]) for role in effect["lost"]}
    assert roles[cast.role(cast.PROD, "ReadOnly")] == (5, ["P00", "P01", "P02", "p03", "p04"])
    assert DirectoryGroup.objects.get().held_at is not None

    assert directory.patch(f"Groups/{group}", remove(people[:5])).status_code == 409  # asked once, told each time
    assert HeldAnswer.objects.count() == 1
    assert AuditEvent.objects.filter(kind="directory.group", outcome="refused").count() == 1

    clock.forward(minutes=1)
    accept(key, origin, clock)
    clock.forward(minutes=1)
    assert directory.patch(f"Groups/{group}", remove(people[:5])).status_code == 204
    assert directory.members(group) == set(people[5:])
    assert DirectoryGroup.objects.get().held_at is None


def test_refused_it_stays_as_it_is(directory, origin, clock):
    people = directory.people(10)
    group = directory.group("engineering", people)
    directory.patch(f"Groups/{group}", remove(people[:6]))
    clock.forward(minutes=1)
    accept(f"group:{group}", origin, clock, yes=False)
    assert directory.patch(f"Groups/{group}", remove(people[:6])).status_code == 409
    assert directory.members(group) == set(people)


@pytest.mark.parametrize("way", ["delete", "put", "clear"])
def test_a_group_that_is_emptied_in_any_way_waits(directory, way):
    people = directory.people(8)
    group = directory.group("engineering", people)
    if way == "delete":
        answer = directory.delete(f"Groups/{group}")
    elif way == "put":
        answer = directory.put(f"Groups/{group}", {"schemas": [GROUP], "displayName": "engineering", "members": []})
    else:
        answer = directory.patch(f"Groups/{group}", {"op": "remove", "path": "members"})
    assert error_of(answer) == (409, "", "answer_held")
    assert directory.members(group) == set(people)


def test_an_accepted_deletion_is_one(directory, origin, clock):
    people = directory.people(8)
    group = directory.group("engineering", people)
    directory.delete(f"Groups/{group}")
    clock.forward(minutes=1)
    accept(f"group:{group}", origin, clock)
    assert directory.delete(f"Groups/{group}").status_code == 204
    assert not DirectoryGroup.objects.exists()
    assert PastMembership.objects.count() == 8


def test_a_deny_that_would_end_is_shown_as_what_people_gain(directory, sign_in_as, clock):
    signed_in(sign_in_as, 6, clock)
    people = directory.people(6)
    directory.group("engineering", people)
    contractors = directory.group("contractors", people)
    directory.patch(f"Groups/{contractors}", remove(people[:5]))
    effect = HeldAnswer.objects.get().summary["effect"]
    assert (effect["people"], effect["lost"]) == (0, [])
    assert effect["gained"][0]["people"] == 5


def test_groups_within_groups_are_looked_through(directory, sign_in_as, clock):
    signed_in(sign_in_as, 12, clock)
    people = directory.people(12)
    teams = [directory.group(f"team{n}", people[n * 2 : n * 2 + 2]) for n in range(6)]
    parent = directory.group("engineering", teams)
    directory.patch(f"Groups/{parent}", remove(teams[:5]))
    summary = HeldAnswer.objects.get().summary
    assert (summary["removed"], summary["effect"]["people"]) == (15, 10)  # the groups, and everybody in them


def test_many_disabled_one_by_one_are_disabled_and_an_alarm_is_raised_once(directory, clock):
    people = directory.people(12)
    for person in people[:8]:
        answer = directory.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": False})
        assert answer.status_code == 200
    told = AuditEvent.objects.filter(kind="directory.disables_many")
    assert [event.data for event in told] == [{"directory": "staff", "people": 5}]
    clock.forward(hours=2)
    directory.delete(f"Users/{people[8]}")
    assert told.count() == 1  # one in an hour is a day at work


def test_many_who_leave_a_group_one_by_one_leave_it_and_an_alarm_is_raised_once(directory, clock):
    """As directories mostly send it: a request for each member, which no brake sees."""
    people = directory.people(12)
    group = directory.group("engineering", people)
    for person in people[:8]:
        assert directory.patch(f"Groups/{group}", remove([person])).status_code == 204
    told = AuditEvent.objects.filter(kind="directory.empties_group")
    assert [(event.data["group_name"], event.data["people"]) for event in told] == [("engineering", 5)]
    clock.forward(hours=2)
    directory.patch(f"Groups/{group}", remove([people[8]]))
    assert told.count() == 1  # one in an hour is a day at work


def test_whoever_comes_back_has_not_left(directory):
    people = directory.people(12)
    group = directory.group("engineering", people)
    for person in people[:8]:
        directory.patch(f"Groups/{group}", remove([person]))
        directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": person}]})
    directory.patch(f"Groups/{group}", {"op": "replace", "path": "displayName", "value": "engineers"})
    directory.patch(f"Groups/{group}", remove([people[0]]))
    assert not AuditEvent.objects.filter(kind="directory.empties_group").exists()


def group_of_groups(directory, many=10):
    """`engineering`, which has two groups of people and nobody themselves."""
    inner = [directory.group(name, directory.people(many, prefix=name[0])) for name in ("berlin", "munich")]
    return directory.group("engineering", inner), inner


def test_a_group_within_a_group_that_takes_many_people_with_it_waits(directory, origin, clock):
    group, (berlin, munich) = group_of_groups(directory)
    answer = directory.patch(f"Groups/{group}", remove([berlin]))
    assert error_of(answer) == (409, "", "answer_held")
    summary = HeldAnswer.objects.get().summary
    assert (summary["removed"], summary["before"]) == (11, 22)
    assert "group:berlin" in summary["examples"]
    assert summary["effect"]["never_signed_in"] == 10
    assert directory.members(group) == {berlin, munich}
    clock.forward(minutes=1)
    accept(f"group:{group}", origin, clock)
    clock.forward(minutes=1)
    assert directory.patch(f"Groups/{group}", remove([berlin])).status_code == 204
    assert directory.members(group) == {munich}


def test_a_group_of_groups_that_is_deleted_waits(directory):
    group, _ = group_of_groups(directory, 4)
    assert error_of(directory.delete(f"Groups/{group}")) == (409, "", "answer_held")


def test_a_group_may_leave_whose_people_stay_by_another_way(directory):
    group, (berlin, munich) = group_of_groups(directory)
    directory.patch(f"Groups/{munich}", {"op": "add", "path": "members", "value": [{"value": berlin}]})
    assert directory.patch(f"Groups/{group}", remove([berlin])).status_code == 204


# --- Called otherwise ----------------------------------------------------------------------------------


def rename(directory, group, name):
    return directory.patch(f"Groups/{group}", {"op": "replace", "path": "displayName", "value": name})


@pytest.fixture
def crowd(directory):
    return [directory.person(f"p{number}") for number in range(6)]


def test_a_group_that_rules_do_not_know_by_its_new_name_waits(directory, crowd, origin, clock):
    """All of its people would leave it at once: that takes away as much as emptying it, and asks as much."""
    group = directory.group("engineering", crowd)
    answer = rename(directory, group, "Engineering (old)")
    assert answer.status_code == 409
    said = 'This calls the group "engineering" "Engineering (old)", and rules of the mapping do not know its 6 people by that name, so it'
    assert said in answer.json()["detail"]
    assert DirectoryGroup.objects.get().display_name == "engineering"
    (held,) = sources.waiting()
    assert (held.source_id, held.summary["why"], held.summary["removed"]) == (f"group:{group}", "too_many_removed", 6)
    assert held.summary["examples"][0] == "p0: engineering, Engineering (old) now"
    assert held.summary["effect"]["people"] == 6

    clock.forward(minutes=1)
    sources.decide(held.source_id, accept=True, actor="carol", origin=origin, now=clock.now)
    assert rename(directory, group, "Another name").status_code == 409  # not what was shown
    clock.forward(minutes=1)
    assert rename(directory, group, "Engineering (old)").status_code == 204
    row = DirectoryGroup.objects.get()
    assert (row.display_name, row.held_at) == ("Engineering (old)", None)
    assert sources.waiting() == []


@pytest.mark.parametrize(
    ("name", "people", "other"),
    [
        ("engineering", 4, "Engineering (old)"),
        ("choir", 6, "Choir"),
        ("contractors", 6, "Contractors"),
        ("choir", 6, "engineering"),
    ],
)
def test_a_name_that_takes_nothing_from_many_passes(directory, crowd, name, people, other):
    """Of a few; by which no rule knew it; a deny's, which knows it in any case; one by which more is given."""
    group = directory.group(name, crowd[:people])
    assert rename(directory, group, other).status_code == 204
    assert sources.waiting() == []


def test_a_group_of_groups_counts_the_people_below(directory, crowd):
    inner = directory.group("inner", crowd)
    outer = directory.group("engineering", [inner])
    assert rename(directory, outer, "x").status_code == 409


def test_members_and_name_that_go_together_are_two_questions(directory, crowd, origin, clock):
    group = directory.group("engineering", crowd)
    body = {"schemas": [GROUP], "displayName": "x", "members": [{"value": one} for one in crowd[5:]]}
    for _ in range(2):
        assert directory.put(f"Groups/{group}", body).status_code == 409
        clock.forward(minutes=1)
        (held,) = sources.waiting()
        sources.decide(held.source_id, accept=True, actor="carol", origin=origin, now=clock.now)
        clock.forward(minutes=1)
        if directory.put(f"Groups/{group}", body).status_code == 200:
            break
    assert (DirectoryGroup.objects.get().display_name, directory.members(group)) == ("x", {crowd[5]})
