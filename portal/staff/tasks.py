"""`/staff/tasks/`: background work, when it ran and when it runs next, why not, and starting it by hand.

The page asks again by itself while something runs; the work goes on whether anybody looks or not.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from federation.errors import NotFound
from federation.flows import background
from federation.mapping.capabilities import Capability
from federation.queries import background as queries
from portal.staff.guard import actor_of, staff
from portal.staff.page import page
from portal.views.guard import is_partial, origin_of

# Name, and what it is good for; one that is not here is shown by its name alone.
WORDS: dict[str, tuple[str | Promise, str | Promise]] = {
    "refresh_provider_documents": (
        _("Identity providers' documents"), _("Fetches metadata ahead of its end, so that new certificates are known in time."),
    ),
    "refresh_catalogue": (_("Accounts and roles"), _("Reads every account's roles, and the organization's accounts.")),
    "refresh_directory": (
        _("Directories"), _("Reads the company's directories: people, groups and who is in which. Those that push are not asked."),
    ),
    "send_letters": (_("Letters"), _("Sends the e-mail about requests for access; tries again where the server is away.")),
    "refresh_entitlements": (_("Entitlements"), _("Works out who has which role, for lists and reports.")),
    "refresh_findings": (_("Trust findings"), _("Examines the trust policies of roles whose account or mapping has changed.")),
    "resume_lost": (_("Lost work"), _("Sends the work again whose worker has died in the middle.")),
    "rotate_keys": (_("Signing keys"), _("Publishes the next key, and later signs with it, when it is due.")),
    "digest_audit": (_("Daily figures"), _("Adds up the audit log by day, for charts and for who uses what.")),
    "purge_expired": (_("Clearing up"), _("Deletes sessions, codes and tokens that have expired.")),
}  # fmt: skip
_SOON = 3  # seconds between two looks while something runs
_LATER = 30


@staff(Capability.SEE_TASKS)
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """The list; for htmx its table alone."""
    lines = queries.tasks(now=timezone.now())
    asked = request.GET.get("asked", "")
    known = {line.name for line in lines}
    context = {
        "lines": [(line, *WORDS.get(line.name, (line.name, ""))) for line in lines],
        "asked": WORDS.get(asked, (asked,))[0] if asked in known else "",
        # What was just asked for has not begun: look soon, too.
        "every": _SOON if asked in known or any(line.last and line.last.is_running for line in lines) else _LATER,
        "address": request.get_full_path(),
    }
    return page(request, "staff/_tasks_table.html" if is_partial(request) else "staff/tasks.html", context)


@staff(Capability.OPEN_CONSOLE)
@require_safe
def workers(request: HttpRequest) -> HttpResponse:
    """How many workers answer: a piece of other pages, asked for by itself because it takes most of a second.

    For everybody in the console: account owners wait for a worker too, where they verify an account.
    """
    return page(request, "staff/_workers.html", {"workers": background.workers()})


@staff(Capability.SEE_TASKS)
@require_safe
def task(request: HttpRequest, task: str) -> HttpResponse:
    """One task's latest runs."""
    line = next((line for line in queries.tasks(now=timezone.now()) if line.name == task), None)
    if line is None:
        raise NotFound("task_unknown")
    words, purpose = WORDS.get(task, (task, ""))
    context = {
        "line": line, "words": words, "purpose": purpose, "runs": queries.runs(task),
        "every": _SOON if line.last and line.last.is_running else _LATER, "address": request.path,
    }  # fmt: skip
    return page(request, "staff/_task_runs.html" if is_partial(request) else "staff/task.html", context)


@staff(Capability.RUN_TASKS)
@require_POST
def run(request: HttpRequest, task: str) -> HttpResponse:
    """Asks a worker to run it now."""
    background.ask(task, actor=actor_of(request), origin=origin_of(request), now=timezone.now())
    return HttpResponseRedirect(f"{reverse('staff-tasks')}?asked={task}")
