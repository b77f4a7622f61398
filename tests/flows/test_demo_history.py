"""The made-up past of `make demo`: whole, in order, in the flows' own words, and never in a gateway that was used."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from config.demo_history import company as made_up
from config.demo_history.days import Days, InForce, known
from config.demo_history.write import HistoryRefused, seed
from demo.company import past
from federation.audit import record as audit
from federation.audit.events import Kind, Origin
from federation.errors import AccessDenied, SamlRefused
from federation.flows import issue_credentials, open_console, service_tokens, sign_in
from federation.flows.doctor import background
from federation.flows.doctor.findings import State
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.models import (
    AuditEvent,
    DirectoryUser,
    HeldAnswer,
    MappingRevision,
    PastClaims,
    Person,
    PortalSession,
    TokenFamily,
    current,
)
from federation.models.directory import look_up
from tests import cast

PEOPLE = 30
SATURDAY = datetime.fromisoformat("2026-11-28T14:00:00+00:00")


@pytest.fixture(scope="module")
def document():
    """The cast, a few of those behind them and two who have left, all of the revisions: it costs what its people do."""
    whole = past.history()
    leavers = [one for one in whole["people"][PEOPLE - 2 :] if one["left"] is not None]
    return {**whole, "people": whole["people"][: PEOPLE - 2] + leavers[:2]}


@pytest.fixture
def demo(settings, gateway_keys, monkeypatch):
    settings.ROLEGATE_DEMO = True
    monkeypatch.setenv("DEMO_OIDC_SECRET", "public")


def test_the_past_is_whole_and_the_chain_holds(demo, document):
    last_used = seed(made_up.read(document, SATURDAY)).last_used
    assert audit.verify() == []
    events = AuditEvent.objects.order_by("seq")
    moments = list(events.values_list("at", flat=True))
    assert moments == sorted(moments)
    assert moments[0] >= SATURDAY - timedelta(days=90)
    assert moments[-1] < SATURDAY
    kinds = set(events.values_list("kind", "outcome"))
    assert {
        ("sign_in", "ok"),
        ("sign_in", "refused"),
        ("credentials", "ok"),
        ("console", "ok"),
        ("revoked", "ok"),
    } <= kinds
    assert MappingRevision.objects.count() == len(document["revisions"]) == 11
    assert MappingRevision.objects.latest("number").text == past.estate.MAPPING.read_text()
    used = set(
        events.filter(kind__in=["console", "credentials"], outcome="ok").values_list("data__role_arn", flat=True)
    )
    assert used == set(last_used)
    for event in events.filter(kind="credentials", outcome="ok")[:50]:
        assert event.data["revision"] == max(
            revision.number for revision in MappingRevision.objects.filter(published_at__lte=event.at)
        )


def test_the_directory_has_pushed_who_is_there_and_tells_who_comes_moves_and_goes(demo, document):
    """As a directory that has pushed all along: today's people in today's groups, who has left inactive, in their time's events."""
    company = made_up.read(document, SATURDAY)
    secret = seed(company).directory_token
    service = service_tokens.authenticate(secret, origin=Origin("r", "192.0.2.1", ""), now=SATURDAY)
    assert (service.kind, service.of) == ("scim", "corp")
    (directory,) = current.mapping().document.directories
    names = [one.subject.value for one in company.employees]
    entries = look_up(directory.slug, names, subject_column="external_id", group_column="display_name")
    loaded = min(row.created_at for row in DirectoryUser.objects.all())
    for one in company.employees:
        entry = entries[one.subject.value]
        gone_before = one.left is not None and one.left < loaded
        assert (entry.known == 1) is not gone_before, one.login
        assert entry.active is (one.left is None), one.login
        if one.left is None:
            assert entry.groups == frozenset(one.claims[-1].groups), one.login
    moved = AuditEvent.objects.filter(kind="directory.group", data__change="changed")
    assert {event.at.date() for event in moved} >= {company.employee("alice").claims[-1].since.date()}
    assert not HeldAnswer.objects.exists()


def test_a_past_without_a_directory_has_no_token(demo, document):
    early = [one for one in document["revisions"] if one["days"] > 63]
    assert seed(made_up.read({**document, "revisions": early}, SATURDAY)).directory_token == ""
    assert not DirectoryUser.objects.exists()


def test_background_work_went_well_until_the_worker_of_today_is_there(demo, document, settings):
    """Written before the accounts are read and the worker starts: on a slow machine it is minutes old then."""
    seed(made_up.read(document, SATURDAY))
    settings.CELERY_BROKER_URL = "filesystem://"
    for late in (timedelta(0), timedelta(minutes=5)):
        told = list(background.runs(SATURDAY + late))
        assert [(finding.state, finding.code) for finding in told if finding.state is not State.OK] == []
        assert len(told) == 1


def test_people_are_those_who_will_sign_in(demo, document, origin):
    """The same row as a real sign-in makes: else everybody would be there twice after their first one."""
    seed(made_up.read(document, SATURDAY))
    people = Person.objects.count()
    before = Person.objects.get(email="alice@example.com")
    company = made_up.read(document, SATURDAY)
    alice = company.employee("alice")
    after = sign_in.store_person(alice.identity(alice.claims[-1], SATURDAY), SATURDAY)
    assert (after.pk, after.session_name) == (before.pk, before.session_name)
    assert Person.objects.count() == people == PEOPLE
    assert PastClaims.objects.filter(person=before).count() == 2  # she changed teams, and today's claims are no news
    assert Person.objects.filter(active=False).exists()
    assert TokenFamily.objects.exists()
    assert PortalSession.objects.exists()
    assert not PortalSession.objects.filter(person__active=False).exists()


def signed_in(person, origin, now):
    """The event of a sign-in, by whom it is written."""
    mapping = current.mapping()
    signing_in = sign_in._SigningIn(current.identity_of(person), mapping.provider(person.provider), "saml", use=None)
    sign_in._record_signed_in(signing_in, person, mapping.number, origin, now)


def test_events_have_the_data_that_the_flows_write(aws, sign_in_as, origin):
    """What reads the log must not meet two kinds of `credentials`."""
    now = datetime.now(UTC)  # the local AWS goes by the clock
    alice = sign_in_as(cast.alice(), at=now)
    arn = cast.role(cast.DEV, "Developer")
    how = {"channel": "portal", "origin": origin, "now": now}
    signed_in(alice, origin, now)
    sign_in._refused(SamlRefused("expired"), "corp", origin, now)
    issue_credentials.issue_credentials(alice.pk, arn, duration=None, policy=None, **how)
    issue_credentials.issue_credentials(
        alice.pk, cast.role(cast.STAGING, "Developer"), duration=None, policy=None, **how
    )
    open_console.open_console(alice.pk, arn, destination=None, **how)
    for use in (
        lambda: issue_credentials.issue_credentials(
            alice.pk, cast.role(cast.PROD, "None"), duration=None, policy=None, **how
        ),
        lambda: open_console.open_console(alice.pk, cast.role(cast.PROD, "None"), destination=None, **how),
    ):
        with pytest.raises(AccessDenied):
            use()
    real = {
        (event.kind, event.outcome): (set(event.data), event.actor)
        for event in AuditEvent.objects.exclude(kind="mapping.published")
    }
    entries = _days(aws, now)
    told = {(entry.kind.value, entry.outcome): (set(entry.data), entry.actor) for entry in entries}
    assert real.keys() <= told.keys()
    for key, (names, actor) in real.items():
        assert told[key][0] == names, key
        assert told[key][1].count(":") == actor.count(":"), key


def _days(aws, now):
    """Three weeks of a few people under the cast's document."""
    employees = [
        made_up.Employee(
            login=f"person{number}", subject=cast.Subject("corp", "", f"p{number}"), name="P", email=f"p{number}@example.com",
            groups_complete=True, mfa=True, busy=1.0, uses=4.0, office="Berlin", command_line=number % 2 == 0,
            joined=now - timedelta(days=21), left=None,
            claims=(made_up.Claims(now - timedelta(days=21), ("engineering",), "shop"),),
        )
        for number in range(30)
    ]  # fmt: skip
    company = made_up.Company(now - timedelta(days=21), now, tuple(employees), (), ())
    compiled = compile_mapping(parse(cast.DOCUMENT))
    return Days(company, [known(one) for one in employees], [InForce(1, company.begin, compiled)]).entries()


def test_a_gateway_that_was_used_is_left_alone(demo, document, publish):
    publish()
    with pytest.raises(HistoryRefused, match="its past is its own"):
        seed(made_up.read(document, SATURDAY))
    assert AuditEvent.objects.count() == 1
    assert not get_user_model().objects.exists()


def test_no_other_gateway_has_a_made_up_past(document, gateway_keys, settings):
    assert "config.demo_history" not in settings.INSTALLED_APPS
    with pytest.raises(HistoryRefused, match="demo alone"):
        seed(made_up.read(document, SATURDAY))


@pytest.mark.django_db(transaction=True)
def test_many_events_are_one_chain_with_those_written_singly(origin, now):
    entry = audit.Entry(Kind.SIGN_OUT, "corp:alice", "ok", origin, now, data={"person": "x\0", "at": now})
    with pytest.raises(audit.AuditOutsideTransaction):
        audit.record_all([entry])
    with transaction.atomic():
        audit.record(Kind.SIGN_OUT, actor="corp:bob", outcome="ok", origin=origin, now=now)
        assert audit.record_all([entry] * 3) == 3
        assert audit.record_all([]) == 0
        single = audit.record(
            Kind.SIGN_OUT, actor="corp:alice", outcome="ok", origin=origin, now=now, person="x\0", at=now
        )
    assert single.seq == 5
    assert AuditEvent.objects.get(seq=4).data == single.data == {"person": "x\ufffd", "at": now.isoformat()}
    assert audit.verify() == []
    current.forget()
