"""What a held change would mean is what it then means: worked out ahead, beside the decisions after it."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest

from federation import queries
from federation.directory.ldap import LdapPerson
from federation.flows.directory_effect import Shift, effect_of
from federation.models import DirectoryGroup, DirectoryUser, GroupNesting, Membership, current
from federation.queries import directories
from tests import cast

NAMELESS: dict[UUID, str] = {}  # ids and names of everybody
NAMES = ("engineering", "contractors", "cloud-platform", "berlin", "germany", "sre-leads")


def roles(person, now) -> set[str]:
    mine = queries.my_roles(person, now=now)
    return {line.arn for account in mine.accounts for line in account.roles}


@pytest.fixture
def company(publish, sign_in_as, now):
    """Twelve people who have signed in, and two who have not, in groups by chance; some groups are in others. One is inactive."""

    def do(seed: int, *, mode: str):
        chance = random.Random(seed)
        publish(cast.DOCUMENT + f"directories:\n  - {{slug: staff, provider: corp, scim: {{}}, groups: {mode}}}\n")
        groups = [
            DirectoryGroup.objects.create(directory="staff", display_name=name, created_at=now, modified_at=now)
            for name in NAMES
        ]
        people = {}
        for number in range(14):
            name = f"p{number:02}"
            row = DirectoryUser.objects.create(
                directory="staff",
                user_name=name,
                user_name_key=name,
                active=number != 3,
                created_at=now,
                modified_at=now,
            )
            NAMELESS[row.pk] = name
            for group in chance.sample(groups, chance.randrange(4)):
                Membership.objects.create(user=row, group=group, since=now)
            claims = ("engineering",) if chance.random() < 0.3 else ()
            people[row.pk] = sign_in_as(cast.identity(name, groups=claims, mfa=True)) if number < 12 else None
        for parent in groups:
            for child in chance.sample(groups, chance.randrange(2)):
                if child != parent:
                    GroupNesting.objects.create(parent=parent, child=child, since=now)
        return chance, people, groups

    return do


def a_shift(chance, people, groups) -> Shift:
    """By chance: some leave, some come, a group goes, another comes, one is renamed, and groups change places."""
    leaving: dict[UUID, frozenset[UUID]] = {}
    coming: dict[UUID, frozenset[UUID]] = {}
    going = frozenset(group.pk for group in chance.sample(groups, chance.randrange(2)))
    for group in chance.sample(groups, 2):
        there = list(Membership.objects.filter(group=group).values_list("user_id", flat=True))
        leaving[group.pk] = frozenset(chance.sample(there, len(there) // 2))
        if group.pk not in going:
            coming[group.pk] = frozenset(chance.sample([pk for pk in people if pk not in there], 2))
    nested = list(GroupNesting.objects.values_list("parent_id", "child_id"))
    gone = frozenset(chance.sample(list(people), 2))
    new_group, stays = uuid4(), [group.pk for group in groups if group.pk not in going]
    coming[new_group] = frozenset(chance.sample(list(people), 3))
    one, other = chance.sample(stays, 2)
    return Shift(
        gone=gone,
        leaving=leaving,
        groups=going,
        nestings=frozenset(chance.sample(nested, min(1, len(nested)))),
        back=frozenset(DirectoryUser.objects.filter(active=False).values_list("pk", flat=True)) - gone,
        coming=coming,
        names={new_group: "readers", one: "sre-leads-of-old"},
        nested=frozenset({(other, new_group)} | ({(one, other)} - set(nested))),
    )


def apply(shift: Shift, now) -> None:
    DirectoryUser.objects.filter(pk__in=shift.back).update(active=True)
    DirectoryUser.objects.filter(pk__in=shift.gone).update(active=False)
    for group, users in shift.leaving.items():
        Membership.objects.filter(group_id=group, user_id__in=users).delete()
    for parent, child in shift.nestings:
        GroupNesting.objects.filter(parent_id=parent, child_id=child).delete()
    DirectoryGroup.objects.filter(pk__in=shift.groups).delete()
    for group, name in shift.names.items():
        DirectoryGroup.objects.update_or_create(
            pk=group, defaults={"directory": "staff", "display_name": name, "created_at": now, "modified_at": now}
        )
    for group, users in shift.coming.items():
        for user in users:
            Membership.objects.get_or_create(user_id=user, group_id=group, defaults={"since": now})
    for parent, child in shift.nested:
        GroupNesting.objects.get_or_create(parent_id=parent, child_id=child, defaults={"since": now})


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_then_happens(company, sign_in_as, now, seed, mode):
    chance, people, groups = company(seed, mode=mode)
    shift = a_shift(chance, people, groups)
    effect = effect_of(current.mapping().directory("staff"), shift, now=now)
    for pk, person in people.items():
        if person is None and mode == "replace":
            # Whoever had never signed in does so now: it was worked out for them as well.
            people[pk] = sign_in_as(cast.identity(NAMELESS[pk], groups=(), mfa=True))
    before = {pk: roles(person, now) for pk, person in people.items() if person}
    apply(shift, now)
    lost: dict[str, set[str]] = {}
    gained: dict[str, set[str]] = {}
    losers = 0
    for pk, person in people.items():
        if person is None:
            continue
        after = roles(person, now)
        losers += bool(before[pk] - after)
        for arn in before[pk] - after:
            lost.setdefault(arn, set()).add(person.name)
        for arn in after - before[pk]:
            gained.setdefault(arn, set()).add(person.name)
    assert effect["people"] == losers
    for kind, expected in (("lost", lost), ("gained", gained)):
        told = {role["role"]: (role["people"], {name.title() for name in role["who"]}) for role in effect[kind]}
        assert told.keys() == expected.keys()
        for arn, (many, who) in told.items():
            assert many == len(expected[arn])
            assert who <= expected[arn]
    assert (effect["roles_lost"], effect["roles_gained"]) == (len(lost), len(gained))


def test_the_scenarios_are_worth_something(company, now):
    """Among the seeds above, people lose and gain."""
    found = set()
    for seed in range(4):
        DirectoryGroup.objects.all().delete()
        DirectoryUser.objects.all().delete()
        chance, people, groups = company(seed, mode="replace")
        effect = effect_of(current.mapping().directory("staff"), a_shift(chance, people, groups), now=now)
        found |= {kind for kind in ("lost", "gained") if effect[kind]}
    assert found == {"lost", "gained"}


def test_whoever_is_listed_for_the_first_time_is_counted(company, sign_in_as, now):
    """An answer brings people: one who was here on claims alone, and one whom nobody has seen."""
    company(1, mode="replace")
    sign_in_as(cast.identity("old", groups=("engineering",)))
    group = DirectoryGroup.objects.get(display_name="engineering")
    one, other = uuid4(), uuid4()
    shift = Shift(
        new_people={one: LdapPerson("k1", "old", "Old", "", active=True), other: LdapPerson("k2", "new", "New", "", active=True)},
        coming={group.pk: frozenset({one, other})},
    )  # fmt: skip
    effect = effect_of(current.mapping().directory("staff"), shift, now=now)
    told = {role["role"]: role["who"] for role in effect["gained"]}
    assert told[cast.role(cast.PROD, "ReadOnly")] == ["Old", "New"]
    assert (effect["people"], effect["never_signed_in"]) == (0, 1)


def test_directories_are_shown_with_their_freshness(company, now, django_assert_num_queries):
    company(1, mode="replace")
    DirectoryUser.objects.filter(user_name="p00").update(active=False)
    DirectoryGroup.objects.filter(display_name="berlin").update(held_at=now)
    current.mapping()
    with django_assert_num_queries(4):  # one of them is the mapping's
        (line,) = directories.directories(now=now)
    assert (line.slug, line.way, line.state, line.people, line.inactive, line.group_count, line.groups_held) == (
        "staff", "scim", "never", 14, 2, 6, 1,
    )  # fmt: skip
    assert (line.stale, line.stale_at, line.heard_at) == (
        False,
        None,
        None,
    )  # one that pushes is silent when nothing changes
