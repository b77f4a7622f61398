"""`manage.py import_mapping CONVENTION [FILE]`: what a company already has, as a mapping document to look at and apply."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from federation.management.base import GatewayCommand
from federation.mapping.document import parse
from federation.mapping.importing import CONVENTIONS, READ_A_FILE, decoded, merged, usable
from federation.mapping.rules import Document
from federation.mapping.writing import to_yaml
from federation.models.mapping import MappingRevision


class Command(GatewayCommand):
    """Writes the document to standard output and publishes nothing: `apply --dry-run` shows what it would do."""

    help = "Print a mapping document with the rules of a convention: " + ", ".join(CONVENTIONS)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("convention", choices=sorted(CONVENTIONS))
        parser.add_argument(
            "file", nargs="?", default="", help="JSON, for identity-center and consoleme; - for standard input"
        )
        parser.add_argument("--merge", action="store_true", help="behind the rules of the mapping in force")

    def handle(self, *args: Any, **options: Any) -> None:
        convention = options["convention"]
        imported = usable(CONVENTIONS[convention](self._read(convention, options["file"])))
        newest = MappingRevision.objects.order_by("-number").first() if options["merge"] else None
        document = parse(newest.text, published=True) if newest else Document()
        rules, left_out = merged(document.rules, imported)
        text = to_yaml(replace(document, rules=rules))
        parse(text)  # what is printed can be applied
        self.stdout.write(text)
        for line in left_out:
            self.stderr.write(f"left out: {line}")
        if not imported.rules:
            self.stderr.write("Nothing was imported: no entry of it is one of this convention.")

    def _read(self, convention: str, name: str) -> str:
        if convention not in READ_A_FILE:
            if name:
                raise CommandError(f"{convention} reads no file: it is a convention of group names.")
            return ""
        if not name:
            raise CommandError(f"{convention} reads a file: manage.py import_mapping {convention} FILE")
        try:
            return decoded(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{name} cannot be read: {error}") from error
