"""`manage.py onboard ACCOUNT --format cloudformation|terraform`: what an account's owner applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.aws.partitions import PARTITION_NAMES
from federation.flows import rotate_keys
from federation.flows.onboard_account import FORMATS, Wishes, onboard
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """Writes to standard output unless told otherwise; what to know before applying it goes to standard error."""

    help = "Write what registers the gateway in an AWS account: providers, the reader role, roles for people."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", metavar="ACCOUNT", help="its id or its name in the mapping document")
        parser.add_argument("--format", required=True, choices=FORMATS)
        parser.add_argument(
            "--roles",
            nargs="*",
            metavar="NAME:POLICY_ARN",
            help="roles for people, each with one managed policy; without the option ReadOnly alone, with it and nothing behind it none",
        )
        parser.add_argument(
            "--stackset",
            action="store_true",
            help="for every other account of the organization as well: a service-managed StackSet",
        )
        parser.add_argument(
            "--organization-reader",
            action="store_true",
            default=None,
            help="the reader may list the organization's accounts (implied by --stackset and in the account of ROLEGATE_ORGANIZATION_ROLE)",
        )
        parser.add_argument(
            "--existing-providers",
            action="store_true",
            help="the gateway is registered there already: write the roles alone",
        )
        parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")
        parser.add_argument("--partition", default="", choices=PARTITION_NAMES)
        parser.add_argument("--federation", default="", choices=["saml", "oidc"])
        parser.add_argument("--provider", default="", help="name of the IAM SAML provider")
        parser.add_argument("--region", default="", help="the region tried first")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        rotate_keys.ensure_keys(actor=self.actor, origin=self.origin, now=now)
        wishes = Wishes(
            partition=options["partition"],
            federation=options["federation"],
            provider=options["provider"],
            region=options["region"],
            roles=options["roles"],
            reads_organization=options["organization_reader"],
            register_providers=not options["existing_providers"],
            whole_organization=options["stackset"],
        )
        written = onboard(options["account"], options["format"], wishes, now=now)
        for note in written.notes:
            self.stderr.write(f"Note: {note}")
        if options["output"] is None:
            self.stdout.write(written.text, ending="")
            return
        try:
            options["output"].write_text(written.text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{options['output']}: apply it in account {written.account_id}.")
