"""An account's roles are read whole or not at all: from moto's IAM, and from a double that pages, throttles and breaks."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import boto3
import pytest
from moto.server import ThreadedMotoServer

from federation.aws import catalogue
from federation.aws.catalogue import CatalogueUnreadable, list_roles
from federation.aws.partitions import partition
from tests.aws import paging
from tests.aws.paging import FakeRole, Reply

ACCOUNT, OTHER = "111122223333", "444455556666"
AWS = partition("aws")


@pytest.fixture
def double(monkeypatch):
    with paging.serving(paging.Double()) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", double.url)
        yield double


@pytest.fixture
def impatient(monkeypatch):
    """Waits are as long as the code says, times a hundredth: that there are any is what the tests look at."""
    slept = []
    clock = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda seconds: (slept.append(seconds), time.sleep(seconds / 100))
    )
    monkeypatch.setattr(catalogue, "time", clock)
    return slept


def read(account=ACCOUNT, of=None, **more):
    return list_roles(paging.credentials(of or account), account_id=account, partition=AWS, **more)


def refused(reason, **more):
    with pytest.raises(CatalogueUnreadable) as caught:
        read(**more)
    assert caught.value.reason == reason
    assert caught.value.code == "catalogue_unreadable"
    return caught.value


def names(listing):
    return [role.name for role in listing.roles]


# --- What is read ---------------------------------------------------------------------------------------


GETS_AND_LISTS = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}]}'
)


def test_both_listings_are_joined_by_arn(double):
    used = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    role = FakeRole(
        "Deploy", path="/team/shop/", longest=7200, description="Deploys <b> & so on", tags={"team": "shop", "rolegate:groups": "a:b", "empty": ""}, used=used,
    )  # fmt: skip
    double.accounts[ACCOUNT] = [role, *paging.roles("Plain")]
    listing = read()
    deploy, plain, _reader = sorted(listing.roles, key=lambda found: found.name)
    assert deploy == catalogue.RoleRecord(
        arn=f"arn:aws:iam::{ACCOUNT}:role/team/shop/Deploy",
        account_id=ACCOUNT,
        name="Deploy",
        path="team/shop",
        description="Deploys <b> & so on",
        max_session_duration=7200,
        trust_policy=json.dumps(paging.TRUST, separators=(",", ":")),
        tags={"team": "shop", "rolegate:groups": "a:b", "empty": ""},
        last_used_at=used,
        created_at=paging.CREATED,
        policies=(
            catalogue.HeldPolicy("inline", document=catalogue.digest_of(GETS_AND_LISTS)),
            catalogue.HeldPolicy("ReadOnlyAccess", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ),
    )
    assert (plain.path, plain.tags, plain.last_used_at, plain.max_session_duration) == ("", {}, None, 3600)
    assert double.counts == {"ListRoles": 1, "GetAccountAuthorizationDetails": 1}  # no call per role


def test_what_gives_a_role_its_permissions_is_read_and_each_text_once(double):
    """Its own policies, those of the account in the version that is in force, AWS's by name, and its boundary."""
    odd = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a<b>&\u00fc/*"}],
    }
    double.managed = {
        "developers": {"Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]},
        "edge": {"Statement": []},
    }
    both = {
        "attached": ["arn:aws:iam::{account}:policy/developers", "arn:aws:iam::aws:policy/PowerUserAccess", "arn:aws:iam::{account}:policy/gone"],
        "boundary": "arn:aws:iam::{account}:policy/edge", "inline": {"z & odd": odd, "a": "no JSON <at all>"},
    }  # fmt: skip
    double.accounts[ACCOUNT] = paging.roles("One", "Two", **both)
    listing = read()
    one, two = (role for role in listing.roles if role.name != paging.READER)
    told = [(policy.name, listing.documents.get(policy.document), policy.boundary) for policy in one.policies]
    assert told == [
        ("a", "no JSON <at all>", False),
        ("z & odd", json.dumps(odd, separators=(",", ":")), False),
        ("PowerUserAccess", None, False),
        ("developers", '{"Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}', False),
        ("gone", None, False),
        ("edge", '{"Statement":[]}', True),
    ]
    assert one.policies == two.policies
    assert double.counts == {"ListRoles": 1, "GetAccountAuthorizationDetails": 2}
    # Another version in force is another role to whoever decides about it.
    double.managed = {**double.managed, "developers": {"Statement": []}}
    assert {role.name: role.digest for role in read().roles}["One"] != one.digest


def test_without_a_policy_of_the_account_none_is_asked_for(double):
    double.accounts[ACCOUNT] = paging.roles("One", inline={}, attached=())
    assert [role.policies for role in read().roles if role.name == "One"] == [()]
    assert double.counts == {"ListRoles": 1, "GetAccountAuthorizationDetails": 1}


def test_pages_are_followed_to_the_last_and_empty_ones_too(double):
    double.accounts[ACCOUNT] = paging.roles(*(f"r{n:03}" for n in range(99)))
    double.page = 7

    def hollow(call, reply):
        """An empty page before the others: AWS may send fewer than it was asked for, also none."""
        if call.operation == "ListRoles" and "Marker" not in call.fields:
            return Reply(
                re.sub(
                    r"<Roles>.*</Roles>",
                    "<Roles/>",
                    re.sub(r"<Marker>.*?</Marker>", "<Marker>page-0</Marker>", reply.body),
                )
            )
        return None

    double.alter = hollow
    assert len(read().roles) == 100
    assert double.counts == {"ListRoles": 16, "GetAccountAuthorizationDetails": 15}


def test_roles_that_no_gateway_can_use_are_told_apart(double):
    """IAM allows every printable ASCII character in a path; a comma there would begin a second ARN in an assertion."""
    odd = [
        FakeRole("a", path="/x,arn:aws:iam::1:role/"),
        FakeRole("b", path='/<script>"/'),
        FakeRole("c", path="/a b/"),
    ]
    double.accounts[ACCOUNT] = [*odd, FakeRole("x=y+z@w.v_-"), FakeRole("with,comma"), *paging.roles()]
    listing = read()
    assert names(listing) == ["rolegate-reader", "with,comma", "x=y+z@w.v_-"]
    assert listing.unusable == (
        f'arn:aws:iam::{ACCOUNT}:role/<script>"/b', f"arn:aws:iam::{ACCOUNT}:role/a b/c", f"arn:aws:iam::{ACCOUNT}:role/x,arn:aws:iam::1:role/a",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("no JSON at all {", "no JSON at all {"),
        ("", ""),
        ("100%", "100%"),
        ('{"a": "\\ud800 \\u0000"}', '{"a":"\\ud800 \\u0000"}'),
        ('{"Sid": "Zo\u00eb"}', '{"Sid":"Zo\\u00eb"}'),
        ("[" * 5000, "[" * 5000),
        ('{"a+b": "c%20d"}', '{"a+b":"c%20d"}'),
        (paging.TRUST, json.dumps(paging.TRUST, separators=(",", ":"))),
    ],
    ids=["text", "nothing", "per cent", "surrogate and NUL", "not ASCII", "nested", "plus and per cent", "policy"],
)
def test_a_trust_policy_is_decoded_or_kept_as_it_is(double, sent, kept):
    double.accounts[ACCOUNT] = paging.roles("R", trust=sent)
    policy = next(role.trust_policy for role in read().roles if role.name == "R")
    assert policy == kept
    policy.encode()  # a database takes it


def test_a_longest_session_that_is_none_is_not_known(double):
    double.accounts[ACCOUNT] = [FakeRole("none", longest=0), FakeRole("odd", longest=99_999_999), *paging.roles()]
    assert {role.name: role.max_session_duration for role in read().roles} == {
        "none": None,
        "odd": None,
        "rolegate-reader": 3600,
    }


def test_a_role_made_or_deleted_between_the_listings_is_left_for_the_next_run(double):
    double.accounts[ACCOUNT] = paging.roles("stays", "deleted")
    later = paging.roles("stays", "made")

    def alter(call, reply):
        if call.operation == "ListRoles":
            double.accounts[ACCOUNT] = later

    double.alter = alter
    assert names(read()) == ["rolegate-reader", "stays"]


# --- What is not whole is not taken ---------------------------------------------------------------------


def spoil(double, operation, pattern, replacement, page=None):
    def alter(call, reply):
        if call.operation == operation and page in {None, call.page} and reply.status == 200:
            return replace(reply, body=re.sub(pattern, replacement, reply.body, flags=re.DOTALL))
        return None

    double.alter = alter
    double.page = 2
    double.accounts[ACCOUNT] = paging.roles(*"abcdefg")


LIST, DETAILS = ("ListRoles", "list_roles"), ("GetAccountAuthorizationDetails", "get_account_authorization_details")


@pytest.mark.parametrize(("operation", "method"), [LIST, DETAILS])
@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        ("<Marker>.*?</Marker>", "", "page_broken"),  # more to come, and not where: boto3's paginator calls that the end
        ("<IsTruncated>true</IsTruncated>", "", "page_broken"),
        ("<IsTruncated>true", "<IsTruncated>false", "page_broken"),
        ("<Marker>.*?</Marker>", "<Marker>page-1</Marker>", "in_a_circle"),
        ("<(Roles|RoleDetailList)>.*</(Roles|RoleDetailList)>", "", "page_broken"),
        ("<Arn>.*?</Arn>", "", "entry_broken"),
        ("<Arn>.*?</Arn>", "<Arn/>", "entry_broken"),
        ("</[A-Za-z]+Result>.*", "", "unreadable"),  # XML that ends in the middle
        (".*", "<html><p>Service Unavailable</p></html>", "unreadable"),
        (".*", "", "unreadable"),
        (".*", "not XML", "unreadable"),
    ],
    ids=["no marker", "no IsTruncated", "says it is whole", "same marker", "no list", "no ARN", "empty ARN", "cut XML", "HTML", "empty", "text"],
)  # fmt: skip
def test_a_broken_page_breaks_the_listing(double, impatient, operation, method, pattern, replacement, said):
    spoil(double, operation, pattern, replacement, page=1)
    refused(f"{method}_{said}")


def test_two_pages_that_point_at_each_other_end(double):
    spoil(double, "ListRoles", "<Marker>page-3</Marker>", "<Marker>page-1</Marker>")
    refused("list_roles_in_a_circle")
    assert double.asked("ListRoles") == 3


def test_a_body_that_is_cut_off_is_asked_for_again_and_then_given_up(double, impatient):
    double.accounts[ACCOUNT] = paging.roles("a")
    double.alter = lambda call, reply: replace(reply, cut=len(reply.body) // 2)
    assert "ResponseParserError" in refused("list_roles_unreadable").detail
    assert double.asked("ListRoles") == catalogue.ATTEMPTS


def test_one_that_is_cut_off_once_is_read_after_all(double, impatient):
    double.accounts[ACCOUNT] = paging.roles("a")
    double.alter = lambda call, reply: replace(reply, cut=100) if len(double.calls) == 0 else None
    assert names(read()) == ["a", "rolegate-reader"]


def test_a_tag_without_a_key_breaks_the_listing(double):
    double.accounts[ACCOUNT] = paging.roles("a", tags={"team": "shop"})
    double.alter = lambda call, reply: replace(reply, body=reply.body.replace("<Key>team</Key>", ""))
    refused("get_account_authorization_details_entry_broken")


def test_the_listing_of_another_account_is_refused(double):
    """Keys that turn out to be another account's: taken over, its listing would remove every role of ours."""
    double.accounts = {ACCOUNT: paging.roles("ours"), OTHER: paging.roles("theirs")}
    error = refused("foreign_account", account=ACCOUNT, of=OTHER)
    assert error.detail == f"aws {OTHER} for {ACCOUNT}"


def test_the_listing_of_another_partition_is_refused(double):
    double.accounts[ACCOUNT] = paging.roles("a")
    double.alter = lambda call, reply: replace(reply, body=reply.body.replace("arn:aws:iam", "arn:aws-cn:iam"))
    refused("foreign_account")


@pytest.mark.parametrize("found", [[], [FakeRole("a"), FakeRole("b")]])
def test_a_listing_without_the_role_that_reads_it_is_not_whole(double, found):
    double.accounts[ACCOUNT] = found
    refused("reader_not_listed")


def test_details_that_are_empty_are_not_taken_for_no_tags(double):
    double.accounts[ACCOUNT] = paging.roles("a", tags={"rolegate:groups": "engineering"})
    spoiled = "<RoleDetailList/>"
    double.alter = lambda call, reply: replace(
        reply, body=re.sub("<RoleDetailList>.*</RoleDetailList>", spoiled, reply.body)
    )
    refused("reader_not_listed")


def test_what_aws_refuses_is_said_with_its_own_code(double):
    error = refused("list_roles_refused")
    assert (error.aws_code, double.asked("ListRoles", status=403)) == ("AccessDenied", 1)


def test_nobody_at_the_address(monkeypatch, impatient):
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:9")
    error = refused("list_roles_unreadable")
    assert "EndpointConnectionError" in error.detail
    assert "TEST-secret" not in error.detail


# --- Throttling -----------------------------------------------------------------------------------------


def test_throttling_slows_down_and_loses_nothing(double):
    double.accounts[ACCOUNT] = paging.roles(*(f"r{n:02}" for n in range(19)))
    double.page, double.limit = 2, paging.Bucket(rate=25, burst=3)
    begun = time.monotonic()
    assert len(read().roles) == 20
    assert (20 - 3) / 25 <= time.monotonic() - begun < 4 * (20 - 3) / 25
    assert 0 < double.asked("ListRoles", status=400) + double.asked("GetAccountAuthorizationDetails", status=400) < 20


def test_the_pause_grows_with_jitter_and_is_bounded(double, impatient, monkeypatch):
    double.accounts[ACCOUNT] = paging.roles()
    double.alter = lambda call, reply: paging.throttled(call) if len(double.calls) < 10 else None
    read()
    most = [min(catalogue.PAUSE_MOST_SECONDS, catalogue.PAUSE_FIRST_SECONDS * 2**n) for n in range(10)]
    assert all(longest / 2 <= slept <= longest for slept, longest in zip(impatient, most, strict=True))
    assert len({round(slept / longest, 6) for slept, longest in zip(impatient, most, strict=True)}) > 5


def test_the_pace_that_was_found_is_kept_in_part(double, impatient):
    double.accounts[ACCOUNT] = paging.roles(*"abc")
    double.page = 1
    double.alter = lambda call, reply: paging.throttled(call) if len(double.calls) in {0, 1, 2, 3, 6} else None
    read()
    assert len(impatient) == 5
    # 0.1, 0.2, 0.4, 0.8; two answers later 0.8 * 0.7² is left, and doubled: not 0.1 once more.
    assert 0.39 <= impatient[4] <= 0.79


def test_patience_ends(double, impatient, monkeypatch):
    monkeypatch.setattr(catalogue, "PATIENCE_SECONDS", 0.2)
    double.accounts[ACCOUNT] = paging.roles()
    double.alter = lambda call, reply: paging.throttled(call)
    error = refused("list_roles_refused")
    assert error.aws_code == "Throttling"


@pytest.mark.parametrize(("status", "asked"), [(500, 3), (503, 3), (429, 5), (400, 1)])
def test_what_may_heal_is_asked_again(double, impatient, status, asked):
    """A server error three times, too many requests as long as it takes, a refusal once."""
    double.accounts[ACCOUNT] = paging.roles()

    def alter(call, reply):
        return Reply(paging.xml_error("ServiceFailure", "Sorry"), status) if len(double.calls) < 4 else None

    double.alter = alter
    if status == 429:
        read()
        assert double.asked("ListRoles", status=429) == 4
    else:
        assert refused("list_roles_refused").aws_code == "ServiceFailure"
        assert len(double.calls) == asked


def test_whoever_asks_can_end_it_between_two_requests(double):
    double.accounts[ACCOUNT] = paging.roles(*"abcdef")
    double.page = 1

    class Enough(Exception):
        pass

    def alive():
        if len(double.calls) == 3:
            raise Enough

    with pytest.raises(Enough):
        read(alive=alive)
    assert len(double.calls) == 3


# --- The digest -----------------------------------------------------------------------------------------

RECORD = catalogue.RoleRecord(
    "arn:aws:iam::111122223333:role/a", ACCOUNT, "a", "", "d", 3600, "{}", {"a": "1", "b": "2"}, paging.CREATED, paging.CREATED
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"description": "e"}, {"max_session_duration": None}, {"trust_policy": "{ }"}, {"tags": {"a": "1"}}, {"tags": {"a": "2", "b": "1"}},
        {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}, {"last_used_at": None}, {"last_used_at": datetime(2025, 1, 3, tzinfo=UTC)},
    ],
    ids=str,
)  # fmt: skip
def test_every_change_changes_the_digest(change):
    assert replace(RECORD, **change).digest != RECORD.digest


def test_the_hour_of_the_last_use_and_the_order_of_tags_do_not():
    later = replace(RECORD, last_used_at=paging.CREATED.replace(hour=23), tags={"b": "2", "a": "1"})
    assert later.digest == RECORD.digest


# --- moto -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


MOTOS_OWN = "909090909090"  # moto keeps one state for the process: no other test may make roles in this account


def test_motos_iam_is_read_as_well(moto, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", moto)
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    sts = boto3.client("sts", endpoint_url=moto, **keys)
    given = sts.assume_role(RoleArn=f"arn:aws:iam::{MOTOS_OWN}:role/{paging.READER}", RoleSessionName="test")[
        "Credentials"
    ]
    inside = {
        "aws_access_key_id": given["AccessKeyId"], "aws_secret_access_key": given["SecretAccessKey"], "aws_session_token": given["SessionToken"],
    }  # fmt: skip
    iam = boto3.client("iam", endpoint_url=moto, region_name="us-east-1", **inside)
    trust = json.dumps(paging.TRUST)
    iam.create_role(RoleName=paging.READER, AssumeRolePolicyDocument=trust)
    iam.create_role(
        RoleName="Deploy", Path="/team/", AssumeRolePolicyDocument=trust, MaxSessionDuration=43200, Description="D",
        Tags=[{"Key": "rolegate:groups", "Value": "engineering"}],
    )  # fmt: skip
    for number in range(120):
        iam.create_role(RoleName=f"r-{number:03}", AssumeRolePolicyDocument=trust)
    credentials = replace(
        paging.credentials(MOTOS_OWN), access_key_id=given["AccessKeyId"], secret_access_key=given["SecretAccessKey"], session_token=given["SessionToken"]
    )  # fmt: skip
    listing = list_roles(credentials, account_id=MOTOS_OWN, partition=AWS)
    assert len(listing.roles) == 122
    deploy = next(role for role in listing.roles if role.name == "Deploy")
    assert (deploy.path, deploy.max_session_duration, deploy.tags) == (
        "team",
        43200,
        {"rolegate:groups": "engineering"},
    )
    assert json.loads(deploy.trust_policy) == paging.TRUST
