"""`manage.py audit verify|export`: check the chain, or write the log as JSON lines."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from federation.audit import export, record
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """verify exits with status 1 and names every place where the log was edited, cut or reordered."""

    help = "Verify or export the audit log."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="verify|export")
        actions.add_parser("verify", help="check the whole chain")
        lines = actions.add_parser("export", help="JSON lines on standard output")
        lines.add_argument("--since", type=int, default=0, metavar="SEQ", help="only events after this number")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "export":
            for line in export.lines(since=options["since"]):
                self.stdout.write(line)
            return
        findings = record.verify()
        if findings:
            listed = "\n".join(f"  {finding.seq}: {finding.problem}" for finding in findings)
            raise CommandError(f"The audit log is not intact: {len(findings)} finding(s).\n{listed}")
        self.stdout.write("The audit log is intact.")
