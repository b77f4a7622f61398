"""STS throttles, a region fails, all of them fail: ridden out, gone round, or said clearly. The retries themselves: tests/aws/test_sts.py."""

from __future__ import annotations

import time
from typing import Any

import pytest

from federation.aws.partitions import partition
from tests.faults.conftest import Town
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Api, caller_identity


@pytest.fixture
def api(town: Town) -> Api:
    return Api(town.stage.gateway, town.sign_in().pair(town.stage.gateway))


def calls_since(town: Town, before: int) -> list[dict[str, Any]]:
    return list(town.stage.aws.trail)[before:]


def test_throttling_is_ridden_out_with_one_document(town: Town, api: Api) -> None:
    before, minted = len(town.stage.aws.trail), town.count("mint.assertion")
    town.stage.aws.inject("Throttling", times=2)
    api.credentials(READ_ONLY_SAML)
    assert [call.get("errorCode", "") for call in calls_since(town, before)] == ["Throttling", "Throttling", ""]
    assert town.count("mint.assertion") == minted + 1


def test_a_region_that_fails_is_gone_round(town: Town, api: Api) -> None:
    before, minted = len(town.stage.aws.trail), town.count("mint.token")
    town.stage.aws.inject("InternalFailure")
    api.credentials(READ_ONLY_OIDC)
    assert [call.get("errorCode", "") for call in calls_since(town, before)] == ["InternalFailure", ""]
    assert town.count("mint.token") == minted + 2  # each document is for one attempt at one region


def test_a_trust_policy_that_knows_one_region_alone_is_named_as_the_cause(town: Town, api: Api) -> None:
    town.stage.aws.inject("InternalFailure")
    answer = api.post("/credentials", {"role_arn": READ_ONLY_SAML})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["aws_code"]) == (502, "sts_access_denied", "AccessDenied")
    assert "SAML:aud" in problem["detail"]


def test_when_every_region_fails_it_says_so_soon_and_what_was_handed_out_works_on(town: Town, api: Api) -> None:
    had = api.credentials(READ_ONLY_SAML)
    regions = partition("aws").regions_fail_over("us-east-1")
    assert len(regions) >= 2
    town.stage.aws.inject("ServiceUnavailable", times=len(regions))
    begun = time.monotonic()
    answer = api.post("/credentials", {"role_arn": READ_ONLY_SAML})
    assert time.monotonic() - begun < 5
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["aws_code"]) == (503, "sts_unreachable", "ServiceUnavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    (event,) = [e for e in town.stage.gateway.audit("credentials") if e["request_id"] == problem["request_id"]]
    assert (event["outcome"], event["reason"]) == ("failed", "sts_unreachable")
    assert event["data"]["aws_code"] == "ServiceUnavailable"

    assert ":assumed-role/ReadOnly/" in caller_identity(town.stage.aws, had)
    api.credentials(READ_ONLY_SAML)
