"""The conditions of a rule, each with its three-valued answer and the sentence that explains it: one evaluator for both.

Unknown arises where the provider left groups out or a group cannot be matched. Whoever asks turns it into the side
with less access: an allow needs YES, a deny is stopped only by NO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from federation.identity import Identity
from federation.mapping.groups import LONGEST_GROUP, GroupIndex, PatternsUnusable, captures
from federation.mapping.patterns import composed, expression_of, in_any_form
from federation.mapping.rules import GroupMatch, When
from federation.said import either, say


class Answer(IntEnum):
    """Kleene's three values; the smallest of several is their conjunction."""

    NO = 0
    UNKNOWN = 1
    YES = 2


@dataclass(slots=True)
class Facts:
    """What is known of one identity at one moment. `rules`: numbers of rules that a group of theirs points to."""

    identity: Identity
    now: datetime
    matches: set[int]
    rules: set[int]
    complete: bool
    index: GroupIndex
    _groups_of: dict[int, list[str]] | None = field(default=None)

    def groups_of(self, number: int) -> list[str]:
        """The person's groups that one group match names, sorted."""
        if self._groups_of is None:
            self._groups_of = {}
            for group in sorted(self.identity.groups):
                try:
                    hits = self.index.look(group).matches
                except PatternsUnusable:
                    continue
                for hit in hits:
                    self._groups_of.setdefault(hit, []).append(group)
        return self._groups_of.get(number, [])


def gather(index: GroupIndex, identity: Identity, now: datetime) -> Facts:
    """Match every group of the identity. Raises ValueError if `now` is naive: nothing can be compared with it."""
    if now.tzinfo is None:
        raise ValueError("now must be an aware datetime")
    matches: set[int] = set()
    rules: set[int] = set()
    complete = identity.groups_complete
    look, remembered = index.look, index.hits  # a call less for each group: this is the hottest loop there is
    for group in identity.groups:
        try:
            found, pointed = remembered(group) if len(group) <= LONGEST_GROUP else look(group)
        except PatternsUnusable:
            complete = False
            continue
        if found:
            matches.update(found)
            rules.update(pointed)
    return Facts(identity, now, matches, rules, complete, index)


class Condition(Protocol):
    """One condition: its answer, and a sentence that is true of that answer."""

    def answer(self, facts: Facts) -> Answer: ...

    def sentence(self, facts: Facts) -> str: ...


def _listed(matches: tuple[GroupMatch, ...]) -> str:
    shown = ", ".join(str(match) for match in matches[:10])
    return shown if len(matches) <= 10 else say("{names} and {more} more", names=shown, more=len(matches) - 10)


def _left_out(what: str) -> str:
    return say("the identity provider left groups out, so it is not known whether this person {has}", has=what)


@dataclass(frozen=True, slots=True)
class AnyGroup:
    """`groups`: the person is in one of them."""

    matches: tuple[GroupMatch, ...]
    numbers: frozenset[int]

    def answer(self, facts: Facts) -> Answer:
        if not self.numbers.isdisjoint(facts.matches):
            return Answer.YES
        return Answer.NO if facts.complete else Answer.UNKNOWN

    def sentence(self, facts: Facts) -> str:
        for match in self.matches:
            groups = facts.groups_of(facts.index.number[match])
            if groups:
                if match.kind == "exact":
                    return say("has group {group}", group=groups[0])
                return say("has group {group}, which {pattern} names", group=groups[0], pattern=match)
        if not facts.complete:
            return _left_out(say("has any of: {groups}", groups=_listed(self.matches)))
        return say("does not have any of: {groups}", groups=_listed(self.matches))


@dataclass(frozen=True, slots=True)
class AllGroups:
    """`all_of`: the person is in every one of them."""

    matches: tuple[GroupMatch, ...]
    numbers: frozenset[int]

    def answer(self, facts: Facts) -> Answer:
        if self.numbers <= facts.matches:
            return Answer.YES
        return Answer.NO if facts.complete else Answer.UNKNOWN

    def sentence(self, facts: Facts) -> str:
        missing = tuple(match for match in self.matches if facts.index.number[match] not in facts.matches)
        if not missing:
            return say("has all of: {groups}", groups=_listed(self.matches))
        if not facts.complete:
            return _left_out(say("has: {groups}", groups=_listed(missing)))
        listed = _listed(self.matches)
        return say("has not all of: {groups}; missing is {missing}", groups=listed, missing=_listed(missing))


@dataclass(frozen=True, slots=True)
class NoGroup:
    """`none_of`: the person is in none of them."""

    matches: tuple[GroupMatch, ...]
    numbers: frozenset[int]

    def answer(self, facts: Facts) -> Answer:
        if not self.numbers.isdisjoint(facts.matches):
            return Answer.NO
        return Answer.YES if facts.complete else Answer.UNKNOWN

    def sentence(self, facts: Facts) -> str:
        for match in self.matches:
            groups = facts.groups_of(facts.index.number[match])
            if groups:
                listed = _listed(self.matches)
                return say("has group {group}, and must have none of: {groups}", group=groups[0], groups=listed)
        if not facts.complete:
            return _left_out(say("has none of: {groups}", groups=_listed(self.matches)))
        return say("has none of: {groups}", groups=_listed(self.matches))


@dataclass(frozen=True, slots=True)
class SignedInAt:
    """`provider`: one of these identity providers vouches for the person."""

    slugs: tuple[str, ...]

    def answer(self, facts: Facts) -> Answer:
        return Answer.YES if facts.identity.provider in self.slugs else Answer.NO

    def sentence(self, facts: Facts) -> str:
        at = facts.identity.provider
        if self.answer(facts):
            return say("signed in at {provider}", provider=at)
        return say("signed in at {provider}, not at {wanted}", provider=at, wanted=either(self.slugs))


@dataclass(frozen=True, slots=True)
class HasAttribute:
    """`attributes`: one attribute has one of the values, letter by letter; with `fold`, in any case."""

    name: str
    values: tuple[str, ...]
    fold: bool = False

    def _fitting(self, facts: Facts) -> str | None:
        """The first value of the person's that is one of those."""
        own = facts.identity.attributes.get(self.name, ())
        if not self.fold:
            return next((value for value in own if value in self.values), None)
        wanted = {in_any_form(value) for value in self.values}
        return next((value for value in own if in_any_form(value) in wanted), None)

    def answer(self, facts: Facts) -> Answer:
        return Answer.NO if self._fitting(facts) is None else Answer.YES

    def sentence(self, facts: Facts) -> str:
        own = facts.identity.attributes.get(self.name, ())
        wanted = either(self.values[:10])
        value = self._fitting(facts)
        if value is not None:
            return say("has attribute {name}={value}", name=self.name, value=value)
        if not own:
            return say("attribute {name} is not there, not {wanted}", name=self.name, wanted=wanted)
        return say(
            "attribute {name} is {value}, not {wanted}", name=self.name, value=", ".join(own[:10]), wanted=wanted
        )


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """`mfa`: a second factor was used, or (false) was not."""

    wanted: bool

    def answer(self, facts: Facts) -> Answer:
        return Answer.YES if facts.identity.mfa is self.wanted else Answer.NO

    def sentence(self, facts: Facts) -> str:
        return say("second factor was used") if facts.identity.mfa else say("second factor was not used")


@dataclass(frozen=True, slots=True)
class Between:
    """`from` and `until`: now is not before the one and before the other."""

    start: datetime | None
    end: datetime | None

    def answer(self, facts: Facts) -> Answer:
        early = self.start is not None and facts.now < self.start
        late = self.end is not None and facts.now >= self.end
        return Answer.NO if early or late else Answer.YES

    def sentence(self, facts: Facts) -> str:
        if self.start is not None and facts.now < self.start:
            return say("counts only from {moment}", moment=_moment(self.start))
        if self.end is not None and facts.now >= self.end:
            return say("counted only until {moment}", moment=_moment(self.end))
        if self.start is not None and self.end is not None:
            return say("counts from {start} until {end}", start=_moment(self.start), end=_moment(self.end))
        if self.start is not None:
            return say("counts from {start}", start=_moment(self.start))
        return say("counts until {end}", end=_moment(self.end) if self.end else "")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def conditions_of(when: When, index: GroupIndex, *, denies: bool) -> tuple[Condition, ...]:
    """The conditions, those that refuse most cheaply first. `denies`: of a deny, for which case does not count."""
    read: list[Condition] = []
    if when.mfa is not None:
        read.append(SecondFactor(when.mfa))
    if when.provider:
        read.append(SignedInAt(when.provider))
    for kind, matches in ((AnyGroup, when.groups), (AllGroups, when.all_of), (NoGroup, when.none_of)):
        if matches:
            read.append(kind(matches, frozenset(index.number[match] for match in matches)))
    read += [HasAttribute(name, values, fold=denies) for name, values in when.attributes.items()]
    if when.from_ or when.until:
        read.append(Between(when.from_, when.until))
    return tuple(read)


def holds(conditions: tuple[Condition, ...], facts: Facts) -> Answer:
    """All of the conditions together. Anything that goes wrong in one makes it unknown, which never gives access."""
    result = Answer.YES
    for condition in conditions:
        try:
            own = condition.answer(facts)
        except Exception:  # noqa: BLE001  any error is no: the callers turn unknown into the side with less access
            own = Answer.UNKNOWN
        if own is Answer.NO:
            return Answer.NO
        result = min(result, own)
    return result


def bindings(when: When, facts: Facts) -> tuple[Mapping[str, str], ...]:
    """The captures of each (expression under `groups`, group it names), in the order of expressions, then groups."""
    found: list[Mapping[str, str]] = []
    for match in when.groups:
        if match.kind != "regex":
            continue
        for group in facts.groups_of(facts.index.number[match]):
            got = captures(expression_of(match), composed(group) if match.fold else group)
            if got:
                found.append(dict(got))
    return tuple(found)
