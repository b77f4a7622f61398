"""What the mapping gives to everybody at once: for each of many identities what `CompiledMapping.decide` says, shared.

5,000 people with 200 groups each are a million memberships, but only some thousands of distinct groups, a few hundred of
which a rule names. So each distinct group is matched once, each rule is worked out once (a rule with captures once for each
group that it names), each deny once for each role, and whoever has the same groups that matter shares the answer. It agrees
with `decide` in everything it says (tests/mapping/test_company_equals_decide.py), and stands for lists, reports and previews:
minting asks `verdict`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from federation.identity import Identity
from federation.mapping.conditions import AllGroups, Answer, AnyGroup, Condition, Facts, NoGroup, holds
from federation.mapping.engine import (
    NO_CATALOGUE,
    CompiledMapping,
    CompiledRule,
    Decision,
    Resolved,
    Seen,
    bound_captures,
    takes_away,
)
from federation.mapping.groups import PatternsUnusable
from federation.mapping.reach import CatalogueReader, Reach, reach
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import Catalogue, is_production

_MOST_SILENT_GROUPS = 262_144  # names that no rule knows and that are remembered for it: some 30 MB
_MOST_STANDINGS = 8_192


class Given(NamedTuple):
    """One role that the rules give: the fields of `engine.Grant` that lists need. Equal ones are one object in one `Company`.

    `rule` decides, as in `engine.Grant`; `rules`: all that give the role, in order.
    """

    role_arn: str
    role_name: str
    account_id: str
    rule: str
    rules: tuple[str, ...]
    needs_approval: bool


class Standing(NamedTuple):
    """What one identity has. `grants`: of `Decision.grants`, in no order that means anything. `denied`: (role ARN, first rule
    that denies it). `closed`: role ARNs in production that a silent directory closes. `rules`: names of the rules whose
    conditions hold, a deny that cannot be ruled out among them, in the document's order, whether they give a role or not.
    """

    grants: tuple[Given, ...]
    denied: tuple[tuple[str, str], ...] = ()
    closed: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def standings(
    mapping: CompiledMapping,
    identities: Iterable[Identity],
    now: datetime,
    catalogue: Catalogue | CatalogueReader = NO_CATALOGUE,
) -> Iterator[Standing]:
    """The standing of each identity at `now` (aware; ValueError otherwise), in their order, one at a time.

    A reader is called once, with what anybody could reach (`reach_of_everybody`); what it raises comes through.
    """
    company = Company(mapping, now, catalogue)
    return (company.standing(identity) for identity in identities)


def grants_of_everyone(
    mapping: CompiledMapping,
    identities: Iterable[Identity],
    now: datetime,
    catalogue: Catalogue | CatalogueReader = NO_CATALOGUE,
) -> Iterator[tuple[Given, ...]]:
    """The roles of each identity, in their order: `standings` without what is denied."""
    return (standing.grants for standing in standings(mapping, identities, now, catalogue))


def reach_of_everybody(mapping: CompiledMapping) -> Reach:
    """What the decision on any identity can look at: the union of every reach that `decide` could ask a reader for."""
    return reach_of(mapping, mapping.rules)


def reach_of(mapping: CompiledMapping, rules: Iterable[CompiledRule]) -> Reach:
    """What these rules of the mapping can look at, whomever they hold for."""
    wanted = []
    arns: list[tuple[str, str]] = []
    for compiled in rules:
        if compiled.denies:
            continue  # a deny is told the role
        wanted.append(compiled.target.wants())
        wanted += compiled.target.wants_of_templates()
        for text in compiled.target.literals:
            arn = parse_role_arn(text)
            if arn is not None and arn.account_id in mapping.accounts:
                arns.append((arn.account_id, text))
    return reach(wanted, arns)


def _restricted(standing: Standing, only: frozenset[str]) -> Standing:
    return Standing(
        tuple(given for given in standing.grants if given.role_arn in only),
        tuple(pair for pair in standing.denied if pair[0] in only),
        tuple(arn for arn in standing.closed if arn in only),
        standing.rules,
    )


def _strengths(mapping: CompiledMapping) -> list[int]:
    """For each rule by number how much its word counts where several give one role: which `engine.Grant.rule` names is the highest."""
    rules = [compiled.rule for compiled in mapping.rules]
    weakest_first = sorted(range(len(rules)), key=lambda n: (not rules[n].by_tag, rules[n].approval is None, -n))
    strengths = [0] * len(rules)
    for strength, number in enumerate(weakest_first):
        strengths[number] = strength
    return strengths


@dataclass(frozen=True, slots=True)
class _Pointed:
    """What one group points to. `bound`: the rules among `rules` for which it matters which group it is (captures)."""

    matches: tuple[int, ...]
    rules: tuple[int, ...]
    bound: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _MatchingRules:
    """The rules whose conditions hold for somebody, in order, and their names. `bound`: by number, the groups for whose captures
    a rule counts. `doubtful`: those among them, denies, that only cannot be ruled out.
    """

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    bound: Mapping[int, Sequence[str]]
    doubtful: Collection[int]


@dataclass(slots=True)
class _Deny:
    """A deny under one answer and one group: which of the first `looked` places it takes away."""

    compiled: CompiledRule
    answer: Answer
    facts: Facts
    taken: set[str] = field(default_factory=set)
    looked: int = 0


class _Rule:
    """A rule, and what is left to ask once a group points to it. `of_person`: conditions that no group decides."""

    def __init__(self, compiled: CompiledRule) -> None:
        self.compiled, self.name, self.denies = compiled, compiled.rule.name, compiled.denies
        when = compiled.rule.when
        self.of_person: tuple[Condition, ...] = ()
        self.of_groups: tuple[Condition, ...] = ()
        for condition in compiled.conditions:
            if isinstance(condition, AnyGroup) or (
                isinstance(condition, AllGroups) and not when.groups and len(condition.numbers) == 1
            ):
                continue  # that a group points to the rule is the answer: yes
            if isinstance(condition, AllGroups | NoGroup):
                self.of_groups += (condition,)
            else:
                self.of_person += (condition,)


class Company:
    """One mapping at one moment over one catalogue; keeps what it has worked out. For one thread.

    `deciding_only`: `Given.rules` names the rule that decides and no other, which is found at a third of the cost.
    """

    def __init__(
        self,
        mapping: CompiledMapping,
        now: datetime,
        catalogue: Catalogue | CatalogueReader = NO_CATALOGUE,
        *,
        deciding_only: bool = False,
    ) -> None:
        """Raises ValueError if `now` is naive; a reader is called here, and what it raises comes through."""
        if now.tzinfo is None:
            raise ValueError("now must be an aware datetime")
        if not isinstance(catalogue, Mapping):
            catalogue = catalogue(reach_of_everybody(mapping))
        self.mapping, self.now, self.catalogue = mapping, now, catalogue
        self._deciding_only = deciding_only
        self._rules = [_Rule(compiled) for compiled in mapping.rules]
        self._denying = frozenset(n for n, rule in enumerate(self._rules) if rule.denies)
        self._strength = _strengths(mapping)
        self._names = [rule.name for rule in self._rules]
        self._asking = frozenset(n for n, rule in enumerate(self._rules) if rule.of_person or rule.of_groups)
        whens = [compiled.rule.when for compiled in mapping.rules]
        self._by_tag = frozenset(compiled.rule.name for compiled in mapping.rules if compiled.rule.by_tag)
        self._asks_mfa = any(when.mfa is not None for when in whens)
        self._asks_provider = any(when.provider for when in whens)
        self._attributes = tuple(sorted({name for when in whens for name in when.attributes}))
        self._strangers = mapping.strangers_of(catalogue)
        self._seen = Seen(catalogue)
        self._silent: set[str] = set()
        self._pointed: dict[str, _Pointed] = {}
        self._unusable: set[str] = set()
        self._standings: dict[object, Standing] = {}
        self._matching: dict[object, _MatchingRules] = {}
        self._last: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._of_person: dict[object, dict[int, Answer]] = {}
        self._allows: dict[int | tuple[int, str], dict[str, Given]] = {}
        self._denies: dict[object, _Deny] = {}
        self._places: dict[str, Resolved] = {}
        self._order: list[str] = []  # of the places, as they were found
        self._production: set[str] = set()
        self._merged: dict[tuple[int, ...], Given] = {}
        self._interned: dict[Given, Given] = {}

    def standing(self, identity: Identity, only: frozenset[str] | None = None) -> Standing:
        """What `decide` says of this identity; with `only`, of these roles alone (ARNs), `Standing.rules` as ever."""
        groups = self._that_matter(identity.groups)
        person = self._traits(identity)
        key = (groups, person, identity.directory_stale, identity.groups_complete, only)
        known = self._standings.get(key)
        if known is None:
            if len(self._standings) >= _MOST_STANDINGS:
                self._standings.clear()
            if identity.groups_complete and self._unusable.isdisjoint(groups):
                known = self._work_out(identity, groups, person, only)
            else:
                known = self._of_decision(identity)  # unknown groups: rare, and no place for a short cut
                if only is not None:
                    known = _restricted(known, only)
            self._standings[key] = known
        return known

    def holding(self, identity: Identity) -> tuple[int, ...]:
        """Numbers of the rules whose conditions hold, in order, a deny that cannot be ruled out among them."""
        groups = self._that_matter(identity.groups)
        if not identity.groups_complete or not self._unusable.isdisjoint(groups):
            return self.mapping.matching(identity, self.now)
        return self._hold(identity, groups, self._traits(identity)).numbers

    def given_by(self, identity: Identity, numbers: Iterable[int]) -> frozenset[str] | None:
        """ARNs of all that these rules, whose conditions hold, would give to this identity if nothing denied it.

        None where that cannot be said rule by rule: with a deny among them, or with groups that are not all known.
        """
        groups = self._that_matter(identity.groups)
        if not identity.groups_complete or not self._unusable.isdisjoint(groups):
            return None
        found: set[str] = set()
        for number in numbers:
            rule = self._rules[number]
            if rule.denies:
                return None
            if not rule.compiled.captures:
                found.update(self._gives(number, "", rule, identity))
                continue
            for group in groups:
                if number in self._pointed[group].bound:
                    found.update(self._gives(number, group, rule, identity))
        return frozenset(found)

    def is_in_doubt(self, identity: Identity) -> bool:
        """Whether one of their groups cannot be held against this mapping's expressions (it is no text of Unicode)."""
        self._that_matter(identity.groups)
        return not self._unusable.isdisjoint(identity.groups)

    # --- Facts ------------------------------------------------------------------------------------------------

    def _that_matter(self, groups: frozenset[str]) -> frozenset[str]:
        """Those of the groups that some group match names, or that could not be matched."""
        if groups is self._last[0]:
            return self._last[1]
        found = self._matched(groups)
        self._last = groups, found
        return found

    def _matched(self, groups: frozenset[str]) -> frozenset[str]:
        silent = self._silent
        left = groups - silent
        if left <= self._pointed.keys():
            return left
        if len(silent) > _MOST_SILENT_GROUPS:
            silent.clear()
        for group in left:
            if group in self._pointed:
                continue
            try:
                hits = self.mapping.index.look(group)
            except PatternsUnusable:
                self._unusable.add(group)
                hits = None
            if hits is not None and not hits.matches:
                silent.add(group)
                continue
            rules = hits.rules if hits is not None else ()
            bound = tuple(number for number in rules if self.mapping.rules[number].captures)
            self._pointed[group] = _Pointed(hits.matches if hits is not None else (), rules, bound)
        return left - silent

    def _traits(self, identity: Identity) -> tuple[object, ...]:
        """Everything about the person, groups aside, that some rule asks."""
        return (
            identity.mfa if self._asks_mfa else None,
            identity.provider if self._asks_provider else None,
            tuple(identity.attributes.get(name, ()) for name in self._attributes) if self._attributes else None,
        )

    def _answer(self, number: int, traits: dict[int, Answer], facts: Facts, groups: Iterable[str]) -> Answer:
        """Whether the conditions hold of somebody whose groups point to the rule. `traits`: answers for people alike."""
        rule = self._rules[number]
        answer = Answer.YES
        if rule.of_person:
            found = traits.get(number)
            if found is None:
                found = traits[number] = holds(rule.of_person, facts)
            answer = found
        if rule.of_groups and answer is not Answer.NO:
            if not facts.matches:
                facts.matches.update(*(self._pointed[group].matches for group in groups))
            answer = min(answer, holds(rule.of_groups, facts))
        return answer

    # --- Working out ------------------------------------------------------------------------------------------

    def _work_out(
        self, identity: Identity, groups: frozenset[str], person: tuple[object, ...], only: frozenset[str] | None
    ) -> Standing:
        holding = self._hold(identity, groups, person)
        given = self._deciding(holding, identity) if self._deciding_only else self._giving(holding, identity)
        if only is not None:
            given = {arn: given[arn] for arn in only & given.keys()}
        denied: list[tuple[str, str]] = []
        for deny in self._denies_of(holding, identity):
            self._look(deny)
            for arn in given.keys() & deny.taken:
                denied.append((arn, deny.compiled.rule.name))
                del given[arn]
        closed: tuple[str, ...] = ()
        if identity.directory_stale:
            closed = tuple(sorted(given.keys() & self._production))
            for arn in closed:
                del given[arn]
        return Standing(tuple(given.values()), tuple(sorted(denied)), closed, holding.names)

    def _giving(self, holding: _MatchingRules, identity: Identity) -> dict[str, Given]:
        """What the rules that hold give, nothing taken away yet, each role with all the rules that give it."""
        given: dict[str, Given] = {}
        several: dict[str, list[Given]] = {}
        for number in holding.numbers:
            known = self._allows.get(number)
            for gives in (known,) if known is not None else self._gives_of(number, holding, identity):
                if given.keys().isdisjoint(gives):
                    given.update(gives)
                    continue
                for arn, one in gives.items():
                    if (earlier := given.setdefault(arn, one)) is one:
                        continue  # new here, or the same rule by another group's captures
                    parts = several.setdefault(arn, [earlier])
                    if parts[-1] is not one:
                        parts.append(one)
        for arn, parts in several.items():
            given[arn] = self._merge(parts)
        return given

    def _deciding(self, holding: _MatchingRules, identity: Identity) -> dict[str, Given]:
        """The same, each role with the rule that decides: the strongest comes last and writes over the others."""
        given: dict[str, Given] = {}
        for number in sorted(holding.numbers, key=self._strength.__getitem__):
            known = self._allows.get(number)
            for gives in (known,) if known is not None else self._gives_of(number, holding, identity):
                given.update(gives)
        return given

    def _gives_of(self, number: int, holding: _MatchingRules, identity: Identity) -> Iterator[dict[str, Given]]:
        """What one of the rules that hold gives; a rule with captures, for each group that it names."""
        rule = self._rules[number]
        if not rule.denies:
            for group in holding.bound.get(number) or ("",):
                yield self._gives(number, group, rule, identity)

    def _denies_of(self, holding: _MatchingRules, identity: Identity) -> list[_Deny]:
        """The denies among the rules that hold, in order."""
        if self._denying.isdisjoint(holding.numbers):
            return []
        found = []
        for number in holding.numbers:
            if number in self._denying:
                answer = Answer.UNKNOWN if number in holding.doubtful else Answer.YES
                for group in holding.bound.get(number) or ("",):
                    key: int | tuple[int, str] = (number, group) if group else number
                    found.append(self._deny(key, self._rules[number], answer, identity, group))
        return found

    def _hold(self, identity: Identity, groups: frozenset[str], person: tuple[object, ...]) -> _MatchingRules:
        known = self._matching.get((groups, person))
        if known is None:
            if len(self._matching) >= _MOST_STANDINGS:
                self._matching.clear()
            known = self._matching[groups, person] = self._find(identity, groups, person)
        return known

    def _find(self, identity: Identity, groups: frozenset[str], person: tuple[object, ...]) -> _MatchingRules:
        numbers: set[int] = set(self.mapping.always)
        bound: dict[int, list[str]] = {}
        for group in groups:
            pointed = self._pointed[group]
            numbers.update(pointed.rules)
            for number in pointed.bound:
                bound.setdefault(number, []).append(group)
        traits = self._of_person.setdefault(person, {})
        facts = Facts(identity, self.now, set(), numbers, complete=True, index=self.mapping.index)
        doubtful: set[int] = set()
        out: set[int] = set()
        for number in numbers & self._asking:  # for the others, that a group points to them is the answer
            answer = self._answer(number, traits, facts, groups)
            if answer is Answer.UNKNOWN and self._rules[number].denies:
                doubtful.add(number)
            elif answer is not Answer.YES:
                out.add(number)
        found = sorted(numbers - out if out else numbers)
        return _MatchingRules(tuple(found), tuple([self._names[number] for number in found]), bound, doubtful)

    def _facts_of(self, identity: Identity, group: str) -> Facts:
        """Facts of an identity that has this group alone: enough for a rule's captures, which need no more."""
        alone = Identity(
            subject=identity.subject, name="", email="", groups=frozenset({group} if group else ()),
            verified_at=identity.verified_at, authenticated_at=identity.authenticated_at,
        )  # fmt: skip
        return Facts(alone, self.now, set(), set(), complete=True, index=self.mapping.index)

    def _gives(self, number: int, group: str, rule: _Rule, identity: Identity) -> dict[str, Given]:
        """What an allow rule gives, worked out once; `group`: the one whose captures count, "" where there are none."""
        key: int | tuple[int, str] = (number, group) if group else number
        known = self._allows.get(key)
        if known is None:
            known = self._allows[key] = self._allow(rule, identity, group)
        return known

    def _allow(self, rule: _Rule, identity: Identity, group: str) -> dict[str, Given]:
        """What an allow rule gives to whoever it matches, by ARN; with captures, for one of the groups that it names."""
        try:
            facts = self._facts_of(identity, group)
            found = self.mapping.given_by(rule.compiled, facts, self._strangers, self._seen)
        except Exception:  # noqa: BLE001  any error is no: this rule gives nothing
            return {}
        needs_approval = rule.compiled.rule.approval is not None
        gives: dict[str, Given] = {}
        for arn, (place, _) in found.items():
            if arn not in self._places:
                self._places[arn] = place
                self._order.append(arn)
                if is_production(place.account):
                    self._production.add(arn)
            gives[arn] = self._one(
                Given(arn, place.arn.name, place.account.id, rule.name, (rule.name,), needs_approval)
            )
        return gives

    def _deny(self, key: object, rule: _Rule, answer: Answer, identity: Identity, group: str) -> _Deny:
        found = self._denies.get((key, answer))
        if found is None:
            found = self._denies[key, answer] = _Deny(rule.compiled, answer, self._facts_of(identity, group))
        return found

    def _look(self, deny: _Deny) -> None:
        """Ask a deny about the places that it has not been asked about."""
        if deny.looked == len(self._order):
            return
        captures = bound_captures(deny.compiled, deny.facts)
        for arn in self._order[deny.looked :]:
            if takes_away(deny.compiled, deny.answer, self._places[arn], captures):
                deny.taken.add(arn)
        deny.looked = len(self._order)

    def _merge(self, parts: Sequence[Given]) -> Given:
        """One role that several rules give, in their order."""
        key = tuple(map(id, parts))  # they are kept for as long as this object lives
        merged = self._merged.get(key)
        if merged is None:
            first = parts[0]
            own = parts
            if self._by_tag:
                own = [part for part in parts if part.rule not in self._by_tag] or parts
            decides = own[0]
            for part in own:
                if not part.needs_approval:
                    decides = part
                    break
            rules = tuple([part.rule for part in parts])
            merged = self._one(
                Given(first.role_arn, first.role_name, first.account_id, decides.rule, rules, decides.needs_approval)
            )
            self._merged[key] = merged
        return merged

    def _one(self, given: Given) -> Given:
        return self._interned.setdefault(given, given)

    def _of_decision(self, identity: Identity) -> Standing:
        decision: Decision = self.mapping.decide(identity, self.now, self.catalogue)
        rules = self.mapping.matching_rules(identity, self.now)
        grants = (
            Given(g.role_arn, g.role_name, g.account.id, g.rule, g.rules, g.approval is not None)
            for g in decision.grants
        )
        if self._deciding_only:
            grants = (given._replace(rules=(given.rule,)) for given in grants)
        return Standing(
            tuple(self._one(given) for given in grants),
            decision.denied,
            decision.closed,
            tuple(rule.name for rule in rules),
        )
