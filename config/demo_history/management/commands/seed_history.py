"""`manage.py seed_history FILE`: DEMO ONLY, and known to the demo's settings alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from config.demo_history.company import read
from config.demo_history.write import HistoryRefused, seed


class Command(BaseCommand):
    """Prints, as JSON, what the demo goes on with: when each role was last used, for the local AWS, and the directory's token."""

    help = "DEMO ONLY: write ninety made-up days into a gateway that has never been used."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what `demo.company.past.history()` says, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            company = read(json.loads(Path(options["file"]).read_text(encoding="utf-8")), timezone.now())
            seeded = seed(company)
        except HistoryRefused as error:
            self.stderr.write(f"{error}")
            sys.exit(3)
        last_used = {arn: at.isoformat() for arn, at in sorted(seeded.last_used.items())}
        self.stdout.write(json.dumps({"last_used": last_used, "directory_token": seeded.directory_token}))
