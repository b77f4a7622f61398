"""`/staff/people/`: who there is, what each may use and why, and taking it away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from federation import queries as common
from federation.errors import NotFound, RolegateError
from federation.flows import revoke as revoking
from federation.mapping.capabilities import Capability
from federation.queries import people as queries
from federation.queries.mapping import role_named
from portal.staff import listing
from portal.staff.guard import actor_of, staff
from portal.staff.page import page
from portal.staff.reason_words import WORDS
from portal.views.guard import is_partial, origin_of

_SORTS = ("name", "-name", "seen", "-seen")
_LONGEST_WHY = 300


@staff(Capability.SEE_PEOPLE)
@require_safe
def people(request: HttpRequest) -> HttpResponse:
    """The list, searched, filtered and sorted."""
    wanted = queries.PersonFilter(
        words=listing.asked(request, "q"), group=listing.asked(request, "group"),
        state=listing.asked(request, "state", ("active", "disabled")), provider=listing.asked(request, "provider"),
    )  # fmt: skip
    sort = cast("queries.Sort", listing.asked(request, "sort", _SORTS) or "name")
    found = queries.people(wanted, sort=sort, cursor=request.GET.get("after", ""))
    query = request.GET
    context = {
        "list": found, "wanted": wanted, "sort": sort,
        "heads": listing.heads(
            query,
            [(gettext_lazy("Person"), "name", ""), (gettext_lazy("Provider"), "", ""), (gettext_lazy("Last sign-in"), "seen", ""),
             (gettext_lazy("Groups"), "", "num"), (gettext_lazy("Roles"), "", "num"), (gettext_lazy("State"), "", "")],
            sort, downwards=("seen",),
        ),
        "chips": listing.chips(query, "state", {"disabled": gettext_lazy("Disabled")}),
        "group_filter": listing.with_changes(query, group="") if wanted.group else "",
        "narrowed": bool(wanted.words or wanted.group or wanted.state or wanted.provider),
        "earlier": listing.page_at(query, found.earlier), "later": listing.page_at(query, found.later),
    }  # fmt: skip
    return page(request, "staff/_people.html" if is_partial(request) else "staff/people.html", context)


@staff(Capability.SEE_PEOPLE)
@require_safe
def person(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """One person: access matched and not matched with reasons, sessions, recent use."""
    now = timezone.now()
    who = queries.person(person_id)
    words, roles = listing.asked(request, "rule"), listing.asked(request, "find")
    access = queries.access(who, now=now, words=words, roles=roles)
    context = {
        "who": who, "access": access, "problem_words": access.problem and (WORDS.get(access.problem.code) or access.problem.public_sentence), "rule": words, "find": roles,
        "sessions": queries.portal_sessions(who, now=now), "paired": queries.paired(who, now=now),
        "uses": queries.recent_use(who, now=now), "done": listing.asked(request, "done", ("revoked", "disabled", "allowed")),
        "actor": who.actor,
    }  # fmt: skip
    return page(request, "staff/person.html", context)


@staff(Capability.SEE_PEOPLE)
@require_safe
def explain(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Why this person has a role, or has it not: now, or on a day that has passed."""
    now = timezone.now()
    who = queries.person(person_id)
    role_arn, day = listing.asked(request, "role"), listing.asked(request, "at")
    faults: list[tuple[str, str]] = []
    story = None
    at = _moment(day) if day else None
    if day and at is None:
        faults.append(("at", _("Write a day or a moment: 2026-05-03 or 2026-05-03T14:00.")))
    if role_arn and not faults:
        try:
            story = common.explain(who.pk, role_named(role_arn), now=now, at=at)
        except RolegateError as error:
            faults.append(("role", error.public_sentence))
    context = {"who": who, "role_arn": role_arn, "at": day, "faults": faults, "story": story}
    return page(request, "staff/explain.html", context, status=422 if faults else 200)


@staff(Capability.SEE_PEOPLE)
@require_safe
def compare(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """The person beside a colleague."""
    who = queries.person(person_id)
    text = listing.asked(request, "with")
    faults: list[tuple[str, str]] = []
    other = None
    if text:
        try:
            other = queries.colleague(text)
        except NotFound as error:
            faults.append(("with", error.public_sentence))
        if other is not None and other.pk == who.pk:
            other = None
            faults.append(("with", _("This is the same person. Name a colleague.")))
    context: dict[str, Any] = {"who": who, "with": text, "other": other, "faults": faults}
    if other is not None:
        context["compared"] = queries.compare(who, other, now=timezone.now())
    return page(request, "staff/compare.html", context, status=422 if faults else 200)


@staff(Capability.SEE_PEOPLE)
@require_safe
def revoke(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Before: what would end. After (`since`): what is left to do at AWS, with the policy to copy."""
    now = timezone.now()
    who = queries.person(person_id)
    return page(request, "staff/revoke.html", _revoke_context(who, now, listing.asked(request, "since")))


@staff(Capability.REVOKE_PEOPLE)
@require_POST
def revoke_now(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Ends every session of the portal and every command line; disables the person too, if that is asked for."""
    now = timezone.now()
    who = queries.person(person_id)
    why, disable = request.POST.get("why", "").strip()[:_LONGEST_WHY], request.POST.get("disable") == "1"
    if not why:
        context = {
            **_revoke_context(who, now, ""),
            "faults": [("why", _("Say why: it goes into the audit log."))],
            "disable": disable,
        }
        return page(request, "staff/revoke.html", context, status=422)
    revoking.revoke(who, disable=disable, actor=actor_of(request), why=why, origin=origin_of(request), now=now)
    return HttpResponseRedirect(
        f"{reverse('staff-person-revoke', args=[who.pk])}?since={now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    )


@staff(Capability.REVOKE_PEOPLE)
@require_POST
def allow_again(request: HttpRequest, person_id: UUID) -> HttpResponse:
    """Lets a person who was disabled here sign in again."""
    who = queries.person(person_id)
    why = request.POST.get("why", "").strip()[:_LONGEST_WHY] or "console"
    revoking.allow_again(who, actor=actor_of(request), why=why, origin=origin_of(request), now=timezone.now())
    return HttpResponseRedirect(f"{reverse('staff-person', args=[who.pk])}?done=allowed")


def _revoke_context(who: Any, now: datetime, since: str) -> dict[str, Any]:
    asked = _moment(since) if since else None
    # Believed is the log: a link that somebody was sent must not say that it is done.
    done_at = queries.revoked_at(who, asked) if asked else None
    uses = queries.recent_use(who, now=now)
    return {
        "who": who, "sessions": queries.portal_sessions(who, now=now), "paired": queries.paired(who, now=now), "uses": uses,
        "roles": sorted({use.role_arn for use in uses}), "done_at": done_at,
        "policy": queries.deny_document(who, before=done_at or now), "faults": [], "disable": False,
    }  # fmt: skip


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
