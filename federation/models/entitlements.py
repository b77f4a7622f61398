"""Who has which role, worked out ahead: for lists and reports. Nothing is ever minted on it (an import contract says so).

Person x role of a company are a million rows, so a row is four values: who, which given role, since when, by which
revision. What it means, the role and the rules that give it, is one row of `GivenRole` for all who have it by these rules.
`flows.refresh_entitlements` is the only writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, models

from federation.mapping.company import Given
from federation.models import compiled


class GivenRole(models.Model):
    """A role as certain rules give it (`mapping.company.Given`): `rule` decides, `rules` all give it. `digest`: of all of it."""

    id = models.AutoField(primary_key=True)
    digest = models.CharField(max_length=32, unique=True)
    role_arn = models.CharField(max_length=2048)
    role_name = models.CharField(max_length=64)
    account_id = models.CharField(max_length=12)
    rule = models.CharField(max_length=1024)
    rules: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    needs_approval = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["role_arn"], name="given_role_by_arn"),
            models.Index(fields=["account_id", "role_name"], name="given_role_by_account"),
        ]

    def __str__(self) -> str:
        return f"{self.role_arn} by {self.rule}"


class GivenByRule(models.Model):
    """One of the rules that give a `GivenRole`: to find all that one rule gives."""

    pk = models.CompositePrimaryKey("rule", "given_id")
    rule = models.CharField(max_length=1024)
    given = models.ForeignKey(GivenRole, on_delete=models.CASCADE, related_name="by_rule")

    def __str__(self) -> str:
        return f"{self.rule} gives {self.given_id}"


class Entitlement(models.Model):
    """A person has a role. `since`: when it was first seen that they have it, by whatever rules. `revision`: of the mapping,
    in force when these rules were first seen to give it.

    No constraints of the database on person and role: each would be asked at every row of a million, and people are never
    deleted.
    """

    pk = models.CompositePrimaryKey("person_id", "given_id")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    given = models.ForeignKey(
        GivenRole, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    revision = models.IntegerField()
    since = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[Any]] = [models.Index(fields=["given", "person"], name="entitlement_by_given")]

    def __str__(self) -> str:
        return f"{self.person_id} has {self.given_id}"


class RuleReach(models.Model):
    """How many people have something by a rule, as the only one or among others. A rule without anybody has no row, or 0."""

    rule = models.CharField(max_length=1024, primary_key=True)
    people = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.people} people by {self.rule}"


class EntitlementState(models.Model):
    """What the entitlements were worked out from: one row. The four of the mapping as `current.CurrentMapping` has them;
    `accounts`: the version of each account's listing; `silent`: the identity providers whose directory had long been silent;
    `judged_at`: the moment for which conditions on time were decided; `finished_at`: when that was in force.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    organization = models.BigIntegerField(default=0)
    role_tags = models.BigIntegerField(default=0)
    accounts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    silent: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    judged_at = models.DateTimeField()
    finished_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"entitlements by revision {self.revision} at {self.judged_at}"


# --- Reading and writing many rows ---------------------------------------------------------------------------


def digest(given: Given) -> str:
    """The key of a `GivenRole`: 128 bits over everything in it."""
    text = repr((given.role_arn, given.rule, given.rules, given.needs_approval))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def ids_of(found: Sequence[Given]) -> list[int]:
    """The ids of these given roles, in their order; those that are new are stored. One statement, four where some are new."""
    digests = [digest(given) for given in found]
    known = _known(digests)
    new = {key: given for key, given in zip(digests, found, strict=True) if key not in known}
    if new:
        _store(new)
        made = _known(list(new))
        _store_rules(made.values())
        known |= made
    return [known[key] for key in digests]


def _known(digests: list[str]) -> dict[str, int]:
    if not digests:
        return {}
    sql = f"SELECT digest, id FROM {compiled.table(GivenRole)} WHERE {_among('digest', 'text')}"  # noqa: S608  ours
    with connection.cursor() as cursor:
        cursor.execute(sql, [_array(digests)])
        return dict(cursor.fetchall())


_TYPES: Final = {
    "digest": "text", "role_arn": "text", "role_name": "text", "account_id": "text", "rule": "text", "rules": "jsonb", "needs_approval": "boolean",
}  # fmt: skip


def _store(new: Mapping[str, Given]) -> None:
    """Store given roles by digest. A large company has tens of thousands: one statement and one parameter, not one model each."""
    rows = [
        {
            "digest": key, "role_arn": one.role_arn, "role_name": one.role_name, "account_id": one.account_id, "rule": one.rule,
            "rules": one.rules, "needs_approval": one.needs_approval,
        }
        for key, one in new.items()
    ]  # fmt: skip
    columns = ", ".join(_TYPES)
    if connection.vendor == "postgresql":
        listed = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
        select = f"SELECT {columns} FROM jsonb_to_recordset(%s::jsonb) AS r({listed})"  # noqa: S608  ours
    else:
        listed = ", ".join(f"json_extract(value, '$.{name}')" for name in _TYPES)
        select = f"SELECT {listed} FROM json_each(%s) WHERE 1"  # noqa: S608  ours
    sql = f"INSERT INTO {compiled.table(GivenRole)} ({columns}) {select} ON CONFLICT (digest) DO NOTHING"
    compiled.execute(sql, [json.dumps(rows)])


def _store_rules(given_ids: Iterable[int]) -> None:
    rules = "jsonb_array_elements_text(g.rules)" if connection.vendor == "postgresql" else "json_each(g.rules)"
    sql = (
        f"INSERT INTO {compiled.table(GivenByRule)} (rule, given_id) "  # noqa: S608  ours
        f"SELECT r.value, g.id FROM {compiled.table(GivenRole)} g, {rules} r WHERE {_among('g.id', 'integer')} "
        "ON CONFLICT (rule, given_id) DO NOTHING"
    )
    compiled.execute(sql, [_array(list(given_ids))])


def held_by(person_ids: Sequence[UUID]) -> dict[UUID, set[int]]:
    """For each of these people who have anything: the ids of their given roles. One statement."""
    aggregate = "array_agg(given_id)" if connection.vendor == "postgresql" else "json_group_array(given_id)"
    sql = (
        f"SELECT person_id, {aggregate} FROM {compiled.table(Entitlement)} "  # noqa: S608  ours
        f"WHERE {_among('person_id', 'uuid')} GROUP BY person_id"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [_array(_person_keys(person_ids))])
        rows = cursor.fetchall()
    return {_uuid(who): set(json.loads(ids) if isinstance(ids, str) else ids) for who, ids in rows}


def before(person_ids: Sequence[UUID]) -> dict[tuple[UUID, str], datetime]:
    """Since when these people have had what they have, by role ARN. One statement."""
    rows = Entitlement.objects.filter(person_id__in=person_ids)
    return {(who, arn): since for who, arn, since in rows.values_list("person_id", "given__role_arn", "since")}


def rules_of(given_ids: Iterable[int]) -> dict[int, list[str]]:
    """The rules of each of these given roles. One statement."""
    found: dict[int, list[str]] = {}
    sql = f"SELECT given_id, rule FROM {compiled.table(GivenByRule)} WHERE {_among('given_id', 'integer')}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [_array(sorted(given_ids))])
        for given_id, rule in cursor.fetchall():
            found.setdefault(given_id, []).append(rule)
    return found


def count_people(changes: Mapping[str, int], *, anew: bool) -> None:
    """Add to the number of people of each rule; with `anew` these are the numbers, and other rules have nobody."""
    if anew:
        RuleReach.objects.all().delete()
    table = compiled.table(RuleReach)
    sql = (
        f"INSERT INTO {table} (rule, people) VALUES (%s, %s) "  # noqa: S608  ours
        f"ON CONFLICT (rule) DO UPDATE SET people = {table}.people + EXCLUDED.people"
    )
    rows = [(rule, change) for rule, change in sorted(changes.items()) if change]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)


def forget_unused(given_ids: Iterable[int]) -> int:
    """Delete those of these given roles that nobody has. Returns how many."""
    wanted = _array(sorted(given_ids))
    ids = (
        f"SELECT g.id FROM {compiled.table(GivenRole)} g WHERE {_among('g.id', 'integer')} "  # noqa: S608  ours
        f"AND NOT EXISTS (SELECT 1 FROM {compiled.table(Entitlement)} e WHERE e.given_id = g.id)"
    )
    compiled.execute(f"DELETE FROM {compiled.table(GivenByRule)} WHERE given_id IN ({ids})", [wanted])  # noqa: S608
    return compiled.execute(f"DELETE FROM {compiled.table(GivenRole)} WHERE id IN ({ids})", [wanted])  # noqa: S608


def _person_keys(person_ids: Iterable[UUID]) -> list[str]:
    return [str(one) if connection.vendor == "postgresql" else one.hex for one in person_ids]


def _among(column: str, kind: str) -> str:
    """A condition that `column` is one of many, with one parameter, `_array`."""
    if connection.vendor == "postgresql":
        return f"{column} IN (SELECT value::{kind} FROM jsonb_array_elements_text(%s::jsonb))"  # noqa: S608  ours
    return f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608


def _array(values: list[Any]) -> str:
    return json.dumps(values)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
