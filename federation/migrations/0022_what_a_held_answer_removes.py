from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('federation', '0021_sign_in_keeps_the_identity'),
    ]

    operations = [
        migrations.AddField(
            model_name='heldanswer',
            name='removals',
            field=models.BinaryField(default=None, null=True),
        ),
    ]
