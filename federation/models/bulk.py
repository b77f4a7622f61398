"""Many rows in one statement, for what is read from elsewhere and taken over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, Final, cast

from django.db import connection, models

from federation.models import compiled

_ROWS: Final = 500


def upsert(rows: Sequence[models.Model], *, unique: str) -> None:
    """Write rows of one model; one that has the value of another in the field `unique` takes its place, but for its key.

    On PostgreSQL they travel as one JSON text. Django's bulk_create makes an array of each column there, which psycopg
    writes value by value in Python: a fifth of all the CPU of reading a thousand accounts.
    """
    if not rows:
        return
    model = type(rows[0])
    fields = _fields(model)
    waiting = iter(rows)
    while batch := list(islice(waiting, _ROWS)):
        if connection.vendor == "postgresql":
            given = [{field.column: field.value_from_object(row) for field in fields} for row in batch]
            with connection.cursor() as cursor:
                cursor.execute(_statement(model, unique), [json.dumps(given, default=_text)])
        else:
            names = [field.name for field in fields if field.name != unique]
            model._default_manager.bulk_create(
                batch, update_conflicts=True, unique_fields=[unique], update_fields=names
            )


def _text(value: object) -> str:
    """What JSON has no word for, as the database reads it. Django's encoder would cut a moment to milliseconds."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


@cache
def _fields(model: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    """The fields that have a column, but for the key that the database gives."""
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key)


@cache
def _statement(model: type[models.Model], unique: str) -> str:
    return " ".join(_words(model, unique))


def _words(model: type[models.Model], unique: str) -> Iterator[str]:
    columns = [compiled.column(model, field.name) for field in _fields(model)]
    types = [cast("str", field.db_type(connection)) for field in _fields(model)]
    typed = ", ".join(f"{column} {of}" for column, of in zip(columns, types, strict=True))
    yield f"INSERT INTO {compiled.table(model)} ({', '.join(columns)})"
    yield f"SELECT {', '.join(columns)} FROM json_to_recordset(%s) AS given({typed})"  # noqa: S608  our own columns
    key = compiled.column(model, unique)
    yield f"ON CONFLICT ({key}) DO UPDATE SET"
    yield ", ".join(f"{column} = EXCLUDED.{column}" for column in columns if column != key)
