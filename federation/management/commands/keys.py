"""`manage.py keys list|rotate|publish`: the gateway's signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation.flows import rotate_keys
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """list makes missing keys first, so that a new gateway shows what it will sign with."""

    help = "List, rotate or publish the gateway's signing keys."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|rotate|publish")
        actions.add_parser("list", help="every key with its state")
        rotate = actions.add_parser("rotate", help="one step: make and publish the next key, or sign with it")
        rotate.add_argument("purpose", choices=["saml", "token", "sp"])
        rotate.add_argument("--algorithm", default="RS256", choices=["RS256", "ES256"])
        rotate.add_argument(
            "--at-once", action="store_true", help="both steps now: for a key that may be known to others"
        )
        publish = actions.add_parser(
            "publish", help="write discovery, JWKS and SAML metadata as files for a static host"
        )
        publish.add_argument("--directory", required=True, type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        rotate_keys.ensure_keys(actor=self.actor, origin=self.origin, now=now)
        if options["action"] == "list":
            for key in rotate_keys.list_keys():
                self.stdout.write(
                    f"{key.purpose:6} {key.algorithm:6} {key.state:9} {key.created_at:%Y-%m-%d %H:%M} {key.kid}"
                )
        elif options["action"] == "rotate":
            done = rotate_keys.rotate(
                options["purpose"],
                options["algorithm"],
                actor=self.actor,
                origin=self.origin,
                now=now,
                at_once=options["at_once"],
            )
            self.stdout.write("\n".join(done))
        else:
            for path in rotate_keys.publish_static(options["directory"], actor=self.actor, origin=self.origin, now=now):
                self.stdout.write(str(path))
