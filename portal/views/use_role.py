"""The pages of one role: open its console, get its credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from federation import queries
from federation.audit.events import Kind
from federation.aws.credentials import render as render_credentials
from federation.aws.policy import READ_ONLY
from federation.errors import BadRequest, RolegateError
from federation.flows import marks
from federation.flows.issue_credentials import Issued, issue_credentials, refuse_role
from federation.flows.open_console import console_form, open_console
from portal.views.guard import origin_of, person_of, reaches_aws, signed_in
from portal.views.roles import full_name

# Seconds offered, as far as the role lets them: STS takes 900 to 43,200.
_DURATIONS = (900, 1800, 3600, 7200, 14_400, 28_800, 43_200)
_FORMATS = (
    ("bash", "bash, zsh", _("Paste into a bash, zsh or sh session.")),
    ("fish", "fish", _("Paste into a fish session.")),
    ("powershell", "PowerShell", _("Paste into a PowerShell session, on any system.")),
    (
        "file",
        _("Credentials file"),
        _("Put this section into ~/.aws/credentials, then add --profile with its name to your commands."),
    ),
    ("json", "JSON", _("The document of credential_process, for programs.")),
)


@dataclass(frozen=True, slots=True)
class RolePage:
    """One role and its account, for the pages about it."""

    account: queries.AccountRoles
    line: queries.RoleLine
    page: str


@dataclass(frozen=True, slots=True)
class Block:
    """Credentials in one format."""

    format: str
    label: str | Promise
    hint: str | Promise
    text: str = field(repr=False)


def role_of(request: HttpRequest, account_id: str, role_name: str, now: datetime) -> RolePage:
    """The role behind an address, if the person has it. Raises AccessDenied, and what `queries.role_line` raises."""
    account, line = queries.role_line(person_of(request), account_id, role_name, now=now)
    return RolePage(account, line, f"/roles/{account_id}/{full_name(line.arn)}")


def _arn_to_use(request: HttpRequest, kind: Kind, account_id: str, role_name: str, now: datetime) -> str:
    """The ARN of a role that is to be used. A refusal is recorded, as it is where a program names the ARN itself."""
    person_id, origin = person_of(request).pk, origin_of(request)
    try:
        return queries.role_arn(person_id, account_id, role_name, now=now)
    except RolegateError as error:
        refuse_role(kind, person_id, f"{account_id}/{role_name}", error, channel="portal", origin=origin, now=now)
        raise


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def console(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """`/roles/<account>/<role name>/console?destination=`: a page with a button, which can be shared; a POST opens it.

    GET opens nothing: a link or an image on another site must not start an AWS session in somebody's browser.
    """
    now = timezone.now()
    destination = (
        request.POST.get("link", "").strip()
        or request.POST.get("destination")
        or request.GET.get("destination")
        or None
    )
    if request.method != "POST":
        context = {"role": role_of(request, account_id, role_name, now), "destination": destination or ""}
        return reaches_aws(render(request, "portal/console.html", context))
    person_id, origin = person_of(request).pk, origin_of(request)
    arn = _arn_to_use(request, Kind.CONSOLE, account_id, role_name, now)
    if request.POST.get("mode") == "form":
        form = console_form(person_id, arn, destination=destination, channel="portal", origin=origin, now=now)
        marks.used(person_of(request), arn, destination=destination or "", now=now)
        return reaches_aws(render(request, "portal/console_form.html", {"form": form}))
    policy = READ_ONLY if request.POST.get("read_only") else None
    opening = open_console(
        person_id, arn, destination=destination, policy=policy, channel="portal", origin=origin, now=now
    )
    marks.used(person_of(request), arn, destination=destination or "", now=now)
    response = HttpResponseRedirect(opening.url)
    response["Referrer-Policy"] = "no-referrer"
    return response


@never_cache
@sensitive_variables()
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def credentials(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """`/roles/<account>/<role name>/credentials`: a form for how long and how much; a POST hands credentials out, once."""
    now = timezone.now()
    if request.method != "POST":
        role = role_of(request, account_id, role_name, now)
        command = command_for(role.account.name, account_id, full_name(role.line.arn))
        return render(
            request,
            "portal/credentials.html",
            {"role": role, "durations": durations_of(role.line), "command": command},
        )
    person = person_of(request)
    person_id = person.pk
    arn = _arn_to_use(request, Kind.CREDENTIALS, account_id, role_name, now)
    issued = issue_credentials(
        person_id,
        arn,
        duration=_seconds(request.POST.get("duration", "")),
        policy=READ_ONLY if request.POST.get("read_only") else None,
        channel="portal",
        origin=origin_of(request),
        now=now,
    )
    marks.used(person, arn, destination=None, now=now)
    context = {
        "role_name": full_name(arn),
        "account_id": account_id,
        "environment": issued.account.tags.get("environment", ""),
        "page": f"/roles/{account_id}/{full_name(arn)}",
        "issued": issued,
        "now": timezone.now(),
        "blocks": _blocks(issued, role_name),
        "command": command_for(issued.account.name, account_id, full_name(arn)),
    }
    return render(request, "portal/credentials_issued.html", context)


_PLAIN_IN_A_SHELL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def command_for(account_name: str, account_id: str, role_name: str) -> str:
    """The command line that does the same as this page. An account whose name a shell would read otherwise is named by its id."""
    account = account_name if _PLAIN_IN_A_SHELL.fullmatch(account_name) else account_id
    return f"rolegate exec {account}/{role_name} -- aws sts get-caller-identity"


def durations_of(line: queries.RoleLine) -> list[int]:
    """The lengths of time to offer for a role, in seconds; its own longest is the last."""
    durations = [seconds for seconds in _DURATIONS if seconds < line.max_duration]
    return [*durations, line.max_duration]


def _seconds(text: str) -> int | None:
    """The chosen duration; "" is the mapping's. Raises BadRequest."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise BadRequest("duration_malformed", sentence="The duration is a number of seconds.")
    return int(text)


@sensitive_variables()
def _blocks(issued: Issued, role_name: str) -> list[Block]:
    profile = f"{issued.account_id}-{role_name.rsplit('/', 1)[-1].replace(',', '-')}"  # a profile's name has no comma
    return [
        Block(
            name,
            label,
            hint,
            render_credentials(issued.credentials, name, account_id=issued.account_id, profile=profile),
        )
        for name, label, hint in _FORMATS
    ]
