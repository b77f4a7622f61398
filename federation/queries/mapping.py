"""The mapping as the console shows it: rules beside their text, drafts, history; constant numbers of queries, no rule of its own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db.models import Q

from federation.aws.arns import parse_role_arn
from federation.errors import BadRequest, NotFound
from federation.flows import assess_mapping, written_mapping
from federation.flows.assess_mapping import Measure
from federation.mapping.document import DocumentError, Fault, parse
from federation.mapping.explain import Explanation, explain
from federation.mapping.patterns import is_glob
from federation.mapping.rolearn import ACCOUNT_ID
from federation.mapping.rules import Account, AccountSelector, Document, Rule, When
from federation.mapping.spans import CannotPlace, rule_spans
from federation.mapping.yamltree import Unreadable
from federation.models import current
from federation.models.accounts import Role
from federation.models.catalogue import reachable, whole
from federation.models.directory import DirectoryGroup
from federation.models.mapping import MappingDraft, MappingRevision
from federation.models.people import Person
from federation.queries.catalogue import FOR_SERVICES_ALONE, KEPT_FROM_PEOPLE

Effect = Literal["allow", "deny", "approval", ""]
PAGE = 50
SHOWN_RULES = 200
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUGGESTED = 30
_FOUND = 8


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule as the table shows it. `who`, `where`: (kind, text) parts, such as ("groups", "engineering").

    `first` and `last`: its lines in the text, 0 where they are not known. `placed`: it can be changed by its lines.
    `measure` is None where nothing was counted.
    """

    number: int
    name: str
    first: int
    last: int
    effect: Effect
    who: tuple[tuple[str, str], ...] = ()
    gives: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    duration: int | None = None
    policy: bool = False
    approvers: tuple[str, ...] = ()
    placed: bool = False
    measure: Measure | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A text and its rules in step. `document` is None while the text has faults; `rules` are then what can be told from its lines."""

    rules: tuple[RuleLine, ...]
    faults: tuple[Fault, ...]
    document: Document | None

    @property
    def shown(self) -> tuple[RuleLine, ...]:
        """The rules that a table of bearable length shows: those with faults, and the first others, in order."""
        if len(self.rules) <= SHOWN_RULES:
            return self.rules
        faulty = [rule for rule in self.rules if rule.faults][:SHOWN_RULES]
        others = [rule for rule in self.rules if not rule.faults][: SHOWN_RULES - len(faulty)]
        return tuple(sorted((*faulty, *others), key=lambda rule: rule.number))

    @property
    def left_out(self) -> int:
        """How many rules are not shown."""
        return len(self.rules) - len(self.shown)


def sheet(text: str, *, now: datetime, measured: bool = True) -> Sheet:
    """The rules of a text, with their lines and (if it has no faults) what each does to the people of today."""
    faults: tuple[Fault, ...] = ()
    document = None
    try:
        document = written_mapping.read(text)
    except DocumentError as error:
        faults = error.faults
    try:
        spans = rule_spans(text)
    except (Unreadable, CannotPlace):
        spans = ()
    if document is None:
        lines = tuple(
            RuleLine(
                span.number, span.name, span.first, span.last, "", placed=True,
                faults=tuple(fault for fault in faults if span.first <= fault.line <= span.last),
            )
            for span in spans
        )  # fmt: skip
        return Sheet(lines, faults, None)
    counted = assess_mapping.measure(document, now=now) if measured else {}
    found = []
    for number, rule in enumerate(document.rules):
        span = spans[number] if number < len(spans) else None
        line = rule_line(number, rule, counted.get(rule.name))
        found.append(replace(line, first=span.first, last=span.last, placed=True) if span else line)
    return Sheet(tuple(found), (), document)


def rule_line(number: int, rule: Rule, measure: Measure | None = None) -> RuleLine:
    """A parsed rule as the table shows it."""
    target = rule.allow or rule.deny
    effect: Effect = "deny" if rule.deny is not None else "approval" if rule.approval else "allow"
    return RuleLine(
        number=number,
        name=rule.name,
        first=rule.line,
        last=rule.line,
        effect=effect,
        who=tuple(_who(rule.when)),
        gives=(*target.roles, *target.arns) if target else (),
        where=tuple(_where(target.accounts)) if target else (),
        duration=rule.session.duration,
        policy=bool(rule.session.policy or rule.session.policy_arns),
        approvers=tuple(str(match) for match in rule.approval.by) if rule.approval else (),
        measure=measure,
    )


def _who(when: When) -> Iterator[tuple[str, str]]:
    yield from (("groups", str(match)) for match in when.groups)
    yield from (("all_of", str(match)) for match in when.all_of)
    yield from (("none_of", str(match)) for match in when.none_of)
    yield from (("provider", slug) for slug in when.provider)
    yield from (("attributes", f"{name}={' | '.join(values)}") for name, values in when.attributes.items())
    if when.mfa is not None:
        yield ("mfa" if when.mfa else "no_mfa"), ""
    if when.from_ is not None:
        yield "from", f"{when.from_:%Y-%m-%d %H:%M} UTC"
    if when.until is not None:
        yield "until", f"{when.until:%Y-%m-%d %H:%M} UTC"


def _where(selector: AccountSelector | None) -> Iterator[tuple[str, str]]:
    if selector is None:
        yield "every", ""
        return
    if "*" in selector.names:
        yield "every", ""
        return
    yield from (("account", one) for one in (*selector.names, *selector.ids))
    yield from (("tag", f"{key}={' | '.join(values)}") for key, values in selector.tags.items())
    yield from (("unit", unit) for unit in selector.organizational_units)


def measure_of_one(text: str, number: int, *, now: datetime) -> tuple[RuleLine | None, tuple[Fault, ...]]:
    """What one rule of a text would do, for "matches 312 people, gives 4 roles" while somebody types it; or its faults.

    The rule alone is counted: what a deny takes from it, the preview tells. `number`: from 0, or -1 for the last.
    """
    try:
        document = parse(text)
    except DocumentError as error:
        return None, error.faults
    rule = document.rules[number]
    counted = assess_mapping.measure(replace(document, rules=(rule,)), now=now)
    return rule_line(number, rule, counted.get(rule.name)), ()


# --- In force, drafts, history --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InForce:
    """The revision in force. `found`: the rules that a search leaves, `shown` those of this page."""

    number: int
    published_at: datetime | None
    author: str
    total: int
    found: int
    shown: tuple[RuleLine, ...]


def called(actors: Iterable[str]) -> dict[str, str]:
    """What people call the actors of events and revisions: actor -> name, or the actor itself for one who is no person. One query.

    A refusal may name its person by their id alone.
    """
    wanted = {actor for actor in actors if actor}
    sessions = [actor.partition(":")[2] for actor in wanted]
    ids = [actor for actor in wanted if _ID.fullmatch(actor)]
    found = Person.objects.filter(Q(session_name__in=sessions) | Q(pk__in=ids))
    people = list(found.only("provider", "session_name", "name", "email"))
    known = {key: person.name or person.email for person in people for key in (person.actor, str(person.pk))}
    return {actor: known.get(actor) or actor for actor in wanted}


def in_force(*, query: str, page: int) -> InForce:
    """One page of the rules in force whose name, groups, roles or accounts have every word of the query. Three queries."""
    mapping = current.mapping()
    words = query.casefold().split()
    lines = [rule_line(number, rule) for number, rule in enumerate(mapping.document.rules)]
    found = [line for line in lines if all(word in _text_of(line) for word in words)] if words else lines
    row = MappingRevision.objects.filter(number=mapping.number).values_list("published_at", "author").first()
    start = (page - 1) * PAGE
    author = called([row[1]])[row[1]] if row and row[1] else ""
    return InForce(
        mapping.number, row[0] if row else None, author, len(lines), len(found), tuple(found[start : start + PAGE])
    )  # fmt: skip


def _text_of(line: RuleLine) -> str:
    parts = [line.name, *line.gives, *line.approvers, *(text for _, text in (*line.who, *line.where))]
    return " ".join(parts).casefold()


@dataclass(frozen=True, slots=True)
class DraftLine:
    """A draft in a list. `stale`: another revision has been published since it was begun."""

    id: UUID
    author: str
    mine: bool
    comment: str
    note: str
    status: str
    base: int
    changed_at: datetime
    affected: int | None
    stale: bool


def drafts(person: Person) -> tuple[DraftLine, ...]:
    """Those that wait for a second person, and the person's own that are open; the newest first. One query."""
    number = current.mapping().number
    waiting = Q(status=MappingDraft.Status.WAITING)
    own = Q(status=MappingDraft.Status.DRAFT, author=person)
    rows = MappingDraft.objects.filter(waiting | own).select_related("author").defer("text").order_by("-changed_at")
    return tuple(
        DraftLine(
            row.pk, row.author.name or row.author.subject, row.author_id == person.pk, row.comment, row.note, row.status,
            row.base, row.changed_at, row.preview.get("counts", {}).get("people_affected"), row.base != number,
        )
        for row in rows[:PAGE]
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RevisionLine:
    """A revision in the list of all."""

    number: int
    published_at: datetime
    author: str
    published_by: str
    comment: str
    counts: dict[str, int]


def history(*, before: int | None = None) -> tuple[tuple[RevisionLine, ...], int | None]:
    """One page of revisions, the newest first, from below number `before`; and where the next page begins. Two queries."""
    rows = MappingRevision.objects.order_by("-number").defer("text", "diff")
    if before is not None:
        rows = rows.filter(number__lt=before)
    found = list(rows[: PAGE + 1])
    name_of = called(actor for row in found for actor in (row.author, row.published_by)).get
    shown = tuple(
        RevisionLine(
            row.number,
            row.published_at,
            name_of(row.author, ""),
            name_of(row.published_by, ""),
            row.comment,
            row.impact.get("counts", {}),
        )
        for row in found[:PAGE]
    )
    return shown, shown[-1].number if len(found) > PAGE else None


def revision(number: int) -> MappingRevision | None:
    """One revision with its text, difference and impact."""
    return MappingRevision.objects.filter(number=number).first()


def known_revision(number: int) -> MappingRevision:
    """As `revision`. Raises NotFound where there is none."""
    found = revision(number)
    if found is None:
        raise NotFound("no_such_revision")
    return found


def changed_between(base: int) -> str:
    """What others have published since a draft's base: the difference from it to what is in force."""
    newest = MappingRevision.objects.order_by("-number").first()
    return assess_mapping.diff_to(newest.text, base) if newest is not None else ""


# --- Filling in a form, trying a draft out ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """An account that a rule can name. `called`: how: by its name where the document has it, by its id where only AWS does."""

    account: Account
    called: str


def accounts_of(text: str) -> tuple[Choice, ...]:
    """The accounts that a rule of this text can name, by name: the document's own, and the organization's. () with faults."""
    try:
        document = parse(text)
    except DocumentError:
        return ()
    own = {account.id for account in document.accounts}
    known = sorted(current.completed(document).accounts, key=lambda account: (account.name.casefold(), account.id))
    return tuple(
        Choice(
            one,
            one.name if one.id in own and not is_glob(one.name) and not ACCOUNT_ID.fullmatch(one.name) else one.id,
        )
        for one in known
    )


def roles_in(account_ids: Collection[str]) -> tuple[str, ...]:
    """Names of the roles that these accounts are known to have and people can get, each once. One query, none without an account."""
    if not account_ids:
        return ()
    rows = Role.objects.filter(account_id__in=account_ids, present=True)
    rows = rows.exclude(KEPT_FROM_PEOPLE).exclude(FOR_SERVICES_ALONE).order_by("name", "path")
    return tuple(f"{path}/{name}" if path else name for path, name in rows.values_list("path", "name").distinct()[:500])


def groups_like(part: str) -> tuple[str, ...]:
    """Groups whose names have `part` in them: of the directories, and of those who signed in last. Two queries."""
    wanted = part.strip().casefold()
    if not wanted:
        return ()
    found = set(
        DirectoryGroup.objects.filter(display_name__icontains=part.strip()).values_list("display_name", flat=True)[
            :_SUGGESTED
        ]
    )
    people = Person.objects.filter(active=True).order_by("-claims_at").values_list("groups", flat=True)[:300]
    for groups in people:
        found.update(group for group in groups if wanted in group.casefold())
        if len(found) >= _SUGGESTED:
            break
    return tuple(sorted(found))[:_SUGGESTED]


@dataclass(frozen=True, slots=True)
class Trial:
    """Would somebody get a role? `choices`: people among whom the question must choose first."""

    person: str
    role_arn: str
    explanation: Explanation | None
    choices: tuple[Person, ...] = ()


def people_like(text: str) -> tuple[Person, ...]:
    """People whose name, e-mail or subject has `text` in it; one alone where one is exactly meant. One query."""
    rows = Person.objects.filter(Q(name__icontains=text) | Q(email__icontains=text) | Q(subject__icontains=text))
    found = list(rows.order_by("name", "subject")[:_FOUND])
    exact = [p for p in found if text.casefold() in {p.name.casefold(), p.email.casefold(), p.subject.casefold()}]
    return tuple(exact if len(exact) == 1 else found)


def would_get(text: str, person: Person, wanted: str, *, now: datetime) -> Trial:
    """Whether a person would get a role by a text that is not published, and why; by the engine that decides.

    `wanted`: a role ARN, or account and role such as `shop-prod/ReadOnly`. Raises DocumentError, BadRequest, ArnInvalid,
    PersonDisabled, NotInDirectory, UnknownProvider.
    """
    document = parse(text)
    arn = _arn(current.completed(document).accounts, wanted)
    account_id = parse_role_arn(arn).account_id
    compiled, identity = assess_mapping.identity_in(person, document, now=now)
    known = reachable(whole(account_id)) if account_id in compiled.accounts else {}
    return Trial(person.name or person.subject, arn, explain(compiled, identity, arn, now, known))


def role_named(wanted: str) -> str:
    """The ARN of a role that is named by it, or by account and role such as `shop-prod/ReadOnly`. Raises BadRequest."""
    return _arn(tuple(current.mapping().compiled.accounts.values()), wanted)


def _arn(accounts: Sequence[Account], wanted: str) -> str:
    if wanted.strip().startswith("arn:"):
        return wanted.strip()
    place, slash, role = wanted.strip().partition("/")
    account = next((one for one in accounts if place.strip() in {one.name, one.id}), None)
    if account is None or not slash or not role.strip():
        raise BadRequest(
            "role_unclear", sentence="Name the role by its ARN, or by account and role such as shop-prod/ReadOnly."
        )
    return f"arn:{account.partition}:iam::{account.id}:role/{role.strip()}"
