"""`manage.py export`: the mapping document in force."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from federation.management.base import GatewayCommand
from federation.models import MappingRevision


class Command(GatewayCommand):
    """Prints the text exactly as it was applied, comments kept; secrets are references there, never values."""

    help = "Print the mapping document in force, or an earlier revision."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--revision", type=int, help="an earlier revision's number")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = MappingRevision.objects.order_by("-number")
        if options["revision"] is not None:
            rows = rows.filter(number=options["revision"])
        row = rows.first()
        if row is None:
            raise CommandError("There is no such revision: publish one with `manage.py apply FILE`.")
        self.stdout.write(row.text, ending="")
