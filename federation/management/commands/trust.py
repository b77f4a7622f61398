"""`manage.py trust [ACCOUNT]`: which roles cannot be assumed through the gateway, and which are open to more than they should be."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from federation.aws.trust import Examination, Finding, Severity
from federation.flows import check_trust
from federation.management.base import GatewayCommand
from federation.mapping.rules import Account
from federation.models import current

_SEVERITIES = list(Severity)


class Command(GatewayCommand):
    """Read off the catalogue: `refresh catalogue` first. Exit status 1 where a mapping points at a role that cannot be used."""

    help = (
        "Examine the trust policies of an account's roles, or of every account's; --correct prints a corrected policy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", nargs="?", default="", help="id or name; every account without it")
        parser.add_argument(
            "--least", choices=[str(s) for s in _SEVERITIES], default="warning", help="leave out what is less"
        )
        parser.add_argument(
            "--correct", metavar="ROLE_ARN", help="print the role's corrected trust policy, and nothing else"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object a finding and line")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["correct"]:
            self._correct(options["correct"])
            return
        least = _SEVERITIES[: _SEVERITIES.index(Severity(options["least"])) + 1]
        errors = shown = 0
        for account in self._accounts(options["account"]):
            examined = check_trust.examine_account(account)
            errors += sum(one.finding.severity is Severity.ERROR for one in examined.pointed)
            for rule, arn, finding in _lines(examined):
                if finding.severity in least:
                    shown += 1
                    self._show(rule, arn, finding, as_json=options["json"])
        if not options["json"]:
            self.stdout.write(f"{shown} finding(s); {errors} keep(s) people out of a role that the mapping gives.")
        if errors:
            raise CommandError("The mapping gives roles that cannot be assumed.")

    def _accounts(self, wanted: str) -> list[Account]:
        accounts = current.mapping().document.accounts
        found = [account for account in accounts if not wanted or wanted in {account.id, account.name}]
        if not found:
            raise CommandError(f"No account {wanted} is in the mapping document or the organization.")
        return found

    def _correct(self, role_arn: str) -> None:
        report = check_trust.trust_of(role_arn)
        if report is None:
            raise CommandError("The catalogue does not have this role: run `manage.py refresh catalogue`.")
        if not report.corrected:
            raise CommandError("There is nothing to correct, or nothing that can be corrected without asking a person.")
        self.stdout.write(report.corrected)

    def _show(self, rule: str, arn: str, finding: Finding, *, as_json: bool) -> None:
        if as_json:
            line = {
                "role_arn": arn, "rule": rule or None, "code": finding.code, "severity": str(finding.severity),
                "sentence": finding.sentence, "corrected": json.loads(finding.corrected) if finding.corrected else None,
            }  # fmt: skip
            self.stdout.write(json.dumps(line, ensure_ascii=False))
            return
        by = f" (rule {rule})" if rule else ""
        self.stdout.write(f"{finding.severity:8}{arn}{by}\n        {finding.code}: {finding.sentence}")


def _lines(examined: Examination) -> list[tuple[str, str, Finding]]:
    """What a rule meets first, then what stands on roles that no rule points at."""
    pointed = {(one.role_arn, one.finding.code) for one in examined.pointed}
    lines = [(one.rule, one.role_arn, one.finding) for one in examined.pointed]
    return lines + [
        ("", arn, finding) for arn, report in sorted(examined.reports.items()) for finding in report.findings if (arn, finding.code) not in pointed
    ]  # fmt: skip
