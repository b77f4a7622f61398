"""Expand, then contract: while a rolling upgrade lasts, the version before goes on reading and writing what a migration left.

So a migration only adds, and what it adds can be missing from the rows that the version before writes. What is not needed
any more is taken out one release later, when no process of that version runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import models
from django.db.migrations import operations as ops
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import NOT_PROVIDED

# The migrations of the first release: there is no version before it that could run beside them.
FIRST_RELEASE = 19
TAKES_AWAY = (
    ops.RemoveField, ops.RenameField, ops.DeleteModel, ops.RenameModel, ops.AlterModelTable, ops.AddConstraint,
    ops.AlterUniqueTogether,
)  # fmt: skip


def faults(operation: Operation, before: ProjectState) -> list[str]:
    """Why the version before could not live with what this operation leaves."""
    if isinstance(operation, ops.SeparateDatabaseAndState):
        return [fault for one in operation.database_operations for fault in faults(one, before)]
    if isinstance(operation, TAKES_AWAY):
        return [f"{operation.describe()}: the version before still uses it, or writes what is forbidden now"]
    if isinstance(operation, ops.AddField):
        field = operation.field
        if not field.many_to_many and not field.null and field.db_default is NOT_PROVIDED:
            return [f"{operation.describe()}: give it db_default, or null: the version before writes rows without it"]
    if isinstance(operation, ops.AlterField):
        old = before.models["federation", operation.model_name_lower].fields[operation.name]
        return [f"{operation.describe()}: {why}" for why in _narrower(old, operation.field)]
    return []


def _narrower(old: models.Field, new: models.Field) -> list[str]:
    found = []
    if type(old) is not type(new):
        found.append("another type")
    if old.null and not new.null:
        found.append("the version before may write NULL")
    if (new.max_length or 0) < (old.max_length or 0):
        found.append("shorter than what the version before may write")
    if new.unique and not old.unique:
        found.append("the version before may write doubles")
    return found


def too_much_at_once(operations: Sequence[Operation]) -> list[str]:
    """Each table that a migration alters stays locked until its transaction ends: two of them, and a request that has one and
    wants the other makes a deadlock; and both wait for as long as the rest takes.
    """
    altered = {one.model_name_lower for one in operations if isinstance(one, ops.AddField | ops.AlterField)}
    return [f"alters {', '.join(sorted(altered))}: one table a migration"] if len(altered) > 1 else []


def test_every_migration_since_the_first_release_only_expands():
    loader = MigrationLoader(None)
    found = []
    for app, name in sorted(key for key in loader.graph.nodes if key[0] == "federation"):
        if int(name[:4]) <= FIRST_RELEASE:
            continue
        migration = loader.get_migration(app, name)
        found += [f"{name}: {fault}" for fault in too_much_at_once(migration.operations)]
        state = loader.project_state(migration.dependencies[0])
        for operation in migration.operations:
            found += [f"{name}: {fault}" for fault in faults(operation, state)]
            operation.state_forwards(app, state)
    assert found == []


def test_the_first_release_is_all_there():
    """The number above moves with a release, never to let a migration through."""
    numbers = [int(name[:4]) for app, name in MigrationLoader(None).graph.nodes if app == "federation"]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert max(numbers) >= FIRST_RELEASE


TEXT = models.CharField(max_length=50)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (ops.AddField("thing", "more", TEXT), "db_default"),
        (ops.AddField("thing", "more", models.CharField(max_length=50, default="")), "db_default"),
        (ops.AddField("thing", "more", models.CharField(max_length=50, default="", db_default="")), ""),
        (ops.AddField("thing", "more", models.CharField(max_length=50, null=True)), ""),
        (ops.RemoveField("thing", "name"), "still uses it"),
        (ops.RenameField("thing", "name", "title"), "still uses it"),
        (ops.DeleteModel("thing"), "still uses it"),
        (ops.AddConstraint("thing", models.UniqueConstraint(fields=["name"], name="one")), "forbidden now"),
        (ops.AlterField("thing", "name", models.CharField(max_length=100, null=True)), ""),
        (ops.AlterField("thing", "name", models.CharField(max_length=40, null=True)), "shorter"),
        (ops.AlterField("thing", "name", TEXT), "NULL"),
        (ops.AlterField("thing", "name", models.TextField(null=True)), "another type"),
        (ops.AlterField("thing", "name", models.CharField(max_length=50, null=True, unique=True)), "doubles"),
        (ops.SeparateDatabaseAndState([ops.DeleteModel("thing")]), "still uses it"),
        (ops.CreateModel("other", [("id", models.BigAutoField(primary_key=True))]), ""),
        (ops.AddIndex("thing", models.Index(fields=["name"], name="by_name")), ""),
    ],
)
def test_the_rule_itself(operation, says):
    state = ProjectState()
    fields = [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=50, null=True))]
    state.add_model(ModelState("federation", "thing", fields))
    found = faults(operation, state)
    assert says in " ".join(found)
    assert bool(found) is bool(says)


def test_one_table_at_a_time():
    more = [ops.AddField(table, "more", models.TextField(null=True)) for table in ("thing", "other")]
    assert too_much_at_once(more) == ["alters other, thing: one table a migration"]
    assert too_much_at_once([*more[:1], ops.AlterField("thing", "name", TEXT), ops.DeleteModel("other")]) == []
