"""How a command line was paired, so that roles can be kept out of the device flow."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("federation", "0015_rule_reach")]

    operations = [
        migrations.AddField(
            model_name="tokenfamily",
            name="grant",
            # A default in the database too: the version before this one goes on writing rows during a rolling upgrade.
            field=models.CharField(blank=True, db_default="", default="", max_length=30),
        ),
    ]
