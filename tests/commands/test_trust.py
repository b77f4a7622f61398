"""`manage.py trust`: what keeps people out of the roles that the mapping gives, and the policy that would let them in."""

import json

import pytest
from django.core.management import CommandError

from federation.flows.check_trust import gateway_in
from federation.models import Role, current
from tests import cast

READ = cast.role(cast.PROD, "ReadOnly")


@pytest.fixture
def roles(publish, now):
    """Makes the catalogue's row of a role in the production account, with this trust policy; the reader is there too."""
    publish()
    common = {"account_id": cast.PROD, "seen_at": now, "max_session_duration": 3600}
    Role.objects.create(arn=cast.role(cast.PROD, "rolegate-reader"), name="rolegate-reader", **common)

    def make(policy, name="ReadOnly"):
        Role.objects.create(arn=cast.role(cast.PROD, name), name=name, trust_policy=json.dumps(policy), **common)

    return make


@pytest.fixture
def right(roles, settings):
    """The trust policy that `manage.py onboard` would write for the production account."""
    settings.ROLEGATE_ISSUER_URL = "https://gate.example.com/issuer"
    statement = gateway_in(current.mapping().compiled.accounts[cast.PROD]).way.statement
    return {"Version": "2012-10-17", "Statement": [statement() if callable(statement) else statement]}


def findings(run, *words):
    """The findings as JSON, whatever the exit status."""
    from io import StringIO

    from django.core.management import call_command

    out = StringIO()
    try:
        call_command("trust", *words, "--json", stdout=out)
    except CommandError:
        pass
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_role_that_trusts_the_gateway_has_no_finding(run, roles, right):
    roles(right)
    assert [f for f in findings(run, "shop-prod") if f["role_arn"] == READ] == []


def test_a_role_that_does_not_keeps_people_out_and_is_corrected(run, roles, right):
    right["Statement"][0]["Action"] = ["sts:AssumeRoleWithSAML", "sts:TagSession"]
    roles(right)
    found = [f for f in findings(run, "shop-prod") if f["role_arn"] == READ]
    assert {f["code"] for f in found} == {"set_source_identity_missing"}
    assert {f["rule"] for f in found} == {"engineers-read-production"}
    with pytest.raises(CommandError, match=r"cannot be assumed"):
        run("trust", "shop-prod")
    corrected = json.loads(run("trust", "--correct", READ))
    assert "sts:SetSourceIdentity" in corrected["Statement"][0]["Action"]
    Role.objects.filter(arn=READ).update(trust_policy=json.dumps(corrected))
    assert [f for f in findings(run, "shop-prod") if f["role_arn"] == READ] == []


def test_a_name_in_the_mapping_that_is_no_role_is_a_finding(run, roles, right):
    found = findings(run, cast.PROD)
    missing = {(f["rule"], f["role_arn"]) for f in found if f["code"] == "role_missing"}
    assert ("engineers-read-production", READ) in missing
    assert all(rule != "no-contractors-in-production" for rule, _ in missing)


def test_explain_says_what_keeps_people_out(run, roles, right, sign_in_as):
    from django.utils import timezone

    at = timezone.now()
    sign_in_as(cast.alice(now=at), at=at)
    roles({"Version": "2012-10-17", "Statement": []})
    assert "Trust: " in run("explain", "alice", READ)
    assert json.loads(run("explain", "alice", READ, "--json"))["trust"] != []
    Role.objects.filter(arn=READ).update(trust_policy=json.dumps(right))
    assert "Trust: the role's trust policy lets people in through the gateway." in run("explain", "alice", READ)
    assert json.loads(run("explain", "alice", READ, "--json"))["trust"] == []


@pytest.mark.parametrize(
    ("words", "said"), [(("nowhere",), "No account"), (("--correct", READ), "does not have this role")]
)
def test_what_is_not_there_is_said(run, roles, words, said):
    with pytest.raises(CommandError, match=said):
        run("trust", *words)
