from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("federation", "0004_past_claims"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="role", name="roles_of_account"),
        migrations.AlterField(model_name="role", name="account_id", field=models.CharField(max_length=12)),
        migrations.AddIndex(
            model_name="role",
            index=models.Index(fields=["account_id", "name"], name="roles_of_account_by_name"),
        ),
        migrations.AlterField(
            model_name="organizationaccount",
            name="organizational_unit_id",
            field=models.CharField(blank=True, default="", max_length=512),
        ),
    ]
