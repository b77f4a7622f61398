"""TRUNCATE fires no row trigger: a statement trigger of its own keeps the audit log, its head and the revisions from it."""

from django.db import migrations

TABLES = {
    "audit_is_not_truncated": "federation_auditevent",
    "audit_head_is_not_truncated": "federation_audithead",
    "revisions_are_not_truncated": "federation_mappingrevision",
}


def forward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for trigger, table in TABLES.items():
            schema_editor.execute(
                f"CREATE TRIGGER {trigger} BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION rolegate_refuse_change()"
            )


def backward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for trigger, table in TABLES.items():
            schema_editor.execute(f"DROP TRIGGER {trigger} ON {table}")


class Migration(migrations.Migration):
    dependencies = [("federation", "0006_directory_and_service_tokens")]
    operations = [migrations.RunPython(forward, backward)]
