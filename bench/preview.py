# ruff: noqa: E402  the models are there once Django is set up
"""The preview of a revision as the portal shows it, on people of a directory: from the database to the digest.

    DATABASE_URL=postgres://… python -m bench.preview [--people 5000] [--groups 200] [--rules 5000]

`bench.impact` compares two mappings in memory; here the people, their claims and what the directory says of them come out of a
database of its own (SQLite in memory without DATABASE_URL), removed afterwards. Half of them have signed in, half are only
listed. Everybody is in all of the groups; one rule changes.

Bound: 2 s of wall time for the people and their comparison, the best of three, since whatever else the machine does only adds;
reading the text of the document and compiling it is told beside it. Exit status 1 where the bound is missed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings.test"
import django

django.setup()

from django.db import connection

from bench.entitlements import ORIGIN, company_document, of_a_company
from bench.mapping import matches
from federation.flows import assess_mapping, publish_mapping
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.impact import assess, both_reach
from federation.mapping.rules import Directory, Document, ScimDirectory
from federation.mapping.writing import to_yaml
from federation.models import DirectoryGroup, DirectoryUser, Membership, Person, Source, current
from federation.models.catalogue import reachable
from federation.models.directory import SOURCE

T = TypeVar("T")
BOUND_SECONDS, TIMES, AT_ONCE = 2.0, 3, 500


def fill(people: int, groups: int, rules: int, now: datetime) -> Document:
    """The mapping in force, and the directory. Returns the document."""
    document = replace(company_document(rules), directories=(Directory("staff", "corp", scim=ScimDirectory()),))
    publish_mapping.publish(to_yaml(document), author="bench", comment="", origin=ORIGIN, now=now)
    at = {"created_at": now, "modified_at": now}
    # Names that rules know, so that everybody gets something by them.
    names = [match.pattern for match in matches(rules) if match.kind == "exact"]
    named = [*names[: groups // 7], *(f"CN=mail list {n},OU=Groups,DC=example,DC=com" for n in range(groups))][:groups]
    rows = [DirectoryGroup(directory="staff", display_name=name, **at) for name in named]
    DirectoryGroup.objects.bulk_create(rows)
    users = [DirectoryUser(directory="staff", user_name=f"p{n}", user_name_key=f"p{n}", **at) for n in range(people)]
    DirectoryUser.objects.bulk_create(users, batch_size=AT_ONCE)
    _members([user.pk for user in users], [row.pk for row in rows], now)
    Person.objects.bulk_create(
        [
            Person(provider="corp", subject=f"p{n}", session_name=f"p{n}", claims_at=now, authenticated_at=now)
            for n in range(0, people, 2)
        ],
        batch_size=AT_ONCE,
    )
    Source.objects.create(key=f"{SOURCE}staff", state="ok", attempted_at=now, succeeded_at=now)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return document


def _members(users: list[Any], groups: list[Any], now: datetime) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {Membership._meta.db_table} (user_id, group_id, since) FROM STDIN") as copy:
                for user in users:
                    for group in groups:
                        copy.write_row((user, group, now))
        else:
            rows = ((user.hex, group.hex, now) for user in users for group in groups)
            cursor.executemany(
                f"INSERT INTO {Membership._meta.db_table} (user_id, group_id, since) VALUES (%s, %s, %s)",
                list(rows),
            )


def changed(document: Document) -> str:
    """The document with another role in its first rule."""
    first = document.rules[0]
    if first.allow is None:
        raise ValueError("the first rule denies")
    return to_yaml(replace(document, rules=(replace(first, allow=replace(first.allow, roles=("Other",))), *document.rules[1:])))  # fmt: skip


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds of wall time, and the result."""
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


def main() -> int:
    with of_a_company() as given:
        now = datetime.now(UTC)
        text = changed(fill(given.people, given.groups, given.rules, now))
        current.mapping()
        return judge(text, given.people, now)


def judge(text: str, people: int, now: datetime) -> int:
    """Measure the parts of a preview. Returns the exit status."""
    before = current.mapping()
    reading, compiled = timed(lambda: compile_mapping(current.completed(parse(text))))
    draft = current.CurrentMapping(before.number + 1, "", 0, 0, compiled.document, compiled)
    catalogue = reachable(both_reach(before.compiled, compiled))
    best, told = float("inf"), ""
    for _ in range(TIMES):
        asked, everybody = timed(lambda: list(assess_mapping.everybody(before, draft, now=now)))
        compared, impact = timed(
            lambda everybody=everybody: assess(before.compiled, compiled, everybody, now, catalogue)
        )
        if asked + compared < best:
            best, told = (
                asked + compared,
                f"{asked:.2f} s who they are and what the directory says, {compared:.2f} s comparing",
            )
    print(f"{best:.2f} s: {told}; reading the text {reading:.2f} s")
    looked_at = (impact.counts["people"], impact.counts["people_gain"]) == (people, people)
    if not looked_at:
        print(f"not everybody was looked at: {dict(impact.counts)}")
    met = best <= BOUND_SECONDS and looked_at
    print(f"preview on {people:,} people <= {BOUND_SECONDS:.0f} s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
