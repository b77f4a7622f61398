"""`manage.py revoke`: sessions and tokens end, and the operator is told how to end what AWS has given out."""

from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from federation.models import AuditEvent, Person, PortalSession
from tests import cast


@pytest.fixture
def alice(sign_in_as):
    person = sign_in_as(cast.alice())
    PortalSession.objects.create(
        session_key="a" * 64, session_data="", expire_date=timezone.now() + timedelta(hours=1), person=person
    )
    return person


def test_sessions_end(run, alice):
    said = run("revoke", "alice@example.com", "--why", "a stolen laptop")
    assert "corp:alice: 1 portal session(s) ended, command line tokens revoked.\n" in said
    assert f"aws:SourceIdentity = {alice.session_name}" in said
    assert not PortalSession.objects.exists()
    assert Person.objects.get().active
    event = AuditEvent.objects.latest("seq")
    assert (event.data["why"], event.data["disabled"]) == ("a stolen laptop", False)
    assert event.actor.startswith("command:")
    assert event.request_id


def test_disabling_lasts_until_enabling(run, alice):
    assert "revoked, disabled." in run("revoke", "corp:alice", "--disable")
    assert not Person.objects.get().active
    assert run("revoke", "corp:alice", "--enable") == "corp:alice may sign in again.\n"
    assert Person.objects.get().active
    assert AuditEvent.objects.filter(kind="revoked").count() == 2


def test_both_at_once_make_no_sense(run, alice):
    with pytest.raises(CommandError, match="not allowed with"):
        run("revoke", "alice", "--disable", "--enable")
    assert PortalSession.objects.exists()


@pytest.mark.parametrize("who", ["nobody", "", "aaaa-bbbb-cccc-dddd-eeee-not-a-uuid-0"])
def test_nobody_is_a_sentence(run, alice, who):
    with pytest.raises(CommandError, match=r"Nobody matches .*\[not_found: person_not_found\]"):
        run("revoke", who)
    assert PortalSession.objects.exists()
