"""`manage.py held [accept|refuse SOURCE]`: answers that the brake has stopped."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows import sources
from federation.management.base import GatewayCommand

_SHOWN = 10


class Command(GatewayCommand):
    """Without arguments: what waits, and what it would take away."""

    help = "Answers of AWS or of a directory that take away so much that they wait for a person."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("decision", nargs="?", choices=["accept", "refuse"])
        parser.add_argument("source", nargs="?", default="", help="as listed, such as account:111122223333")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["decision"]:
            if not options["source"]:
                raise CommandError(f"Say of which source: manage.py held {options['decision']} account:111122223333")
            accept = options["decision"] == "accept"
            row = sources.decide(
                options["source"], accept=accept, actor=self.actor, origin=self.origin, now=timezone.now()
            )
            then = "It is taken over at the next read, with what little has gone besides by then."
            much = f"{row.decision}, {row.summary.get('removed')} of {row.summary.get('before')} would go"
            self.stdout.write(f"{row.source_id}: {much}. {then if accept else 'The last good state stays in force.'}")
            return
        rows = sources.waiting()
        if not rows:
            self.stdout.write("Nothing waits.")
        for row in rows:
            said = row.summary
            about = f"  {said['about']}" if said.get("about") else ""
            self.stdout.write(
                f"{row.source_id}{about}  since {row.held_at:%Y-%m-%d %H:%M} UTC: {said.get('removed')} of {said.get('before')} "
                f"would go ({said.get('why')})"
            )
            for example in said.get("examples", [])[:_SHOWN]:
                self.stdout.write(f"    - {example}")
            if said.get("removed", 0) > _SHOWN:
                self.stdout.write(f"    … and {said['removed'] - _SHOWN} more")
            if effect := said.get("effect"):
                self._effect(effect)

    def _effect(self, effect: dict[str, Any]) -> None:
        """What it would mean, as it was worked out when the answer was held."""
        new = effect["never_signed_in"]
        unknown = f"; of those whom it concerns {new} have never signed in" if new else ""
        self.stdout.write(f"  {effect['people']} person(s) would lose {effect['roles_lost']} role(s){unknown}")
        for sign, kind in (("-", "lost"), ("+", "gained")):
            listed, many = effect[kind], effect[f"roles_{kind}"]
            for role in listed[:_SHOWN]:
                more = f" and {role['people'] - len(role['who'])} more" if role["people"] > len(role["who"]) else ""
                self.stdout.write(f"    {sign} {role['role']}: {', '.join(role['who'])}{more}")
            if many > _SHOWN:
                self.stdout.write(f"    {sign} … and {many - _SHOWN} role(s) more")
