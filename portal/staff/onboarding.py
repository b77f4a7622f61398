"""`/staff/onboard/` and an account's verification: what its owner applies, and whether it works."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from federation.aws.partitions import PARTITION_NAMES
from federation.errors import RolegateError
from federation.flows import onboard_account, staff_rights, verify_account
from federation.mapping.capabilities import Capability
from federation.queries import background, catalogue
from federation.said import unpacked
from portal.staff import listing
from portal.staff.guard import actor_of, powers_in, scope, staff
from portal.staff.page import page
from portal.views.guard import is_partial, origin_of, person_of

STEP_WORDS: dict[str, str | Promise] = {
    "mapping": gettext_lazy("In the mapping"), "reader": gettext_lazy("Reader role"), "roles": gettext_lazy("List of roles"),
    "oidc_provider": gettext_lazy("OIDC provider"), "saml_provider": gettext_lazy("SAML provider"),
    "trust": gettext_lazy("Trust policies"), "assume": gettext_lazy("A mapped role, assumed"),
}  # fmt: skip
_SOON, _LATER = 2, 30


@staff(Capability.ONBOARD_ACCOUNTS)
@require_safe
def onboard(request: HttpRequest) -> HttpResponse:
    """The wizard: which account, how, which roles; then the text to apply. It changes nothing, so its address can be shared."""
    given = {
        name: listing.asked(request, name) for name in ("account", "partition", "federation", "provider", "region")
    }
    output = listing.asked(request, "format", onboard_account.FORMATS) or "cloudformation"
    roles = [line.strip() for line in request.GET.get("roles", "").splitlines() if line.strip()][:50]
    stackset = bool(listing.asked(request, "stackset"))
    context: dict[str, Any] = {
        "given": given, "format": output, "roles": "\n".join(roles), "stackset": stackset, "partitions": PARTITION_NAMES,
        "existing": bool(listing.asked(request, "existing")), "faults": [], "whole": powers_in(request).scope(Capability.ONBOARD_ACCOUNTS) is None,
    }  # fmt: skip
    if given["account"]:
        try:
            context["written"] = _written(
                request, given, cast("onboard_account.Format", output), roles, stackset=stackset
            )
        except staff_rights.StaffForbidden:
            raise
        except RolegateError as error:
            context["faults"] = [("account", error.public_sentence)]
        else:
            if listing.asked(request, "download"):
                return _as_file(context["written"])
            context["download"] = f"?{listing.parameters(request.GET, download='1')}"
    context["known"] = catalogue.account_names(scope(request, Capability.ONBOARD_ACCOUNTS))
    return page(request, "staff/onboard.html", context, status=422 if context["faults"] else 200)


def _as_file(written: onboard_account.Written) -> HttpResponse:
    answer = HttpResponse(written.text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{written.file_name}"'
    return answer


def _written(
    request: HttpRequest, given: dict[str, str], output: onboard_account.Format, roles: list[str], *, stackset: bool
) -> onboard_account.Written:
    now = timezone.now()
    wishes = onboard_account.Wishes(
        partition=given["partition"], federation=cast("Any", given["federation"] if given["federation"] in {"saml", "oidc"} else ""),
        provider=given["provider"], region=given["region"], roles=roles or None,
        register_providers=not listing.asked(request, "existing"), whole_organization=stackset,
    )  # fmt: skip
    account = onboard_account.find_account(given["account"], wishes)
    # An account owner onboards the own accounts; a StackSet is about all of them.
    about = "organization" if stackset else account.id
    staff_rights.require(
        person_of(request), Capability.ONBOARD_ACCOUNTS, account_id=about, path=request.path, origin=origin_of(request), now=now
    )  # fmt: skip
    return onboard_account.onboard(given["account"], output, wishes, now=now)


@staff(Capability.ONBOARD_ACCOUNTS)
@require_safe
def verify(request: HttpRequest, account_id: str) -> HttpResponse:
    """The last verifications of the account, and one that is under way, step by step."""
    account = verify_account.find(account_id)
    runs = background.runs(verify_account.task_of(account_id))[:5]
    asked = listing.asked(request, "asked")
    waits = asked.isdecimal() and not (runs and runs[0].started_at.timestamp() >= int(asked))
    context = {
        "account": account,
        "runs": [(run, _steps(run)) for run in runs],
        "waiting": _("Asked for. It begins as soon as a worker is free.") if waits else "",
        "every": _SOON if waits or (runs and runs[0].is_running) else _LATER,
        "address": request.get_full_path(),
    }
    return page(request, "staff/_verify.html" if is_partial(request) else "staff/verify.html", context)


def _steps(run: background.RunLine) -> list[dict[str, Any]]:
    """The steps so far, and those that are still to come while it runs."""
    told: list[dict[str, Any]] = [step for step in run.detail.get("steps", []) if isinstance(step, dict)]
    names = {step.get("name") for step in told}
    if run.is_running:
        told = told + [{"name": name, "state": "waiting"} for name in verify_account.STEPS if name not in names]
    return [
        {**step, **_said(step), "words": STEP_WORDS.get(step.get("name", ""), step.get("name", ""))} for step in told
    ]


def _said(step: dict[str, Any]) -> dict[str, str]:
    """A step's sentences with their pieces; as text where the version before kept them."""
    kept = step.get("said") or {}
    return {name: unpacked(kept.get(name)) or step.get(name, "") for name in ("says", "do")}


@staff(Capability.ONBOARD_ACCOUNTS)
@require_POST
def verify_now(request: HttpRequest, account_id: str) -> HttpResponse:
    """Has a worker verify it."""
    now = timezone.now()
    verify_account.ask(account_id, actor=actor_of(request), origin=origin_of(request), now=now)
    return HttpResponseRedirect(f"{reverse('staff-verify', args=[account_id])}?asked={int(now.timestamp())}")
