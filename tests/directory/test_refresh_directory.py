"""A directory that is read becomes who may do what: from a real slapd to the decision, and never by half."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from federation import tasks
from federation.errors import AccessDenied, NotFound, NotInDirectory, PersonDisabled
from federation.flows import access, background, leases, runs, sources
from federation.flows import refresh_directory as flow
from federation.models import (
    AccessChange,
    AuditEvent,
    DirectoryGroup,
    DirectoryUser,
    GroupNesting,
    HeldAnswer,
    Membership,
    PastMembership,
    PastName,
    PortalSession,
    Source,
    TaskRun,
    current,
)
from federation.queries import directories
from tests import cast
from tests.peers.slapd import BASE, group_dn, person_dn

READ = cast.role(cast.PROD, "ReadOnly")
KEY = "directory:ad"


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def company(slapd, entry, publish):
    """The cast's document, whose people at `corp` are those of the real directory."""

    def do(*, directory="", **more):
        publish(cast.DOCUMENT + f"directories:\n  - {{slug: ad, provider: corp, ldap: {entry(**more)}{directory}}}\n")

    do()
    return do


def refresh(now=None) -> flow.Refreshed:
    current.forget()
    (directory,) = [one for one in current.mapping().document.directories if one.ldap]
    return flow.refresh_one(directory, now=now or timezone.now())


def groups_of(name) -> set[str]:
    return set(
        Membership.objects.filter(user__user_name=name, user__deleted_at=None).values_list(
            "group__display_name", flat=True
        )
    )


def refusal(kind, person) -> str:
    with pytest.raises(kind) as caught:
        access.decide(person.pk, READ, now=timezone.now())
    return caught.value.reason


def told(kind="directory.read") -> list[dict]:
    return list(AuditEvent.objects.filter(kind=kind).order_by("seq").values_list("data", flat=True))


# --- From the directory to the decision ---------------------------------------------------------------


def test_a_change_of_a_group_is_a_change_of_what_somebody_may_do(slapd, company, sign_in_as, now):
    alice = sign_in_as(cast.alice(groups=()), at=now)
    slapd.group("engineering", [slapd.person("alice"), slapd.person("bob")])
    assert refusal(NotInDirectory, alice) == "not_in_directory"
    result = refresh()
    assert (result.outcome, result.people, result.groups) == ("ok", 2, 1)
    assert access.decide(alice.pk, READ, now=timezone.now()).identity.groups == {"engineering"}
    slapd.members("engineering", [person_dn("bob")])
    assert refresh().written == 2  # the group, and one membership
    assert refusal(AccessDenied, alice) == "no_matching_rule"
    past = PastMembership.objects.get()
    assert (past.user.user_name, past.display_name) == ("alice", "engineering")


def test_groups_within_groups_through_any_depth_and_in_circles(slapd, company, sign_in_as, now):
    alice = sign_in_as(cast.alice(groups=()), at=now)
    slapd.group("berlin", [slapd.person("alice")])
    slapd.group("germany", [group_dn("berlin")])
    slapd.group("engineering", [group_dn("germany")])
    slapd.members("berlin", [person_dn("alice"), group_dn("engineering")])
    assert refresh().outcome == "ok"
    found = access.decide(alice.pk, READ, now=timezone.now()).identity.groups
    assert found == {"berlin", "germany", "engineering"}
    slapd.members("engineering", [person_dn("nobody")])
    refresh()
    assert refusal(AccessDenied, alice) == "no_matching_rule"
    assert GroupNesting.objects.count() == 2


def notes():
    found = list(AccessChange.objects.order_by("pk").values_list("kind", "keys"))
    AccessChange.objects.all().delete()
    return found


def test_whose_access_may_have_changed_is_noted(slapd, company, monkeypatch):
    slapd.people(["alice", "bob", "carol"])
    slapd.group("engineering", [person_dn("alice")])
    slapd.group("berlin", [person_dn("bob")])
    refresh()
    assert notes() == [("subject", ["corp", "alice", "bob", "carol"])]
    slapd.members("engineering", [person_dn("bob")])
    refresh()
    assert notes() == [("subject", ["corp", "alice", "bob"])]
    slapd.ldif(f"dn: {person_dn('carol')}\nchangetype: modrdn\nnewrdn: uid=carole\ndeleteoldrdn: 1")
    refresh()
    assert notes() == [("subject", ["corp", "carol", "carole"])]
    slapd.members("engineering", [person_dn("bob"), group_dn("berlin")])
    refresh()
    assert notes() == [("provider", ["corp"])]
    slapd.delete(group_dn("berlin"))
    refresh()
    assert notes() == [("provider", ["corp"])]
    slapd.ldif(f"dn: {group_dn('engineering')}\nchangetype: modrdn\nnewrdn: cn=platform\ndeleteoldrdn: 1")
    refresh()
    assert notes() == [("provider", ["corp"])]
    monkeypatch.setattr(flow, "_MOST_NAMED", 1)
    slapd.members("platform", [person_dn("alice")])
    refresh()
    assert notes() == [("provider", ["corp"])]
    refresh()
    assert notes() == []


def test_the_same_answer_again_writes_nothing(slapd, company, django_assert_max_num_queries):
    slapd.group("engineering", slapd.people(f"p{number}" for number in range(50)))
    first = refresh()
    assert (first.outcome, first.written) == ("ok", 50 + 1 + 50)
    version, told_before = Source.objects.get(pk=KEY).version, len(told())
    with django_assert_max_num_queries(20):
        again = refresh()
    assert (again.outcome, again.written) == ("ok", 0)
    source = Source.objects.get(pk=KEY)
    assert (source.version, source.state, source.counts["people"]) == (version, "ok", 50)
    assert len(told()) == told_before


def test_whoever_is_disabled_or_gone_loses_everything_with_the_reading(slapd, company, sign_in_as, now):
    from importlib import import_module

    from django.conf import settings

    slapd.people(["alice", "bob", "carol", "dave"], "shadowExpire: -1")
    refresh()
    alice, bob = sign_in_as(cast.alice(), at=now), sign_in_as(cast.bob(), at=now)
    for person in (alice, bob):
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session["_auth_user_id"] = str(person.pk)
        session.create()
    assert PortalSession.objects.count() == 2
    slapd.change(person_dn("alice"), "replace: shadowExpire", "shadowExpire: 1")
    slapd.delete(person_dn("bob"))
    assert refresh().outcome == "ok"
    assert PortalSession.objects.count() == 0
    assert refusal(PersonDisabled, alice) == "directory_inactive"
    assert refusal(PersonDisabled, bob) == "directory_deleted"
    changes = {(event["user_name"], event["change"]) for event in told("directory.person")}
    assert changes == {("alice", "disabled"), ("bob", "deleted")}
    assert AuditEvent.objects.filter(kind="revoked").count() == 2

    slapd.change(person_dn("alice"), "replace: shadowExpire", "shadowExpire: -1")
    slapd.person("bob")
    refresh()
    for person in (alice, bob):
        assert refusal(AccessDenied, person) == "no_matching_rule"  # in no group, but there
    assert told("directory.person")[-1]["change"] == "enabled"


def test_whoever_has_somebodys_old_name_has_not_their_session(slapd, company, sign_in_as, now):
    """Both in one reading: alice is called otherwise, and another alice comes."""
    slapd.person("alice")
    refresh()
    alice = sign_in_as(cast.alice(), at=now)
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=alice)
    slapd.ldif(f"dn: {person_dn('alice')}\nchangetype: modrdn\nnewrdn: uid=alice.liddell\ndeleteoldrdn: 1")
    slapd.group("engineering", [slapd.person("alice")])
    assert refresh().outcome == "ok"
    assert PortalSession.objects.count() == 0
    (event,) = told("revoked")
    assert event["why"] == "goes by another name in the directory ad"


def test_whoever_gets_somebodys_name_has_not_their_session(slapd, company, sign_in_as, now):
    slapd.person("alice.liddell")
    refresh()
    guest = sign_in_as(cast.alice(), at=now)
    PortalSession.objects.create(session_key="a" * 64, session_data="x", expire_date=now, person=guest)
    slapd.ldif(f"dn: {person_dn('alice.liddell')}\nchangetype: modrdn\nnewrdn: uid=alice\ndeleteoldrdn: 1")
    assert refresh().outcome == "ok"
    assert PortalSession.objects.count() == 0
    (event,) = told("revoked")
    assert event["why"] == "is another's name now in the directory ad"


def test_renamed_people_and_groups_stay_who_they_are(slapd, company):
    slapd.group("platform", [slapd.person("alice")])
    slapd.group("engineering", [person_dn("alice")])
    refresh()
    ids = dict(DirectoryGroup.objects.values_list("display_name", "pk"))
    alice = DirectoryUser.objects.get()
    for old, new in (("platform", "x"), ("engineering", "platform"), ("x", "engineering")):  # they change names
        slapd.ldif(f"dn: {group_dn(old)}\nchangetype: modrdn\nnewrdn: cn={new}\ndeleteoldrdn: 1")
    slapd.change(person_dn("alice"), "replace: mail", "mail: alice.liddell@example.com")
    assert refresh().outcome == "ok"
    assert dict(DirectoryGroup.objects.values_list("display_name", "pk")) == {
        "engineering": ids["platform"], "platform": ids["engineering"],
    }  # fmt: skip
    after = DirectoryUser.objects.get()
    assert (after.pk, after.email, after.version) == (alice.pk, "alice.liddell@example.com", alice.version + 1)
    assert set(PastMembership.objects.values_list("display_name", flat=True)) == {"platform", "engineering"}


def test_the_names_that_people_had_are_kept(slapd, company):
    slapd.people(["alice", "bob", "carol"])
    refresh()
    for old, new in (("alice", "x"), ("bob", "alice"), ("x", "bob")):  # they change names
        slapd.ldif(f"dn: {person_dn(old)}\nchangetype: modrdn\nnewrdn: uid={new}\ndeleteoldrdn: 1")
    slapd.change(person_dn("carol"), "replace: cn", "cn: Carol Again")
    assert refresh().outcome == "ok"
    past = {row.subject: row for row in PastName.objects.select_related("user")}
    assert {subject: row.user.subject for subject, row in past.items()} == {"alice": "bob", "bob": "alice"}
    for row in past.values():
        assert row.since == row.user.created_at < row.until == row.user.modified_at


def test_a_group_that_is_gone_takes_its_members_with_it(slapd, company):
    dns = slapd.people(["alice", "bob"])
    for name in ("a", "b", "c"):
        slapd.group(name, dns)
    refresh()
    slapd.delete(group_dn("a"))
    assert refresh().outcome == "ok"
    assert groups_of("alice") == {"b", "c"}
    assert PastMembership.objects.count() == 2


# --- The brake ----------------------------------------------------------------------------------------


def held() -> HeldAnswer:
    return HeldAnswer.objects.get(decision="waiting")


def decide(origin, *, accept):
    return sources.decide(KEY, accept=accept, actor="carol", origin=origin, now=timezone.now())


def test_an_empty_answer_is_held_and_the_last_good_state_goes_on(slapd, company, sign_in_as, origin, now):
    alice = sign_in_as(cast.alice(groups=()), at=now)
    slapd.group("engineering", slapd.people(["alice", "bob"]))
    refresh()
    company(user_filter='"(objectClass=nosuchclass)"')
    result = refresh()
    assert (result.outcome, result.reason) == ("held", "empty_answer")
    assert access.decide(alice.pk, READ, now=timezone.now()).identity.groups == {"engineering"}
    source = Source.objects.get(pk=KEY)
    assert (source.state, source.error_code) == ("held", "empty_answer")
    assert held().summary["examples"] == ["person alice", "person bob"]
    assert refresh().outcome == "held"
    assert HeldAnswer.objects.count() == 1  # asked once
    decide(origin, accept=True)
    assert refresh().outcome == "ok"
    assert refusal(PersonDisabled, alice) == "directory_deleted"
    assert AuditEvent.objects.get(kind="answer.decided").data["source"] == KEY


def test_many_people_many_groups_or_many_of_a_group_gone_are_held(slapd, company):
    dns = slapd.people(f"p{number:02}" for number in range(20))
    for number in range(10):
        slapd.group(f"g{number}", dns[:2])
    slapd.group("engineering", dns)
    assert refresh().outcome == "ok"
    before = Membership.objects.count()

    slapd.members("engineering", dns[:15])
    assert (refresh().reason, held().summary["removed"]) == ("too_many_removed", 5)
    assert held().summary["examples"][0] == "engineering: p15"
    slapd.members("engineering", dns)
    assert refresh().outcome == "ok"
    assert HeldAnswer.objects.get().decision == "overtaken"

    for number in range(5):
        slapd.delete(group_dn(f"g{number}"))
    assert refresh().reason == "too_many_removed"
    assert "group g0" in held().summary["examples"]
    for number in range(5):
        slapd.group(f"g{number}", dns[:2])
    for dn in dns[10:15]:
        slapd.delete(dn)
    assert refresh().reason == "too_many_removed"
    assert Membership.objects.count() == before
    assert DirectoryUser.objects.filter(deleted_at=None).count() == 20


def test_many_who_are_suddenly_called_otherwise_are_held(slapd, company, sign_in_as, origin, now):
    """Mishap: somebody names another attribute, and nobody's provider, or no rule, knows them by it."""
    dns = slapd.people([f"p{number:02}" for number in range(20)])
    for number in range(10):
        slapd.group(f"g{number}", dns)
    slapd.group("engineering", dns)
    alice = sign_in_as(cast.identity("p00"), at=now)
    assert refresh().outcome == "ok"
    company(attributes="{subject: mail}")
    assert (refresh().reason, held().summary["removed"]) == ("too_many_removed", 20)
    assert held().summary["examples"][0] == "person p00: p00@example.com now"
    assert (held().summary["effect"]["people"], held().summary["effect"]["never_signed_in"]) == (20, 19)
    assert access.decide(alice.pk, READ, now=timezone.now()).grant.rule == "engineers-read-production"
    company(attributes="{group: dn}")
    assert (refresh().reason, held().summary["removed"]) == ("too_many_removed", 11)
    assert held().summary["examples"][0] == f"group engineering: {group_dn('engineering')} now"
    assert held().summary["effect"]["people"] == 20
    decide(origin, accept=True)
    assert refresh().outcome == "ok"
    assert refusal(AccessDenied, alice) == "no_matching_rule"


def test_an_accepted_answer_may_be_a_few_people_older_and_no_more(slapd, company, origin):
    """Each part of the answer is held against the brake by itself: many of one small group are few of the whole directory."""
    dns = slapd.people([f"p{number:02}" for number in range(30)])
    slapd.group("engineering", dns)
    slapd.group("operators", dns[:10])
    assert refresh().outcome == "ok"
    slapd.members("engineering", dns[:15])
    assert refresh().outcome == "held"
    decide(origin, accept=True)
    slapd.members("operators", dns[6:7])
    result = refresh()
    assert (result.outcome, result.reason) == ("held", "too_many_removed")
    slapd.members("operators", dns[1:10])
    slapd.members("engineering", dns[1:15])
    slapd.delete(dns[29])
    assert refresh().outcome == "ok"
    assert Membership.objects.count() == 9 + 14


def test_an_accepted_answer_does_not_let_another_group_within_go(slapd, company, origin):
    dns = slapd.people([f"p{number:02}" for number in range(30)])
    slapd.group("berlin", dns[:15])
    slapd.group("paris", dns[15:])
    slapd.group("engineering", [group_dn("berlin"), group_dn("paris"), dns[0]])
    assert refresh().outcome == "ok"
    slapd.members("engineering", [group_dn("paris"), dns[0]])
    assert refresh().reason == "too_many_removed"
    decide(origin, accept=True)
    slapd.members("engineering", [group_dn("berlin"), dns[0]])
    assert refresh().reason == "too_many_removed"
    slapd.members("engineering", [group_dn("paris"), dns[0]])
    slapd.members("paris", dns[16:])
    assert refresh().outcome == "ok"


def test_one_who_is_disabled_is_disabled_though_the_rest_waits(slapd, company, sign_in_as, now):
    alice = sign_in_as(cast.alice(), at=now)
    dns = slapd.people(["alice", *(f"p{number:02}" for number in range(20))], "shadowExpire: -1")
    slapd.group("engineering", dns)
    refresh()
    slapd.members("engineering", dns[:3])
    slapd.change(person_dn("alice"), "replace: shadowExpire", "shadowExpire: 1")
    assert refresh().reason == "too_many_removed"
    assert refusal(PersonDisabled, alice) == "directory_inactive"
    assert [event["change"] for event in told("directory.person")] == ["disabled"]
    assert Membership.objects.count() == 21
    assert refresh().reason == "too_many_removed"
    assert len(told("directory.person")) == 1  # said once
    slapd.members("engineering", dns)
    assert refresh().outcome == "ok"
    assert refusal(PersonDisabled, alice) == "directory_inactive"
    slapd.change(person_dn("alice"), "replace: shadowExpire", "shadowExpire: -1")
    refresh()
    assert DirectoryUser.objects.get(user_name="alice").active


def test_an_acceptance_holds_though_somebody_was_disabled_with_the_same_answer(slapd, company, origin):
    """What was done at once is no part of what waits, or the next reading would be another answer than the accepted one."""
    dns = slapd.people(["alice", *(f"p{number:02}" for number in range(20))], "shadowExpire: -1")
    slapd.group("engineering", dns)
    refresh()
    slapd.members("engineering", dns[:3])
    slapd.change(person_dn("alice"), "replace: shadowExpire", "shadowExpire: 1")
    assert refresh().reason == "too_many_removed"
    assert held().summary["removed"] == 18
    decide(origin, accept=True)
    assert refresh().outcome == "ok"
    assert Membership.objects.count() == 3


def test_a_group_that_loses_its_people_through_another_is_held(slapd, company, sign_in_as, origin, now):
    """No member has moved: half of the company leaves with one line of the group of groups."""
    alice = sign_in_as(cast.alice(groups=()), at=now)
    dns = slapd.people(["alice", *(f"p{number:02}" for number in range(19))])
    slapd.group("berlin", dns[:8])
    slapd.group("munich", dns[8:])
    slapd.group("germany", [group_dn("berlin"), group_dn("munich")])
    slapd.group("engineering", [group_dn("germany")])
    assert refresh().outcome == "ok"
    slapd.members("germany", [group_dn("munich")])
    assert refresh().reason == "too_many_removed"
    assert held().summary["examples"] == ["germany: group berlin"]
    assert {role["role"] for role in held().summary["effect"]["lost"]} >= {READ}
    assert access.decide(alice.pk, READ, now=timezone.now()).identity.groups >= {"engineering", "germany"}
    decide(origin, accept=True)
    # One group more is another answer, though no member of a group of people has moved in either.
    slapd.members("engineering", [dns[19]])
    assert refresh().outcome == "held"
    slapd.members("engineering", [group_dn("germany")])
    assert refresh().outcome == "ok"
    assert refusal(AccessDenied, alice) == "no_matching_rule"


def test_a_group_of_groups_that_is_gone_is_held(slapd, company):
    dns = slapd.people(f"p{number:02}" for number in range(10))
    for number in range(9):
        slapd.group(f"g{number}", [dns[number]])
    slapd.group("berlin", dns)
    slapd.group("engineering", [group_dn("berlin")])
    assert refresh().outcome == "ok"
    slapd.delete(group_dn("engineering"))
    assert refresh().outcome == "held"
    assert held().summary["examples"] == ["group engineering"]


def test_a_small_group_may_leave_another_one(slapd, company):
    dns = slapd.people(f"p{number:02}" for number in range(10))
    slapd.group("few", dns[:3])
    slapd.group("many", dns[3:])
    slapd.group("engineering", [group_dn("few"), group_dn("many")])
    refresh()
    slapd.members("engineering", [group_dn("many")])
    assert refresh().outcome == "ok"
    assert GroupNesting.objects.count() == 1


def test_a_filter_that_suddenly_disables_everybody_is_held(slapd, company, sign_in_as, now):
    alice = sign_in_as(cast.alice(), at=now)
    slapd.group("engineering", slapd.people(["alice", *(f"p{number}" for number in range(9))]))
    refresh()
    company(disabled_filter='"(uid=*)"')
    assert refresh().reason == "empty_answer"
    assert held().summary["examples"][0] == "disabled alice"
    assert access.decide(alice.pk, READ, now=timezone.now()).person == alice


def test_a_refusal_lasts_until_something_else_would_go(slapd, company, origin):
    dns = slapd.people(f"p{number:02}" for number in range(20))
    slapd.group("engineering", dns)
    refresh()
    slapd.members("engineering", dns[:10])
    refresh()
    decide(origin, accept=False)
    assert refresh().outcome == "held"
    assert not HeldAnswer.objects.filter(decision="waiting").exists()
    slapd.members("engineering", dns[:9])  # the same question, one has left
    assert refresh().outcome == "held"
    assert not HeldAnswer.objects.filter(decision="waiting").exists()
    slapd.members("engineering", dns[:2])
    assert refresh().outcome == "held"
    assert held().summary["removed"] == 18


# --- What cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"base_dn": "'ou=none,dc=example,dc=test'"}, "base_unknown"),
        ({"url": "ldaps://127.0.0.1:9"}, "unreachable"),
        ({"password": '"${TEST_LDAP_PASSWORD_UNSET}"'}, "secret_not_set"),
        ({"password": '"${DATABASE_URL}"'}, "secret_not_for_providers"),
    ],
)
def test_what_cannot_be_read_changes_nothing_and_says_why(slapd, company, more, reason):
    slapd.group("engineering", slapd.people(["alice", "bob"]))
    refresh()
    company(**more)
    result = refresh()
    assert (result.outcome, result.reason) == ("failed", reason)
    source = Source.objects.get(pk=KEY)
    assert (source.state, source.error_code) == ("failed", reason)
    assert groups_of("alice") == {"engineering"}


def test_nobody_at_all_at_first_is_a_fault_and_no_directory(slapd, company):
    assert (refresh().reason, Source.objects.get(pk=KEY).state) == ("nobody_found", "failed")


def test_cut_in_the_middle_nothing_is_taken_over(slapd, company, monkeypatch):
    dns = slapd.people(f"p{number:02}" for number in range(5))
    slapd.group("engineering", dns[:2])
    slapd.group("platform", dns)
    refresh()
    slapd.members("engineering", dns)
    slapd.delete(dns[4])
    broken = flow._nest

    def plug_pulled(*args):
        broken(*args)
        raise SystemExit

    monkeypatch.setattr(flow, "_nest", plug_pulled)
    with pytest.raises(SystemExit):
        refresh()
    assert groups_of("p01") == {"engineering", "platform"}
    assert groups_of("p02") == {"platform"}
    assert DirectoryUser.objects.filter(deleted_at=None).count() == 5
    monkeypatch.undo()
    monkeypatch.setenv("TEST_LDAP_PASSWORD", "a-test-reader-password")
    assert refresh().outcome == "ok"
    assert groups_of("p02") == {"engineering", "platform"}


def test_whoever_lost_the_lease_meanwhile_writes_nothing(slapd, company, monkeypatch):
    slapd.person("alice")
    monkeypatch.setattr(leases.Held, "is_ours", lambda self: False)
    assert refresh().reason == "lease_lost"
    assert not DirectoryUser.objects.exists()


def test_two_at_once_are_one(slapd, company):
    slapd.person("alice")
    with leases.leased(KEY, timedelta(seconds=60)):
        assert refresh().reason == "running_already"


def test_more_than_a_thousand_at_once(slapd, company):
    dns = slapd.people(f"p{number:04}" for number in range(1_100))
    slapd.group("everybody", dns)
    result = refresh()
    assert (result.outcome, result.people) == ("ok", 1_100)
    assert Membership.objects.count() == 1_100


# --- When -----------------------------------------------------------------------------------------------


def test_each_is_due_when_its_own_interval_is_over(slapd, company, now):
    slapd.person("alice")
    company(interval="10m")
    assert [directory.slug for directory in flow.due(now=now)] == ["ad"]
    refresh(now)
    assert flow.due(now=now + timedelta(minutes=8)) == []
    assert flow.due(now=now + timedelta(minutes=10))


def test_where_nothing_is_due_a_run_is_left_every_few_minutes_alone(publish, now):
    publish()
    for minutes in range(4):
        assert flow.refresh_due(now=now + timedelta(minutes=minutes)) == []
    assert TaskRun.objects.count() == 1
    flow.refresh_due(now=now + timedelta(minutes=5))
    assert [run.detail for run in TaskRun.objects.all()] == [{"written": 0}] * 2


def test_the_task_reads_what_is_due_and_leaves_a_run(slapd, company):
    slapd.person("alice")
    tasks.refresh_directory()
    run = TaskRun.objects.get(task="refresh_directory")
    assert (run.outcome, run.detail) == ("ok", {"ad": "ok", "written": 1})
    assert (run.done, run.total) == (1, 1)
    tasks.refresh_directory()
    assert TaskRun.objects.count() == 1


def test_asked_for_by_hand_every_one_is_read(slapd, company, origin, now, monkeypatch):
    slapd.person("alice")
    tasks.refresh_directory()
    asked = []
    monkeypatch.setattr(background, "send", asked.append)
    background.ask("refresh_directory", actor="carol", origin=origin, now=now)
    assert asked == ["refresh_directory"]
    tasks.refresh_directory()
    assert TaskRun.objects.filter(task="refresh_directory", detail__ad="ok").count() == 2


def test_what_another_worker_read_before_this_one_held_the_lease_is_not_read_again(slapd, company, monkeypatch):
    slapd.person("alice")
    lease = runs.run

    @contextmanager
    def after_another(task):
        monkeypatch.setattr(flow.runs, "run", lease)
        assert [result.outcome for result in flow.refresh_due(now=timezone.now())] == ["ok"]
        with lease(task) as run:
            yield run

    monkeypatch.setattr(flow.runs, "run", after_another)
    assert flow.refresh_due(now=timezone.now()) == []
    assert TaskRun.objects.filter(task="refresh_directory", detail__ad="ok").count() == 1


def test_one_that_cannot_be_read_does_not_stop_the_others(slapd, entry, publish):
    slapd.person("alice")
    broken = entry(url="ldaps://127.0.0.1:9")
    publish(
        cast.DOCUMENT + f"directories:\n  - {{slug: a, provider: corp, ldap: {broken}}}\n"
        f"  - {{slug: b, provider: entra, ldap: {entry()}}}\n"
    )
    results = flow.refresh_due(now=timezone.now())
    assert [(result.slug, result.outcome) for result in results] == [("a", "failed"), ("b", "ok")]
    assert TaskRun.objects.get().detail == {"a": "unreachable", "b": "ok", "written": 1}


def command(*arguments) -> str:
    out = io.StringIO()
    call_command("refresh", "directory", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_reads_now(slapd, company):
    slapd.group("engineering", slapd.people(["alice", "bob"]))
    assert command() == "ad  ok      2 people, 1 groups, 5 change(s)\n"
    assert command("ad") == "ad  ok      2 people, 1 groups, 0 change(s)\n"
    company(base_dn=f"'ou=none,{BASE}'")
    with pytest.raises(CommandError, match="The last good state stays in force: ad"):
        command("ad")
    with pytest.raises((CommandError, NotFound), match="Those that are: ad"):
        command("nothing")


def test_the_command_says_where_a_held_answer_is_looked_at(slapd, company, capsys):
    slapd.group("engineering", slapd.people(["alice", "bob"]))
    command()
    company(user_filter='"(objectClass=nosuchclass)"')
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("refresh", "directory", stdout=out)
    assert out.getvalue() == "ad  held    empty_answer. Look at it: manage.py held (directory:ad)\n"
    out = io.StringIO()
    call_command("held", stdout=out)
    assert "directory:ad" in out.getvalue()
    assert "    - person alice" in out.getvalue()


def test_while_another_worker_is_at_it_the_command_says_so(slapd, company):
    with (
        leases.leased("task:refresh_directory", timedelta(seconds=60)),
        pytest.raises(CommandError, match="two minutes"),
    ):
        command()


def test_without_such_a_directory_there_is_nothing_to_do(publish):
    publish()
    assert command() == "No directory of the mapping is read over LDAP.\n"


def test_what_was_not_read_for_a_day_closes_production(slapd, company, sign_in_as, now):
    alice = sign_in_as(cast.alice(groups=()), at=now)
    slapd.group("engineering", [slapd.person("alice")])
    refresh(now - timedelta(hours=25))
    assert refusal(AccessDenied, alice) == "directory_stale"
    refresh(now)
    assert access.decide(alice.pk, READ, now=timezone.now()).person == alice


@pytest.mark.django_db(transaction=True)
def test_read_twice_at_the_same_moment_each_is_there_once(slapd, company):
    slapd.group("engineering", slapd.people(f"p{number:02}" for number in range(30)))
    current.forget()
    outcomes = []

    def work():
        from django.db import connection

        try:
            outcomes.append(tuple((r.outcome, r.reason) for r in flow.refresh_named() or ()))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (("ok", ""),) in outcomes
    assert DirectoryUser.objects.count() == 30
    assert len(told()) == 1


def test_what_is_held_says_who_would_lose_what(slapd, company, sign_in_as, now):
    for name in ("alice", "bob"):
        sign_in_as(cast.identity(name, groups=()), at=now)
    dns = slapd.people(["alice", "bob", *(f"p{number:02}" for number in range(10))])
    slapd.group("berlin", dns)
    slapd.group("engineering", [group_dn("berlin")])
    slapd.group("contractors", [dns[1]])
    refresh()
    slapd.members("berlin", dns[6:])
    slapd.members("engineering", dns[6:])  # and the nesting goes too
    slapd.delete(group_dn("contractors"))
    assert refresh().outcome == "held"
    (line,) = directories.held()
    assert (line.source, line.kind, line.why, line.removed) == (KEY, "directory", "too_many_removed", 9)
    assert (line.losers, line.never_signed_in) == (6, 10)  # ten are in the groups, and were never seen here
    lost = {role.role_arn: (role.people, role.who) for role in line.lost}
    assert lost[READ] == (5, ("Alice", "P00", "P01", "P02", "P03"))  # Bob, a contractor, has it not
    assert lost[cast.role(cast.DEV, "Developer")] == (6, ("Alice", "Bob", "P00", "P01", "P02", "P03"))
    assert line.gained == ()
    out = io.StringIO()
    call_command("held", stdout=out)
    assert "  6 person(s) would lose 5 role(s); of those whom it concerns 10 have never signed in\n" in out.getvalue()
    assert f"    - {READ}: Alice, P00, P01, P02, P03\n" in out.getvalue()
    (shown,) = directories.directories(now=timezone.now())
    assert (shown.way, shown.state, shown.reason, shown.stale) == ("ldap", "held", "too_many_removed", False)


def test_what_is_held_says_who_would_gain_what(slapd, company, sign_in_as, now):
    """The answer that takes many away may put others into a group: whoever accepts it gives them that."""
    bob = sign_in_as(cast.identity("bob", groups=()), at=now)
    dns = slapd.people(["bob", *(f"p{number:02}" for number in range(10))])
    slapd.group("berlin", dns)
    slapd.group("readers", dns[:1])
    refresh()
    slapd.members("berlin", dns[:2])
    slapd.group("munich", [slapd.person("newcomer")])
    slapd.group("engineering", [dns[0], dns[5], group_dn("munich")])
    assert refresh().outcome == "held"
    (line,) = directories.held()
    gained = {role.role_arn: (role.people, role.who) for role in line.gained}
    assert gained[READ] == (3, ("Bob", "Newcomer", "P04"))
    assert (line.losers, line.lost) == (0, ())
    assert refusal(AccessDenied, bob) == "no_matching_rule"
