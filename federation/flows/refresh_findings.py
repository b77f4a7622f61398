"""Keep what is wrong with the roles' trust, for the lists: worked out again for the accounts whose listing or mapping has changed.

One account at a time, in a transaction of its own: killed in the middle, the rest is done by the next run. Only what
matters is kept, errors, dangers and warnings; a role's own page examines it anew and shows everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.db import transaction

from federation.aws.trust import Examination, Finding, Severity
from federation.errors import RolegateError
from federation.flows import check_trust, runs
from federation.mapping.rules import Account
from federation.models import current
from federation.models.catalogue import ACCOUNT
from federation.models.findings import ExaminedAccount, TrustFinding
from federation.models.sync import Source
from federation.said import packed

TASK = "refresh_findings"
SEVERITIES: Final[tuple[Severity, ...]] = tuple(Severity)
KEPT: Final = frozenset({Severity.ERROR, Severity.DANGER, Severity.WARNING})
_Key = tuple[str, str, int]  # role ARN, code, statement


def refresh_findings(*, now: datetime) -> dict[str, int] | None:
    """Examine every account that has changed since. Returns how many were examined and rows written; None where another is at it.

    Raises LeaseLost where another worker has taken over.
    """
    with runs.run(TASK) as run:
        if run is None:
            return None
        due = _due()
        gone = _forget_others()
        run.total(len(due))
        written = 0
        for done, (account, stamp) in enumerate(due, start=1):
            written += _examine(account, stamp, now)
            run.progress(done)
        run.detail |= {"accounts": len(due), "written": written, "forgotten": gone}
        return {"accounts": len(due), "written": written, "forgotten": gone}


def _due() -> list[tuple[Account, str]]:
    """The accounts whose findings rest on something that is no longer so, each with the stamp of now."""
    mapping = current.mapping()
    versions = dict(Source.objects.filter(key__startswith=ACCOUNT).values_list("key", "version"))
    known = dict(ExaminedAccount.objects.values_list("account_id", "stamp"))
    # The first number is of what a row holds: a version that keeps more works everything out once more.
    common = f"2.{mapping.number}.{mapping.organization}.{mapping.role_tags}"
    stamps = {a.id: f"{common}.{versions.get(ACCOUNT + a.id, 0)}" for a in mapping.document.accounts}
    return [(a, stamps[a.id]) for a in mapping.document.accounts if known.get(a.id) != stamps[a.id]]


def _forget_others() -> int:
    """Drop what is kept of accounts that the mapping and the organization no longer have; how many rows."""
    left = (
        set(ExaminedAccount.objects.values_list("account_id", flat=True)) - current.mapping().compiled.accounts.keys()
    )
    if not left:
        return 0
    with transaction.atomic():
        ExaminedAccount.objects.filter(account_id__in=left).delete()
        return TrustFinding.objects.filter(account_id__in=left).delete()[0]


def _examine(account: Account, stamp: str, now: datetime) -> int:
    """One account: what is new is written, what is no longer so is deleted, the rest is left. Returns the rows changed."""
    try:
        examined = check_trust.examine_account(account)
    except RolegateError:
        # An account that the mapping describes wrongly (an unknown partition) has no way in, and no findings on its roles.
        examined = Examination({}, ())
    wanted = {(arn, f.code, f.statement): (f, rules) for arn, f, rules in _kept(examined)}
    with transaction.atomic():
        held: dict[_Key, TrustFinding] = {
            (row.role_arn, row.code, row.statement): row
            for row in TrustFinding.objects.select_for_update().filter(account_id=account.id)
        }
        gone = [row.pk for key, row in held.items() if key not in wanted]
        new = [
            _row(account.id, key, finding, rules, now)
            for key, (finding, rules) in wanted.items()
            if key not in held or not _is_as(held[key], finding, rules)
        ]
        for row in new:  # one that has changed keeps the day on which it was found
            before = held.get((row.role_arn, row.code, row.statement))
            row.found_at = row.found_at if before is None else before.found_at
        TrustFinding.objects.filter(pk__in=gone).delete()
        TrustFinding.objects.bulk_create(
            new, batch_size=500, update_conflicts=True, unique_fields=["role_arn", "code", "statement"],
            update_fields=["account_id", "severity", "sentence", "pieces", "rules", "correctable"],
        )  # fmt: skip
        ExaminedAccount.objects.update_or_create(
            account_id=account.id, defaults={"stamp": stamp, "examined_at": now, "roles": len(examined.reports)}
        )
    return len(gone) + len(new)


def _kept(examined: Examination) -> Iterable[tuple[str, Finding, list[str]]]:
    """Role ARN, finding and the rules that meet it: first what a rule points at, then what stands on other roles."""
    pointed: dict[_Key, tuple[str, Finding, list[str]]] = {}
    for one in examined.pointed:
        key = (one.role_arn, one.finding.code, one.finding.statement)
        pointed.setdefault(key, (one.role_arn, one.finding, []))[2].append(one.rule)
    yield from (found for found in pointed.values() if found[1].severity in KEPT)
    for arn, report in examined.reports.items():
        for finding in report.findings:
            if finding.severity in KEPT and (arn, finding.code, finding.statement) not in pointed:
                yield arn, finding, []


def _row(account_id: str, key: _Key, finding: Finding, rules: list[str], now: datetime) -> TrustFinding:
    arn, code, statement = key
    return TrustFinding(
        account_id=account_id, role_arn=arn, code=code, statement=statement, severity=SEVERITIES.index(finding.severity),
        sentence=finding.sentence, pieces=packed(finding.sentence), rules=sorted(set(rules)), correctable=bool(finding.corrected), found_at=now,
    )  # fmt: skip


def _is_as(row: TrustFinding, finding: Finding, rules: list[str]) -> bool:
    return (
        row.severity == SEVERITIES.index(finding.severity)
        and row.sentence == finding.sentence
        and row.pieces == packed(finding.sentence)
        and row.rules == sorted(set(rules))
        and row.correctable == bool(finding.corrected)
    )
