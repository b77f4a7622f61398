"""What is wrong with a role's trust, each by its code; and a correction that does what it is for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.aws import gateway_trust as gt
from federation.aws.trust import CODES, Answer, Pointing, Severity, examine, examine_all, gateway_trust
from federation.flows import minting, refresh_catalogue
from tests import cast

ACCOUNT = cast.PROD
ROLE = cast.role(ACCOUNT, "ReadOnly")
ISSUER = "gate.example.com/issuer"
SAML = gateway_trust(
    ACCOUNT, partition="aws", federation="saml", provider="rolegate", issuer_url=f"https://{ISSUER}", region="eu-west-1"
)
OIDC = replace(SAML, federation="oidc")
SAML_ARN = f"arn:aws:iam::{ACCOUNT}:saml-provider/rolegate"
OIDC_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
GITHUB = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
HERE = "https://eu-west-1.signin.aws.amazon.com/saml"
EVERYWHERE = list(SAML.saml_recipients)
SAML_ACTIONS = ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"]
OIDC_ACTIONS = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
SAML_AUD = {"StringEquals": {"SAML:aud": EVERYWHERE}}
OIDC_AUD = {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com"}}
YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN
LAMBDA = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def allow(principal=SAML_ARN, action=SAML_ACTIONS, condition=SAML_AUD, **more):
    made = {
        "Effect": "Allow",
        "Principal": {"Federated": principal} if isinstance(principal, str | list) else principal,
        "Action": action,
    }
    if condition:
        made["Condition"] = condition
    return made | more


def deny(principal="*", action="sts:*", condition=None):
    return allow(principal, action, condition) | {"Effect": "Deny", "Principal": principal}


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def look(document, gateway=SAML, **more):
    return examine(document, role_arn=more.pop("role_arn", ROLE), gateway=gateway, **more)


def codes(report):
    return {finding.code: finding.severity.value for finding in report.findings}


# --- Roles that people can use --------------------------------------------------------------------------

GOOD = {
    "saml": (SAML, policy(allow())),
    "oidc": (OIDC, policy(allow(OIDC_ARN, OIDC_ACTIONS, OIDC_AUD))),
    "a statement that is no list": (SAML, {"Version": "2012-10-17", "Statement": allow()}),
    "as text": (SAML, json.dumps(policy(allow()))),
    "wildcards and another case": (SAML, policy(allow(action=["STS:assumerolewith*", "sts:T?gSession", "sts:set*"]))),
    "star": (SAML, policy(allow(action="*"))),
    "actions apart": (
        SAML,
        policy(
            allow(action="sts:AssumeRoleWithSAML"),
            allow(action=["sts:TagSession", "sts:SetSourceIdentity"], condition=None),
        ),
    ),
    "keys in another case": (SAML, policy(allow(condition={"StringEquals": {"saml:AUD": EVERYWHERE}}))),
    "ForAnyValue and IfExists": (
        SAML,
        policy(allow(condition={"ForAnyValue:StringEqualsIfExists": {"SAML:aud": EVERYWHERE}})),
    ),
    "an absent key with IfExists": (
        SAML,
        policy(allow(condition=SAML_AUD | {"StringEqualsIfExists": {"sts:ExternalId": "x"}})),
    ),
    "a list of providers": (OIDC, policy(allow([OIDC_ARN, SAML_ARN], OIDC_ACTIONS, OIDC_AUD))),
    "people by their subject": (
        OIDC,
        policy(allow(OIDC_ARN, OIDC_ACTIONS, OIDC_AUD | {"StringLike": {f"{ISSUER}:sub": "person:*"}})),
    ),
    "beside a service": (SAML, policy(LAMBDA, allow())),
    "a denial for another audience": (
        SAML,
        policy(allow(condition=None, Sid="x"), deny(condition={"StringNotEquals": {"SAML:aud": EVERYWHERE}})),
    ),
    "a denial without a source identity": (
        SAML,
        policy(allow(), deny(condition={"Null": {"sts:SourceIdentity": "true"}})),
    ),
    "a denial of something else": (SAML, policy(allow(), deny({"AWS": "*"}, "sts:AssumeRole"))),
    "what the demo's accounts have": (
        SAML,
        policy(
            allow(
                condition={"StringEquals": {"SAML:aud": [*EVERYWHERE, "https://us-east-2.signin.aws.amazon.com/saml"]}}
            )
        ),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_role_that_people_can_use_has_no_finding(case):
    gateway, document = GOOD[case]
    report = look(document, gateway)
    assert codes(report) == {}
    assert report.way.usable_with_tags is YES
    assert report.way.audience is YES
    assert report.corrected == ""


# --- Roles that they cannot, or that others can ---------------------------------------------------------


@dataclass(frozen=True)
class Case:
    document: object
    found: dict[str, str]
    gateway: object = SAML
    usable: Answer = NO
    corrected: bool = False
    options: tuple = ()


BAD = {
    "not json": Case("{", {"not_json": "error"}, usable=UNKNOWN),
    "nested too deeply": Case("[" * 60_000, {"not_json": "error"}, usable=UNKNOWN),
    "too long": Case('"' + "x" * 70_000 + '"', {"not_a_policy": "error"}, usable=UNKNOWN),
    "an element twice": Case('{"Statement": [], "Statement": []}', {"not_a_policy": "error"}, usable=UNKNOWN),
    "a list": Case("[]", {"not_a_policy": "error"}, usable=UNKNOWN),
    "no statement": Case({"Version": "2012-10-17", "Statement": []}, {"not_a_policy": "error"}, usable=UNKNOWN),
    "a strange version": Case({"Version": "2013-01-01", "Statement": [allow()]}, {"not_a_policy": "error"}, usable=UNKNOWN),
    "a resource": Case(policy(allow(Resource="*")), {"statement_malformed": "error"}, usable=UNKNOWN),
    "no principal": Case(policy({"Effect": "Allow", "Action": "sts:*"}), {"statement_malformed": "error"}, usable=UNKNOWN),
    "an effect in lower case": Case(policy(allow() | {"Effect": "allow"}), {"statement_malformed": "error"}, usable=UNKNOWN),
    "NotPrincipal": Case(
        policy(allow(), {"Effect": "Deny", "NotPrincipal": {"AWS": "444455556666"}, "Action": "*"}),
        {"statement_malformed": "error", "denied": "error"},
    ),
    "not us": Case(policy(LAMBDA), {"gateway_not_trusted": "error"}, corrected=True),
    "our provider in another account": Case(
        policy(allow(SAML_ARN.replace(ACCOUNT, cast.DEV))),
        {"wrong_provider": "error", "federated_saml_other": "warning"},
        corrected=True,
    ),
    "our issuer with a slash": Case(
        policy(allow(OIDC_ARN + "/", OIDC_ACTIONS, {"StringEquals": {f"{ISSUER}/:aud": "sts.amazonaws.com", f"{ISSUER}/:sub": "x"}})),
        {"wrong_provider": "error"},
        OIDC,
        corrected=True,
    ),
    "the other way": Case(policy(allow(OIDC_ARN, OIDC_ACTIONS, OIDC_AUD)), {"wrong_federation": "error"}, corrected=True),
    "the other way's action": Case(
        policy(allow(action=OIDC_ACTIONS)), {"wrong_action": "error"}, corrected=True
    ),
    "the call alone": Case(
        policy(allow(action="sts:AssumeRoleWithSAML")),
        {"tag_session_missing": "error", "set_source_identity_missing": "error"},
        corrected=True,
    ),
    "no TagSession and no tags": Case(
        policy(allow(action=["sts:AssumeRoleWithSAML", "sts:SetSourceIdentity"])),
        {"tag_session_missing": "warning"},
        usable=YES,
        corrected=True,
        options=(("sends_tags", False),),
    ),
    "TagSession under a condition that fails": Case(
        policy(
            allow(action=["sts:AssumeRoleWithSAML", "sts:SetSourceIdentity"]),
            allow(action="sts:TagSession", condition={"StringEquals": {"sts:ExternalId": "x"}}),
        ),
        {"tag_session_missing": "error"},
        usable=YES,
        corrected=True,
    ),
    "one region of others": Case(
        policy(allow(condition={"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}})),
        {"audience_wrong": "error"},
        corrected=True,
    ),
    "our region alone": Case(
        policy(allow(condition={"StringEquals": {"SAML:aud": HERE}})), {"audience_one_region": "warning"}, usable=YES, corrected=True
    ),
    "the SAML audience, not the recipient": Case(
        policy(allow(condition={"StringEquals": {"SAML:aud": "urn:amazon:webservices"}})), {"audience_wrong": "error"}, corrected=True
    ),
    "another token audience": Case(
        policy(allow(OIDC_ARN, OIDC_ACTIONS, {"StringEquals": {f"{ISSUER}:aud": "rolegate"}})),
        {"audience_wrong": "error"},
        OIDC,
        corrected=True,
    ),
    "no condition": Case(policy(allow(condition=None)), {"whole_provider": "danger"}, usable=YES, corrected=True),
    "no condition by tokens": Case(
        policy(allow(OIDC_ARN, OIDC_ACTIONS, None)), {"whole_provider": "danger"}, OIDC, usable=YES, corrected=True
    ),
    "a condition on something else": Case(
        policy(allow(condition={"StringEquals": {"SAML:sub_type": "persistent"}})),
        {"audience_missing": "danger"},
        usable=YES,
        corrected=True,
    ),
    "any audience": Case(
        policy(allow(condition={"StringLike": {"SAML:aud": "*"}})), {"audience_missing": "danger"}, usable=YES, corrected=True
    ),
    "any audience but one": Case(
        policy(allow(condition={"StringNotEquals": {"SAML:aud": "https://else.example/saml"}})),
        {"audience_missing": "danger"},
        usable=YES,
        corrected=True,
    ),
    "an open second statement": Case(
        policy(allow(), allow(OIDC_ARN, "sts:AssumeRoleWithWebIdentity", None)),
        {"whole_provider": "danger"},
        usable=YES,
        corrected=True,
    ),
    "an external id": Case(
        policy(allow(condition=SAML_AUD | {"StringLike": {"sts:ExternalId": "*"}})), {"external_id_wanted": "error"}, corrected=True
    ),
    "an MFA device": Case(
        policy(allow(condition=SAML_AUD | {"Bool": {"aws:MultiFactorAuthPresent": True}})), {"mfa_wanted": "error"}, corrected=True
    ),
    "aws:username": Case(
        policy(allow(condition=SAML_AUD | {"StringLike": {"sts:RoleSessionName": "${aws:username}"}})),
        {"session_name_wanted": "error"},
        corrected=True,
    ),
    "a wildcard in StringEquals": Case(
        policy(allow(OIDC_ARN, OIDC_ACTIONS, {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": "person:*"}})),
        {"subject_wrong": "error"},
        OIDC,
        corrected=True,
    ),
    "a subject of GitHub's": Case(
        policy(allow(OIDC_ARN, OIDC_ACTIONS, OIDC_AUD | {"StringLike": {f"{ISSUER}:sub": "repo:*"}})),
        {"subject_wrong": "error"},
        OIDC,
        corrected=True,
    ),
    "a token's key in an assertion's statement": Case(
        policy(allow(condition=OIDC_AUD)), {"condition_never_met": "error"}, corrected=True
    ),
    "one person": Case(
        policy(allow(OIDC_ARN, OIDC_ACTIONS, OIDC_AUD | {"StringEqualsIgnoreCase": {f"{ISSUER}:sub": "PERSON:alice@example.com"}})),
        {"limited_to_some": "info"},
        OIDC,
        usable=UNKNOWN,
    ),
    "a session tag": Case(
        policy(allow(condition=SAML_AUD | {"StringLike": {"aws:RequestTag/Team": "${saml:sub}"}})),
        {"limited_to_some": "info"},
        usable=UNKNOWN,
    ),
    "an address": Case(
        policy(allow(condition=SAML_AUD | {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})),
        {"condition_unknown": "warning"},
        usable=UNKNOWN,
    ),
    "an operator of tomorrow": Case(
        policy(allow(condition={"StringSoundsLike": {"SAML:aud": HERE}})),
        {"condition_unknown": "warning"},
        usable=UNKNOWN,
    ),
    "a denial to everybody": Case(policy(allow(), deny()), {"denied": "error"}),
    "a denial to every account": Case(policy(allow(), deny({"AWS": "*"})), {"denied": "error"}),
    "a denial of tags": Case(policy(allow(), deny({"Federated": SAML_ARN}, "sts:TagSession")), {"denied": "error"}, usable=YES),
    "a denial from some addresses": Case(
        policy(allow(), deny(condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}})),
        {"condition_unknown": "warning"},
        usable=UNKNOWN,
    ),
    "a denial by NotAction": Case(
        policy(allow(), {"Effect": "Deny", "Principal": "*", "NotAction": "sts:TagSession"}), {"denied": "error"}
    ),
    "NotAction": Case(policy(allow() | {"NotAction": "sts:AssumeRole"}), {"statement_malformed": "error"}, usable=UNKNOWN),
    "Allow with NotAction": Case(
        policy({k: v for k, v in allow().items() if k != "Action"} | {"NotAction": "sts:AssumeRole"}),
        {"not_action": "warning"},
        usable=YES,
    ),
    "everybody": Case(
        policy(allow(), allow("*", "sts:AssumeRole", None) | {"Principal": "*"}), {"principal_star": "danger"}, usable=YES
    ),
    "every account, under conditions": Case(
        policy(allow(), allow({"AWS": ["*"]}, "sts:AssumeRole", {"StringEquals": {"aws:PrincipalOrgID": "o-1"}})),
        {"principal_star": "warning"},
        usable=YES,
    ),
    "everybody and not us": Case(
        policy(allow(action="sts:AssumeRoleWithSAML", condition=None) | {"Principal": "*"}),
        {"principal_star": "danger", "tag_session_missing": "error", "set_source_identity_missing": "error"},
        corrected=True,
    ),
    "another account": Case(
        policy(allow(), allow({"AWS": "444455556666"}, "sts:AssumeRole", None)), {"anyone_in_other_account": "warning"}, usable=YES
    ),
    "another account's root with an external id": Case(
        policy(
            allow(),
            allow({"AWS": "arn:aws:iam::444455556666:root"}, "sts:AssumeRole", {"StringEquals": {"sts:ExternalId": "x"}}),
        ),
        {"anyone_in_other_account": "info"},
        usable=YES,
    ),
    "another SAML provider": Case(
        policy(allow(), allow(SAML_ARN.replace("rolegate", "Okta"))), {"federated_saml_other": "warning"}, usable=YES
    ),
    "another SAML provider in our statement, without a condition": Case(
        policy(allow([SAML_ARN, SAML_ARN.replace("rolegate", "Okta")], condition=None)),
        {"federated_saml_other": "warning", "whole_provider": "danger"},
        usable=YES,
        corrected=True,
    ),
    "nothing but an absurd duration": Case(
        policy(allow()), {"duration_impossible": "warning"}, usable=YES, options=(("max_session_duration", 900),)
    ),
    "Identity Center's": Case(
        policy(allow()), {"reserved_role": "error"}, options=(("role_arn", cast.role(ACCOUNT, "AWSReservedSSO_Admin_0123456789abcdef")),)
    ),
    "a service's": Case(
        policy(LAMBDA), {"reserved_role": "error"}, options=(("role_arn", cast.role(ACCOUNT, "aws-service-role/x.amazonaws.com/AWSServiceRoleForX")),)
    ),
    "a comma in the path": Case(
        policy(allow()), {"role_arn_unusable": "error"}, options=(("role_arn", cast.role(ACCOUNT, "a,b/ReadOnly")),)
    ),
    "SAML where it cannot work": Case(
        policy(LAMBDA),
        {"saml_unavailable": "error"},
        gateway_trust(ACCOUNT, partition="aws-eusc", federation="saml", provider="rolegate", issuer_url=f"https://{ISSUER}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found_by_its_code(name):
    case = BAD[name]
    report = look(case.document, case.gateway, **dict(case.options))
    assert codes(report) == case.found
    assert report.way.usable is case.usable
    assert bool(report.corrected) == case.corrected
    for finding in report.findings:
        assert finding.sentence.isprintable()
        assert finding.sentence.endswith(".")


@pytest.mark.parametrize("name", [name for name, case in BAD.items() if case.corrected])
def test_the_corrected_policy_is_usable_and_closed(name):
    case = BAD[name]
    report = look(case.document, case.gateway, **dict(case.options))
    after = look(report.corrected, case.gateway)
    assert after.way.usable_with_tags is YES
    fixed = {finding.code for finding in report.findings if finding.corrected}
    assert fixed
    assert not fixed & set(codes(after))
    # What was found and is not put right is said to be somebody's to decide, and nothing new has come.
    assert {f.code for f in after.findings} <= {f.code for f in report.findings if not f.corrected}


@pytest.mark.parametrize("gateway", [SAML, OIDC], ids=["saml", "oidc"])
def test_the_statement_that_opens_a_way_is_found_good(gateway):
    report = look(policy(gateway.way.statement()), gateway)
    assert codes(report) == {}
    assert report.way.usable_with_tags is YES


def test_a_correction_changes_as_little_as_it_can():
    mine = allow(
        action="sts:AssumeRoleWithSAML",
        condition={"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}},
        Sid="Gateway",
    )
    theirs = allow(
        GITHUB,
        "sts:AssumeRoleWithWebIdentity",
        {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:shop/web:*"}},
    )
    report = look(policy(LAMBDA, mine, theirs) | {"Id": "x"})
    corrected = json.loads(report.corrected)
    assert corrected == {
        "Id": "x",
        "Version": "2012-10-17",
        "Statement": [
            LAMBDA,
            {
                "Sid": "Gateway",
                "Effect": "Allow",
                "Principal": {"Federated": SAML_ARN},
                "Action": SAML_ACTIONS,
                "Condition": {
                    "StringEquals": {
                        "SAML:aud": [
                            "https://signin.aws.amazon.com/saml",
                            *[one for one in EVERYWHERE if one != "https://signin.aws.amazon.com/saml"],
                        ]
                    }
                },
            },
            theirs,
        ],
    }


def test_a_condition_of_ours_never_locks_the_others_out_of_a_shared_statement():
    okta = SAML_ARN.replace("rolegate", "Okta")
    corrected = json.loads(look(policy(allow([okta, SAML_ARN], condition=None))).corrected)
    assert corrected["Statement"] == [allow([okta], condition=None), SAML.saml.statement()]


@pytest.mark.parametrize(
    "statement",
    [
        "Allow",
        {**allow(), "Action": []},
        {**allow(), "Action": {"a": 1}},
        {**allow(), "Principal": "arn:aws:iam::111122223333:root"},
        {**allow(), "Principal": {}},
        {**allow(), "Principal": {"Robot": "*"}},
        {**allow(), "Principal": {"Federated": {"a": 1}}},
        {**allow(), "Condition": "never"},
        {**allow(), "Condition": {"StringEquals": "never"}},
        {**allow(), "Condition": {"StringEquals": {"SAML:aud": {"a": 1}}}},
        {**allow(), "NotPrincipal": "*"},
    ],
    ids=str,
)
def test_a_statement_that_iam_would_not_take_is_named_and_the_rest_is_judged(statement):
    report = look(policy(allow(condition=None), statement))
    assert codes(report) == {"statement_malformed": "error", "whole_provider": "danger"}
    assert {f.code: f.statement for f in report.findings} == {"statement_malformed": 2, "whole_provider": 1}
    assert report.way.usable is UNKNOWN
    assert report.codes - {f.code for f in report.findings if f.corrected} == {"statement_malformed"}


def test_elements_that_no_policy_has_and_numbers_for_strings():
    assert codes(look(policy(allow()) | {"Statements": []})) == {"not_a_policy": "error"}
    # JSON's true is the string "true" in IAM; two values, or one that is neither, are nobody's to interpret.
    for value, usable in ((False, YES), ("False", YES), (True, NO), (["true", "false"], UNKNOWN), ("maybe", UNKNOWN)):
        assert look(policy(allow(condition=SAML_AUD | {"Null": {"SAML:aud": value}}))).way.call is usable, value
    assert look(policy(allow(condition=SAML_AUD | {"NullIfExists": {"SAML:aud": "true"}}))).way.call is UNKNOWN
    assert look(policy(allow(condition=SAML_AUD | {"StringNotEquals": {"sts:ExternalId": 1}}))).way.call is YES
    # Nothing says what a negated operator means for a set without members.
    absent = {"ForAnyValue:StringNotEquals": {"sts:ExternalId": "x"}}
    assert look(policy(allow(condition=SAML_AUD | absent))).way.call is UNKNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["Allow", "*", SAML_ARN, "sts:*", "SAML:aud", "2012-10-17"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Statement", "Version", "Effect", "Action", "Principal", "Federated", "AWS", "Condition", "StringEquals", "Null", "SAML:aud", "x"]
            ),
            children,
            max_size=5,
        )
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(JSON, st.booleans())
def test_no_document_makes_it_stumble(document, pointed):
    for given_as in (document, json.dumps(document)):
        for wrapped in (given_as, {"Version": "2012-10-17", "Statement": document}):
            report = look(wrapped, pointed=pointed)
            assert all(finding.sentence.isprintable() for finding in report.findings)
            assert report.corrected.isascii()


def test_the_given_policy_is_left_alone():
    document = policy(allow(action="sts:AssumeRoleWithSAML", condition=None))
    before = json.dumps(document)
    assert look(document).corrected
    assert json.dumps(document) == before


def test_nobody_elses_text_reaches_a_sentence_as_it_is():
    nasty = "x\u202e\nX-Header: <script>" + "y" * 500
    report = look(policy(allow(condition=SAML_AUD | {nasty: {nasty: nasty}})))
    (finding,) = report.findings
    assert finding.code == "condition_unknown"
    assert finding.sentence.isascii()
    assert finding.sentence.isprintable()
    assert len(finding.sentence) < 700
    (finding,) = look(policy(allow(**{nasty: 1}))).findings
    assert (finding.code, finding.sentence.isprintable()) == ("statement_malformed", True)


# --- Other providers -----------------------------------------------------------------------------------

AUD = {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}


def github(**condition):
    block = {"StringEquals": dict(AUD)}
    for operator, subject in condition.items():
        block.setdefault(operator, {})["token.actions.githubusercontent.com:sub"] = subject
    return allow(GITHUB, "sts:AssumeRoleWithWebIdentity", block)


def eks(subject):
    host = "oidc.eks.eu-west-1.amazonaws.com/id/ABC"
    condition = {"StringLike": {f"{host}:sub": subject}, "StringEquals": {f"{host}:aud": "sts.amazonaws.com"}}
    return allow(f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}", "sts:AssumeRoleWithWebIdentity", condition)


FOREIGN = {
    "github without a subject": (github(), "subject_wildcard"),
    "github, any repository": (github(StringLike="repo:*"), "subject_wildcard"),
    "github, any subject": (github(StringLike="*"), "subject_wildcard"),
    "github, any repository's main": (github(StringLike="repo:*:ref:refs/heads/main"), "subject_wildcard"),
    "github, one of the subjects is anybody": (github(StringLike=["repo:shop/web:*", "repo:*/web:*"]), ""),
    "github without a condition": (allow(GITHUB, "sts:*", None), "whole_provider"),
    "github, one owner": (github(StringLike="repo:shop/*"), ""),
    "github, one repository": (github(StringEquals="repo:shop/web:ref:refs/heads/main"), ""),
    "github, by another claim": (
        allow(GITHUB, "sts:AssumeRoleWithWebIdentity", {"StringEquals": {"token.actions.githubusercontent.com:repository_owner": "shop"}}),
        "",
    ),
    "github, another call": (allow(GITHUB, "sts:AssumeRoleWithSAML", None), ""),
    "every service account": (eks("system:serviceaccount:*"), "subject_wildcard"),
    "one service account": (eks("system:serviceaccount:shop:web"), ""),
    "google without a client": (
        allow("accounts.google.com", "sts:AssumeRoleWithWebIdentity", {"StringLike": {"accounts.google.com:sub": "*"}}),
        "subject_wildcard",
    ),
    "google for a client": (
        allow("accounts.google.com", "sts:AssumeRoleWithWebIdentity", {"StringEquals": {"accounts.google.com:aud": "client"}}),
        "",
    ),
    "cognito without its pool": (
        allow("cognito-identity.amazonaws.com", "sts:AssumeRoleWithWebIdentity", {"ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "*"}}),
        "",
    ),
    "an unknown issuer without a subject": (
        allow(
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example.org", "sts:AssumeRoleWithWebIdentity", {"StringEquals": {"idp.example.org:aud": "app"}}
        ),
        "subject_wildcard",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_strangers_at_a_shared_provider(name):
    statement, code = FOREIGN[name]
    report = look(policy(statement), pointed=False)
    assert codes(report) == ({code: "danger"} if code else {})


def test_a_denial_to_strangers_closes_a_shared_provider():
    shut = deny(
        {"Federated": GITHUB}, "*", {"StringNotLike": {"token.actions.githubusercontent.com:sub": "repo:shop/*"}}
    )
    assert codes(look(policy(github(), shut), pointed=False)) == {}


# --- Roles that are not for people, and roles that nobody points at --------------------------------------


def test_a_role_that_nobody_points_at_need_not_trust_the_gateway():
    report = look(policy(LAMBDA), pointed=False)
    assert codes(report) == {}
    assert report.way.usable is NO
    # Once it speaks of the gateway, it should do so well.
    assert codes(look(policy(allow(action="sts:AssumeRoleWithSAML")), pointed=False)) == {
        "tag_session_missing": "error",
        "set_source_identity_missing": "error",
    }


def test_the_gateways_own_reader_is_known_and_gets_no_correction():
    document = policy(gt.reader_statement(OIDC_ARN, ISSUER))
    for gateway in (SAML, OIDC):
        assert codes(look(document, gateway, pointed=False)) == {"reader_role": "info"}
        report = look(document, gateway)
        assert codes(report) == {"reader_role": "error"}
        # A correction would let people into the role that reads the account.
        assert report.corrected == ""


def test_a_role_of_identity_center_that_nobody_points_at_is_only_to_know():
    assert codes(look(policy(LAMBDA), pointed=False, role_arn=cast.role(ACCOUNT, "AWSReservedSSO_x"))) == {
        "reserved_role": "info"
    }


# --- Every role ------------------------------------------------------------------------------------------


@dataclass
class Known:
    arn: str
    account_id: str
    trust_policy: str
    max_session_duration: int | None = 3600


def test_each_mapping_that_points_at_a_role_that_cannot_be_assumed():
    good, untrusting, untagged = (cast.role(ACCOUNT, name) for name in ("Good", "Untrusting", "Untagged"))
    roles = [
        Known(good, ACCOUNT, json.dumps(policy(allow()))),
        Known(untrusting, ACCOUNT, json.dumps(policy(LAMBDA))),
        Known(untagged, ACCOUNT, json.dumps(policy(allow(action=["sts:AssumeRoleWithSAML", "sts:SetSourceIdentity"])))),
        Known(cast.role(ACCOUNT, "Unasked"), ACCOUNT, json.dumps(policy(LAMBDA))),
        Known(cast.role(cast.DEV, "Elsewhere"), cast.DEV, "{}"),
    ]
    gone, elsewhere = cast.role(ACCOUNT, "Gone"), cast.role(cast.DEV, "Gone")
    result = examine_all(
        roles,
        {ACCOUNT: SAML},
        [
            Pointing("read", good, duration=7200),
            Pointing("read", untrusting),
            Pointing("plain", untagged),
            Pointing("tagged", untagged, tags=True),
            Pointing("old", gone),
            Pointing("far", elsewhere),
            Pointing("odd", "not an ARN"),
        ],
    )
    assert [(p.rule, p.role_arn, p.finding.code, p.finding.severity) for p in result.pointed] == [
        ("old", gone, "role_missing", "error"),
        ("read", untrusting, "gateway_not_trusted", "error"),
        ("tagged", untagged, "tag_session_missing", "error"),
        ("read", good, "duration_shortened", "info"),
    ]
    assert set(result.reports) == {role.arn for role in roles[:4]}
    assert result.reports[roles[3].arn].findings == ()


def test_every_code_is_found_somewhere_here_and_every_code_found_is_known():
    found = {code for case in BAD.values() for code in case.found} | {code for _, code in FOREIGN.values() if code}
    found |= {"reader_role", "role_missing", "duration_shortened"}
    assert found == set(CODES)
    assert [one.value for one in Severity] == ["error", "danger", "warning", "info"]


def test_the_gateways_constants_are_those_that_it_mints_with():
    assert gt.TOKEN_AUDIENCE == minting.TOKEN_AUDIENCE
    assert gt.READER_SUBJECT == minting.READER_SUBJECT
    assert gt.READER_ROLE == refresh_catalogue.READER_ROLE
