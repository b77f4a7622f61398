"""Attack: present at one door what was made for another. Tokens toward AWS, the API's and the provider's are told apart."""

from __future__ import annotations

from datetime import UTC, datetime

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from django.test import Client

from federation.flows import minting
from federation.flows.access import decide
from federation.models import AuditEvent
from tests import cast, oidc_kit
from tests.api.problems import code_of
from tests.flows.conftest import aws, issuer_host, local_aws
from tests.oauth.pairing import paired

__all__ = ["aws", "issuer_host", "local_aws"]

ROLE = cast.role(cast.STAGING, "Developer")  # an account that federates by OpenID Connect


@pytest.fixture
def now():
    return datetime.now(UTC)


@pytest.fixture
def alice(aws, sign_in_as, now):
    return sign_in_as(cast.alice(now=now), at=now)


def minted(alice, origin, now):
    """A token of the gateway's for this very role, as a call to STS gets it."""
    access = decide(alice.pk, ROLE, now=now)
    session = minting.plan_session(access, asked_policy=None)
    return minting.mint_web_identity(access, session, channel="api", origin=origin, now=now).token


def at_sts(aws, token):
    """What STS says to it: "" where it gives credentials, else (its code, why this STS refused)."""
    client = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=aws.url, config=Config(signature_version=UNSIGNED)
    )
    try:
        client.assume_role_with_web_identity(RoleArn=ROLE, RoleSessionName="mallory", WebIdentityToken=token)
    except ClientError as error:
        return error.response["Error"]["Code"], aws.trail[-1]["reason"]
    return ""


def test_the_gateways_own_token_is_taken_at_sts_and_nowhere_else(aws, alice, origin, now):
    token = minted(alice, origin, now)
    answer = Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert code_of(answer, 401) == "invalid_token"
    assert AuditEvent.objects.latest("seq").reason == "token_malformed"
    assert at_sts(aws, token) == ""


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_command_lines_token_is_taken_at_the_gateway_and_not_at_sts(aws, alice, now, kind):
    tokens = paired(alice, now=now)
    assert at_sts(aws, getattr(tokens, kind)) == ("InvalidIdentityToken", "not_a_jwt")
    answer = Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {tokens.access_token}")
    assert answer.status_code == 200


def test_the_companys_own_id_token_is_taken_at_neither(aws, alice, now):
    """It was made for the gateway to read: whoever gets hold of one has no way around the mapping with it."""
    with oidc_kit.running() as provider:
        provider.now = now
        token = provider.mint(provider.token_claims(nonce="n"))
        assert at_sts(aws, token) == ("InvalidIdentityToken", "provider_unknown")
    answer = Client().get("/api/v1/me", HTTP_AUTHORIZATION=f"Bearer {token}")
    assert code_of(answer, 401) == "invalid_token"


def test_a_token_of_another_account_s_audience_is_refused(aws, alice, origin, now, monkeypatch):
    monkeypatch.setattr(minting, "TOKEN_AUDIENCE", "https://gate.example.com/api")
    assert at_sts(aws, minted(alice, origin, now)) == ("InvalidIdentityToken", "audience")
