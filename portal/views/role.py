"""The page of one role: what it is, why one has it, what is open, and whether it is a favourite."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST, require_safe

from federation import queries
from federation.flows import marks, rate_limits
from federation.mapping.rolearn import parse_role_arn
from federation.models.marks import RoleMark
from federation.queries import activity, catalogue, permissions
from portal.views.guard import is_partial, person_of, reaches_aws, safe_next, signed_in
from portal.views.roles import full_name
from portal.views.use_role import durations_of, role_of

# Short names that every partition's console knows (federation.aws.console.validate_destination).
SERVICES = (
    ("", _("Console home")), ("cloudwatch", "CloudWatch"), ("cloudformation", "CloudFormation"), ("cloudtrailv2", "CloudTrail"),
    ("dynamodbv2", "DynamoDB"), ("ec2", "EC2"), ("ecs", "ECS"), ("eks", "EKS"), ("iam", "IAM"), ("lambda", "Lambda"),
    ("rds", "RDS"), ("s3", "S3"), ("secretsmanager", "Secrets Manager"), ("sns", "SNS"), ("sqs", "SQS"),
    ("systems-manager", "Systems Manager"), ("vpc", "VPC"),
)  # fmt: skip


@require_safe
@signed_in
def role(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """`/roles/<account>/<role name>/`: everything about one role of the person's. Opens nothing."""
    now = timezone.now()
    person = person_of(request)
    page = role_of(request, account_id, role_name, now)
    mark = RoleMark.objects.filter(person=person, role_arn=page.line.arn).first()
    wanted = request.GET.get("destination", "")
    context = {
        "here": "roles",
        "role": page,
        "services": SERVICES,
        "durations": durations_of(page.line),
        "favourite": mark is not None and mark.favourite_at is not None,
        "last_destination": mark.destination if mark else "",
        "destination": wanted,
        "known_service": wanted in dict(SERVICES),
        "open": activity.open_sessions(person, now=now, role_arn=page.line.arn),
        "now": now,
        "can": permissions.of_role(page.line.arn),
        "share": f"{settings.ROLEGATE_URL}{page.page}/console",
    }
    return reaches_aws(render(request, "portal/role.html", context))


@require_safe
@signed_in
def policies(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """`/roles/<account>/<role name>/policies`: what a role may do that the person has or may ask for. Opens nothing."""
    page = role_of(request, account_id, role_name, timezone.now())
    return show_policies(request, page.line.arn, f"{page.page}/", here="roles")


def show_policies(request: HttpRequest, arn: str, back: str, *, here: str) -> HttpResponse:
    """The policies of a role that whoever asks may look at: a page, or a piece of one for htmx."""
    context = {"here": here, "can": permissions.of_role(arn), "arn": arn, "name": full_name(arn), "back": back}
    return render(request, "portal/_policies.html" if is_partial(request) else "portal/policies.html", context)


@require_POST
@signed_in
def favourite(request: HttpRequest, account_id: str, role_name: str) -> HttpResponse:
    """Makes a role a favourite, or no longer. htmx gets the button anew, everybody else the page that they came from."""
    now = timezone.now()
    person = person_of(request)
    page = role_of(request, account_id, role_name, now)
    wanted = request.POST.get("favourite") == "1"
    marks.favourite(person, page.line.arn, wanted=wanted, now=now)
    if is_partial(request):
        context = {"page": page.page, "favourite": wanted, "name": page.line.name, "account": page.account.name}
        return render(request, "portal/_star.html", context)
    return HttpResponseRedirect(safe_next(request.POST.get("next")))


@require_GET
@signed_in
def why(request: HttpRequest) -> HttpResponse:
    """`/why/?role=`: why the person has a role or has it not, for any role that they can name; and whom to ask.

    Without an ARN: a search over the accounts that the mapping knows. What others have is not told.
    """
    now = timezone.now()
    person = person_of(request)
    text = request.GET.get("role", "").strip()[:2048]
    query = request.GET.get("q", "").strip()[:200]
    context: dict[str, Any] = {"here": "why", "wanted": text, "query": query}
    if text or query:
        rate_limits.hit("explain", person=str(person.pk), address="", now=now)
    if text:
        if parse_role_arn(text) is None:
            context["fault"] = gettext(
                "This is not the ARN of a role. It looks like arn:aws:iam::111122223333:role/ReadOnly."
            )
            return render(request, "portal/why.html", context, status=422)
        story = queries.explain(person.pk, text, now=now)
        context |= {
            "story": story,
            "help": queries.whom_to_ask(person, text, now=now),
            "arn": text,
            "name": full_name(text),
        }
        template = "portal/_story.html" if is_partial(request) else "portal/why.html"
        return render(request, template, context)
    if query:
        context["found"] = catalogue.find_roles(query)
    return render(request, "portal/why.html", context)
