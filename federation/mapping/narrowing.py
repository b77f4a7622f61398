"""A narrower rule, out of who uses what a rule gives: a proposal for a draft, never a change by itself. Pure.

Only what is written in the rule is taken out of it or made more exact, so that every proposal gives less and nothing new
(tests/mapping/test_narrowing.py): groups of which nobody uses it, role names and accounts that nobody uses, a glob of role
names instead of which the used names stand. A rule that nobody uses at all is to go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from federation.mapping.editing import put, remove
from federation.mapping.groups import GroupIndex, PatternsUnusable
from federation.mapping.patterns import captures_of, glob_matches, is_glob
from federation.mapping.rolearn import RoleArn, parse_role_arn
from federation.mapping.rules import Account, AccountSelector, Document, GroupMatch, Rule, Target
from federation.mapping.targets import selects
from federation.mapping.writing import rule_entry
from federation.said import say

MOST_NAMES: Final = 20
"""Role names that may stand instead of a glob: more of them are harder to read than the glob."""


class Holder(NamedTuple):
    """Somebody who has something by the rule. `used`: ARNs of what it gives them that they have used."""

    groups: frozenset[str]
    used: frozenset[str]


@dataclass(frozen=True, slots=True)
class Narrower:
    """What is proposed. `rule` None: take it out. `changes`: what differs, one sentence each. `people`: who have something by
    the rule now; `users`: who of them use it.
    """

    rule: Rule | None
    changes: tuple[str, ...]
    people: int
    users: int


def narrower(
    rule: Rule, document: Document, holders: Sequence[Holder], known_accounts: Collection[str] = frozenset()
) -> Narrower | None:
    """A rule that gives what is used and less besides; None where every part of it is used, and for a deny.

    `known_accounts`: ids of accounts whose roles are known. A glob gives nothing in the others, and a name is believed there:
    so names stand instead of a glob only where the rule reaches no other account.
    """
    if rule.allow is None:
        return None
    users = [holder for holder in holders if holder.used]
    if not users:
        if not holders:
            out = say("Take the rule {rule} out: nobody has anything by it.", rule=rule.name)
        else:
            out = say("Take the rule {rule} out: none of the {number} people who have it uses it.", rule=rule.name, number=len(holders))  # fmt: skip
        return Narrower(None, (out,), len(holders), 0)
    used = [arn for text in sorted(set().union(*(holder.used for holder in users))) if (arn := parse_role_arn(text))]
    groups, said_groups = _groups(rule.when.groups, users)
    reached = {account.id for account in document.accounts if selects(rule.allow.accounts, account)}
    roles, said_roles = _roles(rule.allow.roles, used, exact=reached <= set(known_accounts))
    arns, said_arns = _arns(rule.allow.arns, used)
    accounts, said_accounts = _accounts(rule.allow.accounts, document.accounts, used)
    changes = (*said_groups, *said_roles, *said_arns, *said_accounts)
    if not changes or not (roles or arns):
        return None
    changed = replace(
        rule, when=replace(rule.when, groups=groups), allow=Target(roles=roles, accounts=accounts, arns=arns)
    )
    return Narrower(changed, changes, len(holders), len(users))


def as_text(text: str, name: str, found: Narrower) -> str:
    """The document's text with the proposal in it; everything else stays as it is. Raises editing.NotEditable."""
    if found.rule is None:
        return remove(text, "mapping", "name", name)
    return put(text, "mapping", "name", rule_entry(found.rule))


def _groups(matches: tuple[GroupMatch, ...], users: Iterable[Holder]) -> tuple[tuple[GroupMatch, ...], list[str]]:
    """Those of the groups that one of the users is in, and every expression with captures: ARNs and tags may need them."""
    index = GroupIndex(matches, {})
    named: set[int] = set()
    for group in set().union(*(holder.groups for holder in users)):
        try:
            named.update(index.look(group).matches)
        except PatternsUnusable:
            return matches, []  # which one it is cannot be said
    left = tuple(match for match in matches if index.number[match] in named or captures_of(match))
    gone = [match for match in matches if match not in left]
    if not gone or not left:
        return matches, []
    return left, [
        say("Leave out the group {group}: none of its people uses what the rule gives.", group=match) for match in gone
    ]


def _roles(names: tuple[str, ...], used: Sequence[RoleArn], *, exact: bool) -> tuple[tuple[str, ...], list[str]]:
    left: list[str] = []
    said: list[str] = []
    for name in names:
        fitting = sorted({_called(arn, name) for arn in used if _names(name, arn)})
        if not fitting:
            said.append(say("Leave out the role {role}: nobody uses it.", role=name))
        elif exact and is_glob(name) and len(fitting) <= MOST_NAMES:
            left += fitting
            said.append(
                say("Write {roles} instead of {pattern}: of all that it names, only that is used.", roles=", ".join(fitting), pattern=name)
            )  # fmt: skip
        else:
            left.append(name)
    return tuple(dict.fromkeys(left)), said


def _names(name: str, arn: RoleArn) -> bool:
    return glob_matches(name, arn.qualified if "/" in name else arn.name)


def _called(arn: RoleArn, name: str) -> str:
    """How to write the role where `name` stood: with its path where a path was asked for."""
    return arn.qualified if "/" in name else arn.name


def _arns(texts: tuple[str, ...], used: Sequence[RoleArn]) -> tuple[tuple[str, ...], list[str]]:
    """Literal ARNs that are used, and every template: what a capture may come to be is not for the past to say."""
    there = {str(arn) for arn in used}
    left = tuple(text for text in texts if "{" in text or text in there)
    return left, [say("Leave out {role}: nobody uses it.", role=text) for text in texts if text not in left]


def _accounts(
    selector: AccountSelector | None, accounts: Iterable[Account], used: Sequence[RoleArn]
) -> tuple[AccountSelector | None, list[str]]:
    """Account ids and names that are used. What is chosen by tag or unit means accounts that are yet to come, and stays."""
    if selector is None or not (selector.ids or selector.names):
        return selector, []
    there = {arn.account_id for arn in used}
    called = [account.name for account in accounts if account.id in there]
    ids = tuple(one for one in selector.ids if one in there)
    names = tuple(one for one in selector.names if any(glob_matches(one, name) for name in called))
    gone = [*(one for one in selector.ids if one not in ids), *(one for one in selector.names if one not in names)]
    if not gone or not (ids or names):
        return selector, []
    said: list[str] = [say("Leave out the account {account}: nobody uses a role in it.", account=one) for one in gone]
    return replace(selector, ids=ids, names=names), said
