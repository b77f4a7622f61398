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
    """Prints, as JSON, what the local AWS is told: when each role was last used."""

    help = "DEMO ONLY: write ninety made-up days into a gateway that has never been used."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what `demo.company.past.history()` says, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            company = read(json.loads(Path(options["file"]).read_text(encoding="utf-8")), timezone.now())
            last_used = seed(company)
        except HistoryRefused as error:
            self.stderr.write(f"{error}")
            sys.exit(3)
        self.stdout.write(json.dumps({arn: at.isoformat() for arn, at in sorted(last_used.items())}))
