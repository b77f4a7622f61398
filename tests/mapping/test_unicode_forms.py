"""A deny speaks of a name in whichever Unicode form it is written; an allow by the letter.

"Prüfer" is six characters, or seven where the dots are one of their own: macOS and some directories write it so.
"""

from __future__ import annotations

import unicodedata

import pytest

from tests.cast import NOW, PROD, identity, role
from tests.mapping.kit import mapping

ONE, TWO = (unicodedata.normalize(form, "Prüfer-extern") for form in ("NFC", "NFD"))
READ = role(PROD, "ReadOnly")
GIVES = """
- {name: gives, when: {groups: [engineering]}, allow: {roles: [ReadOnly], accounts: {ids: ["111122223333"]}}}
"""


def code(rules, *groups, **more):
    return mapping(rules).verdict(identity(groups=groups, **more), READ, NOW).code


def test_they_are_two_texts():
    assert ONE != TWO
    assert len(TWO) == len(ONE) + 1


@pytest.mark.parametrize("written", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("sent", [ONE, TWO, ONE.upper(), TWO.upper()], ids=["one", "two", "ONE", "TWO"])
@pytest.mark.parametrize(
    "when",
    ["groups: [NAME]", "groups: [{glob: 'NAME*'}]", "groups: [{glob: '*rüf?r-extern'}]", "groups: [{regex: '^NAME$'}]", "all_of: [engineering, NAME]"],
)  # fmt: skip
def test_a_deny_finds_the_group_in_either_form(written, sent, when):
    when = when.replace("NAME", written).replace(
        "rüf", unicodedata.normalize("NFD" if written == TWO else "NFC", "rüf")
    )
    deny = f"- {{name: takes, when: {{{when}}}, deny: {{roles: [ReadOnly]}}}}\n"
    assert code(GIVES + deny, "engineering") == "allowed"
    assert code(GIVES + deny, "engineering", sent) == "denied_by_rule"


@pytest.mark.parametrize(("written", "sent"), [(ONE, TWO), (TWO, ONE)])
def test_none_of_finds_it_too(written, sent):
    rules = GIVES.replace("groups: [engineering]", f"groups: [engineering], none_of: [{written}]")
    assert code(rules, "engineering") == "allowed"
    assert code(rules, "engineering", sent) == "no_matching_rule"


@pytest.mark.parametrize(("written", "sent"), [(ONE, TWO), (TWO, ONE)])
def test_a_deny_by_an_attribute(written, sent):
    deny = f"- {{name: takes, when: {{attributes: {{department: {written}}}}}, deny: {{roles: [ReadOnly]}}}}\n"
    assert code(GIVES + deny, "engineering", attributes={"department": ("x",)}) == "allowed"
    assert code(GIVES + deny, "engineering", attributes={"department": (sent,)}) == "denied_by_rule"


@pytest.mark.parametrize(("written", "sent"), [(ONE, TWO), (TWO, ONE)])
def test_a_deny_with_captures(written, sent):
    expression = f"^{written}-(?P<role>[A-Za-z]+)$"
    deny = f"- name: takes\n  when: {{groups: [{{regex: '{expression}'}}]}}\n  deny: {{arns: ['arn:aws:iam::{PROD}:role/{{role}}']}}\n"
    assert code(GIVES + deny, "engineering", f"{sent}-ReadOnly") == "denied_by_rule"
    assert code(GIVES + deny, "engineering", f"{sent}-Other") == "allowed"


@pytest.mark.parametrize(("written", "sent"), [(ONE, TWO), (TWO, ONE)])
@pytest.mark.parametrize("when", ["NAME", "{glob: 'NAME*'}", "{regex: '^NAME$'}"])
def test_an_allow_gives_by_the_letter(written, sent, when):
    rules = GIVES.replace("[engineering]", f"[{when.replace('NAME', written)}]")
    assert code(rules, written) == "allowed"
    assert code(rules, sent) == "no_matching_rule"
