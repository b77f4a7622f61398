"""Rendering a page of the console: the template with the navigation, and what the person can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from federation.mapping.capabilities import Capability
from federation.queries.requests import broken_glass
from portal.staff.guard import powers_in
from portal.staff.navigation import links

_FRAME: Final = frozenset({"here", "can", "staff_sections", "glass"})


def page(request: HttpRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """The page. Its template gets `can`, a name per capability that is there, `staff_sections`, and `glass`: what is in use by
    break-glass, for whoever watches over requests; it is asked for only where a whole page is made.
    """
    if shadowed := _FRAME.intersection(context):
        raise ValueError(f"the frame of the page needs these names itself: {', '.join(sorted(shadowed))}")
    powers = powers_in(request)
    watches = powers.may(Capability.SEE_REQUESTS)
    return render(
        request,
        template,
        {
            "here": "staff",
            "can": {capability.value: True for capability in powers.scopes},
            "staff_sections": links(powers, request.path),
            "glass": SimpleLazyObject(lambda: broken_glass(now=timezone.now()) if watches else []),
            **context,
        },
        status=status,
    )
