"""Every partition: hosts, audience, fail-over; and that nothing falls back to `aws`."""

from __future__ import annotations

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from federation.aws.partitions import PARTITION_NAMES, RegionInvalid, SamlUnavailable, UnknownPartition, partition
from federation.errors import ConfigurationError
from federation.mapping.regions import KNOWN, PARTITIONS

HOSTS = [
    ("aws", "", "signin.aws.amazon.com"),
    ("aws", "us-east-1", "signin.aws.amazon.com"),
    ("aws", "eu-west-1", "eu-west-1.signin.aws.amazon.com"),
    ("aws", "ap-southeast-5", "ap-southeast-5.signin.aws.amazon.com"),
    ("aws-cn", "", "signin.amazonaws.cn"),
    ("aws-cn", "cn-north-1", "signin.amazonaws.cn"),
    ("aws-cn", "cn-northwest-1", "cn-northwest-1.signin.amazonaws.cn"),
    ("aws-us-gov", "", "signin.amazonaws-us-gov.com"),
    ("aws-us-gov", "us-gov-east-1", "us-gov-east-1.signin.amazonaws-us-gov.com"),
    ("aws-eusc", "", "eusc-de-east-1.signin.amazonaws-eusc.eu"),
]


@pytest.mark.parametrize(("name", "region", "host"), HOSTS)
def test_sign_in_hosts(name, region, host):
    where = partition(name)
    assert where.signin_host(region) == host
    assert where.federation_url(region) == f"https://{host}/federation"
    if name != "aws-eusc":
        assert where.saml_recipient(region) == f"https://{host}/saml"


@pytest.mark.parametrize(
    ("name", "audience", "console"),
    [
        ("aws", "urn:amazon:webservices", "console.aws.amazon.com"),
        ("aws-cn", "urn:amazon:webservices:cn-north-1", "console.amazonaws.cn"),
        ("aws-us-gov", "urn:amazon:webservices:govcloud", "console.amazonaws-us-gov.com"),
    ],
)
def test_audience_and_console(name, audience, console):
    assert partition(name).saml_audience == partition(name).audience == audience
    assert partition(name).console_hosts == (console,)


def test_saml_is_refused_where_the_audience_is_unknown():
    where = partition("aws-eusc")
    assert where.audience is None
    for ask in (lambda: where.saml_audience, lambda: where.saml_recipient("")):
        with pytest.raises(SamlUnavailable) as refused:
            ask()
        assert refused.value.reason == "saml_audience_unknown"
        assert "OpenID Connect" in refused.value.public_sentence


@pytest.mark.parametrize("name", ["", "AWS", "aws-iso", "aws ", "aws\n", "gcp"])
def test_an_unknown_partition_is_an_error(name):
    with pytest.raises(UnknownPartition) as refused:
        partition(name)
    assert refused.value.reason == "partition_unknown"
    assert isinstance(refused.value, ConfigurationError)


@pytest.mark.parametrize(
    ("name", "region", "reason"),
    [
        *[
            ("aws", r, "region_malformed")
            for r in (
                "eu-west-1.evil.example",
                "evil.example/",
                "eu-west-1\n",
                "EU-WEST-1",
                "eu-west",
                "-",
                "eu-west-1/",
                "eu_west_1",
                "éu-west-1",
                "a" * 300,
            )
        ],
        *[("aws", r, "region_of_other_partition") for r in ("cn-north-1", "us-gov-west-1", "eusc-de-east-1")],
        *[
            ("aws", r, "region_unknown")
            for r in ("moon-base-1", "eu-wset-1", "us-iso-east-1", "eu-isoe-west-1", "us-northup-1")
        ],
        ("aws-cn", "us-east-1", "region_of_other_partition"),
        ("aws-us-gov", "us-east-1", "region_of_other_partition"),
        ("aws-eusc", "eu-west-1", "region_of_other_partition"),
    ],
)
def test_regions_are_checked(name, region, reason):
    with pytest.raises(RegionInvalid) as refused:
        partition(name).signin_host(region)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("name", "region", "regions"),
    [
        ("aws", "", ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1")),
        ("aws", "eu-west-1", ("eu-west-1", "eu-central-1", "us-east-1", "us-west-2")),
        ("aws", "eu-north-1", ("eu-north-1", "eu-west-1", "eu-central-1", "us-east-1", "us-west-2")),
        ("aws-cn", "cn-northwest-1", ("cn-northwest-1", "cn-north-1")),
        ("aws-us-gov", "", ("us-gov-west-1", "us-gov-east-1")),
        ("aws-eusc", "", ("eusc-de-east-1",)),
    ],
)
def test_fail_over_stays_near_and_in_the_partition(name, region, regions):
    assert partition(name).regions_fail_over(region) == regions


@pytest.mark.parametrize("name", PARTITION_NAMES)
def test_boto3_finds_the_same_sts_endpoints(name, monkeypatch):
    for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    session = boto3.session.Session()
    for region in partition(name).regions_fail_over():
        client = session.client("sts", region_name=region, config=Config(signature_version=UNSIGNED))
        assert client.meta.endpoint_url == partition(name).sts_endpoint(region)


@pytest.mark.parametrize("name", PARTITION_NAMES)
def test_every_region_that_botocore_knows_passes_in_its_partition_alone(name):
    session = boto3.session.Session()
    for region in session.get_available_regions("sts", partition_name=name):
        for other in PARTITION_NAMES:
            if other == name:
                assert partition(name).check_region(region) == region
            else:
                with pytest.raises(RegionInvalid):
                    partition(other).check_region(region)


@pytest.mark.parametrize("name", PARTITION_NAMES)
def test_the_regions_that_a_fault_proposes_are_those_that_there_are(name):
    assert set(KNOWN[name]) == set(boto3.session.Session().get_available_regions("sts", partition_name=name))


def test_both_tables_of_partitions_are_of_the_same_ones():
    assert PARTITION_NAMES == PARTITIONS
