"""On PostgreSQL the audit log refuses UPDATE and DELETE, whoever asks (a table's owner can still drop the trigger:
docs/audit.md has the GRANTs for an application role that is not the owner). SQLite is for the demo: there the chain
alone shows what was changed. Revisions of the mapping are protected the same way. Rate windows need not survive a crash, so they are kept out of the write-ahead log.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION rolegate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON federation_auditevent
  FOR EACH ROW EXECUTE FUNCTION rolegate_refuse_change();
ALTER TABLE federation_ratewindow SET UNLOGGED;
CREATE TRIGGER revisions_are_immutable BEFORE UPDATE OR DELETE ON federation_mappingrevision
  FOR EACH ROW EXECUTE FUNCTION rolegate_refuse_change();
"""
BACKWARD = """
DROP TRIGGER audit_is_append_only ON federation_auditevent;
DROP TRIGGER revisions_are_immutable ON federation_mappingrevision;
ALTER TABLE federation_ratewindow SET LOGGED;
DROP FUNCTION rolegate_refuse_change();
"""


def forward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FORWARD, params=None)


def backward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(BACKWARD, params=None)


class Migration(migrations.Migration):
    dependencies = [("federation", "0001_initial")]
    operations = [migrations.RunPython(forward, backward)]
