"""`manage.py revisions [NUMBER]`: the history of the mapping."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from federation.management.base import GatewayCommand
from federation.models import MappingRevision


class Command(GatewayCommand):
    """The newest first, one line each; with a number that revision's difference and what it did."""

    help = "List the revisions of the mapping, or show one with its difference and its impact."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", metavar="NUMBER", nargs="?", type=int)
        parser.add_argument("--limit", type=int, default=20, help="how many, the newest first (20)")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = MappingRevision.objects.order_by("-number")
        if options["number"] is not None:
            row = rows.filter(number=options["number"]).first()
            if row is None:
                raise CommandError("There is no such revision; `manage.py revisions` lists them.")
            self.stdout.write(
                json.dumps(_plain(row, whole=True), ensure_ascii=False) if options["json"] else _whole(row)
            )
            return
        for row in rows.defer("text", "diff")[: max(options["limit"], 0)]:
            self.stdout.write(
                json.dumps(_plain(row, whole=False), ensure_ascii=False) if options["json"] else _line(row)
            )


def _line(row: MappingRevision) -> str:
    counts = row.impact.get("counts", {})
    did = f"  {counts['people_affected']} people affected" if counts else ""
    second = f", published by {row.published_by}" if row.published_by else ""
    comment = f"  {row.comment}" if row.comment else ""
    return f"{row.number}  {row.published_at:%Y-%m-%d %H:%M} UTC  {row.author}{second}{did}{comment}"


def _whole(row: MappingRevision) -> str:
    counts = row.impact.get("counts", {})
    said = "\n".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())
    return "\n".join(part for part in (_line(row), row.diff, said) if part)


def _plain(row: MappingRevision, *, whole: bool) -> dict[str, Any]:
    plain = {
        "number": row.number, "published_at": row.published_at.isoformat(), "author": row.author,
        "published_by": row.published_by or None, "comment": row.comment, "sha256": row.sha256,
    }  # fmt: skip
    if whole:
        return {**plain, "diff": row.diff, "impact": row.impact}
    return {**plain, "counts": row.impact.get("counts", {})}
