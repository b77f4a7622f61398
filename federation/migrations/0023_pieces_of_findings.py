from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('federation', '0022_what_a_held_answer_removes'),
    ]

    operations = [
        migrations.AddField(
            model_name='trustfinding',
            name='pieces',
            field=models.JSONField(null=True),
        ),
    ]
