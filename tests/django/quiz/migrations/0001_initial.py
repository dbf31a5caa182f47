"""The first tables."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Creates the questions."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Question",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=200)),
                ("picture", models.FileField(upload_to="pictures")),
            ],
        ),
    ]
