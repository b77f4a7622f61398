"""The decision: which roles an identity has now, which it would have but for a deny, and why.

Deny wins. Unknown is no. Any error is no. `decide` lists everything and is for pages and reports; `verdict` answers
for one role and is what minting asks, each time. Both say the same (tests/mapping/test_verdict_equals_decide.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple

from federation.identity import Identity
from federation.mapping.conditions import Answer, Condition, Facts, bindings, conditions_of, gather, holds
from federation.mapping.groups import GroupIndex
from federation.mapping.patterns import captures_of
from federation.mapping.reach import CatalogueReader, Reach, Wanted, reach
from federation.mapping.rolearn import RoleArn, is_reserved, parse_role_arn
from federation.mapping.rules import (
    Account,
    AccountSelector,
    Approval,
    Catalogue,
    Document,
    GroupMatch,
    Rule,
    SessionOptions,
    StaffRule,
    is_production,
)
from federation.mapping.targets import NO_CAPTURES, Captures, Chosen, CompiledTarget, Listing, RolesOfAccount, selects
from federation.said import say

VerdictCode = Literal[
    "allowed",
    "denied_by_rule",
    "no_matching_rule",
    "approval_required",
    "directory_stale",
    "account_unknown",
    "role_unknown",
    "role_reserved",
    "arn_invalid",
]
NO_CATALOGUE: Catalogue = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that rules give. `rule`: the one whose session options, approval and captures count; `rules`: all that give it.

    The first rule in the document's order without an approval counts, else the first with one; a role's own tags only where no
    rule of the document gives it. `role_name` is without path.
    `role_maximum`: the role's MaxSessionDuration in seconds, None where the catalogue does not say.
    """

    role_arn: str
    role_name: str
    account: Account
    rule: str
    rules: tuple[str, ...]
    session: SessionOptions
    approval: Approval | None
    captures: Mapping[str, str]
    role_maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`grants` by account name, then role name, those that need an approval too. `denied`: (role ARN, first rule that denies it).

    `closed`: role ARNs that rules give, in accounts that are closed because the person's directory has long been silent.
    """

    grants: tuple[Grant, ...]
    denied: tuple[tuple[str, str], ...]
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code, a sentence, and the rule that it is about, if one."""

    code: str
    sentence: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one role. `grant` is there if the code is allowed or approval_required."""

    allowed: bool
    code: VerdictCode
    grant: Grant | None = None
    reasons: tuple[Reason, ...] = field(default=())


class CompiledRule(NamedTuple):
    """A rule with its conditions and its one target. `captures`: its groups have expressions with captures."""

    rule: Rule
    conditions: tuple[Condition, ...]
    target: CompiledTarget
    denies: bool
    captures: bool


class Resolved(NamedTuple):
    """A role ARN that may exist. `listing` is None where the catalogue does not know the account."""

    arn: RoleArn
    account: Account
    listing: Listing | None


class Unresolved(NamedTuple):
    """Why a role ARN can be no grant, whatever the rules say."""

    code: VerdictCode
    sentence: str


class Seen:
    """What one call of `decide` has worked out so far, so that a hundred rules share it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.places: dict[str, Resolved | None] = {}
        self._roles: dict[str, RolesOfAccount | None] = {}

    def roles(self, account_id: str) -> RolesOfAccount | None:
        """The account's roles, or None where the catalogue does not know the account."""
        if account_id not in self._roles:
            listing = self.catalogue.get(account_id)
            self._roles[account_id] = None if listing is None else RolesOfAccount(account_id, listing)
        return self._roles[account_id]


def compile_mapping(document: Document) -> CompiledMapping:
    """The document, ready to decide. Costs milliseconds to a second: do it once a revision, not once a request."""
    return CompiledMapping(document)


class CompiledMapping:
    """A compiled document: immutable, safe in threads; its memo of groups is bounded."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.accounts: dict[str, Account] = {account.id: account for account in document.accounts}
        pointers: dict[GroupMatch, list[int]] = {}
        always: list[int] = []
        named: list[GroupMatch] = []
        for number, rule in enumerate(document.rules):
            when = rule.when
            named += [*when.groups, *when.all_of, *when.none_of, *_approvers(rule.approval)]
            # A rule is looked at only if a group points to it: any of `groups`, else the first of `all_of`.
            pointed = when.groups or when.all_of[:1]
            for match in pointed:
                pointers.setdefault(match, []).append(number)
            if not pointed:
                always.append(number)
        for entry in document.staff:
            named += entry.groups
        self.index = GroupIndex(named, {match: tuple(numbers) for match, numbers in pointers.items()})
        self.always = tuple(always)
        self._denies = tuple(number for number, rule in enumerate(document.rules) if rule.deny is not None)
        chosen = Chosen(self.accounts)
        self.rules = tuple(_compile_rule(rule, self.index, chosen) for rule in document.rules)
        # Few of a company's rules begin or end, and the refresh of every changed person asks which have.
        self.timed = tuple(rule for rule in document.rules if rule.when.from_ or rule.when.until)
        self._naming: tuple[dict[str, list[int]], list[int]] | None = None

    # --- Asking ---------------------------------------------------------------------------------------

    def decide(
        self, identity: Identity, now: datetime, catalogue: Catalogue | CatalogueReader = NO_CATALOGUE
    ) -> Decision:
        """Every role of the identity at `now` (aware; ValueError otherwise).

        A reader is called once, with what the identity's rules can reach; what it raises comes through.
        """
        facts = gather(self.index, identity, now)
        allows, denies = self._matching(facts)
        if not isinstance(catalogue, Mapping):
            catalogue = catalogue(self._reach(allows, facts))
        strangers = self.strangers_of(catalogue)
        seen = Seen(catalogue)
        given: dict[str, tuple[Resolved, list[tuple[CompiledRule, Captures]]]] = {}
        for compiled in allows:
            try:
                of_rule = self.given_by(compiled, facts, strangers, seen)
            except Exception:  # noqa: BLE001, S112  any error is no: this rule gives nothing
                continue
            for arn, (place, captured) in of_rule.items():
                given.setdefault(arn, (place, []))[1].append((compiled, captured))
        bound = [(deny, answer, bound_captures(deny, facts)) for deny, answer in denies]
        grants, denied, closed = [], [], []
        for arn_text, (place, sources) in given.items():
            denying = next((deny.rule.name for deny, answer, b in bound if takes_away(deny, answer, place, b)), None)
            if denying is not None:
                denied.append((arn_text, denying))
            elif is_closed(identity, place.account):
                closed.append(arn_text)
            else:
                grants.append(_grant(place, sources))
        grants.sort(key=lambda grant: (grant.account.name, grant.role_name, grant.role_arn))
        return Decision(tuple(grants), tuple(sorted(denied)), tuple(sorted(closed)))

    def verdict(
        self,
        identity: Identity,
        role_arn: str,
        now: datetime,
        catalogue: Catalogue | CatalogueReader = NO_CATALOGUE,
    ) -> Verdict:
        """Whether the identity has this role at `now` (aware; ValueError otherwise): what `decide` would say of it."""
        if not isinstance(catalogue, Mapping):
            catalogue = catalogue(reach((), self._known([role_arn])))
        place = self.resolve(role_arn, catalogue)
        if isinstance(place, Unresolved):
            return Verdict(allowed=False, code=place.code, reasons=(Reason(place.code, place.sentence),))
        facts = gather(self.index, identity, now)
        allows, denies = self._matching(facts)
        sources = []
        for compiled in allows:
            captured = covering(compiled, place, facts)
            if captured is not None:
                sources.append((compiled, captured))
        if not sources:
            reason = Reason("no_matching_rule", say("No rule gives this role to this person now."))
            return Verdict(allowed=False, code="no_matching_rule", reasons=(reason,))
        denying = tuple(
            Reason(
                "denied_by_rule",
                say("The rule {rule} denies it, and a deny wins.", rule=deny.rule.name),
                deny.rule.name,
            )
            for deny, answer in denies
            if takes_away(deny, answer, place, bound_captures(deny, facts))
        )
        if denying:
            return Verdict(allowed=False, code="denied_by_rule", reasons=denying)
        if is_closed(identity, place.account):
            sentence = say("Production is closed: the person's directory has been silent for too long to be believed.")
            reason = Reason("directory_stale", sentence)
            return Verdict(allowed=False, code="directory_stale", reasons=(reason,))
        grant = _grant(place, sources)
        if grant.approval is not None:
            sentence = say("The rule {rule} gives it once it is approved.", rule=grant.rule)
            return Verdict(
                allowed=False,
                code="approval_required",
                grant=grant,
                reasons=(Reason("approval_required", sentence, grant.rule),),
            )
        reasons = tuple(
            Reason("rule_allows", say("The rule {rule} gives it.", rule=name), name) for name in grant.rules
        )
        return Verdict(allowed=True, code="allowed", grant=grant, reasons=reasons)

    def staff_rights(self, identity: Identity) -> tuple[StaffRule, ...]:
        """The entries of `staff` that one of the identity's groups is named in, in order."""
        return tuple(entry for entry in self.document.staff if self.has_right(identity, entry))

    def has_right(self, identity: Identity, entry: StaffRule) -> bool:
        """Whether an entry of `staff` is about this identity: of one of its providers, and in one of its groups."""
        return self._is_one_of(identity, entry.provider, entry.groups)

    def _is_one_of(self, identity: Identity, providers: tuple[str, ...], groups: Iterable[GroupMatch]) -> bool:
        """Attack: who runs a lesser provider can name any group for its people, also the owners' and the approvers'."""
        return (not providers or identity.provider in providers) and self.is_in(identity, groups)

    def is_owner(self, identity: Identity) -> bool:
        """Whether an entry of `staff` makes the identity an owner of the gateway."""
        return any(entry.role == "owner" for entry in self.staff_rights(identity))

    def may_break_glass(self, identity: Identity, approval: Approval) -> bool:
        """True if the identity may take the role at once, without a yes. That the rule gives it the role is the verdict's word."""
        return approval.break_glass is not None and self._is_one_of(
            identity, approval.provider, approval.break_glass.by
        )

    def matched(self, identity: Identity, matches: Iterable[GroupMatch]) -> tuple[GroupMatch, ...]:
        """Those of the matches that name one of the identity's groups."""
        facts = gather(self.index, identity, identity.verified_at)
        return tuple(match for match in matches if self.index.number.get(match, -1) in facts.matches)

    def may_approve(self, identity: Identity, approval: Approval) -> bool:
        """True if the identity is in a group that may approve, by the word of a provider that may say so. That nobody approves
        their own request is the flow's rule.
        """
        return self._is_one_of(identity, approval.provider, approval.by)

    def is_in(self, identity: Identity, matches: Iterable[GroupMatch]) -> bool:
        """True if one of the identity's groups is named; matches of another document are never true."""
        numbers = {self.index.number[match] for match in matches if match in self.index.number}
        facts = gather(self.index, identity, identity.verified_at)
        return not numbers.isdisjoint(facts.matches)

    def groups_named(self, identity: Identity, matches: Iterable[GroupMatch]) -> frozenset[str]:
        """Those of the identity's groups that are named; matches of another document name none."""
        numbers = {self.index.number[match] for match in matches if match in self.index.number}
        facts = gather(self.index, identity, identity.verified_at)
        return frozenset(group for number in numbers for group in facts.groups_of(number))

    def accounts_of(self, selector: AccountSelector | None) -> tuple[Account, ...]:
        """The document's accounts that a selector chooses (an account-owner's, a delegation's), in order."""
        return tuple(account for account in self.document.accounts if selects(selector, account))

    def matching_rules(self, identity: Identity, now: datetime) -> tuple[Rule, ...]:
        """The rules whose conditions hold, in order; a deny that cannot be ruled out is among them."""
        return tuple(self.rules[number].rule for number in self.matching(identity, now))

    def matching(self, identity: Identity, now: datetime) -> tuple[int, ...]:
        """The numbers of `matching_rules`, ascending."""
        facts = gather(self.index, identity, now)
        found = []
        for number in self.candidates(facts):
            compiled = self.rules[number]
            answer = holds(compiled.conditions, facts)
            if answer is Answer.YES or (compiled.denies and answer is not Answer.NO):
                found.append(number)
        return tuple(found)

    def naming(self, arn: RoleArn) -> list[CompiledRule]:
        """The rules that could mean this role, accounts and captures aside, in order."""
        if self._naming is None:
            self._naming = self._index_names()
        by_name, others = self._naming
        numbers = set(others)
        for text in (arn.name, arn.qualified, str(arn)):
            numbers.update(by_name.get(text.casefold(), ()))
        return [self.rules[number] for number in sorted(numbers) if self.rules[number].target.might_cover(arn)]

    def _index_names(self) -> tuple[dict[str, list[int]], list[int]]:
        """Numbers of rules by what they name, and those of which that cannot be listed. Two threads build the same one."""
        by_name: dict[str, list[int]] = {}
        others: list[int] = []
        for number, compiled in enumerate(self.rules):
            names = compiled.target.names()
            if names is None:
                others.append(number)
                continue
            for name in names:
                by_name.setdefault(name, []).append(number)
        return by_name, others

    # --- Working out ----------------------------------------------------------------------------------

    def _reach(self, allows: Sequence[CompiledRule], facts: Facts) -> Reach:
        """What the listings are asked for when these rules are worked out. A deny needs none: it is told the role."""
        wanted: list[Wanted] = []
        arns: list[str] = []
        for compiled in allows:
            try:
                given = [arn for arn, _ in compiled.target.gives_arns(bound_captures(compiled, facts))]
                wanted.append(compiled.target.wants())
                arns += given
            except Exception:  # noqa: BLE001, S112  any error is no: without a listing this rule gives nothing, and it fails again
                continue
        return reach(wanted, self._known(arns))

    def _known(self, arns: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Account id and ARN of those in the document's accounts. The others are in nobody's reach: an account that has left
        the organization, and that no deny can choose by its tags any more, must not be served out of its old listing.
        """
        for text in arns:
            arn = parse_role_arn(text)
            if arn is not None and arn.account_id in self.accounts:
                yield arn.account_id, text

    def resolve(self, role_arn: str, catalogue: Catalogue) -> Resolved | Unresolved:
        """The role that an ARN names, or why it can be none: malformed, reserved, of no known account, not in the listing."""
        arn = parse_role_arn(role_arn)
        if arn is None:
            return Unresolved("arn_invalid", say("This is not the ARN of an IAM role in a known partition."))
        if is_reserved(arn):
            return Unresolved(
                "role_reserved", say("Roles of IAM Identity Center and of AWS services cannot be assumed this way.")
            )
        listing = catalogue.get(arn.account_id)
        account = self.accounts.get(arn.account_id) or _stranger(arn.account_id, listing)
        if account is None:
            sentence = say(
                "Account {account} is neither in the mapping document nor in the catalogue.", account=arn.account_id
            )
            return Unresolved("account_unknown", sentence)
        if account.partition != arn.partition:
            return Unresolved(
                "account_unknown",
                say(
                    "Account {account} is in the partition {partition}, not {wanted}.",
                    account=arn.account_id,
                    partition=account.partition,
                    wanted=arn.partition,
                ),
            )
        if listing is not None and role_arn not in listing:
            return Unresolved(
                "role_unknown", say("Account {account} has no such role in its latest listing.", account=account.name)
            )
        return Resolved(arn, account, listing)

    def candidates(self, facts: Facts) -> list[int]:
        """Numbers of the rules worth looking at, in order: those that a group points to, and those that name no group."""
        numbers = facts.rules.union(self.always)
        if not facts.complete:
            numbers.update(self._denies)  # an unknown group may be the one that a deny names
        return sorted(numbers)

    def _matching(self, facts: Facts) -> tuple[list[CompiledRule], list[tuple[CompiledRule, Answer]]]:
        allows: list[CompiledRule] = []
        denies: list[tuple[CompiledRule, Answer]] = []
        for number in self.candidates(facts):
            compiled = self.rules[number]
            answer = holds(compiled.conditions, facts)
            if compiled.denies:
                if answer is not Answer.NO:
                    denies.append((compiled, answer))
            elif answer is Answer.YES:
                allows.append(compiled)
        return allows, denies

    def given_by(
        self, compiled: CompiledRule, facts: Facts, strangers: Sequence[Account], seen: Seen
    ) -> dict[str, tuple[Resolved, Captures]]:
        """The role ARNs that one allow rule gives, resolved, each with the first captures that give it."""
        bound = bound_captures(compiled, facts)
        target = compiled.target
        given: dict[str, tuple[Resolved, Captures]] = {}
        for arn, captured in self._offered(target, strangers, seen, bound):
            if arn not in seen.places:
                place = self.resolve(arn, seen.catalogue)
                seen.places[arn] = place if isinstance(place, Resolved) else None
            found = seen.places[arn]
            if found is not None and arn not in given and target.chooses(found.account):
                given[arn] = found, captured
        return given

    def _offered(
        self, target: CompiledTarget, strangers: Sequence[Account], seen: Seen, bound: Sequence[Captures]
    ) -> Iterator[tuple[str, Captures]]:
        if target.names_roles:
            for account_id in target.accounts:
                yield from target.gives(self.accounts[account_id], seen.roles(account_id), bound)
            for account in strangers:
                yield from target.gives(account, seen.roles(account.id), bound)
        yield from target.gives_arns(bound)

    def strangers_of(self, catalogue: Catalogue) -> list[Account]:
        """Accounts that the catalogue alone knows."""
        unknown = [account_id for account_id in catalogue if account_id not in self.accounts]
        return [
            account for account_id in unknown if (account := _stranger(account_id, catalogue[account_id])) is not None
        ]


def _approvers(approval: Approval | None) -> tuple[GroupMatch, ...]:
    if approval is None:
        return ()
    return (*approval.by, *(approval.break_glass.by if approval.break_glass else ()))


def is_closed(identity: Identity, account: Account) -> bool:
    """True if the person's groups are too old for this account."""
    return identity.directory_stale and is_production(account)


def covering(compiled: CompiledRule, place: Resolved, facts: Facts) -> Captures | None:
    """The captures under which an allow rule, whose conditions hold, gives a role; None if it does not."""
    try:
        return compiled.target.covers(place.arn, place.account, place.listing, bound_captures(compiled, facts))
    except Exception:  # noqa: BLE001  any error is no
        return None


def _compile_rule(rule: Rule, index: GroupIndex, chosen: Chosen) -> CompiledRule:
    target = rule.allow or rule.deny
    if target is None or (rule.allow is not None and rule.deny is not None):
        raise ValueError(f"rule {rule.name!r} must have exactly one of allow and deny")
    denies = rule.deny is not None
    has_captures = any(captures_of(match) for match in rule.when.groups)
    return CompiledRule(
        rule,
        conditions_of(rule.when, index, denies=denies),
        CompiledTarget(target, chosen, denies=denies),
        denies,
        has_captures,
    )


def bound_captures(compiled: CompiledRule, facts: Facts) -> tuple[Captures, ...]:
    """The captures of the person's groups under a rule's expressions, in a fixed order."""
    return bindings(compiled.rule.when, facts) if compiled.captures else ()


def takes_away(deny: CompiledRule, answer: Answer, place: Resolved, bound: Sequence[Captures]) -> bool:
    """True if a deny rule that is not ruled out takes the role away; an error does so too."""
    try:
        if answer is Answer.UNKNOWN:  # the captures are unknown as well: whatever the rule may mean is denied
            return deny.target.chooses(place.account) and deny.target.might_cover(place.arn)
        return deny.target.covers(place.arn, place.account, place.listing, bound) is not None
    except Exception:  # noqa: BLE001  any error is no
        return True


def _grant(place: Resolved, sources: Sequence[tuple[CompiledRule, Captures]]) -> Grant:
    """The grant out of every rule that gives the role, in the document's order."""
    # Attack: the owner of an account tags a role that the document gives by request alone.
    own = [source for source in sources if not source[0].rule.by_tag] or sources
    counting, captured = next((source for source in own if source[0].rule.approval is None), own[0])
    rule = counting.rule
    return Grant(
        role_arn=str(place.arn),
        role_name=place.arn.name,
        account=place.account,
        rule=rule.name,
        rules=tuple(compiled.rule.name for compiled, _ in sources),
        session=rule.session,
        approval=rule.approval,
        captures=MappingProxyType(dict(captured)) if captured else NO_CAPTURES,
        role_maximum=place.listing[str(place.arn)].max_session_duration if place.listing is not None else None,
    )


def _stranger(account_id: str, listing: Listing | None) -> Account | None:
    """An account that only the catalogue knows: called by its id, without tags, in the partition of its first role."""
    first = parse_role_arn(next(iter(listing), "")) if listing else None
    if first is None or first.account_id != account_id:
        return None
    return Account(id=account_id, name=account_id, partition=first.partition)
