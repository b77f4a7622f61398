"""What each error code means: the page that the `type` of a problem document points at (RFC 9457, 3.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from federation.errors import RolegateError


def _classes(of: type[RolegateError]) -> Iterator[type[RolegateError]]:
    yield of
    for derived in of.__subclasses__():
        yield from _classes(derived)


@cache
def _codes() -> tuple[tuple[str, int, str], ...]:
    """(code, HTTP status, sentence) of every error that the running gateway knows, by code; the most general of each code."""
    found: dict[str, tuple[int, str]] = {}
    for error in _classes(RolegateError):
        found.setdefault(error.code, (error.status, error.sentence))
    return tuple((code, *found[code]) for code in sorted(found))


@require_safe
def error_codes(request: HttpRequest) -> HttpResponse:
    """`/errors`: for anybody, signed in or not; it says nothing of any one request."""
    return render(request, "portal/error_codes.html", {"codes": _codes()})
