"""The page that lists roles and the call that mints credentials never disagree, whatever the mapping and the person."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.identity import Identity, Subject
from federation.mapping.engine import compile_mapping
from federation.mapping.explain import explain
from federation.mapping.rolearn import parse_role_arn
from federation.mapping.rules import (
    NO_OPTIONS,
    Account,
    AccountSelector,
    Approval,
    CatalogueRole,
    Document,
    GroupMatch,
    Rule,
    SessionOptions,
    Target,
    When,
)
from tests.cast import DEV, NOW, PROD, STAGING

STRANGER = "777788889999"
NAMES = ["R", "r", "Admin", "team/R", "team/sub/Admin", "AWSReservedSSO_x", "a,b"]
ARNS = [f"arn:aws:iam::{account}:role/{name}" for account in (PROD, STAGING, DEV, STRANGER) for name in NAMES] + [
    f"arn:aws-cn:iam::{DEV}:role/R",
    f"arn:aws:iam::{DEV}:role/R",
    "x",
]
GROUPS = [
    "a",
    "b",
    "c",
    f"aws-{PROD}-R",
    f"aws-{PROD}-Admin",
    f"aws-{STRANGER}-R",
    f"aws-{DEV}-a,b",
    f"aws-{PROD}-r\n",
    "aws-x-R",
    "aws-bad\ud800",
    "\ud800",
]
matches = st.sampled_from(
    [GroupMatch("exact", g) for g in GROUPS[:4]]
    + [GroupMatch("glob", g) for g in ("aws-*", "?", "*", "*R")]
    + [
        GroupMatch("regex", g)
        for g in (
            r"^aws-(?P<account>[^-]+)-(?P<role>.+)$",
            r"[ab]|aws-(?P<account>\d+)-(?P<role>.+)",
            r"^aws-(?P<account>.+)-.*$",
        )
    ]
)


def some(strategy, most=2):
    return st.lists(strategy, max_size=most, unique=True).map(tuple)


selectors = st.none() | st.builds(
    AccountSelector,
    ids=some(st.sampled_from([PROD, STAGING, STRANGER])),
    names=some(st.sampled_from(["shop-*", "sand-dev", "*", "7*"])),
    tags=st.sampled_from([{}, {}, {"t": ("1",)}, {"t": ("1", "2")}]),
    organizational_units=some(st.sampled_from(["Root", "Ro*"]), 1),
)
targets = st.builds(
    Target,
    roles=some(st.sampled_from(["R", "r", "Admin", "team/R", "*", "team/*", "A*"]), 3),
    accounts=selectors,
    arns=some(
        st.sampled_from(
            [
                "arn:aws:iam::{account}:role/{role}",
                f"arn:aws:iam::{PROD}:role/{{role}}",
                "arn:aws:iam::{account}:role/team/R",
                *ARNS[:5],
            ]
        )
    ),
)
whens = st.builds(
    When,
    groups=some(matches, 3),
    all_of=some(matches, 1),
    none_of=some(matches, 1),
    mfa=st.sampled_from([None, None, True, False]),
    attributes=st.sampled_from([{}, {}, {"department": ("x",)}]),
    provider=st.sampled_from([(), (), ("corp",), ("other",)]),
)
bodies = st.one_of(
    st.tuples(
        whens,
        targets,
        st.none(),
        st.just(SessionOptions(duration=900)),
        st.sampled_from([None, None, Approval((GroupMatch("exact", "a"),), 600)]),
    ),
    st.tuples(whens, st.none(), targets, st.just(NO_OPTIONS), st.none()),
)
documents = st.builds(
    lambda found: Document(
        accounts=(
            Account(PROD, "shop-prod", tags={"t": "1", "environment": "Prod "}, organizational_unit="Root/x"),
            Account(STAGING, "shop-staging", tags={"t": "2", "environment": "staging"}),
            Account(DEV, "sand-dev", partition="aws-cn", organizational_unit="Root"),
        ),
        rules=tuple(Rule(f"r{n}", *body) for n, body in enumerate(found)),
    ),
    st.lists(bodies, max_size=7),
)
people = st.builds(
    lambda groups, mfa, complete, attributes, stale: Identity(
        Subject("corp", "", "alice"),
        "Alice",
        "a@example.com",
        frozenset(groups),
        NOW,
        NOW,
        attributes,
        mfa,
        complete,
        directory_stale=stale,
    ),
    st.sets(st.sampled_from(GROUPS), max_size=5),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([{}, {"department": ("x",)}]),
    st.sampled_from([False, False, True]),
)
catalogues = st.dictionaries(
    st.sampled_from([PROD, STAGING, DEV, STRANGER]), st.sets(st.sampled_from(ARNS), max_size=8), max_size=4
).map(
    lambda known: {
        a: {arn: CatalogueRole(arn, arn.rpartition("/")[2]) for arn in sorted(arns)} for a, arns in known.items()
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents, people, catalogues)
def test_verdict_equals_decide(document, person, catalogue):
    compiled = compile_mapping(document)
    decision = compiled.decide(person, NOW, catalogue)
    grants = {grant.role_arn: grant for grant in decision.grants}
    denied = dict(decision.denied)
    assert len(grants) == len(decision.grants)
    assert not grants.keys() & denied.keys()
    closed = set(decision.closed)
    assert not closed & (grants.keys() | denied.keys())
    assert all(person.directory_stale and f":{PROD}:" in arn for arn in closed)
    assert not person.directory_stale or not any(grant.account.id == PROD for grant in decision.grants)
    # Nothing outside the list is ever allowed, either: ask about every ARN there could be.
    for arn in {*ARNS, *grants, *denied, *closed}:
        verdict = compiled.verdict(person, arn, NOW, catalogue)
        assert verdict.grant == grants.get(arn)
        assert verdict.allowed is (arn in grants and grants[arn].approval is None)
        assert (verdict.code == "approval_required") is (arn in grants and grants[arn].approval is not None)
        assert (verdict.code == "denied_by_rule") is (arn in denied)
        assert (verdict.code == "directory_stale") is (arn in closed)
        if arn in denied:
            assert verdict.reasons[0].rule == denied[arn]
        explanation = explain(compiled, person, arn, NOW, catalogue)
        assert explanation.verdict == verdict
        gives = [rule.name for rule in explanation.rules if rule.matched and rule.effect != "deny"]
        takes = [rule.name for rule in explanation.rules if rule.matched and rule.effect == "deny"]
        assert (verdict.code in ("allowed", "approval_required", "directory_stale")) is (bool(gives) and not takes)
        if verdict.grant:
            assert tuple(gives) == verdict.grant.rules
        assert all(rule.reasons for rule in explanation.rules)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents)
def test_the_rules_that_name_a_role_are_found_without_looking_at_all(document):
    compiled = compile_mapping(document)
    for text in ARNS:
        arn = parse_role_arn(text)
        if arn is not None:
            assert compiled.naming(arn) == [rule for rule in compiled.rules if rule.target.might_cover(arn)]
