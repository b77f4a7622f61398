"""`/staff/accounts/`, `/staff/roles/`, `/staff/findings/`: what is known of AWS, and what is wrong with it."""

from __future__ import annotations

import json
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from federation.aws.trust import CODES, Severity
from federation.mapping.capabilities import Capability
from federation.queries import access, permissions
from federation.queries import catalogue as queries
from portal.staff import listing
from portal.staff.guard import powers_in, scope, staff
from portal.staff.page import page
from portal.views.guard import is_partial

SEVERITY_WORDS = {
    Severity.ERROR: (_("Keeps people out"), "bad", "x-circle"),
    Severity.DANGER: (_("Open too far"), "bad", "exclamation-triangle"),
    Severity.WARNING: (_("May be open too far"), "warn", "exclamation-triangle"),
    Severity.INFO: (_("To know"), "info", "information-circle"),
}
STATES = {"ok": _("Read"), "failed": _("Failed"), "held": _("Held"), "never": _("Never read")}
USES = {"lately": _("Used in 90 days"), "unused": _("Unused for 90 days"), "never": _("Never used")}
_PEOPLE = 20
_ACCOUNT_SORTS = tuple(f"{sign}{key}" for key in ("name", "id", "roles", "read", "findings") for sign in ("", "-"))


@staff(Capability.SEE_ACCOUNTS)
@require_safe
def accounts(request: HttpRequest) -> HttpResponse:
    """The accounts, searched, filtered and sorted."""
    wanted = queries.AccountFilter(
        words=listing.asked(request, "q"), environment=listing.asked(request, "environment"),
        state=listing.asked(request, "state", list(STATES)), findings=bool(listing.asked(request, "findings")),
    )  # fmt: skip
    sort = listing.asked(request, "sort", _ACCOUNT_SORTS) or "name"
    start = listing.asked(request, "after")
    found = queries.accounts(
        wanted, scope=scope(request, Capability.SEE_ACCOUNTS), sort=sort, start=int(start) if start.isdecimal() and len(start) < 7 else 0
    )  # fmt: skip
    query = request.GET
    context = {
        "list": found,
        "wanted": wanted,
        "sort": sort,
        "heads": listing.heads(
            query,
            [(_("Account"), "name", ""), (_("Environment"), "", ""), (_("Owner"), "", ""), (_("Roles"), "roles", "num"),
             (_("Last read"), "read", ""), (_("Findings"), "findings", "")],
            sort, downwards=("roles", "read", "findings"),
        ),
        "chips": [
            *listing.chips(query, "environment", {name: name for name in found.environments[:8]}),
            *listing.chips(query, "state", {key: STATES[key] for key in ("failed", "held", "never")}),
            *listing.chips(query, "findings", {"1": _("With findings")}),
        ],
        "earlier": listing.page_at(query, found.earlier),
        "later": listing.page_at(query, found.later),
        "severities": SEVERITY_WORDS,
    }  # fmt: skip
    return page(request, "staff/_accounts.html" if is_partial(request) else "staff/accounts.html", context)


@staff(Capability.SEE_ACCOUNTS)
@require_safe
def account(request: HttpRequest, account_id: str) -> HttpResponse:
    """One account: what is known of it, its roles, and what can be done with it."""
    line = queries.account(account_id)
    roles = queries.roles(queries.RoleFilter(account_id=account_id), scope=None, now=timezone.now(), size=10)
    context = {
        "line": line,
        "organization": queries.organization_account(account_id),
        "roles": roles,
        "may_onboard": powers_in(request).may(Capability.ONBOARD_ACCOUNTS, account_id),
    }
    return page(request, "staff/account.html", context)


@staff(Capability.SEE_ACCOUNTS)
@require_safe
def roles(request: HttpRequest) -> HttpResponse:
    """The roles of every account, searched, filtered and sorted."""
    wanted = queries.RoleFilter(
        words=listing.asked(request, "q"), account_id=listing.asked(request, "account"),
        environment=listing.asked(request, "environment"), used=listing.asked(request, "used", list(USES)),
        gone=bool(listing.asked(request, "gone")),
    )  # fmt: skip
    sort = cast("queries.RoleSort", listing.asked(request, "sort", ("name", "-name", "used", "-used")) or "name")
    found = queries.roles(
        wanted, scope=scope(request, Capability.SEE_ACCOUNTS), sort=sort, cursor=request.GET.get("after", ""), now=timezone.now()
    )  # fmt: skip
    query = request.GET
    context = {
        "list": found,
        "wanted": wanted,
        "sort": sort,
        "heads": listing.heads(
            query,
            [(_("Role"), "name", ""), (_("Account"), "", ""), (_("Who gets it"), "", ""), (_("Last used"), "used", ""), (_("Trust"), "", "")],
            sort, downwards=("used",),
        ),
        "chips": [
            *listing.chips(query, "environment", {name: name for name in found.environments[:8]}),
            *listing.chips(query, "used", USES),
            *listing.chips(query, "gone", {"1": _("Removed from AWS")}),
        ],
        "account_filter": listing.with_changes(query, account="") if wanted.account_id else "",
        "earlier": listing.page_at(query, found.earlier),
        "later": listing.page_at(query, found.later),
    }  # fmt: skip
    return page(request, "staff/_roles.html" if is_partial(request) else "staff/roles.html", context)


@staff(Capability.SEE_ACCOUNTS)
@require_safe
def role(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """One role: who gets it, by which rule, and its trust policy with what is wrong and what would be right."""
    found = queries.role(account_id, role_name)
    people = access.who_has(found.row.arn, request.GET.get("after", ""), size=_PEOPLE)
    context = {
        "found": found,
        "line": found.line,
        "role_can": permissions.of_held([found.row.arn], {found.row.arn: found.row.policies})[found.row.arn],
        "people": people,
        "freshness": access.freshness(),
        "earlier": listing.page_at(request.GET, people.earlier),
        "later": listing.page_at(request.GET, people.later),
        "findings": [
            (finding, *SEVERITY_WORDS[finding.severity], CODES.get(finding.code, "")) for finding in (found.report.findings if found.report else ())
        ],
        "policy": _pretty(found.row.trust_policy),
        "corrected": _pretty(found.report.corrected) if found.report and found.report.corrected else "",
    }  # fmt: skip
    return page(request, "staff/role.html", context)


def _pretty(policy: str) -> str:
    """The policy as people read it; as it is where it is no JSON."""
    try:
        return json.dumps(json.loads(policy), indent=2, ensure_ascii=False)
    except ValueError:
        return policy


@staff(Capability.SEE_ACCOUNTS)
@require_safe
def findings(request: HttpRequest) -> HttpResponse:
    """What is wrong with the roles' trust, the worst first."""
    mine = scope(request, Capability.SEE_ACCOUNTS)
    wanted = queries.FindingFilter(
        severity=listing.asked(request, "severity", [str(s) for s in Severity]), code=listing.asked(request, "code", list(CODES)),
        account_id=listing.asked(request, "account"), mapped=bool(listing.asked(request, "mapped")),
    )  # fmt: skip
    found = queries.findings(wanted, scope=mine, cursor=request.GET.get("after", ""))
    query = request.GET
    context = {
        "lines": [(line, *SEVERITY_WORDS[line.severity]) for line in found.lines],
        "wanted": wanted,
        "numbers": [
            (*SEVERITY_WORDS[severity], number, listing.with_changes(query, severity="" if wanted.severity == severity else str(severity)), wanted.severity == severity)
            for severity, number in queries.findings_by_severity(scope=mine)
        ],
        "codes": queries.findings_by_code(scope=mine),
        "chips": listing.chips(query, "mapped", {"1": _("Only roles that a rule gives")}),
        "account_filter": listing.with_changes(query, account="") if wanted.account_id else "",
        "since": queries.examined_since(),
        "earlier": listing.page_at(query, found.earlier),
        "later": listing.page_at(query, found.later),
    }  # fmt: skip
    return page(request, "staff/_findings.html" if is_partial(request) else "staff/findings.html", context)
