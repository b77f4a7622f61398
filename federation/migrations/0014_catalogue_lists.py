"""Lists of the catalogue: what a search looks at, and the findings on trust policies, kept."""

import datetime

import django.db.models.functions.comparison
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.functions import Concat, Left, Lower

LONGEST = 500


def fill(apps, schema_editor):
    """As `models.accounts.search_text` does it: roles without tags by one statement, those with tags one by one."""
    Role = apps.get_model("federation", "Role")
    bare = Role.objects.filter(tags={})
    bare.filter(path="").update(search=Left(Lower(F("name")), LONGEST))
    bare.exclude(path="").update(search=Left(Lower(Concat(F("path"), Value("/"), F("name"))), LONGEST))
    for role in Role.objects.exclude(tags={}).only("pk", "path", "name", "tags").iterator(chunk_size=2000):
        words = [f"{role.path}/{role.name}" if role.path else role.name]
        words += [f"{key}={value}" for key, value in sorted(role.tags.items())]
        Role.objects.filter(pk=role.pk).update(search=" ".join(words).lower()[:LONGEST])


class Migration(migrations.Migration):

    dependencies = [
        ('federation', '0013_requests_marks_and_letters'),
    ]

    operations = [
        migrations.CreateModel(
            name='ExaminedAccount',
            fields=[
                ('account_id', models.CharField(max_length=12, primary_key=True, serialize=False)),
                ('stamp', models.CharField(max_length=200)),
                ('examined_at', models.DateTimeField()),
                ('roles', models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='TrustFinding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account_id', models.CharField(max_length=12)),
                ('role_arn', models.CharField(max_length=2048)),
                ('code', models.CharField(max_length=64)),
                ('statement', models.PositiveSmallIntegerField(default=0)),
                ('severity', models.PositiveSmallIntegerField()),
                ('sentence', models.TextField()),
                ('rules', models.JSONField(default=list)),
                ('correctable', models.BooleanField(default=False)),
                ('found_at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='role',
            name='search',
            field=models.CharField(blank=True, default='', max_length=500),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='role',
            index=models.Index(fields=['name', 'id'], include=('search', 'present', 'account_id', 'last_used_at'), name='roles_by_name'),
        ),
        migrations.AddIndex(
            model_name='role',
            index=models.Index(django.db.models.functions.comparison.Coalesce(models.F('last_used_at'), models.Value(datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), models.F('id'), name='roles_by_last_use'),
        ),
        migrations.AddIndex(
            model_name='trustfinding',
            index=models.Index(fields=['severity', 'account_id', 'id'], name='trust_finding_by_severity'),
        ),
        migrations.AddIndex(
            model_name='trustfinding',
            index=models.Index(fields=['account_id', 'severity', 'id'], name='trust_finding_of_account'),
        ),
        migrations.AddConstraint(
            model_name='trustfinding',
            constraint=models.UniqueConstraint(fields=('role_arn', 'code', 'statement'), name='one_trust_finding_of_a_kind'),
        ),
    ]
