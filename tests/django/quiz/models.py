"""What the quiz keeps."""

from django.db import models


class Question(models.Model):
    """A question with a picture."""

    text = models.CharField(max_length=200)
    picture = models.FileField(upload_to="pictures")

    def __str__(self):
        return self.text
