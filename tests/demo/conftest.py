"""One local AWS for the tests of the demo; each test gets a clean account and a clock at START."""

from __future__ import annotations

import pytest

from demo.aws.registry import Registry
from demo.aws.server import LocalAws
from tests.demo import kit


@pytest.fixture(autouse=True)
def _forget_what_is_in_force():
    """Nothing of the gateway is in these tests: what the suite clears elsewhere is not even imported here."""


@pytest.fixture(scope="session")
def _running():
    clock = kit.Clock()
    aws = LocalAws(clock=clock).start()
    yield aws, clock
    aws.stop()


@pytest.fixture
def clock(_running):
    return _running[1]


@pytest.fixture
def aws(_running):
    """The local AWS with one SAML provider and the role ReadOnly."""
    aws, clock = _running
    clock.now = kit.START
    aws.registry = aws.sts.registry = Registry()
    aws.trail.clear()
    aws.sts._redeemed.clear()
    aws.sts.sessions.clear()
    aws.register_saml_provider(kit.ACCOUNT, "rolegate", kit.metadata())
    aws.create_role(kit.ACCOUNT, "ReadOnly", kit.trust())
    return aws


@pytest.fixture
def issuer():
    issuer = kit.Issuer()
    yield issuer
    issuer.stop()
