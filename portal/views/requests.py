"""Requests for access: asking, watching, deciding, break-glass and its review."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from federation import queries
from federation.errors import MayNotDecide, NotFound, RequestRefused, RequestStale
from federation.flows import approvals, decide_requests, request_access
from federation.flows.decide_requests import Choice
from federation.queries import requests as cases
from federation.said import translated
from portal.views.guard import origin_of, person_of, reaches_aws, signed_in
from portal.views.role import show_policies

LIST = "/requests/"


def _page_of(request_id: UUID) -> str:
    return f"/requests/{request_id}/"


@require_safe
@signed_in
def mine(request: HttpRequest) -> HttpResponse:
    """`/requests/`: the person's own, newest first."""
    person, now = person_of(request), timezone.now()
    shown, further = cases.mine(person.pk, now=now, before=_moment(request.GET.get("before", "")))
    context = {
        "here": "requests",
        "cases": shown,
        "waiting": len(cases.waiting(person.pk, now=now)),
        "later": f"{LIST}?{urlencode({'before': further.isoformat()})}" if further else "",
        "earlier": LIST if "before" in request.GET else "",
    }
    return render(request, "portal/requests.html", context)


@require_safe
@signed_in
def to_decide(request: HttpRequest) -> HttpResponse:
    """`/requests/to-decide/`: what waits for this person, and what they have decided."""
    person, now = person_of(request), timezone.now()
    waiting = cases.waiting(person.pk, now=now)
    context = {
        "here": "requests",
        "cases": waiting,
        "waiting": len(waiting),
        "decided": cases.decided(person.pk, now=now),
    }
    return render(request, "portal/requests_to_decide.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def new(request: HttpRequest) -> HttpResponse:
    """`/requests/new`: first which roles, then for how long and why, with those named who can say yes. POST sends it."""
    person, now = person_of(request), timezone.now()
    sent = request.POST if request.method == "POST" else request.GET
    arns = _arns(sent.getlist("role"))
    if request.method != "POST":
        return _form(request, arns, now) if arns else _choose(request, now)

    def send() -> HttpResponse:
        made = request_access.ask(
            person.pk,
            arns,
            reason=request.POST.get("reason", ""),
            duration=_seconds(request.POST.get("duration", "")),
            channel="portal",
            origin=origin_of(request),
            now=now,
        )
        return HttpResponseRedirect(_page_of(made.pk))

    return _or_again(send, lambda error: _form(request, arns, now, error))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def break_glass(request: HttpRequest) -> HttpResponse:
    """`/requests/break-glass`: taking roles of one account at once. A page of its own, with a second look."""
    person, now = person_of(request), timezone.now()
    sent = request.POST if request.method == "POST" else request.GET
    arns = _arns(sent.getlist("role"))
    if request.method != "POST":
        return _glass(request, arns, now)

    def take() -> HttpResponse:
        made = request_access.break_glass(
            person.pk,
            arns,
            reason=request.POST.get("reason", ""),
            duration=_seconds(request.POST.get("duration", "")),
            confirmation=request.POST.get("confirmation", ""),
            channel="portal",
            origin=origin_of(request),
            now=now,
        )
        return HttpResponseRedirect(_page_of(made.pk))

    return _or_again(take, lambda error: _glass(request, arns, now, error))


@require_safe
@signed_in
def one(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """`/requests/<id>/`: to watch for whoever asked, to decide for whoever may."""
    return _show(request, request_id)


@require_safe
@signed_in
def policies(request: HttpRequest, request_id: UUID, item_id: int) -> HttpResponse:
    """`/requests/<id>/<item>/policies`: what a role of the request may do, for whoever may look at the request."""
    case = cases.one(person_of(request).pk, request_id, now=timezone.now())
    item = next((one for one in case.items if one.id == item_id), None)
    if item is None:
        raise NotFound("request_item_unknown")
    return show_policies(request, item.role_arn, _page_of(request_id), here="requests")


@require_POST
@signed_in
def decide(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Says yes or no to roles of a request. Those left alone wait on."""
    person, now = person_of(request), timezone.now()
    choices = [
        Choice(
            int(name.removeprefix("item-")),
            value == "approve",
            request.POST.get(f"seen-{name.removeprefix('item-')}", ""),
        )
        for name, value in request.POST.items()
        if re.fullmatch(r"item-[0-9]{1,18}", name) and value in {"approve", "refuse"}
    ]

    def say() -> HttpResponse:
        decide_requests.decide(
            person.pk, request_id, choices, comment=request.POST.get("comment", ""),
            channel="portal", origin=origin_of(request), now=now,
        )  # fmt: skip
        return HttpResponseRedirect(_page_of(request_id))

    return _or_again(say, lambda error: _show(request, request_id, error))


@require_POST
@signed_in
def review(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Writes down whether a break-glass was justified."""
    person, now = person_of(request), timezone.now()

    def say() -> HttpResponse:
        finding = request.POST.get("finding", "")
        if finding not in {"justified", "not_justified"}:
            raise RequestRefused("finding_missing", sentence="Say whether it was justified.", field="finding")
        decide_requests.review(
            person.pk, request_id, justified=finding == "justified", comment=request.POST.get("comment", ""),
            origin=origin_of(request), now=now,
        )  # fmt: skip
        return HttpResponseRedirect(_page_of(request_id))

    return _or_again(say, lambda error: _show(request, request_id, error))


@require_POST
@signed_in
def withdraw(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """The asker takes back what nobody has decided on."""
    person, now = person_of(request), timezone.now()

    def take_back() -> HttpResponse:
        request_access.withdraw(person.pk, request_id, origin=origin_of(request), now=now)
        return HttpResponseRedirect(_page_of(request_id))

    return _or_again(take_back, lambda error: _show(request, request_id, error))


@require_POST
@signed_in
def end(request: HttpRequest, request_id: UUID, item_id: int) -> HttpResponse:
    """Ends an approval before its time: the asker gives it back, an approver takes it back."""
    person, now = person_of(request), timezone.now()
    case = cases.one(person.pk, request_id, now=now)
    ends = request_access.give_back if case.is_own else decide_requests.take_back

    def stop() -> HttpResponse:
        ends(person.pk, request_id, item_id, origin=origin_of(request), now=now)
        return HttpResponseRedirect(_page_of(request_id))

    return _or_again(stop, lambda error: _show(request, request_id, error))


# --- Pages ------------------------------------------------------------------------------------------------


def _or_again(act: Callable[[], HttpResponse], again: Callable[[Any], HttpResponse]) -> HttpResponse:
    """What `act` answers, or the page once more with what was wrong: nothing that was typed is lost."""
    try:
        return act()
    except (RequestRefused, RequestStale, MayNotDecide) as error:
        return again(error)


def _choose(request: HttpRequest, now: datetime) -> HttpResponse:
    listed = queries.my_roles(person_of(request), now=now)
    if listed.problem is not None:
        raise listed.problem
    return render(
        request, "portal/request_choose.html", {"here": "requests", "accounts": cases.choices(listed.accounts)}
    )


def _form(request: HttpRequest, arns: Sequence[str], now: datetime, error: Any = None) -> HttpResponse:
    """The second step. A role that cannot be asked for leads back to the choice, with the reason."""
    person = person_of(request)
    context: dict[str, Any] = {"here": "requests", "arns": arns, **_faults(error)}
    try:
        plan = request_access.plan(person.pk, arns, now=now)
    except RequestRefused as refused:
        context |= _faults(refused)
        return render(request, "portal/request_new.html", context, status=422)
    known = request_access.who_can_approve(plan, now=now)
    context |= {
        "plan": plan,
        "grants": cases.wishes(plan.grants),
        "known": known,
        "named": known.people[:8],
        "others": max(0, len(known.people) - 8),
        "reason": request.POST.get("reason", ""),
        "duration": _seconds(request.POST.get("duration", "")) or min(plan.at_most, 3600),
        "asked": approvals.pending(person, arns, now=now),
        "glass": "/requests/break-glass?" + urlencode([("role", arn) for arn in arns]) if plan.at_once else "",
    }
    return render(request, "portal/request_new.html", context, status=422 if error else 200)


def _glass(request: HttpRequest, arns: Sequence[str], now: datetime, error: Any = None) -> HttpResponse:
    person = person_of(request)
    plan = request_access.plan(person.pk, arns, now=now)
    if plan.at_once is None:
        raise RequestRefused(
            "break_glass_not_allowed", sentence=gettext("The rule does not let you take this role without an approval.")
        )
    context = {
        "here": "requests",
        "arns": arns,
        "plan": plan,
        "grants": cases.wishes(plan.grants),
        "durations": request_access.presets(plan.at_once),
        "account": plan.grants[0].account,
        "told": request_access.who_can_approve(plan, now=now),
        "reason": request.POST.get("reason", ""),
        "duration": _seconds(request.POST.get("duration", "")) or request_access.presets(plan.at_once)[0],
        **_faults(error),
    }
    return render(request, "portal/break_glass.html", context, status=422 if error else 200)


def _show(request: HttpRequest, request_id: UUID, error: Any = None) -> HttpResponse:
    now = timezone.now()
    case = cases.one(person_of(request).pk, request_id, now=now)
    context = {
        "here": "requests",
        "case": case,
        "asker_context": None if case.is_own else cases.context_of(case, now=now),
        "comment": request.POST.get("comment", ""),
        # After a fault nothing that was chosen is lost; terms that have changed are looked at before they are chosen anew.
        **_chosen(request, lost=isinstance(error, RequestStale)),
        "finding": request.POST.get("finding", ""),
        "now": now,
        **_faults(error),
    }
    # What has been approved can be opened from here.
    return reaches_aws(render(request, "portal/request.html", context, status=error.status if error else 200))


def _chosen(request: HttpRequest, *, lost: bool) -> dict[str, set[int]]:
    chosen: dict[str, set[int]] = {"approve": set(), "refuse": set()}
    for name, value in request.POST.items():
        if not lost and re.fullmatch(r"item-[0-9]{1,18}", name) and value in chosen:
            chosen[value].add(int(name.removeprefix("item-")))
    return {"approved": chosen["approve"], "refused": chosen["refuse"]}


_FIELDS = {
    "reason_missing": "reason", "reason_too_long": "reason", "duration_out_of_range": "duration-0",
    "not_confirmed": "confirmation", "comment_missing": "comment", "comment_too_long": "comment",
    "finding_missing": "finding-0", "nothing_chosen": "decisions",
}  # fmt: skip


def _faults(error: Any) -> dict[str, Any]:
    """What the summary says, and the field that each fault belongs to."""
    if error is None:
        return {"faults": [], "fault_of": {}}
    field = _FIELDS.get(error.reason, "")
    sentence = translated(error.public_sentence, gettext)
    return {"faults": [(field, sentence)], "fault_of": {field.replace("-", "_"): sentence} if field else {}}


# --- Small readings -----------------------------------------------------------------------------------------


def _arns(values: Sequence[str]) -> list[str]:
    return [value[:2048] for value in dict.fromkeys(values)][: request_access.MOST_ROLES + 1]


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) else 0


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None
