"""The pages for what Django itself refuses. They say no more than any other error page does."""

from __future__ import annotations

import sys

import structlog
from django.http import HttpRequest, HttpResponse

from federation.errors import AccessDenied, BadRequest, NotFound, RateLimited, RolegateError
from portal.middleware import DATABASE_AWAY, database_away, error_response
from portal.oauth.views import note_refused
from portal.views.guard import is_navigation, open_page

log = structlog.get_logger(__name__)


class FormRefused(RolegateError):
    """A form without a valid CSRF token, or from another site."""

    code = "form_refused"
    status = 403
    sentence = (
        "This form did not come from a page that was just opened here. Go back, reload the page, and send it again. "
        "If that does not help, allow cookies for this site."
    )


class PageForbidden(AccessDenied):
    """Django's own PermissionDenied."""

    sentence = "You may not see this page."


class NoSuchPage(NotFound):
    """An address that no page has."""

    sentence = "There is no page at this address. Check it, or start again from your roles."


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: malformed, too large, or for a host that is not ours."""
    if request.path == "/oauth/authorize" and is_navigation(request):
        # The check of the form's token meets an unreadable form before the endpoint does.
        try:
            note_refused(request, None, exception)
        except RateLimited as limited:
            return _refused(request, limited)
    return _refused(request, BadRequest(_reason(exception)))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403."""
    return _refused(request, PageForbidden(_reason(exception)))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form; Django's reason is for the log alone."""
    error = FormRefused("csrf", detail=reason)
    _log(request, error)
    # Sent by a page of ours that was open before a new sign-in, in another tab mostly: that page, loaded again, has a new token.
    return error_response(request, error, back=open_page(request))


def _refused(request: HttpRequest, error: RolegateError) -> HttpResponse:
    _log(request, error)
    return error_response(request, error)


def _log(request: HttpRequest, error: RolegateError) -> None:
    log.info("refused", code=error.code, reason=error.reason, detail=error.detail[:200], path=request.path[:200])


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404. The path is not repeated: it may be anything."""
    return error_response(request, NoSuchPage("no_such_page"))


def server_error(request: HttpRequest) -> HttpResponse:
    """500. When not even the page can be made, its text alone.

    503 where the database went away outside a view: when the session is read or saved.
    """
    error = RolegateError("unhandled")
    cause = sys.exception()
    try:
        if isinstance(cause, DATABASE_AWAY):
            return database_away(request, cause)
        return error_response(request, error)
    except Exception:  # noqa: BLE001  the last line of defence: whatever broke may have broken the templates too
        request_id = getattr(request, "request_id", "")
        return HttpResponse(
            f"{error.sentence}\nRequest id: {request_id}\n", status=500, content_type="text/plain; charset=utf-8"
        )


def _reason(exception: Exception) -> str:
    return exception.__class__.__name__.lower()
