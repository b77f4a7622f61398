"""Expired rows go, and nothing that may still be needed to refuse a replay or to explain the past."""

from datetime import timedelta

import pytest

from federation import tasks
from federation.flows import purge
from federation.models import (
    AccessToken,
    AuditEvent,
    AuthorizationCode,
    DeviceGrant,
    MappingRevision,
    Person,
    PolicyDocument,
    PortalSession,
    RateWindow,
    RefreshToken,
    Role,
    SignInState,
    TokenFamily,
    UsedCredential,
)
from federation.models.clients import WrongUserCode
from tests import cast

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SLACK = {
    "sign_in_states": HOUR, "used_credentials": 10 * MINUTE, "sessions": timedelta(0), "codes": DAY, "device_grants": HOUR,
    "wrong_user_codes": DAY, "access_tokens": DAY, "refresh_tokens": 8 * DAY, "families": 30 * DAY,
}  # fmt: skip


@pytest.fixture
def alice(sign_in_as):
    return sign_in_as(cast.alice())


def make(table, person, end, now, name):
    """One row of `table` that ends at `end`."""

    def family(expires):
        return TokenFamily.objects.create(
            person=person,
            client_id="c",
            label="l",
            scope="s",
            session_epoch=0,
            created=now,
            last_used=now,
            expires=expires,
        )

    code = {
        "person": person,
        "client_id": "c",
        "redirect_uri": "r",
        "code_challenge": "c",
        "scope": "s",
        "session_epoch": 0,
        "created": now,
    }
    return {
        "sign_in_states": lambda: SignInState.objects.create(key=name, provider="corp", created_at=now, expires_at=end),
        "used_credentials": lambda: UsedCredential.objects.create(key=name, expires_at=end),
        "sessions": lambda: PortalSession.objects.create(
            session_key=name, session_data="", expire_date=end, person=person
        ),
        "codes": lambda: AuthorizationCode.objects.create(hash=name, expires=end, **code),
        "device_grants": lambda: DeviceGrant.objects.create(
            device_code_hash=name, user_code_hash=name, client_id="c", scope="s", created=now, expires=end, interval=5
        ),
        "wrong_user_codes": lambda: WrongUserCode.objects.create(person=person, at=end),
        "access_tokens": lambda: AccessToken.objects.create(
            hash=name, family=family(now + 100 * DAY), issued=now, expires=end
        ),
        "refresh_tokens": lambda: RefreshToken.objects.create(
            hash=name, family=family(now + 100 * DAY), issued=now, expires=end
        ),
        "families": lambda: family(end),
    }[table]()


@pytest.mark.parametrize("table", SLACK)
def test_a_row_goes_when_its_time_and_its_slack_are_over_and_not_before(alice, now, table):
    end = now - SLACK[table]
    gone = make(table, alice, end - timedelta(seconds=1), now, "gone")
    kept = make(table, alice, end + timedelta(seconds=1), now, "kept")
    counts = purge.purge_expired(now=now)
    assert {name: count for name, count in counts.items() if count} == {table: 1}
    assert not type(gone).objects.filter(pk=gone.pk).exists()
    assert type(kept).objects.filter(pk=kept.pk).exists()


def test_rate_windows_go_when_no_estimate_looks_at_them(db, now):
    slot = int(now.timestamp() // 60)
    for n in (0, 1, 10, 11, 1000):
        RateWindow.objects.create(key="k", slot=slot - n, count=1)
    assert purge.purge_expired(now=now)["rate_windows"] == 2
    assert sorted(slot - row.slot for row in RateWindow.objects.all()) == [0, 1, 10]


def test_a_second_time_changes_nothing(alice, now):
    for table in SLACK:
        make(table, alice, now - 100 * DAY, now, "gone")
    assert sum(purge.purge_expired(now=now).values()) >= len(SLACK)
    assert sum(purge.purge_expired(now=now).values()) == 0


def test_a_spent_assertion_is_remembered_until_it_has_expired_for_good(alice, now):
    """A replay inside the clock skew must still meet the row that refuses it."""
    UsedCredential.objects.create(key="assertion", expires_at=now)
    purge.purge_expired(now=now + 9 * MINUTE)
    assert UsedCredential.objects.count() == 1


def test_people_revisions_and_the_audit_log_are_never_thrown_away(alice, publish, now):
    publish()
    counts = [model.objects.count() for model in (Person, MappingRevision, AuditEvent)]
    purge.purge_expired(now=now + 10_000 * DAY)
    assert [model.objects.count() for model in (Person, MappingRevision, AuditEvent)] == counts


def test_the_task_does_it(alice, now):
    make("used_credentials", alice, now - 1000 * DAY, now, "gone")
    tasks.purge_expired()
    assert not UsedCredential.objects.exists()


def test_a_flood_of_begun_sign_ins_is_thrown_away_by_the_flood_itself(publish, gateway_keys, origin, monkeypatch):
    """No worker runs here: what is over an hour past its end goes as new ones come, and nothing younger."""
    from federation.flows import sign_in
    from tests import saml_kit

    assert purge._AT_ONCE > sign_in.PURGE_ONE_IN  # more goes than comes
    now = saml_kit.NOW
    metadata = saml_kit.metadata_xml().replace('"', "'")
    publish(cast.DOCUMENT.replace('{metadata_url: "http://127.0.0.1:9/metadata"}', f'{{metadata_xml: "{metadata}"}}'))
    monkeypatch.setattr(purge, "_AT_ONCE", 100)
    monkeypatch.setattr(sign_in, "PURGE_ONE_IN", 1)
    ended = now - HOUR - MINUTE
    rows = [SignInState(key=f"old{n}", provider="corp", created_at=now, expires_at=ended) for n in range(250)]
    SignInState.objects.bulk_create(rows)
    make("sign_in_states", None, now - HOUR + MINUTE, now, "kept")
    left = []
    for _ in range(3):
        sign_in.begin("corp", next_path="/", binding="b", origin=origin, now=now)
        left.append(SignInState.objects.filter(key__startswith="old").count())
    assert left == [150, 50, 0]
    assert SignInState.objects.filter(key="kept").exists()


def test_texts_of_policies_that_no_role_has_any_more_are_thrown_away(db, now):
    for digest, days in (("a" * 64, 9), ("b" * 64, 9), ("c" * 64, 0)):
        PolicyDocument.objects.create(digest=digest, text="{}", seen_at=now - timedelta(days=days))
    held = [{"name": "x", "arn": "", "document": "a" * 64, "boundary": False}]
    Role.objects.create(
        arn="arn:aws:iam::111122223333:role/A", account_id="111122223333", name="A", seen_at=now, policies=held
    )
    Role.objects.create(arn="arn:aws:iam::111122223333:role/B", account_id="111122223333", name="B", seen_at=now)
    assert purge.purge_expired(now=now)["policy_documents"] == 1
    assert sorted(PolicyDocument.objects.values_list("digest", flat=True)) == [
        "a" * 64,
        "c" * 64,
    ]  # a role is just getting c
