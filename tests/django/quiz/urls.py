"""Which page is where."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("add/", views.add),
    path("seen/", views.seen),
    path("login/", auth.LoginView.as_view(template_name="login.html")),
    path("logout/", auth.LogoutView.as_view()),
    path("admin/", admin.site.urls),
]
