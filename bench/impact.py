"""What a revision does to 5,000 people, before it is published.

Run: python -m bench.impact [--people 5000] [--groups 200] [--rules 5000]

Side by side in one run: the engine deciding for each person twice (what one writes first), and `mapping.impact.assess`.
Target: at most 2 s for the whole comparison, each document compiled already; the two must find the same changes. The process
exits with 1 if that fails. Trust the ratios, not the times.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.mapping import NOW, document, matches
from federation.identity import Identity, Subject
from federation.mapping.engine import CompiledMapping, compile_mapping
from federation.mapping.impact import Somebody, assess
from federation.mapping.rules import CatalogueRole, Document, SessionOptions

TARGET = 2.0
ROLES = ("ReadOnly", "Developer", *(f"Service{n}" for n in range(18)))


def people(count: int, groups: int, rules: int) -> list[Somebody]:
    """People with groups of which about a seventh mean something to the mapping, drawn from a directory of ten groups a person."""
    rng = random.Random(7)
    known = [f"team-{n:05d}-engineers" for n in range(rules * 80 // 100)]
    known += [f"aws-{n:04d}-ops" for n in range(rules * 15 // 100)]
    silent = [f"CN=mail list {n},OU=Groups,DC=example,DC=com" for n in range(count * 10)]
    found = []
    for n in range(count):
        own = frozenset([*rng.sample(known, groups // 7), *rng.sample(silent, groups - groups // 7)])
        who = Identity(Subject("corp", "", f"p{n}"), f"Person {n}", f"p{n}@example.com", own, NOW, NOW)
        found.append(Somebody(f"corp:p{n}", who.name, who.email, who, who))
    return found


def one_rule(before: Document) -> Document:
    """One rule gives another role."""
    first = before.rules[0]
    if first.allow is None:
        raise ValueError("the first rule denies")
    return replace(before, rules=(replace(first, allow=replace(first.allow, roles=("Developer",))), *before.rules[1:]))


def tenth(before: Document) -> Document:
    """Every tenth rule is gone."""
    return replace(before, rules=tuple(rule for n, rule in enumerate(before.rules) if n % 10))


def everybody(before: Document) -> Document:
    """Every rule gives longer sessions: everything that anybody has is another."""
    rules = (replace(r, session=SessionOptions(duration=1_800)) if r.allow is not None else r for r in before.rules)
    return replace(before, rules=tuple(rules))


def naive(
    before: CompiledMapping, after: CompiledMapping, crowd: list[Somebody], catalogue: Any
) -> set[tuple[str, str]]:
    """(person, role) of every change, by two decisions for each person."""
    found = set()
    for person in crowd:
        if person.before is None:
            continue
        old = {g.role_arn: (g.rule, g.session.duration) for g in before.decide(person.before, NOW, catalogue).grants}
        new = {g.role_arn: (g.rule, g.session.duration) for g in after.decide(person.before, NOW, catalogue).grants}
        for arn in old.keys() | new.keys():
            one, other = old.get(arn), new.get(arn)
            if one is None or other is None or one[1] != other[1]:
                found.add((person.key, arn))
    return found


def cpu(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--people", type=int, default=5_000)
    arguments.add_argument("--groups", type=int, default=200)
    arguments.add_argument("--rules", type=int, default=5_000)
    options = arguments.parse_args()

    base = document(matches(options.rules))
    before = compile_mapping(base)
    crowd = people(options.people, options.groups, options.rules)
    catalogue = {
        a.id: {f"arn:aws:iam::{a.id}:role/{name}": CatalogueRole(f"arn:aws:iam::{a.id}:role/{name}", name, "", 43_200) for name in ROLES}
        for a in base.accounts
    }  # fmt: skip
    sample = crowd[: max(1, len(crowd) // 20)]
    print(f"{options.people:,} people x {options.groups} groups, {options.rules:,} rules; CPU seconds")
    print(f"{'revision':24}{'affected':>10}{'changes':>10}{'decide twice':>14}{'impact':>10}{'ratio':>8}")
    good = True
    for label, change in (("one rule", one_rule), ("every tenth rule gone", tenth), ("every session", everybody)):
        after = compile_mapping(change(base))
        taken, impact = cpu(lambda after=after: assess(before, after, crowd, NOW, catalogue))
        slow, expected = cpu(lambda after=after: naive(before, after, sample, catalogue))
        slow *= len(crowd) / len(sample)
        own = {
            (person.key, c.role_arn) for cohort in impact.cohorts for person in cohort.people for c in cohort.changes
        }
        keys = {person.key for person in sample}
        same = {pair for pair in own if pair[0] in keys} == expected
        counts = impact.counts
        changes = sum(counts[name] for name in ("gained", "lost", "approval_needed", "approval_lifted", "session"))
        print(
            f"{label:24}{counts['people_affected']:>10,}{changes:>10,}{slow:>14.2f}{taken:>10.2f}{slow / taken:>7.1f}x"
        )
        if not same:
            print("the two do not find the same changes")
        good = good and same and taken <= TARGET
    print(f"impact on {options.people:,} people <= {TARGET:.0f} s: {'met' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
