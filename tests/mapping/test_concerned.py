"""Whom a change can concern: whoever is not named has after it what they had before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.mapping.company import standings
from federation.mapping.concerned import Concerned, changed_rules, rules_into, turned
from federation.mapping.engine import compile_mapping
from tests.cast import DEV, NOW, PROD, alice, identity
from tests.mapping.kit import mapping
from tests.mapping.test_company_equals_decide import companies, timed
from tests.mapping.test_verdict_equals_decide import catalogues

EVERYTHING = list(HealthCheck)
whole = companies.map(lambda people: [replace(one, groups_complete=True) for one in people])


def names(rules):
    return [rule.name for rule in rules]


@st.composite
def edits(draw):
    """A document, and what an admin may make of it: rules taken out, put in, changed and moved."""
    before, other = draw(timed()), draw(timed())
    kept = [rule for rule in before.rules if draw(st.integers(0, 3))]
    edited = [replace(rule, name=f"n{n}") if draw(st.booleans()) else rule for n, rule in enumerate(other.rules)]
    mixed = kept + [rule for rule in edited if rule.name not in names(kept)][: draw(st.integers(0, 2))]
    if draw(st.booleans()):
        mixed = draw(st.permutations(mixed))
    return before, replace(before, rules=tuple(mixed))


def what_they_have(document, people, now, catalogue):
    found = standings(compile_mapping(document), people, now, catalogue)
    return [(set(one.grants), one.denied, one.closed) for one in found]


@settings(max_examples=120, deadline=None, suppress_health_check=EVERYTHING)
@given(edits(), whole, catalogues)
def test_who_is_not_concerned_by_an_edit_has_what_they_had(documents, people, catalogue):
    old, new = documents
    were, are = changed_rules(old.rules, new.rules)
    concerned = Concerned(new, (*were, *are), NOW)
    before = what_they_have(old, people, NOW, catalogue)
    after = what_they_have(new, people, NOW, catalogue)
    for who, had, has in zip(people, before, after, strict=True):
        assert concerned(who) or had == has


@settings(max_examples=80, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), whole, catalogues, catalogues, st.sampled_from([PROD, DEV]))
def test_who_is_not_concerned_by_a_listing_has_what_they_had(document, people, before, other, account):
    compiled = compile_mapping(document)
    before = {key: value for key, value in before.items() if key in compiled.accounts}
    after = {key: value for key, value in before.items() if key != account}
    if account in other:
        after[account] = other[account]
    concerned = Concerned(document, rules_into(compiled, {account}), NOW)
    had, has = (what_they_have(document, people, NOW, catalogue) for catalogue in (before, after))
    assert all(concerned(who) or a == b for who, a, b in zip(people, had, has, strict=True))


@settings(max_examples=80, deadline=None, suppress_health_check=EVERYTHING)
@given(timed(), whole, catalogues, st.integers(0, 3))
def test_who_is_not_concerned_by_the_time_has_what_they_had(document, people, catalogue, days):
    later = NOW + timedelta(days)
    concerned = Concerned(document, turned(document.rules, NOW, later), later)
    had, has = (what_they_have(document, people, at, catalogue) for at in (NOW, later))
    assert all(concerned(who) or a == b for who, a, b in zip(people, had, has, strict=True))


RULES = """\
- {name: a, when: {groups: [engineering]}, allow: {roles: [A]}}
- {name: b, when: {groups: [sales]}, allow: {roles: [B], accounts: {names: ["shop-*"]}}}
- {name: c, when: {groups: [finance]}, allow: {roles: [C], accounts: {names: ["sand-*"]}}}
- {name: d, when: {groups: [temps]}, deny: {roles: [A]}}
"""


def test_one_changed_rule_is_the_only_one():
    old = mapping(RULES).document.rules
    new = mapping("\n\n" + RULES.replace("sales", "marketing")).document.rules
    assert tuple(map(names, changed_rules(old, new))) == (["b"], ["b"])
    assert changed_rules(old, old) == ((), ())


def test_one_moved_rule_is_the_only_one_and_a_new_one_and_a_gone_one():
    a, b, c, d = mapping(RULES).document.rules
    assert tuple(map(names, changed_rules((a, b, c, d), (d, a, b, c)))) == (["d"], ["d"])
    assert tuple(map(names, changed_rules((a, b, c), (a, c, d)))) == (["b"], ["d"])
    assert tuple(map(names, changed_rules((), (a, b)))) == ([], ["a", "b"])
    assert tuple(map(names, changed_rules((a, b), ()))) == (["a", "b"], [])


def test_a_listing_matters_to_the_rules_that_look_into_it():
    compiled = mapping(RULES)
    assert names(rules_into(compiled, {PROD})) == ["a", "b"]
    assert names(rules_into(compiled, {DEV})) == ["a", "c"]
    assert rules_into(compiled, {"999999999999"}) == ()


def test_people_are_concerned_by_what_they_are_told_apart_by():
    document = mapping(RULES).document
    concerned = Concerned(document, document.rules[3:], NOW)
    assert [concerned(identity(groups=groups)) for groups in (("temps",), ("engineering", "temps"), ("sales",))] == [
        True,
        True,
        False,
    ]
    assert not Concerned(document, (), NOW)(alice())


def test_a_rule_turns_when_it_begins_and_when_it_ends():
    text = "- {name: t, when: {groups: [engineering], from: 2026-05-04, until: 2026-05-06}, allow: {roles: [A]}}\n"
    rules = mapping(RULES + text).document.rules
    begins, ends = rules[-1].when.from_, rules[-1].when.until
    assert names(turned(rules, begins - timedelta(1), begins)) == ["t"]
    assert names(turned(rules, begins, ends - timedelta(1))) == []
    assert names(turned(rules, begins, ends)) == ["t"]


def test_whose_group_an_expression_cannot_be_held_against_is_worked_out_again():
    """No UTF-8, so no expression says anything of it: what the new rule leaves in doubt, the old one gave for certain."""
    allow, deny = mapping("""
- {name: a, when: {groups: [b]}, allow: {roles: [A], accounts: {names: ["*"]}}}
- {name: a2, when: {none_of: [{regex: "[cd]"}]}, deny: {roles: [A]}}
""").document.rules
    concerned = Concerned(mapping(RULES).document, (allow, deny), NOW)
    assert concerned(identity(groups=("aws-\ud800",)))
