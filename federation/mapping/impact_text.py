"""An impact as text for a terminal, a ticket and a review. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from federation.mapping.impact import Cohort, Impact, RoleChange
from federation.mapping.second_person import SENTENCES, SecondPersonCode

_SIGNS: Final = {
    "gained": "+", "may_ask": "+", "lost": "-", "may_not_ask": "-", "approval_needed": "-", "approval_lifted": "+", "session": "~",
}  # fmt: skip
_SAID: Final = {
    "longer": "sessions of up to {after} instead of {before}",
    "shorter": "sessions of up to {after} instead of {before}",
    "console_longer": "console of {after} instead of {before}",
    "console_shorter": "console of {after} instead of {before}",
    "policy_lifted": "the session policy {before} is lifted",
    "policy_set": "the session policy is {after}",
    "policy_changed": "the session policy is {after} instead of {before}",
    "tags_changed": "session tags: {after} instead of {before}",
}
_NAMES, _ROLES, _COHORTS, _FINDINGS = 5, 20, 30, 30


def as_text(impact: Impact, second_person: Sequence[SecondPersonCode] = (), *, never_signed_in: int = 0) -> str:
    """For a terminal; ends without a line break. Bounded: what is left out is counted.

    `never_signed_in`: how many of the people only a directory knows yet.
    """
    return "\n".join(_lines(impact, second_person, never_signed_in))


def _lines(impact: Impact, second_person: Sequence[SecondPersonCode], never_signed_in: int) -> Iterator[str]:
    counts = impact.counts
    undecided = f" ({counts['undecided']:,} of them cannot be decided on now)" if counts["undecided"] else ""
    yield f"Impact on {_people(counts['people'])}{undecided}:"
    if never_signed_in:
        yield f"  {never_signed_in:,} of them have never signed in and count with the groups that the directory has"
    if impact.is_empty:
        yield "  Nobody's access changes."
    else:
        yield f"  + gained: {_people(counts['people_gain'])}, {_roles(counts['roles_gained'])}"
        yield f"  - lost: {_people(counts['people_lose'])}, {_roles(counts['roles_lost'])}"
        if counts["session"]:
            yield f"  ~ sessions of another length, policy or tags: {counts['session']:,}"
        if counts["people_production_gain"]:
            yield f"  ! more in PRODUCTION: {_people(counts['people_production_gain'])}, {_roles(len(impact.production))}"
    if impact.unmarked:
        yield f"  ! no longer production: {', '.join(impact.unmarked[:_ROLES])}"
    for cohort in impact.cohorts[:_COHORTS]:
        yield ""
        yield from _cohort(cohort)
    if len(impact.cohorts) > _COHORTS:
        rest = impact.cohorts[_COHORTS:]
        yield f"… and {sum(len(cohort.people) for cohort in rest):,} more people in {len(rest):,} groups with changes of their own"
    if impact.rights:
        yield ""
        yield "Rights in the gateway:"
        for change in impact.rights[:_ROLES]:
            yield from (f"  + {_safe(change.person.label)} ({change.person.key}): {right}" for right in change.gained)
            yield from (f"  - {_safe(change.person.label)} ({change.person.key}): {right}" for right in change.lost)
        if len(impact.rights) > _ROLES:
            yield f"  … and {len(impact.rights) - _ROLES:,} more people"
    findings = impact.findings
    if not impact.people:
        # A gateway that is new: of every rule the same would be said, and of none is it news.
        findings = tuple(finding for finding in findings if finding.code != "matches_nobody")
        yield "  Nobody is known yet: whom rules match is told once people have signed in, or a directory lists them."
    if findings:
        yield ""
        yield "Rules to look at:"
        ordered = sorted(findings, key=lambda finding: not finding.is_new)
        for finding in ordered[:_FINDINGS]:
            new = "new: " if finding.is_new else ""
            yield f"  {new}{_safe(finding.rule)} (line {finding.line}): {_safe(finding.sentence)}"
        if len(ordered) > _FINDINGS:
            yield f"  … and {len(ordered) - _FINDINGS:,} more"
    if second_person:
        yield ""
        yield "In the portal a second person would have to publish this:"
        yield from (f"  {SENTENCES[code]}" for code in second_person)


def _cohort(cohort: Cohort) -> Iterator[str]:
    names = ", ".join(f"{_safe(person.label)} ({person.key})" for person in cohort.people[:_NAMES])
    more = f" and {len(cohort.people) - _NAMES:,} more" if len(cohort.people) > _NAMES else ""
    yield f"{_people(len(cohort.people))}: {names}{more}"
    for change in cohort.changes[:_ROLES]:
        yield f"  {_SIGNS[change.kind]} {change.role} in {_safe(change.account)}{' PRODUCTION' if change.production else ''}: {_why(change)}"
    if len(cohort.changes) > _ROLES:
        yield f"  … and {len(cohort.changes) - _ROLES:,} more roles"


def _why(change: RoleChange) -> str:
    before, after = _safe(change.before), _safe(change.after)
    said = {
        "gained": f"by rule {after}",
        "may_ask": f"with an approval, by rule {after}",
        "lost": f"rule {before} no longer gives it",
        "may_not_ask": f"rule {before} no longer gives it with an approval",
        "approval_needed": f"now only with an approval, by rule {after}",
        "approval_lifted": f"no longer needs an approval, by rule {after}",
        "session": f"by rule {after}",
    }[change.kind]
    if change.denied_by:
        said = f"rule {_safe(change.denied_by)} denies it"
    parts = [said]
    for option in change.options:
        values = {"before": _safe(option.before) or "none", "after": _safe(option.after) or "none"}
        parts.append(_SAID[option.code].format(**values))
    return "; ".join(parts)


def _people(count: int) -> str:
    return f"{count:,} {'person' if count == 1 else 'people'}"


def _roles(count: int) -> str:
    return f"{count:,} role{'' if count == 1 else 's'}"


def _safe(text: str) -> str:
    """Text from outside on a terminal: control characters are shown, not obeyed (attack: escape sequences in a name)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
