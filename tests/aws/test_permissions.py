"""What policies come to, in a few words: never less than they give, and what is not understood is named."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.aws.permissions import Permissions, Policy, Service, summary

AWS = "arn:aws:iam::aws:policy/"


def inline(*statements, name="inline"):
    return Policy(name, document=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def allow(*actions, resource="*", **more):
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def services(found):
    return {one.prefix: (one.level, one.everywhere) for one in found.services}


@pytest.mark.parametrize(
    "policy",
    [
        Policy("AdministratorAccess", AWS + "AdministratorAccess"),
        inline(allow("*")),
        inline(allow("*:*")),
        inline({"Effect": "Allow", "Action": "*", "Resource": "*"}),
        Policy("as-object", document='{"Statement": {"Effect": "Allow", "Action": "*", "Resource": ["*"]}}'),
    ],
)
def test_an_administrator_is_called_one(policy):
    found = summary([policy, inline(allow("s3:GetObject"), name="other")])
    assert found.administrator
    assert found.identities


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ([inline({"Effect": "Deny", "Action": "iam:*", "Resource": "*"}, name="less")], "denies"),
        ([Policy("edge", "arn:aws:iam::111122223333:policy/edge", boundary=True)], "bounded"),
    ],
)
def test_what_takes_away_is_told(more, field):
    found = summary([inline(allow("*")), *more])
    assert (found.everything, found.administrator, getattr(found, field)) == (True, False, True)


def test_everything_of_named_resources_or_under_a_condition_is_not_an_administrator():
    for statement in (allow("*", resource="arn:aws:s3:::a/*"), allow("*", Condition={"Bool": {"x": "y"}})):
        found = summary([inline(statement)])
        assert (found.everything, found.everywhere, found.administrator) == (True, False, False)


def test_everything_but_what_every_statement_leaves_out():
    found = summary([Policy("PowerUserAccess", AWS + "PowerUserAccess")])
    assert (found.everything, found.but, found.identities) == (True, ("account", "iam", "organizations"), False)
    # A second policy gives part of it back: then it is not left out.
    given_back = summary([Policy("PowerUserAccess", AWS + "PowerUserAccess"), inline(allow("iam:*"))])
    assert given_back.but == ("account", "organizations")
    assert given_back.identities
    part = summary([Policy("PowerUserAccess", AWS + "PowerUserAccess"), inline(allow("iam:PassRole"))])
    assert part.identities


@pytest.mark.parametrize(
    ("action", "level"),
    [
        ("s3:GetObject", "read"), ("s3:Get*", "read"), ("ec2:Describe*", "read"), ("logs:FilterLogEvents", "read"), ("sqs:ListQueues", "read"),
        ("s3:PutObject", "change"), ("s3:G*", "change"), ("s3:?etObject", "change"), ("ec2:*Instances", "change"), ("S3:DeleteObject", "change"),
        ("codecommit:GitPush", "change"), ("s3:*", "all"), ("ssm:Getaway", "change"), ("ec2:GetConsoleOutput", "read"),
    ],
)  # fmt: skip
def test_reading_or_changing_is_told_by_the_verb_and_in_doubt_it_is_changing(action, level):
    (service,) = summary([inline(allow(action))]).services
    assert (service.prefix, service.level) == (action.partition(":")[0].lower(), level)


def test_the_most_counts_of_each_service_and_where():
    found = summary(
        [
            inline(
                allow("s3:Get*"),
                allow("s3:PutObject", resource="arn:aws:s3:::logs/*"),
                allow("sns:Publish", resource="arn:x"),
            ),
            inline(allow("sns:Subscribe"), allow("sqs:Send*", Condition={"StringEquals": {"a": "b"}}), name="second"),
        ]
    )
    assert services(found) == {"s3": ("change", False), "sns": ("change", True), "sqs": ("change", False)}
    assert [one.prefix for one in found.changing] == ["s3", "sns", "sqs"]
    assert not found.reading


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (allow("iam:AttachRolePolicy", resource="arn:aws:iam::1:role/x"), True), (allow("iam:Put*", Condition={"a": {"b": "c"}}), True),
        (allow("IAM:*"), True), (allow("iam:PassRole"), True), (allow("iam:PassRole", resource="arn:aws:iam::*:role/service/*"), False),
        (allow("iam:Get*", "iam:ListRoles"), False), (allow("s3:*"), False),
        ({"Effect": "Deny", "Action": "iam:*", "Resource": "*"}, False),
    ],
)  # fmt: skip
def test_who_can_give_themselves_more_and_who_only_deploys(statement, expected):
    assert summary([inline(statement)]).identities is expected


def test_aws_own_policies_say_by_their_names_what_they_give_or_are_named():
    found = summary(
        [
            Policy("AmazonS3ReadOnlyAccess", AWS + "AmazonS3ReadOnlyAccess"),
            Policy("AmazonDynamoDBFullAccess", AWS + "AmazonDynamoDBFullAccess"),
            Policy("AWSSupportAccess", AWS + "AWSSupportAccess"),
        ]
    )
    assert services(found) == {"s3": ("read", True), "dynamodb": ("all", True)}
    assert found.unread == ("AWSSupportAccess",)
    # Somebody's own policy of such a name is what its text says, and unknown without one.
    assert summary(
        [Policy("AdministratorAccess", "arn:aws:iam::111122223333:policy/AdministratorAccess")]
    ) == Permissions(unread=("AdministratorAccess",))


def test_reading_everything():
    found = summary([Policy("ReadOnlyAccess", AWS + "ReadOnlyAccess")])
    assert (found.reads_all, found.everything, found.services) == (True, False, ())
    assert summary([inline(allow("*:Put*"))]).services == (Service("*", "change", everywhere=True),)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"Statement": 7}',
        "[" * 100_000,
        '{"Statement": [1, "x"]}',
        '{"Statement": [{"Effect": "Allow"}]}',
    ],
)
def test_a_document_that_is_none_gives_nothing_and_throws_nothing(document):
    found = summary([Policy("odd", document=document)])
    assert not found.everything
    assert not found.services


def test_no_policy_is_nothing():
    assert summary([]).nothing
    assert not summary([inline(allow("s3:GetObject"))]).nothing


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Statement", "Effect", "Action", "NotAction", "Resource", "Condition"]), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_whatever_a_document_says_there_is_an_answer(document):
    assert isinstance(summary([Policy("any", document=json.dumps(document))]), Permissions)


JOB_FUNCTIONS = (
    "AdministratorAccess", "Billing", "DatabaseAdministrator", "DataScientist", "NetworkAdministrator", "PowerUserAccess",
    "ReadOnlyAccess", "SecurityAudit", "SupportUser", "SystemAdministrator", "ViewOnlyAccess",
)  # fmt: skip


@pytest.mark.parametrize("name", JOB_FUNCTIONS)
def test_each_of_aws_job_functions_is_said_in_a_line(name):
    assert re.fullmatch(r"[A-Z][^\n]{20,110}\.", Policy(name, f"{AWS}job-function/{name}").meaning)


@pytest.mark.parametrize(
    "policy",
    [
        Policy("Billing", "arn:aws:iam::111122223333:policy/Billing"), Policy("Billing"),
        Policy("AWSProtonDeveloperAccess", AWS + "AWSProtonDeveloperAccess"),
    ],
)  # fmt: skip
def test_a_policy_of_somebody_elses_under_such_a_name_is_not_said_so(policy):
    assert policy.meaning == ""
