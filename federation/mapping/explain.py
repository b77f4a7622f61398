"""Why somebody has a role, or has it not: every rule that concerns the role, each condition with its answer in words.

Uses the engine's own conditions and targets: there is no second evaluator that could tell another story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from federation.identity import Identity
from federation.mapping.conditions import Answer, Condition, Facts, gather, holds
from federation.mapping.durations import spoken_duration
from federation.mapping.engine import (
    NO_CATALOGUE,
    CompiledMapping,
    CompiledRule,
    Resolved,
    Unresolved,
    Verdict,
    bound_captures,
    covering,
    takes_away,
)
from federation.mapping.rules import Catalogue
from federation.mapping.targets import selection
from federation.said import either, say

Effect = Literal["allow", "deny", "approval"]
_VERDICTS = {
    "allowed": "Yes.",
    "approval_required": "Yes, once it is approved.",
    "denied_by_rule": "No: a rule denies it.",
    "no_matching_rule": "No: no rule gives it.",
    "directory_stale": "No: not until the directory is heard of again.",
}


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """One rule that concerns the role. `matched`: it has its effect on this person and this role now. `line` in the document."""

    name: str
    line: int
    matched: bool
    effect: Effect
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict, and each rule that could give or take this role, in the document's order."""

    role_arn: str
    verdict: Verdict
    rules: tuple[RuleExplanation, ...]

    def as_text(self) -> str:
        """For a terminal."""
        lines = [self.role_arn, _VERDICTS.get(self.verdict.code, "No.")]
        lines += [f"  {reason.sentence}" for reason in self.verdict.reasons]
        if self.verdict.code == "no_matching_rule" and all(rule.effect == "deny" for rule in self.rules):
            lines.append("  No rule of the mapping names this role.")
        for rule in self.rules:
            lines += ["", f"{_headline(rule)} (line {rule.line})"]
            lines += [f"  - {reason}" for reason in rule.reasons]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For the API: plain data only."""
        grant = self.verdict.grant
        return {
            "role_arn": self.role_arn,
            "allowed": self.verdict.allowed,
            "code": self.verdict.code,
            "rule": grant.rule if grant else None,
            "reasons": [{"code": r.code, "sentence": r.sentence, "rule": r.rule or None} for r in self.verdict.reasons],
            "rules": [
                {"name": r.name, "line": r.line, "matched": r.matched, "effect": r.effect, "reasons": list(r.reasons)}
                for r in self.rules
            ],
        }


def explain(
    compiled: CompiledMapping, identity: Identity, role_arn: str, now: datetime, catalogue: Catalogue = NO_CATALOGUE
) -> Explanation:
    """Why the identity has the role at `now` (aware; ValueError otherwise), or has it not."""
    verdict = compiled.verdict(identity, role_arn, now, catalogue)
    place = compiled.resolve(role_arn, catalogue)
    if isinstance(place, Unresolved):
        return Explanation(role_arn, verdict, ())
    facts = gather(compiled.index, identity, now)
    return Explanation(
        role_arn, verdict, tuple(_explain_rule(rule, place, facts) for rule in compiled.naming(place.arn))
    )


def explain_rules(
    compiled: CompiledMapping, identity: Identity, now: datetime
) -> Iterator[tuple[str, bool, Callable[[], RuleExplanation]]]:
    """Every rule, in the document's order: its name, whether it has its effect on this person (on whatever roles), and what
    tells why, which costs more than the answer. A deny that cannot be ruled out has its effect.
    """
    facts = gather(compiled.index, identity, now)
    for rule in compiled.rules:
        answer = holds(rule.conditions, facts)
        matched = answer is not Answer.NO if rule.denies else answer is Answer.YES
        yield rule.rule.name, matched, partial(_explain_conditions, rule, facts, matched=matched)


def _explain_conditions(compiled: CompiledRule, facts: Facts, *, matched: bool) -> RuleExplanation:
    rule = compiled.rule
    reasons = [_sentence(condition, facts) for condition in compiled.conditions]
    effect: Effect = "deny" if compiled.denies else "approval" if rule.approval else "allow"
    told = tuple(reasons) or (say("has no condition: it counts for everybody"),)
    return RuleExplanation(rule.name, rule.line, matched, effect, told)


def _explain_rule(compiled: CompiledRule, place: Resolved, facts: Facts) -> RuleExplanation:
    rule = compiled.rule
    answer = holds(compiled.conditions, facts)
    reasons = [_sentence(condition, facts) for condition in compiled.conditions]
    if not compiled.conditions:
        reasons.append(say("has no condition: it counts for everybody"))
    selected = (
        list(selection(compiled.target.selector, place.account, compiled.target.fold))
        if compiled.target.selector
        else []
    )
    reasons += [sentence for _, sentence in selected]
    bound = bound_captures(compiled, facts)
    if compiled.denies:
        matched = answer is not Answer.NO and takes_away(compiled, answer, place, bound)
    else:
        matched = answer is Answer.YES and covering(compiled, place, facts) is not None
    reasons.append(_about_role(compiled, place, bound, answer, matched=matched, fits=all(fits for fits, _ in selected)))
    if rule.approval is not None:
        by = ", ".join(str(match) for match in rule.approval.by)
        longest = spoken_duration(rule.approval.at_most)
        reasons.append(say("needs an approval by one of: {groups}, for at most {time}", groups=by, time=longest))
        if rule.approval.provider:
            reasons.append(
                say("the yes counts from people of {provider} alone", provider=either(rule.approval.provider))
            )
        if rule.approval.break_glass is not None:
            at_once = ", ".join(str(match) for match in rule.approval.break_glass.by)
            longest = spoken_duration(rule.approval.break_glass.at_most)
            reasons.append(
                say("may be taken at once, and is reviewed afterwards, by: {groups}, for at most {time}", groups=at_once, time=longest)
            )  # fmt: skip
    effect: Effect = "deny" if compiled.denies else "approval" if rule.approval else "allow"
    return RuleExplanation(rule.name, rule.line, matched, effect, tuple(reasons))


def _sentence(condition: Condition, facts: Facts) -> str:
    try:
        return condition.sentence(facts)
    except Exception:  # noqa: BLE001  holds() took it for unknown; an explanation must not fail where the decision did not
        return say("could not be decided, which counts against access")


def _about_role(
    compiled: CompiledRule, place: Resolved, bound: Sequence[Any], answer: Answer, *, matched: bool, fits: bool
) -> str:
    role, account = place.arn.qualified, place.account.name
    if matched and compiled.denies:
        if answer is Answer.UNKNOWN:
            return say("denies {role} in {account}, as it cannot be ruled out", role=role, account=account)
        return say("denies {role} in {account}", role=role, account=account)
    if matched:
        return say("gives {role} in {account}", role=role, account=account)
    if not fits:
        return say("does not reach this account")
    if answer is not Answer.YES and compiled.denies:
        return say("would deny {role} in {account} if its conditions held", role=role, account=account)
    if answer is not Answer.YES:
        return say("would give {role} in {account} if its conditions held", role=role, account=account)
    if not compiled.captures:
        return say("names this role by a pattern or at another path, and the account's roles are not known yet")
    if not bound:
        return say("no group gives the captures that its ARNs need")
    return say("the captures of this person's groups name other roles")


def _headline(rule: RuleExplanation) -> str:
    if rule.effect == "deny":
        return f"{rule.name} {'denies it' if rule.matched else 'does not deny it'}"
    if not rule.matched:
        return f"{rule.name} does not give it"
    return f"{rule.name} gives it{' once it is approved' if rule.effect == 'approval' else ''}"
