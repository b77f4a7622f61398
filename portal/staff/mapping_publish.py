"""`/staff/mapping/drafts/…/preview`: what a draft would do to whom, and the decision on it."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from federation.errors import RolegateError
from federation.flows import mapping_drafts
from federation.flows.mapping_drafts import CONFIRMATION
from federation.flows.publish_mapping import RevisionMovedOn
from federation.mapping.capabilities import Capability
from federation.mapping.document import DocumentError
from federation.models.mapping import MappingDraft
from portal.staff.guard import powers_in, staff
from portal.staff.page import page
from portal.views.guard import origin_of, person_of

# What a form of the page can be wrong about, by reason: the field that it belongs to.
_FIELDS = {
    "confirmation_missing": "confirmation",
    "note_missing": "note",
    "preview_changed": "",
    "draft_is_stale": "",
    "draft_changed_meanwhile": "",
}


@staff(Capability.SEE_MAPPING)
@require_safe
def preview(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """Who gains and who loses what, on the people of today; below it what this person can do with the draft."""
    return show(request, draft_id)


def show(request: HttpRequest, draft_id: UUID, error: RolegateError | None = None) -> HttpResponse:
    """The page; after a fault of its forms with what was wrong and what was typed. Raises `error` where no form can mend it."""
    if error is not None and error.reason not in _FIELDS:
        raise error
    row = mapping_drafts.find(draft_id)
    person, powers = person_of(request), powers_in(request)
    wrong = [(_FIELDS[error.reason], error.public_sentence)] if error is not None else []
    status = 422 if wrong else 200
    context: dict[str, object] = {
        "wrong": wrong, "fault_of": dict(wrong), "note": request.POST.get("note", ""), "comment": request.POST.get("comment", row.comment),
        "draft": row, "mine": row.author_id == person.pk, "own": mapping_drafts.is_author(row, person), "author": row.author.name or row.author.subject,
        "waiting": row.status == MappingDraft.Status.WAITING, "open": row.status in {MappingDraft.Status.DRAFT, MappingDraft.Status.WAITING},
        "confirmation": CONFIRMATION,
    }  # fmt: skip
    if not context["open"]:
        return page(request, "staff/mapping/preview.html", {**context, "impact": row.preview}, status=status)
    try:
        shown = mapping_drafts.show(person, row, now=timezone.now())
    except DocumentError as faulty:
        return page(request, "staff/mapping/preview.html", {**context, "faults": faulty.faults})
    except RevisionMovedOn:
        return page(request, "staff/mapping/preview.html", {**context, "stale": True})
    alone = mapping_drafts.may_publish_alone(row, shown, person)
    context |= {
        "shown": shown, "impact": shown.as_dict(), "alone": alone,
        "owners_only": mapping_drafts.refused_sections(row, shown, powers),
    }  # fmt: skip
    return page(request, "staff/mapping/preview.html", context, status=status)


@staff(Capability.PUBLISH_MAPPING)
@require_POST
def decide(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """Publish what was previewed, or give it back with a note."""
    person, origin, now = person_of(request), origin_of(request), timezone.now()
    try:
        if request.POST.get("step") == "give-back":
            mapping_drafts.give_back(person, draft_id, note=request.POST.get("note", ""), origin=origin, now=now)
            return HttpResponseRedirect(reverse("staff-mapping"))
        published = mapping_drafts.publish_draft(
            person,
            draft_id,
            digest=request.POST.get("digest", ""),
            confirmation=request.POST.get("confirmation", ""),
            comment=request.POST.get("comment", ""),
            origin=origin,
            now=now,
        )
    except RolegateError as error:
        return show(request, draft_id, error)
    return HttpResponseRedirect(reverse("staff-mapping-revision", args=[published.number]) + "?published")
