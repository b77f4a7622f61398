"""The names of AWS's regions, and which partition each belongs to. Pure.

A name is judged by its form, a direction after a place, and not by a list: AWS opens regions faster than gateways are
upgraded. `KNOWN` are those there are, for saying which one was probably meant. Source: botocore's partitions.json
(`regionRegex`), sharpened: it takes any word for a direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_DIRECTION = "(?:central|east|west|(?:north|south)(?:east|west)?)"
_NUMBER = "[1-9][0-9]?"

NAMES: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        partition: re.compile(f"{place}-{_DIRECTION}-{_NUMBER}", re.ASCII)
        for partition, place in {
            "aws": "(?:us|eu|ap|sa|ca|me|af|il|mx)",
            "aws-cn": "cn",
            "aws-us-gov": "us-gov",
            "aws-eusc": "eusc-[a-z]{2}",
        }.items()
    }
)
"""Every known partition, and what its regions are called. Anything else is refused, never read as `aws`."""

KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        partition: tuple(names.split())
        for partition, names in {
            "aws": (
                "eu-west-1 us-east-1 us-east-2 us-west-1 us-west-2 eu-west-2 eu-west-3 eu-central-1 eu-central-2 eu-north-1 "
                "eu-south-1 eu-south-2 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 "
                "ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 "
                "ca-central-1 ca-west-1 sa-east-1 me-central-1 me-south-1 af-south-1 il-central-1 mx-central-1"
            ),
            "aws-cn": "cn-north-1 cn-northwest-1",
            "aws-us-gov": "us-gov-east-1 us-gov-west-1",
            "aws-eusc": "eusc-de-east-1",
        }.items()
    }
)
"""The regions that there are, of each partition, an example first. Nothing is refused for not being here."""

PARTITIONS: tuple[str, ...] = tuple(NAMES)


def is_region(name: str, partition: str) -> bool:
    """Whether regions of `partition` are called so."""
    return NAMES[partition].fullmatch(name) is not None


def partition_of(name: str) -> str:
    """The partition whose regions are called so, "" where none is."""
    return next((partition for partition, pattern in NAMES.items() if pattern.fullmatch(name)), "")
