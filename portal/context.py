"""What every template may know of the gateway."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def gateway(request: HttpRequest) -> dict[str, Any]:
    """`demo`: whether this is the demo; `request_id` of this request."""
    return {"demo": settings.ROLEGATE_DEMO, "request_id": getattr(request, "request_id", "")}
