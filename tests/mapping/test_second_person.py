"""When one person is not enough: judged on the rules as well as on today's people."""

from __future__ import annotations

import pytest

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.impact import Somebody, assess
from federation.mapping.second_person import SENTENCES, Draftsman, needs_second_person
from tests.cast import NOW, alice, identity
from tests.mapping.kit import HEAD

DEVELOP = "- {name: dev, when: {groups: [engineering]}, allow: {roles: [R], accounts: [sand-dev]}}\n"
GUARD = "- {name: guard, when: {groups: [engineering]}, deny: {roles: [Secret], accounts: [sand-dev]}}\n"
NOBODY = "  []\n"


def why(before, after, *, author=None, everybody=None, most_people=25, heads=(HEAD, HEAD)):
    """Why a second person; the author is somebody in no group that matters, unless another is given."""
    author = author or identity("mike", groups=("mappers",))
    people = [Somebody(who.subject.value, who.name, "", who, who) for who in (everybody or [alice(), author])]
    one, other = (
        compile_mapping(parse(head + "mapping:\n" + (text if text == NOBODY else _indented(text))))
        for head, text in zip(heads, (before, after), strict=True)
    )
    impact = assess(one, other, people, NOW)
    draftsman = Draftsman(author.subject.value, author)
    return needs_second_person(one, other, impact, draftsman, now=NOW, most_people=most_people, catalogue={})


def _indented(text):
    return "".join(f"  {line}\n" for line in text.splitlines())


def test_a_small_change_for_others_takes_nobody_else():
    assert why(NOBODY, DEVELOP) == ()


def test_whoever_gains_by_their_own_change():
    assert why(NOBODY, DEVELOP, author=alice()) == ("self",)


@pytest.mark.parametrize(
    "condition",
    [
        "mfa: true",
        "from: 2027-01-01",
        "mfa: true, from: 2027-01-01",
        "attributes: {department: other}",
        "provider: [entra]",
    ],
)
def test_a_condition_that_does_not_hold_yet_hides_no_gift_to_oneself(condition):
    rule = (
        f"- {{name: dev, when: {{groups: [engineering], {condition}}}, allow: {{roles: [R], accounts: [sand-dev]}}}}\n"
    )
    assert why(NOBODY, rule, author=alice()) == ("self",)


def test_lifting_ones_own_approval_or_policy():
    asks = DEVELOP.replace("}}\n", "}, approval: {by: [leads], at_most: 1h}}\n")
    assert why(asks, DEVELOP, author=alice()) == ("self",)
    bound = DEVELOP.replace("}}\n", "}, session: {policy: read-only}}\n")
    assert why(bound, DEVELOP, author=alice()) == ("self",)
    later = bound.replace("groups: [engineering]", "groups: [engineering], mfa: true")
    assert why(later, later.replace(", session: {policy: read-only}", ""), author=alice()) == ("self",)
    later = asks.replace("groups: [engineering]", "groups: [engineering], mfa: true")
    assert why(later, later.replace(", approval: {by: [leads], at_most: 1h}", ""), author=alice()) == ("self",)


def test_narrowing_what_one_has_is_no_gift():
    assert why(DEVELOP, DEVELOP.replace("}}\n", "}, session: {policy: read-only}}\n"), author=alice()) == ()
    assert why(DEVELOP, NOBODY, author=alice()) == ()
    renamed = DEVELOP.replace("name: dev", "name: development")
    assert why(DEVELOP, renamed, author=alice()) == ()


def test_taking_away_the_deny_that_holds_oneself_back():
    assert why(DEVELOP + GUARD, DEVELOP, author=alice()) == ("self",)
    assert why(DEVELOP + GUARD, DEVELOP) == ()


def test_giving_oneself_a_right():
    heads = (HEAD, HEAD + "staff:\n  - {role: auditor, groups: [engineering]}\n")
    assert why(NOBODY, NOBODY, author=alice(), heads=heads) == ("self", "staff")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # For a group in which nobody is today.
        (NOBODY, "- {name: p, when: {groups: [empty]}, allow: {roles: [R], accounts: [shop-prod]}}\n"),
        (NOBODY, "- {name: p, when: {groups: [empty]}, allow: {roles: [R]}}\n"),
        # The account comes out of a group's name.
        (
            NOBODY,
            "- {name: p, when: {groups: [{regex: '^(?P<a>[0-9]{12})$'}]}, allow: {arns: ['arn:aws:iam::{a}:role/R']}}\n",
        ),
        # A deny that leaves production.
        ("- {name: d, when: {groups: [empty]}, deny: {accounts: [shop-prod]}}\n", NOBODY),
        (
            "- {name: d, when: {groups: [empty]}, deny: {accounts: [shop-prod, sand-dev]}}\n",
            "- {name: d, when: {groups: [empty]}, deny: {accounts: [sand-dev]}}\n",
        ),
        # A rule that is there already, for longer.
        (
            "- {name: p, when: {groups: [empty]}, allow: {roles: [R], accounts: [shop-prod]}}\n",
            "- {name: p, when: {groups: [empty]}, allow: {roles: [R], accounts: [shop-prod]}, session: {duration: 12h}}\n",
        ),
    ],
)
def test_more_in_production_whomever_it_concerns_today(before, after):
    assert why(before, after) == ("production",)


@pytest.mark.parametrize(
    ("before", "after", "second"),
    [
        ("session: {duration: 4h}", "session: {duration: 1h}", ()),
        ("session: {duration: 4h}", "session: {duration: 4h, policy: read-only}", ()),
        ("session: {duration: 4h}", "session: {duration: 4h}, approval: {by: [leads], at_most: 1h}", ()),
        ("session: {duration: 1h}", "session: {duration: 4h}", ("production",)),
        ("approval: {by: [leads], at_most: 1h}", "session: {duration: 1h}", ("production",)),
        ("approval: {by: [leads], at_most: 1h}", "approval: {by: [everybody], at_most: 1h}", ("production",)),
        ("approval: {by: [leads], at_most: 1h}", "approval: {by: [leads], at_most: 8h}", ("production",)),
    ],
)
def test_a_rule_in_production_made_narrower_or_wider(before, after, second):
    rule = "- {{name: p, when: {{groups: [empty]}}, allow: {{roles: [R], accounts: [shop-prod]}}, {}}}\n"
    assert why(rule.format(before), rule.format(after)) == second


def test_less_in_production_takes_nobody_else():
    rule = "- {name: p, when: {groups: [empty]}, allow: {roles: [R], accounts: [shop-prod]}}\n"
    assert why(rule, NOBODY) == ()
    deny = "- {name: d, when: {groups: [empty]}, deny: {accounts: [shop-prod]}}\n"
    assert why(NOBODY, deny) == ()


def test_a_tag_that_brings_a_production_account_under_a_rule_that_stays():
    rule = "- {name: p, when: {groups: [empty]}, allow: {roles: [R], accounts: {tags: {open: 'yes'}}}}\n"
    heads = (
        HEAD,
        HEAD.replace("{environment: production, team: shop}", "{environment: production, team: shop, open: 'yes'}"),
    )
    assert why(rule, rule, heads=heads) == ("production",)


def test_taking_the_mark_of_production_off_an_account():
    """Attack: unmark it today, give it to oneself tomorrow as a sandbox."""
    heads = (HEAD, HEAD.replace("{environment: production, team: shop}", "{environment: sandbox, team: shop}"))
    assert why(NOBODY, NOBODY, heads=heads) == ("unmarked",)


def test_many_people_gaining_or_losing():
    crowd = [identity(f"p{n}") for n in range(4)]
    assert why(NOBODY, DEVELOP, everybody=crowd, most_people=4) == ()
    assert why(NOBODY, DEVELOP, everybody=crowd, most_people=3) == ("people",)
    assert why(DEVELOP, NOBODY, everybody=crowd, most_people=3) == ("people",)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("staff:\n  - {role: owner, groups: [nobody]}\n", "staff"),
        ("delegations:\n  - {accounts: [sand-dev], groups: ['*']}\n", "delegations"),
        ("directories:\n  - {slug: people, provider: corp, scim: {}}\n", "sign_in"),
    ],
)
def test_who_rules_who_is_who_and_who_may_give(more, code):
    assert why(NOBODY, NOBODY, heads=(HEAD, HEAD + more)) == (code,)


def test_another_claim_for_groups_is_another_way_to_sign_in():
    heads = (HEAD, HEAD.replace("claims: {attributes:", "claims: {groups: everything, attributes:"))
    assert why(NOBODY, NOBODY, heads=heads) == ("sign_in",)


def test_an_author_of_whom_nothing_is_known_gains_nothing_that_can_be_seen():
    one, other = (compile_mapping(parse(HEAD + "mapping:\n" + t)) for t in (NOBODY, _indented(DEVELOP)))
    impact = assess(one, other, [], NOW)
    for author in (None, Draftsman("ghost", None)):
        assert needs_second_person(one, other, impact, author, now=NOW, most_people=1, catalogue={}) == ()


def test_every_code_has_its_sentence():
    assert set(SENTENCES) == {"self", "production", "unmarked", "people", "staff", "sign_in", "delegations"}
