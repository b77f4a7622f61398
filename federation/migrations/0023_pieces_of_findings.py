from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('federation', '0020_past_nestings'),
    ]

    operations = [
        migrations.AddField(
            model_name='trustfinding',
            name='pieces',
            field=models.JSONField(null=True),
        ),
    ]
