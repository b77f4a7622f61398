"""AWS's partitions: which hosts, audiences and regions belong together. Pure.

Owns the table of AWS.md, "Partitions" (sources: the IAM user guide's "SAML federation endpoints",
"AWS Sign-In endpoints", botocore's partitions.json). An unknown partition is an error, never a fall-back
to `aws`: a document addressed to the wrong partition would be a credential for somebody else's cloud.

Unproven facts, marked (u) in AWS.md, fail safe: China's and GovCloud's SAML audience are what AWS's own
metadata documents are reported to say, and a wrong one makes AWS refuse; for aws-eusc nobody has reported
one, so SAML is refused there and OpenID Connect is the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from federation.errors import BadRequest, ConfigurationError
from federation.mapping.regions import is_region, partition_of


class UnknownPartition(ConfigurationError):
    """No partition has this name; `reason` is partition_unknown."""

    code = "unknown_partition"
    sentence = (
        "This account's AWS partition is not one that the gateway knows (aws, aws-cn, aws-us-gov, aws-eusc). "
        "Ask your administrators to correct the account's row."
    )


class RegionInvalid(BadRequest):
    """Not a region of this partition; `reason` is region_malformed, region_of_other_partition or region_unknown."""

    code = "region_invalid"
    sentence = "This is not an AWS region of the account's partition, such as eu-west-1."


class SamlUnavailable(ConfigurationError):
    """SAML cannot be used toward this partition; `reason` is saml_audience_unknown."""

    code = "saml_unavailable"
    sentence = (
        "The gateway does not know which SAML audience AWS expects in this partition. "
        "Ask your administrators to switch the account to OpenID Connect."
    )


@dataclass(frozen=True, slots=True)
class Partition:
    """One AWS partition and its hosts.

    `default_region`: where the partition's IAM lives. `audience`: the SAML Audience, or None where it is
    unknown (read `saml_audience` to have that refused). `signin_domain`: the partition's sign-in host without
    a region. `short_signin_region`: the one region that is reached at `signin_domain` itself, "" if none is.
    `console_host`: every console page lives on it or beneath it. `dns_suffix`: of service endpoints.
    `fail_over`: regions that are on in every account from the start, in the order in which they are tried.
    """

    name: str
    default_region: str
    audience: str | None
    signin_domain: str
    short_signin_region: str
    console_host: str
    dns_suffix: str
    fail_over: tuple[str, ...]

    def check_region(self, region: str) -> str:
        """Return `region` ("" stands for the default one) if it has the form of this partition's regions.

        Raises RegionInvalid. The form is all that stands between a region out of a form field and a host name
        that the browser or the gateway will talk to, so it is strict ASCII and matched whole.
        """
        if not region:
            return self.default_region
        if not re.fullmatch(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[1-9][0-9]?", region):
            raise RegionInvalid("region_malformed", detail=repr(region)[:100])
        if not is_region(region, self.name):
            reason = "region_of_other_partition" if partition_of(region) else "region_unknown"
            raise RegionInvalid(reason, detail=f"{region} is not in {self.name}")
        return region

    def signin_host(self, region: str = "") -> str:
        """The host that takes SAML responses and federation calls for `region`. Raises RegionInvalid.

        `signin.aws.amazon.com` is us-east-1, not a global host (AWS.md).
        """
        region = self.check_region(region)
        return self.signin_domain if region == self.short_signin_region else f"{region}.{self.signin_domain}"

    def federation_url(self, region: str = "") -> str:
        """Where getSigninToken and login are called. Raises RegionInvalid."""
        return f"https://{self.signin_host(region)}/federation"

    def saml_recipient(self, region: str = "") -> str:
        """The assertion's Recipient, which is also the POST target and what `SAML:aud` in a trust policy means.

        Raises RegionInvalid, SamlUnavailable.
        """
        region = self.check_region(region)
        self.saml_audience  # noqa: B018 - refuses the partitions where SAML cannot work, before anything is addressed
        return f"https://{self.signin_host(region)}/saml"

    @property
    def saml_audience(self) -> str:
        """The SAML Audience. Raises SamlUnavailable where none is known: a guess would only be refused later, by AWS."""
        if self.audience is None:
            raise SamlUnavailable("saml_audience_unknown", detail=self.name)
        return self.audience

    def sts_endpoint(self, region: str = "") -> str:
        """The regional STS endpoint. Raises RegionInvalid. boto3 finds the same by itself; documents and checks use this."""
        return f"https://sts.{self.check_region(region)}.{self.dns_suffix}"

    @property
    def console_hosts(self) -> tuple[str, ...]:
        """Console pages live on one of these hosts, or on a host beneath one."""
        return (self.console_host,)

    def regions_fail_over(self, region: str = "") -> tuple[str, ...]:
        """`region` (or the default one) first, then those to try when it fails: same geography first.

        A role's SAML trust must list the `SAML:aud` of every one of them (`saml_recipient` of each), or a
        fail-over ends in AccessDenied. Raises RegionInvalid.
        """
        first = self.check_region(region)
        geography = first.split("-", 1)[0]
        others = [r for r in self.fail_over if r != first]
        return (first, *sorted(others, key=lambda r: r.split("-", 1)[0] != geography))


_PARTITIONS: Mapping[str, Partition] = MappingProxyType(
    {
        p.name: p
        for p in (
            Partition(
                name="aws",
                default_region="us-east-1",
                audience="urn:amazon:webservices",
                signin_domain="signin.aws.amazon.com",
                short_signin_region="us-east-1",
                console_host="console.aws.amazon.com",
                dns_suffix="amazonaws.com",
                fail_over=("us-east-1", "us-west-2", "eu-west-1", "eu-central-1"),
            ),
            Partition(
                name="aws-cn",
                default_region="cn-north-1",
                audience="urn:amazon:webservices:cn-north-1",
                signin_domain="signin.amazonaws.cn",
                short_signin_region="cn-north-1",
                console_host="console.amazonaws.cn",
                dns_suffix="amazonaws.com.cn",
                fail_over=("cn-north-1", "cn-northwest-1"),
            ),
            Partition(
                name="aws-us-gov",
                default_region="us-gov-west-1",
                audience="urn:amazon:webservices:govcloud",
                signin_domain="signin.amazonaws-us-gov.com",
                short_signin_region="us-gov-west-1",
                console_host="console.amazonaws-us-gov.com",
                dns_suffix="amazonaws.com",
                fail_over=("us-gov-west-1", "us-gov-east-1"),
            ),
            Partition(
                name="aws-eusc",
                default_region="eusc-de-east-1",
                audience=None,
                signin_domain="signin.amazonaws-eusc.eu",
                short_signin_region="",
                console_host="console.amazonaws-eusc.eu",
                dns_suffix="amazonaws.eu",
                fail_over=("eusc-de-east-1",),
            ),
        )
    }
)

PARTITION_NAMES: tuple[str, ...] = tuple(_PARTITIONS)


def partition(name: str) -> Partition:
    """The partition called `name`. Raises UnknownPartition."""
    try:
        return _PARTITIONS[name]
    except KeyError:
        raise UnknownPartition("partition_unknown", detail=repr(name)[:100]) from None
