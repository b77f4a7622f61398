"""`/staff/rights/`: who may do what in the gateway itself, and by which group."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from federation.errors import NotFound
from federation.mapping.capabilities import RIGHTS, Capability
from federation.mapping.rules import StaffRole
from federation.queries import rights as queries
from portal.staff.guard import powers_in, staff
from portal.staff.page import page

RIGHT_WORDS: dict[StaffRole, str | Promise] = {
    "owner": _("Owner"),
    "mapper": _("Mapper"),
    "account-owner": _("Account owner"),
    "approver": _("Approver"),
    "auditor": _("Auditor"),
}
CAPABILITY_WORDS: dict[Capability, str | Promise] = {
    Capability.OPEN_CONSOLE: _("Enter the admin console"),
    Capability.SEE_ACCOUNTS: _("See accounts and roles"),
    Capability.ONBOARD_ACCOUNTS: _("Onboard and verify accounts"),
    Capability.SEE_PROVIDERS: _("See identity providers"),
    Capability.MANAGE_PROVIDERS: _("Add, test and change identity providers"),
    Capability.SEE_MAPPING: _("See the mapping and its history"),
    Capability.EDIT_MAPPING: _("Draft changes of the mapping"),
    Capability.PUBLISH_MAPPING: _("Publish and roll back the mapping"),
    Capability.SEE_PEOPLE: _("See people and their access"),
    Capability.REVOKE_PEOPLE: _("End a person's sessions, disable and allow again"),
    Capability.SEE_UNUSED: _("See who uses what"),
    Capability.SEE_REQUESTS: _("See requests for access"),
    Capability.REVIEW_REQUESTS: _("Review requests and break-glass use"),
    Capability.SEE_AUDIT: _("Search the audit log"),
    Capability.EXPORT_AUDIT: _("Export the audit log"),
    Capability.VERIFY_AUDIT: _("Verify the audit log"),
    Capability.SEE_RIGHTS: _("See these rights"),
    Capability.SEE_TASKS: _("See background work"),
    Capability.RUN_TASKS: _("Start background work"),
    Capability.SEE_HELD: _("See answers that the brake holds"),
    Capability.DECIDE_HELD: _("Accept or refuse them"),
    Capability.SEE_TOKENS: _("See tokens of programs"),
    Capability.MANAGE_TOKENS: _("Make and revoke tokens of programs"),
}


@staff(Capability.SEE_RIGHTS)
@require_safe
def rights(request: HttpRequest) -> HttpResponse:
    """The entries of `staff`, and what each right opens."""
    context = {
        "entries": [(entry, RIGHT_WORDS[entry.role]) for entry in queries.entries()],
        "rights": [RIGHT_WORDS[right] for right in RIGHTS],
        "capabilities": [
            (words, [(RIGHT_WORDS[right], capability in RIGHTS[right]) for right in RIGHTS])
            for capability, words in CAPABILITY_WORDS.items()
        ],
        "mine": [RIGHT_WORDS[right] for right in powers_in(request).rights],
    }
    return page(request, "staff/rights.html", context)


@staff(Capability.SEE_RIGHTS)
@require_safe
def holders(request: HttpRequest, number: int) -> HttpResponse:
    """Everybody who has one entry's right, and by which of their groups."""
    found = queries.entries()
    if number >= len(found):
        raise NotFound("no_such_entry")
    entry = found[number]
    context = {
        "entry": entry,
        "right": RIGHT_WORDS[entry.role],
        "holders": queries.holders(number, now=timezone.now()),
    }
    return page(request, "staff/rights_holders.html", context)
