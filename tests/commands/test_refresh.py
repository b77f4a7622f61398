"""`manage.py refresh catalogue`: reads AWS now, says what became of each account, and fails where one is not in order."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.management import CommandError

from federation.flows import leases
from federation.models import Role, TaskRun
from tests import cast
from tests.aws import paging
from tests.aws.paging import Member, Reply

pytestmark = pytest.mark.usefixtures("transactional_db")  # its threads have connections of their own


@pytest.fixture
def aws(gateway_keys, publish, monkeypatch):
    double = paging.Double(
        accounts={account: paging.roles("ReadOnly") for account in (cast.PROD, cast.STAGING, cast.DEV)}
    )
    with paging.serving(double):
        for service in ("STS", "IAM", "ORGANIZATIONS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", double.url)
        publish()
        yield double


def lines(said):
    return sorted(" ".join(line.split()) for line in said.splitlines())


def test_every_account_is_read_and_said(run, aws):
    said = run("refresh", "catalogue")
    assert lines(said) == sorted(
        [f"{account} ok 2 found, 2 written" for account in (cast.PROD, cast.STAGING, cast.DEV)]
        + ["3 read, 3 in order, 6 row(s) written."]
    )
    assert "3 read, 3 in order, 0 row(s) written." in run("refresh", "catalogue")
    assert TaskRun.objects.filter(outcome="ok").count() == 2


@pytest.mark.parametrize("wanted", [cast.DEV, "shop-dev"])
def test_one_account_by_id_or_name(run, aws, wanted):
    assert lines(run("refresh", "catalogue", wanted)) == [
        "1 read, 1 in order, 2 row(s) written.",
        f"{cast.DEV} ok 2 found, 2 written",
    ]
    assert set(Role.objects.values_list("account_id", flat=True)) == {cast.DEV}


def test_an_account_that_nobody_knows_is_a_sentence(run, aws):
    with pytest.raises(CommandError, match=r"No account shop-nowhere is in the mapping document or the organization\."):
        run("refresh", "catalogue", "shop-nowhere")
    assert aws.calls == []


def test_one_that_cannot_be_read_fails_the_command_and_is_named(run, aws, capsys):
    del aws.accounts[cast.DEV]
    with pytest.raises(CommandError, match=rf"1 keep the last good listing: {cast.DEV}\."):
        run("refresh", "catalogue")
    assert Role.objects.count() == 4


def test_one_that_is_held_fails_the_command(run, aws):
    aws.accounts[cast.DEV] = paging.roles(*"abcdefghij")
    run("refresh", "catalogue", cast.DEV)
    aws.accounts[cast.DEV] = paging.roles()
    with pytest.raises(CommandError, match="keep the last good listing"):
        run("refresh", "catalogue", cast.DEV)
    assert Role.objects.filter(present=True).count() == 11


def test_an_organization_that_cannot_be_read_fails_the_command_too(run, aws, settings):
    settings.ROLEGATE_ORGANIZATION_ROLE = "arn:aws:iam::999999999999:role/rolegate-reader"
    aws.members = [Member("999999999999", "management")]
    aws.accounts["999999999999"] = paging.roles()
    assert "organization  ok      1 found, 1 written" in run("refresh", "catalogue")
    aws.alter = lambda call, reply: Reply("no", 403) if call.operation.startswith("organizations.") else None
    with pytest.raises(CommandError, match=r"keep the last good listing: organization\."):
        run("refresh", "catalogue")


def test_a_second_one_at_the_same_time_says_so(run, aws):
    leases.take("task:refresh_catalogue", timedelta(minutes=1))
    with pytest.raises(CommandError, match="Another worker is reading the catalogue now"):
        run("refresh", "catalogue")
    leases.take(f"account:{cast.DEV}", timedelta(minutes=1))
    with pytest.raises(CommandError, match=cast.DEV):
        run("refresh", "catalogue", cast.DEV)
    assert aws.calls == []


def test_entitlements_are_worked_out_and_counted(run, publish, sign_in_as):
    publish()
    sign_in_as(cast.alice())
    assert run("refresh", "entitlements") == "everybody worked out, 4 row(s) added, 0 removed.\n"
    assert run("refresh", "entitlements") == "0 person(s) worked out, 0 row(s) added, 0 removed.\n"
    assert run("refresh", "entitlements", "--full") == "everybody worked out, 0 row(s) added, 0 removed.\n"


def test_entitlements_that_another_worker_is_at_fail_the_command(run, publish):
    publish()
    leases.take("task:refresh_entitlements", timedelta(minutes=1))
    with pytest.raises(CommandError, match="Another worker is working out the entitlements now"):
        run("refresh", "entitlements")


def test_what_the_roles_findings_are_is_a_sentence(run, publish):
    publish()
    said = run("refresh", "findings")
    assert re.fullmatch(
        r"\d+ account\(s\) examined, 0 finding\(s\) written or removed\. Look at them: manage\.py trust\n", said
    )
    assert run("refresh", "findings") == "No account or rule has changed since the roles were last examined.\n"
