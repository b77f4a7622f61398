"""`manage.py rollback [NUMBER] [--dry-run]`: put an earlier revision's text in force again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows.apply_mapping import apply, earlier_text
from federation.management.base import GatewayCommand, faults_as_text, tell_applied
from federation.mapping.document import DocumentError


class Command(GatewayCommand):
    """History is not rewritten: the old text becomes the next revision. With --dry-run nothing is written."""

    help = "Publish the text of an earlier revision as the next one: the one before the last change, unless another is named."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", metavar="NUMBER", nargs="?", type=int, help="as `manage.py revisions` lists it")
        parser.add_argument("--dry-run", action="store_true", help="show difference and impact; write nothing")
        parser.add_argument("--comment", default="", help="kept with the revision")
        parser.add_argument("--json", action="store_true", help="the impact as JSON, and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        number, text = earlier_text(options["number"])
        comment = options["comment"] or f"back to revision {number}"
        try:
            applied = apply(
                text, author=self.actor, comment=comment, origin=self.origin, now=timezone.now(), dry_run=options["dry_run"]
            )  # fmt: skip
        except DocumentError as error:
            raise CommandError(faults_as_text(error, f"revision {number}")) from error
        tell_applied(self.stdout, applied, dry_run=options["dry_run"], as_json=options["json"])
