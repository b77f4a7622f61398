"""`/staff/`: what needs doing first, then how things go. Each number leads to its list; what a person may not see is not there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from federation.mapping.capabilities import Capability
from federation.queries import audit_log, catalogue, directories, requests
from federation.queries import overview as queries
from portal.staff import charts
from portal.staff.catalogue import SEVERITY_WORDS
from portal.staff.guard import powers_in, scope, staff
from portal.staff.page import page
from portal.staff.reason_words import WORDS
from portal.templatetags.rolegate import figure

DAYS: Final = 30
_SHOWN_CAUSES: Final = 8
_SHOWN_ENDINGS: Final = 10
# Where a finding of the doctor leads, by its code or else its area: the address that helps, and the capability that opens it.
_PLACES: Final = {
    "answer_held": ("staff-held", Capability.SEE_HELD),
    "directory_silent": ("staff-directories", Capability.SEE_PROVIDERS),
    "subject_case_differs": ("staff-directories", Capability.SEE_PROVIDERS),
    "background": ("staff-tasks", Capability.SEE_TASKS),
    "sources": ("staff-accounts", Capability.SEE_ACCOUNTS),
    "tokens": ("staff-tokens", Capability.SEE_TOKENS),
    "mapping": ("staff-mapping", Capability.SEE_MAPPING),
}
AREAS: dict[str, str | Promise] = {
    "keys": gettext_lazy("Signing keys"), "mapping": gettext_lazy("Mapping"), "secrets": gettext_lazy("Client secrets"),
    "providers": gettext_lazy("Identity providers"), "background": gettext_lazy("Background work"),
    "sources": gettext_lazy("Sources"), "tokens": gettext_lazy("Tokens"),
}  # fmt: skip


@staff(Capability.OPEN_CONSOLE)
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """The page, put together out of what this person may see."""
    powers, now = powers_in(request), timezone.now()
    context: dict[str, Any] = {"tiles": []}
    if powers.may(Capability.SEE_TASKS):
        context["to_do"] = [
            (one, AREAS.get(one.area, one.area), _place(request, one)) for one in queries.to_do(now=now)
        ]
        context["fresh"] = queries.freshness()
        context["endings"] = queries.endings(now=now)[:_SHOWN_ENDINGS]
    if powers.may(Capability.SEE_HELD):
        held = directories.held()
        context["tiles"].append((len(held), _("Held answers"), reverse("staff-held"), "warn" if held else ""))
    if powers.may(Capability.SEE_REQUESTS):
        left = requests.unreviewed()
        address = f"{reverse('staff-requests')}?state=glass"
        context["tiles"].append((left, _("Break-glasses to review"), address, "bad" if left else ""))
    if powers.may(Capability.SEE_ACCOUNTS):
        for severity, number in catalogue.findings_by_severity(scope=scope(request, Capability.SEE_ACCOUNTS)):
            words, tone, _icon = SEVERITY_WORDS[severity]
            address = f"{reverse('staff-findings')}?severity={severity}"
            context["tiles"].append(
                (number, _("Trust findings: %(what)s") % {"what": words}, address, tone if number else "")
            )
    if powers.may(Capability.SEE_PEOPLE):
        context["tiles"].append(
            (queries.open_sessions(now=now), _("Open sessions"), f"{reverse('staff-people')}?sort=-seen", "")
        )
    if powers.may(Capability.SEE_AUDIT):
        context |= _history(now)
    return page(request, "staff/overview.html", context)


def _place(request: HttpRequest, one: queries.ToDo) -> str:
    name, capability = _PLACES.get(one.finding.code) or _PLACES.get(one.area) or ("", Capability.OPEN_CONSOLE)
    return reverse(name) if name and powers_in(request).may(capability) else ""


def _history(now: Any) -> dict[str, Any]:
    """Charts of the last thirty days, out of the log's daily figures."""
    sign_ins = audit_log.per_day(["sign_in"], until=now, days=DAYS)
    used = audit_log.per_day(["credentials", "console"], until=now, days=DAYS)
    since = (now - timedelta(days=DAYS - 1)).date()
    causes = audit_log.causes(["sign_in", "credentials", "console"], until=now, days=DAYS)
    most = max((number for _reason, number in causes), default=1)
    return {
        "sign_ins": charts.columns([(f"{d.day:%m-%d}", (d.ok, d.refused + d.failed)) for d in sign_ins], [_("went well"), _("refused or failed")], written=figure),
        "used": charts.columns([(f"{d.day:%m-%d}", (d.ok, d.refused + d.failed)) for d in used], [_("went well"), _("refused or failed")], written=figure),
        "causes": [(reason or "?", WORDS.get(reason, ""), number, max(1, number * 100 // most)) for reason, number in causes[:_SHOWN_CAUSES]],
        "since": since, "days": DAYS,
    }  # fmt: skip
