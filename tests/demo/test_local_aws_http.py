"""Over HTTP, as clients see it: boto3 and the AWS CLI with what STS handed out, the sign-in endpoint, the console page."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from urllib.parse import urlencode

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from demo.serving import PortInUse, reserve
from tests.demo import kit
from tests.demo.kit import ACCOUNT, PROVIDER, ROLE, Draft

OTHER = "222233334444"


def sts(aws):
    return boto3.client("sts", region_name="eu-west-1", endpoint_url=aws.url, config=Config(signature_version=UNSIGNED))


def assume(aws, draft=None, **more):
    draft = draft or Draft()
    return sts(aws).assume_role_with_saml(RoleArn=ROLE, PrincipalArn=PROVIDER, SAMLAssertion=draft.post(), **more)[
        "Credentials"
    ]


def client(aws, service, keys):
    return boto3.client(
        service, region_name="eu-west-1", endpoint_url=aws.url, aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
    )  # fmt: skip


def test_the_credentials_work_in_their_account_alone(aws):
    aws.create_bucket(ACCOUNT, "shop-prod-invoices", "eu-west-1", {"2026/may.csv": b"42"})
    aws.create_bucket(OTHER, "someone-elses", "eu-west-1")
    keys = assume(aws)
    identity = client(aws, "sts", keys).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ReadOnly/alice@example.com"
    assert identity["Account"] == ACCOUNT
    s3 = client(aws, "s3", keys)
    # moto's accounts are one for all tests of a process: others of this file's account may be there, none of another's.
    seen = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert "shop-prod-invoices" in seen
    assert "someone-elses" not in seen
    assert s3.get_object(Bucket="shop-prod-invoices", Key="2026/may.csv")["Body"].read() == b"42"
    s3.put_object(Bucket="shop-prod-invoices", Key="a b/ü.txt", Body=b"x" * 100_000)
    assert s3.head_object(Bucket="shop-prod-invoices", Key="a b/ü.txt")["ContentLength"] == 100_000
    assert "ReadOnly" in [role["RoleName"] for role in client(aws, "iam", keys).list_roles()["Roles"]]


@pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed: apt-get install awscli")
def test_the_aws_cli_takes_them(aws):
    aws.create_bucket(ACCOUNT, "shop-prod-invoices", "eu-west-1")
    keys = assume(aws)
    environment = {
        "PATH": "/usr/bin:/bin:" + shutil.which("aws").rpartition("/")[0], "HOME": "/nonexistent", "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"], "AWS_SESSION_TOKEN": keys["SessionToken"],
    }  # fmt: skip

    def run(*words):
        return subprocess.run(
            ["aws", "--endpoint-url", aws.url, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/ReadOnly/alice@example.com" in run("sts", "get-caller-identity")
    assert "shop-prod-invoices" in run("s3", "ls")


def test_errors_have_awss_shape_and_status(aws):
    with pytest.raises(ClientError) as caught:
        assume(aws, Draft(key="stranger"))
    assert caught.value.response["Error"]["Code"] == "InvalidIdentityToken"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    aws.create_role(ACCOUNT, "ReadOnly", kit.trust("sts:TagSession"))
    with pytest.raises(ClientError) as caught:
        assume(aws)
    assert caught.value.response["Error"] == {
        "Code": "AccessDenied",
        "Message": "Not authorized to perform sts:AssumeRoleWithSAML",
        "Type": "Sender",
    }
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_made_up_foreign_and_expired_keys_open_nothing(aws, clock):
    keys = assume(aws)
    for service, operation, code in (
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("s3", "list_buckets", "InvalidAccessKeyId"),
    ):
        for wrong in ({**keys, "SessionToken": "made-up"}, {**keys, "AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}):
            with pytest.raises(ClientError) as caught:
                getattr(client(aws, service, wrong), operation)()
            assert caught.value.response["Error"]["Code"] == code
    assert requests.get(f"{aws.url}/", timeout=5).status_code == 403
    assert requests.post(f"{aws.url}/moto-api/reset", timeout=5).status_code == 403
    clock.forward(hours=1)
    with pytest.raises(ClientError) as caught:
        client(aws, "sts", keys).get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"


def signin_token(aws, keys, **more):
    session = json.dumps(
        {"sessionId": keys["AccessKeyId"], "sessionKey": keys["SecretAccessKey"], "sessionToken": keys["SessionToken"]}
    )
    return requests.post(aws.federation_url, data={"Action": "getSigninToken", "Session": session, **more}, timeout=5)


def login(aws, token, destination="https://eu-west-1.console.aws.amazon.com/s3/home"):
    query = urlencode(
        {"Action": "login", "Issuer": "http://localhost:8000", "Destination": destination, "SigninToken": token}
    )
    return requests.Session().get(f"{aws.federation_url}?{query}", timeout=5)


def test_a_sign_in_token_opens_the_console_for_fifteen_minutes(aws, clock):
    keys = assume(aws, Draft().with_(**{"PrincipalTag:Team": "shop"}))
    token = signin_token(aws, keys, SessionDuration="28800").json()["SigninToken"]
    page = login(aws, token)
    assert page.status_code == 200
    for shown in (
        "DEMO",
        ACCOUNT,
        "ReadOnly",
        "alice@example.com",
        "Team = shop",
        "https://eu-west-1.console.aws.amazon.com/s3/home",
    ):
        assert shown in page.text
    assert "2026-05-03 17:00:00" in page.text
    clock.forward(minutes=15)
    assert login(aws, token).status_code == 400
    assert aws.trail[-1]["reason"] == "signin_token"


@pytest.mark.parametrize(
    "destination",
    [
        "https://evil.example/", "https://console.aws.amazon.com.evil.example/", "http://console.aws.amazon.com/", "javascript:alert(1)",
        "https://evilconsole.aws.amazon.com/", "https://x@console.aws.amazon.com/", "https://console.amazonaws.cn/", "//console.aws.amazon.com",
    ],
)  # fmt: skip
def test_the_console_opens_nothing_but_console_pages(aws, destination):
    token = signin_token(aws, assume(aws)).json()["SigninToken"]
    assert login(aws, token, destination).status_code == 400
    assert aws.trail[-1]["reason"] == "destination"


def test_sign_in_tokens_are_for_living_keys_alone(aws):
    keys = assume(aws)
    assert signin_token(aws, {**keys, "SecretAccessKey": "made-up"}).status_code == 400
    assert aws.trail[-1]["reason"] == "credentials_unknown"
    assert signin_token(aws, keys, SessionDuration="899").status_code == 400
    assert aws.trail[-1]["reason"] == "session_duration"
    assert requests.get(f"{aws.url}/console", timeout=5).status_code == 403


def test_the_direct_post_checks_what_sts_checks(aws):
    draft = Draft().with_(SessionDuration="1800")
    fields = {"SAMLResponse": draft.post(), "RelayState": "https://console.aws.amazon.com/ec2/home"}
    page = requests.Session().post(f"{aws.url}/saml", data=fields, timeout=5)
    assert page.status_code == 200
    assert "2026-05-03 09:30:00" in page.text
    assert "https://console.aws.amazon.com/ec2/home" in page.text
    refused = requests.post(f"{aws.url}/saml", data=fields, timeout=5)
    assert (refused.status_code, aws.trail[-2]["reason"]) == (400, "redeemed_before")
    long = replace(draft, id="_a2").with_(SessionDuration="3601")
    requests.post(f"{aws.url}/saml", data={"SAMLResponse": long.post()}, timeout=5)
    assert aws.trail[-2]["reason"] == "duration_over_maximum"
    two = replace(draft, id="_a3").with_(Role=[f"{ROLE},{PROVIDER}", f"{ROLE}2,{PROVIDER}"])
    requests.post(f"{aws.url}/saml", data={"SAMLResponse": two.post()}, timeout=5)
    assert aws.trail[-2]["reason"] == "not_one_role"


def test_a_port_in_use_is_said_in_a_sentence():
    taken = reserve(0)
    port = taken.getsockname()[1]
    with pytest.raises(PortInUse, match=f"Port {port} on 127.0.0.1 is in use"):
        reserve(port)
    taken.close()


def iam_of(aws):
    return client(aws, "iam", assume(aws))


def assumed(aws, role):
    """Who a session of the role is."""
    draft = replace(Draft(), id="_another").with_(Role=f"{role},{PROVIDER}")
    answer = sts(aws).assume_role_with_saml(RoleArn=role, PrincipalArn=PROVIDER, SAMLAssertion=draft.post())
    return answer["AssumedRoleUser"]["Arn"]


def refusal(aws, role):
    """The precise reason why the role cannot be assumed."""
    with pytest.raises(ClientError) as caught:
        assumed(aws, role)
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    return aws.trail[-1]["reason"]


def test_a_role_that_is_made_changed_and_deleted_by_iams_own_api_is_so_for_sts(aws):
    """Who works in the demo's accounts changes them as in AWS; the strict STS must not go by what was there at the start."""
    iam, role = iam_of(aws), f"arn:aws:iam::{ACCOUNT}:role/reports/Made"
    iam.create_role(
        RoleName="Made", Path="/reports/", AssumeRolePolicyDocument=json.dumps(kit.trust()), MaxSessionDuration=7200
    )
    assert aws.registry.roles[role].max_session_duration == 7200
    assert assumed(aws, role) == f"arn:aws:sts::{ACCOUNT}:assumed-role/Made/alice@example.com"
    iam.update_assume_role_policy(RoleName="Made", PolicyDocument=json.dumps(kit.trust("sts:AssumeRole")))
    assert refusal(aws, role) == "trust_mismatch"
    iam.update_role(RoleName="Made", MaxSessionDuration=3600)
    assert aws.registry.roles[role].max_session_duration == 3600
    iam.delete_role(RoleName="Made")
    assert refusal(aws, role) == "role_unknown"


def test_a_role_in_one_account_leaves_its_namesake_elsewhere_alone(aws):
    theirs = aws.create_role(OTHER, "ReadOnly", kit.trust())
    iam_of(aws).delete_role(RoleName="ReadOnly")
    assert ROLE not in aws.registry.roles
    assert theirs in aws.registry.roles


def test_a_role_that_is_deleted_here_is_gone_from_iam_too(aws):
    arn = aws.create_role(ACCOUNT, "Passing", kit.trust())
    iam = iam_of(aws)
    aws.delete_role(arn)
    assert "Passing" not in [role["RoleName"] for role in iam.list_roles()["Roles"]]
