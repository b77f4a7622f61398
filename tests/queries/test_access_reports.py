"""Who has what and who uses it: per role, per person, per rule; the same number of statements whatever the numbers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import NotFound
from federation.flows import refresh_entitlements
from federation.flows.digest_audit import digest
from federation.flows.refresh_entitlements import refresh
from federation.models import Entitlement, Person, RuleReach
from federation.models.access_changes import note_everybody, note_people
from federation.queries import access
from tests import cast
from tests.cast import DEV, NOW, PROD, STAGING, alice, bob, carol, identity, role

READ, DEVELOP = role(PROD, "ReadOnly"), role(DEV, "Developer")


@pytest.fixture(autouse=True)
def _forget_the_last(monkeypatch):
    monkeypatch.setattr(refresh_entitlements, "_last", None)


@pytest.fixture
def used(db):
    def do(person, arn, rule, *, days_ago=1, kind=Kind.CREDENTIALS):
        with transaction.atomic():
            record(
                kind, actor="corp:x", outcome="ok", origin=Origin("r", ""), now=NOW - timedelta(days_ago),
                person=str(person.pk), role_arn=arn, rule=rule,
            )  # fmt: skip

    return do


@pytest.fixture
def staff(publish, sign_in_as, used):
    publish()
    people = {who.subject.value: sign_in_as(who) for who in (alice(), bob(), carol())}
    used(people["alice"], READ, "engineers-read-production")
    used(people["alice"], READ, "engineers-read-production", days_ago=5, kind=Kind.CONSOLE)
    used(people["bob"], DEVELOP, "engineers-develop", days_ago=100)
    digest()
    refresh(now=NOW)
    return people


def rules(**more):
    return access.rules(now=NOW, **more)


def test_who_has_a_role_and_when_they_last_used_it(staff, django_assert_num_queries):
    with django_assert_num_queries(3):
        found = access.who_has(DEVELOP)
    assert [(line.person.subject, line.held.rule, line.held.use) for line in found.lines] == [
        ("alice", "engineers-develop", access.NEVER),
        ("bob", "engineers-develop", access.Use(NOW - timedelta(100), 1)),
    ]
    assert found.total == 2
    held = found.lines[0].held
    assert (held.role_name, held.account_id, held.rules, held.needs_approval, held.since, held.revision) == (
        "Developer", DEV, ("engineers-develop",), False, NOW, 1,
    )  # fmt: skip
    assert [line.person.subject for line in access.who_has(DEVELOP, words="bob@ exam").lines] == ["bob"]
    assert access.who_has(role(DEV, "Nothing")).lines == ()
    assert access.who_has("a\x00b", words="\x00").lines == ()


def test_who_has_a_role_page_by_page(publish, sign_in_as):
    publish()
    for n in range(7):
        sign_in_as(identity(f"p{n}", name="Same" if n < 3 else f"N{n}"))
    refresh(now=NOW)
    first = access.who_has(DEVELOP, size=3)
    second = access.who_has(DEVELOP, first.later, size=3)
    third = access.who_has(DEVELOP, second.later, size=3)
    names = [line.person.name for page in (first, second, third) for line in page.lines]
    assert names == ["N3", "N4", "N5", "N6", "Same", "Same", "Same"]
    assert (first.earlier, third.later, first.total) == ("", "", 7)
    assert access.who_has(DEVELOP, third.earlier, size=3) == second


def test_what_somebody_has_and_uses(staff, django_assert_num_queries):
    with django_assert_num_queries(2):
        found = access.roles_of(staff["alice"].pk)
    assert [(one.role_arn, one.use.times) for one in found] == [
        (role(PROD, "Developer"), 0),
        (READ, 2),
        (role(STAGING, "Developer"), 0),
        (DEVELOP, 0),
    ]
    assert found[1].use.last == NOW - timedelta(1)
    assert access.roles_of(staff["carol"].pk) == []


def test_the_rules_with_who_has_and_who_uses_them(staff, django_assert_num_queries):
    with django_assert_num_queries(4):
        page = rules()
    assert [(r.name, r.people, r.roles, r.used_by, r.unused_by) for r in page.lines] == [
        ("engineers-develop", 2, 3, 0, 2),
        ("admins-by-request", 0, 0, 0, 0),
        ("no-contractors-in-production", 0, 0, 0, 0),
        ("engineers-read-production", 1, 1, 1, 0),
    ]
    by_name = {line.name: line for line in page.lines}
    assert by_name["engineers-develop"].last_used_at == NOW - timedelta(100)
    assert by_name["engineers-read-production"].last_used_at == NOW - timedelta(1)
    assert (by_name["admins-by-request"].needs_approval, by_name["no-contractors-in-production"].denies) == (True, True)
    assert by_name["engineers-develop"].line > 0


def test_rules_are_sorted_searched_and_paged(staff):
    names = [line.name for line in rules(sort="name").lines]
    assert names == sorted(names)
    assert [line.name for line in rules(sort="-name").lines] == names[::-1]
    assert rules(sort="-people").lines[0].name == "engineers-develop"
    assert rules(sort="-used").lines[0].name == "engineers-read-production"
    assert [line.name for line in rules(words="READ").lines] == ["engineers-read-production"]
    assert [line.name for line in rules(unused_only=True).lines] == ["engineers-develop"]
    assert rules(unused_only=True, days=120).lines == ()
    second = rules(sort="name", start=2, size=2)
    assert ([line.name for line in second.lines], second.found, second.first) == (names[2:4], 4, 2)
    assert (second.earlier, second.later, rules(sort="name", size=2).later) == ("0", "", "2")
    assert rules(start=900, size=2).first == 2


def test_one_rule_by_role_and_person(staff, django_assert_num_queries):
    with django_assert_num_queries(6):
        found = access.rule_use("engineers-develop", now=NOW)
    assert [(one.role_arn, one.people, one.used_by) for one in found.roles] == [
        (role(STAGING, "Developer"), 2, 0),
        (DEVELOP, 2, 0),
        (role(PROD, "Developer"), 1, 0),
    ]
    assert [(one.person.subject, one.use.times) for one in found.people] == [("alice", 0), ("bob", 1)]
    assert (found.total, found.earlier, found.later) == (2, "", "")
    within = access.rule_use("engineers-develop", now=NOW, days=120)
    assert [one.used_by for one in within.roles if one.role_arn == DEVELOP] == [1]


def test_a_rule_that_the_mapping_does_not_have(staff):
    with pytest.raises(NotFound, match="rule_unknown"):
        access.rule_use("nothing", now=NOW)


def test_a_rule_that_nobody_has_is_empty(staff):
    found = access.rule_use("no-contractors-in-production", now=NOW)
    assert (found.roles, found.people, found.total) == ((), (), 0)


def test_how_old_the_answers_are(db, publish, sign_in_as, used, django_assert_num_queries):
    assert access.freshness() == access.Freshness(0, None, 0, None)
    publish()
    person = sign_in_as(alice())
    assert access.freshness().waiting == 1
    used(person, READ, "r")
    digest()
    refresh(now=NOW)
    with django_assert_num_queries(3):
        assert access.freshness() == access.Freshness(1, NOW, 0, NOW - timedelta(1))


# --- How many people a rule has, as it changes ------------------------------------------------------------------------


def counted():
    return dict(RuleReach.objects.exclude(people=0).values_list("rule", "people"))


def really():
    found: dict[str, set[str]] = {}
    for row in Entitlement.objects.select_related("given"):
        for name in row.given.rules:
            found.setdefault(name, set()).add(str(row.person_id))
    return {name: len(people) for name, people in found.items()}


@pytest.mark.parametrize("few", [40, 0])
def test_the_numbers_follow_every_change(staff, publish, sign_in_as, monkeypatch, few):
    monkeypatch.setattr(refresh_entitlements, "FEW", few)
    assert counted() == really() == {"engineers-develop": 2, "engineers-read-production": 1}
    sign_in_as(identity("dave"), at=NOW)
    sign_in_as(alice(groups=()), at=NOW)
    refresh(now=NOW)
    assert counted() == really()
    more = (
        '  - {name: also, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {names: ["shop-*"]}}}\n'
    )
    publish(cast.DOCUMENT + more)
    refresh(now=NOW)
    assert counted() == really()
    assert counted()["also"] == 2
    publish(cast.DOCUMENT)
    Person.objects.filter(subject="dave").update(active=False)
    note_people([Person.objects.get(subject="dave").pk], at=NOW)
    refresh(now=NOW)
    assert counted() == really()
    assert "also" not in counted()


def test_working_out_everybody_counts_anew(staff):
    RuleReach.objects.all().delete()
    RuleReach.objects.create(rule="wrong", people=7)
    assert str(RuleReach.objects.get()) == "7 people by wrong"
    note_everybody(at=NOW)
    refresh(now=NOW)
    assert counted() == really()
