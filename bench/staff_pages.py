"""The console's lists on 5,000 people, 200,000 roles and 5 million audit events.

    DATABASE_URL=postgres://…/postgres python -m bench.staff_pages [--people N] [--accounts N] [--events N] [--database NAME] [--keep]

Makes a database of its own beside the one that DATABASE_URL names (dropped at the end unless --keep; one that is there is used
again), fills it by generate_series, and asks for every page of the console's navigation, and for searches and deep pages of the
long lists, as an owner of the gateway; and for the search of all roles that every employee has. In-process: server time without
the network. Target: each list at most 150 ms, and the same number of statements on the first page as far behind. Judged is the
best of several, because whatever else the machine does only adds. The process exits with 1 if a page misses it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

TARGET_MS = 150.0
ROLES_PER_ACCOUNT = 200
TIMES = 7
OWNER = uuid.UUID("00000000-0000-4000-8000-00000000c401")
OWNER_NAME = "carol-owner-of-bench"


def prepare(url: str, name: str) -> tuple[str, bool]:
    """(URL of the bench's own database, whether it was there already)."""
    with psycopg.connect(url, autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None
        if not there:
            connection.execute(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}")), there


def drop(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


# --- Filling --------------------------------------------------------------------------------------------

MAPPING = """\
version: 1
identity_providers:
  - slug: corp
    name: Example Corp
    saml: {metadata_url: "http://127.0.0.1:9/metadata"}
    claims: {subject: NameID, email: mail, name: displayName, groups: memberOf, attributes: {department: department}}
staff:
  - {role: owner, groups: [cloud-platform]}
mapping:
"""


def mapping(teams: int) -> str:
    """One rule a team, one for all engineers, one denial."""
    rules = [
        f"  - name: team-{number}-works-on-its-accounts\n    when: {{groups: [team-{number}]}}\n"
        f'    allow: {{roles: [Role-1, Role-2, Role-3, Role-4], accounts: {{tags: {{team: "team-{number}"}}}}}}\n'
        for number in range(teams)
    ]
    rules.append(
        "  - name: engineers-read-production\n    when: {groups: [engineering]}\n"
        "    allow: {roles: [Role-0], accounts: {tags: {environment: production}}}\n"
    )
    return MAPPING + "".join(rules)


PEOPLE = """
INSERT INTO federation_person (id, provider, subject_format, subject, session_name, name, email, active, session_epoch, groups,
    groups_complete, attributes, mfa, authenticated_at, claims_at, created_at)
SELECT ('00000000-0000-4000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 'corp', '', 'p' || n, 'person-' || n, 'Person Number ' || n,
    'person' || n || '@example.com', n %% 97 <> 0, 0,
    jsonb_build_array('engineering', 'team-' || n %% %(teams)s, 'team-' || (n * 7) %% %(teams)s, 'mail-' || n, 'floor-' || n %% 9),
    true, jsonb_build_object('department', jsonb_build_array('Department ' || n %% 20)), n %% 3 <> 0, now() - (n %% 600) * interval '1 minute',
    now() - (n %% 600) * interval '1 minute', now() - interval '90 days'
FROM generate_series(1, %(people)s) n
"""
ACCOUNTS = """
INSERT INTO federation_organizationaccount (id, name, email, partition, state, organizational_unit, organizational_unit_id, tags, present, first_seen_at)
SELECT lpad((100000000000 + n)::text, 12, '0'), 'account-' || n, 'aws+' || n || '@example.com', 'aws', 'ACTIVE', '/Workloads/' || n %% 12, '',
    jsonb_build_object('environment', (ARRAY['production', 'staging', 'development', 'sandbox'])[1 + n %% 4], 'team', 'team-' || n %% %(teams)s),
    true, now() - interval '90 days'
FROM generate_series(1, %(accounts)s) n
"""
ROLES = """
INSERT INTO federation_role (arn, account_id, name, path, description, max_session_duration, trust_policy, tags, last_used_at, created_at,
    digest, present, seen_at, search)
SELECT 'arn:aws:iam::' || (100000000000 + n) || ':role/Role-' || r, (100000000000 + n)::text, 'Role-' || r, '', 'Role number ' || r, 3600,
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}',
    CASE WHEN r %% 10 = 0 THEN jsonb_build_object('owner', 'team-' || n %% 50) ELSE '{}'::jsonb END,
    CASE WHEN r %% 5 = 0 THEN NULL ELSE now() - ((n * 31 + r * 7) %% 200) * interval '1 day' END, now() - interval '400 days', md5(n || '/' || r), true, now(),
    lower('role-' || r) || CASE WHEN r %% 10 = 0 THEN ' owner=team-' || n %% 50 ELSE '' END
FROM generate_series(1, %(accounts)s) n, generate_series(0, %(per)s - 1) r
"""
SOURCES = """
INSERT INTO federation_source (key, version, state, attempted_at, succeeded_at, error_code, error_detail, counts)
SELECT 'account:' || id, 1, CASE WHEN id LIKE '%%77' THEN 'failed' ELSE 'ok' END, now(), now(), '', '', '{"roles": 200, "unusable": 0}'::jsonb
FROM federation_organizationaccount
UNION ALL SELECT 'organization', 1, 'ok', now(), now(), '', '', '{}'::jsonb
"""
EVENTS = """
INSERT INTO federation_auditevent (seq, at, kind, outcome, actor, reason, request_id, address, data, mac)
SELECT n, now() - (%(events)s - n) * (interval '90 days' / %(events)s), kind, CASE WHEN refused THEN 'refused' ELSE 'ok' END,
    CASE WHEN refused AND kind = 'sign_in' THEN 'corp:?' ELSE 'corp:person-' || p END,
    CASE WHEN refused THEN (ARRAY['expired', 'replayed', 'claims_too_old', 'no_matching_rule'])[1 + n %% 4] ELSE '' END,
    lpad(to_hex(n), 16, '0'), '192.0.2.' || n %% 250,
    CASE kind WHEN 'sign_in' THEN jsonb_build_object('provider', 'corp', 'protocol', 'saml', 'person', person, 'mfa', true, 'groups', 5)
        ELSE jsonb_build_object('person', person, 'role_arn', 'arn:aws:iam::' || (100000000000 + 1 + n %% %(accounts)s) || ':role/Role-' || n %% 5,
            'rule', 'team-' || n %% %(teams)s || '-works-on-its-accounts', 'revision', 1, 'channel', 'portal',
            'access_key_id', 'ASIA' || lpad(to_hex(n), 16, '0')) END,
    md5(n::text) || md5(n::text)
FROM (SELECT n, (ARRAY['sign_in', 'sign_in', 'mint.assertion', 'credentials', 'console'])[1 + n %% 5] AS kind, n %% 53 = 0 AS refused,
        1 + (n * 7919) %% %(people)s AS p, '00000000-0000-4000-9000-' || lpad(to_hex(1 + (n * 7919) %% %(people)s), 12, '0') AS person
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) n) made
"""
HEAD = "UPDATE federation_audithead SET seq = %(events)s, last_mac = repeat('0', 64), mac = repeat('0', 64)"
SLICE = 500_000


def fill(sizes: dict[str, int]) -> None:
    """Everything but what flows make themselves: the mapping is published, entitlements are worked out."""
    from django.core.management import call_command
    from django.db import connection, transaction

    from federation.audit.events import Origin
    from federation.flows import publish_mapping, refresh_entitlements, rotate_keys

    call_command("migrate", verbosity=0)
    now, origin = datetime.now(UTC), Origin("bench", "", "bench")
    rotate_keys.ensure_keys(actor="bench", origin=origin, now=now)
    with connection.cursor() as cursor:
        for name, sql in (("people", PEOPLE), ("accounts", ACCOUNTS), ("roles", ROLES), ("sources", SOURCES)):
            _say(f"  {name} …")
            cursor.execute(sql, sizes)
    publish_mapping.publish(mapping(sizes["teams"]), author="bench", comment="", origin=origin, now=now)
    _say("  entitlements …")
    refresh_entitlements.refresh(now=now)
    with connection.cursor() as cursor, transaction.atomic():
        # Indexes are built once at the end: five million rows into twelve of them would take an hour.
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'federation_auditevent' AND indexname NOT LIKE '%%pkey'"
        )
        indexes = cursor.fetchall()
        cursor.execute("SELECT COALESCE(MAX(seq), 0) FROM federation_auditevent")
        begin = cursor.fetchone()[0]
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        for first in range(begin + 1, sizes["events"] + 1, SLICE):
            _say(f"  audit events from {first:,} …")
            cursor.execute(EVENTS, {**sizes, "first": first, "last": min(first + SLICE - 1, sizes["events"])})
        cursor.execute(HEAD, sizes)
        for name, definition in indexes:
            _say(f"  index {name} …")
            cursor.execute(definition)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- Asking ---------------------------------------------------------------------------------------------


def browser() -> Any:
    """A client in which an owner of the gateway has signed in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.test import Client
    from django.utils import timezone

    from federation.models import Person
    from portal.sessions import SessionStore

    now = timezone.now()
    person, _ = Person.objects.update_or_create(
        id=OWNER,
        defaults={
            "provider": "corp", "subject": "carol", "session_name": OWNER_NAME, "name": "Carol", "groups": ["cloud-platform"],
            "mfa": True, "claims_at": now, "authenticated_at": now, "email": "carol@example.com",
        },
    )  # fmt: skip
    store = SessionStore()
    store[SESSION_KEY], store[BACKEND_SESSION_KEY] = str(person.pk), "portal.auth.FederatedBackend"
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store.create()
    client = Client(HTTP_HOST="localhost:8000", raise_request_exception=True)
    from django.conf import settings

    client.cookies[settings.SESSION_COOKIE_NAME] = store.session_key
    return client


def pages(sizes: dict[str, int]) -> list[str]:
    """Every page of the navigation, searches in the long lists, and the search behind "Why can I not see a role?"."""
    from django.urls import reverse

    from portal.staff.navigation import SECTIONS

    found = [reverse(place.name) for _, places in SECTIONS for place in places]
    searches = {
        "/staff/accounts/": ["?q=account-9", "?q=nothing-like-it"],
        "/staff/roles/": ["?q=role-19", "?q=owner%3Dteam-7", "?sort=-last_used", "?q=nothing-like-it"],
        "/staff/people/": ["?q=person+number+49", "?q=nothing-like-it"],
        "/staff/audit/": ["?q=person-77", "?kind=console", "?outcome=refused", f"?person=person-{sizes['people'] // 2}", "?reason=replayed"],
    }  # fmt: skip
    # Everybody's search of every role there is: of a thousand accounts, by words of theirs and of the role.
    why = [f"/why/?q={words}" for words in ("role-19", "account-9+role-1", "owner%3Dteam-7", "nothing-like-it")]
    return [url + query for url in found for query in ("", *searches.get(url, []))] + why


def later(answer: Any) -> str:
    """The address of the next page of a list, "" where there is none."""
    from bs4 import BeautifulSoup

    link = BeautifulSoup(answer.content, "html.parser").find("a", rel="next")
    return str(link["href"]) if link else ""


def measure(client: Any, url: str) -> tuple[float, float, int, int, Any]:
    """(best ms, best ms of CPU, statements, bytes, the last answer)."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    answer = client.get(url, follow=False)
    if answer.status_code in {301, 302}:
        return measure(client, answer["Location"])
    if answer.status_code != 200:
        raise SystemExit(f"{url} answers {answer.status_code}")
    walls, cpus = [], []
    for _ in range(TIMES):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = client.get(url)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    with CaptureQueriesContext(connection) as caught:
        answer = client.get(url)
    return min(walls), min(cpus), len(caught), len(answer.content), answer


def main() -> int:
    parser = argparse.ArgumentParser(description="The console's lists on a company's data.")
    for name, size in (("people", 5_000), ("accounts", 1_000), ("events", 5_000_000)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--database", default="bench_staff_pages")
    parser.add_argument("--keep", action="store_true", help="leave the database for the next run")
    options = parser.parse_args()
    base = os.environ.get("DATABASE_URL", "")
    if not base.startswith("postgres"):
        raise SystemExit("DATABASE_URL must name a PostgreSQL in which a database can be made.")
    url, there = prepare(base, options.database)
    os.environ |= {
        "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings.development", "ROLEGATE_URL": "http://localhost:8000",
        "ROLEGATE_SECRET_KEY": "a-secret-of-the-benchmark-that-protects-nothing-0123456789",
    }  # fmt: skip
    import django

    django.setup()
    sizes = {
        "people": options.people, "accounts": options.accounts, "events": options.events, "per": ROLES_PER_ACCOUNT,
        "teams": max(1, options.people // 25),
    }  # fmt: skip
    if there:
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    else:
        fill(sizes)
    client = browser()
    print(
        f"{options.people:,} people, {options.accounts * ROLES_PER_ACCOUNT:,} roles, {options.events:,} audit events; best of {TIMES}"
    )
    print(f"{'page':64}{'ms':>8}{'CPU ms':>8}{'queries':>9}{'KB':>7}")
    missed = []
    for page in pages(sizes):
        wall, cpu, queries, size, answer = measure(client, page)
        print(f"{page:64}{wall:8.0f}{cpu:8.0f}{queries:9}{size / 1024:7.0f}{'' if wall <= TARGET_MS else '  MISSED'}")
        if wall > TARGET_MS:
            missed.append(page)
        deep = address = later(answer)
        for _ in range(20):  # twenty pages on: an OFFSET would show
            address = deep
            deep = (
                later(client.get(page.partition("?")[0] + address if address.startswith("?") else address))
                if address
                else ""
            )
            if not deep:
                break
        if address:
            target = page.partition("?")[0] + address if address.startswith("?") else address
            wall, cpu, more, size, _ = measure(client, target)
            note = "" if wall <= TARGET_MS and more <= queries + 1 else "  MISSED"
            print(f"{'    ' + str(20) + ' pages on':64}{wall:8.0f}{cpu:8.0f}{more:9}{size / 1024:7.0f}{note}")
            if note:
                missed.append(target)
    if not options.keep:
        from django.db import connection

        connection.close()
        drop(base, options.database)
    if missed:
        print("Missed: " + ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
