"""`/staff/mapping/drafts/…`: a draft's rules as table and text in step, one rule by its form or its lines, and trying it out.

The core works without script: text, rules and the form for a new rule are forms of their own. With script the text is kept,
checked and counted while one types.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from federation.errors import NotFound, RolegateError
from federation.flows import mapping_drafts
from federation.mapping.capabilities import Capability
from federation.mapping.document import DocumentError
from federation.mapping.spans import CannotPlace, compose_rule, moved, rule_text, with_new_rule, with_rule
from federation.mapping.yamltree import Unreadable
from federation.models.mapping import MappingDraft
from federation.queries import mapping as queries
from federation.said import packed, unpacked
from portal.staff import mapping_publish
from portal.staff.guard import staff
from portal.staff.mapping import number_in
from portal.staff.page import page
from portal.views.guard import is_partial, origin_of, person_of

_OPEN = {MappingDraft.Status.DRAFT, MappingDraft.Status.WAITING}
_DURATIONS = ("", "30m", "1h", "2h", "4h", "8h", "12h")
_ENVIRONMENT = "environment:"
_NO_NAME, _NO_ROLE = "whom it concerns", "-"  # of a rule that is measured, and never kept


def _address(name: str, draft: MappingDraft) -> str:
    return reverse(name, args=[draft.pk])


def _own_open(request: HttpRequest, draft_id: UUID) -> MappingDraft:
    """The person's own draft, still open. Raises NotFound, DraftNotYours, DraftDecided."""
    draft = mapping_drafts.find(draft_id)
    if draft.author_id != person_of(request).pk:
        raise mapping_drafts.DraftNotYours("draft_not_yours")
    if draft.status not in _OPEN:
        raise mapping_drafts.DraftDecided(f"draft_is_{draft.status}")
    return draft


@staff(Capability.SEE_MAPPING)
@require_safe
def draft(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """The author's editor; for everybody else the way to the preview, where the draft is read."""
    row = mapping_drafts.find(draft_id)
    if row.author_id != person_of(request).pk or row.status not in _OPEN:
        return HttpResponseRedirect(_address("staff-mapping-preview", row))
    newest = mapping_drafts.newest()
    number = newest.number if newest else 0
    sheet, before = queries.sheet(row.text, now=timezone.now()), None
    if sheet.faults and not sheet.rules and (base := queries.revision(row.base)) is not None:
        before = queries.sheet(base.text, now=timezone.now())  # of a text that cannot be read there is no table
    context = {
        "draft": row, "sheet": sheet, "before": before, "in_force": number, "stale": row.base != number,
        "others": queries.changed_between(row.base) if row.base != number else "",
        "at": number_in(request.GET.get("rule", "")), "saved": "saved" in request.GET, "added": "added" in request.GET,
        "conflicts": [unpacked(one) for one in request.session.pop("mapping_conflicts", None) or ()] if "conflicts" in request.GET else [],
    }  # fmt: skip
    return page(request, "staff/mapping/editor.html", context)


@staff(Capability.EDIT_MAPPING)
@require_POST
def check(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """While one types: keep the text, and answer with its faults, its rules and what each does."""
    now = timezone.now()
    row = mapping_drafts.save(
        person_of(request), draft_id, request.POST.get("text", ""), version=number_in(request.POST.get("version", "")) or 0,
        origin=origin_of(request), now=now, by_hand=False,
    )  # fmt: skip
    return page(
        request, "staff/mapping/_sheet.html", {"draft": row, "sheet": queries.sheet(row.text, now=now), "typed": True}
    )


@staff(Capability.EDIT_MAPPING)
@require_POST
def do(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """The author's steps: save, save and preview, withdraw, bring up to date, hand over."""
    person, origin, now = person_of(request), origin_of(request), timezone.now()
    step = request.POST.get("step", "save")
    if step == "withdraw":
        mapping_drafts.withdraw(person, draft_id, origin=origin, now=now)
        return HttpResponseRedirect(reverse("staff-mapping"))
    if step == "update":
        merge = mapping_drafts.bring_up_to_date(person, draft_id, origin=origin, now=now)
        if merge.conflicts:
            request.session["mapping_conflicts"] = [packed(one) for one in merge.conflicts]
        return HttpResponseRedirect(
            _address("staff-mapping-draft", merge.draft) + ("?conflicts" if merge.conflicts else "?saved")
        )
    if step == "hand-over":
        try:
            row = mapping_drafts.hand_over(
                person, draft_id, digest=request.POST.get("digest", ""), comment=request.POST.get("comment", ""), origin=origin, now=now
            )  # fmt: skip
        except RolegateError as error:
            return mapping_publish.show(request, draft_id, error)
        return HttpResponseRedirect(_address("staff-mapping-preview", row))
    row = mapping_drafts.save(
        person, draft_id, request.POST.get("text", ""), version=number_in(request.POST.get("version", "")) or 0,
        origin=origin, now=now,
    )  # fmt: skip
    if step == "preview":
        return HttpResponseRedirect(_address("staff-mapping-preview", row))
    return HttpResponseRedirect(_address("staff-mapping-draft", row) + "?saved")


@staff(Capability.EDIT_MAPPING)
@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: HttpRequest, draft_id: UUID, number: int) -> HttpResponse:
    """One rule by its own lines: changed, moved or taken out, everything around it untouched."""
    row = _own_open(request, draft_id)
    try:
        there = rule_text(row.text, number)
    except (IndexError, CannotPlace, Unreadable) as error:
        raise NotFound("no_such_rule") from error
    if request.method != "POST":
        return page(request, "staff/mapping/rule.html", {"draft": row, "number": number, "text": there})
    text, faults = request.POST.get("rule", there).replace("\r\n", "\n"), []
    step = request.POST.get("step", "")
    changed = row.text
    try:
        if step in {"up", "down"}:
            changed = moved(row.text, number, -1 if step == "up" else 1)
        elif step == "remove":
            changed = with_rule(row.text, number, "")
        elif text.strip():
            changed = with_rule(row.text, number, text)
        else:
            faults.append(("rule", _("The rule is empty. To take it out, use the button for it.")))
    except Unreadable as error:
        faults.append(("rule", error.message))
    except CannotPlace:
        faults.append(("rule", _("As it is written, this would change other rules too. Edit the whole text instead.")))
    except IndexError:
        pass  # the first does not go further up, nor the last further down
    if is_partial(request):
        line, wrong = (None, ()) if faults else queries.measure_of_one(changed, number, now=timezone.now())
        context: dict[str, object] = {
            "line": line,
            "faults": [sentence for _field, sentence in faults] + [fault.sentence for fault in wrong],
        }
        return page(request, "staff/mapping/_measure.html", context)
    if faults:
        context = {"draft": row, "number": number, "text": text, "faults": faults}
        return page(request, "staff/mapping/rule.html", context, status=422)
    saved = _saved(request, row, changed)
    at = {"up": max(number - 1, 0), "down": number + 1, "remove": None}.get(step, number)
    return HttpResponseRedirect(
        _address("staff-mapping-draft", saved) + (f"?saved&rule={at}" if at is not None else "?saved")
    )


def _saved(request: HttpRequest, row: MappingDraft, text: str) -> MappingDraft:
    version = number_in(request.POST.get("version", "")) or row.version
    return mapping_drafts.save(
        person_of(request), row.pk, text, version=version, origin=origin_of(request), now=timezone.now()
    )


@staff(Capability.EDIT_MAPPING)
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """A new rule by a form: this group gets this role in this account."""
    row = _own_open(request, draft_id)
    if request.method != "POST" and is_partial(request):
        return page(request, "staff/mapping/_suggestions.html", _suggestions(request, row.text))
    sent = {name: str(value).strip() for name, value in request.POST.items()}
    faults = _faults_of(sent) if request.method == "POST" else []
    changed = row.text
    accounts = queries.accounts_of(row.text)
    if request.method == "POST" and not faults:
        try:
            changed = with_new_rule(row.text, _composed(sent, accounts))
        except (CannotPlace, Unreadable):
            faults = [("", _("The text of this draft has no place for a rule yet. Correct its faults first, or write the rule into the text."))]  # fmt: skip
    if request.method == "POST" and is_partial(request):
        asked = changed
        # Whom it concerns is known from the group on, whatever the role will be.
        if faults and sent.get("group"):
            with suppress(CannotPlace, Unreadable):
                asked = with_new_rule(row.text, compose_rule(name=_NO_NAME, group=sent["group"], roles=[_NO_ROLE]))
        line, wrong = (None, ()) if asked == row.text else queries.measure_of_one(asked, -1, now=timezone.now())
        context: dict[str, object] = {
            "line": line,
            "faults": [fault.sentence for fault in wrong],
            "waiting": bool(faults),
        }
        return page(request, "staff/mapping/_measure.html", context)
    if request.method == "POST" and not faults:
        line, wrong = queries.measure_of_one(changed, -1, now=timezone.now())
        if line is not None:
            saved = _saved(request, row, changed)
            return HttpResponseRedirect(_address("staff-mapping-draft", saved) + f"?saved&added&rule={len(queries.sheet(saved.text, now=timezone.now(), measured=False).rules) - 1}")  # fmt: skip
        faults = [("", fault.sentence) for fault in wrong]
    context = {
        "draft": row, "sent": sent, "faults": faults, "fault_of": dict(faults), "accounts": accounts, "durations": _DURATIONS,
        "environments": sorted({c.account.tags["environment"] for c in accounts if c.account.tags.get("environment")}),
        "roles": queries.roles_in(_ids(sent.get("account", ""), accounts)),
    }  # fmt: skip
    return page(request, "staff/mapping/add.html", context, status=422 if faults else 200)


def _suggestions(request: HttpRequest, text: str) -> dict[str, object]:
    account = request.GET.get("account", "")
    if "group" in request.GET:
        return {"of": "groups", "names": queries.groups_like(request.GET["group"][:200])}
    return {"of": "roles", "names": queries.roles_in(_ids(account, queries.accounts_of(text)))}


def _ids(chosen: str, accounts: Sequence[queries.Choice]) -> list[str]:
    """The ids of the accounts that the form's choice means: one, or all of an environment."""
    if not chosen.startswith(_ENVIRONMENT):
        return [chosen] if chosen.isdigit() and len(chosen) == 12 else []
    wanted = chosen.removeprefix(_ENVIRONMENT)
    return [one.account.id for one in accounts if one.account.tags.get("environment") == wanted]


def _faults_of(sent: dict[str, str]) -> list[tuple[str, str]]:
    faults = []
    if not sent.get("group"):
        faults.append(("group", _("Say which group gets the role.")))
    if not sent.get("role"):
        faults.append(("role", _("Say which role the group gets.")))
    if not sent.get("account"):
        faults.append(("account", _("Choose an account, or an environment.")))
    return faults


def _composed(sent: dict[str, str], accounts: Sequence[queries.Choice]) -> str:
    account = next((one.called for one in accounts if one.account.id == sent["account"]), sent["account"])
    environment = account.removeprefix(_ENVIRONMENT) if account.startswith(_ENVIRONMENT) else ""
    place = environment or account
    return compose_rule(
        name=sent.get("name") or f"{sent['group']} {sent['role']} {place}"[:128],
        group=sent["group"],
        roles=[role.strip() for role in sent["role"].split(",") if role.strip()],
        accounts=() if environment else (account,),
        environment=environment,
        duration=sent["duration"] if sent.get("duration") in _DURATIONS else "",
        read_only=bool(sent.get("read_only")),
        approvers=sent.get("approvers", ""),
    )


@staff(Capability.SEE_MAPPING)
@require_POST
def ask(request: HttpRequest, draft_id: UUID) -> HttpResponse:
    """Would somebody get a role, by the text as it stands in the window or as it is kept? Changes nothing."""
    row = mapping_drafts.find(draft_id)
    text = (
        request.POST.get("text", row.text).replace("\r\n", "\n") if row.author_id == person_of(request).pk else row.text
    )
    who, role = request.POST.get("person", "").strip()[:200], request.POST.get("role", "").strip()[:700]
    context: dict[str, object] = {"draft": row, "who": who, "role": role}
    people = queries.people_like(who) if who else ()
    try:
        if not who or not role:
            context["sentence"] = _("Name a person and a role.")
        elif not people:
            context["sentence"] = _("Nobody who has signed in is called so.")
        elif len(people) > 1:
            context["choices"] = people
        else:
            context["trial"] = queries.would_get(text, people[0], role, now=timezone.now())
    except DocumentError:
        context["sentence"] = _("The text has faults: correct them first.")
    except RolegateError as error:
        context["sentence"] = error.public_sentence
    return page(request, "staff/mapping/_trial.html" if is_partial(request) else "staff/mapping/trial.html", context)
