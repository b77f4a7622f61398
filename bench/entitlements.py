# ruff: noqa: E402  the models are there once Django is set up
"""Entitlements of a large company: the full refresh, one person, one rule; `explain`; and searching the audit log.

    DATABASE_URL=postgres://… python -m bench.entitlements [--people 5000] [--groups 200] [--rules 5000] [--events 0]

Into a database of its own beside the one that DATABASE_URL names (SQLite in memory without), removed afterwards. The floor is
measured in the same run: each distinct group matched once by RE2 and the rules put together for each person in plain Python,
and COPY of the very same rows into a table with the same indexes.

Bounds: full refresh 1.5 x the floor (PostgreSQL); one person 20 ms; one rule writes what it gives and nothing else; `explain`
50 ms; with --events N (such as 5000000): each search of the log 150 ms. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.test"
import django

django.setup()

from django.db import connection, transaction

from bench.mapping import document, groups_of_a_person, matches
from federation.audit.events import Kind, Origin
from federation.flows import explain_access, publish_mapping, refresh_entitlements
from federation.mapping.rules import OIDC_CLAIMS, Document, IdentityProvider, OidcProvider
from federation.mapping.writing import to_yaml
from federation.models import AuditEvent, Entitlement, Person, Role, Source, current
from federation.models.access_changes import note_people
from federation.queries.audit_log import AuditSearch, search

FLOOR_MULTIPLE, PERSON_MS, EXPLAIN_MS, SEARCH_MS, ROLES = 1.5, 20.0, 50.0, 150.0, 200
ORIGIN = Origin("bench", "192.0.2.1")


def company_document(rules: int) -> Document:
    """`bench.mapping`'s, but each rule gives one of 200 roles in the five accounts of a team."""
    made = document(matches(rules))
    own = tuple(
        replace(rule, allow=replace(rule.allow, roles=(f"Role{number % ROLES}",)))
        if rule.allow and rule.allow.roles
        else rule
        for number, rule in enumerate(made.rules)
    )
    provider = IdentityProvider(
        "corp",
        "Bench",
        oidc=OidcProvider("http://127.0.0.1:9", "x", "${TEST_OIDC_SECRET}"),
        saml=None,
        claims=OIDC_CLAIMS,
    )
    return replace(made, rules=own, identity_providers=(provider,))


def fill(given: argparse.Namespace, made: Document, now: datetime) -> list[list[str]]:
    """People with groups of a pool that a company may have, and a catalogue of 200 roles an account."""
    pool = sorted({group for seed in range(100) for group in groups_of_a_person(seed, given.groups, given.rules)})
    draw = random.Random(3)
    groups = [sorted(draw.sample(pool, given.groups)) for _ in range(given.people)]
    Person.objects.bulk_create(
        [
            Person(
                provider="corp", subject=f"p{n}", session_name=f"p{n}-x", name=f"Person {n}", email=f"p{n}@example.com", groups=mine,
                claims_at=now, authenticated_at=now,
            )
            for n, mine in enumerate(groups)
        ],
        batch_size=500,
    )  # fmt: skip
    for account in made.accounts:
        Source.objects.create(key=f"account:{account.id}", version=1, state="ok", succeeded_at=now)
    Role.objects.bulk_create(
        [
            Role(arn=f"arn:aws:iam::{a.id}:role/{name}", account_id=a.id, name=name, seen_at=now)
            for a in made.accounts
            for name in ("Developer", *(f"Role{n}" for n in range(ROLES)))
        ],
        batch_size=5000,
    )
    return groups


def floor(groups: list[list[str]]) -> tuple[float, float]:
    """Seconds to match and put together, and to COPY the rows that there are."""
    index = current.mapping().compiled.index
    begun = time.perf_counter()
    answers = {group: index._hits(group).rules for group in {group for mine in groups for group in mine}}
    for mine in groups:
        matched: set[int] = set()
        for group in mine:
            matched.update(answers[group])
    matching = time.perf_counter() - begun
    table = Entitlement._meta.db_table
    kept = io.BytesIO()
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} (person_id, given_id, revision, since) TO STDOUT") as copy:
            for block in copy:
                kept.write(block)
        cursor.execute(f"CREATE TABLE floor (LIKE {table} INCLUDING ALL)")
        begun = time.perf_counter()
        with transaction.atomic(), cursor.copy("COPY floor (person_id, given_id, revision, since) FROM STDIN") as copy:
            kept.seek(0)
            while block := kept.read(1 << 18):
                copy.write(block)
        copying = time.perf_counter() - begun
        cursor.execute("DROP TABLE floor")
    return matching, copying


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, CPU seconds of this process, and what came out."""
    begun, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - begun, time.process_time() - cpu, found


def line(label: str, said: str, *, met: bool) -> bool:
    print(f"{label:34}{said}{'' if met else '  MISSED'}")
    return met


def entitlements(given: argparse.Namespace, now: datetime) -> bool:
    made = company_document(given.rules)
    groups = fill(given, made, now)

    def publish(document: Document) -> None:
        publish_mapping.publish(to_yaml(document), author="bench", comment="", origin=ORIGIN, now=now)
        current.mapping()  # parsed, as a worker that has been running for a while has it

    publish(made)
    ok = True
    seconds, cpu, first = timed(lambda: refresh_entitlements.refresh(now=now))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = f"{seconds:6.2f} s, CPU {cpu:.2f} s; {first.added:,} rows of {first.people:,} people; peak of this process {peak:.0f} MB"
    if connection.vendor == "postgresql":
        matching, copying = floor(groups)
        ratio = seconds / (matching + copying)
        said += (
            f"; {ratio:.2f} x the floor ({matching:.2f} s matching + {copying:.2f} s COPY; at most {FLOOR_MULTIPLE})"
        )
        ok &= line("full refresh, from nothing", said, met=ratio <= FLOOR_MULTIPLE)
    else:
        line("full refresh, from nothing", said, met=True)
    seconds, cpu, again = timed(lambda: refresh_entitlements.refresh(now=now, full=True))
    unchanged = again.added == again.gone == 0
    ok &= line(
        "full refresh, nothing changed",
        f"{seconds:6.2f} s, CPU {cpu:.2f} s; {again.added + again.gone} rows written",
        met=unchanged,
    )

    sample = min(7, given.people - 1)
    person = Person.objects.get(subject=f"p{sample}")
    times = []
    for turn in range(15):
        mine = groups[sample][: len(groups[sample]) - 20 * (turn % 2)]
        Person.objects.filter(pk=person.pk).update(groups=mine)
        note_people([person.pk], at=now)
        times.append(timed(lambda: refresh_entitlements.refresh(now=now)))
    median = statistics.median(wall for wall, _, _ in times) * 1000
    burnt = statistics.median(cpu for _, cpu, _ in times) * 1000
    one = all(done.people == 1 for _, _, done in times)
    ok &= line(
        "one person changed",
        f"{median:6.1f} ms, CPU {burnt:.1f} ms (at most {PERSON_MS:.0f})",
        met=one and median <= PERSON_MS,
    )

    ok &= one_rule(made, publish, now)

    draw = random.Random(5)
    arns = list(Role.objects.values_list("arn", flat=True)[:2000])
    times = []
    for number in range(min(40, given.people)):
        who = Person.objects.get(subject=f"p{number}")
        arn = draw.choice(arns)
        times.append(timed(lambda who=who, arn=arn: explain_access.tell(who.pk, arn, now=now).as_text()))
    walls = sorted(wall * 1000 for wall, _, _ in times)
    said = f"{statistics.median(walls):6.1f} ms, worst of {len(walls)} {walls[-1]:.1f} ms (at most {EXPLAIN_MS:.0f})"
    ok &= line("explain, a person and a role", said, met=walls[-1] <= EXPLAIN_MS)
    return ok


def one_rule(made: Document, publish: Callable[[Document], None], now: datetime) -> bool:
    """A rule that somebody has something by gives another role. In a company that is too small there may be none."""
    rules = list(made.rules)
    names = set(Entitlement.objects.values_list("given__rule", flat=True).distinct())
    number = next((n for n, rule in enumerate(rules) if rule.name in names and rule.allow and rule.allow.roles), None)
    if number is None:
        return line("one rule changed", "no rule names a role that somebody has: ask for more rules", met=True)
    rules[number] = replace(rules[number], allow=replace(rules[number].allow, roles=("Developer",)))
    publish(replace(made, rules=tuple(rules)))
    concerned = Entitlement.objects.filter(given__by_rule__rule=rules[number].name).values("person").distinct().count()
    seconds, cpu, done = timed(lambda: refresh_entitlements.refresh(now=now))
    said = f"{seconds:6.2f} s, CPU {cpu:.2f} s; {done.people} people worked out, {concerned} have the rule; {done.added} rows added, {done.gone} removed"
    return line("one rule changed", said, met=done.people == concerned and not done.everybody)


SEARCHES: dict[str, dict[str, Any]] = {
    "everything": {},
    "person": {"person": "p7@example.com"},
    "role": {"role": "arn:aws:iam::000000000001:role/Role1"},
    "access key id": {"access_key_id": "ASIA0000000000123457"},
    "request id": {"request_id": "req-123456"},
    "address": {"address": "10.1.2.3"},
    "rule": {"rule": "rule-77"},
    "kind": {"kinds": ("sign_in",)},
    "rare kind": {"kinds": ("revoked",)},
    "refused": {"outcomes": ("refused",)},
    "reason": {"reasons": ("assertion_replayed",)},
    "a day long ago": {"since": timedelta(60), "until": timedelta(59)},
    "person and day": {"person": "p7@example.com", "since": timedelta(60), "until": timedelta(50)},
    "without kinds": {"without_kinds": ("credentials", "sign_in")},
    "a frequent word": {"words": ("role31",)},
    "a word that is not there": {"words": ("absent",)},
}


def audit(count: int, now: datetime) -> bool:
    """Search in so many events, put there without their macs: nothing verifies them here."""
    with connection.cursor() as cursor:
        # Filled without its indexes, as a restore does it: minutes less.
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'federation_auditevent' AND indexname NOT LIKE '%%pkey'"
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        cursor.execute(
            """INSERT INTO federation_auditevent (seq, at, kind, outcome, actor, reason, request_id, address, data, mac)
            SELECT n, %s::timestamptz - (%s - n) * (interval '90 days' / %s),
              CASE WHEN n %% 100000 = 0 THEN 'revoked' WHEN n %% 3 = 0 THEN 'sign_in' ELSE 'credentials' END,
              CASE WHEN n %% 50 = 0 THEN 'refused' ELSE 'ok' END, 'corp:p' || (n::bigint * 7919 %% 5000) || '-x',
              CASE WHEN n %% 5000 = 0 THEN 'assertion_replayed' WHEN n %% 50 = 0 THEN 'no_matching_rule' ELSE '' END, 'req-' || n,
              '10.' || n %% 250 || '.' || n %% 241 || '.' || n %% 239,
              CASE WHEN n %% 3 = 0 THEN jsonb_build_object('protocol', 'saml', 'user_agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36')
              ELSE jsonb_build_object('role_arn', 'arn:aws:iam::' || lpad((n %% 100)::text, 12, '0') || ':role/Role' || n %% 200, 'rule', 'rule-' || n %% 5000,
                'access_key_id', 'ASIA' || lpad(n::text, 16, '0'), 'channel', 'api', 'duration', 3600, 'revision', 12) END, repeat('0', 64)
            FROM generate_series(1, %s) n""",
            [now, count, count, count],
        )
        for _, definition in indexes:
            cursor.execute(definition)
        cursor.execute("ANALYZE federation_auditevent")
    ok = True
    for label, keys in SEARCHES.items():
        wanted = AuditSearch(
            **{key: now - value if isinstance(value, timedelta) else value for key, value in keys.items()}
        )
        walls = []
        page = search(wanted)
        for _ in range(5):
            wall, _, page = timed(lambda wanted=wanted: search(wanted))
            walls.append(wall * 1000)
        median = statistics.median(walls)
        said = f"{median:6.1f} ms, {len(page.events)} shown{', in a window' if page.searched_to else ''}"
        ok &= line(f"search: {label}", said, met=median <= SEARCH_MS)
    return ok


@contextmanager
def of_a_company(**more: int) -> Iterator[argparse.Namespace]:
    """The size of a company, from the command line (`more`: further numbers and their defaults), and a database of its own
    while the block lasts.
    """
    arguments = argparse.ArgumentParser()
    for name, default in {"people": 5_000, "groups": 200, "rules": 5_000, **more}.items():
        arguments.add_argument(f"--{name}", type=int, default=default)
    given = arguments.parse_args()
    os.environ.setdefault("TEST_OIDC_SECRET", "public")
    connection.settings_dict["TEST"]["NAME"] = f"bench_{uuid4().hex[:8]}" if connection.vendor == "postgresql" else None
    kept = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        print(f"{given.people:,} people x {given.groups} groups x {given.rules:,} rules, {connection.vendor}")
        yield given
    finally:
        connection.creation.destroy_test_db(kept, verbosity=0)


def main() -> int:
    with of_a_company(events=0) as given:
        now = datetime.now(UTC)
        ok = entitlements(given, now)
        if given.events and connection.vendor == "postgresql":
            print(f"{given.events:,} audit events (of kinds such as {Kind.CREDENTIALS.value})")
            AuditEvent.objects.all()
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE federation_auditevent DISABLE TRIGGER USER; TRUNCATE federation_auditevent")
            ok &= audit(given.events, now)
        return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
