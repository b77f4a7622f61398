"""Requests for access, as their people see them: the asker, whoever may decide, and whoever reviews."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from uuid import UUID

from django.db.models import Case as Case_
from django.db.models import Exists, IntegerField, OuterRef, Prefetch, Q, QuerySet, When

from federation.aws.arns import parse_role_arn
from federation.errors import NotFound
from federation.flows import approvers, staff_rights
from federation.flows.decide_requests import Decider, Terms, decider, may_review, weigh, why_not
from federation.mapping.capabilities import Capability
from federation.mapping.engine import Grant
from federation.models import current
from federation.models.accounts import Role
from federation.models.audit import AuditEvent
from federation.models.requests import AccessRequest, RequestedRole
from federation.queries import AccountRoles, RoleLine, keyset, permissions
from federation.queries.permissions import UNKNOWN, RolePermissions

PAGE = 25
_MOST_WAITING = 200


@dataclass(frozen=True, slots=True)
class Item:
    """One role of a request. `standing`: as `RequestedRole.standing`. `terms`: what a yes would give now, where it was asked.

    `why_not`: why the viewer may not decide, "" if they may. `description`, `last_used_at`, `can`: what IAM says of the role.
    """

    id: int
    role_arn: str
    role_name: str
    account_id: str
    account_name: str
    environment: str
    rule: str
    standing: str
    ends_at: datetime | None
    decided_by: str
    decided_at: datetime | None
    comment: str
    terms: Terms | None = None
    why_not: str = "not_asked"
    description: str = ""
    last_used_at: datetime | None = None
    can: RolePermissions = UNKNOWN

    @property
    def page(self) -> str:
        """The beginning of the addresses of the role's pages."""
        return f"/roles/{self.account_id}/{self.role_arn.split(':role/', 1)[-1]}"

    @property
    def decidable(self) -> bool:
        """Whether the viewer may say yes or no now."""
        return self.standing == "pending" and not self.why_not


@dataclass(frozen=True, slots=True)
class Case:
    """A request with its roles. `asker`: what people call them. `review`: whether the viewer may review it now."""

    request: AccessRequest
    asker: str
    items: tuple[Item, ...]
    is_own: bool
    may_review: bool = False
    reviewer: str = ""

    @property
    def break_glass(self) -> bool:
        """Whether it was taken without a yes."""
        return self.request.kind == AccessRequest.Way.BREAK_GLASS

    @property
    def decidable(self) -> bool:
        """Whether the viewer may decide on any of its roles now."""
        return any(item.decidable for item in self.items)

    @property
    def standing(self) -> str:
        """Of the whole: pending while any of it is, else the best that became of its roles."""
        found = {item.standing for item in self.items}
        order = ("pending", "active", "ended", "refused", "expired", "withdrawn")
        return next((word for word in order if word in found), "withdrawn")

    @property
    def may_withdraw(self) -> bool:
        """Whether the viewer can take anything of it back."""
        return self.is_own and self.standing == "pending"


@dataclass(frozen=True, slots=True)
class Context:
    """What an approver sees of the asker: groups and department as last proved, earlier requests, last uses of the roles."""

    groups: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    claims_at: datetime | None
    earlier: tuple[tuple[datetime, str, str, str], ...]
    uses: tuple[tuple[datetime, str, str, str], ...]


def mine(person_id: UUID, *, now: datetime, before: datetime | None = None) -> tuple[list[Case], datetime | None]:
    """The person's own requests, newest first, 25 at a time; the moment to go on from, None at the end. Three queries."""
    rows = _requests().filter(person_id=person_id)
    if before is not None:
        rows = rows.filter(created_at__lt=before)
    found = list(rows.order_by("-created_at")[: PAGE + 1])
    mapping = current.mapping()
    cases = [_case(row, None, {}, mapping, now) for row in found[:PAGE]]
    return [_own(case) for case in cases], found[PAGE - 1].created_at if len(found) > PAGE else None


def waiting(person_id: UUID, *, now: datetime) -> list[Case]:
    """What waits for this person: requests that they may decide on, oldest first, and break-glasses that they may review.

    A constant number of queries. Looks at the two hundred that have waited longest, of those that the rules they were asked
    under let this person decide on; reviews come behind.
    """
    who = decider(person_id, now=now)
    # Attack: a flood of what others decide on, or a pile that nobody reviews, fills the list, and what waits behind is not seen.
    mine = Q(items__rule__in=_decided_by(who))
    pending = Q(items__state=RequestedRole.State.PENDING, expires_at__gt=now) & mine
    unreviewed = Q(kind=AccessRequest.Way.BREAK_GLASS, reviewed_at=None)
    if not staff_rights.powers_of(who.identity, who.mapping).may(Capability.REVIEW_REQUESTS):
        unreviewed &= mine
    is_review = Case_(When(kind=AccessRequest.Way.BREAK_GLASS, then=1), default=0, output_field=IntegerField())
    found = _requests().filter(pending | unreviewed).exclude(person=who.person).annotate(is_review=is_review).distinct()
    rows = list(found.order_by("is_review", "created_at")[:_MOST_WAITING])
    weighed = weigh([item for row in rows for item in _items(row)], who.mapping, now=now)
    cases = [_case(row, who, weighed, who.mapping, now) for row in rows]
    return [case for case in cases if case.decidable or case.may_review]


def _decided_by(who: Decider) -> list[str]:
    """The names of the rules whose approval takes this person's yes."""
    compiled = who.mapping.compiled
    may = cache(lambda approval: compiled.may_approve(who.identity, approval))  # few approvals, in many rules
    return [rule.name for rule in compiled.document.rules if rule.approval is not None and may(rule.approval)]


def decided(person_id: UUID, *, now: datetime) -> list[Case]:
    """The last requests that this person had a say in."""
    rows = _requests().filter(Q(items__decided_by=person_id) | Q(reviewed_by=person_id)).distinct()
    mapping = current.mapping()
    return [_case(row, None, {}, mapping, now) for row in rows.order_by("-created_at")[:PAGE]]


def one(person_id: UUID, request_id: UUID | str, *, now: datetime) -> Case:
    """One request, for its asker, whoever may decide on it or did, and reviewers. Raises NotFound for everybody else."""
    row = _requests().filter(pk=request_id).first()
    if row is None:
        raise NotFound("request_unknown")
    who = decider(person_id, now=now)
    items = _items(row)
    arns = [item.role_arn for item in items]
    known = {role.arn: role for role in Role.objects.filter(arn__in=arns).only("arn", "description", "last_used_at")}
    can = permissions.of_roles(arns)
    case = _case(row, who, weigh(items, who.mapping, now=now), who.mapping, now, known=known, can=can)
    if case.is_own:
        return _own(case)
    had_a_say = row.reviewed_by_id == person_id or any(item.decided_by_id == person_id for item in items)
    may_decide = any(not item.why_not for item in case.items)
    watches = staff_rights.powers_of(who.identity, who.mapping).may(Capability.SEE_REQUESTS)
    if not (may_decide or had_a_say or case.may_review or watches):
        raise NotFound("request_of_another")
    return case


def context_of(case: Case, *, now: datetime) -> Context:
    """What an approver wants to know of the asker. Two queries."""
    person = case.request.person
    earlier = (
        RequestedRole.objects.filter(person=person)
        .exclude(request=case.request)
        .select_related("request", "decided_by")
        .order_by("-pk")[:5]
    )
    arns = [item.role_arn for item in case.items]
    actor = person.actor
    events = AuditEvent.objects.filter(
        actor=actor, kind__in=["credentials", "console"], outcome="ok", data__role_arn__in=arns
    ).order_by("-at", "-seq")[:5]
    return Context(
        groups=tuple(sorted(person.groups)),
        attributes=tuple((key, ", ".join(values)) for key, values in sorted(person.attributes.items())),
        claims_at=person.claims_at,
        earlier=tuple(
            (
                row.request.created_at,
                row.role_arn,
                row.standing(row.request.expires_at, now),
                approvers.name_of(row.decided_by) if row.decided_by else "",
            )
            for row in earlier
        ),
        uses=tuple((event.at, event.kind, event.data["role_arn"], event.request_id) for event in events),
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """A role that is asked for: what the rule gives, what IAM says that it is for ("" where nothing), and what it may do."""

    grant: Grant
    about: str
    can: RolePermissions

    @property
    def page(self) -> str:
        """The beginning of the addresses of the role's pages."""
        return f"/roles/{self.grant.account.id}/{self.grant.role_arn.split(':role/', 1)[-1]}"


def wishes(grants: Sequence[Grant]) -> list[Wish]:
    """Each of the grants with what is known of its role. Three queries."""
    arns = [grant.role_arn for grant in grants]
    said = dict(Role.objects.filter(arn__in=arns).values_list("arn", "description"))
    can = permissions.of_roles(arns)
    return [Wish(grant, said.get(grant.role_arn, ""), can[grant.role_arn]) for grant in grants]


@dataclass(frozen=True, slots=True)
class Choice:
    """A role that somebody may ask for, with what is known of it as of a `Wish`."""

    line: RoleLine
    about: str
    can: RolePermissions


def choices(accounts: Iterable[AccountRoles]) -> list[tuple[AccountRoles, list[Choice]]]:
    """The roles of these accounts that need an approval, by account; accounts without any are left out. Two queries."""
    lines = [(account, [line for line in account.roles if line.needs_approval]) for account in accounts]
    arns = [line.arn for _, found in lines for line in found]
    rows = Role.objects.filter(arn__in=arns, present=True).values_list("arn", "description", "policies")
    known = {arn: (description, policies) for arn, description, policies in rows}
    can = permissions.of_held(arns, {arn: policies for arn, (_, policies) in known.items()})
    return [
        (account, [Choice(line, known.get(line.arn, ("",))[0], can[line.arn]) for line in found])
        for account, found in lines
        if found
    ]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: words in the asker's name, e-mail or reason; `state`: "" any, "waiting", "active" or "glass"."""

    words: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """A role that somebody has taken without a yes and can use now."""

    request_id: UUID
    asker: str
    role_name: str
    account_name: str
    ends_at: datetime | None


def every(wanted: Wanted, cursor: str = "", *, now: datetime) -> tuple[list[Case], keyset.Page[AccessRequest]]:
    """A page of everybody's requests, newest first: for whoever watches over them. Three queries."""
    items = RequestedRole.objects.filter(request=OuterRef("pk"))
    rows = _requests()
    if wanted.state == "waiting":
        rows = rows.filter(Exists(items.filter(state=RequestedRole.State.PENDING)), expires_at__gt=now)
    elif wanted.state == "active":
        rows = rows.filter(Exists(items.filter(_in_use(now))))
    elif wanted.state == "glass":
        rows = rows.filter(kind=AccessRequest.Way.BREAK_GLASS)
    for word in wanted.words.split()[:8]:
        rows = rows.filter(
            Q(person__name__icontains=word) | Q(person__email__icontains=word) | Q(reason__icontains=word)
        )
    found = keyset.page(rows, ("-created_at", "-id"), cursor, size=PAGE)
    mapping = current.mapping()
    return [_case(row, None, {}, mapping, now) for row in found.rows], found


def broken_glass(*, now: datetime) -> list[Broken]:
    """What is in use now by break-glass, the newest first, twenty at most. One query, and the mapping's."""
    rows = RequestedRole.objects.filter(_in_use(now), request__kind=AccessRequest.Way.BREAK_GLASS)
    found = list(rows.select_related("request__person").order_by("-pk")[:20])
    accounts = current.mapping().compiled.accounts if found else {}
    told = []
    for row in found:
        arn = parse_role_arn(row.role_arn)
        account = accounts.get(arn.account_id)
        called = account.name if account else arn.account_id
        told.append(Broken(row.request_id, approvers.name_of(row.request.person), arn.name, called, row.ends_at))
    return told


def unreviewed() -> int:
    """How many break-glasses nobody has reviewed. One query."""
    return AccessRequest.objects.filter(kind=AccessRequest.Way.BREAK_GLASS, reviewed_at=None).count()


def _in_use(now: datetime) -> Q:
    return Q(state=RequestedRole.State.APPROVED, ended_at=None, ends_at__gt=now)


def _requests() -> QuerySet[AccessRequest]:
    items = RequestedRole.objects.select_related("decided_by").order_by("role_arn")
    return AccessRequest.objects.select_related("person", "reviewed_by").prefetch_related(Prefetch("items", items))


def _items(row: AccessRequest) -> list[RequestedRole]:
    items = list(row.items.all())
    for item in items:
        item.request = row  # prefetched from this side: `weigh` looks at it from the other
    return items


def _case(
    row: AccessRequest,
    who: Decider | None,
    weighed: Mapping[int, Terms],
    mapping: current.CurrentMapping,
    now: datetime,
    *,
    known: Mapping[str, Role] = MappingProxyType({}),
    can: Mapping[str, RolePermissions] = MappingProxyType({}),
) -> Case:
    accounts = mapping.compiled.accounts
    items = _items(row)
    listed = []
    for item in items:
        arn = parse_role_arn(item.role_arn)
        account = accounts.get(arn.account_id)
        terms = weighed.get(item.pk)
        role = known.get(item.role_arn)
        listed.append(
            Item(
                id=item.pk,
                role_arn=item.role_arn,
                role_name=item.role_arn.rsplit("/", 1)[-1],
                account_id=arn.account_id,
                account_name=account.name if account else arn.account_id,
                environment=account.tags.get("environment", "") if account else "",
                rule=item.rule,
                standing=item.standing(row.expires_at, now),
                ends_at=item.ended_at or item.ends_at,
                decided_by=approvers.name_of(item.decided_by) if item.decided_by else "",
                decided_at=item.decided_at,
                comment=item.comment,
                terms=terms,
                why_not=why_not(who, row, terms) if who is not None and terms is not None else "not_asked",
                description=role.description if role else "",
                last_used_at=role.last_used_at if role else None,
                can=can.get(item.role_arn, UNKNOWN),
            )
        )
    reviewable = row.kind == AccessRequest.Way.BREAK_GLASS and row.reviewed_at is None
    return Case(
        request=row,
        asker=approvers.name_of(row.person),
        items=tuple(listed),
        is_own=who is not None and row.person_id == who.person.pk,
        may_review=reviewable and who is not None and may_review(who, row, [weighed[item.pk] for item in items]),
        reviewer=approvers.name_of(row.reviewed_by) if row.reviewed_by else "",
    )


def _own(case: Case) -> Case:
    return case if case.is_own else Case(case.request, case.asker, case.items, is_own=True, reviewer=case.reviewer)
