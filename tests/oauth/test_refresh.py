"""Refreshing, ending and recognising what a pairing gave."""

from datetime import timedelta

import pytest

from federation.flows import pair_cli
from federation.models.clients import RefreshToken, TokenFamily
from tests.oauth.pairing import CLIENT, NOW, ORIGIN, events, paired, seconds

HOUR = timedelta(hours=1)


def rotate(token: str, now=NOW, **changes) -> pair_cli.Tokens:
    return pair_cli.rotate(token, **{"client_id": CLIENT, "origin": ORIGIN, "now": now, **changes})


def refusal(token: str, now=NOW, **changes) -> str:
    with pytest.raises(pair_cli.GrantRefused) as caught:
        rotate(token, now, **changes)
    assert caught.value.oauth_error == "invalid_grant"
    return caught.value.reason


def rejection(token: str, now=NOW) -> str:
    with pytest.raises(pair_cli.TokenRefused) as caught:
        pair_cli.authenticate(token, now=now)
    return caught.value.reason


def test_a_refresh_gives_new_tokens_in_the_same_family(alice):
    first = paired(alice)
    second = rotate(first.refresh_token, NOW + seconds(60))
    assert second.family_id == first.family_id
    assert len({first.access_token, second.access_token, first.refresh_token, second.refresh_token}) == 4
    assert pair_cli.authenticate(second.access_token, now=NOW + seconds(61)).family_id == first.family_id
    spent = RefreshToken.objects.exclude(used_at=None).get()
    assert spent.replaced_by is not None


def test_lifetimes_access_fifteen_minutes_refresh_twelve_hours_anew_each_time(alice):
    tokens = paired(alice)
    assert pair_cli.authenticate(tokens.access_token, now=NOW + seconds(899))
    assert rejection(tokens.access_token, NOW + seconds(900)) == "token_expired"
    assert refusal(paired(alice).refresh_token, NOW + 12 * HOUR) == "token_expired"
    later = rotate(tokens.refresh_token, NOW + 11 * HOUR)
    assert rotate(later.refresh_token, NOW + 22 * HOUR).expires_in == 900


def test_no_refresh_goes_beyond_seven_days(alice):
    tokens, now = paired(alice), NOW
    while now < NOW + timedelta(days=7) - 11 * HOUR:
        now += 11 * HOUR
        tokens = rotate(tokens.refresh_token, now)
    end = NOW + timedelta(days=7)
    last = rotate(tokens.refresh_token, end - seconds(300))
    assert last.expires_in == 300
    assert refusal(last.refresh_token, end) == "grant_expired"
    assert rejection(last.access_token, end) == "grant_expired"


def test_lifetimes_come_from_the_settings(alice, settings):
    settings.ROLEGATE_ACCESS_TOKEN_AGE = timedelta(minutes=5)
    settings.ROLEGATE_REFRESH_TOKEN_AGE = timedelta(hours=2)
    settings.ROLEGATE_PAIRING_AGE = timedelta(hours=3)
    tokens = paired(alice)
    assert tokens.expires_in == 300
    later = rotate(tokens.refresh_token, NOW + 2 * HOUR - seconds(1))
    assert refusal(later.refresh_token, NOW + 3 * HOUR) == "grant_expired"


def test_the_second_use_ends_the_whole_family(alice):
    first = paired(alice)
    second = rotate(first.refresh_token)
    assert refusal(first.refresh_token) == "token_reused"
    assert rejection(second.access_token) == "grant_revoked"
    assert refusal(second.refresh_token) == "grant_revoked"
    (reused,) = events("token.reused")
    assert (reused.outcome, reused.reason, reused.data["family"]) == ("refused", "token_reused", str(first.family_id))
    (revoked,) = events("client.revoked")
    assert revoked.reason == "token_reused"


def test_other_families_of_the_person_live_on(alice):
    first, other = paired(alice), paired(alice)
    rotate(first.refresh_token)
    refusal(first.refresh_token)
    assert pair_cli.authenticate(other.access_token, now=NOW).family_id == other.family_id


@pytest.mark.parametrize(
    ("change", "reason"), [({"active": False}, "person_disabled"), ({"session_epoch": 1}, "session_ended")]
)
def test_a_person_who_lost_access_can_neither_use_nor_refresh(alice, change, reason):
    tokens = paired(alice)
    for name, value in change.items():
        setattr(alice, name, value)
    alice.save()
    assert rejection(tokens.access_token) == reason
    assert refusal(tokens.refresh_token) == reason
    assert [event.reason for event in events("token.refused")] == [reason]


def test_another_client_cannot_refresh(alice):
    assert refusal(paired(alice).refresh_token, client_id="other") == "wrong_client"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda tokens: "", "token_malformed"),
        (lambda tokens: tokens.access_token, "token_malformed"),
        (lambda tokens: tokens.refresh_token + "\n", "token_malformed"),
        (lambda tokens: "rlg_rt_" + "A" * 43, "token_unknown"),
    ],
)
def test_what_is_no_refresh_token(alice, make, reason):
    assert refusal(make(paired(alice))) == reason


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda tokens: "", "token_malformed"),
        (lambda tokens: "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln", "token_malformed"),
        (lambda tokens: tokens.access_token + "\n", "token_malformed"),
        (lambda tokens: tokens.access_token[:-1], "token_malformed"),
        (lambda tokens: tokens.refresh_token, "wrong_token_type"),
        (lambda tokens: "rlg_at_" + tokens.refresh_token[7:], "token_unknown"),
        (lambda tokens: "rlg_at_" + "A" * 43, "token_unknown"),
    ],
)
def test_what_is_no_access_token(alice, make, reason):
    assert rejection(make(paired(alice))) == reason


def test_recognising_a_token_is_one_query(alice, django_assert_num_queries):
    tokens = paired(alice)
    with django_assert_num_queries(1):
        caller = pair_cli.authenticate(tokens.access_token, now=NOW + seconds(60))
    assert (caller.person_id, caller.client_id) == (alice.pk, CLIENT)


def test_use_is_noted_every_five_minutes(alice):
    tokens = paired(alice)
    for after, noted in [(299, 0), (300, 300), (500, 300)]:
        pair_cli.authenticate(tokens.access_token, now=NOW + seconds(after))
        assert TokenFamily.objects.get().last_used == NOW + seconds(noted)


def test_a_refused_token_is_counted_and_audited_but_an_expired_one_is_not(alice):
    tokens = paired(alice)
    for token, now in [(tokens.access_token, NOW + HOUR), ("rlg_at_" + "A" * 43, NOW)]:
        with pytest.raises(pair_cli.TokenRefused):
            pair_cli.authenticate(token, now=now, origin=ORIGIN)
    (event,) = events("token.refused")
    assert event.reason == "token_unknown"


# --- The list of paired command lines -----------------------------------------------------------------


def test_a_person_sees_and_ends_their_own_pairings(alice, bob):
    old, new = paired(alice), paired(alice, now=NOW + seconds(10))
    paired(bob)
    listed = pair_cli.list_grants(alice.pk, now=NOW + seconds(20))
    assert [line.id for line in listed] == [new.family_id, old.family_id]
    assert (listed[0].client, listed[0].label, listed[0].address) == (
        "Rolegate command line",
        ORIGIN.user_agent,
        ORIGIN.address,
    )
    pair_cli.revoke_grant(old.family_id, person_id=alice.pk, origin=ORIGIN, now=NOW + seconds(30))
    assert rejection(old.access_token, NOW + seconds(31)) == "grant_revoked"
    assert [line.id for line in pair_cli.list_grants(alice.pk, now=NOW + seconds(40))] == [new.family_id]
    assert [event.reason for event in events("client.revoked")] == ["by_person"]


def test_nobody_ends_the_pairing_of_another(alice, bob):
    tokens = paired(alice)
    with pytest.raises(pair_cli.RolegateError) as caught:
        pair_cli.revoke_grant(tokens.family_id, person_id=bob.pk, origin=ORIGIN, now=NOW)
    assert caught.value.reason == "grant_unknown"
    assert pair_cli.authenticate(tokens.access_token, now=NOW)


def test_dead_pairings_are_not_listed(alice, db):
    paired(alice)
    assert pair_cli.list_grants(alice.pk, now=NOW + timedelta(days=7)) == []
    alice.session_epoch += 1
    alice.save()
    assert pair_cli.list_grants(alice.pk, now=NOW) == []
    alice.delete()
    assert pair_cli.list_grants(alice.pk, now=NOW) == []
