"""`manage.py apply [FILE] [--dry-run]`: publish a mapping document."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows.publish_mapping import publish
from federation.flows.rotate_keys import ensure_keys
from federation.management.base import GatewayCommand
from federation.mapping.document import DocumentError


class Command(GatewayCommand):
    """Idempotent and all-or-nothing; with --dry-run nothing is written."""

    help = "Publish a mapping document as the next revision. The same document again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=settings.ROLEGATE_CONFIG,
            help="the document, YAML or JSON; - for standard input; without it the one that ROLEGATE_CONFIG names",
        )
        parser.add_argument("--dry-run", action="store_true", help="check and show the difference; write nothing")
        parser.add_argument("--comment", default="", help="kept with the revision")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["file"]
        if not name:
            raise CommandError("Name the document: manage.py apply FILE (ROLEGATE_CONFIG is not set).")
        try:
            text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{name} cannot be read: {error}") from error
        now = timezone.now()
        try:
            if not options["dry_run"]:
                ensure_keys(actor=self.actor, origin=self.origin, now=now)
            result = publish(
                text,
                author=self.actor,
                comment=options["comment"],
                origin=self.origin,
                now=now,
                dry_run=options["dry_run"],
            )
        except DocumentError as error:
            lines = "\n".join(f"  {name}:{fault.line}: {fault.path}: {fault.message}" for fault in error.faults)
            raise CommandError(
                f"The document has {len(error.faults)} fault(s); nothing was changed.\n{lines}"
            ) from error
        if not result.changed:
            self.stdout.write(f"Revision {result.number} is already exactly this document: nothing to do.")
            return
        if result.diff:
            self.stdout.write(result.diff)
        if options["dry_run"]:
            self.stdout.write(
                f"Dry run: revision {result.number} stays in force; applying would make revision {result.number + 1}."
            )
        else:
            self.stdout.write(f"Revision {result.number} is in force.")
