"""`manage.py explain PERSON ROLE_ARN`: why somebody has a role, or has not."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation import queries
from federation.flows.revoke import find_people
from federation.management.base import GatewayCommand, moment


class Command(GatewayCommand):
    """Exit status 0 whether the answer is yes or no. Who signs in at several providers is explained as each.

    With --json an object, or a list of them where there are several; `person` says of whom each is.
    """

    help = "Explain, rule by rule, whether a person has a role, now or at a past moment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", metavar="PERSON", help="id, session name, e-mail or provider:subject")
        parser.add_argument("role_arn", metavar="ROLE_ARN")
        parser.add_argument("--at", metavar="MOMENT", help="a past moment, such as 2026-05-03 or 2026-05-03T14:00Z")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        now, at = timezone.now(), moment(options["at"])
        stories = [
            (person, queries.explain(person.pk, options["role_arn"], now=now, at=at))
            for person in find_people(options["person"])
        ]
        if options["json"]:
            documents = [
                {"person": f"{person.provider}:{person.subject}", **story.as_dict()} for person, story in stories
            ]
            self.stdout.write(
                json.dumps(documents if len(documents) > 1 else documents[0], indent=2, ensure_ascii=False)
            )
            return
        for number, (person, story) in enumerate(stories):
            if len(stories) > 1:
                self.stdout.write(f"{'' if number == 0 else chr(10)}As {person.provider}:{person.subject}:")
            self.stdout.write(story.as_text())
