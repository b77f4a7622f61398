"""`/language/`: which language somebody reads the pages in. A cookie holds it: it is the browser's, signed in or not."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from portal.views.guard import safe_next


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Remembers the language and goes back. One that we do not have changes nothing."""
    wanted = request.POST.get("language", "")
    response = HttpResponseRedirect(safe_next(request.POST.get("next"), circle=True))
    if wanted in dict(settings.LANGUAGES):
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            wanted,
            max_age=settings.LANGUAGE_COOKIE_AGE,
            path="/",
            secure=settings.LANGUAGE_COOKIE_SECURE,
            httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
            samesite="Lax",
        )
    return response
