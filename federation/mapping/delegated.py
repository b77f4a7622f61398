"""Account owners' own mapping: what the IAM tags of a role say, as rules, inside what the document delegates. Pure.

A role's owner tags it; nothing else is needed. The document's `delegations` say which groups the owners of which accounts
may name, and for how long: a tag that says more gives nothing and is a finding, never a part of what it says. The rules
stand behind the document's own: where one of those gives the role to the same person, it alone says how, so that no tag lifts
an approval or a session policy; and a deny anywhere wins. Where the document gives the role to one of the groups with a second factor
alone, so does the tag.

| tag | value |
|---|---|
| `rolegate:groups`, `rolegate:groups-2` … `-9` | group names with `:` between, exact (a tag's value holds 256 characters) |
| `rolegate:duration` | as in the document, `1h`; no longer than the delegation's `max_duration` |
| `rolegate:console-duration` | likewise |
| `rolegate:policy` | `read-only`, and nothing else: a tag can narrow, not widen |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from federation.mapping.durations import parse_duration
from federation.mapping.patterns import glob_matches, names_group
from federation.mapping.rolearn import is_reserved, parse_role_arn
from federation.mapping.rules import Account, Delegation, Document, GroupMatch, Rule, SessionOptions, Target, When
from federation.mapping.targets import Chosen, CompiledTarget, selects

RULE_OF_TAGS: Final = "tags of "  # with account and role behind it: the name of a rule that a role's own tags make
PREFIX: Final = "rolegate:"
_GROUP_KEYS: Final = (f"{PREFIX}groups", *(f"{PREFIX}groups-{n}" for n in range(2, 10)))
_KNOWN: Final = frozenset({*_GROUP_KEYS, f"{PREFIX}duration", f"{PREFIX}console-duration", f"{PREFIX}policy"})
_SHORTEST, _LONGEST = 900, 43_200

Code = Literal[
    "account_not_delegated",
    "group_not_delegated",
    "duration_invalid",
    "duration_not_delegated",
    "policy_invalid",
    "tag_unknown",
    "role_unusable",
]


@dataclass(frozen=True, slots=True)
class TaggedRole:
    """A role of the catalogue that has at least one tag of ours. `tags`: all of its tags."""

    arn: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TagFinding:
    """A tag that gives nothing, and why: for the account's owner."""

    arn: str
    code: Code
    sentence: str


@dataclass(frozen=True, slots=True)
class Delegated:
    """The rules that tags make, and what they were refused."""

    rules: tuple[Rule, ...]
    findings: tuple[TagFinding, ...]


def is_ours(tags: Mapping[str, str]) -> bool:
    """True if a role's tags speak to the gateway."""
    return any(key.startswith(PREFIX) for key in tags)


def rules_from_tags(document: Document, roles: Iterable[TaggedRole]) -> Delegated:
    """What the tags of `roles` give under the document's delegations, by ARN. All or nothing for each role."""
    accounts = {account.id: account for account in document.accounts}
    factor = _SecondFactor(document, accounts)
    rules: list[Rule] = []
    findings: list[TagFinding] = []
    for role in sorted(roles, key=lambda role: role.arn):
        made = _rule(role, accounts, document.delegations)
        if isinstance(made, Rule):
            rules.append(factor.kept_in(made))
        else:
            findings += made
    return Delegated(tuple(rules), tuple(findings))


def with_delegated(document: Document, roles: Iterable[TaggedRole]) -> Document:
    """The document with the tags' rules behind its own."""
    made = rules_from_tags(document, roles).rules
    return replace(document, rules=(*document.rules, *made)) if made else document


class _SecondFactor:
    """Which roles the document gives to which groups with a second factor alone.

    Attack: what a rule asks for with a second factor (an approval, a session policy), it does not ask of whoever signs in without
    one. A tag that names the same group would give them more than those who used it.
    """

    def __init__(self, document: Document, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts
        self._named: dict[str, list[CompiledTarget]] = {}
        self._others: list[tuple[tuple[GroupMatch, ...], CompiledTarget]] = []
        chosen = Chosen(accounts)
        for rule in document.rules:
            if rule.allow is None or not rule.when.mfa:
                continue
            target = CompiledTarget(rule.allow, chosen, denies=False)
            matches = rule.when.groups or rule.when.all_of
            if matches and all(match.kind == "exact" for match in matches):
                for match in matches:
                    self._named.setdefault(match.pattern, []).append(target)
            else:
                self._others.append((matches, target))

    def kept_in(self, rule: Rule) -> Rule:
        """The rule of a tag, for those alone who used a second factor where the document wants that of one of its groups."""
        (text,) = rule.allow.arns if rule.allow else ()
        arn = parse_role_arn(text)
        if arn is None or not (self._named or self._others):
            return rule
        names = [match.pattern for match in rule.when.groups]
        targets = [target for name in names for target in self._named.get(name, ())]
        targets += [
            target
            for matches, target in self._others
            if not matches or any(names_group(match, name) for match in matches for name in names)
        ]
        account = self._accounts[arn.account_id]
        if any(target.chooses(account) and target.might_cover(arn) for target in targets):
            return replace(rule, when=replace(rule.when, mfa=True))
        return rule


def _rule(
    role: TaggedRole, accounts: Mapping[str, Account], delegations: Iterable[Delegation]
) -> Rule | list[TagFinding]:
    def no(code: Code, sentence: str) -> list[TagFinding]:
        return [TagFinding(role.arn, code, sentence)]

    arn = parse_role_arn(role.arn)
    if arn is None or is_reserved(arn):
        return no("role_unusable", "This role cannot be assumed through a gateway; take its rolegate: tags away.")
    unknown = sorted(key for key in role.tags if key.startswith(PREFIX) and key not in _KNOWN)
    if unknown:
        return no("tag_unknown", f"{unknown[0]} is not a tag of Rolegate; known are {', '.join(sorted(_KNOWN))}.")
    groups = _groups(role.tags)
    if not groups:
        return no("group_not_delegated", f"{_GROUP_KEYS[0]} names no group.")
    account = accounts.get(arn.account_id)
    here = [entry for entry in delegations if account is not None and selects(entry.accounts, account)]
    if not here:
        return no("account_not_delegated", f"The mapping delegates nothing to the owners of account {arn.account_id}.")
    options, fault = _options(role.tags)
    if fault is not None:
        return no(*fault)
    # One delegation must allow all of it: two half permissions are not a whole one.
    naming = [
        entry for entry in here if all(any(glob_matches(glob, group) for glob in entry.groups) for group in groups)
    ]
    if not naming:
        bad = next((g for g in groups if not any(glob_matches(glob, g) for e in here for glob in e.groups)), groups[0])
        return no("group_not_delegated", f"The mapping does not let this account's owners name the group {bad}.")
    allowed = [entry for entry in naming if _within(options, entry.max_duration)]
    if not allowed:
        return no("duration_not_delegated", "The sessions are longer than the mapping lets this account's owners give.")
    # For everybody's people, where one of them says so; else for those of all of them, by the shortest of their limits.
    for_everybody = [entry for entry in allowed if not entry.provider]
    limits = [entry.max_duration for entry in for_everybody or allowed]
    known = [limit for limit in limits if limit is not None]
    if options.duration is None and known and (not for_everybody or len(known) == len(limits)):
        options = replace(options, duration=min(max(known) if for_everybody else min(known), 3_600))
    providers = () if for_everybody else tuple(dict.fromkeys(slug for entry in allowed for slug in entry.provider))
    return Rule(
        name=f"{RULE_OF_TAGS}{arn.account_id}/{arn.qualified}",
        when=When(groups=tuple(GroupMatch("exact", group) for group in groups), provider=providers),
        allow=Target(arns=(role.arn,)),
        session=options,
        by_tag=True,
    )


def _groups(tags: Mapping[str, str]) -> tuple[str, ...]:
    listed = (part.strip() for key in _GROUP_KEYS for part in tags.get(key, "").split(":"))
    return tuple(dict.fromkeys(part for part in listed if part))


def _options(tags: Mapping[str, str]) -> tuple[SessionOptions, tuple[Code, str] | None]:
    seconds: dict[str, int | None] = {}
    for name in ("duration", "console-duration"):
        text = tags.get(f"{PREFIX}{name}")
        value = None if text is None else parse_duration(text)
        if text is not None and (value is None or not _SHORTEST <= value <= _LONGEST):
            return SessionOptions(), ("duration_invalid", f"{PREFIX}{name} must be from 15m to 12h, such as 1h.")
        seconds[name] = value
    policy = tags.get(f"{PREFIX}policy", "")
    if policy not in {"", "read-only"}:
        return SessionOptions(), ("policy_invalid", f"{PREFIX}policy can only be read-only.")
    return SessionOptions(
        duration=seconds["duration"], console_duration=seconds["console-duration"], policy=policy
    ), None


def _within(options: SessionOptions, longest: int | None) -> bool:
    return longest is None or max(options.duration or 0, options.console_duration or 0) <= longest
