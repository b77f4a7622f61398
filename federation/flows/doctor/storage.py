"""The process's own ground: settings, database, audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.core import checks as system_checks
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from federation.audit import chain
from federation.audit import record as audit
from federation.audit.events import Kind, Origin
from federation.flows.doctor.findings import Finding, counted, ok, problem, warning
from federation.models.audit import AuditEvent, AuditHead

UNUSABLE = frozenset({"database_unreachable", "migrations_pending"})
_LAST_EVENTS = 500
# Each stops one way of rewriting history; a table's owner can drop them (docs/audit.md).
_TRIGGERS = ("audit_is_append_only", "audit_is_not_truncated")


def environment(now: datetime) -> Iterator[Finding]:
    """Django's own system checks and ours: with those for deployment where the gateway is https."""
    deployed = str(settings.ROLEGATE_URL).startswith("https://")
    found = [
        message
        for message in system_checks.run_checks(include_deployment_checks=deployed)
        if message.level >= system_checks.WARNING and not message.is_silenced()
    ]
    for message in found:
        says = f"{message.msg} [{message.id}]"
        if message.is_serious():
            yield problem("system_check", says, message.hint or "See docs/settings.md.")
        elif not settings.ROLEGATE_DEMO:
            yield warning("system_check", says, message.hint or "See docs/settings.md.")
    if settings.ROLEGATE_DEMO:
        yield ok(f"Demo settings, for {settings.ROLEGATE_URL} alone")
    elif not found:
        yield ok(f"Settings are sound; the gateway is {settings.ROLEGATE_URL}")


def database(now: datetime) -> Iterator[Finding]:
    """Reachable, with every migration of this version."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        connection.close()
        yield problem(
            "database_unreachable",
            f"The database cannot be used: {str(error).partition(chr(10))[0][:200]}",
            "Check DATABASE_URL, the server, and the network between.",
        )
        return
    if pending:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in pending[:5])
        yield problem(
            "migrations_pending",
            f"{counted(len(pending), 'migration')} not applied: {names}{' …' if len(pending) > 5 else ''}",
            "Run manage.py migrate.",
        )
        return
    if connection.vendor == "sqlite" and not settings.ROLEGATE_DEMO:
        yield warning(
            "sqlite",
            "The database is an SQLite file: one writer at a time, on one machine, and nothing but the chain protects its audit log.",
            "Right for a trial. Otherwise set DATABASE_URL to PostgreSQL.",
        )
    yield ok(f"{connection.display_name} {_version()}, every migration applied")


def _version() -> str:
    return ".".join(str(part) for part in connection.get_database_version())


class _Undo(Exception):
    """Roll the attempt back."""


def audit_log(now: datetime) -> Iterator[Finding]:
    """Its end fits its head, it can be written, and nobody but its owner can rewrite it."""
    broken = list(_end_of_the_chain())
    for said in broken:
        yield problem(
            "audit_chain_broken",
            f"The audit log is not what was written: {said}",
            "Run manage.py audit verify, which names every place, and find out who has access to the database.",
        )
    try:
        with transaction.atomic():
            audit.record(Kind.KEY_PUBLISHED, actor="doctor", outcome="ok", origin=_ORIGIN, now=now, documents=[])
            raise _Undo
    except _Undo:
        pass
    except (DatabaseError, audit.AuditUnavailable) as error:
        yield problem(
            "audit_not_writable",
            f"The audit log cannot be written: {str(error).partition(chr(10))[0][:300]}",
            "Make room on the database's disk, or give the gateway's role INSERT on it. Until then nothing is minted and nobody signs in.",
        )
        return
    if connection.vendor == "postgresql":
        yield from _who_can_rewrite_it()
    if not broken:
        yield ok(f"The last {_LAST_EVENTS} events at most are as they were written; the log can be written")


_ORIGIN = Origin(request_id="doctor", address="", user_agent="doctor")


def _end_of_the_chain() -> Iterator[str]:
    """Hold the last events against the head. The whole log is for `audit verify`: here seconds count."""
    head = AuditHead.objects.filter(pk=1).first()
    newest = list(AuditEvent.objects.order_by("-seq")[: _LAST_EVENTS + 1])[::-1]
    if head is None or not newest:
        if newest or (head is not None and head.seq):
            yield "its head or its rows are gone"
        return
    first = newest.pop(0) if newest[0].seq > 1 else None
    yield from (
        found.problem
        for found in chain.verify(
            [chain.Link(event.seq, audit.content(event), event.mac) for event in newest],
            head=(head.seq, head.last_mac, head.mac),
            keys=audit.keys(),
            after=(first.seq, first.mac) if first else None,
        )
    )


def _who_can_rewrite_it() -> Iterator[Finding]:
    table = AuditEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled IN ('O', 'A') AND NOT tgisinternal",
            [table],
        )
        present = {name for (name,) in cursor.fetchall()}
        cursor.execute(
            "SELECT p FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p WHERE has_table_privilege(current_user, %s, p)",
            [table],
        )
        may = [privilege for (privilege,) in cursor.fetchall()]
    missing = sorted(set(_TRIGGERS) - present)
    if missing:
        yield problem(
            "audit_trigger_missing",
            f"The audit log is not protected by {', '.join(missing)}: somebody has dropped or disabled it.",
            "Find out who. ALTER TABLE federation_auditevent ENABLE TRIGGER brings back a disabled one; docs/audit.md has the others.",
        )
    if may:
        yield warning(
            "audit_role_may_rewrite",
            f"The gateway's own database role has {', '.join(may)} on the audit log: triggers alone stop it, and an owner can drop those.",
            "Let migrations run as the owner and the gateway as another role: docs/audit.md has the GRANTs.",
        )
