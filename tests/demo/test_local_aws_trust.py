"""The local STS reads trust policies as IAM does where it matters: denials to everybody, NotAction, one statement without a list."""

from __future__ import annotations

import pytest

from demo.aws import registry
from tests.demo import kit
from tests.demo.kit import ACCOUNT, PROVIDER, Draft, reason, saml_call

ALL = ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"]
GOOD = kit.trust()["Statement"][0]
DENIED = ("AccessDenied", 403, "trust_mismatch")


def deny(**more):
    return {"Effect": "Deny", "Principal": "*", "Action": "sts:*", **more}


def create(aws, *statements):
    """The role with this trust; moto, which would refuse to change to some of these, is not asked."""
    given = statements[0] if len(statements) == 1 else list(statements)
    made = registry.role(ACCOUNT, "ReadOnly", {"Version": "2012-10-17", "Statement": given}, 3600, "aws")
    aws.registry.roles[made.arn] = made


def test_one_statement_needs_no_list(aws):
    create(aws, GOOD)
    aws.sts.call(saml_call(Draft().post()))


@pytest.mark.parametrize(
    "statement",
    [
        deny(),
        deny(Principal={"AWS": "*"}),
        deny(Principal={"Federated": PROVIDER}),
        {"Effect": "Deny", "NotPrincipal": {"AWS": "444455556666"}, "Action": "*"},
        {"Effect": "Deny", "Principal": "*", "NotAction": "sts:AssumeRole"},
    ],
)
def test_a_denial_to_everybody_hits_the_gateway(aws, statement):
    create(aws, GOOD, statement)
    assert reason(aws, saml_call(Draft().post())) == DENIED


@pytest.mark.parametrize(
    "statement",
    [
        deny(Principal={"AWS": "444455556666"}),
        {"Effect": "Deny", "NotPrincipal": {"Federated": PROVIDER}, "Action": "*"},
        {"Effect": "Deny", "Principal": "*", "NotAction": ALL},
    ],
)
def test_a_denial_that_spares_it_does_not(aws, statement):
    create(aws, GOOD, statement)
    aws.sts.call(saml_call(Draft().post()))


def test_a_permission_must_name_the_provider(aws):
    create(aws, {**GOOD, "Principal": "*"})
    assert reason(aws, saml_call(Draft().post())) == DENIED
    rest = {key: value for key, value in GOOD.items() if key not in ("Principal", "Action")}
    create(aws, {**rest, "NotPrincipal": {"AWS": "444455556666"}, "Action": ALL})
    assert reason(aws, saml_call(Draft().post())) == DENIED


def test_allow_with_not_action_allows_the_rest(aws):
    rest = {key: value for key, value in GOOD.items() if key != "Action"}
    create(aws, {**rest, "NotAction": "sts:AssumeRole"})
    aws.sts.call(saml_call(Draft().post()))
