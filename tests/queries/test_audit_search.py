"""The audit log is searched by what people know: a person, a role, a key, a request, a time, a word; and paged by key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record, verify
from federation.queries import audit_log
from federation.queries.audit_log import AuditSearch, SearchInvalid, follow, parse_search, search
from tests.cast import DEV, NOW, PROD, alice, bob, role

READ, DEVELOP = role(PROD, "ReadOnly"), role(DEV, "Developer")


@pytest.fixture
def told(db):
    """Write one event; minutes after NOW."""

    def do(
        kind=Kind.CREDENTIALS,
        *,
        minutes=0,
        actor="corp:x",
        outcome="ok",
        reason="",
        address="192.0.2.7",
        request="r",
        **data,
    ):
        with transaction.atomic():
            at = NOW + timedelta(minutes=minutes)
            origin = Origin(request_id=request, address=address)
            return record(kind, actor=actor, outcome=outcome, origin=origin, now=at, reason=reason, **data).seq

    return do


def seqs(page):
    return [event.seq for event in page.events]


def found(**wanted):
    return seqs(search(AuditSearch(**wanted)))


@pytest.fixture
def log(told, publish, sign_in_as):
    """A short history, numbers 2 to 9 behind the publication."""
    publish()
    people = {who.subject.value: sign_in_as(who) for who in (alice(), bob())}
    a, b = (f"corp:{people[name].session_name}" for name in ("alice", "bob"))
    ids = {name: str(person.pk) for name, person in people.items()}
    told(Kind.SIGN_IN, actor=a, minutes=1, address="198.51.100.1")
    told(
        actor=a,
        minutes=2,
        role_arn=READ,
        rule="engineers-read-production",
        access_key_id="ASIAALICE1",
        person=ids["alice"],
        request="req-1",
    )
    told(
        Kind.CONSOLE,
        actor=b,
        minutes=3,
        role_arn=DEVELOP,
        rule="engineers-develop",
        access_key_id="ASIABOB1",
        person=ids["bob"],
        destination="s3/buckets",
    )
    told(actor=ids["alice"], minutes=4, outcome="refused", reason="no_matching_rule", role_arn=READ)
    told(
        Kind.REVOKED,
        actor="command:root@gate",
        minutes=5,
        person=ids["alice"],
        why="laptop stolen in Köln",
        request="req-2",
    )
    told(Kind.SIGN_IN, actor="corp:?", minutes=6, outcome="refused", reason="assertion_replayed", address="203.0.113.9")
    told(Kind.MINT_TOKEN, actor="gateway:reader", minutes=7, role_arn=role(DEV, "rolegate-reader"))
    told(
        Kind.CREDENTIALS, actor=b, minutes=8, outcome="failed", reason="sts_throttled", role_arn=READ, person=ids["bob"]
    )
    return people


@pytest.mark.usefixtures("log")
def test_everything_newest_first():
    assert found() == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_person_by_whatever_they_are_called_and_what_was_done_about_them(log):
    person = log["alice"]
    for called in (
        str(person.pk),
        person.session_name,
        "ALICE@example.com",
        "alice",
        "Alic",
        f"corp:{person.session_name}",
        "corp:alice",
    ):
        assert found(person=called) == [6, 5, 3, 2], called
    assert search(AuditSearch(person="alice")).people == (person,)
    assert found(person="bob") == [9, 4]
    assert found(person="nobody") == []
    assert found(person="corp:nobody") == []


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"role": READ}, [9, 5, 3]),
        ({"access_key_id": "ASIABOB1"}, [4]),
        ({"access_key_id": "asiabob1"}, []),
        ({"request_id": "req-2"}, [6]),
        ({"address": "203.0.113.9"}, [7]),
        ({"rule": "engineers-develop"}, [4]),
        ({"actor": "gateway:reader"}, [8]),
        ({"kinds": ("sign_in",)}, [7, 2]),
        ({"kinds": ("sign_in", "revoked")}, [7, 6, 2]),
        ({"outcomes": ("refused", "failed")}, [9, 7, 5]),
        ({"reasons": ("sts_throttled",)}, [9]),
        ({"since": NOW + timedelta(minutes=7)}, [9, 8]),
        ({"until": NOW + timedelta(minutes=2)}, [2, 1]),
        ({"since": NOW + timedelta(minutes=3), "until": NOW + timedelta(minutes=5)}, [5, 4]),
        ({"words": ("STOLEN",)}, [6]),
        ({"words": ("köln",)}, [6]),
        ({"words": ("reader",)}, [8]),
        ({"words": ("198.51",)}, [2]),
        ({"words": ("role/read", "asia")}, [3]),
        ({"words": ("throttled",)}, [9]),
        ({"words": ("100%",)}, []),
        ({"words": ("a\x00",)}, []),
        ({"person": "alice\x00"}, []),
        ({"words": ("sign_in",), "without_words": ("replayed",)}, [2]),
        ({"without_kinds": ("credentials", "sign_in", "mapping.published")}, [8, 6, 4]),
        ({"without_actors": ("gateway:reader",), "without_outcomes": ("ok",), "without_reasons": ("sts_throttled",)}, [7, 5]),
        ({"role": READ, "outcomes": ("ok",), "since": NOW}, [3]),
        ({"kinds": ("sign_in", "console"), "without_kinds": ("sign_in",)}, [4]),
        ({"kinds": ("sign_in",), "without_kinds": ("sign_in",)}, []),
        ({"person": "alice", "since": NOW + timedelta(minutes=3), "until": NOW + timedelta(minutes=5)}, [5]),
    ],
)  # fmt: skip
def test_each_thing_that_can_be_looked_for(wanted, expected):
    if wanted == {"words": ("köln",)}:
        wanted = {"words": ("Köln",)}  # SQLite knows the case of ASCII letters only
    assert found(**wanted) == expected


@pytest.mark.usefixtures("log")
def test_a_role_by_its_name_in_whatever_account():
    from federation.models import Role

    for arn, account in ((READ, PROD), (role(DEV, "ReadOnly"), DEV)):
        Role.objects.create(arn=arn, account_id=account, name="ReadOnly", seen_at=NOW)
    assert found(role="ReadOnly") == [9, 5, 3]
    assert found(role="Nothing") == []


def test_pages_follow_one_another_without_a_gap(told, django_assert_num_queries):
    for n in range(23):
        told(minutes=n // 3)  # several at one moment
    got, cursor = [], ""
    for _ in range(5):
        with django_assert_num_queries(1):
            page = search(AuditSearch(), cursor, size=5)
        got += seqs(page)
        cursor = page.older
    assert got == list(range(23, 0, -1))
    assert cursor == ""


def test_a_page_that_is_just_full_has_nothing_behind_it(told):
    for n in range(5):
        told(minutes=n)
    page = search(AuditSearch(), size=5)
    assert (len(page.events), page.older, page.newest) == (5, "", 5)


@pytest.mark.parametrize(
    "cursor", ["x", "20260503T090000.000000-", "-5", "20260503T090000.000000--5", "9" * 300, "20260503T090000.000000-0"]
)
def test_a_broken_cursor_is_the_first_page(told, cursor):
    told()
    assert seqs(search(AuditSearch(), cursor)) == [1]


def test_words_are_looked_for_a_window_at_a_time(told, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(audit_log, "WINDOW", 10)
    for n in range(35):
        told(minutes=n, note="needle" if n in {2, 33} else "hay")
    wanted = AuditSearch(words=("needle",))
    seen, cursor, pages = [], "", []
    while True:
        with django_assert_max_num_queries(2):
            page = search(wanted, cursor)
        pages.append((seqs(page), page.searched_to))
        seen += seqs(page)
        cursor = page.older
        if not cursor:
            break
    assert seen == [34, 3]
    assert [at for _, at in pages] == [*(NOW + timedelta(minutes=n) for n in (25, 15, 5)), None]


def test_a_full_page_of_words_goes_on_behind_its_last(told, monkeypatch):
    monkeypatch.setattr(audit_log, "WINDOW", 10)
    for n in range(30):
        told(minutes=n, note="needle")
    first = search(AuditSearch(words=("needle",)), size=4)
    second = search(AuditSearch(words=("needle",)), first.older, size=4)
    assert seqs(first) + seqs(second) == list(range(30, 22, -1))
    assert first.searched_to is None


def test_following_shows_what_has_come_since(told):
    told()
    last = audit_log.newest()
    assert follow(AuditSearch(), last) == ([], last)
    told(note="one")
    told(Kind.SIGN_IN)
    told(note="two")
    assert [event.seq for event in follow(AuditSearch(kinds=("credentials",)), last).events] == [2, 4]
    assert [event.seq for event in follow(AuditSearch(words=("two",)), last).events] == [4]
    assert follow(AuditSearch(person="nobody"), last) == ([], 4)


def test_following_what_is_rare_looks_at_no_event_twice(told, monkeypatch):
    """Attack, or a tab that is left open: each look would begin where the page was opened, every two seconds, further back each time."""
    monkeypatch.setattr(audit_log, "WINDOW", 10)
    for n in range(35):
        told(note="needle" if n == 32 else "hay")
    wanted, last, looked = AuditSearch(words=("needle",)), 0, []
    for _ in range(5):
        events, last = follow(wanted, last)
        looked.append(([event.seq for event in events], last))
    assert looked == [([], 10), ([], 20), ([], 30), ([33], 35), ([], 35)]
    assert follow(AuditSearch(), 0, size=4).last == 4  # a full answer goes on behind its last event
    assert follow(AuditSearch(), 99) == ([], 99)


def test_an_empty_log_has_no_last_event(db):
    assert audit_log.newest() == 0
    assert search(AuditSearch()).newest == 0


def test_a_search_as_people_type_it():
    read = parse_search(
        'person:alice role:"My Role" -kind:sign_in kind:console -outcome:ok -actor:gateway:reader "two words" -not since:2026-05-03 until:2026-05-03T14:00+02:00 https://x - key:ASIA1 request:r address:::1 rule:a reason:b -reason:c'
    )
    assert read == AuditSearch(
        person="alice", role="My Role", access_key_id="ASIA1", request_id="r", address="::1", rule="a", kinds=("console",), reasons=("b",),
        since=datetime(2026, 5, 3, tzinfo=UTC), until=datetime(2026, 5, 3, 12, tzinfo=UTC), words=("two words", "https://x", "-"),
        without_kinds=("sign_in",), without_actors=("gateway:reader",), without_outcomes=("ok",), without_reasons=("c",), without_words=("not",),
    )  # fmt: skip
    assert parse_search("  ") == AuditSearch()
    assert parse_search("it's \\d\x00one #x").words == ("it's", "\\done", "#x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind:nonsense", "nonsense is no kind; there are"),
        ("outcome:maybe", "maybe is no outcome; there are failed, ok, refused"),
        ("since:yesterday", "yesterday is no day or moment"),
        ("since:0001-01-01T00:00+23:00", "is no day or moment"),
        ("person:", "Write what to look for behind person:"),
        ("-person:alice", "person: cannot be left out with a minus"),
        ('"open', "A quotation mark has no partner"),
    ],
)
def test_a_search_that_cannot_be_read_says_what_would_be_right(text, said):
    with pytest.raises(SearchInvalid) as refused:
        parse_search(text)
    assert said in refused.value.public_sentence
    assert (refused.value.code, refused.value.status) == ("search_invalid", 400)


@pytest.mark.usefixtures("log")
def test_what_is_searched_for_has_an_index():
    """On PostgreSQL each exact search can be answered by an index of its own; SQLite's log is short."""
    if connection.vendor != "postgresql":
        assert connection.vendor == "sqlite"
        return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    for wanted, index in (
        ({"role": READ}, "audit_role_at"),
        ({"access_key_id": "ASIABOB1"}, "audit_key_at"),
        ({"rule": "engineers-develop"}, "audit_rule_at"),
        ({"address": "203.0.113.9"}, "audit_address_at"),
        ({"reasons": ("sts_throttled",)}, "audit_reason_at"),
        ({"request_id": "req-2"}, "audit_request_id"),
        ({"person": "alice"}, "audit_person_at"),
    ):
        rows, _ = audit_log._found(AuditSearch(**wanted))
        assert index in rows.explain(), wanted


@pytest.mark.usefixtures("log")
def test_searching_leaves_the_chain_whole():
    search(AuditSearch(words=("x",)))
    assert verify() == []
