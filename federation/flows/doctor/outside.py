"""AWS as this machine sees it: its time, and its Security Token Service in each region that the accounts use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from federation.aws import sts
from federation.aws.clock import TOLERANCE_SECONDS, ClockWrong, watch
from federation.aws.partitions import partition
from federation.flows.clock import require_right_clock
from federation.flows.doctor.findings import Finding, ok, problem, warning
from federation.models import current

_NOTICEABLE_SECONDS = 5.0
_AT_ONCE = 8


def clock(now: datetime) -> Iterator[Finding]:
    """Within a minute of AWS's, or nothing is minted; within a few seconds where time service works."""
    where = partition(next((account.partition for account in current.mapping().document.accounts), "aws"))
    try:
        require_right_clock(where)
    except ClockWrong as error:
        yield problem(
            "clock_wrong",
            f"This machine's clock is wrong: {error.detail}. Nothing is minted until it is right.",
            "Set it, and see that time service (chrony, systemd-timesyncd) runs.",
        )
        return
    skew = watch.skew()
    if skew is None:
        yield warning(
            "clock_not_checked",
            "AWS could not be asked for the time.",
            "See what the check of STS says. The database's clock agrees, where it has one.",
        )
    elif abs(skew) > _NOTICEABLE_SECONDS:
        yield warning(
            "clock_drifts",
            f"This machine's clock is {abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'} AWS's. At {TOLERANCE_SECONDS:.0f} nothing is minted any more.",
            "See that time service (chrony, systemd-timesyncd) runs.",
        )
    else:
        yield ok("The clock agrees with AWS's")


def sts_regions(now: datetime) -> Iterator[Finding]:
    """STS answers in every region that an account of the mapping uses."""
    wanted = {
        partition(account.partition).check_region(account.region) for account in current.mapping().document.accounts
    }
    regions = sorted(wanted or {partition("aws").default_region})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = dict(zip(regions, pool.map(sts.unreachable, regions), strict=True))
    silent = {region: why for region, why in answers.items() if why}
    for region, why in sorted(silent.items()):
        yield problem(
            "sts_unreachable",
            f"STS in {region} does not answer ({why}): the accounts there get their credentials from another region, if one answers.",
            "Let the gateway reach the address over https, directly or through HTTPS_PROXY.",
            region=region,
        )
    if not silent:
        yield ok(f"STS answers in {', '.join(regions)}")
