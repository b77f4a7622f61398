"""`/metrics`: Prometheus reads it, with a token and no other way; the numbers are the database's."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from federation.errors import BadRequest
from federation.flows import measure, service_tokens
from federation.models import AuditEvent, HeldAnswer, PortalSession, Source, TaskRun
from tests import cast
from tests.portal.conftest import Browser

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _counted_by_nobody(monkeypatch):
    monkeypatch.setattr(measure, "_events", measure._Counted())


@pytest.fixture
def scrape(db, origin):
    made = service_tokens.make(
        "prometheus", scope="metrics", days=9, actor="test", origin=origin, now=datetime.now(UTC)
    )

    def do():
        answer = Browser().get("/metrics", headers={"authorization": f"Bearer {made.secret}"})
        assert answer.status_code == 200, answer.content
        assert answer["Content-Type"].startswith("text/plain; version=")
        assert "no-store" in answer["Cache-Control"]
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }

    return do


def test_the_numbers_are_the_databases(scrape, gateway_keys, publish, sign_in_as, now):
    publish()
    sign_in_as()
    today = datetime.now(UTC)
    PortalSession.objects.create(session_key="a", session_data="", expire_date=today + timedelta(hours=1))
    PortalSession.objects.create(session_key="b", session_data="", expire_date=today - timedelta(hours=1))
    TaskRun.objects.create(task="tidy", started_at=NOW, finished_at=NOW, outcome="ok")
    source = Source.objects.create(key=f"account:{cast.PROD}", state="held")
    HeldAnswer.objects.create(source=source, digest="x", held_at=NOW)
    numbers = scrape()
    assert numbers["rolegate_info", "0.1.0"] == 1
    assert numbers["rolegate_audit_events_total", "mapping.published", "ok", ""] == 1
    assert numbers["rolegate_people", "active"] == 1
    assert numbers["rolegate_people", "disabled"] == 0
    assert numbers["rolegate_sessions",] == 1
    assert numbers["rolegate_pairings",] == 0
    assert numbers["rolegate_mapping_revision",] == 1
    assert numbers["rolegate_task_last_run_timestamp_seconds", "ok", "tidy"] == NOW.timestamp()
    assert numbers["rolegate_sources", "account", "held"] == 1
    assert numbers["rolegate_held_answers",] == 1
    assert numbers["rolegate_signing_key_age_seconds", "RS256", "saml"] > 0
    assert numbers["rolegate_doctor_findings", "sources", "answer_held", "warning"] == 1


def test_events_are_counted_once_and_each_scrape_adds_what_is_new(scrape, publish, django_assert_num_queries):
    key = ("rolegate_audit_events_total", "mapping.published", "ok", "")
    publish()
    assert [scrape()[key], scrape()[key]] == [1, 1]
    publish(cast.DOCUMENT + "# again\n")
    assert scrape()[key] == 2
    with django_assert_num_queries(2):
        measure._events.counts()
    measure._events._upto = 10**9  # as after a restore: the head is behind
    assert scrape()[key] == 2


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic eDp5"])
def test_without_a_token_there_are_none(db, header):
    answer = Browser().get("/metrics", headers={"authorization": header} if header is not None else {})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert AuditEvent.objects.get().kind == "token.refused"


def test_a_directorys_token_reads_none_and_a_metrics_token_pushes_nothing(publish, origin):
    publish(
        "version: 1\nidentity_providers: [{slug: corp, name: C, saml: {metadata_url: 'http://127.0.0.1:9/m'}}]\n"
        "directories: [{slug: corp, provider: corp, scim: {}}]\n"
    )
    now = datetime.now(UTC)
    secrets = [
        service_tokens.make(scope, scope=scope, days=9, actor="t", origin=origin, now=now).secret
        for scope in ("scim:corp", "metrics")
    ]
    for path, secret in zip(("/metrics", "/scim/v2/Users"), secrets, strict=True):
        answer = Browser().get(path, headers={"authorization": f"Bearer {secret}"})
        assert answer.status_code == 403, path


def test_a_persons_token_reads_none(db):
    answer = Browser().get("/metrics", headers={"authorization": "Bearer rlg_at_" + "x" * 43})
    assert answer.status_code == 401


@pytest.mark.parametrize("scope", ["metrics:x", "metric", "scim", ""])
def test_a_scope_that_is_none(publish, origin, now, scope):
    publish()
    with pytest.raises(BadRequest, match="scope_unknown"):
        service_tokens.make("x", scope=scope, days=9, actor="t", origin=origin, now=now)
