"""The console's navigation: what a person may not open is not in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from federation.mapping.capabilities import Capability, Powers


@dataclass(frozen=True, slots=True)
class Place:
    """One entry: the name of its address, its label, and the capability that its view declares (a test compares them)."""

    name: str
    label: str | Promise
    capability: Capability


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as a page shows it. `current`: the page that is open is it, or lies below it."""

    url: str
    label: str | Promise
    current: bool


# In the order in which they are shown, by section. A page that is not here is reached from one that is.
SECTIONS: Final[tuple[tuple[str | Promise, tuple[Place, ...]], ...]] = (
    (
        "",
        (
            Place("staff-home", _("Overview"), Capability.OPEN_CONSOLE),
        ),
    ),
    (
        _("Access"),
        (
            Place("staff-mapping", _("Mapping"), Capability.SEE_MAPPING),
            Place("staff-people", _("People"), Capability.SEE_PEOPLE),
            Place("staff-requests", _("Requests"), Capability.SEE_REQUESTS),
            Place("staff-unused", _("Unused access"), Capability.SEE_UNUSED),
            Place("staff-audit", _("Audit log"), Capability.SEE_AUDIT),
        ),
    ),
    (
        _("AWS"),
        (
            Place("staff-accounts", _("Accounts"), Capability.SEE_ACCOUNTS),
            Place("staff-roles", _("Roles"), Capability.SEE_ACCOUNTS),
            Place("staff-findings", _("Trust findings"), Capability.SEE_ACCOUNTS),
        ),
    ),
    (
        _("Gateway"),
        (
            Place("staff-tasks", _("Background work"), Capability.SEE_TASKS),
            Place("staff-held", _("Held answers"), Capability.SEE_HELD),
            Place("staff-tokens", _("Tokens"), Capability.SEE_TOKENS),
            Place("staff-providers", _("Identity providers"), Capability.SEE_PROVIDERS),
            Place("staff-directories", _("Directories"), Capability.SEE_PROVIDERS),
            Place("staff-rights", _("Rights"), Capability.SEE_RIGHTS),
        ),
    ),
)  # fmt: skip


def links(powers: Powers, path: str) -> list[tuple[str | Promise, list[Link]]]:
    """The sections with something in them for these powers; `path`: of the page that is open."""
    shown = []
    for label, places in SECTIONS:
        open_to = [place for place in places if powers.may(place.capability)]
        if open_to:
            shown.append((label, [_link(place, path) for place in open_to]))
    return shown


def _link(place: Place, path: str) -> Link:
    url = reverse(place.name)
    # The overview is the root of them all: it is current only where it is itself open.
    below = path.startswith(url) and url != "/staff/"
    return Link(url, place.label, current=path == url or below)
