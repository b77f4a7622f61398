"""The audit log cannot be written: nothing is handed out and nothing changed; signing out, revoking and health go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from demo.cast import CAST
from tests.faults.conftest import Town
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, Api, Visitor, mapping_document

FULL = """
CREATE FUNCTION test_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'could not extend file "base/16384/16999": No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER test_full BEFORE INSERT ON federation_auditevent FOR EACH ROW EXECUTE FUNCTION test_full()
"""
CLOSED = """
CREATE FUNCTION test_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'permission denied for table federation_auditevent' USING ERRCODE = '42501'; END $$;
CREATE TRIGGER test_full BEFORE INSERT ON federation_auditevent FOR EACH ROW EXECUTE FUNCTION test_full()
"""
BROKEN = """
CREATE FUNCTION test_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
CREATE TRIGGER test_full BEFORE INSERT ON federation_auditevent FOR EACH ROW EXECUTE FUNCTION test_full()
"""
WELL = "DROP TRIGGER test_full ON federation_auditevent; DROP FUNCTION test_full()"
GONE, FOUND = (
    "ALTER TABLE federation_auditevent RENAME TO federation_auditevent_lost",
    "ALTER TABLE federation_auditevent_lost RENAME TO federation_auditevent",
)


@dataclass(frozen=True)
class Fault:
    """How the storage fails, how it is mended, and what those who want something are told meanwhile."""

    does: str
    undoes: str
    status: int
    code: str


FAULTS = {
    "disk full": Fault(FULL, WELL, 503, "service_unavailable"),
    "table gone": Fault(GONE, FOUND, 503, "service_unavailable"),
    "closed to our role": Fault(CLOSED, WELL, 503, "service_unavailable"),
}


@contextlib.contextmanager
def failing(town: Town, fault: Fault) -> Iterator[None]:
    town.cluster.execute(fault.does)
    try:
        yield
    finally:
        town.cluster.execute(fault.undoes)


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


def test_nothing_is_handed_out_and_nothing_changes(town: Town, fault: Fault) -> None:
    gateway, aws = town.stage.gateway, town.stage.aws
    alice = town.sign_in()
    home = alice.get(f"{gateway.url}/")
    api = Api(gateway, alice.pair(gateway))
    sessions = "SELECT count(*) FROM federation_portalsession"
    published = "SELECT max(number) FROM federation_mappingrevision"
    signing = "SELECT string_agg(kid || state, ',' ORDER BY kid) FROM federation_signingkey"
    before = [town.cluster.value(sql) for sql in (sessions, published, signing)]
    calls = len(aws.trail)
    with failing(town, fault):
        for path, body in (
            ("/credentials", {"role_arn": READ_ONLY_SAML}),
            ("/credentials", {"role_arn": READ_ONLY_OIDC}),
            ("/console", {"role_arn": READ_ONLY_SAML}),
        ):
            answer = api.post(path, body)
            assert (answer.status_code, answer.json()["code"]) == (fault.status, fault.code), answer.text
            assert ("Retry-After" in answer.headers) is (fault.status == 503)

        console = home.form(action="/roles/111122223333/ReadOnly/console")
        for mode in ({}, {"mode": "form"}):
            page = alice.submit(home, console, **mode)
            assert (page.status, page.problem[0]) == (fault.status, fault.code)
            assert "SAMLResponse" not in str(page.soup)

        page = town.try_to_sign_in(Visitor(), "bob")
        assert (page.status, page.problem[0]) == (fault.status, fault.code)

        document = mapping_document([])
        document["mapping"] = []
        with pytest.raises(RuntimeError, match=r"No space left|does not exist|permission denied"):
            gateway.apply(document)
        with pytest.raises(RuntimeError, match=r"No space left|does not exist|permission denied"):
            gateway.manage("keys", "rotate", "saml", "--at-once")

        assert alice.get(f"{gateway.url}/").status == 200  # looking needs no event
        assert len(aws.trail) == calls  # not even a document was minted for AWS
    assert [town.cluster.value(sql) for sql in (sessions, published, signing)] == before
    api.credentials(READ_ONLY_SAML)


def test_signing_out_revoking_and_health_go_on(town: Town, fault: Fault) -> None:
    gateway, cluster = town.stage.gateway, town.cluster
    alice, dave, grace = town.sign_in(), town.sign_in("dave"), town.sign_in("grace")
    hers = alice.pair(gateway)
    tokens = dave.pair_for_tokens(gateway)
    spend = {"grant_type": "refresh_token", "client_id": "rolegate-cli", "refresh_token": tokens["refresh_token"]}
    assert requests.post(f"{gateway.url}/oauth/token", data=spend, timeout=30).status_code == 200
    living = "SELECT count(*) FROM federation_tokenfamily f JOIN federation_person p ON p.id = f.person_id WHERE f.revoked_at IS NULL AND p.name LIKE '{}%'"
    assert cluster.value(living.format("Alice")) and cluster.value(living.format("Dave"))
    with failing(town, fault):
        assert requests.get(f"{gateway.url}/healthz", timeout=30).status_code == 200
        assert requests.get(f"{gateway.url}/readyz", timeout=30).status_code == 200

        page = alice.get(f"{gateway.url}/signout/")
        done = alice.submit(page, page.form(action="/signout/"))
        assert done.url.startswith(f"{gateway.url}/signout/done"), done.text[:500]  # by way of the identity provider
        assert alice.get(f"{gateway.url}/").url.startswith(f"{gateway.url}/signin/")

        given_up = {"token": hers, "client_id": "rolegate-cli"}
        assert requests.post(f"{gateway.url}/oauth/revoke", data=given_up, timeout=30).status_code == 200

        # A refresh token comes a second time: somebody has a copy. The family dies, recorded or not.
        requests.post(f"{gateway.url}/oauth/token", data=spend, timeout=30)
        assert cluster.value(living.format("Dave")) == 0

        assert "1 portal session(s) ended" in gateway.manage("revoke", CAST["grace"].email, "--why", "left")
        assert grace.get(f"{gateway.url}/").url.startswith(f"{gateway.url}/signin/")
    assert Api(gateway, hers).get("/me").json()["code"] == "invalid_token"
    assert gateway.log.count('"event": "audit_event_lost"') >= 3
    assert "intact" in gateway.manage("audit", "verify")


def test_what_did_not_happen_is_not_said_to_have(town: Town) -> None:
    """The connection breaks at the event: not the event alone is lost then, but the whole transaction."""
    gateway = town.stage.gateway
    alice = town.sign_in()
    page = alice.get(f"{gateway.url}/signout/")
    with failing(town, Fault(BROKEN, WELL, 503, "service_unavailable")):
        with pytest.raises(RuntimeError, match="terminating connection"):
            gateway.manage("revoke", CAST["alice"].email)
        answer = alice.submit(page, page.form(action="/signout/"), follow=False)
        assert (answer.status, answer.problem[0]) == (503, "service_unavailable")
        refused = Api(gateway, "rlg_at_" + "x" * 43).get("/me")
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
    assert alice.get(f"{gateway.url}/").url == f"{gateway.url}/"  # still signed in, as she was told
    assert "portal session(s) ended" in gateway.manage("revoke", CAST["alice"].email)
    assert alice.get(f"{gateway.url}/").url.startswith(f"{gateway.url}/signin/")
