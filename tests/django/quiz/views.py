"""The quiz's pages."""

from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.shortcuts import redirect, render

from .models import Question


def index(request):
    """All questions with their pictures, and an upload form for who is logged in."""
    return render(request, "index.html", {"questions": Question.objects.order_by("id")})


@login_required
def add(request):
    """Takes an upload."""
    if request.method == "POST":
        Question.objects.create(text=request.POST["text"], picture=request.FILES["picture"])
    return redirect("/")


def seen(request):
    """What the app sees of the client, for comparing what stands in front of it."""
    return JsonResponse(
        {
            "secure": request.is_secure(),
            "host": request.get_host(),
            "url": request.build_absolute_uri(),
            "forwarded_for": request.headers.get("X-Forwarded-For"),
            "forwarded_proto": request.headers.get("X-Forwarded-Proto"),
            "forwarded_host": request.headers.get("X-Forwarded-Host"),
        }
    )
