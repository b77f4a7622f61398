"""The impact of a revision is the difference of two decisions, person by person, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.identity import Subject
from federation.mapping import impact as module
from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.impact import Somebody, assess, both_reach, option_changes
from federation.mapping.impact_text import as_text
from federation.mapping.rules import SessionOptions
from tests.cast import DEV, NOW, PROD, STAGING, alice, bob, carol, identity, role
from tests.mapping.kit import HEAD, listing, mapping
from tests.mapping.test_reach import Miser
from tests.mapping.test_verdict_equals_decide import catalogues, documents, people

READ = '- {name: read, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {names: ["shop-*"]}}}\n'


def somebody(who, after=None):
    return Somebody(who.subject.value, who.name, who.email, who, after or who)


CAST = [somebody(who) for who in (alice(), bob(), carol())]


def assessed(before, after, everybody=CAST, catalogue=None):
    return assess(mapping(before), mapping(after), everybody, NOW, catalogue or {})


def told(found, key="alice"):
    return [(change.kind, change.role_arn) for change in found.of(key)]


# --- The difference of two decisions ---------------------------------------------------------------------


def states(compiled, who, catalogue):
    if who is None:
        return {}
    decision = compiled.decide(replace(who, directory_stale=False), NOW, catalogue)
    return {grant.role_arn: grant for grant in decision.grants}


def expected(before, after, person, catalogue):
    """What changes, straight from the two decisions."""
    old, new = states(before, person.before, catalogue[0]), states(after, person.after, catalogue[1])
    found = set()
    for arn in old.keys() | new.keys():
        one, other = old.get(arn), new.get(arn)
        if one is None:
            found.add((arn, "may_ask" if other.approval else "gained", "", other.rule))
        elif other is None:
            found.add((arn, "may_not_ask" if one.approval else "lost", one.rule, ""))
        elif (one.approval is None) != (other.approval is None):
            kind = "approval_needed" if other.approval else "approval_lifted"
            found.add((arn, kind, one.rule, other.rule))
        elif option_changes(one.session, other.session, other.role_maximum):
            found.add((arn, "session", one.rule, other.rule))
    return found


crowds = st.lists(
    st.builds(lambda who, name: replace(who, subject=Subject("corp", "", name)), people, st.sampled_from("abcdefgh")),
    max_size=6,
    unique_by=lambda who: who.subject.value,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, documents, crowds, catalogues)
def test_impact_is_the_difference_of_what_is_decided_before_and_after(one, other, crowd, catalogue):
    before, after = compile_mapping(one), compile_mapping(other)
    everybody = [Somebody(who.subject.value, who.name, "", who, who) for who in crowd]
    sides = tuple({a: r for a, r in catalogue.items() if a in side.accounts} for side in (before, after))
    found = assess(before, after, everybody, NOW, Miser(catalogue))
    for person in everybody:
        changes = {(c.role_arn, c.kind, c.before, c.after) for c in found.of(person.key)}
        assert changes == expected(before, after, person, sides)
    assert found.counts["people_affected"] == sum(bool(found.of(person.key)) for person in everybody)
    assert assess(before, after, everybody[::-1], NOW, catalogue).digest() == found.digest()
    assert json.loads(json.dumps(found.as_dict()))["digest"] == found.digest()
    assert as_text(found)


@st.composite
def revised(draw):
    """A document and one in which a rule or two are gone, come before others, or give and ask something else."""
    one, other = draw(documents), draw(documents)
    rules = list(one.rules)
    for _ in range(draw(st.integers(1, 2))):
        if not rules:
            break
        number = draw(st.integers(0, len(rules) - 1))
        rule = rules.pop(number)
        match draw(st.sampled_from(["gone", "moved", "changed"])):
            case "moved":
                rules.insert(draw(st.integers(0, len(rules))), rule)
            case "changed" if other.rules:
                another = draw(st.sampled_from(other.rules))
                rules.insert(number, replace(another, name=rule.name))
    return one, replace(one, rules=tuple(rules))


def all_findings(before, after, everybody, catalogue):
    """The findings with everybody's whole standing under both documents."""
    old, new = module.Side(before, NOW, catalogue), module.Side(after, NOW, catalogue)
    had, tally = module.Tally(), module.Tally()
    touched = module.Touched(old.company, new.company)
    for person in everybody:
        numbers = new.company.holding(person.after) if person.after is not None else ()
        tally.match(numbers)
        tally.add(new.standing(person.after))
        if touched.by(person.before, person.after, numbers):
            had.add(old.standing(person.before))
    return module._with_news(module.findings_of(after, tally, NOW, new.catalogue), had, old, new, NOW)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(revised(), crowds, catalogues)
def test_a_small_change_is_told_as_exactly_as_a_large_one(documents, crowd, catalogue):
    """Where few rules change, only the roles that they give are looked at: nothing that changes may be missed by that."""
    before, after = map(compile_mapping, documents)
    everybody = [Somebody(who.subject.value, who.name, "", who, who) for who in crowd]
    sides = tuple({a: r for a, r in catalogue.items() if a in side.accounts} for side in (before, after))
    found = assess(before, after, everybody, NOW, catalogue)
    for person in everybody:
        changes = {(c.role_arn, c.kind, c.before, c.after) for c in found.of(person.key)}
        assert changes == expected(before, after, person, sides)
    assert found.findings == all_findings(before, after, everybody, catalogue)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, crowds, catalogues)
def test_a_document_on_itself_changes_nothing(document, crowd, catalogue):
    everybody = [Somebody(who.subject.value, who.name, "", who, who) for who in crowd]
    found = assess(compile_mapping(document), compile_mapping(document), everybody, NOW, catalogue)
    assert found.is_empty
    assert (found.sections, found.rules_added, found.rules_removed, found.rules_changed) == ((), (), (), ())
    assert not any(finding.is_new for finding in found.findings)


# --- What is said ------------------------------------------------------------------------------------------


def test_who_gains_and_by_which_rule():
    found = assessed("[]", READ)
    assert told(found) == [("gained", role(PROD, "ReadOnly")), ("gained", role(STAGING, "ReadOnly"))]
    change = found.of("alice")[0]
    assert (change.before, change.after, change.production, change.account, change.role) == (
        "", "read", True, "shop-prod", "ReadOnly",
    )  # fmt: skip
    assert [len(cohort.people) for cohort in found.cohorts] == [2]
    assert found.counts == {
        "people": 3, "undecided": 0, "people_affected": 2, "people_gain": 2, "people_lose": 0, "people_production_gain": 2,
        "gained": 4, "lost": 0, "approval_needed": 0, "approval_lifted": 0, "session": 0,
        "roles_gained": 2, "roles_lost": 0, "rights": 0,
    }  # fmt: skip
    assert found.production == (role(PROD, "ReadOnly"),)
    assert (found.rules_added, found.sections) == (("read",), ("mapping",))


def test_who_loses_and_by_which_rule():
    found = assessed(READ, "[]")
    assert told(found) == [("lost", role(PROD, "ReadOnly")), ("lost", role(STAGING, "ReadOnly"))]
    assert found.of("alice")[0].before == "read"
    assert found.production == ()
    assert found.counts["roles_lost"] == 2
    assert "rule read no longer gives it" in as_text(found)


def test_a_deny_that_takes_it_is_named():
    deny = "- {name: no, when: {groups: [contractors]}, deny: {accounts: {tags: {environment: production}}}}\n"
    found = assessed(READ, READ + deny)
    assert told(found) == []
    assert [(c.kind, c.denied_by) for c in found.of("bob")] == [("lost", "no")]
    assert "rule no denies it" in as_text(found)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("", ", approval: {by: [leads], at_most: 1h}", "approval_needed"),
        (", approval: {by: [leads], at_most: 1h}", "", "approval_lifted"),
    ],
)
def test_from_direct_to_approval_and_back(before, after, kind):
    rule = "- {{name: r, when: {{groups: [engineering]}}, allow: {{roles: [R], accounts: [sand-dev]}}{}}}\n"
    found = assessed(rule.format(before), rule.format(after))
    assert told(found) == [(kind, role(DEV, "R"))]
    assert found.counts[kind] == 2


def test_only_those_who_may_ask():
    rule = "- {name: r, when: {groups: [engineering]}, allow: {roles: [R], accounts: [sand-dev]}, approval: {by: [l], at_most: 1h}}\n"
    assert told(assessed("[]", rule)) == [("may_ask", role(DEV, "R"))]
    assert told(assessed(rule, "[]")) == [("may_not_ask", role(DEV, "R"))]
    assert "with an approval" in as_text(assessed("[]", rule)) + as_text(assessed(rule, "[]"))


@pytest.mark.parametrize(
    ("before", "after", "code", "widens"),
    [
        ({"duration": 3600}, {"duration": 7200}, "longer", True),
        ({"duration": 7200}, {"duration": 3600}, "shorter", False),
        ({}, {"duration": 7200}, "longer", True),
        ({}, {"console_duration": 7200}, "console_longer", True),
        ({"console_duration": 7200}, {}, "console_shorter", False),
        ({"policy": "read-only"}, {}, "policy_lifted", True),
        ({}, {"policy": "read-only"}, "policy_set", False),
        ({"policy": "read-only"}, {"policy": '{"Statement": []}'}, "policy_changed", True),
        ({"tags": {"Team": "a"}}, {"tags": {"Team": "b"}}, "tags_changed", True),
        ({"tags": {"Team": "a"}}, {"tags": {"Team": "a"}, "transitive_tags": ("Team",)}, "tags_changed", True),
    ],
)
def test_session_options_that_matter(before, after, code, widens):
    options = option_changes(SessionOptions(**before), SessionOptions(**after), None)
    assert [option.code for option in options] == [code]
    change = module.RoleChange("a", "r", "1", "n", False, "session", "x", "x", "", options)
    assert change.widens is widens


def test_options_that_come_to_the_same_are_no_change():
    """The role's own maximum is an hour: two hours in the rule are one hour at AWS."""
    assert option_changes(SessionOptions(duration=3600), SessionOptions(duration=7200), 3600) == ()
    assert option_changes(SessionOptions(policy_arns=("a", "b")), SessionOptions(policy_arns=("b", "a")), None) == ()


def test_a_lifted_policy_is_told_with_its_role():
    one = READ.replace("}}}\n", "}}, session: {policy: read-only, duration: 1h}}\n")
    found = assessed(one, one.replace("policy: read-only, duration: 1h", "duration: 8h"))
    assert told(found) == [("session", role(PROD, "ReadOnly")), ("session", role(STAGING, "ReadOnly"))]
    assert "sessions of up to 8h instead of 1h; the session policy read-only is lifted" in as_text(found)
    assert found.production == (role(PROD, "ReadOnly"),)


def test_unmarking_an_account_does_not_hide_that_it_is_production():
    before = HEAD + "mapping:\n  []\n"
    after = HEAD.replace("environment: production, team: shop", "environment: sandbox, team: shop")
    after += "mapping:\n  " + READ
    found = assess(compile_mapping(parse(before)), compile_mapping(parse(after)), CAST, NOW)
    assert found.of("alice")[0].production
    assert found.unmarked == (PROD,)
    assert f"no longer production: {PROD}" in as_text(found)


def test_an_account_that_is_taken_out_does_not_come_back_by_the_catalogue():
    """Without its entry an account has no tags any more, and a deny by tags would miss it."""
    rule = "- {name: all, when: {groups: [engineering]}, allow: {roles: [ReadOnly]}}\n"
    before = parse(HEAD + "mapping:\n  " + rule)
    after = replace(before, accounts=before.accounts[1:])
    catalogue = listing(role(PROD, "ReadOnly"), role(STAGING, "ReadOnly"), role(DEV, "ReadOnly"))
    found = assess(compile_mapping(before), compile_mapping(after), CAST, NOW, catalogue)
    assert told(found) == [("lost", role(PROD, "ReadOnly"))]


def test_a_silent_directory_does_not_hide_what_changes():
    stale = somebody(alice(directory_stale=True))
    assert ("gained", role(PROD, "ReadOnly")) in told(assessed("[]", READ, [stale]))


def test_whoever_cannot_be_decided_on_is_counted_and_has_nothing():
    nobody = Somebody("x", "X", "", None, None)
    found = assessed("[]", READ, [nobody, Somebody("y", "Y", "", None, alice()), Somebody("z", "Z", "", alice(), None)])
    assert (found.counts["undecided"], found.counts["people_affected"]) == (1, 1)
    assert told(found, "y")
    assert told(found, "z") == told(found, "x") == []
    assert "1 of them cannot be decided on" in as_text(found)


def test_rights_of_staff_that_change():
    before = HEAD + "staff:\n  - {role: mapper, groups: [cloud-platform]}\n"
    after = (
        HEAD
        + 'staff:\n  - {role: owner, groups: [cloud-platform]}\n  - {role: account-owner, groups: [engineering], accounts: ["shop-*"]}\n'
    )
    found = assess(compile_mapping(parse(before)), compile_mapping(parse(after)), CAST, NOW)
    rights = {change.person.key: (change.gained, change.lost) for change in found.rights}
    assert rights == {
        "alice": (("account-owner of shop-prod, shop-staging",), ()),
        "bob": (("account-owner of shop-prod, shop-staging",), ()),
        "carol": (("owner",), ("mapper",)),
    }
    assert found.sections == ("staff",)
    assert not found.is_empty
    assert "+ Carol (carol): owner" in as_text(found)
    bound = after.replace("{role: owner,", "{role: owner, provider: entra,")
    found = assess(compile_mapping(parse(before)), compile_mapping(parse(bound)), CAST, NOW)
    assert {change.person.key: (change.gained, change.lost) for change in found.rights}["carol"] == ((), ("mapper",))
    assert "- Carol (carol): mapper" in as_text(found)


def test_people_with_the_same_changes_stand_together():
    crowd = [somebody(identity(f"p{n:03}", groups=("engineering", f"list-{n}"))) for n in range(60)]
    found = assessed("[]", READ, crowd)
    assert [len(cohort.people) for cohort in found.cohorts] == [60]
    plain = found.as_dict()["cohorts"][0]
    assert plain["people"] == 60
    assert len(plain["names"]) == module.SHOWN_PEOPLE
    assert "60 people: P000 (p000), P001 (p001)" in as_text(found)
    assert "and 55 more" in as_text(found)


def test_what_is_kept_is_bounded_whatever_changes(monkeypatch):
    monkeypatch.setattr(module, "SHOWN_ROLES", 3)
    monkeypatch.setattr(module, "SHOWN_COHORTS", 4)
    rules = "".join(
        f"- {{name: r{n}, when: {{groups: [g{n}, all]}}, allow: {{roles: [R{n}], accounts: [sand-dev]}}}}\n"
        for n in range(40)
    )
    crowd = [somebody(identity(f"p{n:02}", groups=(f"g{n}",))) for n in range(40)]
    crowd.append(somebody(identity("boss", groups=("all",))))
    found = assessed("[]", rules, crowd)
    plain = found.as_dict()
    assert (len(plain["cohorts"]), plain["more_cohorts"]) == (4, 37)
    boss = next(c for c in plain["cohorts"] if c["names"][0]["key"] == "boss")
    assert (len(boss["changes"]), boss["more_changes"]) == (3, 37)
    said = as_text(found)
    assert "11 more people in 11 groups" in said
    assert "… and 20 more roles" in said
    assert found.counts["people_affected"] == 41


def test_names_from_outside_do_not_reach_the_terminal_raw():
    hostile = somebody(alice(name="Al\x1b[2Jice\u202e"))
    said = as_text(assessed("[]", READ, [hostile]))
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "\\x1b[2J" in said


def test_the_digest_tells_one_effect_from_another():
    digests = [
        assessed("[]", READ).digest(),
        assessed(READ, "[]").digest(),
        assessed("[]", READ, CAST[:1]).digest(),
        assessed("[]", READ.replace("name: read", "name: other")).digest(),
        assessed("[]", "[]").digest(),
    ]
    assert len(set(digests)) == len(digests)


def test_the_reach_of_both_documents_is_asked_for_once():
    miser = Miser(listing(role(PROD, "ReadOnly"), role(DEV, "Other")))
    other = "- {name: o, when: {groups: [engineering]}, allow: {roles: [Other], accounts: [sand-dev]}}\n"
    found = assess(mapping(READ), mapping(other), CAST, NOW, miser)
    assert len(miser.asked) == 1
    assert ("gained", role(DEV, "Other")) in told(found)
    assert both_reach(mapping(READ), mapping(READ)).accounts == {PROD, STAGING}


def test_nobodys_access_changes_is_said():
    assert "Nobody's access changes." in as_text(assessed(READ, READ))


def test_where_nobody_is_known_yet_that_is_said_once_and_not_of_each_rule():
    """The first document of a new gateway: a line for each of its rules would bury what is wrong with one."""
    rules = READ + "- {name: nowhere, when: {groups: [a]}, allow: {roles: [R], accounts: [sand-*]}}\n"
    catalogue = {account: {} for account in (PROD, STAGING, DEV)}
    text = as_text(assessed("", rules, [], catalogue))
    assert text.count("Nobody is known yet") == 1
    assert "matches nobody" not in text
    known = as_text(assessed("", rules, [somebody(identity("x"))], catalogue))
    assert "Nobody is known yet" not in known
    assert known.count("It matches nobody of today's people.") == 1  # the other is about her
