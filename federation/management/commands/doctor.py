"""`manage.py doctor [--json] [--offline]`: everything that an operator needs to know, and what to do about it."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation.flows import doctor
from federation.flows.doctor.findings import State, counted
from federation.management.base import GatewayCommand

EXIT_STATUS = {State.OK: 0, State.WARNING: 1, State.PROBLEM: 2}
_MARK = {State.OK: "ok", State.WARNING: "WARNING", State.PROBLEM: "PROBLEM"}


class Command(GatewayCommand):
    """Exit status 0: all is well. 1: warnings. 2: problems, also where the environment itself is faulty."""

    help = "Check the gateway and what it needs; says what to do. Exit status 0 ok, 1 warnings, 2 problems."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
        parser.add_argument("--offline", action="store_true", help="only what needs no network beyond the database")

    def handle(self, *args: Any, **options: Any) -> None:
        reports = []
        for report in doctor.examine(now=timezone.now(), network=not options["offline"]):
            reports.append(report)
            if not options["json"]:
                self._show(report)
        state = doctor.worst(reports)
        if options["json"]:
            self.stdout.write(
                json.dumps({"state": state, "checks": [_plain(one) for one in reports]}, indent=1, ensure_ascii=False)
            )
        else:
            self.stdout.write(f"\n{_summary(reports)}")
        if status := EXIT_STATUS[state]:
            sys.exit(status)

    def _show(self, report: doctor.Report) -> None:
        for found in report.findings:
            self.stdout.write(f"{_MARK[found.state]:8} {report.title}: {found.says}")
            if found.do:
                self.stdout.write(f"         → {found.do}")


def _plain(report: doctor.Report) -> dict[str, Any]:
    return {
        "check": report.name,
        "title": report.title,
        "state": report.state,
        "findings": [
            {"state": found.state, "code": found.code, "says": found.says, "do": found.do, **found.data}
            for found in report.findings
        ],
    }


def _summary(reports: list[doctor.Report]) -> str:
    found = [finding.state for report in reports for finding in report.findings]
    problems, warnings = found.count(State.PROBLEM), found.count(State.WARNING)
    if not problems and not warnings:
        return "All is well."
    return f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}."
