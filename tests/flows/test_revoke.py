"""Taking everything away from one person at once, and finding the right person to do it to."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from federation.errors import NotFound, PersonDisabled
from federation.flows import client_tokens, revoke
from federation.flows.issue_credentials import issue_credentials
from federation.identity import Subject
from federation.models import AuditEvent, Person, PortalSession, SignInState, TokenFamily
from tests import cast
from tests.oauth.pairing import paired


def session(person, key, now):
    return PortalSession.objects.create(
        session_key=key * 64, session_data="", expire_date=now + timedelta(hours=1), person=person
    )


def take_away(person, origin, now, *, disable=False):
    return revoke.revoke(person, disable=disable, actor="carol", why="a stolen laptop", origin=origin, now=now)


@pytest.fixture
def alice(sign_in_as):
    return sign_in_as(cast.alice())


@pytest.fixture
def bob(sign_in_as):
    return sign_in_as(cast.bob())


def test_sessions_and_tokens_end_and_nobody_elses(alice, bob, origin, now):
    now = datetime.now(UTC)
    tokens, bobs = paired(alice, now=now), paired(bob, now=now)
    session(alice, "a", now)
    session(alice, "b", now)
    session(bob, "c", now)
    assert take_away(alice, origin, now) == 2
    assert [row.person for row in PortalSession.objects.all()] == [bob]
    with pytest.raises(client_tokens.TokenRefused):
        client_tokens.authenticate(tokens.access_token, now=now, origin=origin)
    with pytest.raises(client_tokens.GrantRefused):
        client_tokens.rotate(tokens.refresh_token, client_id="rolegate-cli", origin=origin, now=now)
    assert client_tokens.authenticate(bobs.access_token, now=now, origin=origin).person_id == bob.pk
    family = TokenFamily.objects.get(person=alice)
    assert (family.revoked_at, family.revoked_reason) == (now, "revoked_by_staff")


def test_the_epoch_moves_on_so_that_a_forgotten_session_is_dead_too(alice, origin, now):
    before = alice.get_session_auth_hash()
    take_away(alice, origin, now)
    alice.refresh_from_db()
    assert alice.session_epoch == 1
    assert alice.get_session_auth_hash() != before
    assert alice.active


def test_a_sign_in_on_its_way_ends_too(alice, bob, origin, now):
    for n, person in enumerate((alice, bob)):
        SignInState.objects.create(
            key=str(n),
            provider="corp",
            created_at=now,
            expires_at=now + timedelta(minutes=5),
            received_at=now,
            subject=Subject(person.provider, person.subject_format, person.subject).digest,
            identity={"subject": person.subject},
        )
    take_away(alice, origin, now)
    found = {state.key: (state.completed_at, state.identity) for state in SignInState.objects.all()}
    assert found == {"0": (now, None), "1": (None, {"subject": bob.subject})}


def test_disabling_refuses_what_is_asked_for_later(gateway_keys, publish, alice, origin, now):
    publish()
    take_away(alice, origin, now, disable=True)
    with pytest.raises(PersonDisabled):
        issue_credentials(
            alice.pk,
            cast.role(cast.PROD, "ReadOnly"),
            duration=None,
            policy=None,
            channel="api",
            origin=origin,
            now=now,
        )
    revoke.allow_again(alice, actor="carol", why="found again", origin=origin, now=now)
    assert Person.objects.get(pk=alice.pk).active


def test_it_is_recorded_with_what_denies_the_sessions_at_aws(alice, origin, now):
    session(alice, "a", now)
    take_away(alice, origin, now, disable=True)
    event = AuditEvent.objects.latest("seq")
    assert (event.kind, event.outcome, event.actor) == ("revoked", "ok", "carol")
    assert event.data == {
        "person": str(alice.pk), "why": "a stolen laptop", "sessions": 1, "approvals": 0, "disabled": True, "source_identity": alice.session_name,
    }  # fmt: skip
    revoke.allow_again(alice, actor="carol", why="found again", origin=origin, now=now)
    assert AuditEvent.objects.latest("seq").data == {"person": str(alice.pk), "why": "found again", "disabled": False}


def test_a_person_is_found_by_each_name(alice, bob):
    for name in (
        str(alice.pk),
        alice.session_name,
        "alice@example.com",
        "alice",
        "corp:alice",
        f"corp:{alice.session_name}",
    ):
        assert revoke.find_person(name) == alice


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nobody",
        "entra:alice",
        "alice@",
        str(uuid.UUID(int=0)),
        "aaaa-bbbb-cccc-dddd-eeee-not-a-uuid-0",
        "x" * 36,
        "a-b-c-d-" + "e" * 28,
        "%",
        "*",
    ],
)
def test_a_name_of_nobody_is_not_found(alice, name):
    with pytest.raises(NotFound) as caught:
        revoke.find_person(name)
    assert caught.value.reason == "person_not_found"
    assert "Nobody matches" in caught.value.public_sentence


def test_a_name_of_two_people_is_not_guessed(alice, sign_in_as):
    sign_in_as(cast.identity("alice-7", provider="entra", email="alice@example.com"))
    with pytest.raises(NotFound) as caught:
        revoke.find_person("alice@example.com")
    assert caught.value.reason == "person_ambiguous"
    assert "Several people match" in caught.value.public_sentence
    assert "corp:alice" in caught.value.public_sentence  # whom to choose from
    assert "entra:alice-7" in caught.value.public_sentence
    assert revoke.find_person("entra:alice-7").provider == "entra"


def test_a_subject_with_a_colon_is_found_whole(sign_in_as):
    person = sign_in_as(cast.identity("urn:example:7"))
    assert revoke.find_person("urn:example:7") == person
    assert revoke.find_person("corp:urn:example:7") == person
