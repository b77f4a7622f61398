"""A decision on what is in its reach is the decision on the whole catalogue, and the reach of most people is small."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from federation.mapping.document import parse
from federation.mapping.engine import compile_mapping
from federation.mapping.patterns import compile_expression, glob_expression
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import CatalogueRole
from tests import cast
from tests.mapping.test_verdict_equals_decide import ARNS, catalogues, documents, people


class Miser:
    """A reader that gives exactly what it is asked for. `asked`: the reach."""

    def __init__(self, catalogue):
        self.catalogue, self.asked = catalogue, []

    def __call__(self, reach):
        self.asked.append(reach)
        return {
            account: {arn: role for arn, role in listing.items() if self._in_reach(reach, account, arn)}
            for account, listing in self.catalogue.items()
            if account in reach.accounts
        }

    @staticmethod
    def _in_reach(reach, account, text):
        if text in reach.arns:
            return True
        arn = parse_role_arn(text)
        if arn is None:
            return False
        return any(
            account in one.accounts
            and (
                arn.name in one.names
                or any(
                    compile_expression(glob_expression(glob)).fullmatch(arn.qualified if "/" in glob else arn.name)
                    for glob in one.globs
                )
            )
            for one in reach.wanted
        )


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, people, catalogues)
def test_the_decision_is_the_same_on_what_is_in_reach(document, person, catalogue):
    compiled = compile_mapping(document)
    whole = {account: listing for account, listing in catalogue.items() if account in compiled.accounts}
    miser = Miser(whole)
    decision = compiled.decide(person, cast.NOW, miser)
    assert decision == compiled.decide(person, cast.NOW, whole)
    assert len(miser.asked) == 1
    for arn in {*ARNS, *(grant.role_arn for grant in decision.grants)}:
        miser = Miser(whole)
        assert compiled.verdict(person, arn, cast.NOW, miser) == compiled.verdict(person, arn, cast.NOW, whole)
        assert [reach.arns <= {arn} and not reach.wanted for reach in miser.asked] == [True]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, people, catalogues)
def test_only_accounts_of_the_mapping_are_in_anybodys_reach(document, person, catalogue):
    """An account that has left the organization lies in the catalogue still, and no deny by tag finds it any more."""
    compiled, miser = compile_mapping(document), Miser(catalogue)
    decision = compiled.decide(person, cast.NOW, miser)
    assert miser.asked[0].accounts <= compiled.accounts.keys()
    assert {grant.account.id for grant in decision.grants} <= compiled.accounts.keys()
    for arn in ARNS:
        verdict = compiled.verdict(person, arn, cast.NOW, miser)
        assert verdict.grant is None or verdict.grant.account.id in compiled.accounts


def asked_of(rules, **more):
    document = parse(cast.DOCUMENT.split("mapping:\n")[0] + "mapping:\n" + rules)
    miser = Miser({})
    compile_mapping(document).decide(cast.alice(**more), cast.NOW, miser)
    return miser.asked[0]


RULE = "  - {{name: {0}, when: {{groups: [{1}]}}, allow: {2}}}\n"


def test_nobodys_rules_reach_nothing():
    reach = asked_of(RULE.format("other", "sales", "{roles: ['*']}"))
    assert (reach.wanted, reach.arns, reach.accounts) == ((), frozenset(), frozenset())


def test_names_and_globs_are_wanted_of_the_chosen_accounts_alone():
    reach = asked_of(
        RULE.format("a", "engineering", "{roles: [ReadOnly, team/Deploy], accounts: [shop-dev]}")
        + RULE.format("b", "engineering", "{roles: ['team-*'], accounts: [shop-dev]}")
        + RULE.format("c", "engineering", "{roles: ['*'], accounts: [shop-prod]}")
    )
    by_account = {tuple(one.accounts): (one.names, one.globs) for one in reach.wanted}
    assert by_account == {
        (cast.DEV,): ({"ReadOnly", "Deploy"}, {"team-*"}),
        (cast.PROD,): (frozenset(), {"*"}),
    }
    assert reach.accounts == {cast.DEV, cast.PROD}


def test_an_arn_is_wanted_by_itself():
    arn = cast.role(cast.DEV, "Own")
    reach = asked_of(RULE.format("a", "engineering", f"{{arns: ['{arn}', 'arn:aws:iam::999988887777:role/Lost']}}"))
    assert (reach.wanted, reach.arns, reach.accounts) == ((), {arn}, {cast.DEV})


def test_a_deny_widens_nothing():
    reach = asked_of("  - {name: d, when: {groups: [engineering]}, deny: {roles: ['*']}}\n")
    assert reach.accounts == frozenset()


def test_what_the_reader_raises_comes_through():
    """The database is away: that is an error, and not "no roles"."""

    def broken(reach):
        raise ConnectionError("away")

    compiled = compile_mapping(parse(cast.DOCUMENT))
    with pytest.raises(ConnectionError):
        compiled.decide(cast.alice(), cast.NOW, broken)
    with pytest.raises(ConnectionError):
        compiled.verdict(cast.alice(), cast.role(cast.DEV, "Developer"), cast.NOW, broken)


def test_a_grant_knows_the_roles_own_maximum():
    arn = cast.role(cast.DEV, "Developer")
    compiled = compile_mapping(parse(cast.DOCUMENT))
    listing = {cast.DEV: {arn: CatalogueRole(arn, "Developer", max_session_duration=7200)}}
    longest = {g.role_arn: g.role_maximum for g in compiled.decide(cast.alice(), cast.NOW, listing).grants}
    assert longest[arn] == 7200
    assert longest[cast.role(cast.PROD, "Developer")] is None
    assert compiled.verdict(cast.alice(), arn, cast.NOW, listing).grant.role_maximum == 7200
