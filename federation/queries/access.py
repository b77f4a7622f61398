"""Who has what, and who uses it: reads of the entitlements and of the sums of the audit log, for staff. Never for a decision.

`freshness` says how old the answers are. What needs an approval is listed like the rest, and says so. Uses are those of
credentials and the console, as far as the log has been added up (each minute); `DAYS` is how long ago counts as "not used".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from django.db.models import Count, Exists, F, Max, OuterRef, Q, Sum

from federation.errors import NotFound
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import Account
from federation.models import current
from federation.models.access_changes import AccessChange
from federation.models.audit import AuditEvent
from federation.models.audit_digest import AuditDigest, RoleUse
from federation.models.entitlements import Entitlement, EntitlementState, GivenByRule, RuleReach
from federation.models.people import Person
from federation.queries import keyset

DAYS: Final = 90
_BEHIND: Final = timedelta(minutes=15)
RuleSort = Literal["unused", "name", "-name", "people", "-people", "used", "-used"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the answers speak of: the revision and the moment that were worked out, how many notes of changes wait, and up to
    which moment the log has been added up. `worked_out_at` None: never yet.
    """

    revision: int
    worked_out_at: datetime | None
    waiting: int
    log_until: datetime | None


@dataclass(frozen=True, slots=True)
class Use:
    """How somebody has used a role, by whatever rule. `last` None: not that the log knows."""

    last: datetime | None = None
    times: int = 0


NEVER: Final = Use()


@dataclass(frozen=True, slots=True)
class HeldRole:
    """A role that a person has. `rule` decides, `rules` all give it; `since` they were first seen to have it; `revision`: in
    force when these rules were first seen to give it.
    """

    role_arn: str
    role_name: str
    account_id: str
    rule: str
    rules: tuple[str, ...]
    needs_approval: bool
    since: datetime
    revision: int
    use: Use


@dataclass(frozen=True, slots=True)
class Holder:
    """A person who has a role, and how."""

    person: Person
    held: HeldRole


@dataclass(frozen=True, slots=True)
class Holders:
    """A page of people who have a role, by name; `total` of all. `earlier` and `later`: cursors, "" where there is none."""

    lines: tuple[Holder, ...]
    total: int
    earlier: str
    later: str


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule of the mapping in force. `people` have something by it, `roles` are what it gives them; `used_by` of them have
    used a role that it decided, within the days asked for; `last_used_at`: ever.
    """

    name: str
    line: int
    denies: bool
    needs_approval: bool
    people: int
    roles: int
    used_by: int
    last_used_at: datetime | None

    @property
    def unused_by(self) -> int:
        """How many have it for nothing."""
        return max(0, self.people - self.used_by)


@dataclass(frozen=True, slots=True)
class RulesPage:
    """A page of rules: `lines` from number `first` on, of `found`."""

    lines: tuple[RuleLine, ...]
    found: int
    first: int
    earlier: str
    later: str


@dataclass(frozen=True, slots=True)
class RoleOfRule:
    """A role that a rule gives: to how many people, and how many of them have used it within the days asked for.

    `role_name`: without its path. `account`: what the mapping calls its account, or its id.
    """

    role_arn: str
    role_name: str
    account: str
    people: int
    used_by: int


@dataclass(frozen=True, slots=True)
class PersonOfRule:
    """Somebody who has something by a rule, and how they have used what it gives them."""

    person: Person
    use: Use


@dataclass(frozen=True, slots=True)
class RuleUse:
    """One rule: its roles (the least used first), and a page of its people by name. `total`: of its people."""

    name: str
    roles: tuple[RoleOfRule, ...]
    people: tuple[PersonOfRule, ...]
    total: int
    earlier: str
    later: str


def freshness() -> Freshness:
    """How old the answers here are. Three queries."""
    revision, at = EntitlementState.objects.filter(pk=1).values_list("revision", "finished_at").first() or (0, None)
    log_until = AuditDigest.objects.filter(pk=1).values_list("at", flat=True).first()
    return Freshness(revision, at, AccessChange.objects.count(), log_until)


def is_worked_out(fresh: Freshness) -> bool:
    """Whether who has what is that of the revision in force; a few seconds after its publication it is."""
    return fresh.worked_out_at is not None and fresh.revision >= current.mapping().number


def is_caught_up(fresh: Freshness) -> bool:
    """Whether what nobody seems to use may be believed: who has what is worked out, and the log is added up to its end.

    Right after a start, or while a long log is added up, everything looks unused: nothing may be proposed on that.
    """
    if fresh.worked_out_at is None or fresh.log_until is None:
        return False
    last = AuditEvent.objects.order_by("-seq").values_list("at", flat=True).first()
    return last is None or last - fresh.log_until <= _BEHIND


def roles_of(person_id: UUID | str) -> list[HeldRole]:
    """Everything that somebody has, by account and role name. Two queries."""
    rows = Entitlement.objects.filter(person_id=person_id).select_related("given")
    rows = rows.order_by("given__account_id", "given__role_name", "given__role_arn")
    uses = {
        arn: Use(last, times)
        for arn, last, times in RoleUse.objects.filter(person_id=person_id)
        .values_list("role_arn")
        .annotate(last=Max("last_used_at"), times=Sum("uses"))
    }
    return [_held(row, uses.get(row.given.role_arn, NEVER)) for row in rows]


def who_has(role_arn: str, cursor: str = "", *, words: str = "", size: int = keyset.PAGE_SIZE) -> Holders:
    """A page of the people who have a role, by name; `words`: in name, e-mail or subject. Three queries."""
    rows = Entitlement.objects.filter(given__role_arn=role_arn.replace("\x00", "")).select_related("given", "person")
    rows = rows.filter(_named(words.replace("\x00", " "), "person__")) if words else rows
    total = rows.count()
    rows = rows.annotate(by_name=F("person__name"), by_session=F("person__session_name"))
    page = keyset.page(rows, ("by_name", "by_session"), cursor, size=size)
    uses = _uses((row.person_id for row in page.rows), Q(role_arn=role_arn))
    lines = tuple(Holder(row.person, _held(row, uses.get(row.person_id, NEVER))) for row in page.rows)
    return Holders(lines, total, page.earlier, page.later)


def rules(
    *, now: datetime, days: int = DAYS, words: str = "", sort: RuleSort = "unused", unused_only: bool = False, start: int = 0,
    size: int = keyset.PAGE_SIZE,
) -> RulesPage:  # fmt: skip
    """The rules of the mapping in force, with who has something by each and who uses it; those that most have for nothing first.

    `unused_only`: allow rules that somebody has and nobody has used. Four queries; the rules themselves are in memory.
    """
    mapping = current.mapping()
    reach = dict(RuleReach.objects.values_list("rule", "people"))
    counted = (
        RoleUse.objects.values_list("rule")
        .annotate(
            used_by=Count(
                "person_id", distinct=True, filter=Q(last_used_at__gte=now - timedelta(days), person__active=True)
            ),
            last=Max("last_used_at"),
        )
        .values_list("rule", "used_by", "last")
    )
    used = {rule: (used_by, last) for rule, used_by, last in counted}
    lines = []
    for rule in mapping.document.rules:
        people = reach.get(rule.name, 0)
        used_by, last = used.get(rule.name, (0, None))
        used_by = min(used_by, people)  # somebody who has moved to another team has used it, and has it no more
        if words and words.casefold() not in rule.name.casefold():
            continue
        if unused_only and (rule.deny is not None or not people or used_by):
            continue
        lines.append(
            RuleLine(rule.name, rule.line, rule.deny is not None, rule.approval is not None, people, 0, used_by, last)
        )
    lines.sort(key=_RULE_SORTS[sort.lstrip("-")], reverse=sort.startswith("-"))
    start = min(max(start, 0), max(0, (len(lines) - 1) // size * size))
    shown = _with_roles(lines[start : start + size])
    return RulesPage(
        shown, len(lines), start, str(max(0, start - size)) if start else "", str(start + size) if start + size < len(lines) else ""
    )  # fmt: skip


_RULE_SORTS = {
    "unused": lambda line: (-line.unused_by, line.used_by, line.name),
    "name": lambda line: line.name,
    "people": lambda line: (line.people, line.name),
    "used": lambda line: (line.used_by, line.name),
}


def rule_use(name: str, cursor: str = "", *, now: datetime, days: int = DAYS, size: int = keyset.PAGE_SIZE) -> RuleUse:
    """Who has something by a rule, and who of them uses it, by whatever rule it is decided. Six queries. Raises NotFound."""
    mapping = current.mapping()
    if all(rule.name != name for rule in mapping.document.rules):
        raise NotFound("rule_unknown", sentence="The mapping in force has no rule of this name.")
    mine = Entitlement.objects.filter(given__in=GivenByRule.objects.filter(rule=name).values("given_id"))
    recent = RoleUse.objects.filter(last_used_at__gte=now - timedelta(days))
    having = dict(mine.values_list("given__role_arn").annotate(people=Count("person_id")))
    their_use = recent.filter(person_id=OuterRef("person_id"), role_arn=OuterRef("given__role_arn"))
    using = dict(mine.filter(Exists(their_use)).values_list("given__role_arn").annotate(people=Count("person_id")))
    roles = [_of_rule(arn, people, using.get(arn, 0), mapping.compiled.accounts) for arn, people in having.items()]
    people = Person.objects.filter(Exists(mine.filter(person_id=OuterRef("pk"))))
    total = RuleReach.objects.filter(rule=name).values_list("people", flat=True).first() or 0
    page = keyset.page(people, ("name", "session_name"), cursor, size=size)
    uses = _uses((person.pk for person in page.rows), Q(role_arn__in=list(having)))
    return RuleUse(
        name,
        tuple(sorted(roles, key=lambda role: (role.used_by, -role.people, role.role_arn))),
        tuple(PersonOfRule(person, uses.get(person.pk, NEVER)) for person in page.rows),
        total,
        page.earlier,
        page.later,
    )


def _of_rule(role_arn: str, people: int, used_by: int, accounts: Mapping[str, Account]) -> RoleOfRule:
    arn = parse_role_arn(role_arn)
    account = accounts.get(arn.account_id) if arn else None
    called = account.name if account else arn.account_id if arn else ""
    return RoleOfRule(role_arn, arn.name.rsplit("/", 1)[-1] if arn else role_arn, called, people, used_by)


def _held(row: Entitlement, use: Use) -> HeldRole:
    given = row.given
    return HeldRole(
        given.role_arn, given.role_name, given.account_id, given.rule, tuple(given.rules), given.needs_approval, row.since, row.revision, use
    )  # fmt: skip


def _uses(person_ids: Iterable[UUID], of: Q) -> dict[UUID, Use]:
    wanted = list(person_ids)
    if not wanted:
        return {}
    rows = RoleUse.objects.filter(of, person_id__in=wanted).values_list("person_id")
    return {who: Use(last, times) for who, last, times in rows.annotate(last=Max("last_used_at"), times=Sum("uses"))}


def _named(words: str, prefix: str) -> Q:
    fields = ("name", "email", "subject", "session_name")
    condition = Q()
    for word in words.split():
        either = Q()
        for name in fields:
            either |= Q(**{f"{prefix}{name}__icontains": word})
        condition &= either
    return condition


def _with_roles(lines: Sequence[RuleLine]) -> tuple[RuleLine, ...]:
    names = [line.name for line in lines]
    counted = GivenByRule.objects.filter(rule__in=names).values_list("rule")
    roles = dict(counted.annotate(roles=Count("given__role_arn", distinct=True)))
    return tuple(
        RuleLine(
            one.name, one.line, one.denies, one.needs_approval, one.people, roles.get(one.name, 0), one.used_by, one.last_used_at
        )
        for one in lines
    )  # fmt: skip
