"""Rendering a page of the console: the template with the navigation, and what the person can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.staff.guard import powers_in
from portal.staff.navigation import links


def page(request: HttpRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """The page. Its template gets `can`, a name per capability that is there, and `staff_sections`."""
    powers = powers_in(request)
    return render(
        request,
        template,
        {
            "here": "staff",
            "can": {capability.value: True for capability in powers.scopes},
            "staff_sections": links(powers, request.path),
            **context,
        },
        status=status,
    )
