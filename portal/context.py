"""What every template may know of the gateway."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from federation.flows import staff_rights
from federation.models.people import Person


def gateway(request: HttpRequest) -> dict[str, Any]:
    """`demo`: whether this is the demo; `support`, `support_link`: whom people ask; `request_id` of this request; `staff_home`: the console's address for whoever
    may open it, else "". It is worked out only where a template asks.
    """
    return {
        "demo": settings.ROLEGATE_DEMO,
        "support": settings.ROLEGATE_SUPPORT,
        "support_link": _link(settings.ROLEGATE_SUPPORT),
        "request_id": getattr(request, "request_id", ""),
        "staff_home": SimpleLazyObject(lambda: "/staff/" if _is_staff(request) else ""),
    }


def _link(contact: str) -> str:
    """Where a contact leads: an address of the web, a letter, or "" where it is only words."""
    if contact.startswith("https://"):
        return contact
    return f"mailto:{contact}" if "@" in contact and " " not in contact else ""


def _is_staff(request: HttpRequest) -> bool:
    """What the view already knows, or a look at the person's groups. Only for a link: each page of the console decides again."""
    known = getattr(request, "staff_powers", None)
    if known is None and isinstance(request.user, Person):
        known = staff_rights.glance(request.user, now=timezone.now())
    return known is not None and known.is_staff
