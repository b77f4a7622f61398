"""`manage.py explain PERSON ROLE_ARN`: why somebody has a role, or has not."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation import queries
from federation.flows.revoke import find_person
from federation.management.base import GatewayCommand, moment


class Command(GatewayCommand):
    """Exit status 0 whether the answer is yes or no."""

    help = "Explain, rule by rule, whether a person has a role, now or at a past moment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", metavar="PERSON", help="id, session name, e-mail or provider:subject")
        parser.add_argument("role_arn", metavar="ROLE_ARN")
        parser.add_argument("--at", metavar="MOMENT", help="a past moment, such as 2026-05-03 or 2026-05-03T14:00Z")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        person = find_person(options["person"])
        explanation = queries.explain(person.pk, options["role_arn"], now=timezone.now(), at=moment(options["at"]))
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_dict(), indent=2, ensure_ascii=False))
        else:
            self.stdout.write(explanation.as_text())
