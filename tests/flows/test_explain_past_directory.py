"""Who could use a role on a past day, where a directory says who is in which group: groups within groups, and who was shut out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.flows import explain_access, past_state, revoke
from federation.flows import push_directory as push
from federation.flows.directory_people import Channel
from federation.models import DirectoryGroup, DirectoryUser, PastName, PastNesting, Person, current
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")
DAY = timedelta(days=1)
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


class Town:
    """A directory that pushes, on day after day."""

    def __init__(self, origin, now):
        self.origin, self.now = origin, now

    @property
    def channel(self):
        return Channel(
            current.mapping().directory("staff"), "directory:staff", "https://x/scim/v2", self.origin, self.now
        )

    def next_day(self):
        self.now += DAY

    def person(self, name):
        push.create_person(self.channel, {"userName": name, "active": True})
        return str(DirectoryUser.objects.get(user_name=name).pk)

    def group(self, name, members=()):
        push.create_group(self.channel, {"displayName": name, "members": [{"value": member} for member in members]})
        return str(DirectoryGroup.objects.get(display_name=name).pk)

    def patch(self, group, **operation):
        push.patch_group(self.channel, group, {"Operations": [operation]})

    def set_active(self, person, active):
        push.patch_person(self.channel, person, {"Operations": [{"op": "replace", "path": "active", "value": active}]})

    def rename(self, person, name):
        push.patch_person(self.channel, person, {"Operations": [{"op": "replace", "path": "userName", "value": name}]})

    def who(self, at):
        return {person.subject for person, *_ in explain_access.who_could(READ, now=self.now + 30 * DAY, at=at)}

    def answer(self, person, at):
        story = explain_access.tell(person.pk, READ, now=self.now + 30 * DAY, at=at)
        return story.explanation.verdict.code, story.notes[0]


@pytest.fixture
def town(publish, origin, now, gateway_keys):
    publish(cast.DOCUMENT + "directories:\n  - {slug: staff, provider: corp, scim: {}}\n")
    return Town(origin, now)


KNOWN = "The groups are those that the directory had then."


@pytest.mark.parametrize("way", ["leaves", "outer deleted", "inner deleted", "renamed"])
def test_groups_within_groups_are_those_of_that_day(town, sign_in_as, way):
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    inner = town.group("berlin", [town.person("alice")])
    outer = town.group("engineering", [town.group("germany", [inner])])
    first = town.now
    town.next_day()
    if way == "leaves":
        town.patch(outer, op="remove", path="members")
    elif way == "outer deleted":
        push.delete_group(town.channel, outer)
    elif way == "inner deleted":
        push.delete_group(town.channel, inner)
    else:
        town.patch(outer, op="replace", path="displayName", value="engineers")
    assert PastNesting.objects.exists()
    assert town.answer(alice, first) == ("allowed", KNOWN)
    assert town.who(first) == {"alice"}
    assert town.answer(alice, town.now) == ("no_matching_rule", KNOWN)
    assert town.who(town.now) == set()


def test_a_nesting_counts_from_the_day_on_which_it_came(town, sign_in_as):
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    inner = town.group("berlin", [town.person("alice")])
    outer = town.group("engineering")
    first = town.now
    town.next_day()
    town.patch(outer, op="add", path="members", value=[{"value": inner}])
    assert town.answer(alice, first)[0] == "no_matching_rule"
    assert town.answer(alice, town.now)[0] == "allowed"


def test_whoever_was_shut_out_by_the_directory_could_not(town, sign_in_as):
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    user = town.person("alice")
    town.group("engineering", [user])
    moments = [town.now]
    for active in (False, True):
        town.next_day()
        town.set_active(user, active)
        moments.append(town.now)
    town.next_day()
    push.delete_person(town.channel, user)
    moments.append(town.now)
    assert [bool(town.who(at)) for at in moments] == [True, False, True, False]
    assert "had disabled this person then" in town.answer(alice, moments[1])[1]
    assert "no longer in the directory then" in town.answer(alice, moments[3])[1]
    assert town.answer(alice, moments[2])[1] == KNOWN


def test_whoever_was_disabled_here_could_not(town, sign_in_as, origin):
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    town.group("engineering", [town.person("alice")])
    common = {"actor": "corp:carol", "why": "test", "origin": origin}
    moments = [town.now]
    town.next_day()
    revoke.revoke(alice, disable=False, now=town.now, **common)  # ends sessions, and is no disabling
    moments.append(town.now)
    town.next_day()
    revoke.revoke(alice, disable=True, now=town.now, **common)
    moments.append(town.now)
    town.next_day()
    revoke.allow_again(alice, now=town.now, **common)
    moments.append(town.now)
    assert [bool(town.who(at)) for at in moments] == [True, True, False, True]
    assert "was disabled then" in town.answer(alice, moments[2])[1]


def test_before_the_directory_listed_somebody_they_could_not(town, sign_in_as):
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    first = town.now
    town.next_day()
    town.group("engineering", [town.person("alice")])
    assert "did not list this person then" in town.answer(alice, first)[1]
    assert town.who(first) == set()
    assert town.who(town.now) == {"alice"}


def test_a_past_moment_knows_people_by_the_names_that_they_had_then(town, sign_in_as):
    """Attack: a change of name would wipe out who could, or put it on the next who is called so."""
    alice = sign_in_as(cast.alice(groups=(), now=town.now), at=town.now)
    user = town.person("alice")
    town.group("engineering", [user])
    first = town.now
    town.next_day()
    town.rename(user, "alice.liddell")
    renamed = town.now
    married = sign_in_as(cast.identity("alice.liddell", groups=(), now=renamed), at=renamed)
    town.next_day()
    town.person("alice")  # another one, who is in no group
    second = town.now
    town.next_day()
    town.rename(user, "liddell")
    assert [town.who(at) for at in (first, renamed, second, town.now)] == [
        {"alice"}, {"alice.liddell"}, {"alice.liddell"}, set(),
    ]  # fmt: skip
    assert town.answer(alice, first) == ("allowed", KNOWN)
    assert "did not list this person then" in town.answer(alice, renamed)[1]
    assert town.answer(alice, second) == ("no_matching_rule", KNOWN)
    assert town.answer(married, second) == ("allowed", KNOWN)
    assert "did not list this person then" in town.answer(married, town.now)[1]


def test_two_who_have_changed_names_are_told_apart(town, sign_in_as):
    for name in ("alice", "bob"):
        sign_in_as(cast.identity(name, groups=(), now=town.now), at=town.now)
    users = {name: town.person(name) for name in ("alice", "bob")}
    town.group("engineering", [users["alice"]])
    first = town.now
    town.next_day()
    town.set_active(users["bob"], False)
    disabled = town.now
    town.next_day()
    for one, name in (("alice", "x"), ("bob", "alice"), ("alice", "bob")):
        town.rename(users[one], name)
    assert [town.who(at) for at in (first, disabled, town.now)] == [{"alice"}, {"alice"}, {"bob"}]
    alice = Person.objects.get(subject="alice")
    assert "had disabled this person then" in town.answer(alice, town.now)[1]
    assert town.answer(alice, disabled) == ("allowed", KNOWN)


def test_a_name_that_somebody_had_is_kept_once_a_change_and_not_for_each_attribute(town):
    user = town.person("alice")
    town.next_day()
    push.patch_person(town.channel, user, {"Operations": [{"op": "replace", "path": "title", "value": "Dr"}]})
    assert not PastName.objects.exists()
    begun = town.now - DAY
    for name in ("alice.liddell", "liddell"):
        town.next_day()
        town.rename(user, name)
    found = PastName.objects.order_by("since").values_list("user_name", "since", "until")
    assert list(found) == [
        ("alice", begun, begun + 2 * DAY), ("alice.liddell", begun + 2 * DAY, begun + 3 * DAY),
    ]  # fmt: skip


def test_now_those_who_have_never_signed_in_are_said_to_be(town):
    town.group("engineering", [town.person("alice"), town.person("bob")])
    found = [(person.subject, rule) for person, rule, _ in explain_access.who_could(READ, now=town.now)]
    assert found == [(name, "engineers-read-production (has never signed in)") for name in ("alice", "bob")]


def test_the_log_and_the_groups_within_groups_are_read_once_for_everybody(
    town, sign_in_as, django_assert_max_num_queries
):
    users = []
    for number in range(20):
        name = f"p{number:02}"
        sign_in_as(cast.identity(name, groups=(), now=town.now), at=town.now)
        users.append(town.person(name))
    town.group("engineering", users)
    current.mapping()
    # Revision and what it is completed with, roles, people; the log twice; nestings twice; claims, rows, memberships twice.
    with django_assert_max_num_queries(14):
        assert len(town.who(town.now)) == 20


def test_of_one_person_the_log_of_that_person_is_read(town, sign_in_as, origin, monkeypatch):
    alice, bob = (sign_in_as(cast.identity(name, groups=(), now=town.now), at=town.now) for name in ("alice", "bob"))
    town.group("engineering", [town.person("alice"), town.person("bob")])
    common = {"actor": "corp:carol", "why": "test", "origin": origin}
    for person in (alice, bob):
        revoke.revoke(person, disable=True, now=town.now, **common)
        revoke.allow_again(person, now=town.now, **common)
    town.set_active(str(DirectoryUser.objects.get(user_name="bob").pk), False)
    town.next_day()
    read, real = [], past_state.PastState._then
    monkeypatch.setattr(past_state.PastState, "_then", lambda self, told: read.append(told) or real(self, told))
    assert town.answer(alice, town.now)[0] == "allowed"
    assert [{who for _, who, _ in told} for told in read] == [{str(alice.pk)}, set()]
    assert "had disabled this person then" in town.answer(bob, town.now)[1]
