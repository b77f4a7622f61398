"""Attack: leave the console through the console sign-in (open redirect, another partition's console)."""

from __future__ import annotations

import pytest

from federation.aws.console import DestinationNotAllowed, console_url, validate_destination
from federation.aws.partitions import PARTITION_NAMES, RegionInvalid, partition
from federation.errors import BadRequest

ALLOWED = [
    ("aws", None, "", "https://us-east-1.console.aws.amazon.com/console/home"),
    ("aws", "", "eu-west-1", "https://eu-west-1.console.aws.amazon.com/console/home"),
    ("aws", "s3", "eu-west-1", "https://eu-west-1.console.aws.amazon.com/s3/home"),
    ("aws-cn", "ec2", "", "https://cn-north-1.console.amazonaws.cn/ec2/home"),
    ("aws-us-gov", "cloud9-x", "us-gov-east-1", "https://us-gov-east-1.console.amazonaws-us-gov.com/cloud9-x/home"),
    ("aws-eusc", "s3", "", "https://eusc-de-east-1.console.amazonaws-eusc.eu/s3/home"),
]
SAME = [
    ("aws", "https://console.aws.amazon.com/"),
    ("aws", "https://console.aws.amazon.com/s3/buckets/b?region=eu-west-1&prefix=a%2Fb#tab=objects"),
    (
        "aws",
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Faws",
    ),
    ("aws", "https://s3.console.aws.amazon.com/s3/home"),
    ("aws", "https://111122223333-abcdefgh.us-east-1.console.aws.amazon.com/console/home"),
    ("aws-cn", "https://console.amazonaws.cn/ec2"),
    ("aws-us-gov", "https://console.amazonaws-us-gov.com/ec2"),
]
HOSTILE = [
    "//evil.example/", "//console.aws.amazon.com/", "/console/home", "\\\\evil.example", "https:\\\\evil.example", "https://console.aws.amazon.com\\@evil.example/",
    "https://console.aws.amazon.com@evil.example/", "https://user@console.aws.amazon.com/", "https://user:pw@console.aws.amazon.com/", "https://console.aws.amazon.com:443/", "https://console.aws.amazon.com:/",
    "https://console.aws.amazon.com:8443/", "https://console.aws.amazon.com:x/", "javascript:alert(1)", "javascript://console.aws.amazon.com/%0aalert(1)", "data:text/html,x", "http://console.aws.amazon.com/",
    "ftp://console.aws.amazon.com/", "https://evilconsole.aws.amazon.com/", "https://console.aws.amazon.com.evil.example/", "https://evil-console.aws.amazon.com/", "https://console.aws.amazon.com./", "https://signin.aws.amazon.com/",
    "https://aws.amazon.com/", "https://console.amazonaws.cn/", "https://console.amazonaws-us-gov.com/", "https://CONSOLE.aws.amazon.com/", "HTTPS://console.aws.amazon.com/", "https:console.aws.amazon.com/", "https:/console.aws.amazon.com/",
    "https:///console.aws.amazon.com/", "https://console.aws.amazon.com/\r\nSet-Cookie: a=b", "https://console.aws.amazon.com/ x", " https://console.aws.amazon.com/", "\thttps://console.aws.amazon.com/", "https://ev\til.example",
    "https://.console.aws.amazon.com/", "https://a_b.console.aws.amazon.com/", "https://-a.console.aws.amazon.com/", "https://a..console.aws.amazon.com/", "https://console.aws.amazon.com/%zz", "https://ｃonsole.aws.amazon.com/",
    "https://console.aws.amazon.com/é", "https://[::1]/", "https://[console.aws.amazon.com/", "s3/../..", "S3", "s3 ", "s3\n", "-s3", "s3.evil.example", "x" * 64, "https://console.aws.amazon.com/" + "a" * 2048, "https://evil.example/?https://console.aws.amazon.com/", "https://evil.example#.console.aws.amazon.com",
]  # fmt: skip


@pytest.mark.parametrize(("name", "destination", "region", "wanted"), ALLOWED)
def test_short_names_and_the_home(name, destination, region, wanted):
    assert validate_destination(destination, partition(name), region) == wanted


@pytest.mark.parametrize(("name", "destination"), SAME)
def test_console_pages_pass_unchanged(name, destination):
    assert validate_destination(destination, partition(name)) == destination


@pytest.mark.parametrize("destination", HOSTILE)
def test_everything_else_is_refused(destination):
    for check in (
        lambda: validate_destination(destination, partition("aws"), "eu-west-1"),
        lambda: console_url(
            "t", issuer="https://access.example.com/", destination=destination, partition=partition("aws")
        ),
    ):
        with pytest.raises(DestinationNotAllowed) as refused:
            check()
        assert refused.value.reason == "destination_not_allowed"
        assert isinstance(refused.value, BadRequest)


@pytest.mark.parametrize("name", PARTITION_NAMES)
def test_no_partition_leads_to_anothers_console(name):
    for other in PARTITION_NAMES:
        if other != name:
            with pytest.raises(DestinationNotAllowed):
                validate_destination(f"https://{partition(other).console_host}/", partition(name))


def test_a_region_cannot_carry_a_host():
    with pytest.raises(RegionInvalid):
        validate_destination("s3", partition("aws"), "evil.example/")
