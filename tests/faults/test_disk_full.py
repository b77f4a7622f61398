"""The disk under an SQLite file is full (SQLITE_FULL): nothing leaves unrecorded, nothing is half applied, and access can be ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from demo.cast import CAST
from demo.idp.server import CorporateIdp
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, ROOT, Api, Stage, Visitor, mapping_document

ENOUGH = 400  # credentials whose events no page has room for
ROLES = (READ_ONLY_SAML, READ_ONLY_OIDC)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("full")
    stage = Stage(
        folder,
        {
            "DATABASE_URL": f"sqlite:///{folder / 'gateway.sqlite3'}",
            "PYTHONPATH": str(ROOT),
            "ROLEGATE_RATE_FACTOR": "1000",
        },
    )
    idp = CorporateIdp(0, [f"{stage.gateway.url}/saml/corp/metadata"])
    try:
        idp.start()
        stage.start()
        stage.connect({
            "slug": "corp", "name": "Example Corp", "saml": {"metadata_url": idp.metadata_url},
            "claims": {"subject": "NameID", "email": "mail", "name": "displayName", "groups": "memberOf"},
        })  # fmt: skip
        yield stage
    finally:
        stage.stop()
        idp.stop()


def sign_in(stage: Stage) -> Visitor:
    visitor = Visitor()
    page = visitor.sign_in(stage.gateway, "corp", user="alice", password=CAST["alice"].password)
    assert page.status == 200, page.text[:500]
    return visitor


def value(stage: Stage, sql: str) -> int:
    with closing(sqlite3.connect(stage.folder / "gateway.sqlite3", timeout=20)) as connection:
        return int(connection.execute(sql).fetchone()[0])


def restarted(stage: Stage, settings: str, **more: str) -> None:
    stage.gateway.stop()
    stage.gateway.environment |= {"DJANGO_SETTINGS_MODULE": settings, **more}
    stage.gateway.serve()


def check_that_nothing_left_unrecorded(stage: Stage, handed_out: set[str]) -> None:
    events = [event["data"] for event in stage.gateway.audit() if event["outcome"] == "ok"]
    assert handed_out <= {event.get("access_key_id") for event in events}
    redeemed = [entry for entry in stage.aws.trail if "accessKeyId" in entry]
    assert len(redeemed) >= len(handed_out)
    for entry in redeemed:
        known = {event.get("assertion_id") for event in events} | {event.get("token_id") for event in events}
        assert {entry.get("sAMLAssertionID"), entry.get("jti")} & known - {None}


def test_what_needs_room_is_refused_whole_and_what_ends_access_is_not(stage: Stage) -> None:
    gateway = stage.gateway
    alice = sign_in(stage)
    api = Api(gateway, alice.pair(gateway))
    handed_out = {api.credentials(role)["AccessKeyId"] for role in ROLES}
    before = value(stage, "SELECT max(number) FROM federation_mappingrevision")
    restarted(stage, "tests.faults.full", ROLEGATE_TEST_PAGES=str(value(stage, "PRAGMA page_count")))

    refused = []
    for number in range(ENOUGH):
        answer = api.post("/credentials", {"role_arn": ROLES[number % 2]})
        if answer.status_code == 200:
            handed_out.add(answer.json()["AccessKeyId"])
            continue
        refused.append(answer)
        if len(refused) == 6:
            break
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable"), answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert "SecretAccessKey" not in answer.text
    assert len(refused) == 6
    assert "database or disk is full" in gateway.log
    check_that_nothing_left_unrecorded(stage, handed_out)

    document = mapping_document(list(stage._providers.values()))
    document["mapping"] += [
        {"name": f"more-{number}", "when": {"groups": [f"g{number}"]}, "allow": {"roles": ["R"], "accounts": {"names": ["*"]}}}
        for number in range(200)
    ]  # fmt: skip
    with pytest.raises(RuntimeError) as caught:
        gateway.apply(document)
    assert "The database cannot be used: database or disk is full." in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert value(stage, "SELECT max(number) FROM federation_mappingrevision") == before
    assert value(stage, "SELECT count(*) FROM federation_mappingrevision") == before

    assert alice.get(f"{gateway.url}/").status == 200  # looking needs no room
    assert "1 portal session(s) ended" in gateway.manage("revoke", CAST["alice"].email, "--why", "left")
    assert alice.get(f"{gateway.url}/").url.startswith(f"{gateway.url}/signin/")
    restarted(stage, "config.settings.development")  # somebody has made room
    assert api.get("/me").json()["code"] == "invalid_token"
    assert "intact" in gateway.manage("audit", "verify")
    check_that_nothing_left_unrecorded(stage, handed_out)
    gateway.apply(document)
    assert value(stage, "SELECT max(number) FROM federation_mappingrevision") == before + 1
    Api(gateway, sign_in(stage).pair(gateway)).credentials(READ_ONLY_SAML)
