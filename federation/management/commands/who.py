"""`manage.py who ROLE_ARN [--at MOMENT]`: everybody who can use a role, or could at a past moment."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation.flows.explain_access import who_could, why_unknown
from federation.management.base import GatewayCommand, moment


class Command(GatewayCommand):
    """One line a person: name, e-mail, provider and subject, and the rule that decides."""

    help = "List everybody whom the mapping gives a role, now or at a past moment, with the rule that gives it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role_arn", metavar="ROLE_ARN")
        parser.add_argument("--at", metavar="MOMENT", help="a past moment, such as 2026-05-03 or 2026-05-03T14:00Z")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        count = old = 0
        now, at = timezone.now(), moment(options["at"])
        if why := why_unknown(options["role_arn"], now=now, at=at):
            self.stderr.write(why)
        for person, rule, must_sign_in in who_could(options["role_arn"], now=now, at=at):
            count += 1
            old += must_sign_in
            if options["json"]:
                line = {
                    "name": person.name,
                    "email": person.email,
                    "provider": person.provider,
                    "subject": person.subject,
                    "rule": rule,
                    "must_sign_in": must_sign_in,
                }
                self.stdout.write(json.dumps(line, ensure_ascii=False))
            else:
                self.stdout.write(
                    f"{person.name or person.subject}  {person.email}  {person.provider}:{person.subject}  {rule}"
                )
        if not options["json"]:
            again = f"; {old} of them must sign in first" if old else ""
            self.stdout.write(f"{count} person(s){again}.")
