"""The doctor: a gateway that is well has no finding; each thing that is not has its code, and says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.checks import Error as SystemError_
from django.db import DatabaseError, connection
from django.utils import timezone

from federation.aws import clock
from federation.flows import doctor, rotate_keys, runs
from federation.flows.doctor import background, identity_providers, in_force, issuer, outside, storage
from federation.flows.doctor.findings import State, span
from federation.models import (
    AuditEvent,
    DirectoryUser,
    HeldAnswer,
    ProviderMetadata,
    ServiceToken,
    SigningKey,
    Source,
    TaskRun,
    current,
)
from tests import cast, oidc_kit
from tests import saml_kit as kit
from tests.aws.scripted import refused, serving
from tests.flows.conftest import _Documents
from tests.flows.hosts import metadata_host

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def today():
    return datetime.now(UTC)


# The cast's document, whose owners and approvers are of providers that it names.
BOUND = cast.DOCUMENT.replace("{role: owner,", "{role: owner, provider: [corp, entra],").replace(
    "{by: [sre-leads],", "{by: [sre-leads], provider: [corp, entra],"
)


def codes(check, now):
    return [found.code for found in check(now)]


def one(check, now):
    (found,) = [found for found in check(now) if found.state is not State.OK]
    assert found.do
    return found


@pytest.fixture
def host():
    certificate = kit.pair("doctor", end=datetime.now(UTC) + 200 * DAY)
    with metadata_host(kit.metadata_xml(keys=(("signing", certificate.bare),)).encode()) as held:
        yield held


@pytest.fixture
def well(aws, host, publish, settings, today):
    """A gateway with everything that it needs, all of it real but the sources' last reading."""
    settings.CELERY_BROKER_URL = "filesystem://localhost"
    settings.ROLEGATE_DEMO = True  # SQLite and plain http are right there
    SigningKey.objects.update(activated_at=today - DAY)
    with oidc_kit.running() as provider:
        text = BOUND.replace("http://127.0.0.1:9/metadata", host.url).replace("http://127.0.0.1:9", provider.issuer)
        publish(text, at=today)
        ProviderMetadata.objects.create(
            provider="corp", source=f"{host.url}#", document=host.body.decode(), fetched_at=today, checked_at=today
        )
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            TaskRun.objects.create(
                task=entry["task"].rpartition(".")[2], started_at=today - MINUTE, finished_at=today, outcome="ok"
            )
        for account in (cast.PROD, cast.STAGING, cast.DEV):
            Source.objects.create(key=f"account:{account}", state="ok", attempted_at=today, succeeded_at=today)
        yield host


def test_a_gateway_that_is_well_has_nothing_to_say(well, today):
    reports = list(doctor.examine(now=today))
    assert [report.name for report in reports] == [check.name for check in doctor.CHECKS]
    # On PostgreSQL the tests' role owns the log, and they have switched the trigger against TRUNCATE off.
    expected = {"audit_role_may_rewrite", "audit_trigger_missing"} if connection.vendor == "postgresql" else set()
    found = [one for report in reports for one in report.findings if one.state is not State.OK]
    assert {one.code for one in found} == expected, found


def test_nothing_is_changed(well, today):
    before = AuditEvent.objects.count(), ProviderMetadata.objects.values().get(), SigningKey.objects.count()
    list(doctor.examine(now=today))
    assert (AuditEvent.objects.count(), ProviderMetadata.objects.values().get(), SigningKey.objects.count()) == before


def test_a_page_gets_what_asks_nobody_outside(well, today, monkeypatch):
    def no_network(*args, **options):
        raise AssertionError("asked somebody")

    monkeypatch.setattr("federation.net._session.request", no_network)
    names = [report.name for report in doctor.examine(now=today, network=False)]
    assert names == [check.name for check in doctor.CHECKS if not check.network]
    assert "keys" in names
    assert "sts" not in names


@pytest.mark.parametrize("count", [3, 300])
def test_a_page_asks_a_constant_number_of_times(well, today, publish, django_assert_max_num_queries, count):
    accounts = "".join(f'  - {{id: "{n:012}", name: a{n}}}\n' for n in range(count))
    publish(cast.DOCUMENT.replace("accounts:\n", f"accounts:\n{accounts}"), at=today)
    list(doctor.examine(now=today, network=False))
    with django_assert_max_num_queries(40):
        list(doctor.examine(now=today, network=False))


def test_a_check_that_breaks_is_a_finding(db, today):
    def broken(now):
        yield storage.ok("so far")
        raise ZeroDivisionError

    (report,) = doctor.examine(now=today, checks=[doctor.Named("x", "X", broken)])
    assert [found.code for found in report.findings] == ["ok", "check_failed"]
    assert report.state is State.PROBLEM


# --- Its own ground -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "state"), [(30, State.WARNING), (40, State.PROBLEM)])
def test_a_system_check_that_fails_is_told(settings, monkeypatch, today, level, state):
    settings.ROLEGATE_URL = "https://gate.example.com"
    found = SystemError_("The roof leaks.", hint="Mend it.", id="rolegate.E999")
    found.level = level
    monkeypatch.setattr(storage.system_checks, "run_checks", lambda **options: [found])
    said = one(storage.environment, today)
    assert (said.code, said.state, said.do) == ("system_check", state, "Mend it.")
    assert "The roof leaks. [rolegate.E999]" in said.says


def test_sound_settings_are_said_to_be(settings, monkeypatch, today):
    monkeypatch.setattr(storage.system_checks, "run_checks", lambda **options: [])
    assert codes(storage.environment, today) == ["ok"]


def test_with_the_database_away_there_is_one_problem_and_nothing_that_follows_from_it(today, monkeypatch):
    def away(*args, **options):
        raise DatabaseError("connection refused\nDETAIL: with rows")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", away)
    checks = [check for check in doctor.CHECKS if not check.network and check.name != "environment"]
    (report,) = doctor.examine(now=today, checks=checks)
    assert [found.code for found in report.findings] == ["database_unreachable"]
    assert "DETAIL" not in report.findings[0].says


def test_migrations_that_are_not_applied(db, today, monkeypatch):
    class Pending:
        app_label, name = "federation", "9999_later"

    monkeypatch.setattr(storage.MigrationExecutor, "migration_plan", lambda *args: [(Pending, False)])
    assert "federation.9999_later" in one(storage.database, today).says
    assert codes(storage.database, today) == ["migrations_pending"]


def test_the_end_of_the_audit_log_is_held_against_its_head(publish, today, monkeypatch):
    for number in range(5):
        publish(f"version: 1\n# {number}\n")
    monkeypatch.setattr(storage, "_LAST_EVENTS", 2)
    assert codes(storage.audit_log, today)[-1] == "ok"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent DISABLE TRIGGER audit_is_append_only")
        cursor.execute("UPDATE federation_auditevent SET actor = 'mallory' WHERE seq = 4")
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent ENABLE TRIGGER audit_is_append_only")
    found = next(found for found in storage.audit_log(today) if found.state is State.PROBLEM and "chain" in found.code)
    assert (found.code, "row 4 was edited" in found.says) == ("audit_chain_broken", True)


def test_a_log_whose_rows_are_gone(publish, today):
    publish()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE federation_auditevent DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM federation_auditevent")
    assert "audit_chain_broken" in codes(storage.audit_log, today)


def test_a_log_that_cannot_be_written(db, today, monkeypatch):
    def full(*args, **options):
        raise DatabaseError("could not extend file: No space left on device")

    monkeypatch.setattr("federation.audit.record._locked", full)
    assert "No space left" in one(storage.audit_log, today).says


def test_who_could_rewrite_the_log_is_told(db, today):
    found = {found.code for found in storage.audit_log(today)}
    if connection.vendor != "postgresql":
        assert found == {"ok"}
        return
    assert "audit_role_may_rewrite" in found  # the tests' role owns the table
    assert "audit_trigger_missing" in found  # and the tests have switched the one against TRUNCATE off
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE federation_auditevent ENABLE TRIGGER audit_is_not_truncated")
    assert "audit_trigger_missing" not in codes(storage.audit_log, today)


# --- Keys and what is public of them ------------------------------------------------------------------


def test_a_missing_key(gateway_keys, now):
    today = now + DAY
    SigningKey.objects.filter(purpose="saml").delete()
    assert "saml RS256" in one(issuer.keys, today).says


def test_a_key_under_another_secret(gateway_keys, settings, today):
    settings.SECRET_KEY = "another-secret-that-is-public-and-protects-nothing-9876543210"
    SigningKey.objects.update(activated_at=today)
    assert codes(issuer.keys, today) == ["key_sealed"] * 4


@pytest.mark.parametrize(("days", "state"), [(20, State.WARNING), (-1, State.PROBLEM)])
def test_a_key_whose_certificate_ends(gateway_keys, days, state):
    ends = datetime(2026, 1, 1, tzinfo=UTC) + 3650 * DAY
    SigningKey.objects.filter(purpose="token").update(activated_at=ends)
    found = list(issuer.keys(ends - days * DAY))
    assert {(one.code, one.state) for one in found} == {("key_certificate_ends", state)}
    assert len(found) == 4


def test_a_token_key_that_should_have_been_replaced(gateway_keys, settings, now):
    due = now + settings.ROLEGATE_TOKEN_KEY_AGE
    assert codes(issuer.keys, due + 2 * DAY) == ["ok"]
    assert codes(issuer.keys, due + 5 * DAY) == ["key_overdue", "key_overdue"]


def test_an_issuer_url_that_nobody_serves(gateway_keys, settings, today):
    settings.ROLEGATE_ISSUER_URL = "http://127.0.0.1:9/issuer"
    assert codes(issuer.public_documents, today) == ["issuer_unreadable"] * 3


def test_a_static_host_that_lacks_a_document(well, today):
    del _Documents.documents["jwks.json"]
    assert "HTTP 404" in one(issuer.public_documents, today).says


def test_a_static_host_whose_files_are_old(well, today, origin):
    rotate_keys.rotate("token", "RS256", actor="test", origin=origin, now=today)
    assert one(issuer.public_documents, today).code == "jwks_differs"
    rotate_keys.rotate("token", "RS256", actor="test", origin=origin, now=today)
    assert one(issuer.public_documents, today).code == "jwks_lacks_active_key"
    _Documents.documents.update(rotate_keys.published_documents(now=today))
    assert codes(issuer.public_documents, today) == ["ok"]


def test_another_gateways_documents(well, today):
    _Documents.documents |= {".well-known/openid-configuration": b"{", "saml/metadata.xml": b"<x/>", "jwks.json": b"[]"}
    found = codes(issuer.public_documents, today)
    assert found == ["discovery_differs", "jwks_lacks_active_key", "metadata_differs"]


# --- AWS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "code"), [(0, "ok"), (-20, "clock_drifts"), (20, "clock_drifts"), (-300, "clock_wrong")]
)
def test_the_clock_is_held_against_aws(publish, monkeypatch, today, ahead, code):
    publish()
    clock.watch.forget()
    reply = refused("MissingAuthenticationToken", status=403)
    with serving(type(reply)(reply.status, reply.body, clock=ahead)) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", double.url)
        assert codes(outside.clock, today) == [code]


def test_aws_that_cannot_be_asked_for_the_time(publish, monkeypatch, today):
    publish()
    clock.watch.forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    assert codes(outside.clock, today) == ["clock_not_checked"]


def test_a_region_that_does_not_answer(publish, monkeypatch, today):
    publish()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    found = list(outside.sts_regions(today))
    assert [(f.code, f.data["region"]) for f in found] == [
        ("sts_unreachable", "eu-west-1"),
        ("sts_unreachable", "us-east-1"),
    ]


# --- Identity providers -------------------------------------------------------------------------------


def put_metadata(host, now, *, fetched=timedelta(0), error="", **options):
    body = kit.metadata_xml(**options) if options else host.body.decode()
    ProviderMetadata.objects.filter(provider="corp").update(
        document=body, fetched_at=now - fetched, checked_at=now, last_error=error
    )


@pytest.mark.parametrize(
    ("fetched", "code", "state"),
    [
        (5 * HOUR, "ok", State.OK),
        (7 * HOUR, "provider_metadata_old", State.WARNING),
        (8 * DAY, "provider_metadata_old", State.PROBLEM),
    ],
)
def test_metadata_grows_old(well, today, fetched, code, state):
    put_metadata(well, today, fetched=fetched, error="metadata_status")
    found = next(iter(identity_providers.stored(today)))
    assert (found.code, found.state) == (code, state)
    assert state is State.OK or "(metadata_status)" in found.says


@pytest.mark.parametrize(("days", "found"), [(20, "provider_certificate_ends"), (40, "ok")])
def test_a_providers_certificate_ends(well, today, days, found):
    certificate = kit.pair(f"ends in {days}", end=today + days * DAY)
    put_metadata(well, today, keys=(("signing", certificate.bare),))
    assert codes(identity_providers.stored, today) == [found]


def test_while_certificates_roll_the_last_one_counts(well, today):
    old, new = kit.pair("rolls", end=today + 2 * DAY), kit.pair("doctor", end=today + 200 * DAY)
    put_metadata(well, today, keys=(("signing", old.bare), ("signing", new.bare)))
    assert codes(identity_providers.stored, today) == ["ok"]


def test_metadata_that_cannot_be_used(well, today):
    put_metadata(well, today, keys=(("signing", kit.pair("ended", end=today - DAY, start=today - 9 * DAY).bare),))
    assert one(identity_providers.stored, today).code == "provider_metadata_unusable"


def test_metadata_that_ends_soon(well, today):
    certificate = kit.pair("doctor lasting", end=today + 200 * DAY)
    until = (today + 3 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    put_metadata(well, today, keys=(("signing", certificate.bare),), valid_until=until)
    assert codes(identity_providers.stored, today) == ["provider_metadata_ends", "ok"]


def test_metadata_that_was_never_fetched(well, today):
    ProviderMetadata.objects.all().delete()
    assert one(identity_providers.stored, today).code == "provider_metadata_unread"


@pytest.mark.parametrize("how", ["xml", "file", "gone"])
def test_metadata_out_of_the_document_or_a_file(publish, today, tmp_path, how):
    certificate = kit.pair("doctor lasting", end=today + 200 * DAY)
    text = kit.metadata_xml(keys=(("signing", certificate.bare),))
    path = tmp_path / "metadata.xml"
    path.write_text(text)
    options = f"metadata_xml: '{text}'" if how == "xml" else f"metadata_file: {path}"
    publish(f"version: 1\nidentity_providers:\n  - slug: corp\n    name: Corp\n    saml:\n      {options}\n")
    if how == "gone":
        path.unlink()
    assert codes(identity_providers.stored, today) == [{"gone": "provider_metadata_unusable"}.get(how, "ok")]
    assert codes(identity_providers.fetched, today) == []


def test_documents_that_cannot_be_had(well, today):
    assert codes(identity_providers.fetched, today) == ["ok", "ok"]
    well.status = 500
    assert "HTTP 500" in one(identity_providers.fetched, today).says
    well.status, well.body = 200, b"<html/>"
    assert one(identity_providers.fetched, today).state is State.WARNING


@pytest.mark.parametrize("keys", [None, []])
def test_an_openid_provider_without_keys(publish, today, keys):
    with oidc_kit.running() as provider:
        publish(cast.DOCUMENT.replace('http://127.0.0.1:9"', f'{provider.issuer}"'))
        if keys is None:
            provider.bodies["/jwks"] = b"{"
        else:
            provider.keys = keys
        corp, entra = identity_providers.fetched(today)
        assert (corp.code, corp.state) == ("provider_documents_unreadable", State.WARNING)
        assert (entra.code, entra.state) == ("provider_documents_unreadable", State.PROBLEM)


# --- What is in force ---------------------------------------------------------------------------------


def test_no_mapping(db, today):
    assert codes(in_force.mapping, today) == ["mapping_none"]


def test_rights_that_any_provider_can_give(publish, today):
    publish()
    (found,) = [one for one in in_force.mapping(today) if one.code == "staff_of_any_provider"]
    assert "identity providers corp, entra can" in str(found.says)
    assert str(found.says).endswith("rights here: owner.")
    (found,) = [one for one in in_force.mapping(today) if one.code == "approval_of_any_provider"]
    assert str(found.says).endswith("may say yes: admins-by-request.")
    publish(BOUND)
    assert codes(in_force.mapping, today) == ["ok"]


def test_a_mapping_that_gives_nothing_and_that_nobody_owns(publish, today):
    publish("version: 1\n")
    assert codes(in_force.mapping, today) == ["mapping_gives_nothing", "no_owner"]


def test_the_configured_file(publish, settings, tmp_path, today):
    publish(BOUND)
    path = tmp_path / "mapping.yaml"
    settings.ROLEGATE_CONFIG = str(path)
    assert codes(in_force.mapping, today) == ["config_faulty", "ok"]
    path.write_text("version: 1\nmaping: []\n")
    assert "maping" in one(in_force.mapping, today).says
    path.write_text("version: 1\n")
    assert codes(in_force.mapping, today) == ["config_not_published", "ok"]
    path.write_text(BOUND)
    assert codes(in_force.mapping, today) == ["ok"]


def test_a_client_secret_that_is_not_set(publish, monkeypatch, today):
    publish()
    assert codes(in_force.secrets, today) == ["ok"]
    monkeypatch.delenv("TEST_OIDC_SECRET")
    found = one(in_force.secrets, today)
    assert (found.code, "TEST_OIDC_SECRET" in found.says) == ("client_secret_unusable", True)


def test_a_token_that_ends(db, today):
    def make(name, days, **more):
        ServiceToken.objects.create(
            name=name,
            scope="scim:corp",
            hash=name,
            created_at=today,
            created_by="x",
            expires_at=today + days * DAY,
            **more,
        )

    make("far", 100)
    make("gone", 3, revoked_at=today)
    make("over", -1)
    assert codes(in_force.tokens, today) == ["ok"]
    make("near", 3)
    assert "near" in one(in_force.tokens, today).says


# --- Background work ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("memory://", "no_broker"),
        ("filesystem://localhost", "ok"),
        ("redis://:a-password@127.0.0.1:9/0", "broker_unreachable"),
    ],
)
def test_the_broker(settings, today, url, code):
    settings.CELERY_BROKER_URL = url
    (found,) = background.broker(today)
    assert found.code == code
    assert "a-password" not in found.says


def test_without_a_broker_there_is_one_finding(db, settings, today):
    settings.CELERY_BROKER_URL = "memory://"
    assert codes(background.runs, today) == []


def test_a_worker_that_was_not_seen(well, today):
    assert codes(background.runs, today) == ["ok"]
    TaskRun.objects.filter(task="refresh_provider_documents").update(started_at=today - 34 * MINUTE)
    assert codes(background.runs, today) == ["ok"]
    TaskRun.objects.filter(task="refresh_provider_documents").update(started_at=today - 36 * MINUTE)
    assert "refresh_provider_documents (36 minutes ago)" in one(background.runs, today).says
    TaskRun.objects.all().delete()
    assert codes(background.runs, today) == ["worker_not_seen"]
    runs.noted("purge_expired", dict)
    found = one(background.runs, timezone.now())
    assert (found.code, "purge_expired" in found.says) == ("task_never_run", False)


def test_how_the_last_run_ended(well, today):
    TaskRun.objects.filter(task="rotate_keys").update(outcome="failed", error_code="broken")
    TaskRun.objects.filter(task="refresh_catalogue").update(outcome="lost")
    TaskRun.objects.create(task="rotate_keys", started_at=today, finished_at=today, outcome="skipped")
    found = {f.code: f.data.get("task") for f in background.runs(today)}
    assert found == {"task_failed": "rotate_keys", "task_lost": "refresh_catalogue", "ok": None}


def test_sources_that_fail_grow_old_or_wait(well, today):
    prod = Source.objects.filter(pk=f"account:{cast.PROD}")
    prod.update(state="failed", error_code="sts_access_denied", succeeded_at=today - 2 * DAY)
    Source.objects.filter(pk=f"account:{cast.DEV}").delete()
    HeldAnswer.objects.create(
        source=prod.get(), digest="x", held_at=today, summary={"removed": 9, "before": 10, "why": "too_many_removed"}
    )
    found = {f.code: f.says for f in background.sources(today)}
    assert found.keys() == {"answer_held", "source_failed", "source_stale", "catalogue_unread"}
    assert f"shop-prod {cast.PROD} answered with 9 of 10 gone" in found["answer_held"]
    assert f"1 of 3 sources could not be read: shop-prod {cast.PROD} (sts_access_denied)." in found["source_failed"]
    assert f"Never read: shop-dev {cast.DEV}." in found["catalogue_unread"]


def test_what_a_directory_pushed_and_waits_is_called_as_people_call_it(well, today):
    pushed = Source.objects.create(key="bulk:corp", state="held")
    summary = {"removed": 72, "before": 293, "about": "corp: many people or groups at once"}
    HeldAnswer.objects.create(source=pushed, digest="x", held_at=today, summary=summary)
    found = {f.code: f for f in background.sources(today)}["answer_held"]
    assert found.says.startswith("corp: many people or groups at once answered with 72 of 293 gone")


def test_an_account_that_was_never_read_is_said_once_with_the_reason(well, today):
    """There is no last good answer that could stay in force."""
    dev = Source.objects.filter(pk=f"account:{cast.DEV}")
    dev.update(state="failed", error_code="sts_token_invalid", succeeded_at=None)
    found = one(background.sources, today)
    assert found.code == "catalogue_unread"
    assert f"Never read: shop-dev {cast.DEV} (sts_token_invalid)." in found.says


def test_a_directory_that_is_silent(publish, settings, today):
    settings.ROLEGATE_ORGANIZATION_ROLE = cast.role(cast.PROD, "rolegate-reader")
    publish(
        "version: 1\nidentity_providers: [{slug: corp, name: C, saml: {metadata_url: 'http://127.0.0.1:9/m'}}]\n"
        "directories: [{slug: corp, provider: corp, scim: {}}]\n"
    )
    found = {f.code: f.says for f in background.sources(today)}
    assert found.keys() == {"directory_silent", "organization_unread"}
    assert "Never heard of: directory corp." in found["directory_silent"]
    assert "Never read: the organization." in found["organization_unread"]
    publish("version: 1\n")
    settings.ROLEGATE_ORGANIZATION_ROLE = ""
    current.forget()
    assert codes(background.sources, today) == ["ok"]


def test_a_directory_that_is_silent_and_only_adds_groups_refuses_nobody(publish, settings, today):
    publish(
        "version: 1\nidentity_providers: [{slug: corp, name: C, saml: {metadata_url: 'http://127.0.0.1:9/m'}}]\n"
        "directories: [{slug: corp, provider: corp, groups: add, scim: {}}]\n"
    )
    found = one(background.sources, today)
    assert (found.code, found.state) == ("directory_silent", State.WARNING)
    assert found.says == "Never heard of: directory corp. Whom it would disable, and its groups, are not known."


def test_many_are_named_and_the_rest_counted():
    assert background._some([f"a{n}" for n in range(7)]) == "a0, a1, a2, a3, a4 and 2 more"


def test_a_short_piece_of_work_is_noted(db):
    runs.noted("tidy", lambda: {"rows": 3})
    runs.noted("tidy", lambda: ["done"])
    with pytest.raises(ZeroDivisionError):
        runs.noted("tidy", lambda: 1 / 0)
    rows = list(TaskRun.objects.order_by("started_at").values_list("outcome", "detail", "error_code"))
    assert rows == [("ok", {"rows": 3}, ""), ("ok", {"done": ["done"]}, ""), ("failed", {}, "ZeroDivisionError")]


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 second"), (59, "59 seconds"), (61, "1 minute"), (7200, "2 hours"), (200_000, "2 days")]
)
def test_a_span_is_said_as_people_say_it(seconds, said):
    assert span(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("groups", "means"), [("add", "that it disables them does."), ("replace", "They are refused.")]
)
def test_people_whom_their_directory_calls_otherwise_by_a_letter_are_named(publish, sign_in_as, today, groups, means):
    publish(cast.DOCUMENT + f"directories: [{{slug: staff, provider: corp, groups: {groups}, scim: {{}}}}]\n")
    for person in (cast.alice(), cast.bob(), cast.carol()):
        sign_in_as(person)
    for name in ("Alice", "bob", "Carol", "carol"):
        DirectoryUser.objects.create(
            directory="staff", user_name=name, user_name_key=name, created_at=today, modified_at=today
        )
    (found,) = (one for one in background.sources(today) if one.code == "subject_case_differs")
    assert found.state is State.WARNING
    assert "has in other letters: 1, such as alice (Alice there)." in found.says
    assert found.says.endswith(means)
    DirectoryUser.objects.filter(user_name="Alice").update(user_name="alice")
    assert "subject_case_differs" not in codes(background.sources, today)
