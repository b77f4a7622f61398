"""What a revision would do: who gains what, who loses what and by which rule, on today's people. Pure.

The difference of two decisions of the one engine, person by person: what is shown here is what a mint would decide
(tests/mapping/test_impact.py holds them together). Owns the comparison; what is wrong with rules is in `findings`, when a
second person must look in `second_person`, how it is said in `impact_text`. It never decides anything itself.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from federation.identity import Identity
from federation.mapping.company import Company, Given, Standing, reach_of_everybody
from federation.mapping.durations import format_duration
from federation.mapping.engine import NO_CATALOGUE, CompiledMapping
from federation.mapping.findings import Finding, Tally, findings_of
from federation.mapping.reach import CatalogueReader, Reach
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import (
    NO_OPTIONS,
    Approval,
    Catalogue,
    Document,
    Rule,
    SessionOptions,
    StaffRule,
    is_production,
)
from federation.mapping.session import longest_duration
from federation.mapping.touched import Reached, Touched
from federation.said import listed, say

ChangeKind = Literal["gained", "may_ask", "lost", "may_not_ask", "approval_needed", "approval_lifted", "session"]
OptionCode = Literal["longer", "shorter", "console_longer", "console_shorter", "policy_lifted", "policy_set", "policy_changed", "tags_changed"]  # fmt: skip
Section = Literal["identity_providers", "directories", "accounts", "staff", "mapping", "delegations"]

GAINS: frozenset[str] = frozenset({"gained", "may_ask", "approval_lifted"})
LOSSES: frozenset[str] = frozenset({"lost", "may_not_ask", "approval_needed"})
# A policy that is another one, or other tags (ABAC), may open anything: they count as more until a person has looked.
_OPENING: frozenset[str] = frozenset({"longer", "console_longer", "policy_lifted", "policy_changed", "tags_changed"})
SHOWN_COHORTS, SHOWN_PEOPLE, SHOWN_ROLES = 100, 50, 200
_ANY_APPROVAL = Approval((), 0)
SECTIONS: tuple[Section, ...] = ("identity_providers", "directories", "accounts", "staff", "mapping", "delegations")


class Somebody(NamedTuple):
    """A person of today. `key` is who they are to the audit log, `label` and `email` what people call them.

    `before` and `after`: the identity under the mapping in force and under the new one (they differ where a directory comes
    or goes); None where nothing can be decided on them, and then they have nothing.
    """

    key: str
    label: str
    email: str
    before: Identity | None
    after: Identity | None


class Option(NamedTuple):
    """A session option that is another one now. `before` and `after` as the document would say them, "" for none."""

    code: OptionCode
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RoleChange:
    """What becomes of one role for whoever is concerned.

    `before`, `after`: the deciding rule, "" where none gives it. `denied_by`: the rule that takes it away now, "" if none.
    `production`: the account is production in the old document or in the new one (unmarking it must not hide a gain).
    """

    role_arn: str
    role: str
    account_id: str
    account: str
    production: bool
    kind: ChangeKind
    before: str
    after: str
    denied_by: str = ""
    options: tuple[Option, ...] = ()

    @property
    def widens(self) -> bool:
        """Whether somebody may do more than before."""
        return self.kind in GAINS or any(option.code in _OPENING for option in self.options)


@dataclass(frozen=True, slots=True)
class Cohort:
    """People for whom exactly the same changes, in the order of accounts and roles."""

    people: tuple[Somebody, ...]
    changes: tuple[RoleChange, ...]


@dataclass(frozen=True, slots=True)
class RightChange:
    """A person's rights in the gateway itself. Each right is `owner`, or `account-owner of shop-prod, shop-dev`."""

    person: Somebody
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What publishing would do. `people`: how many were looked at; `undecided`: how many of them nothing can be decided on.

    `sections`: what differs in the document. `rules`: names of those that are new, gone or changed. `unmarked`: accounts that
    are no longer production. `findings`: what is wrong with the new mapping's rules; those that are new with this revision say so.
    `counts`: the headline, people and (person, role) pairs by what happens to them. `production`: ARNs of the production roles
    with which somebody may do more than before.
    """

    people: int
    undecided: int
    cohorts: tuple[Cohort, ...] = ()
    rights: tuple[RightChange, ...] = ()
    sections: tuple[Section, ...] = ()
    rules_added: tuple[str, ...] = ()
    rules_removed: tuple[str, ...] = ()
    rules_changed: tuple[str, ...] = ()
    unmarked: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    counts: Mapping[str, int] = field(init=False)
    production: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        counts, production = _counted(self)
        object.__setattr__(self, "counts", MappingProxyType(counts))
        object.__setattr__(self, "production", production)

    @property
    def is_empty(self) -> bool:
        """Whether nobody's access and nobody's rights change."""
        return not self.cohorts and not self.rights

    def of(self, key: str) -> tuple[RoleChange, ...]:
        """What changes for one person."""
        return next((c.changes for c in self.cohorts if any(person.key == key for person in c.people)), ())

    def digest(self) -> str:
        """SHA-256 over everybody and everything that changes, hex: what was previewed is what is published."""
        marks: dict[int, bytes] = {}
        lines = []
        for cohort in self.cohorts:
            for change in cohort.changes:
                if id(change) not in marks:
                    marks[id(change)] = hashlib.sha256(repr(change).encode("utf-8", "backslashreplace")).digest()
            of_changes = hashlib.sha256(b"".join(sorted(marks[id(change)] for change in cohort.changes))).hexdigest()
            lines += [[person.key, of_changes] for person in cohort.people]
        rights = sorted([change.person.key, list(change.gained), list(change.lost)] for change in self.rights)
        text = json.dumps([sorted(lines), rights, self.sections, self.unmarked], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, bounded: the largest groups of people, each with some names, and exact counts of all."""
        return {
            "counts": dict(self.counts),
            "sections": list(self.sections),
            "rules": {
                "added": list(self.rules_added[:SHOWN_ROLES]),
                "removed": list(self.rules_removed[:SHOWN_ROLES]),
                "changed": list(self.rules_changed[:SHOWN_ROLES]),
            },
            "production": list(self.production[:SHOWN_ROLES]),
            "unmarked": list(self.unmarked[:SHOWN_ROLES]),
            "cohorts": [
                {
                    "people": len(cohort.people),
                    "names": [_name(person) for person in cohort.people[:SHOWN_PEOPLE]],
                    "changes": [_plain(change) for change in cohort.changes[:SHOWN_ROLES]],
                    "more_changes": max(0, len(cohort.changes) - SHOWN_ROLES),
                }
                for cohort in self.cohorts[:SHOWN_COHORTS]
            ],
            "more_cohorts": max(0, len(self.cohorts) - SHOWN_COHORTS),
            "rights": [
                {"person": _name(change.person), "gained": list(change.gained), "lost": list(change.lost)}
                for change in self.rights[:SHOWN_ROLES]
            ],
            "findings": [finding.as_dict() for finding in self.findings[:SHOWN_ROLES]],
            "more_findings": max(0, len(self.findings) - SHOWN_ROLES),
            "digest": self.digest(),
        }


_COUNTED: Mapping[str, str] = {
    "gained": "gained", "may_ask": "gained", "lost": "lost", "may_not_ask": "lost",
    "approval_needed": "approval_needed", "approval_lifted": "approval_lifted", "session": "session",
}  # fmt: skip


def _counted(impact: Impact) -> tuple[dict[str, int], tuple[str, ...]]:
    # Counted by object, since equal changes are mostly one, and only then asked what each is: 5,000 people may have 400,000.
    told = {id(change): change for cohort in impact.cohorts for change in cohort.changes}
    numbered = [(len(cohort.people), list(map(id, cohort.changes))) for cohort in impact.cohorts]
    of_size: dict[int, Counter[int]] = {}
    for size, numbers in numbered:
        of_size.setdefault(size, Counter()).update(numbers)
    pairs: dict[str, int] = dict.fromkeys(("gained", "lost", "approval_needed", "approval_lifted", "session"), 0)
    for size, counted in of_size.items():
        for number, count in counted.items():
            pairs[_COUNTED[told[number].kind]] += size * count
    gains = {number for number, change in told.items() if change.kind in GAINS}
    losses = {number for number, change in told.items() if change.kind in LOSSES}
    opening = {number for number, change in told.items() if change.production and change.widens}
    people = dict.fromkeys(("affected", "gain", "lose", "production_gain"), 0)
    for size, numbers in numbered:
        people["affected"] += size
        people["gain"] += size * (not gains.isdisjoint(numbers))
        people["lose"] += size * (not losses.isdisjoint(numbers))
        people["production_gain"] += size * (not opening.isdisjoint(numbers))
    gained = {told[number].role_arn for number in gains if told[number].kind != "approval_lifted"}
    lost = {told[number].role_arn for number in losses if told[number].kind != "approval_needed"}
    counts = {
        "people": impact.people, "undecided": impact.undecided,
        **{f"people_{name}": count for name, count in people.items()},
        **pairs, "roles_gained": len(gained), "roles_lost": len(lost), "rights": len(impact.rights),
    }  # fmt: skip
    return counts, tuple(sorted({told[number].role_arn for number in opening}))


class Side:
    """One of the two documents that are compared, with what it gives to everybody."""

    def __init__(self, mapping: CompiledMapping, now: datetime, catalogue: Catalogue) -> None:
        # Each side sees the accounts of its own document: the catalogue must not bring back one that has been taken out.
        known = {account_id: roles for account_id, roles in catalogue.items() if account_id in mapping.accounts}
        self.mapping, self.catalogue = mapping, known
        self.company = Company(mapping, now, known, deciding_only=True)
        self.rules: dict[str, Rule] = {rule.name: rule for rule in mapping.document.rules}

    def standing(self, identity: Identity | None, only: frozenset[str] | None = None) -> Standing:
        """What the identity has (`only`: of these roles alone); a silent directory closes production for a while only, and is
        no part of the document.
        """
        if identity is None:
            return NOTHING
        if identity.directory_stale:
            identity = replace(identity, directory_stale=False)
        return self.company.standing(identity, only)

    def role_maximum(self, given: Given) -> int | None:
        """The role's MaxSessionDuration in seconds, None where the catalogue does not say."""
        listing = self.catalogue.get(given.account_id)
        role = listing.get(given.role_arn) if listing is not None else None
        return role.max_session_duration if role is not None else None


NOTHING = Standing(())


def assess(
    before: CompiledMapping,
    after: CompiledMapping,
    everybody: Sequence[Somebody],
    now: datetime,
    catalogue: Catalogue | CatalogueReader = NO_CATALOGUE,
) -> Impact:
    """What publishing `after` would do to `everybody` at `now` (aware; ValueError otherwise).

    A reader is called once, with what anybody could reach under either document; what it raises comes through.
    """
    if not isinstance(catalogue, Mapping):
        catalogue = catalogue(both_reach(before, after))
    old, new = Side(before, now, catalogue), Side(after, now, catalogue)
    touched = Touched(old.company, new.company)
    if _gives_alike(before.document, after.document):
        old.company = new.company  # what it has worked out is said of both, and differs in the sessions alone
    added, removed, changed = changed_rules(before.document, after.document)
    differ, had, tally = _Differ(old, new), Tally(), Tally()
    names = [rule.name for rule in after.document.rules]
    changes = []
    for person in everybody:
        numbers = new.company.holding(person.after) if person.after is not None else ()
        tally.match(numbers)
        reached = touched.by(person.before, person.after, numbers)
        if reached is not None:
            # Where most of somebody's rules have changed, most of their roles may: looking for which is the longer way.
            most = len(reached.new) * 2 > len(numbers)
            only = None if most else _may_change(reached, person.before, old.company, new.company)
            was, will = old.standing(person.before, only), new.standing(person.after, only)
            had.add(was)
            tally.add(will)
            found = differ.of(was, will)
            if found:
                changes.append((person, found))
            if only is None:
                continue  # all that the person can tell of the new rules has been counted
        if person.after is not None and (unsettled := tally.unsettled(numbers, names)):
            tally.add(new.standing(person.after, new.company.given_by(person.after, unsettled)))
    return Impact(
        people=len(everybody),
        undecided=sum(person.before is None and person.after is None for person in everybody),
        cohorts=cohorts_of(changes, differ.changes),
        rights=right_changes(before, after, everybody),
        sections=changed_sections(before.document, after.document),
        rules_added=added,
        rules_removed=removed,
        rules_changed=changed,
        unmarked=unmarked_accounts(before.document, after.document),
        findings=_with_news(findings_of(after, tally, now, new.catalogue), had, old, new, now),
    )


def _gives_alike(before: Document, after: Document) -> bool:
    """Whether both give the same roles to the same people by the same rules, asked for or not: only the sessions differ."""
    if before.accounts != after.accounts:
        return False
    without = (
        [replace(rule, session=NO_OPTIONS, approval=rule.approval and _ANY_APPROVAL) for rule in document.rules]
        for document in (before, after)
    )
    return next(without) == next(without)


def _may_change(reached: Reached, identity: Identity | None, before: Company, after: Company) -> frozenset[str] | None:
    """ARNs of the roles with which something may change for a person: a role that no changed rule gives, under either document,
    is given by the same rules in the same order as before. None: any may, as where one of the rules is a deny.
    """
    if reached.whole or identity is None:
        return None
    old, new = before.given_by(identity, reached.old), after.given_by(identity, reached.new)
    return None if old is None or new is None else old | new


def _with_news(found: Iterable[Finding], had: Tally, old: Side, new: Side, now: datetime) -> tuple[Finding, ...]:
    """The findings, those marked that are new: of a rule that is not as it was, or that did something for somebody concerned."""
    before = {(f.rule, f.code) for f in findings_of(old.mapping, None, now, old.catalogue)}
    decided = had.deciding
    told = []
    for finding in found:
        if old.rules.get(finding.rule) != new.rules[finding.rule]:
            is_new = True
        elif finding.code in {"shadowed", "takes_nothing"}:
            is_new = finding.rule in decided
        elif finding.code == "matches_nobody":
            is_new = finding.rule in had.matched
        else:
            is_new = (finding.rule, finding.code) not in before
        told.append(replace(finding, is_new=is_new))
    return tuple(told)


def both_reach(before: CompiledMapping, after: CompiledMapping) -> Reach:
    """What the decision on anybody can look at, under one of the two documents."""
    one, other = reach_of_everybody(before), reach_of_everybody(after)
    wanted = tuple(dict.fromkeys(one.wanted + other.wanted))
    return Reach(wanted, one.arns | other.arns, one.accounts | other.accounts)


class _Differ:
    """The difference of two standings, worked out once for each pair of them. What changes is told by number: most people have
    changes in common, and a number is compared and ordered at a fraction of what the change itself costs.
    """

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.changes: list[RoleChange] = []
        """Each change that somebody has, once, by its number."""
        self._same = {name for name, rule in after.rules.items() if before.rules.get(name) == rule}
        self._known: dict[tuple[int, int], tuple[Standing, Standing, tuple[int, ...]]] = {}
        # By what a role was and is given by, and the deny: a company keeps what it gives, so that no `id` is given to another.
        self._told_of: dict[tuple[int, int, str], int] = {}
        self._numbers: dict[RoleChange, int] = {}
        self._options: dict[tuple[str, str, int | None], tuple[Option, ...]] = {}
        self._accounts: dict[str, tuple[str, bool]] = {}

    def of(self, was: Standing, will: Standing) -> tuple[int, ...]:
        """Numbers of what changes, ascending."""
        key = id(was), id(will)  # both are kept with the answer, so that neither number is given to another
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = was, will, self._work_out(was, will)
        return known[2]

    def _work_out(self, was: Standing, will: Standing) -> tuple[int, ...]:
        told_of = self._told_of
        found = []
        if was is will:  # the same roles by the same rules: only what the rules say of sessions may differ
            for one in was.grants:
                number = told_of.get((id(one), id(one), ""))
                found.append(self._number(one, one) if number is None else number)
        else:
            old = {given.role_arn: given for given in was.grants}
            new = {given.role_arn: given for given in will.grants}
            for arn, one in old.items():
                other = new.get(arn)
                if other is not None and (one.rule != other.rule or one.rule not in self._same):
                    found.append(self._number(one, other))
            denied = dict(will.denied)
            found += [self._number(old[arn], None, denied.get(arn, "")) for arn in old.keys() - new.keys()]
            found += [self._number(None, new[arn]) for arn in new.keys() - old.keys()]
        found.sort()
        return tuple(found if not found or found[0] >= 0 else [number for number in found if number >= 0])

    def _number(self, one: Given | None, other: Given | None, denied_by: str = "") -> int:
        """The number of a change, below zero for none."""
        key = id(one), id(other), denied_by
        known = self._told_of.get(key)
        if known is not None:
            return known
        change = self._told(one, other, denied_by)
        number = -1
        if change is not None:
            number = self._numbers.setdefault(change, len(self.changes))
            if number == len(self.changes):
                self.changes.append(change)
        self._told_of[key] = number
        return number

    def _told(self, one: Given | None, other: Given | None, denied_by: str) -> RoleChange | None:
        given = other or one
        if given is None:
            return None
        options: tuple[Option, ...] = ()
        kind: ChangeKind
        if one is None:
            kind = "may_ask" if given.needs_approval else "gained"
        elif other is None:
            kind = "may_not_ask" if one.needs_approval else "lost"
        else:
            options = self._option_changes(one.rule, other.rule, self.after.role_maximum(other))
            kind = "session"
            if one.needs_approval is not other.needs_approval:
                kind = "approval_needed" if other.needs_approval else "approval_lifted"
            elif not options:
                return None
        name, production = self._account(given.account_id)
        arn = parse_role_arn(given.role_arn)
        return RoleChange(
            role_arn=given.role_arn,
            role=arn.qualified if arn else given.role_name,
            account_id=given.account_id,
            account=name,
            production=production,
            kind=kind,
            before=one.rule if one else "",
            after=other.rule if other else "",
            denied_by=denied_by,
            options=options,
        )

    def _option_changes(self, before: str, after: str, role_maximum: int | None) -> tuple[Option, ...]:
        key = before, after, role_maximum
        if key not in self._options:
            sessions = self.before.rules[before].session, self.after.rules[after].session
            self._options[key] = option_changes(*sessions, role_maximum)
        return self._options[key]

    def _account(self, account_id: str) -> tuple[str, bool]:
        """Its name, and whether it is production in one of the two documents."""
        if account_id not in self._accounts:
            found = [side.mapping.accounts.get(account_id) for side in (self.after, self.before)]
            known = [account for account in found if account is not None]
            name = known[0].name if known else account_id
            self._accounts[account_id] = name, any(is_production(account) for account in known)
        return self._accounts[account_id]


def cohorts_of(
    changed: Iterable[tuple[Somebody, tuple[int, ...]]], changes: Sequence[RoleChange]
) -> tuple[Cohort, ...]:
    """The people with the same changes put together, the most people first. `changed`: ascending numbers in `changes`."""
    places = [(change.account, change.role, change.role_arn) for change in changes]
    ranks = [0] * len(changes)
    for rank, number in enumerate(sorted(range(len(changes)), key=places.__getitem__)):
        ranks[number] = rank
    together: dict[tuple[int, ...], list[Somebody]] = {}
    for person, numbers in changed:
        together.setdefault(numbers, []).append(person)
    found = [
        Cohort(
            tuple(sorted(people, key=lambda person: (person.label.casefold(), person.key))),
            tuple([changes[number] for number in sorted(numbers, key=ranks.__getitem__)]),
        )
        for numbers, people in together.items()
    ]
    return tuple(sorted(found, key=lambda cohort: (-len(cohort.people), cohort.people[0].label, cohort.people[0].key)))


def changed_sections(before: Document, after: Document) -> tuple[Section, ...]:
    """Which sections of the document differ. A rule that only moved in the file counts: the order decides which one rules."""
    pairs = {
        "identity_providers": (before.identity_providers, after.identity_providers),
        "directories": (before.directories, after.directories),
        "accounts": (before.accounts, after.accounts),
        "staff": (before.staff, after.staff),
        "mapping": (before.rules, after.rules),
        "delegations": (before.delegations, after.delegations),
    }
    return tuple(name for name in SECTIONS if pairs[name][0] != pairs[name][1])


def changed_rules(before: Document, after: Document) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of the rules that are new, gone and changed, in the documents' order."""
    old = {rule.name: rule for rule in before.rules}
    new = {rule.name: rule for rule in after.rules}
    return (
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name, rule in new.items() if name in old and old[name] != rule),
    )


def unmarked_accounts(before: Document, after: Document) -> tuple[str, ...]:
    """Ids of accounts that are still there and no longer production."""
    still = {account.id: account for account in after.accounts}
    return tuple(a.id for a in before.accounts if is_production(a) and a.id in still and not is_production(still[a.id]))


def right_changes(
    before: CompiledMapping, after: CompiledMapping, everybody: Sequence[Somebody]
) -> tuple[RightChange, ...]:
    """Whose rights in the gateway change, and how."""
    if before.document.staff == after.document.staff and before.document.accounts == after.document.accounts:
        same = all(person.before is person.after for person in everybody)
        if same:
            return ()
    had_labels, has_labels = _labels(before), _labels(after)
    found = []
    for person in everybody:
        had, has = _rights(before, person.before, had_labels), _rights(after, person.after, has_labels)
        if had != has:
            found.append(RightChange(person, tuple(sorted(has - had)), tuple(sorted(had - has))))
    return tuple(found)


def _labels(compiled: CompiledMapping) -> list[tuple[StaffRule, str]]:
    found = []
    for entry in compiled.document.staff:
        names = sorted(account.name for account in compiled.accounts_of(entry.accounts)) if entry.accounts else []
        found.append((entry, entry.role + (f" of {', '.join(names)}" if names else "")))
    return found


def _rights(compiled: CompiledMapping, identity: Identity | None, labels: list[tuple[StaffRule, str]]) -> set[str]:
    if identity is None:
        return set()
    return {label for entry, label in labels if compiled.has_right(identity, entry)}


def option_changes(one: SessionOptions, other: SessionOptions, role_maximum: int | None) -> tuple[Option, ...]:
    """What differs in the sessions that two rules give, as far as it matters to anybody."""
    found: list[Option] = []
    old, new = longest_duration(one, role_maximum), longest_duration(other, role_maximum)
    if old != new:
        found.append(Option("longer" if new > old else "shorter", format_duration(old), format_duration(new)))
    if one.console_duration != other.console_duration:
        had, has = one.console_duration or 0, other.console_duration or 0
        said = [format_duration(seconds) if seconds else "" for seconds in (had, has)]
        found.append(Option("console_longer" if has > had else "console_shorter", *said))
    had_policy, has_policy = ((o.policy, tuple(sorted(o.policy_arns))) for o in (one, other))
    if had_policy != has_policy:
        code: OptionCode = "policy_changed"
        if not any(has_policy):
            code = "policy_lifted"
        elif not any(had_policy):
            code = "policy_set"
        found.append(Option(code, _policy(one), _policy(other)))
    if dict(one.tags) != dict(other.tags) or set(one.transitive_tags) != set(other.transitive_tags):
        found.append(Option("tags_changed", _tags(one), _tags(other)))
    return tuple(found)


def _policy(options: SessionOptions) -> str:
    inline = options.policy if options.policy in {"", "read-only"} else say("an inline policy")
    return listed([part for part in (inline, *options.policy_arns) if part])


def _tags(options: SessionOptions) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(options.tags.items()))


def _plain(change: RoleChange) -> dict[str, Any]:
    return {
        "role_arn": change.role_arn, "role": change.role, "account_id": change.account_id, "account": change.account,
        "production": change.production, "kind": change.kind, "before": change.before, "after": change.after,
        "denied_by": change.denied_by,
        "options": [{"code": o.code, "before": o.before, "after": o.after} for o in change.options],
    }  # fmt: skip


def _name(person: Somebody) -> dict[str, str]:
    return {"key": person.key, "name": person.label, "email": person.email}
