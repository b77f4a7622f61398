"""`manage.py verify ACCOUNT`: whether an account works end to end, after its owner has applied the onboarding template."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows import onboard_account, verify_account
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """Each step as it ends, and what to do where it fails. Exit status 1 where a step is a problem."""

    help = "Verify an account end to end: reader role, list of roles, how the gateway is registered, trust, one role assumed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account", metavar="ACCOUNT", help="its id or its name in the mapping document")
        parser.add_argument("--json", action="store_true", help="one JSON object a step and line")

    def handle(self, *args: Any, **options: Any) -> None:
        known = onboard_account.find_account(options["account"], onboard_account.Wishes())
        account = verify_account.find(known.id)
        failed = 0
        for step in verify_account.verify(account, origin=self.origin, now=timezone.now(), actor=self.actor):
            failed += step.state is verify_account.State.PROBLEM
            if options["json"]:
                self.stdout.write(json.dumps(step.as_dict(), ensure_ascii=False))
                continue
            self.stdout.write(f"{step.state.value:8}{step.name}: {step.says}")
            if step.do:
                self.stdout.write(f"        {step.do}")
        if failed:
            raise CommandError(f"{failed} step(s) failed.")
