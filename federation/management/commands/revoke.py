"""`manage.py revoke PERSON`: end somebody's sessions and tokens at once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from federation.flows import revoke
from federation.management.base import GatewayCommand


class Command(GatewayCommand):
    """With --disable also refuses new sign-ins, until --enable."""

    help = "End a person's portal sessions and command line tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", metavar="PERSON", help="id, session name, e-mail or provider:subject")
        parser.add_argument("--why", default="", help="kept in the audit log")
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument("--disable", action="store_true", help="also refuse every new sign-in")
        choice.add_argument("--enable", action="store_true", help="let the person sign in again")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        person = revoke.find_person(options["person"])
        if options["enable"]:
            revoke.allow_again(person, actor=self.actor, why=options["why"], origin=self.origin, now=now)
            self.stdout.write(f"{person} may sign in again.")
            return
        ended = revoke.revoke(
            person, disable=options["disable"], actor=self.actor, why=options["why"], origin=self.origin, now=now
        )
        self.stdout.write(
            f"{person}: {ended} portal session(s) ended, command line tokens revoked"
            + (", disabled." if options["disable"] else ".")
        )
        self.stdout.write(
            f"AWS sessions already handed out live on until they expire; deny them by aws:SourceIdentity = {person.session_name}"
        )
