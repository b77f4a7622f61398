"""Entitlements follow every change, touch no more than it concerns, and are written whole or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from federation.flows import company, leases, refresh_entitlements, revoke
from federation.flows.refresh_entitlements import refresh
from federation.mapping.company import grants_of_everyone
from federation.models import (
    AccessChange,
    Entitlement,
    EntitlementState,
    GivenByRule,
    GivenRole,
    OrganizationAccount,
    Person,
    Role,
    Source,
    TaskRun,
    current,
    entitlement_rows,
)
from federation.models.access_changes import note_everybody, note_people
from federation.models.catalogue import reachable
from tests import cast
from tests.cast import DEV, NOW, PROD, alice, bob, carol, identity, role
from tests.flows.test_latest_word import listed, with_directory

LATER = NOW + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _forget_the_last(monkeypatch):
    monkeypatch.setattr(refresh_entitlements, "_last", None)


@pytest.fixture(params=[40, 0], ids=["few", "many"])
def both_ways(request, monkeypatch):
    """People worked out one by one, and all at once: the same must come out."""
    monkeypatch.setattr(refresh_entitlements, "FEW", request.param)


@pytest.fixture
def staff(publish, sign_in_as, db):
    publish()
    return {who.subject.value: sign_in_as(who) for who in (alice(), bob(), carol())}


def held(name=None):
    """Who has which role, by rule: as (subject, ARN, rule)."""
    rows = Entitlement.objects.order_by("person__subject", "given__role_arn")
    if name:
        rows = rows.filter(person__subject=name)
    return [(row.person.subject, row.given.role_arn, row.given.rule) for row in rows.select_related("person", "given")]


def as_decided(now=NOW):
    """What is to be in the table, asked of the engine person by person."""
    mapping = current.mapping()
    expected = []
    for member in company.everybody(mapping, now=now):
        if member.identity is not None:
            decision = mapping.compiled.decide(member.identity, now, reachable)
            expected += [(member.person.subject, grant.role_arn, grant.rule) for grant in decision.grants]
    return sorted(expected)


def edited(*pairs):
    text = cast.DOCUMENT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


EXTRA = f'  - {{name: extra, when: {{groups: [cloud-platform]}}, allow: {{roles: [Operator], accounts: {{ids: ["{DEV}"]}}}}}}\n'


# --- What is in the table ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_ways")
def test_the_first_refresh_writes_what_the_engine_says(staff):
    done = refresh(now=NOW)
    assert (done.people, done.everybody, done.gone) == (3, True, 0)
    assert held() == as_decided()
    assert len(held()) == done.added == 6


def test_every_field_of_a_row(staff):
    refresh(now=NOW)
    row = Entitlement.objects.select_related("given").get(person=staff["alice"], given__role_arn=role(PROD, "ReadOnly"))
    given = row.given
    assert (row.revision, row.since) == (1, NOW)
    assert (given.role_name, given.account_id, given.rule, given.rules, given.needs_approval) == (
        "ReadOnly",
        PROD,
        "engineers-read-production",
        ["engineers-read-production"],
        False,
    )
    assert list(GivenByRule.objects.filter(given=given).values_list("rule", flat=True)) == ["engineers-read-production"]
    assert (str(row), str(given)) == (f"{staff['alice'].pk} has {given.pk}", f"{given.role_arn} by {given.rule}")


def test_what_needs_an_approval_says_so(publish, sign_in_as):
    publish()
    sign_in_as(alice(mfa=True))
    refresh(now=NOW)
    given = GivenRole.objects.get(role_name="Administrator")
    assert given.needs_approval
    assert Entitlement.objects.filter(given=given).count() == 1


def test_nothing_has_changed_nothing_is_done(staff, django_assert_max_num_queries):
    refresh(now=NOW)
    with django_assert_max_num_queries(5):
        done = refresh(now=LATER)
    assert (done.people, done.added, done.gone) == (0, 0, 0)
    assert TaskRun.objects.count() == 1


def test_a_full_refresh_of_what_is_true_writes_nothing(staff):
    refresh(now=NOW)
    before = list(Entitlement.objects.order_by("person_id", "given_id").values())
    done = refresh(now=LATER, full=True)
    assert (done.people, done.added, done.gone, done.everybody) == (3, 0, 0, True)
    assert list(Entitlement.objects.order_by("person_id", "given_id").values()) == before


# --- What changes it -----------------------------------------------------------------------------------------


def test_a_sign_in_with_other_claims_is_noted_and_worked_out_alone(staff, sign_in_as):
    refresh(now=NOW)
    sign_in_as(alice())
    assert not AccessChange.objects.exists()  # the same claims: nothing to do
    sign_in_as(alice(groups=("cloud-platform",)), at=LATER)
    assert AccessChange.objects.count() == 1
    done = refresh(now=LATER)
    assert (done.people, done.added, done.gone) == (1, 0, 4)
    assert held("alice") == []
    assert len(held("bob")) == 2
    assert not AccessChange.objects.exists()


def test_somebody_new_gets_their_rows(staff, sign_in_as):
    refresh(now=NOW)
    sign_in_as(identity("dave"), at=LATER)
    done = refresh(now=LATER)
    assert (done.people, done.added) == (1, 4)
    assert held() == as_decided(LATER)


def test_whoever_is_disabled_has_nothing_and_gets_it_back(staff, origin):
    refresh(now=NOW)
    words = {"actor": "admin", "why": "left", "origin": origin, "now": LATER}
    revoke.revoke(staff["alice"], disable=True, **words)
    assert refresh(now=LATER).gone == 4
    assert held("alice") == []
    revoke.allow_again(staff["alice"], **words)
    assert refresh(now=LATER).added == 4
    assert Entitlement.objects.filter(person=staff["alice"], since=LATER).count() == 4


def test_old_claims_do_not_empty_the_lists(staff):
    refresh(now=NOW)
    assert refresh(now=NOW + timedelta(days=30), full=True).gone == 0


def test_a_changed_rule_touches_whom_it_concerns(staff, publish):
    refresh(now=NOW)
    publish(edited(("allow: {roles: [ReadOnly]", "allow: {roles: [ReadOnly, Support]")), at=LATER)
    done = refresh(now=LATER)
    # Bob is in the rule's group and denied what it gives: looked at, and nothing written.
    assert (done.people, done.added, done.gone, done.everybody) == (2, 1, 0, False)
    assert held() == as_decided(LATER)
    assert Entitlement.objects.get(given__role_name="Support").revision == 2
    assert set(Entitlement.objects.exclude(given__role_name="Support").values_list("revision", flat=True)) == {1}


def test_a_rule_that_is_new_gone_or_moved(staff, publish):
    refresh(now=NOW)
    publish(cast.DOCUMENT + EXTRA, at=LATER)
    assert (refresh(now=LATER).people, held("carol")) == (1, [("carol", role(DEV, "Operator"), "extra")])
    moved = cast.DOCUMENT.replace("mapping:\n", "mapping:\n" + EXTRA)
    publish(moved, at=LATER)
    done = refresh(now=LATER)
    assert (done.people, done.added, done.gone) == (1, 0, 0)
    publish(cast.DOCUMENT, at=LATER)
    done = refresh(now=LATER)
    assert (done.people, done.gone) == (1, 1)
    assert not GivenRole.objects.filter(rule="extra").exists()
    assert not GivenByRule.objects.filter(rule="extra").exists()


def test_another_process_published_and_the_old_mapping_is_read_again(staff, publish, monkeypatch):
    refresh(now=NOW)
    monkeypatch.setattr(refresh_entitlements, "_last", None)
    publish(cast.DOCUMENT + EXTRA, at=LATER)
    done = refresh(now=LATER)
    assert (done.people, done.everybody) == (1, False)


def test_more_rules_for_one_role_keep_since_when_they_have_it(staff, publish):
    refresh(now=NOW)
    more = '  - {name: also, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {names: ["shop-prod"]}}}\n'
    publish(cast.DOCUMENT + more, at=LATER)
    refresh(now=LATER)
    row = Entitlement.objects.select_related("given").get(person=staff["alice"], given__role_arn=role(PROD, "ReadOnly"))
    assert (row.since, row.revision, row.given.rules) == (NOW, 2, ["engineers-read-production", "also"])
    assert GivenRole.objects.filter(role_arn=row.given.role_arn).count() == 1


def test_an_account_of_the_document_that_changes_concerns_everybody(staff, publish):
    refresh(now=NOW)
    publish(edited(("environment: staging", "environment: production")), at=LATER)
    done = refresh(now=LATER)
    assert done.everybody
    assert held() == as_decided(LATER)
    assert role(cast.STAGING, "ReadOnly") in {arn for _, arn, _ in held("alice")}


def test_a_listing_that_changes_concerns_those_whose_rules_look_there(staff):
    refresh(now=NOW)
    Source.objects.create(key=f"account:{DEV}", version=1, state="ok", succeeded_at=NOW)
    Role.objects.create(arn=role(DEV, "Other"), account_id=DEV, name="Other", seen_at=NOW)
    done = refresh(now=LATER)
    assert (done.everybody, done.people, done.gone) == (False, 2, 2)
    assert held() == as_decided()
    Role.objects.create(arn=role(DEV, "Developer"), account_id=DEV, name="Developer", seen_at=NOW)
    Source.objects.filter(pk=f"account:{DEV}").update(version=2)
    assert refresh(now=LATER).added == 2
    assert EntitlementState.objects.get().accounts == {DEV: 2}


def test_an_account_nobody_can_reach_concerns_nobody(staff):
    refresh(now=NOW)
    Source.objects.create(key="account:999999999999", version=1, state="ok", succeeded_at=NOW)
    assert refresh(now=LATER).people == 0
    assert refresh(now=LATER).people == 0
    assert TaskRun.objects.count() == 2


def test_what_the_organization_says_concerns_everybody(staff):
    refresh(now=NOW)
    OrganizationAccount.objects.create(
        id=DEV, name="shop-dev", state="ACTIVE", tags={"environment": "x", "team": "other"}, first_seen_at=NOW
    )
    Source.objects.create(key="organization", version=1, state="ok", succeeded_at=NOW)
    assert refresh(now=LATER).everybody
    assert held() == as_decided()


def test_a_version_by_which_rules_mean_something_else_works_out_everybody(staff):
    refresh(now=NOW)
    EntitlementState.objects.update(meaning=refresh_entitlements.MEANING - 1)
    Entitlement.objects.filter(person__subject="alice").delete()  # what the version before did not give
    done = refresh(now=LATER)
    assert (done.everybody, done.people) == (True, len(staff))
    assert held("alice") != []
    assert refresh(now=LATER).people == 0


def test_a_rule_begins_and_ends_by_itself(sign_in_as, publish):
    publish(
        cast.DOCUMENT
        + EXTRA.replace("groups: [cloud-platform]", "groups: [cloud-platform], from: 2026-05-04, until: 2026-05-06")
    )
    sign_in_as(carol())
    counted = []
    for hours in (0, 14, 15, 16, 62, 63):
        refresh(now=NOW + timedelta(hours=hours))
        counted.append(len(held("carol")))
    assert counted == [0, 0, 1, 1, 1, 0]


def test_production_closes_when_a_directory_falls_silent_and_opens_again(publish, sign_in_as):
    publish(with_directory(stale_after="24h"))
    sign_in_as(alice())
    listed(NOW, groups=("engineering",))
    Source.objects.create(key="directory:staff", version=1, state="ok", succeeded_at=NOW)
    refresh(now=NOW)
    assert role(PROD, "ReadOnly") in {arn for _, arn, _ in held("alice")}
    silent = NOW + timedelta(days=2)
    assert refresh(now=silent).gone == 2
    assert held("alice") == as_decided(silent)
    Source.objects.filter(pk="directory:staff").update(succeeded_at=silent)
    assert refresh(now=silent).added == 2


def test_a_directory_that_was_never_heard_of_is_silent(publish, sign_in_as):
    publish(with_directory(stale_after="24h"))
    sign_in_as(alice())
    refresh(now=NOW)
    assert EntitlementState.objects.get().silent == ["corp"]


# --- Whole or not at all ------------------------------------------------------------------------------------------


def test_killed_in_the_middle_nothing_has_changed(staff, publish, monkeypatch):
    refresh(now=NOW)
    before = held()
    publish(edited(("ReadOnly", "Reader")), at=LATER)
    seal = refresh_entitlements._seal

    def die(*args):
        seal(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refresh_entitlements, "_seal", die)
        with pytest.raises(KeyboardInterrupt):
            refresh(now=LATER)
    assert held() == before
    assert EntitlementState.objects.get().revision == 1
    leases.Lease.objects.update(until=NOW)
    assert refresh(now=LATER).added == 1
    assert held() == as_decided(LATER)


def test_a_worker_whose_lease_was_taken_over_writes_nothing(staff, monkeypatch):
    stage = refresh_entitlements._stage

    def slow(*args):
        stage(*args)
        leases.Lease.objects.update(holder="another", token=99)

    monkeypatch.setattr(refresh_entitlements, "_stage", slow)
    with pytest.raises(leases.LeaseLost):
        refresh(now=NOW)
    assert held() == []
    assert not EntitlementState.objects.exists()


def test_while_another_worker_is_at_it_nothing_is_done(staff):
    leases.take("task:refresh_entitlements", timedelta(minutes=1))
    assert refresh(now=NOW) is None
    assert held() == []
    assert TaskRun.objects.get().outcome == "skipped"


def test_what_another_worker_has_just_done_is_not_done_again(staff, monkeypatch):
    plan = refresh_entitlements._plan
    plans = []

    def planned(now):
        plans.append(plan(now))
        if len(plans) == 1:
            refresh(now=now)  # the other one, which was quicker
        return plans[-1] if len(plans) > 1 else plans[0]

    monkeypatch.setattr(refresh_entitlements, "_plan", planned)
    done = refresh(now=NOW)
    assert (done.added, done.gone) == (0, 0)
    assert held() == as_decided()


def test_a_note_that_comes_during_a_refresh_is_seen_to_by_the_next(staff, monkeypatch):
    refresh(now=NOW)
    note_people([staff["alice"].pk], at=NOW)
    stage = refresh_entitlements._stage

    def meanwhile(*args):
        stage(*args)
        note_people([staff["alice"].pk], at=LATER)

    with monkeypatch.context() as patched:
        patched.setattr(refresh_entitlements, "_stage", meanwhile)
        refresh(now=LATER)
    assert AccessChange.objects.count() == 1
    assert refresh(now=LATER).people == 1
    assert not AccessChange.objects.exists()


def test_the_run_is_recorded_with_what_it_did(staff):
    refresh(now=NOW)
    run = TaskRun.objects.get()
    assert (run.task, run.outcome, run.done, run.total) == ("refresh_entitlements", "ok", 3, 3)
    assert run.detail == {"people": 3, "added": 6, "gone": 0, "everybody": True}


@pytest.mark.usefixtures("both_ways")
def test_pieces_and_batches_do_not_show(publish, sign_in_as, monkeypatch):
    monkeypatch.setattr(company, "AT_ONCE", 3)
    monkeypatch.setattr(entitlement_rows, "_ROWS", 2)
    monkeypatch.setattr(entitlement_rows, "_BLOCK", 16)
    monkeypatch.setattr(entitlement_rows, "_FEW", 0)
    publish()
    for n in range(11):
        sign_in_as(identity(f"p{n:02}", groups=("engineering",) if n % 3 else ("contractors", "engineering")))
    refresh(now=NOW)
    assert held() == as_decided()
    Person.objects.filter(subject__in=["p01", "p02", "p03"]).update(active=False)
    note_everybody(at=LATER)
    assert refresh(now=LATER).everybody
    assert held() == as_decided()


def test_one_person_costs_few_statements(staff, sign_in_as, django_assert_max_num_queries):
    refresh(now=NOW)
    sign_in_as(alice(groups=("cloud-platform", "engineering")), at=LATER)
    with django_assert_max_num_queries(26):
        refresh(now=LATER)


def test_everybody_at_once_is_what_was_written(staff):
    refresh(now=NOW)
    mapping = current.mapping()
    members = list(company.everybody(mapping, now=NOW))
    found = grants_of_everyone(mapping.compiled, (member.identity for member in members), NOW, reachable)
    pairs = sorted(
        (member.person.subject, one.role_arn, one.rule)
        for member, grants in zip(members, found, strict=True)
        for one in grants
    )
    assert pairs == held()
