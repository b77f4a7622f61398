"""`manage.py apply [FILE] [--dry-run]`: publish a mapping document."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows.apply_mapping import apply
from federation.flows.rotate_keys import ensure_keys
from federation.management.base import GatewayCommand, faults_as_text, tell_applied
from federation.mapping.document import DocumentError


class Command(GatewayCommand):
    """Idempotent and all-or-nothing; with --dry-run nothing is written."""

    help = "Publish a mapping document as the next revision, and say what it does to whom. The same document again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            default=settings.ROLEGATE_CONFIG,
            help="the document, YAML or JSON; - for standard input; without it the one that ROLEGATE_CONFIG names",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check and show difference and impact; write nothing"
        )
        parser.add_argument("--comment", default="", help="kept with the revision")
        parser.add_argument("--json", action="store_true", help="the impact as JSON, and nothing else")

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
            applied = apply(
                text,
                author=self.actor,
                comment=options["comment"],
                origin=self.origin,
                now=now,
                dry_run=options["dry_run"],
            )
        except DocumentError as error:
            raise CommandError(faults_as_text(error, name)) from error
        tell_applied(self.stdout, applied, dry_run=options["dry_run"], as_json=options["json"])
