"""Codes and tokens used twice, in turn and twenty at once; and a stolen copy of the database."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections

from federation.flows import pair_cli
from federation.models.clients import AccessToken, TokenFamily
from tests.oauth.pairing import CLIENT, NOW, ORIGIN, code_for, events, paired, person, redeem, seconds

AT_ONCE = 20


def at_once(use) -> tuple[list[pair_cli.Tokens], list[str]]:
    """Calls `use` in twenty threads that start together; the tokens they got, and the reasons of the refusals."""
    barrier = Barrier(AT_ONCE)

    def one(_):
        try:
            barrier.wait(30)
            return use()
        except pair_cli.GrantRefused as error:
            return error.reason
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(one, range(AT_ONCE)))
    return [a for a in answers if isinstance(a, pair_cli.Tokens)], [a for a in answers if isinstance(a, str)]


@pytest.mark.django_db(transaction=True)
def test_one_code_redeemed_twenty_times_at_once_gives_tokens_once_and_those_are_revoked():
    code = code_for(person("alice"))
    got, reasons = at_once(lambda: redeem(code))
    assert len(got) == 1
    assert reasons == ["code_reused"] * (AT_ONCE - 1)
    family = TokenFamily.objects.get()
    assert family.revoked_reason == "code_reused"
    assert AccessToken.objects.count() == 1
    assert len(events("client.paired")) == len(events("client.revoked")) == 1


@pytest.mark.django_db(transaction=True)
def test_one_refresh_token_used_twenty_times_at_once_gives_tokens_once_and_ends_the_family():
    tokens = paired(person("alice"))
    got, reasons = at_once(lambda: pair_cli.rotate(tokens.refresh_token, client_id=CLIENT, origin=ORIGIN, now=NOW))
    assert len(got) == 1
    assert reasons == ["token_reused"] * (AT_ONCE - 1)
    assert AccessToken.objects.count() == 2
    with pytest.raises(pair_cli.TokenRefused) as caught:
        pair_cli.authenticate(got[0].access_token, now=NOW)
    assert caught.value.reason == "grant_revoked"
    assert len(events("client.revoked")) == 1
    assert len(events("token.reused")) == AT_ONCE - 1


@pytest.mark.django_db(transaction=True)
def test_one_allowed_device_code_polled_twenty_times_at_once_gives_tokens_once():
    alice = person("alice")
    start = pair_cli.begin_device(client_id=CLIENT, scope="", origin=ORIGIN, now=NOW)
    pair_cli.decide_device(start.user_code, person_id=alice.pk, allow=True, origin=ORIGIN, now=NOW)
    got, reasons = at_once(
        lambda: pair_cli.poll_device(start.device_code, client_id=CLIENT, origin=ORIGIN, now=NOW + seconds(5))
    )
    assert len(got) == 1
    assert reasons == ["device_code_reused"] * (AT_ONCE - 1)
    assert TokenFamily.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_guessing_user_codes_twenty_at_once_makes_no_more_than_five_guesses(monkeypatch):
    monkeypatch.setattr(pair_cli.rate_limits, "hit", lambda *args, **kwargs: None)
    mallory = person("mallory")

    def guess():
        try:
            return pair_cli.find_device("BCDF-GHJK", person_id=mallory.pk, origin=ORIGIN, now=NOW)
        except pair_cli.UserCodeRefused as error:
            raise pair_cli.GrantRefused(error.reason) from error

    _, reasons = at_once(guess)
    assert sorted(reasons) == ["too_many_user_codes"] * (AT_ONCE - 5) + ["user_code_unknown"] * 5


@pytest.mark.django_db
def test_a_code_used_twice_revokes_what_it_gave():
    code = code_for(person("alice"))
    tokens = redeem(code)
    with pytest.raises(pair_cli.GrantRefused) as caught:
        redeem(code)
    assert caught.value.reason == "code_reused"
    with pytest.raises(pair_cli.TokenRefused) as rejected:
        pair_cli.authenticate(tokens.access_token, now=NOW)
    assert rejected.value.reason == "grant_revoked"
    (revoked,) = events("client.revoked")
    assert revoked.reason == "code_reused"


def everything_stored() -> str:
    """Every value of every table, as text."""
    parts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            parts += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(parts)


@pytest.mark.django_db
def test_a_stolen_copy_of_the_database_holds_nothing_to_present(caplog):
    caplog.set_level("DEBUG")
    alice = person("alice")
    code = code_for(alice)
    tokens = redeem(code)
    renewed = pair_cli.rotate(tokens.refresh_token, client_id=CLIENT, origin=ORIGIN, now=NOW)
    start = pair_cli.begin_device(client_id=CLIENT, scope="", origin=ORIGIN, now=NOW)
    pair_cli.find_device(start.user_code, person_id=alice.pk, origin=ORIGIN, now=NOW)
    stored = everything_stored()
    assert str(alice.pk).replace("-", "") in stored.replace("-", "")  # the scan sees what is there
    secrets = [code, start.device_code, start.user_code, start.user_code.replace("-", "")]
    for pair in (tokens, renewed):
        secrets += [pair.access_token, pair.refresh_token, pair.access_token[7:], pair.refresh_token[7:]]
    logged = caplog.text
    for secret in secrets:
        assert secret not in stored
        assert secret not in logged


@pytest.mark.django_db
def test_a_stored_hash_is_no_token():
    tokens = paired(person("alice"))
    stored = AccessToken.objects.get().hash
    for presented in (stored, "rlg_at_" + stored[:43]):
        with pytest.raises(pair_cli.TokenRefused):
            pair_cli.authenticate(presented, now=NOW)
    assert tokens.access_token[7:] != stored


def test_tokens_are_256_random_bits_and_their_kinds_differ(db):
    tokens = [paired(person(f"person{n}")) for n in range(5)]
    for token in tokens:
        assert (token.access_token[:7], token.refresh_token[:7]) == ("rlg_at_", "rlg_rt_")
        assert len(token.access_token) == len(token.refresh_token) == 7 + 43
    assert len({text for token in tokens for text in (token.access_token[7:], token.refresh_token[7:])}) == 10
