"""Is this gateway well? Small checks, each of which says ok, warning or problem, and what to do.

`manage.py doctor` runs them all. A page takes those that ask nothing but the database, with `examine(network=False)`.
No check changes anything: the one that tries whether the audit log can be written rolls its event back. And none raises:
a check that fails is itself a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from federation.errors import RolegateError
from federation.flows.doctor import background, identity_providers, in_force, issuer, outside, storage
from federation.flows.doctor.findings import Check, Finding, State, problem
from federation.said import say

log = structlog.get_logger(__name__)
_WORST = (State.OK, State.WARNING, State.PROBLEM)


@dataclass(frozen=True, slots=True)
class Named:
    """A check and what it needs: `database`, and the `network` outside (other hosts, seconds instead of milliseconds)."""

    name: str
    title: str
    run: Check
    database: bool = True
    network: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What one check found; at least one finding."""

    name: str
    title: str
    findings: tuple[Finding, ...]

    @property
    def state(self) -> State:
        """The worst of its findings."""
        return worst(self.findings)


CHECKS: tuple[Named, ...] = (
    Named("environment", "Environment", storage.environment, database=False),
    Named("database", "Database", storage.database, database=False),
    Named("audit", "Audit log", storage.audit_log),
    Named("broker", "Broker", background.broker, database=False, network=True),
    Named("keys", "Signing keys", issuer.keys),
    Named("issuer", "Issuer URL", issuer.public_documents, network=True),
    Named("clock", "Clock", outside.clock, network=True),
    Named("sts", "AWS STS", outside.sts_regions, network=True),
    Named("mapping", "Mapping document", in_force.mapping),
    Named("secrets", "Client secrets", in_force.secrets),
    Named("providers", "Identity providers", identity_providers.stored),
    Named("provider-documents", "Identity providers' documents", identity_providers.fetched, network=True),
    Named("background", "Worker and beat", background.runs),
    Named("sources", "Accounts and directories", background.sources),
    Named("tokens", "Tokens of programs", in_force.tokens),
)


def worst(findings: Sequence[Finding] | Sequence[Report]) -> State:
    """The worst state among them; ok where there are none."""
    return max((found.state for found in findings), key=_WORST.index, default=State.OK)


def examine(*, now: datetime, network: bool = True, checks: Sequence[Named] = CHECKS) -> Iterator[Report]:
    """Run the checks, in their order, each report as soon as it is there. Without `network`, only those that stay inside.

    With the database away, what needs it is not tried: one cause, one problem.
    """
    database_away = False
    for check in checks:
        if check.network and not network:
            continue
        if check.database and database_away:
            continue
        report = Report(check.name, check.title, tuple(_run(check, now)))
        if check.name == "database" and any(found.code in storage.UNUSABLE for found in report.findings):
            database_away = True
        yield report


def _run(check: Named, now: datetime) -> Iterator[Finding]:
    try:
        yield from check.run(now)
    except RolegateError as error:
        yield problem(
            "check_failed",
            say("{sentence} [{cause}]", sentence=error.public_sentence, cause=str(error)),
            say("Mend what it says, then run the doctor again."),
        )
    except Exception as error:
        # A doctor that dies of what it finds helps nobody. The detail is in the log, where redaction sees it.
        log.exception("doctor_check_failed", check=check.name)
        yield problem(
            "check_failed",
            say("The check itself failed: {error}.", error=error.__class__.__name__),
            say("The process's log has the trace."),
        )
