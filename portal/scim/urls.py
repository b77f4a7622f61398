"""Everything below /scim/, so that what is not there is a SCIM error too."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt  # no cookie is read
def scim(request: HttpRequest, rest: str = "") -> HttpResponse:
    """A request of a directory. What answers it is loaded by the first one: most workers never see any, and it is 10 MB."""
    from portal.scim.views import answer

    return answer(request, rest)


urlpatterns = [
    re_path(r"^scim/v2(?:/(?P<rest>.*))?$", scim, name="scim"),
    path("scim/<path:rest>", scim, name="scim-not-found"),
]
