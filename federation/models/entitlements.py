"""Who has which role, worked out ahead: for lists and reports. Nothing is ever minted on it (an import contract says so).

Person x role of a company are a million rows, so a row is four values: who, which given role, since when, by which
revision. What it means, the role and the rules that give it, is one row of `GivenRole` for all who have it by these rules.
`flows.refresh_entitlements` is the only writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction

from federation.mapping.company import Given
from federation.models import compiled


class GivenRole(models.Model):
    """A role as certain rules give it (`mapping.company.Given`): `rule` decides, `rules` all give it. `digest`: of all of it."""

    id = models.AutoField(primary_key=True)
    digest = models.CharField(max_length=32)
    role_arn = models.CharField(max_length=2048)
    role_name = models.CharField(max_length=64)
    account_id = models.CharField(max_length=12)
    rule = models.CharField(max_length=1024)
    rules: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    needs_approval = models.BooleanField(default=False)

    class Meta:
        # Not unique=True: with that Django makes an index for LIKE beside it, which each of a company's many rows would pay for.
        constraints: ClassVar[list[Any]] = [models.UniqueConstraint(fields=["digest"], name="given_role_by_digest")]
        indexes: ClassVar[list[Any]] = [
            models.Index(fields=["role_arn"], name="given_role_by_arn"),
            models.Index(fields=["account_id", "role_name"], name="given_role_by_account"),
        ]

    def __str__(self) -> str:
        return f"{self.role_arn} by {self.rule}"


class GivenByRule(models.Model):
    """One of the rules that give a `GivenRole`: to find all that one rule gives. Written and deleted with it alone, so the
    database is not asked again whether it is there.
    """

    pk = models.CompositePrimaryKey("rule", "given_id")
    rule = models.CharField(max_length=1024)
    given = models.ForeignKey(GivenRole, on_delete=models.DO_NOTHING, db_constraint=False, related_name="by_rule")

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
    `meaning`: what `refresh_entitlements.MEANING` was; `judged_at`: the moment for which conditions on time were decided; `finished_at`: when that was in force.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    organization = models.BigIntegerField(default=0)
    role_tags = models.BigIntegerField(default=0)
    accounts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    silent: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    meaning = models.PositiveSmallIntegerField(default=0, db_default=0)
    judged_at = models.DateTimeField()
    finished_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"entitlements by revision {self.revision} at {self.judged_at}"


# --- Reading and writing many rows ---------------------------------------------------------------------------


_FEW: Final = 1_000  # values that a condition names one by one


def digest(given: Given) -> str:
    """The key of a `GivenRole`: 128 bits over everything in it."""
    text = repr((given.role_arn, given.rule, given.rules, given.needs_approval))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def ids_of(found: Sequence[Given], *, all_new: bool = False) -> list[int]:
    """The ids of these given roles, in their order; those that are new are stored. One statement, a few where some are new.

    `all_new`: none of them can have been stored, so that it is not asked which have.
    """
    digests = [digest(given) for given in found]
    known = {} if all_new else _known(digests)
    new = {key: given for key, given in zip(digests, found, strict=True) if key not in known}
    if new:
        known |= _stored(new)
    return [known[key] for key in digests]


def _known(digests: list[str]) -> dict[str, int]:
    if not digests:
        return {}
    among, wanted = _among("digest", "text", digests)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT digest, id FROM {compiled.table(GivenRole)} WHERE {among}", [wanted])  # noqa: S608  ours
        return dict(cursor.fetchall())


_COLUMNS: Final = "digest, role_arn, role_name, account_id, rule, rules, needs_approval"


def _stored(new: Mapping[str, Given]) -> dict[str, int]:
    """Store given roles, with their rules, by digest; returns their ids. A large company has tens of thousands."""
    if connection.vendor == "postgresql" and len(new) > _FEW:
        try:
            return _copy_in(new)
        except IntegrityError:
            pass  # a worker whose lease had ended has stored one meanwhile: none of ours is
    with transaction.atomic():
        rows = [
            (key, one.role_arn, one.role_name, one.account_id, one.rule, json.dumps(one.rules), one.needs_approval)
            for key, one in new.items()
        ]
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {compiled.table(GivenRole)} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s) "  # noqa: S608  ours
                "ON CONFLICT (digest) DO NOTHING",
                rows,
            )
            made = _known(list(new))
            cursor.executemany(
                f"INSERT INTO {compiled.table(GivenByRule)} (rule, given_id) VALUES (%s, %s) "  # noqa: S608  ours
                "ON CONFLICT (rule, given_id) DO NOTHING",
                [(rule, made[key]) for key, one in new.items() for rule in dict.fromkeys(one.rules)],
            )
    return made


def _copy_in(new: Mapping[str, Given]) -> dict[str, int]:
    """`_stored` by COPY, with ids that were drawn before. Raises IntegrityError where another stores one of them."""
    table = compiled.table(GivenRole)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, len(new)]
        )
        made = {key: drawn for key, (drawn,) in zip(new, cursor.fetchall(), strict=True)}
        with connection.wrap_database_errors:  # Django wraps what it calls itself alone
            with cursor.copy(f"COPY {table} (id, {_COLUMNS}) FROM STDIN") as copy:
                for key, one in new.items():
                    what = (one.role_arn, one.role_name, one.account_id, one.rule, json.dumps(one.rules))
                    copy.write_row((made[key], key, *what, one.needs_approval))
            with cursor.copy(f"COPY {compiled.table(GivenByRule)} (rule, given_id) FROM STDIN") as copy:
                for key, one in new.items():
                    for rule in dict.fromkeys(one.rules):
                        copy.write_row((rule, made[key]))
    return made


def held_by(person_ids: Sequence[UUID]) -> dict[UUID, set[int]]:
    """For each of these people who have anything: the ids of their given roles. One statement."""
    aggregate = "array_agg(given_id)" if connection.vendor == "postgresql" else "json_group_array(given_id)"
    among, wanted = _among("person_id", "uuid", _person_keys(person_ids))
    table = compiled.table(Entitlement)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT person_id, {aggregate} FROM {table} WHERE {among} GROUP BY person_id", [wanted])  # noqa: S608
        rows = cursor.fetchall()
    return {_uuid(who): set(json.loads(ids) if isinstance(ids, str) else ids) for who, ids in rows}


def before(
    person_ids: Sequence[UUID], given_ids: Iterable[int]
) -> tuple[dict[tuple[UUID, str], datetime], dict[int, list[str]]]:
    """Since when these people have had what they have, by role ARN; and the rules of each of these given roles. One round trip."""
    held, given, by_rule = compiled.table(Entitlement), compiled.table(GivenRole), compiled.table(GivenByRule)
    of_people, people = _among("e.person_id", "uuid", _person_keys(person_ids))
    of_given, wanted = _among("given_id", "integer", sorted(given_ids))
    since, rules = compiled.ask(
        (f"SELECT e.person_id, g.role_arn, e.since FROM {held} e JOIN {given} g ON g.id = e.given_id WHERE {of_people}", [people]),  # noqa: S608  ours
        (f"SELECT given_id, rule FROM {by_rule} WHERE {of_given}", [wanted]),  # noqa: S608
    )  # fmt: skip
    found: dict[int, list[str]] = {}
    for given_id, rule in rules.rows:
        found.setdefault(given_id, []).append(rule)
    return {(_uuid(who), arn): _moment(at) for who, arn, at in since.rows}, found


def counting_people(changes: Mapping[str, int], *, anew: bool) -> list[compiled.Statement]:
    """What adds to the number of people of each rule; with `anew` these are the numbers, and other rules have nobody."""
    table = compiled.table(RuleReach)
    statements: list[compiled.Statement] = [(f"DELETE FROM {table}", [])] if anew else []  # noqa: S608  ours
    rows = [[rule, change] for rule, change in sorted(changes.items()) if change]
    if not rows:
        return statements
    params: list[Any]
    if connection.vendor == "postgresql":
        values, params = "unnest(%s::text[], %s::integer[]) v", [list(one) for one in zip(*rows, strict=True)]
    else:
        values = "(SELECT value ->> 0, value ->> 1 FROM json_each(%s)) v WHERE true"
        params = [json.dumps(rows)]
    add = f"ON CONFLICT (rule) DO UPDATE SET people = {table}.people + EXCLUDED.people"
    return [*statements, (f"INSERT INTO {table} (rule, people) SELECT * FROM {values} {add}", params)]  # noqa: S608


def forgetting_unused(given_ids: Iterable[int]) -> list[compiled.Statement]:
    """What deletes those of these given roles that nobody has."""
    among, wanted = _among("g.id", "integer", sorted(given_ids))
    ids = (
        f"SELECT g.id FROM {compiled.table(GivenRole)} g WHERE {among} "  # noqa: S608  ours
        f"AND NOT EXISTS (SELECT 1 FROM {compiled.table(Entitlement)} e WHERE e.given_id = g.id)"
    )
    return [
        (f"DELETE FROM {compiled.table(GivenByRule)} WHERE given_id IN ({ids})", [wanted]),  # noqa: S608
        (f"DELETE FROM {compiled.table(GivenRole)} WHERE id IN ({ids})", [wanted]),  # noqa: S608
    ]


def _person_keys(person_ids: Iterable[UUID]) -> list[str]:
    return [str(one) if connection.vendor == "postgresql" else one.hex for one in person_ids]


def _among(column: str, kind: str, values: Sequence[Any]) -> tuple[str, Any]:
    """A condition that `column` is one of many, and its one parameter.

    PostgreSQL takes an unknown list for a hundred rows of a table and may read all of the table for them: where they are
    few it is told each, and goes by the index.
    """
    if connection.vendor == "postgresql" and len(values) > _FEW:
        return f"{column} IN (SELECT value::{kind} FROM jsonb_array_elements_text(%s::jsonb))", json.dumps(values)  # noqa: S608
    condition, [wanted] = compiled.among(column, values, kind)
    return condition, wanted


def _moment(value: Any) -> datetime:
    """A moment as the driver has it: SQLite's has no time zone, and is UTC."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
