"""Two readings of IAM that share no code: whatever examine() is sure of, the strict STS of the demo does."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.aws.errors import AwsError
from demo.aws.registry import Registry, Role, oidc_provider, saml_provider
from demo.aws.sts import StrictSts
from demo.aws.trust import allows
from federation.aws.gateway_trust import SET_SOURCE_IDENTITY, TAG_SESSION, gateway_trust
from federation.aws.trust import Answer, examine
from federation.aws.trust_policy import Condition, Fact, TrustPolicy, like
from federation.issuer import publish
from federation.issuer.assertion import mint_assertion
from federation.issuer.token import TokenRequest, mint_token
from tests.demo import kit
from tests.issuer import material

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ReadOnly"
NOW = material.NOW
ALICE = "alice@example.com"
YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN


@pytest.fixture(scope="module")
def issuer():
    issuer = kit.Issuer()
    issuer.discovery = publish.discovery(issuer.url)
    key = material.key()
    issuer.jwks = publish.jwks([publish.PublicKey(key.kid, key.algorithm, key.certificate_pem)])
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def calls(issuer):
    """(the gateway, {"saml": …, "oidc": …}): what the strict STS read out of documents that the gateway's own issuer minted."""
    gateway = gateway_trust(
        ACCOUNT, partition="aws", federation="saml", provider="rolegate", issuer_url=issuer.url, region="eu-west-1"
    )
    sts = StrictSts(Registry(), None, lambda: NOW)
    metadata = publish.saml_metadata(
        issuer.url, [material.key().certificate_pem], sso_url="https://access.example.com/", now=NOW
    )
    saml, oidc = (
        saml_provider(ACCOUNT, "rolegate", metadata, "aws"),
        oidc_provider(ACCOUNT, issuer.url, ("sts.amazonaws.com",), "aws"),
    )
    assert (saml.arn, oidc.arn) == (gateway.saml_provider_arn, gateway.oidc_provider_arn)
    sts.registry.saml[saml.arn] = saml
    sts.registry.oidc[oidc.arn] = oidc
    assertion = mint_assertion(
        material.alice(
            issuer=issuer.url, recipient=gateway.saml_recipients[0], source_identity=ALICE, name_id=ALICE, session_name=ALICE,
        ),
        material.signer(),
        now=NOW,
    )  # fmt: skip
    token = mint_token(
        TokenRequest(
            issuer.url,
            "sts.amazonaws.com",
            f"person:{ALICE}",
            ALICE,
            tags={"Team": "shop", "Department": "engineering"},
        ),
        material.signer(),
        now=NOW,
    )
    return gateway, {
        "saml": sts._read_saml(kit.saml_call(assertion.saml_response, ROLE, saml.arn), ROLE, "aws", ACCOUNT),
        "oidc": sts._read_token({"RoleSessionName": ALICE, "WebIdentityToken": token.token}, "aws", ACCOUNT),
    }


def listed(values):
    return st.one_of(values, st.lists(values, min_size=1, max_size=3, unique=True))


def listed_statements(policy):
    return policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]


def providers_of(statement):
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    named = principal.get("Federated", []) if isinstance(principal, dict) else []
    return named if isinstance(named, list) else [named]


def policies(gateway, kind):
    """Trust policies around what this gateway needs: mostly right, and wrong in every part in turn."""
    issuer = gateway.issuer
    good = gateway.saml if kind == "saml" else gateway.oidc
    principals = st.one_of(
        st.just({"Federated": good.provider}),
        st.just({"Federated": good.provider}),
        st.fixed_dictionaries(
            {
                "Federated": listed(
                    st.sampled_from(
                        [
                            gateway.saml_provider_arn,
                            gateway.oidc_provider_arn,
                            f"arn:aws:iam::{ACCOUNT}:saml-provider/other",
                            "accounts.google.com",
                        ]
                    )
                )
            }
        ),
        st.sampled_from(["*", {"AWS": "*"}, {"AWS": "444455556666"}, {"Service": "ec2.amazonaws.com"}]),
    )
    actions = st.sampled_from(
        [
            good.call,
            good.call.lower(),
            gateway.other_way.call,
            TAG_SESSION,
            SET_SOURCE_IDENTITY,
            "sts:*",
            "sts:AssumeRole*",
            "STS:assumerolewith?????????????",
            "*",
            "sts:AssumeRole",
            "sts:TagSessio?",
        ]
    )
    keys = st.sampled_from(
        [
            "SAML:aud", "saml:AUD", "SAML:sub", "SAML:sub_type", "SAML:doc", "SAML:iss", "SAML:eduPersonAffiliation",
            f"{issuer}:aud", f"{issuer}:sub", f"{issuer}:amr", f"{issuer}:sub".upper(),
            "token.actions.githubusercontent.com:sub", "sts:RoleSessionName", "sts:SourceIdentity", "sts:ExternalId",
            "aws:RequestTag/Team", "aws:TagKeys",
        ]
    )  # fmt: skip
    values = st.sampled_from(
        [
            *gateway.saml_recipients, "https://*.signin.aws.amazon.com/saml", "sts.amazonaws.com", "sts.*", "*", "?*", "",
            "person:*", "person:", "person:alice@example.com", "PERSON:ALICE@EXAMPLE.COM", "person:bob@example.com", "person?*",
            "repo:*", "gateway:reader", "alice@example.com", "*@example.com", "*@example.org", "persistent", "transient",
            f"{ACCOUNT}/rolegate", "shop", "Team", "engineering", "p*n:*", "person:*@example.com",
        ]
    )  # fmt: skip
    operators = st.sampled_from(
        [
            f"{quantifier}{operator}{suffix}"
            for operator in ("StringEquals", "StringLike", "StringEqualsIgnoreCase", "StringNotEquals", "StringNotLike")
            for quantifier in ("", "", "ForAnyValue:", "ForAllValues:")
            for suffix in ("", "IfExists")
        ]
    )
    null = st.tuples(st.just("Null"), keys, st.sampled_from(["true", "false"]))
    strange = st.sampled_from(
        [
            ("IpAddress", "aws:SourceIp", "192.0.2.0/24"),
            ("StringEqualz", "SAML:aud", gateway.saml_recipients[0]),
            ("ForSomeValue:StringEquals", "SAML:aud", gateway.saml_recipients[0]),
            ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"),
            ("Bool", "aws:MultiFactorAuthPresent", "true"),
        ]
    )
    right = st.sampled_from(
        [
            ("StringEquals", "SAML:aud", list(gateway.saml_recipients)),
            ("StringEquals", f"{issuer}:aud", "sts.amazonaws.com"),
            ("StringLike", f"{issuer}:sub", "person:*"),
        ]
    )
    one = st.one_of(right, right, st.tuples(operators, keys, listed(values)), null, strange)

    def condition(entries):
        block = {}
        for operator, key, value in entries:
            block.setdefault(operator, {})[key] = value
        return block

    def statement(effect, principal, action, entries, inverted_action, inverted_principal):
        made = {"Effect": effect, "NotAction" if inverted_action else "Action": action}
        inverted_principal = inverted_principal and isinstance(principal, dict)
        made["NotPrincipal" if inverted_principal else "Principal"] = principal
        if entries:
            made["Condition"] = condition(entries)
        return made

    everything = [good.call, TAG_SESSION, SET_SOURCE_IDENTITY]
    rarely = st.sampled_from([False] * 9 + [True])
    statements = st.builds(
        statement,
        st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
        principals,
        st.one_of(st.just(everything), st.just(everything), listed(actions)),
        st.lists(one, max_size=2),
        rarely,
        rarely,
    )
    return st.builds(
        lambda found, single, version: {
            "Version": version,
            "Statement": found[0] if single and len(found) == 1 else found,
        },
        st.lists(statements, min_size=1, max_size=3),
        st.booleans(),
        st.sampled_from(["2012-10-17", "2012-10-17", "2008-10-17"]),
    )


@pytest.mark.parametrize("kind", ["saml", "oidc"])
def test_what_examine_is_sure_of_the_strict_sts_does(calls, kind):
    base, claimed = calls
    gateway, claimed = replace(base, federation=kind), claimed[kind]
    seen = Counter()

    @settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(policies(gateway, kind))
    def agree(policy):
        report = examine(policy, role_arn=ROLE, gateway=gateway)
        way = report.way
        for action, answer in (
            (f"sts:{claimed.call}", way.call),
            (TAG_SESSION, way.tag_session),
            (SET_SOURCE_IDENTITY, way.set_source_identity),
        ):
            seen[answer] += 1
            granted = allows(policy, action, claimed.provider_arn, claimed.context)
            assert answer is UNKNOWN or granted == (answer is YES), action
        try:
            StrictSts._check_trust(Role(ROLE, ACCOUNT, "ReadOnly", policy, 3600), claimed)
            refused = ""
        except AwsError as error:
            refused = error.reason
        if way.usable_with_tags is YES:
            assert refused == ""
            assert not [f for f in report.findings if f.severity == "error" and f.code != "statement_malformed"]
        elif way.usable_with_tags is NO:
            assert refused in {"trust_mismatch", "trust_without_tag_session", "trust_without_set_source_identity"}
            assert [f for f in report.findings if f.severity == "error"], "a no without a reason"
        # Where nobody else's denial or unreadable statement is in the way, there is a correction.
        denies = any(s["Effect"] == "Deny" for s in listed_statements(policy))
        if way.usable_with_tags is NO and not denies:
            # The gateway's own reader is not for people: the mapping is what is to be corrected there.
            assert bool(report.corrected) is ("reader_role" not in report.codes), report.codes
        # And it is one: the strict STS takes it, unless a condition is left that nobody can know.
        if report.corrected:
            corrected = json.loads(report.corrected)
            ours = {gateway.saml_provider_arn, gateway.oidc_provider_arn}
            theirs = [s for s in listed_statements(policy) if not ours & set(providers_of(s))]
            rest = iter(listed_statements(corrected))
            assert all(any(one == s for s in rest) for one in theirs)  # each there as it was, in order
            after = examine(corrected, role_arn=ROLE, gateway=gateway)
            seen["corrected"] += 1
            assert after.way.usable_with_tags is not NO
            if after.way.usable_with_tags is YES:
                StrictSts._check_trust(Role(ROLE, ACCOUNT, "ReadOnly", corrected, 3600), claimed)

    agree()
    # The test would prove nothing if nearly every policy were a no, or unknown.
    assert min(seen[YES], seen[NO], seen["corrected"]) > 100, seen


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
@settings(max_examples=500, deadline=None)
def test_wildcards_are_what_a_regular_expression_says(pattern, text):
    expression = "".join({"*": ".*", "?": "."}.get(c, c) for c in pattern)
    assert like(pattern, text) == (re.fullmatch(expression, text) is not None)


@given(
    st.text("ab:*?", min_size=1, max_size=6), st.sampled_from(["", "a", "ab:"]), st.text("ab", min_size=2, max_size=5)
)
@settings(max_examples=1000, deadline=None)
def test_an_answer_about_everybody_holds_for_each(pattern, prefix, name):
    """With only the beginning of a value known: yes means that every value matches, no that none does."""
    trust = TrustPolicy({}, (), has_variables=True)

    class Context:
        def fact(self, key):
            return Fact(prefix=prefix)

    answer = trust.met(Condition("StringLike", "k", (pattern,)), Context())
    if answer is not UNKNOWN:
        assert like(pattern, prefix + name) == (answer is YES)
