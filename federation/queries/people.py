"""People as the staff see them: the list, and one person's access with the reasons, decided now by the one engine.

The list counts roles out of the entitlements; a person's own page decides anew, as a mint would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from django.db import connection
from django.db.models import Count, DateTimeField, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from federation.audit.events import Kind
from federation.aws.revocation import deny_person
from federation.errors import NotFound, RolegateError
from federation.flows import approvers, latest_word, pair_cli
from federation.flows.access import fresh_identity
from federation.flows.revoke import find_person
from federation.identity import Identity
from federation.mapping.engine import CompiledMapping, Grant
from federation.mapping.explain import RuleExplanation, explain_rules
from federation.models import current
from federation.models.accounts import NEVER
from federation.models.audit import AuditEvent
from federation.models.catalogue import reachable
from federation.models.entitlements import Entitlement
from federation.models.people import Person
from federation.models.sessions import PortalSession
from federation.queries import keyset

Sort = Literal["name", "-name", "seen", "-seen"]
LIVE: Final = timedelta(hours=12)  # the longest session that AWS has
_SHOWN_RULES: Final = 100
_SHOWN_GRANTS: Final = 200
_EVERY: Final = 1_000_000
_SHOWN_DIFFERENCES: Final = 500


@dataclass(frozen=True, slots=True)
class PersonFilter:
    """What is asked for: words in name, e-mail, subject or session name; a group, whole; the state; the provider.

    `state`: "" any, "active", "disabled".
    """

    words: str = ""
    group: str = ""
    state: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class PersonLine:
    """One person of the list. `roles`: how many they have by the entitlements; `seen_at`: the last sign-in. `active`: whether they
    are disabled here; `has_left`: whether their directory has disabled or deleted them.
    """

    id: UUID
    name: str
    email: str
    subject: str
    provider: str
    active: bool
    has_left: bool
    seen_at: datetime | None
    groups: int
    roles: int


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """A page of people, and how many there are in all."""

    lines: tuple[PersonLine, ...]
    earlier: str
    later: str
    total: int


def people(wanted: PersonFilter, *, sort: Sort = "name", cursor: str = "", size: int = keyset.PAGE_SIZE) -> PeoplePage:
    """A page of people. Four queries, and one or two for each directory that speaks of somebody on it."""
    rows = Person.objects.filter(_wanted(wanted)).defer("attributes")
    if sort.lstrip("-") == "seen":
        rows = rows.annotate(seen=Coalesce("claims_at", Value(NEVER), output_field=DateTimeField()))
    sign = "-" if sort.startswith("-") else ""
    keys = (f"{sign}{'seen' if sort.lstrip('-') == 'seen' else 'name'}", f"{sign}id")
    found = keyset.page(rows, keys, cursor, size=size)
    ids = [row.pk for row in found.rows]
    # Somebody has a role at most once, by whatever rules: no need to look at which role a row is about.
    rows_of = Entitlement.objects.filter(person_id__in=ids).values("person_id").order_by()
    roles = dict(rows_of.annotate(number=Count("*")).values_list("person_id", "number"))
    left = _whom_directories_call_gone(found.rows)
    lines = tuple(
        PersonLine(
            row.pk, row.name, row.email, row.subject, row.provider, row.active, row.pk in left, row.claims_at, len(row.groups),
            roles.get(row.pk, 0),
        )
        for row in found.rows
    )  # fmt: skip
    return PeoplePage(lines, found.earlier, found.later, Person.objects.count())


def _whom_directories_call_gone(people: Sequence[Person]) -> set[UUID]:
    """Those whom their directory has disabled or deleted: nothing is minted for them, though they are not disabled here."""
    found: set[UUID] = set()
    for directory in current.mapping().document.directories:
        theirs = [one for one in people if one.provider == directory.provider]
        if theirs:
            found.update(one.pk for one in latest_word.inactive_among(directory, theirs))
    return found


def _wanted(wanted: PersonFilter) -> Q:
    condition = Q()
    for word in wanted.words.split()[:8]:
        condition &= (
            Q(name__icontains=word)
            | Q(email__icontains=word)
            | Q(subject__icontains=word)
            | Q(session_name__icontains=word)
        )
    if wanted.state:
        condition &= Q(active=wanted.state == "active")
    if wanted.provider:
        condition &= Q(provider=wanted.provider)
    if wanted.group:
        condition &= _in_group(wanted.group)
    return condition


def _in_group(group: str) -> Q:
    """Those whose claims have the group; where a directory speaks for their provider, those it has there, through groups in
    groups. A query or a few for each directory.
    """
    mapping = current.mapping()
    instead = [directory.provider for directory in mapping.document.directories if directory.groups != "add"]
    found = Q(pk__in=_claiming(group)) & ~Q(provider__in=instead)
    for directory in mapping.document.directories:
        found |= Q(provider=directory.provider, subject__in=approvers.subjects_in(directory, [group]))
    return found


def _claiming(group: str) -> QuerySet[Person, Any]:
    if connection.vendor == "postgresql":
        return Person.objects.filter(groups__contains=[group]).values("pk")
    named = RawSQL("EXISTS (SELECT 1 FROM json_each(federation_person.groups) WHERE value = %s)", [group])
    return Person.objects.annotate(named=named).filter(named=True).values("pk")


# --- One person --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrantLine:
    """A role that the person has, with the way to it: their groups that the deciding rule names -> the rule -> the role."""

    grant: Grant
    groups: tuple[str, ...]

    @property
    def role(self) -> str:
        """Path and name."""
        return self.grant.role_arn.split(":role/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Access:
    """What a person may use now. `problem`: what stops every mint, with its code; the rest is then what the mapping would give.

    `denied`: (role ARN, the rule that denies it). `matched`: rules whose conditions hold; `unmatched`: the others, at most a
    hundred of `unmatched_total`, each with its reasons.
    """

    problem: RolegateError | None
    groups: tuple[str, ...]
    groups_from: str
    groups_at: datetime | None
    grants: tuple[GrantLine, ...]
    grants_total: int
    denied: tuple[tuple[str, str], ...]
    closed: tuple[str, ...]
    matched: tuple[RuleExplanation, ...]
    unmatched: tuple[RuleExplanation, ...]
    unmatched_total: int
    revision: int


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the portal that is open. `ends_at`: when it ends by itself."""

    created_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Use:
    """Credentials or a console that the person got: may still be in use at AWS. `role_arn`: of which role."""

    at: datetime
    kind: str
    role_arn: str
    access_key_id: str
    expires_at: str


def person(person_id: UUID) -> Person:
    """The row. Raises NotFound."""
    found = Person.objects.filter(pk=person_id).first()
    if found is None:
        raise NotFound("person_unknown", sentence="There is no such person here.")
    return found


def access(who: Person, *, now: datetime, words: str = "", roles: str = "", most: int = _SHOWN_GRANTS) -> Access:
    """Everything about the person's access now. `words`: only rules whose name has them are among those not matched.

    `roles`: only roles with these words in ARN, account or rule; of more than `most` the first are given.
    """
    mapping = current.mapping()
    identity, problem = _identity(who, mapping, now)
    decision = mapping.compiled.decide(identity, now, reachable)
    matched, unmatched, total = _rules(mapping.compiled, identity, now, words)
    directory = mapping.directory_of(who.provider)
    wanted = roles.lower().split()
    grants = [g for g in decision.grants if all(w in f"{g.role_arn} {g.account.name} {g.rule}".lower() for w in wanted)]
    return Access(
        problem, tuple(sorted(identity.groups)), directory.slug if directory else "", None if directory else who.claims_at,
        _lines(grants[:most], identity, mapping.compiled), len(grants), decision.denied, decision.closed, matched, unmatched, total, mapping.number,
    )  # fmt: skip


def _identity(who: Person, mapping: current.CurrentMapping, now: datetime) -> tuple[Identity, RolegateError | None]:
    try:
        return fresh_identity(who, mapping, now=now), None
    except RolegateError as error:
        problem = error
    try:
        return latest_word.identity_of(who, mapping, now=now), problem
    except RolegateError:
        return latest_word.unknown_groups(who), problem


def _lines(grants: Sequence[Grant], identity: Identity, compiled: CompiledMapping) -> tuple[GrantLine, ...]:
    named: dict[str, tuple[str, ...]] = {}
    rules = {rule.rule.name: rule.rule for rule in compiled.rules}
    for grant in grants:
        if grant.rule not in named:
            when = rules[grant.rule].when
            named[grant.rule] = tuple(sorted(compiled.groups_named(identity, (*when.groups, *when.all_of))))
    return tuple(GrantLine(grant, named[grant.rule]) for grant in grants)


def _rules(
    compiled: CompiledMapping, identity: Identity, now: datetime, words: str
) -> tuple[tuple[RuleExplanation, ...], tuple[RuleExplanation, ...], int]:
    matched: list[RuleExplanation] = []
    unmatched: list[RuleExplanation] = []
    total = 0
    for name, holds, tell in explain_rules(compiled, identity, now):
        if holds:
            matched.append(tell())
        elif words.lower() in name.lower():
            total += 1
            if len(unmatched) < _SHOWN_RULES:
                unmatched.append(tell())
    return tuple(matched), tuple(unmatched), total


def portal_sessions(who: Person, *, now: datetime) -> list[Session]:
    """The person's open sessions of the portal, the newest first."""
    rows = PortalSession.objects.filter(person=who, expire_date__gt=now).order_by("-created_at")
    return [Session(row.created_at, row.expire_date) for row in rows]


def paired(who: Person, *, now: datetime) -> list[pair_cli.PairedClient]:
    """The person's paired command lines that still work."""
    return pair_cli.list_grants(who.pk, now=now)


def recent_use(who: Person, *, now: datetime, most: int = 50) -> list[Use]:
    """What the person got within the longest time that an AWS session lives, the newest first."""
    actor = who.actor
    events = AuditEvent.objects.filter(
        actor=actor, kind__in=["credentials", "console"], outcome="ok", at__gt=now - LIVE
    ).order_by("-at", "-seq")[:most]
    return [
        Use(
            event.at, event.kind, str(event.data.get("role_arn", "")), str(event.data.get("access_key_id", "")),
            str(event.data.get("expires_at", "")),
        )
        for event in events
    ]  # fmt: skip


def revoked_at(who: Person, since: datetime) -> datetime | None:
    """When the person's sessions were last ended by hand, if that was since then: what the log says, whatever an address says."""
    rows = AuditEvent.objects.filter(kind=Kind.REVOKED.value, outcome="ok", at__gte=since, data__person=str(who.pk))
    event = rows.exclude(data__sessions=None).order_by("-at", "-seq").first()
    return event.at if event is not None else None


def deny_document(who: Person, *, before: datetime) -> str:
    """The policy that ends what this person has at AWS, to attach to each role that they used."""
    return deny_person(who.session_name, before=before)


# --- Two people --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two people have: each row (role ARN, account name, of the first, of the second), where the two differ first; at most 500.

    `groups_first`, `groups_second`: groups that only the one has; `rules_…`: rules that match only the one.
    """

    rows: tuple[tuple[str, str, bool, bool], ...]
    groups_first: tuple[str, ...]
    groups_second: tuple[str, ...]
    rules_first: tuple[str, ...]
    rules_second: tuple[str, ...]
    both: int


def compare(first: Person, second: Person, *, now: datetime) -> Comparison:
    """Why the one has what the other has not."""
    a, b = access(first, now=now, most=_EVERY), access(second, now=now, most=_EVERY)
    roles_a, roles_b = _by_arn(a), _by_arn(b)
    arns = sorted(roles_a.keys() | roles_b.keys(), key=lambda arn: (arn in roles_a and arn in roles_b, arn))
    arns = arns[:_SHOWN_DIFFERENCES]
    rows = tuple((arn, (roles_a.get(arn) or roles_b[arn]).account.name, arn in roles_a, arn in roles_b) for arn in arns)
    groups_a, groups_b = set(a.groups), set(b.groups)
    rules_a, rules_b = {r.name for r in a.matched}, {r.name for r in b.matched}
    return Comparison(
        rows, tuple(sorted(groups_a - groups_b)), tuple(sorted(groups_b - groups_a)),
        tuple(sorted(rules_a - rules_b)), tuple(sorted(rules_b - rules_a)), len(roles_a.keys() & roles_b.keys()),
    )  # fmt: skip


def _by_arn(of: Access) -> Mapping[str, Grant]:
    return {line.grant.role_arn: line.grant for line in of.grants}


def colleague(text: str) -> Person:
    """The person that a form names: as `manage.py revoke` takes them, or by a unique part of the name. Raises NotFound."""
    try:
        return find_person(text)
    except NotFound:
        found = list(Person.objects.filter(name__icontains=text).order_by("name")[:2])
        if len(found) == 1:
            return found[0]
        raise
