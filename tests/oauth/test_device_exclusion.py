"""Roles that are kept out of the device flow (RFC 8628 section 5.4: a typed code can be a stranger's)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.errors import AccessDenied
from federation.flows.device_exclusion import PairingTooWeak, refuse_by_pairing
from federation.mapping.rules import Account
from federation.models import TokenFamily
from tests.oauth.pairing import paired, person

ARN = "arn:aws:iam::111122223333:role/team/Administrator"
ACCOUNT = Account(id="111122223333", name="shop-prod", federation="saml", tags={"environment": "production"})


@pytest.mark.parametrize("pattern", ["production/*", "*/Administrator", "shop-prod/Admin*", "111122223333/team/*"])
def test_a_match_refuses_typed_codes_and_unknown_ways(settings, pattern):
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = ("sandbox/*", pattern)
    for way in ("device_code", ""):
        with pytest.raises(PairingTooWeak) as refused:
            refuse_by_pairing(ACCOUNT, ARN, way)
        assert refused.value.reason == "pairing_too_weak"
        assert isinstance(refused.value, AccessDenied)
    refuse_by_pairing(ACCOUNT, ARN, "authorization_code")
    refuse_by_pairing(ACCOUNT, ARN, None)


@pytest.mark.parametrize("environment", ["Production", "production ", "PROD", "live"])
def test_an_account_counts_as_production_here_as_everywhere(settings, environment):
    """Attack: what the rest of the gateway takes for production slips past by the letter of its tag."""
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = ("production/*",)
    with pytest.raises(PairingTooWeak):
        refuse_by_pairing(replace(ACCOUNT, tags={"environment": environment}), ARN, "device_code")


@pytest.mark.parametrize("pattern", ["*/administrator", "SHOP-PROD/*", "Production/TEAM/*"])
def test_case_tells_nothing_apart(settings, pattern):
    """IAM does not tell role names apart by case, and neither does a deny of the mapping."""
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = (pattern,)
    with pytest.raises(PairingTooWeak):
        refuse_by_pairing(ACCOUNT, ARN, "device_code")


@pytest.mark.parametrize("patterns", [(), ("staging/*",), ("production/ReadOnly",), ("*/admin",)])
def test_everything_else_goes_on(settings, patterns):
    settings.ROLEGATE_DEVICE_EXCLUDED_ROLES = patterns
    refuse_by_pairing(ACCOUNT, ARN, "device_code")


@pytest.mark.django_db
def test_the_family_remembers_how_it_was_paired():
    tokens = paired(person())
    assert TokenFamily.objects.get(pk=tokens.family_id).grant == "authorization_code"
    assert tokens.refresh_expires_in == 12 * 3600
