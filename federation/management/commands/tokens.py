"""`manage.py tokens create|list|revoke`: the tokens of programs, such as a directory that pushes by SCIM."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation.flows import service_tokens
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """A token is printed once, alone on standard output, when it is made; nobody can see it again."""

    help = "Make, list or revoke tokens of programs."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="a new token, printed once")
        create.add_argument("name", metavar="NAME", help="what you call it, such as okta")
        create.add_argument("--scope", required=True, help="what it may do: metrics, or scim:DIRECTORY")
        create.add_argument("--days", type=int, default=365, metavar="N", help="how long it is good for (365)")
        actions.add_parser("list", help="every token, when it ends and when it was last used")
        revoke = actions.add_parser("revoke", help="end a token now")
        revoke.add_argument("name", metavar="NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        if options["action"] == "create":
            made = service_tokens.make(
                options["name"],
                scope=options["scope"],
                days=options["days"],
                actor=self.actor,
                origin=self.origin,
                now=now,
            )
            self.stderr.write(f"Good until {made.row.expires_at:%Y-%m-%d}. It is not shown again.")
            self.stdout.write(made.secret)
        elif options["action"] == "revoke":
            service_tokens.revoke(options["name"], actor=self.actor, origin=self.origin, now=now)
            self.stdout.write(f"{options['name']} is revoked.")
        else:
            rows = list(service_tokens.listed())
            if not rows:
                self.stdout.write("No program has a token.")
            for row in rows:
                used = (
                    f"last used {row.last_used_at:%Y-%m-%d %H:%M} from {row.last_address}"
                    if row.last_used_at
                    else "never used"
                )
                ends = "EXPIRED" if row.expires_at <= now else "until"
                self.stdout.write(f"{row.name:20} {row.scope:30} {ends} {row.expires_at:%Y-%m-%d}  {used}")
