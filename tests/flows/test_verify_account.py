"""Verifying an account end to end against the strict local AWS: each way in which it can be wrong is named at its step."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command
from moto.iam.models import iam_backends

from federation.flows import background, rotate_keys, verify_account
from federation.flows.verify_account import STEPS, State
from federation.mapping.rules import Account
from federation.models import AuditEvent, TaskRun
from tests import cast
from tests.flows.conftest import trust

READER = "rolegate-reader"


@pytest.fixture
def ready(aws, issuer_host, monkeypatch):
    """The cast's accounts as their owners have onboarded them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", aws.url)
    bare = issuer_host.split("://", 1)[1]
    for account in (cast.PROD, cast.STAGING, cast.DEV):
        provider = aws.register_oidc_provider(account, issuer_host, ["sts.amazonaws.com"])
        condition = {f"{bare}:aud": "sts.amazonaws.com", f"{bare}:sub": "gateway:reader"}
        aws.create_role(account, READER, trust(provider, "sts:AssumeRoleWithWebIdentity", condition))
    # moto's accounts are one for all tests of a process: what others have made in these is put aside for this test.
    aside = {}
    for account in (cast.PROD, cast.STAGING, cast.DEV):
        roles = iam_backends[account]["aws"].roles
        for key in [key for key, role in roles.items() if role.arn not in aws.registry.roles]:
            aside[account, key] = roles.pop(key)
    yield aws
    for (account, key), role in aside.items():
        iam_backends[account]["aws"].roles[key] = role


def look(account_id, origin, now):
    steps = list(verify_account.verify(verify_account.find(account_id), origin=origin, now=now))
    assert [step.name for step in steps] == list(STEPS)
    return {step.name: step for step in steps}


@pytest.fixture
def real_now():
    from django.utils import timezone

    return timezone.now()


def states(steps):
    return {name: step.state for name, step in steps.items()}


@pytest.mark.parametrize("account_id", [cast.PROD, cast.STAGING])
def test_an_account_in_order_passes_every_step_by_either_way(ready, origin, real_now, account_id):
    steps = look(account_id, origin, real_now)
    wanted = dict.fromkeys(STEPS, State.OK)
    if account_id == cast.STAGING:
        wanted["saml_provider"] = State.SKIPPED
    assert states(steps) == wanted, [s.says for s in steps.values()]
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome, event.data["account"]) == ("account.verified", "ok", account_id)


def test_the_role_is_assumed_in_nobodys_name_and_may_do_nothing(ready, origin, real_now):
    look(cast.PROD, origin, real_now)
    minted = AuditEvent.objects.filter(kind="mint.assertion").get()
    assert minted.actor == "person:/gateway-verify"
    assert (minted.data["channel"], minted.data["source_identity"]) == ("verify", "rolegate-verify")
    session = [s for s in ready.sts.sessions.values() if s.role_arn.endswith(("/ReadOnly", "/Developer"))][-1]
    assert session.session_name == "rolegate-verify"
    assert session.policy
    assert json.loads(verify_account.DENY_ALL.inline)["Statement"] == [
        {"Effect": "Deny", "Action": "*", "Resource": "*"}
    ]


def test_without_the_reader_role_the_rest_is_not_tried(ready, origin, real_now):
    ready.delete_role(cast.role(cast.PROD, READER))
    steps = look(cast.PROD, origin, real_now)
    assert steps["reader"].state is State.PROBLEM
    assert "rolegate-reader could not be assumed. AWS said AccessDenied." in steps["reader"].says
    assert steps["reader"].do.startswith("Apply the onboarding template in this account, to its end:")
    assert {steps[name].state for name in STEPS[2:]} == {State.SKIPPED}
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome, event.reason) == ("account.verified", "failed", "reader")


def test_a_saml_provider_that_is_not_there_is_named(ready, origin, real_now):
    del ready.registry.saml[f"arn:aws:iam::{cast.PROD}:saml-provider/rolegate"]
    step = look(cast.PROD, origin, real_now)["saml_provider"]
    assert step.state is State.PROBLEM
    assert "AWS said NoSuchEntity" in step.says


def test_metadata_of_another_issuer_or_of_old_keys_are_named(ready, origin, real_now):
    arn = f"arn:aws:iam::{cast.PROD}:saml-provider/rolegate"
    whole = ready.registry.saml[arn].document
    from dataclasses import replace

    ready.registry.saml[arn] = replace(
        ready.registry.saml[arn], document=whole.replace("entityID=", 'entityID="https://else.example" x=')
    )
    assert look(cast.PROD, origin, real_now)["saml_provider"].code == "issuer_wrong"
    ready.registry.saml[arn] = replace(ready.registry.saml[arn], document=whole.replace("MII", "MIJ"))
    assert look(cast.PROD, origin, real_now)["saml_provider"].code == "keys_old"


def test_a_key_that_the_account_lacks_is_a_warning_before_it_locks_people_out(ready, origin, real_now):
    rotate_keys.rotate("saml", "RS256", actor="test", origin=origin, now=real_now)
    step = look(cast.PROD, origin, real_now)["saml_provider"]
    assert (step.state, step.code) == (State.WARNING, "keys_missing")


def test_an_oidc_provider_without_our_audience_is_named(ready, origin, real_now, issuer_host):
    from dataclasses import replace

    arn = f"arn:aws:iam::{cast.DEV}:oidc-provider/{issuer_host.split('://', 1)[1]}"
    real = ready.registry.oidc[arn]

    class Lying(dict):
        def get(self, key, default=None):
            found = super().get(key, default)
            return replace(found, audiences=frozenset({"else"})) if key == arn else found

    ready.registry.oidc = Lying(ready.registry.oidc)
    steps = look(cast.DEV, origin, real_now)
    ready.registry.oidc = dict(ready.registry.oidc)
    ready.registry.oidc[arn] = real
    # The STS does not take the reader's token either: what a step cannot reach is not guessed at.
    assert steps["reader"].state is State.PROBLEM or steps["oidc_provider"].code == "audience_missing"


def test_a_reader_of_an_older_template_is_a_warning(ready, origin, real_now, monkeypatch):
    from federation.aws import registration
    from federation.aws.catalogue import CatalogueUnreadable

    def hidden(self, operation, parameters):
        raise CatalogueUnreadable(f"{operation}_refused", aws_code="AccessDenied")

    monkeypatch.setattr(
        registration.Reader,
        "ask",
        _only(registration.Reader.ask, hidden, {"get_saml_provider", "get_open_id_connect_provider"}),
    )
    steps = look(cast.PROD, origin, real_now)
    assert {steps[name].code for name in ("oidc_provider", "saml_provider")} == {"cannot_look"}
    assert steps["assume"].state is State.OK


def _only(real, double, operations):
    def ask(self, operation, parameters):
        return (double if operation in operations else real)(self, operation, parameters)

    return ask


def test_mapped_roles_that_do_not_trust_the_gateway_are_counted(ready, origin, real_now):
    nobody = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    ready.create_role(cast.PROD, "ReadOnly", nobody)
    step = look(cast.PROD, origin, real_now)["trust"]
    assert (step.state, step.code) == (State.WARNING, "some_do_not_trust")
    ready.create_role(cast.PROD, "Developer", nobody)
    steps = look(cast.PROD, origin, real_now)
    assert steps["trust"].code == "no_role_trusts"
    assert steps["assume"].state is State.SKIPPED


def test_an_account_without_a_mapped_role_has_nothing_to_assume(ready, origin, real_now):
    for name in ("ReadOnly", "Developer"):
        ready.delete_role(cast.role(cast.DEV, name))
    steps = look(cast.DEV, origin, real_now)
    assert steps["trust"].code == "nothing_mapped"
    assert steps["assume"].code == "nothing_mapped"


def test_what_sts_says_at_the_last_step_is_passed_on(ready, origin, real_now, monkeypatch):
    monkeypatch.setattr(verify_account, "mint_probe_assertion", _refused)
    step = look(cast.PROD, origin, real_now)["assume"]
    assert step.state is State.PROBLEM
    assert "No mapped role could be assumed" in step.says


def _refused(*_, **__):
    from federation.aws.sts import StsAccessDenied

    raise StsAccessDenied("refused", aws_code="AccessDenied")


def test_a_run_in_the_background_leaves_its_steps_behind(ready, real_now):
    assert len(verify_account.run(cast.PROD, now=real_now)) == len(STEPS)
    run = TaskRun.objects.get(task=f"verify_account:{cast.PROD}")
    assert (run.outcome, run.done, run.total) == ("ok", len(STEPS), len(STEPS))
    assert [step["name"] for step in run.detail["steps"]] == list(STEPS)


def test_asking_sends_the_account_and_nothing_else_after_its_event(publish, origin, now):
    publish()
    queue = background._celery().connection_for_read().SimpleQueue("celery")
    queue.clear()
    verify_account.ask(cast.PROD, actor="corp:carol", origin=origin, now=now)
    message = queue.get(timeout=30)
    assert message.headers["task"] == "federation.tasks.verify_account"
    assert message.payload[:2] == [[cast.PROD], {}]
    assert AuditEvent.objects.latest("seq").kind == "account.verification_asked"


def test_an_account_that_the_mapping_does_not_name_is_refused(publish, origin, now):
    publish()
    from federation.errors import NotFound

    with pytest.raises(NotFound):
        verify_account.ask("999999999999", actor="x", origin=origin, now=now)


def test_an_account_described_wrongly_is_a_problem_and_no_crash(ready, origin, real_now):
    account = Account(id=cast.PROD, name="x", region="nowhere-1")
    steps = list(verify_account.verify(account, origin=origin, now=real_now))
    assert steps[1].state is State.PROBLEM


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_command_prints_each_step_and_fails_with_one(ready, capsys, form):
    options = ["--json"] if form == "json" else []
    call_command("verify", "shop-prod", *options)
    said = capsys.readouterr().out
    assert len(said.splitlines()) == len(STEPS)
    ready.delete_role(cast.role(cast.PROD, READER))
    with pytest.raises(CommandError, match=r"1 step\(s\) failed"):
        call_command("verify", cast.PROD, *options)
