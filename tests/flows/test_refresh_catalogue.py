"""The catalogue is read account by account: whole or not at all, once at a time, and whatever dies in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from federation import queries, tasks
from federation.aws import catalogue as adapter
from federation.errors import AccessDenied, ConfigurationError
from federation.flows import explain_access, leases, sources
from federation.flows import refresh_catalogue as flow
from federation.flows import refresh_entitlements as entitlements
from federation.flows.access import decide
from federation.mapping.rules import is_production
from federation.models import (
    AuditEvent,
    HeldAnswer,
    Lease,
    OrganizationAccount,
    PastRole,
    PolicyDocument,
    Role,
    Source,
    TaskRun,
    current,
)
from federation.queries import directories, permissions
from tests import cast
from tests.aws import paging
from tests.aws.paging import FakeRole, Member, Reply

ROOT = Path(__file__).resolve().parents[2]
ORGANIZATION_ROLE = "arn:aws:iam::999999999999:role/rolegate-reader"
HOUR = timedelta(hours=1)


@pytest.fixture
def double(gateway_keys, publish, monkeypatch):
    """The cast's mapping published, and an AWS that has a few roles in each of its three accounts."""
    monkeypatch.setattr(
        adapter, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: time.sleep(seconds / 50))
    )
    double = paging.Double(
        accounts={account: paging.roles("ReadOnly", "Developer") for account in (cast.PROD, cast.STAGING, cast.DEV)}
    )
    with paging.serving(double):
        for service in ("STS", "IAM", "ORGANIZATIONS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", double.url)
        publish()
        yield double


def account(account_id=cast.DEV):
    return next(one for one in current.mapping().document.accounts if one.id == account_id)


def refresh(account_id=cast.DEV, now=None, **more):
    return flow.refresh_account(account(account_id), now=now or timezone.now(), **more)


def present(account_id=cast.DEV):
    return sorted(Role.objects.filter(account_id=account_id, present=True).values_list("name", flat=True))


def source(account_id=cast.DEV):
    return Source.objects.get(pk=flow.source_of(account_id))


def writes(captured, table):
    """The statements among `captured` that write to a table."""
    words = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")
    return [
        q["sql"]
        for q in captured.captured_queries
        if q["sql"].lstrip().upper().startswith(words) and f'"{table}"' in q["sql"]
    ]


# --- One account ----------------------------------------------------------------------------------------


def test_an_account_is_read_and_taken_over(double, now):
    double.accounts[cast.DEV] = [
        FakeRole("Deploy", path="/team/", longest=7200, tags={"team": "shop"}, used=now),
        *paging.roles(),
    ]
    assert refresh(now=now) == flow.Refreshed(cast.DEV, "ok", count=2, written=2)
    role = Role.objects.get(name="Deploy")
    assert (role.arn, role.path, role.max_session_duration, role.tags) == (
        cast.role(cast.DEV, "team/Deploy"),
        "team",
        7200,
        {"team": "shop"},
    )
    assert (role.last_used_at, role.created_at, role.seen_at, role.removed_at) == (now, paging.CREATED, now, None)
    assert (source().state, source().version, source().succeeded_at, source().counts) == (
        "ok",
        1,
        now,
        {"roles": 2, "unusable": 0, "examples": []},
    )


def test_the_reader_is_assumed_by_a_token_of_its_own_and_the_log_has_it(double, now):
    refresh(now=now)
    call = next(call for call, _ in double.calls if call.operation == "AssumeRoleWithWebIdentity")
    assert call.fields["RoleArn"] == cast.role(cast.DEV, "rolegate-reader")
    assert call.account == ""  # unsigned: no access key anywhere
    event = AuditEvent.objects.get(kind="mint.token")
    assert (event.actor, event.data["channel"], event.data["role_arn"]) == (
        "gateway:reader",
        "catalogue",
        call.fields["RoleArn"],
    )


def test_the_second_time_nothing_is_written(double, now):
    double.accounts[cast.DEV] = paging.many_roles(60)
    assert refresh(now=now).written == 60
    before = list(Role.objects.order_by("arn").values())
    with CaptureQueriesContext(connection) as captured:
        assert refresh(now=now + HOUR) == flow.Refreshed(cast.DEV, "ok", count=60, written=0)
    assert writes(captured, "federation_role") == []
    assert list(Role.objects.order_by("arn").values()) == before
    assert (source().version, source().succeeded_at) == (1, now + HOUR)


def test_the_texts_of_policies_are_kept_once_and_what_changes_is_written(double, now):
    double.accounts[cast.DEV] = paging.roles(*"abc")
    refresh(now=now)
    (document,) = PolicyDocument.objects.all()  # all four have the same
    assert json.loads(document.text)["Statement"][0]["Action"] == ["s3:Get*", "s3:List*"]
    assert Role.objects.get(name="a").policies == [
        {"name": "inline", "arn": "", "document": document.digest, "boundary": False},
        {"name": "ReadOnlyAccess", "arn": "arn:aws:iam::aws:policy/ReadOnlyAccess", "document": "", "boundary": False},
    ]
    wider = {"inline": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
    double.accounts[cast.DEV] = [*paging.roles("a", "b"), FakeRole("c", inline=wider)]
    assert refresh(now=now + HOUR) == flow.Refreshed(cast.DEV, "ok", count=4, written=1)
    can = permissions.of_roles([cast.role(cast.DEV, "a"), cast.role(cast.DEV, "c"), cast.role(cast.DEV, "unknown")])
    assert [found.summary.administrator for found in can.values()] == [False, True, False]
    assert [found.known for found in can.values()] == [True, True, False]


def test_a_text_that_is_met_again_is_seen_again_once_an_hour(double, now):
    refresh(now=now)
    refresh(cast.PROD, now=now + HOUR)
    assert PolicyDocument.objects.get().seen_at == now
    refresh(cast.STAGING, now=now + 2 * HOUR)
    assert PolicyDocument.objects.get().seen_at == now + 2 * HOUR


def test_a_text_that_accounts_share_keeps_none_of_them_waiting(transactional_db, double, now):
    """They are read side by side: where each locked the row of a common policy to its end, they would be written one by one."""
    refresh(now=now)
    held, over = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            PolicyDocument.objects.select_for_update().get()
            held.set()
            over.wait(30)
        connection.close()

    other = threading.Thread(target=hold)
    if connection.vendor == "postgresql":  # SQLite has one writer at a time anyway
        other.start()
        assert held.wait(60)
    try:
        assert refresh(cast.PROD, now=now).written == 3
        assert not over.is_set()
    finally:
        over.set()
        if other.ident:
            other.join()


def test_only_what_has_changed_is_written(double, now):
    double.accounts[cast.DEV] = paging.roles("a", "b", "c")
    refresh(now=now)
    double.accounts[cast.DEV] = [FakeRole("a", longest=7200), *paging.roles("b", "d", "c")]
    assert refresh(now=now + HOUR).written == 2
    seen = dict(Role.objects.values_list("name", "seen_at"))
    assert seen == {"a": now + HOUR, "d": now + HOUR, "b": now, "c": now, "rolegate-reader": now}
    assert source().version == 2


def test_a_removed_role_is_marked_and_kept_and_may_come_back(double, now):
    refresh(now=now)
    double.accounts[cast.DEV] = paging.roles("ReadOnly")
    assert refresh(now=now + HOUR).written == 1
    gone = Role.objects.get(account_id=cast.DEV, name="Developer")
    assert (gone.present, gone.removed_at, gone.max_session_duration) == (False, now + HOUR, 3600)
    double.accounts[cast.DEV] = paging.roles("ReadOnly", "Developer")
    refresh(now=now + 2 * HOUR)
    gone.refresh_from_db()
    assert (gone.present, gone.removed_at, gone.seen_at) == (True, None, now + 2 * HOUR)
    assert Role.objects.filter(account_id=cast.DEV).count() == 3


def test_a_past_moment_knows_a_role_that_was_made_anew_or_was_away(double, sign_in_as, now):
    """Attack, or Terraform: whoever deletes a role and makes it again would wipe out who could use it."""
    alice = sign_in_as(cast.alice(), at=now)
    remade = [replace(one, created=now + 2 * HOUR, longest=7200) for one in paging.roles("ReadOnly", "Developer")]
    kept = [one for one in remade if one.name != "ReadOnly"]
    for hours, listed in ((0, paging.roles("ReadOnly", "Developer")), (3, remade), (5, kept), (8, remade), (9, remade)):
        double.accounts[cast.PROD] = listed
        assert refresh(cast.PROD, now=now + hours * HOUR).outcome == "ok"
    later = now + 20 * HOUR

    def then(hours):
        at = now + hours * HOUR
        story = explain_access.tell(alice.pk, cast.role(cast.PROD, "ReadOnly"), now=later, at=at)
        could = [one.person for one in explain_access.who_could(cast.role(cast.PROD, "ReadOnly"), now=later, at=at)]
        assert bool(could) is (story.explanation.verdict.code == "allowed")
        return story.explanation.verdict.code

    assert [then(hours) for hours in (1, 2.5, 4, 6, 8, 10)] == [
        "allowed", "allowed", "allowed", "role_unknown", "allowed", "allowed",
    ]  # fmt: skip
    spells = PastRole.objects.filter(name="ReadOnly").order_by("until")
    assert [(row.max_session_duration, row.since, row.until, row.back_at) for row in spells] == [
        (3600, paging.CREATED, now + 2 * HOUR, now + 2 * HOUR),
        (7200, now + 2 * HOUR, now + 5 * HOUR, now + 8 * HOUR),
    ]
    assert PastRole.objects.exclude(name="ReadOnly").count() == 2  # Developer and the reader were made anew as well


def test_a_removed_role_is_refused_at_the_next_mint(double, sign_in_as, now):
    alice = sign_in_as(cast.alice())
    arn = cast.role(cast.DEV, "Developer")
    refresh(now=now)
    assert decide(alice.pk, arn, now=now).role_maximum == 3600
    double.accounts[cast.DEV] = paging.roles("ReadOnly")
    refresh(now=now)
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, arn, now=now)
    assert caught.value.reason == "role_unknown"


def test_odd_roles_are_counted_and_left_out(double, now):
    double.accounts[cast.DEV] = [
        FakeRole("x", path="/a,arn:aws:iam::1:role/"),
        FakeRole("y", trust="not JSON"),
        *paging.roles(),
    ]
    assert refresh(now=now).outcome == "ok"
    assert present() == ["rolegate-reader", "y"]
    assert Role.objects.get(name="y").trust_policy == "not JSON"
    assert source().counts == {
        "roles": 2,
        "unusable": 1,
        "examples": [f"arn:aws:iam::{cast.DEV}:role/a,arn:aws:iam::1:role/x"],
    }


def test_the_reader_and_the_listing_are_of_the_accounts_own_partition(double, now, publish):
    publish(cast.DOCUMENT.replace("name: shop-dev,", "name: shop-dev, partition: aws-cn,"))
    result = refresh(now=now)
    assert (result.outcome, result.reason) == ("failed", "foreign_account")
    call = next(call for call, _ in double.calls if call.operation == "AssumeRoleWithWebIdentity")
    assert call.fields["RoleArn"] == f"arn:aws-cn:iam::{cast.DEV}:role/rolegate-reader"


# --- What is not whole is not taken ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "old", "new", "reason"),
    [
        ("ListRoles", "<Marker>page-1</Marker>", "", "list_roles_page_broken"),
        ("ListRoles", "</Roles>", "", "list_roles_unreadable"),
        ("GetAccountAuthorizationDetails", "<Marker>page-2</Marker>", "<Marker>page-1</Marker>", "get_account_authorization_details_in_a_circle"),
        ("GetAccountAuthorizationDetails", "RoleDetailList", "Other", "get_account_authorization_details_page_broken"),
    ],
)  # fmt: skip
def test_a_partial_listing_deletes_nothing(double, now, operation, old, new, reason):
    double.accounts[cast.DEV] = paging.roles(*"abcdef")
    double.page = 2
    refresh(now=now)
    before = list(Role.objects.order_by("arn").values())

    def alter(call, reply):
        return Reply(reply.body.replace(old, new)) if call.operation == operation else None

    double.alter = alter
    double.accounts[cast.DEV] = paging.roles(*"abcxyz")
    assert refresh(now=now + HOUR) == flow.Refreshed(cast.DEV, "failed", reason)
    assert list(Role.objects.order_by("arn").values()) == before
    assert (source().state, source().error_code, source().succeeded_at, source().version) == ("failed", reason, now, 1)
    assert source().attempted_at == now + HOUR


def test_an_account_that_refuses_says_why(double, now):
    del double.accounts[cast.DEV]
    assert refresh(now=now).reason == "list_roles_refused"
    assert source().error_detail.startswith("AccessDenied ")
    assert (source().state, source().succeeded_at) == ("failed", None)


def test_a_reader_that_may_not_be_assumed_says_why(double, now):
    def alter(call, reply):
        return (
            Reply(paging.xml_error("AccessDenied", "Not authorized"), 403)
            if call.operation.startswith("Assume")
            else None
        )

    double.alter = alter
    assert refresh(now=now).reason == "sts_access_denied"
    assert present() == []


def test_an_account_that_was_never_read_is_not_known_and_one_that_was_is(double, sign_in_as, now):
    """Names are taken on trust only where nothing is known: a failed reading must not close what worked before."""
    alice = sign_in_as(cast.alice())
    del double.accounts[cast.DEV]
    refresh(now=now)
    assert decide(alice.pk, cast.role(cast.DEV, "Developer"), now=now).role_maximum is None
    double.accounts[cast.DEV] = paging.roles("ReadOnly")
    refresh(now=now)
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, cast.role(cast.DEV, "Developer"), now=now)
    assert caught.value.reason == "role_unknown"


def test_the_brake_holds_and_the_last_good_listing_goes_on(double, sign_in_as, now, origin):
    alice = sign_in_as(cast.alice())
    double.accounts[cast.DEV] = paging.roles("Developer", *(f"r{n}" for n in range(10)))
    refresh(now=now)
    double.accounts[cast.DEV] = paging.roles("r0", "r1", "r2")
    for hours in (1, 2):
        assert refresh(now=now + hours * HOUR) == flow.Refreshed(cast.DEV, "held", "too_many_removed")
    assert len(present()) == 12
    assert decide(alice.pk, cast.role(cast.DEV, "Developer"), now=now).grant.role_name == "Developer"
    assert (source().state, source().version) == ("held", 1)
    (held,) = sources.waiting()
    assert (held.source_id, held.summary["removed"], held.summary["before"]) == (flow.source_of(cast.DEV), 8, 12)
    # What a person lets through is what they were shown: three of the four that were to stay are another question.
    sources.decide(held.source_id, accept=True, actor="carol", origin=origin, now=now + 2 * HOUR)
    double.accounts[cast.DEV] = paging.roles()
    assert refresh(now=now + 3 * HOUR).outcome == "held"
    assert len(present()) == 12
    double.accounts[cast.DEV] = paging.roles("r0", "r1", "new")
    assert refresh(now=now + 4 * HOUR) == flow.Refreshed(cast.DEV, "ok", count=4, written=10)
    assert present() == ["new", "r0", "r1", "rolegate-reader"]
    with pytest.raises(AccessDenied):
        decide(alice.pk, cast.role(cast.DEV, "Developer"), now=now)
    assert sources.waiting() == []


def test_what_is_held_says_who_would_lose_what(double, sign_in_as, now):
    for person in (cast.alice(), cast.bob(), cast.carol()):
        sign_in_as(person)
    double.accounts[cast.PROD] = paging.roles("Developer", "ReadOnly", *(f"r{n}" for n in range(10)))
    refresh(cast.PROD, now=now)
    entitlements.refresh(now=now)
    double.accounts[cast.PROD] = paging.roles("r0")
    assert refresh(cast.PROD, now=now + HOUR).outcome == "held"
    (line,) = directories.held()
    assert (line.kind, line.losers, line.roles_lost, line.gained) == ("account", 1, 2, ())
    assert {role.role_arn: (role.people, role.who) for role in line.lost} == {
        cast.role(cast.PROD, name): (1, ("Alice",)) for name in ("Developer", "ReadOnly")
    }  # Bob is a contractor, and has nothing in production


def test_tags_that_vanish_from_many_roles_at_once_are_held(double, publish, sign_in_as, now, origin):
    """An answer without tags would take away all that account owners give; one owner who takes one tag away is believed."""
    publish(cast.DOCUMENT + 'delegations: [{accounts: {names: ["*"]}, groups: [engineering]}]\n')
    alice = sign_in_as(cast.alice())

    def tagged(*names, bare=()):
        own = [paging.FakeRole(name, tags={"rolegate:groups": "engineering"}) for name in names]
        return [*paging.roles("Developer"), *own, *(paging.FakeRole(name) for name in bare)]

    names = [f"own{n}" for n in range(6)]
    double.accounts[cast.DEV] = tagged(*names)
    refresh(now=now)
    entitlements.refresh(now=now)
    double.accounts[cast.DEV] = tagged(bare=names)
    assert refresh(now=now + HOUR) == flow.Refreshed(cast.DEV, "held", "empty_answer")
    assert decide(alice.pk, cast.role(cast.DEV, "own0"), now=now).grant.rule == f"tags of {cast.DEV}/own0"
    (line,) = directories.held()
    assert (line.removed, line.losers, line.roles_lost) == (6, 1, 6)
    assert line.examples[0] == f"{cast.role(cast.DEV, 'own0')}: tags"

    double.accounts[cast.DEV] = tagged(*names[1:], bare=names[:1])
    assert refresh(now=now + 2 * HOUR).outcome == "ok"
    with pytest.raises(AccessDenied):
        decide(alice.pk, cast.role(cast.DEV, "own0"), now=now)

    double.accounts[cast.DEV] = tagged(bare=names)
    assert refresh(now=now + 3 * HOUR).outcome == "held"
    sources.decide(flow.source_of(cast.DEV), accept=True, actor="carol", origin=origin, now=now + 3 * HOUR)
    assert refresh(now=now + 4 * HOUR).outcome == "ok"
    with pytest.raises(AccessDenied):
        decide(alice.pk, cast.role(cast.DEV, "own1"), now=now)


def test_nobody_is_said_to_lose_anything_before_it_was_worked_out_who_has_what(double, sign_in_as, now):
    """Alice would: "0 people" would have somebody accept it."""
    sign_in_as(cast.alice())
    double.accounts[cast.PROD] = paging.roles("Developer", "ReadOnly", *(f"r{n}" for n in range(10)))
    refresh(cast.PROD, now=now)
    double.accounts[cast.PROD] = paging.roles("r0")
    assert refresh(cast.PROD, now=now + HOUR).outcome == "held"
    (line,) = directories.held()
    assert (line.about, line.removed, line.losers) == ("shop-prod", 11, None)


def test_a_failure_to_write_leaves_the_old_state_whole(double, now, monkeypatch):
    refresh(now=now)
    before = list(Role.objects.order_by("arn").values())
    double.accounts[cast.DEV] = paging.roles("x", "y", "Developer")

    def full(*args, **kwargs):
        raise OperationalError("disk full")

    monkeypatch.setattr(sources, "taken_over", full)  # the last step, after the roles were written
    with pytest.raises(OperationalError):
        refresh(now=now + HOUR)
    assert list(Role.objects.order_by("arn").values()) == before


# --- Leases ---------------------------------------------------------------------------------------------


def taken_by_another(account_id=cast.DEV):
    """As if this worker had been paused past its lease's end, and another had begun."""
    name = flow.source_of(account_id)
    Lease.objects.filter(pk=name).update(until=timezone.now() - timedelta(seconds=1))
    return leases.take(name, timedelta(minutes=5))


def test_an_account_that_another_worker_reads_is_skipped(double, now):
    leases.take(flow.source_of(cast.DEV), timedelta(minutes=1))
    assert refresh(now=now) == flow.Refreshed(cast.DEV, "skipped", "running_already")
    assert double.calls == []


@pytest.mark.parametrize("broken", [False, True], ids=["a good listing", "a broken one"])
def test_a_worker_whose_lease_was_taken_over_writes_nothing(double, now, broken, monkeypatch):
    refresh(now=now)
    state = Source.objects.filter(pk=flow.source_of(cast.DEV)).values("state", "version", "error_code")
    before = list(Role.objects.order_by("arn").values()), state.get()
    double.accounts[cast.DEV] = paging.roles("ReadOnly", "New")
    other = []
    real = adapter.Reader.ask

    def asking(self, operation, parameters):
        answer = real(self, operation, parameters)
        if operation == "get_account_authorization_details":
            other.append(taken_by_another())
            if broken:
                raise adapter.CatalogueUnreadable("list_roles_unreadable")
        return answer

    monkeypatch.setattr(adapter.Reader, "ask", asking)
    assert refresh(now=now + HOUR) == flow.Refreshed(cast.DEV, "skipped", "lease_lost")
    assert (list(Role.objects.order_by("arn").values()), state.get()) == before
    assert other[0].is_ours()


def test_a_long_reading_keeps_its_lease(double, now, monkeypatch):
    double.accounts[cast.DEV] = paging.roles(*"abcdefgh")
    double.page = 1
    monkeypatch.setattr(leases.Heartbeat, "_every", 0.0)
    until = []
    real = leases.Held.renew

    def renew(self, life):
        until.append(Lease.objects.get(pk=self.name).until)
        return real(self, life)

    monkeypatch.setattr(leases.Held, "renew", renew)
    assert refresh(now=now).outcome == "ok"
    assert len(until) == 18
    assert until == sorted(set(until))


# --- The organization -----------------------------------------------------------------------------------


@pytest.fixture
def organization(double, settings):
    settings.ROLEGATE_ORGANIZATION_ROLE = ORGANIZATION_ROLE
    double.units = {"ou-1": ("Workloads", "r-root"), "ou-2": ("Prod", "ou-1")}
    double.members = [
        Member("999999999999", "management"),
        Member(cast.PROD, "shop prod in AWS", "ou-2", tags={"environment": "sandbox", "cost": "7"}),
        Member("666677778888", "found", "ou-2", tags={"zone": "b", "environment": "production", "a": "1"}),
        Member("777788889999", "closed", "ou-2", state="SUSPENDED"),
    ]
    return double


def read_organization(now):
    return flow.refresh_organization(now=now)


def known():
    return {one.id: one for one in current.mapping().document.accounts}


def test_the_organizations_accounts_become_the_mappings(organization, now):
    assert read_organization(now) == flow.Refreshed("organization", "ok", count=4, written=4)
    accounts = known()
    found = accounts["666677778888"]
    assert (found.name, found.organizational_unit, found.unit_ids) == (
        "found",
        "/Workloads/Prod",
        ("r-root", "ou-1", "ou-2"),
    )
    assert dict(found.tags) == {"zone": "b", "environment": "production", "a": "1"}
    assert "777788889999" not in accounts  # suspended
    # What the document says of an account comes before what the organization says.
    prod = accounts[cast.PROD]
    assert (prod.name, prod.organizational_unit, dict(prod.tags)) == (
        "shop-prod", "/Workloads/Prod", {"environment": "production", "team": "shop", "cost": "7"},
    )  # fmt: skip


@pytest.mark.parametrize("unit", ["/Workloads", "/Workloads/Prod", "/Work*/Prod", "r-root", "ou-1", "ou-2"])
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_rule_chooses_by_the_units_path_or_id(organization, publish, sign_in_as, now, unit, effect):
    """A deny by id must find an account that is known by its path, and the other way round."""
    selector = f'{{organizational_units: ["{unit}"]}}'
    rule = {
        "allow": f"  - {{name: u, when: {{groups: [engineering]}}, allow: {{roles: [Own], accounts: {selector}}}}}\n",
        "deny": "  - {name: all, when: {groups: [engineering]}, allow: {roles: [Own], accounts: {names: ['*']}}}\n"
        f"  - {{name: u, when: {{groups: [engineering]}}, deny: {{accounts: {selector}}}}}\n",
    }[effect]
    publish(cast.DOCUMENT.split("mapping:\n")[0] + "mapping:\n" + rule)
    read_organization(now)
    alice = sign_in_as(cast.alice())
    arn = cast.role("666677778888", "Own")
    if effect == "allow":
        assert decide(alice.pk, arn, now=now).grant.rule == "u"
    else:
        with pytest.raises(AccessDenied) as caught:
            decide(alice.pk, arn, now=now)
        assert caught.value.reason == "denied_by_rule"
    if unit.startswith(("/", "ou")):
        assert (effect == "deny") is _may(alice, cast.role("999999999999", "Own"), now)  # at the root itself


def _may(person, arn, now):
    try:
        return bool(decide(person.pk, arn, now=now))
    except AccessDenied:
        return False


def test_the_second_time_nothing_of_the_organization_is_written(organization, now):
    read_organization(now)
    mapping = current.mapping()
    with CaptureQueriesContext(connection) as captured:
        assert read_organization(now + HOUR) == flow.Refreshed("organization", "ok", count=4, written=0)
    assert writes(captured, "federation_organizationaccount") == []
    assert current.mapping() is mapping  # and nobody compiles the mapping again


def test_an_account_that_moves_leaves_or_is_suspended_is_another_at_the_next_request(
    organization, publish, sign_in_as, now
):
    publish(cast.DOCUMENT.replace(
        "mapping:\n",
        "mapping:\n  - {name: u, when: {groups: [engineering]}, allow: {roles: [Own], accounts: {organizational_units: [/Workloads/Prod]}}}\n",
    ))  # fmt: skip
    alice, arn = sign_in_as(cast.alice()), cast.role("666677778888", "Own")
    members = list(organization.members)
    read_organization(now)
    Role.objects.create(arn=arn, account_id="666677778888", name="Own", seen_at=now)
    Source.objects.create(key=flow.source_of("666677778888"), succeeded_at=now)
    for changed in (
        Member("666677778888", "found", "r-root"),
        Member("666677778888", "found", "ou-2", state="SUSPENDED"),
        None,
    ):
        organization.members = members
        read_organization(now)
        assert _may(alice, arn, now)
        organization.members = [m for m in members if m.id != "666677778888"] + ([changed] if changed else [])
        assert read_organization(now).written == 1
        assert not _may(alice, arn, now)
    row = OrganizationAccount.objects.get(pk="666677778888")
    assert (row.present, row.removed_at, row.first_seen_at) == (False, now, now)


def test_an_account_that_has_left_is_not_served_out_of_its_old_listing(organization, publish, sign_in_as, now):
    """No deny finds it any more: it has no tags and no unit. Left in, `accounts: everything` would still give it."""
    publish(cast.DOCUMENT.replace(
        "mapping:\n",
        "mapping:\n  - {name: everywhere, when: {groups: [engineering]}, allow: {roles: [Own], arns: ['arn:aws:iam::666677778888:role/Own']}}\n"
        "  - {name: not-there, when: {groups: [engineering]}, deny: {accounts: {tags: {zone: b}}}}\n",
    ))  # fmt: skip
    alice, arn = sign_in_as(cast.alice()), cast.role("666677778888", "Own")
    organization.accounts["666677778888"] = paging.roles("Own")
    read_organization(now)
    refresh("666677778888", now=now)
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, arn, now=now)
    assert caught.value.reason == "denied_by_rule"
    organization.members = [member for member in organization.members if member.id != "666677778888"]
    read_organization(now)
    with pytest.raises(AccessDenied) as caught:
        decide(alice.pk, arn, now=now)
    assert caught.value.reason == "account_unknown"
    assert current.catalogue("666677778888") == {}
    assert arn not in {role.arn for one in queries.my_roles(alice, now=now).accounts for role in one.roles}


def test_an_organization_that_shrinks_is_held(organization, now):
    organization.members += [Member(f"{n:012}", f"a{n}", "ou-1") for n in range(1, 21)]
    read_organization(now)
    organization.members = organization.members[:6]
    assert read_organization(now + HOUR) == flow.Refreshed("organization", "held", "too_many_removed")
    assert OrganizationAccount.objects.filter(present=True).count() == 24
    assert Source.objects.get(pk="organization").version == 1


def test_an_organization_that_shrinks_says_who_would_lose_what(organization, publish, sign_in_as, now):
    """Only accounts that the document itself does not name go with it."""
    publish(cast.DOCUMENT.replace(
        "mapping:\n", "mapping:\n  - {name: everywhere, when: {groups: [engineering]}, allow: {roles: [Own], accounts: {organizational_units: ['*']}}}\n",
    ))  # fmt: skip
    sign_in_as(cast.alice())
    organization.members += [Member(f"{n:012}", f"a{n}", "ou-1") for n in range(1, 21)]
    read_organization(now)
    entitlements.refresh(now=now)
    organization.members = organization.members[:6]
    assert read_organization(now + HOUR).outcome == "held"
    (line,) = directories.held()
    assert line.losers == 1
    assert {role.role_arn for role in line.lost} == {cast.role(f"{n:012}", "Own") for n in range(3, 21)}


def lose_their_marks(organization, change, now) -> list[Member]:
    """Twenty of the organization's accounts, which it lists otherwise an hour later."""
    few = organization.members
    many = [Member(f"{n:012}", f"a{n}", "ou-1", tags={"environment": "production"}) for n in range(1, 21)]
    organization.members = [*few, *many]
    read_organization(now)
    organization.members = [*few, *(replace(member, **change) for member in many)]
    assert read_organization(now + HOUR).outcome == "held"
    return many


@pytest.mark.parametrize(
    ("change", "mark"),
    [({"tags": {}}, "000000000001: production"), ({"tags": {"environment": "sandbox"}}, "000000000001: production"), ({"state": "SUSPENDED"}, "000000000001: active")],
)  # fmt: skip
def test_an_organization_whose_accounts_lose_their_marks_is_held(organization, now, origin, change, mark):
    """Attack: without tags nothing is production any more, and a deny by tag finds no account."""
    lose_their_marks(organization, change, now)
    assert mark in HeldAnswer.objects.get().summary["examples"]
    assert sum(is_production(account) for account in current.mapping().document.accounts) == 22
    sources.decide("organization", accept=True, actor="carol", origin=origin, now=now + 2 * HOUR)
    assert read_organization(now + 3 * HOUR) == flow.Refreshed("organization", "ok", count=24, written=20)


@pytest.mark.parametrize(("change", "gained"), [({"tags": {}}, True), ({"state": "SUSPENDED"}, False)])
def test_an_organization_whose_accounts_lose_their_marks_says_for_whom(
    organization, publish, sign_in_as, now, change, gained
):
    """A tag that is gone can give as well as take: a deny had chosen the accounts by it."""
    rules = (
        "  - {name: everywhere, when: {groups: [engineering]}, allow: {roles: [Own, Root], accounts: {organizational_units: ['/Workloads']}}}\n"
        "  - {name: marked, when: {groups: [engineering]}, allow: {roles: [Tagged], accounts: {tags: {environment: production}}}}\n"
        "  - {name: not-there, when: {groups: [engineering]}, deny: {roles: [Root], accounts: {tags: {environment: production}}}}\n"
    )
    publish(cast.DOCUMENT.replace("mapping:\n", f"mapping:\n{rules}"))
    for person in (cast.alice(), cast.bob()):
        sign_in_as(person)
    many = lose_their_marks(organization, change, now)
    (line,) = directories.held()
    lost, won = (
        {role.role_arn: role.who for role in listed if role.role_arn.rpartition("/")[2] in {"Own", "Root", "Tagged"}}
        for listed in (line.lost, line.gained)
    )
    gone = {"Tagged"} if gained else {"Own", "Tagged"}
    assert lost == {cast.role(one.id, name): ("Alice",) for one in many for name in gone}
    # Bob is a contractor: no deny keeps him out of what is no longer marked.
    comes = {"Root": ("Alice", "Bob"), "Own": ("Bob",)} if gained else {}
    assert won == {cast.role(one.id, name): who for one in many for name, who in comes.items()}
    assert sum(is_production(account) for account in current.mapping().document.accounts) == 22


def test_a_few_accounts_may_be_tagged_otherwise_and_all_with_another_value(organization, now):
    many = [Member(f"{n:012}", f"a{n}", "ou-1", tags={"environment": "production", "cost": "1"}) for n in range(1, 21)]
    few = organization.members
    organization.members = [*few, *many]
    read_organization(now)
    many = [replace(many[0], tags={}), *(replace(one, tags={**one.tags, "cost": "2"}) for one in many[1:])]
    organization.members = [*few, *many]
    assert read_organization(now + HOUR).outcome == "ok"


def test_a_broken_organization_changes_nothing(organization, now):
    read_organization(now)

    def alter(call, reply):
        return (
            Reply('{"Accounts": [', 200, "application/x-amz-json-1.1")
            if call.operation.endswith(".ListAccounts")
            else None
        )

    organization.alter = alter
    assert read_organization(now + HOUR).reason == "list_accounts_page_broken"
    assert OrganizationAccount.objects.filter(present=True).count() == 4


def test_without_the_setting_there_is_nothing_to_read(double, now):
    with pytest.raises(ConfigurationError) as caught:
        read_organization(now)
    assert caught.value.reason == "organization_role_unset"


def test_nobody_writes_the_organization_who_has_lost_its_lease(organization, now):
    records = []
    with leases.leased("organization", timedelta(minutes=1)) as lease:
        sources.attempted("organization", now=now)
        Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
        leases.take("organization", timedelta(minutes=1))
        with pytest.raises(leases.LeaseLost):
            flow._take_organization(records, "aws", lease, now=now)
    assert Source.objects.get(pk="organization").state == "never"


# --- All of them ----------------------------------------------------------------------------------------

EVERYBODY = {cast.PROD, cast.STAGING, cast.DEV}


def everything(**more):
    return flow.refresh_catalogue(now=timezone.now(), **more)


def test_every_account_is_read_and_one_that_fails_stops_no_other(transactional_db, double, monkeypatch):
    del double.accounts[cast.STAGING]
    said = []
    results = everything(say=said.append)
    assert {result.account_id: result.outcome for result in results} == {
        cast.PROD: "ok",
        cast.STAGING: "failed",
        cast.DEV: "ok",
    }
    assert said == results
    run = TaskRun.objects.get()
    assert (run.task, run.outcome, run.done, run.total) == ("refresh_catalogue", "ok", 3, 3)
    assert run.detail == {"ok": 2, "failed": 1, "held": 0, "skipped": 0, "written": 6}


def test_a_bug_in_one_account_stops_no_other(transactional_db, double, monkeypatch):
    real = flow._take_roles

    def broken(account_id, *args, **kwargs):
        if account_id == cast.DEV:
            raise ZeroDivisionError
        return real(account_id, *args, **kwargs)

    monkeypatch.setattr(flow, "_take_roles", broken)
    results = {result.account_id: (result.outcome, result.reason) for result in everything()}
    assert results == {cast.PROD: ("ok", ""), cast.STAGING: ("ok", ""), cast.DEV: ("failed", "ZeroDivisionError")}


def test_the_organization_comes_first_and_its_new_accounts_are_read_at_once(transactional_db, organization):
    organization.accounts["666677778888"] = paging.roles("Own")
    results = everything()
    assert results[0] == flow.Refreshed("organization", "ok", count=4, written=4)
    assert present("666677778888") == ["Own", "rolegate-reader"]
    assert TaskRun.objects.get().detail["organization"] == "ok"
    organization.alter = lambda call, reply: Reply("no", 403) if call.operation.startswith("organizations.") else None
    results = everything()
    assert (results[0].outcome, results[0].account_id) == ("failed", "organization")
    assert {result.outcome for result in results[1:] if result.account_id in {*EVERYBODY, "666677778888"}} == {"ok"}


def test_the_task_does_it(transactional_db, double):
    tasks.refresh_catalogue()
    assert Role.objects.filter(present=True).count() == 9


def test_accounts_are_read_side_by_side_and_each_serially(transactional_db, double, publish):
    many = [f"{n:012}" for n in range(1, 13)]
    document(publish, many)
    double.accounts = dict.fromkeys(many, paging.roles(*"abc"))
    double.page, double.delay = 1, 0.01
    at_once, most, inside = 0, 0, {}
    lock = threading.Lock()
    real = double._right_answer

    def right(call):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            inside[call.account] = inside.get(call.account, 0) + 1
            assert call.account == "" or inside[call.account] == 1, "two calls of one account at once"
        time.sleep(0.01)
        try:
            return real(call)
        finally:
            with lock:
                at_once -= 1
                inside[call.account] -= 1

    double._right_answer = right
    results = everything(at_once=4)
    assert [result.outcome for result in results] == ["ok"] * 12
    assert 2 <= most <= 4


def document(publish, accounts):
    """A mapping document with these accounts alone."""
    head = cast.DOCUMENT.split("accounts:\n")[0]
    rows = "".join(f'  - {{id: "{one}", name: "a{one}", federation: oidc}}\n' for one in accounts)
    publish(f"{head}accounts:\n{rows}")


def test_the_account_that_was_tried_longest_ago_comes_first(double, now):
    for hours, tried in ((3, cast.PROD), (1, cast.STAGING)):
        sources.attempted(flow.source_of(tried), now=now - hours * HOUR)
    assert [one.id for one in flow.accounts_in_order()] == [cast.DEV, cast.PROD, cast.STAGING]


def test_of_two_runs_at_once_one_reads(transactional_db, double):
    waits, go_on = threading.Event(), threading.Event()

    def alter(call, reply):
        waits.set()
        go_on.wait(90)

    double.alter = alter
    first = []

    def run():
        try:
            first.append(everything())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert waits.wait(90)
    assert everything() is None
    go_on.set()
    thread.join()
    assert {result.outcome for result in first[0]} == {"ok"}
    assert double.asked("AssumeRoleWithWebIdentity") == 3
    assert sorted(TaskRun.objects.values_list("outcome", flat=True)) == ["ok", "skipped"]


class Enough(Exception):
    pass


def test_a_run_that_is_ended_begins_nothing_more(transactional_db, double, publish):
    """The time limit, an operator's Ctrl-C: its threads must not go on reading for an hour."""
    many = [f"{n:012}" for n in range(1, 51)]
    document(publish, many)
    double.accounts = dict.fromkeys(many, paging.roles("a"))
    double.delay = 0.005

    def say(result):
        raise Enough

    with pytest.raises(Enough):
        everything(at_once=4, say=say)
    asked = len(double.calls)
    assert asked < 60
    time.sleep(0.2)
    assert len(double.calls) == asked
    assert (TaskRun.objects.get().outcome, TaskRun.objects.get().error_code) == ("failed", "Enough")
    assert len(everything()) == 50  # every lease was given back


def test_a_run_whose_lease_was_taken_over_ends(transactional_db, double, publish, monkeypatch):
    many = [f"{n:012}" for n in range(1, 101)]
    document(publish, many)
    double.accounts = dict.fromkeys(many, paging.roles("a"))
    double.delay = 0.005
    monkeypatch.setattr(leases.Heartbeat, "_every", 0.0)

    def say(result):
        Lease.objects.filter(pk="task:refresh_catalogue").update(until=timezone.now() - timedelta(seconds=1))
        leases.take("task:refresh_catalogue", timedelta(minutes=1))

    with pytest.raises(leases.LeaseLost):
        everything(at_once=4, say=say)
    assert double.asked("AssumeRoleWithWebIdentity") < 40
    assert TaskRun.objects.get().outcome == "running"  # whoever has the lease calls it lost


# --- Killed ---------------------------------------------------------------------------------------------


def environment(double):
    """What a worker of its own sees of this test: its database, its keys, the double for AWS."""
    database = connection.settings_dict
    if connection.vendor == "postgresql":
        url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    else:
        url = f"sqlite:///{database['NAME']}"
    return {
        "PATH": "/usr/bin:/bin",
        "DJANGO_SETTINGS_MODULE": "config.settings.development",
        "ROLEGATE_URL": django_settings.ROLEGATE_URL,
        "ROLEGATE_SECRET_KEY": django_settings.SECRET_KEY,
        "DATABASE_URL": url,
        "TEST_OIDC_SECRET": "public",
        "NO_PROXY": "127.0.0.1",
        **{f"AWS_ENDPOINT_URL_{service}": double.url for service in ("STS", "IAM", "ORGANIZATIONS")},
    }


def test_a_worker_that_is_killed_leaves_nothing_half_done_and_the_next_goes_on(transactional_db, double, publish):
    """A real process, killed with -9 between two pages of several accounts."""
    many = [f"{n:012}" for n in range(1, 25)]  # four before it, sixteen under way, four that it does not come to
    document(publish, many)
    roles = paging.roles(*(f"r{n}" for n in range(9)))
    double.accounts = dict.fromkeys(many, roles)
    double.page = 2
    stuck, go_on = threading.Semaphore(0), threading.Event()

    def alter(call, reply):
        if call.operation == "GetAccountAuthorizationDetails" and call.page == 3 and int(call.account) > 4:
            stuck.release()
            go_on.wait(120)

    double.alter = alter
    process = subprocess.Popen(
        [sys.executable, "manage.py", "refresh", "catalogue"], cwd=ROOT, env=environment(double), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert flow.ACCOUNTS_AT_ONCE == 16
        for _ in range(flow.ACCOUNTS_AT_ONCE):
            assert stuck.acquire(timeout=90), process.communicate(timeout=5)[0].decode()[-2000:]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
    go_on.set()
    double.alter = None

    counts = {one: Role.objects.filter(account_id=one).count() for one in many}
    done = {one for one in many if counts[one]}
    assert done == set(many[:4])
    assert {counts[one] for one in done} == {10}
    assert TaskRun.objects.get().outcome == "running"

    assert everything() is None  # for a minute and a half nobody can tell that it is dead
    Lease.objects.update(until=timezone.now() - timedelta(seconds=1))
    double.calls.clear()
    results = everything(at_once=1)  # side by side, threads overtake each other, and the order is not to be seen
    assert {result.outcome for result in results} == {"ok"}
    assert {one: Role.objects.filter(account_id=one, present=True).count() for one in many} == dict.fromkeys(many, 10)
    assert sum(result.written for result in results) == 200
    order = [
        str(call.fields["RoleArn"]).split(":")[4] for call, _ in double.calls if call.operation.startswith("Assume")
    ]
    # Those that it had not come to are begun first; in the order of ids they would be the last four.
    assert order[:4] == many[20:]
    assert sorted(order) == many
    assert sorted(TaskRun.objects.values_list("outcome", flat=True)) == ["lost", "ok", "skipped"]
    assert not HeldAnswer.objects.exists()
