"""Attack: use what is being taken away. Access ends while credentials are made: nothing leaves behind what ended it.

The log has one order. Whoever reads in it that access ended must not read below that it was used, however quick STS was.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from federation.audit.events import Kind
from federation.audit.record import Guard, record
from federation.aws import console, sts
from federation.errors import AccessDenied, NotSignedIn, PersonDisabled, ServiceUnavailable
from federation.flows import open_console as opening
from federation.flows import publish_mapping, revoke
from federation.flows.issue_credentials import issue_credentials
from federation.models import AuditEvent
from tests import cast
from tests.flows.conftest import aws, issuer_host, local_aws

__all__ = ["aws", "issuer_host", "local_aws"]

DEVELOP = cast.role(cast.DEV, "Developer")


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def alice(aws, sign_in_as, now):
    return sign_in_as(cast.alice(now=now), at=now)


def credentials(alice, origin, now):
    return issue_credentials(alice.pk, DEVELOP, duration=None, policy=None, channel="api", origin=origin, now=now)


def by_token(alice, origin, now):
    return opening.open_console(alice.pk, DEVELOP, destination=None, channel="portal", origin=origin, now=now)


def by_form(alice, origin, now):
    return opening.console_form(alice.pk, DEVELOP, destination=None, channel="portal", origin=origin, now=now)


# The way out, and what is called last before its event.
WAYS = [
    (credentials, sts, "assume_role", Kind.CREDENTIALS),
    (by_token, console, "signin_token", Kind.CONSOLE),
    (by_form, opening, "mint_saml", Kind.CONSOLE),
]
each_way = pytest.mark.parametrize(("way", "module", "name", "kind"), WAYS, ids=["credentials", "console", "form"])


def meanwhile(monkeypatch, module, name, do):
    """Have `do` happen once, right behind the last answer."""
    original, done = getattr(module, name), []

    def answering(*args, **more):
        answer = original(*args, **more)
        if not done:
            done.append(True)
            do()
        return answer

    monkeypatch.setattr(module, name, answering)


def left(kind):
    return AuditEvent.objects.filter(kind=kind, outcome="ok")


@each_way
@pytest.mark.parametrize(
    ("disable", "error", "reason"), [(True, PersonDisabled, "person_disabled"), (False, NotSignedIn, "session_ended")]
)
def test_whose_access_ended_a_moment_ago_gets_nothing(
    alice, origin, now, monkeypatch, way, module, name, kind, disable, error, reason
):
    """`disable` False: a stolen laptop, a deactivation by the directory; the person may come back, what they had may not go on."""
    meanwhile(
        monkeypatch, module, name,
        lambda: revoke.revoke(alice, disable=disable, actor="carol", why="stolen", origin=origin, now=now),
    )  # fmt: skip
    with pytest.raises(error) as refused:
        way(alice, origin, now)
    assert refused.value.reason == reason
    assert not left(kind).exists()
    assert AuditEvent.objects.latest("seq").reason == reason


@each_way
def test_a_role_withdrawn_a_moment_ago_is_gone(alice, origin, now, monkeypatch, way, module, name, kind):
    without = cast.DOCUMENT.replace("roles: [Developer]", "roles: [Auditor]")
    meanwhile(monkeypatch, module, name, lambda: publish(without, origin, now))
    with pytest.raises(AccessDenied) as refused:
        way(alice, origin, now)
    assert refused.value.reason == "no_matching_rule"
    assert not left(kind).exists()


@each_way
def test_a_session_policy_that_came_into_force_bounds_what_leaves(
    alice, origin, now, monkeypatch, way, module, name, kind
):
    narrower = cast.DOCUMENT.replace("session: {duration: 2h}", "session: {duration: 2h, policy: read-only}")
    meanwhile(monkeypatch, module, name, lambda: publish(narrower, origin, now))
    with pytest.raises(ServiceUnavailable) as refused:
        way(alice, origin, now)
    assert (refused.value.reason, refused.value.retry_after) == ("given_otherwise_now", 1)
    assert not left(kind).exists()


@each_way
def test_another_revision_that_changes_nothing_of_it_is_no_hindrance(
    alice, origin, now, monkeypatch, way, module, name, kind
):
    meanwhile(monkeypatch, module, name, lambda: publish(cast.DOCUMENT + "# said anew\n", origin, now))
    way(alice, origin, now)
    assert left(kind).get().data["revision"] == 2  # by which it was decided last


def publish(text, origin, now):
    publish_mapping.publish(text, author="carol", comment="", origin=origin, now=now)


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_the_log_behind_a_revocation_gets_nothing(alice, origin, now, monkeypatch):
    """Two processes: one has ended the access and has the log's head, the other has its credentials and waits for it."""
    held = threading.Event()

    def end_access():
        try:
            with transaction.atomic():
                revoke.revoke(alice, disable=False, actor="carol", why="stolen", origin=origin, now=now)
                held.set()
                time.sleep(0.5)
        finally:
            connection.close()

    thread = threading.Thread(target=end_access)

    def begin():
        thread.start()
        assert held.wait(20)

    meanwhile(monkeypatch, sts, "assume_role", begin)
    with pytest.raises(NotSignedIn):
        credentials(alice, origin, now)
    thread.join()
    assert list(AuditEvent.objects.order_by("-seq").values_list("kind", "outcome")[:2]) == [
        ("credentials", "refused"),
        ("revoked", "ok"),
    ]


def test_a_guard_that_refuses_leaves_no_event(db, origin, now):
    def refuse(answer):
        assert answer.rows == [(7,)]
        raise PersonDisabled("person_disabled")

    with pytest.raises(PersonDisabled), transaction.atomic():
        record(Kind.SIGN_IN, actor="x", outcome="ok", origin=origin, now=now, guard=Guard(("SELECT 7", []), refuse))
    assert not AuditEvent.objects.exists()
