"""`/staff/unused/`: who has something by each rule and who uses it, and a narrower rule as a draft."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from federation.errors import BadRequest
from federation.flows import mapping_drafts, narrow_rule
from federation.mapping.capabilities import Capability
from federation.queries import access as queries
from portal.staff import listing
from portal.staff.guard import staff
from portal.staff.page import page
from portal.views.guard import is_partial, origin_of, person_of

_SORTS = ("unused", "-unused", "name", "-name", "people", "-people", "used", "-used")
DAYS: dict[str, str | Promise] = {"30": _("30 days"), "90": _("90 days"), "180": _("180 days"), "365": _("a year")}


def _days(request: HttpRequest) -> int:
    return int(listing.asked(request, "days", list(DAYS)) or 90)


@staff(Capability.SEE_UNUSED)
@require_safe
def unused(request: HttpRequest) -> HttpResponse:
    """The rules, those first that most people have for nothing."""
    days, sort = _days(request), listing.asked(request, "sort", _SORTS) or "unused"
    words, only = listing.asked(request, "q"), bool(listing.asked(request, "only"))
    start = listing.asked(request, "after")
    found = queries.rules(
        now=timezone.now(), days=days, words=words, sort=sort, unused_only=only,  # type: ignore[arg-type]  # one of _SORTS
        start=int(start) if start.isdecimal() and len(start) < 7 else 0,
    )  # fmt: skip
    query, fresh = request.GET, queries.freshness()
    context = {
        "list": found, "words": words, "sort": sort, "days": days, "only": only,
        "heads": listing.heads(
            query,
            [(_("Rule"), "name", ""), (_("Roles"), "", "num"), (_("People"), "people", "num"), (_("Used by"), "used", "num"),
             (_("For nothing"), "unused", "num"), (_("Last used"), "", "")],
            sort, downwards=("people", "used"),
        ),
        "chips": [*listing.chips(query, "only", {"1": _("Used by nobody")}), *listing.chips(query, "days", DAYS, usual="90")],
        "earlier": listing.page_at(query, found.earlier), "later": listing.page_at(query, found.later),
        "freshness": fresh, "caught_up": queries.is_caught_up(fresh),
    }  # fmt: skip
    return page(request, "staff/_unused.html" if is_partial(request) else "staff/unused.html", context)


@staff(Capability.SEE_UNUSED)
@require_safe
def rule(request: HttpRequest) -> HttpResponse:
    """One rule: its roles and people with their use, and what a narrower one would be."""
    now, days, name = timezone.now(), _days(request), request.GET.get("name", "")[:1024]
    found = queries.rule_use(name, request.GET.get("after", ""), now=now, days=days)
    fault, proposal = "", None
    fresh = queries.freshness()
    caught_up = queries.is_caught_up(fresh)
    try:
        # Looks at everybody who has something by the rule: not before somebody asks for it.
        if listing.asked(request, "propose") and caught_up:
            proposal = narrow_rule.propose(name, now=now, days=days)
    except narrow_rule.RuleNotNarrowable as error:
        fault = error.public_sentence
    context = {
        "found": found, "days": days, "caught_up": caught_up, "worked_out": queries.is_worked_out(fresh), "propose": listing.with_changes(request.GET, propose="1"), "proposal": proposal, "fault": fault,
        "earlier": listing.page_at(request.GET, found.earlier), "later": listing.page_at(request.GET, found.later),
    }  # fmt: skip
    return page(request, "staff/unused_rule.html", context)


@staff(Capability.EDIT_MAPPING)
@require_POST
def narrow(request: HttpRequest) -> HttpResponse:
    """Puts the narrower rule into a draft of the person's own: to be previewed and published as every other."""
    now, person = timezone.now(), person_of(request)
    name, days = request.POST.get("name", "")[:1024], request.POST.get("days", "")
    if not queries.is_caught_up(queries.freshness()):
        raise BadRequest(
            "log_not_added_up",
            sentence=gettext(
                "The log is not added up to its end yet: what people use is not known. Try again in a few minutes."
            ),
        )
    proposal = narrow_rule.propose(name, now=now, days=int(days) if days in DAYS else 90)
    if proposal.found is None:
        return HttpResponseRedirect(f"{reverse('staff-unused')}")
    draft = mapping_drafts.begin(person, origin=origin_of(request), now=now)
    draft = mapping_drafts.save(
        person, draft.pk, proposal.text, version=draft.version, origin=origin_of(request), now=now, comment=f"Narrow {name}"[:200]
    )  # fmt: skip
    return HttpResponseRedirect(reverse("staff-mapping-draft", args=[draft.pk]))
