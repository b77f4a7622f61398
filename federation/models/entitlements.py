"""Who has which role, worked out ahead: for lists and reports. Nothing is ever minted on it (an import contract says so).

Person x role of a company are a million rows, so a row is four values: who, which given role, since when, by which
revision. What it means, the role and the rules that give it, is one row of `GivenRole` for all who have it by these rules.
`flows.refresh_entitlements` is the only writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any, ClassVar, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, models

from federation.mapping.company import Given
from federation.models import compiled

_BLOCK: Final = 1 << 18  # bytes of staged rows at a time
_ROWS: Final = 5_000


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
    """The key of a `GivenRole`: 128 bits of SHA-256 over everything in it."""
    text = json.dumps([given.role_arn, given.rule, given.rules, given.needs_approval])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def ids_of(found: Sequence[Given]) -> list[int]:
    """The ids of these given roles, in their order; those that are new are stored. Two statements, four where some are new."""
    digests = [digest(given) for given in found]
    known = _known(digests)
    new = {key: given for key, given in zip(digests, found, strict=True) if key not in known}
    if new:
        rows = [
            GivenRole(
                digest=key, role_arn=one.role_arn, role_name=one.role_name, account_id=one.account_id, rule=one.rule, rules=list(one.rules),
                needs_approval=one.needs_approval,
            )
            for key, one in new.items()
        ]  # fmt: skip
        GivenRole.objects.bulk_create(rows, ignore_conflicts=True, batch_size=_ROWS)
        made = _known(list(new))
        by_rule = [
            GivenByRule(rule=rule, given_id=made[key]) for key, one in new.items() for rule in dict.fromkeys(one.rules)
        ]
        GivenByRule.objects.bulk_create(by_rule, ignore_conflicts=True, batch_size=_ROWS)
        known |= made
    return [known[key] for key in digests]


def _known(digests: list[str]) -> dict[str, int]:
    if not digests:
        return {}
    sql = f"SELECT digest, id FROM {compiled.table(GivenRole)} WHERE {_among('digest', 'text')}"  # noqa: S608  ours
    with connection.cursor() as cursor:
        cursor.execute(sql, [_array(digests)])
        return dict(cursor.fetchall())


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


class Staging:
    """Rows to be added and to be taken away, kept in a file until `swap`: nothing is in force before.

    A row is text, `person, given, revision, since` with tabs between: what COPY reads.
    """

    def __init__(self, added: IO[bytes], gone: IO[bytes]) -> None:
        self._added, self._gone = added, gone
        self.added = self.gone = 0
        self.given_gone: set[int] = set()  # given roles that somebody has no longer

    def add(self, person_id: UUID, given_ids: Iterable[int], revision: int, since: datetime) -> None:
        """A person has got these."""
        head, tail = f"{person_id}\t", f"\t{revision}\t{since.isoformat()}\n"
        lines = [f"{head}{given_id}{tail}" for given_id in given_ids]
        self.added += len(lines)
        self._added.write("".join(lines).encode())

    def take(self, person_id: UUID, given_ids: Iterable[int]) -> None:
        """A person has these no longer."""
        taken = list(given_ids)
        self.given_gone.update(taken)
        lines = [f"{person_id}\t{given_id}\n" for given_id in taken]
        self.gone += len(lines)
        self._gone.write("".join(lines).encode())

    def swap(self) -> None:
        """Write everything, inside the caller's transaction."""
        if not self.added and not self.gone:
            return
        (_swap_by_copy if connection.vendor == "postgresql" else _swap_by_insert)(self._gone, self._added)


def _swap_by_copy(gone: IO[bytes], added: IO[bytes]) -> None:
    table = compiled.table(Entitlement)
    with connection.cursor() as cursor:
        if gone.tell():
            cursor.execute("CREATE TEMPORARY TABLE gone (person_id uuid, given_id integer) ON COMMIT DROP")
            _copy(cursor, "COPY gone (person_id, given_id) FROM STDIN", gone)
            cursor.execute(
                f"DELETE FROM {table} e USING gone WHERE e.person_id = gone.person_id AND e.given_id = gone.given_id"  # noqa: S608
            )
            cursor.execute("DROP TABLE gone")
        if added.tell():
            _copy(cursor, f"COPY {table} (person_id, given_id, revision, since) FROM STDIN", added)


def _copy(cursor: Any, sql: str, staged: IO[bytes]) -> None:
    staged.seek(0)
    with cursor.copy(sql) as copy:
        while block := staged.read(_BLOCK):
            copy.write(block)


def _swap_by_insert(gone: IO[bytes], added: IO[bytes]) -> None:
    table = compiled.table(Entitlement)
    with connection.cursor() as cursor:
        for rows in _batches(gone):
            cursor.executemany(
                f"DELETE FROM {table} WHERE person_id = %s AND given_id = %s",  # noqa: S608  ours
                [(UUID(who).hex, int(given_id)) for who, given_id in rows],
            )
        for rows in _batches(added):
            cursor.executemany(
                f"INSERT INTO {table} (person_id, given_id, revision, since) VALUES (%s, %s, %s, %s)",  # noqa: S608  ours
                [
                    (
                        UUID(who).hex,
                        int(given_id),
                        int(revision),
                        *compiled.adapt(Entitlement, since=datetime.fromisoformat(since)),
                    )
                    for who, given_id, revision, since in rows
                ],
            )


def _batches(staged: IO[bytes]) -> Iterator[list[list[str]]]:
    staged.seek(0)
    batch: list[list[str]] = []
    for line in staged:
        batch.append(line.decode().rstrip("\n").split("\t"))
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def forget_unused(given_ids: Iterable[int]) -> int:
    """Delete those of these given roles that nobody has. Returns how many."""
    wanted = _array(sorted(given_ids))
    ids = (
        f"SELECT g.id FROM {compiled.table(GivenRole)} g WHERE {_among('g.id', 'integer')} "  # noqa: S608  ours
        f"AND NOT EXISTS (SELECT 1 FROM {compiled.table(Entitlement)} e WHERE e.given_id = g.id)"
    )
    compiled.execute(f"DELETE FROM {compiled.table(GivenByRule)} WHERE given_id IN ({ids})", [wanted])  # noqa: S608
    return compiled.execute(f"DELETE FROM {compiled.table(GivenRole)} WHERE id IN ({ids})", [wanted])  # noqa: S608


def _person_keys(person_ids: Iterable[UUID]) -> list[Any]:
    return list(person_ids) if connection.vendor == "postgresql" else [one.hex for one in person_ids]


def _among(column: str, kind: str) -> str:
    """A condition that `column` is one of many, with one parameter."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::{kind}[])"
    return f"{column} IN (SELECT value FROM json_each(%s))"  # noqa: S608


def _array(values: list[Any]) -> Any:
    return values if connection.vendor == "postgresql" else json.dumps(values)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
