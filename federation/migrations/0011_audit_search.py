"""What the audit log is searched by. Inside `data` on PostgreSQL alone: SQLite is for the demo, and its log is short."""

from django.db import migrations, models


FORWARD = """
CREATE INDEX audit_role_at ON federation_auditevent ((data ->> 'role_arn'), at) WHERE (data ->> 'role_arn') IS NOT NULL;
CREATE INDEX audit_key_at ON federation_auditevent ((data ->> 'access_key_id'), at) WHERE (data ->> 'access_key_id') IS NOT NULL;
CREATE INDEX audit_person_at ON federation_auditevent ((data ->> 'person'), at) WHERE (data ->> 'person') IS NOT NULL;
CREATE INDEX audit_rule_at ON federation_auditevent ((data ->> 'rule'), at) WHERE (data ->> 'rule') IS NOT NULL;
"""
BACKWARD = "DROP INDEX audit_role_at; DROP INDEX audit_key_at; DROP INDEX audit_person_at; DROP INDEX audit_rule_at;"


def forward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FORWARD, params=None)


def backward(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(BACKWARD, params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('federation', '0010_audit_digest'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['at'], name='audit_at'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['address', 'at'], name='audit_address_at'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('reason', ''), _negated=True), fields=['reason', 'at'], name='audit_reason_at'),
        ),
        migrations.RunPython(forward, backward),
    ]
