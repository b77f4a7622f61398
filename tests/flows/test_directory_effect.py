"""What a held change would mean is what it then means: worked out ahead, beside the decisions after it."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from federation import queries
from federation.flows.directory_effect import Loss, effect_of
from federation.models import DirectoryGroup, DirectoryUser, GroupNesting, Membership, current
from federation.queries import directories
from tests import cast

NAMES = ("engineering", "contractors", "cloud-platform", "berlin", "germany", "sre-leads")


def roles(person, now) -> set[str]:
    mine = queries.my_roles(person, now=now)
    return {line.arn for account in mine.accounts for line in account.roles}


@pytest.fixture
def company(publish, sign_in_as, now):
    """Twelve people who have signed in, and two who have not, in groups by chance; some groups are in others."""

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
                directory="staff", user_name=name, user_name_key=name, created_at=now, modified_at=now
            )
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


def a_loss(chance, people, groups) -> Loss:
    leaving: dict[UUID, frozenset[UUID]] = {}
    for group in chance.sample(groups, 2):
        there = list(Membership.objects.filter(group=group).values_list("user_id", flat=True))
        leaving[group.pk] = frozenset(chance.sample(there, len(there) // 2))
    nested = list(GroupNesting.objects.values_list("parent_id", "child_id"))
    return Loss(
        gone=frozenset(chance.sample(list(people), 2)),
        leaving=leaving,
        groups=frozenset(group.pk for group in chance.sample(groups, chance.randrange(2))),
        nestings=frozenset(chance.sample(nested, min(1, len(nested)))),
    )


def apply(loss: Loss) -> None:
    DirectoryUser.objects.filter(pk__in=loss.gone).update(active=False)
    for group, users in loss.leaving.items():
        Membership.objects.filter(group_id=group, user_id__in=users).delete()
    for parent, child in loss.nestings:
        GroupNesting.objects.filter(parent_id=parent, child_id=child).delete()
    DirectoryGroup.objects.filter(pk__in=loss.groups).delete()


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_then_happens(company, now, seed, mode):
    chance, people, groups = company(seed, mode=mode)
    loss = a_loss(chance, people, groups)
    before = {pk: roles(person, now) for pk, person in people.items() if person}
    effect = effect_of(current.mapping().directory("staff"), loss, now=now)
    apply(loss)
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
    assert {role["role"]: (role["people"], set(role["who"])) for role in effect["lost"]} == {
        arn: (len(who), who) for arn, who in lost.items()
    }
    assert {role["role"]: set(role["who"]) for role in effect["gained"]} == gained
    assert (effect["roles_lost"], effect["roles_gained"]) == (len(lost), len(gained))


def test_the_scenarios_are_worth_something(company, now):
    """Among the seeds above, people lose and gain."""
    found = set()
    for seed in range(4):
        DirectoryGroup.objects.all().delete()
        DirectoryUser.objects.all().delete()
        chance, people, groups = company(seed, mode="replace")
        effect = effect_of(current.mapping().directory("staff"), a_loss(chance, people, groups), now=now)
        found |= {kind for kind in ("lost", "gained") if effect[kind]}
    assert "lost" in found


def test_directories_are_shown_with_their_freshness(company, now, django_assert_num_queries):
    company(1, mode="replace")
    DirectoryUser.objects.filter(user_name="p00").update(active=False)
    DirectoryGroup.objects.filter(display_name="berlin").update(held_at=now)
    current.mapping()
    with django_assert_num_queries(4):  # one of them is the mapping's
        (line,) = directories.directories(now=now)
    assert (line.slug, line.way, line.state, line.people, line.inactive, line.group_count, line.groups_held) == (
        "staff", "scim", "never", 14, 1, 6, 1,
    )  # fmt: skip
    assert (line.stale, line.stale_at, line.heard_at) == (
        False,
        None,
        None,
    )  # one that pushes is silent when nothing changes
