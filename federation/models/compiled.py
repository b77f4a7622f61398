"""Statements on whole rows that are written once and run at every sign-in and every mint.

Django builds a query's SQL anew each time it runs: 200 to 600 µs, more than the database needs for it. A sign-in runs
some 27 statements, and a whole company signs in at nine. So the statements on that path are compiled once a process,
from the model's own columns and converters, and are otherwise what the ORM would send. Everything else uses the ORM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

M = TypeVar("M", bound=models.Model)
Statement = tuple[str, Sequence[Any]]
"""SQL with %s, and its parameters as the database in use wants them."""
_Converter = tuple[int, list[Callable[..., Any]], Any]


@dataclass(frozen=True, slots=True)
class _Select:
    sql: str
    names: tuple[str, ...]
    joined_names: tuple[str, ...]
    converters: tuple[_Converter, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement of several gave: its rows, as the driver has them, and how many it changed (or found)."""

    rows: list[tuple[Any, ...]]
    changed: int


# Names are looked up once: `django.db.connection` is a proxy that costs a few microseconds at every attribute.


def _quoted(*names: str) -> str:
    return ".".join(connection.ops.quote_name(name) for name in names)


@cache
def table(model: type[models.Model]) -> str:
    """The quoted name of the model's table."""
    return _quoted(model._meta.db_table)


@cache
def _field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", model._meta.get_field(name))


@cache
def column(model: type[models.Model], name: str) -> str:
    """The quoted column of the attribute `name`."""
    return _quoted(str(_field(model, name).column))


def texts(values: Iterable[str]) -> tuple[str, list[Any]]:
    """A table `v` of these texts, column `value`, with one parameter however many they are."""
    if connection.vendor == "postgresql":
        return "unnest(%s::text[]) AS v(value)", [list(values)]
    return "json_each(%s) v", [json.dumps(list(values))]


def among(column: str, values: Iterable[Any], kind: str = "text") -> Statement:
    """A condition that `column` (SQL) is one of `values`, with one parameter however many they are. `kind`: PostgreSQL's type."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::{kind}[])", [list(values)]
    return f"{column} IN (SELECT value FROM json_each(%s))", [json.dumps(list(values))]  # noqa: S608  ours


def update(model: type[models.Model], key: Any, **values: Any) -> Statement:
    """What sets these attributes of the row with this primary key, to be sent with others."""
    changes = ", ".join(f"{column(model, name)} = %s" for name in values)
    primary = str(model._meta.pk.attname)
    sql = f"UPDATE {table(model)} SET {changes} WHERE {column(model, primary)} = %s"  # noqa: S608  ours
    return sql, [*adapt(model, **values), *adapt(model, **{primary: key})]


def insert_if(condition: Statement, model: type[models.Model], **values: Any) -> Statement:
    """What inserts a row with these attributes where `condition` (SQL of a truth value) holds, to be sent with others."""
    truth, params = condition
    columns, holes = ", ".join(column(model, name) for name in values), ", ".join(["%s"] * len(values))
    sql = f"INSERT INTO {table(model)} ({columns}) SELECT {holes} WHERE {truth}"
    return sql, [*adapt(model, **values), *params]


def delete(model: type[models.Model], keys: Iterable[int]) -> Statement:
    """What deletes the rows with these numbers as primary keys, to be sent with others. Nothing that hangs on them goes along."""
    condition, params = among(column(model, str(model._meta.pk.attname)), keys, "bigint")
    return f"DELETE FROM {table(model)} WHERE {condition}", params  # noqa: S608  ours


def _here() -> BaseDatabaseWrapper:
    """The connection of this thread, and no proxy."""
    return connections[DEFAULT_DB_ALIAS]


def adapt(model: type[models.Model], **values: Any) -> list[Any]:
    """`values` (by attribute name) as the parameters that the database in use wants for those columns, in their order."""
    here = _here()
    return [_field(model, name).get_db_prep_save(value, here) for name, value in values.items()]


def execute(sql: str, params: Sequence[Any]) -> int:
    """Run one statement. Returns the number of rows that it changed."""
    with _here().cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def one(sql: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
    """Run one statement. Returns its first row, as the driver has it."""
    with _here().cursor() as cursor:
        cursor.execute(sql, params)
        return cast("tuple[Any, ...] | None", cursor.fetchone())


def ask(*statements: Statement, durable: bool = True) -> list[Answer]:
    """Run several statements, one after the other. Returns what each gave.

    PostgreSQL gets them in one message: one round trip instead of one each, which is what most of a small statement costs.
    It runs them as one transaction ("Multiple Statements in a Simple Query" of its protocol); whoever needs all or none on
    SQLite too takes `together`.

    `durable=False`, for what is merely counted: PostgreSQL does not wait until it is on the disk (synchronous_commit off), and
    the row is free for the next one so much earlier. Inside a transaction it has no effect: the others' work would be lost with it.
    """
    here = _here()
    if not statements:
        return []
    with here.cursor() as cursor:
        if here.vendor != "postgresql":
            return [_answer(cursor, *statement) for statement in statements]
        relaxed = not (durable or here.in_atomic_block)
        texts_of = ["SET LOCAL synchronous_commit TO off"] * relaxed + [sql for sql, _ in statements]
        cursor.execute("; ".join(texts_of), [value for _, values in statements for value in values])
        if relaxed:
            cursor.nextset()
        answers = []
        for _ in statements:
            answers.append(_given(cursor))
            cursor.nextset()
    return answers


def _answer(cursor: Any, sql: str, params: Sequence[Any]) -> Answer:
    cursor.execute(sql, params)
    return _given(cursor)


def _given(cursor: Any) -> Answer:
    return Answer(cursor.fetchall() if cursor.description else [], int(cursor.rowcount))


def together(*statements: Statement) -> list[int]:
    """Run several statements, all or none. Returns the number of rows that each changed. Raises IntegrityError.

    PostgreSQL makes one transaction of one message (`ask`), without BEGIN and COMMIT, which would be messages of their own.
    """
    here = _here()
    if here.vendor != "postgresql" or here.in_atomic_block:
        with transaction.atomic():
            return [answer.changed for answer in ask(*statements)]
    return [answer.changed for answer in ask(*statements)]


class _Reading(Generic[M]):
    """Reads whole rows of a model, by one column if one is named, with the row behind the foreign key `join` likewise."""

    def __init__(self, model: type[M], key: str = "", *, join: str = "", tail: Callable[[], str] = str) -> None:
        self.model, self.key, self.join, self.tail = model, key, join, tail
        self._compiled: dict[str, _Select] = {}

    def statement(self, value: Any = None) -> Statement:
        """The question, to be sent with others (`ask`). `value`: of the key column, as Python has it."""
        return self._select().sql, adapt(self.model, **{self.key: value}) if self.key else []

    def instance(self, row: Sequence[Any]) -> M:
        """A row of the answer, as the ORM would have it."""
        here, select, values = _here(), self._select(), list(row)
        for position, converters, expression in select.converters:
            for converter in converters:
                values[position] = converter(values[position], expression, here)
        instance = self.model.from_db(here.alias, select.names, values[: len(select.names)])
        if self.join:
            other = cast("type[models.Model]", _field(self.model, self.join).related_model)
            columns = values[len(select.names) :]
            present = columns[select.joined_names.index(other._meta.pk.attname)] is not None
            related = other.from_db(here.alias, select.joined_names, columns) if present else None
            instance._state.fields_cache[self.join] = related
        return instance

    def _select(self) -> _Select:
        return self._compiled.get(_here().vendor) or self._compile()

    def _compile(self) -> _Select:
        meta = self.model._meta
        fields = list(meta.concrete_fields)
        source = table(self.model)
        joined: list[models.Field[Any, Any]] = []
        if self.join:
            other = cast("type[models.Model]", _field(self.model, self.join).related_model)
            joined = list(other._meta.concrete_fields)
            theirs = f"{table(other)}.{column(other, other._meta.pk.name)}"
            source += f" LEFT JOIN {table(other)} ON {table(self.model)}.{column(self.model, self.join)} = {theirs}"
        columns = [field.get_col(field.model._meta.db_table) for field in (*fields, *joined)]
        compiler = self.model._default_manager.all().query.get_compiler(connection=connection)
        converters = compiler.get_converters(columns)
        names = ", ".join(_quoted(field.model._meta.db_table, str(field.column)) for field in (*fields, *joined))
        where = f" WHERE {table(self.model)}.{column(self.model, self.key)} = %s" if self.key else ""
        select = _Select(
            f"SELECT {names} FROM {source}{where}{self.tail()}",  # noqa: S608  names out of the models alone
            tuple(field.attname for field in fields),
            tuple(field.attname for field in joined),
            tuple((position, found, expression) for position, (found, expression) in converters.items()),
        )
        self._compiled[connection.vendor] = select
        return select


class ByKey(_Reading[M]):
    """The row whose unique column `key` has a value, or None; with the row behind foreign key `join` if one is named."""

    def __init__(self, model: type[M], key: str, *, join: str = "", for_update: bool = False) -> None:
        def lock() -> str:
            return " FOR UPDATE" if for_update and connection.features.has_select_for_update else ""

        super().__init__(model, key, join=join, tail=lock)

    def __call__(self, value: Any) -> M | None:
        """One statement. `value`: of the key column, as Python has it."""
        return self.found(ask(self.statement(value))[0])

    def found(self, answer: Answer) -> M | None:
        """The row of the answer to `statement`."""
        return self.instance(answer.rows[0]) if answer.rows else None


class Latest(_Reading[M]):
    """The rows whose column `key` has a value: at most `most` of them, the latest by column `by` first, those without one before."""

    def __init__(self, model: type[M], key: str, *, by: str, most: int) -> None:
        def order() -> str:
            # What PostgreSQL's DESC means; SQLite's puts NULL last.
            return f" ORDER BY {table(model)}.{column(model, by)} DESC NULLS FIRST LIMIT {most}"

        super().__init__(model, key, tail=order)

    def __call__(self, value: Any) -> list[M]:
        """One statement. `value`: of the key column, as Python has it."""
        return [self.instance(row) for row in ask(self.statement(value))[0].rows]


class Oldest(_Reading[M]):
    """The rows with the lowest primary keys, at most `most` of them, in that order."""

    def __init__(self, model: type[M], *, most: int) -> None:
        def order() -> str:
            return f" ORDER BY {table(model)}.{column(model, str(model._meta.pk.attname))} LIMIT {most}"

        super().__init__(model, tail=order)


class Insert(Generic[M]):
    """Stores a new row; where `unique` is taken already, updates the columns `update` of the row that has it.

    `returning`: attributes to set on the instance from the row as it then stands. Raises IntegrityError like any INSERT.
    """

    def __init__(
        self, model: type[M], *, unique: Sequence[str] = (), update: Sequence[str] = (), returning: Sequence[str] = ()
    ) -> None:
        self.model, self.unique, self.update, self.returning = model, unique, update, returning
        self._compiled: dict[str, str] = {}

    def __call__(self, instance: M) -> None:
        """One statement."""
        self.stored(instance, ask(self.statement(instance))[0])

    def statement(self, instance: M) -> Statement:
        """What stores the instance, to be sent with others (`ask`); `stored` takes the answer."""
        here = _here()
        sql = self._compiled.get(here.vendor) or self._compile()
        fields = self.model._meta.concrete_fields
        return sql, [field.get_db_prep_save(field.pre_save(instance, True), here) for field in fields]

    def stored(self, instance: M, answer: Answer) -> None:
        """Mark the instance stored, and set what it was to be told (`returning`)."""
        if self.returning:
            for name, value in zip(self.returning, answer.rows[0], strict=True):
                setattr(instance, name, _field(self.model, name).to_python(value))
        instance._state.adding = False
        instance._state.db = _here().alias

    def _compile(self) -> str:
        names = [field.attname for field in self.model._meta.concrete_fields]

        def listed(wanted: Sequence[str]) -> str:
            return ", ".join(column(self.model, name) for name in wanted)

        # Where the disk is full, SQLite undoes the whole transaction for a row of VALUES, and for one that is selected this
        # statement alone: what takes rights away goes on without its event (audit.record.record_or_log).
        selected = connection.vendor == "sqlite" and not self.unique
        values = ("SELECT {}" if selected else "VALUES ({})").format(", ".join(["%s"] * len(names)))
        sql = f"INSERT INTO {table(self.model)} ({listed(names)}) {values}"
        if self.unique:
            changes = ", ".join("{0} = EXCLUDED.{0}".format(column(self.model, name)) for name in self.update)
            sql += f" ON CONFLICT ({listed(self.unique)}) DO UPDATE SET {changes}"
        if self.returning:
            sql += f" RETURNING {listed(self.returning)}"
        self._compiled[connection.vendor] = sql
        return sql
