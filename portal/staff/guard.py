"""What stands before every page of the console: a session, and the one capability that the page declares.

A view without `@staff(...)` is found by tests/portal/staff/test_walk.py, which walks over every address below /staff/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.utils import timezone

from federation.flows import staff_rights
from federation.mapping.capabilities import Capability, Powers
from portal.views.guard import View, origin_of, person_of, signed_in

_P = ParamSpec("_P")
_METHODS = (
    "GET",
    "HEAD",
    "POST",
)  # the console has no page for another; it is said before anybody's rights are looked at


def staff(capability: Capability) -> Callable[[View[_P]], View[_P]]:
    """Opens a view to whoever has the capability now; where the address has an `account_id`, for that account.

    Stands outermost, above `require_safe` and the like: who may not enter is not told which methods there are. A view over
    several accounts must itself keep to `scope(request, capability)`.
    """

    def around(view: View[_P]) -> View[_P]:
        @signed_in
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponse:
            account_id: Any = kwargs.get("account_id")
            found = staff_rights.require(
                person_of(request), capability, account_id=account_id, path=request.path, origin=origin_of(request), now=timezone.now()
            )  # fmt: skip
            request.staff_powers = found  # type: ignore[attr-defined]
            return view(request, *args, **kwargs)

        @wraps(guarded)
        def answered(request: HttpRequest, /, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponse:
            if request.method not in _METHODS:
                return HttpResponseNotAllowed(_METHODS)
            return guarded(request, *args, **kwargs)

        answered.staff_capability = capability  # type: ignore[attr-defined]
        return answered

    return around


def powers_in(request: HttpRequest) -> Powers:
    """The powers that the guard has found."""
    found: Powers = request.staff_powers  # type: ignore[attr-defined]
    return found


def scope(request: HttpRequest, capability: Capability) -> frozenset[str] | None:
    """The accounts that the person may see or change by this capability: None for all."""
    return powers_in(request).scope(capability)


def actor_of(request: HttpRequest) -> str:
    """How the audit log names whoever is at the console."""
    person = person_of(request)
    return person.actor
