"""`manage.py refresh catalogue [ACCOUNT]`, `refresh directory [SLUG]`, `refresh entitlements`, `refresh findings`: do now what the worker does on its schedule."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from federation.flows import refresh_catalogue as flow
from federation.flows import refresh_directory, refresh_entitlements, refresh_findings
from federation.management.base import GatewayCommand
from federation.models import current


class Command(GatewayCommand):
    """Exit status 1 where anything could not be read, is held, or is being read by another worker."""

    help = "Read AWS or the company's directories now, and take over what is whole."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        catalogue = what.add_parser("catalogue", help="the organization's accounts and every account's roles")
        catalogue.add_argument("account", nargs="?", default="", help="id or name of one account")
        entitlements = what.add_parser("entitlements", help="who has which role, for lists and reports")
        entitlements.add_argument(
            "--full", action="store_true", help="work out everybody, not only whom a change concerns"
        )

        what.add_parser("findings", help="what is wrong with the trust policies of roles")
        directory = what.add_parser("directory", help="the people and groups of every directory that is read over LDAP")
        directory.add_argument("slug", nargs="?", default="", help="one of them, as the mapping document calls it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["what"] == "directory":
            self._directories(options["slug"])
        elif options["what"] == "entitlements":
            self._entitlements(full=options["full"])
        elif options["what"] == "findings":
            self._findings()
        else:
            self._catalogue(options)

    def _directories(self, slug: str) -> None:
        results = refresh_directory.refresh_named(slug, say=self._say_directory)
        if results is None:
            raise CommandError("Another worker is reading the directories now. Try again in two minutes.")
        if not results:
            self.stdout.write("No directory of the mapping is read over LDAP.")
        if bad := [result.slug for result in results if result.outcome != "ok"]:
            raise CommandError(f"The last good state stays in force: {', '.join(bad)}.")

    def _say_directory(self, result: refresh_directory.Refreshed) -> None:
        counted = f"{result.people} people, {result.groups} groups, {result.written} change(s)"
        then = f". Look at it: manage.py held (directory:{result.slug})" if result.outcome == "held" else ""
        self.stdout.write(
            f"{result.slug}  {result.outcome:8}{counted if result.outcome == 'ok' else result.reason + then}"
        )

    def _findings(self) -> None:
        counts = refresh_findings.refresh_findings(now=timezone.now())
        if counts is None:
            raise CommandError("Another worker is examining the roles now. Try again in two minutes.")
        examined, written, forgotten = counts["accounts"], counts["written"], counts["forgotten"]
        if not examined and not forgotten:
            self.stdout.write("No account or rule has changed since the roles were last examined.")
            return
        self.stdout.write(
            f"{examined} account(s) examined, {written} finding(s) written or removed"
            + (f", {forgotten} of accounts that are gone removed" if forgotten else "")
            + ". Look at them: manage.py trust"
        )

    def _catalogue(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        results = (
            [self._one(options["account"])] if options["account"] else flow.refresh_catalogue(now=now, say=self._say)
        )
        if results is None:
            raise CommandError(
                "Another worker is reading the catalogue now. See its progress, or try again in two minutes."
            )
        bad = [result for result in results if result.outcome != "ok"]
        self.stdout.write(
            f"{len(results)} read, {len(results) - len(bad)} in order, {sum(result.written for result in results)} row(s) written."
        )
        if bad:
            raise CommandError(f"{len(bad)} keep the last good listing: {', '.join(r.account_id for r in bad[:10])}.")

    def _entitlements(self, *, full: bool) -> None:
        done = refresh_entitlements.refresh(now=timezone.now(), full=full)
        if done is None:
            raise CommandError("Another worker is working out the entitlements now. Try again in two minutes.")
        who = "everybody" if done.everybody else f"{done.people} person(s)"
        self.stdout.write(f"{who} worked out, {done.added} row(s) added, {done.gone} removed.")

    def _one(self, wanted: str) -> flow.Refreshed:
        for account in current.mapping().document.accounts:
            if wanted in {account.id, account.name}:
                result = flow.refresh_account(account, now=timezone.now())
                self._say(result)
                return result
        raise CommandError(f"No account {wanted} is in the mapping document or the organization.")

    def _say(self, result: flow.Refreshed) -> None:
        said = f"{result.count} found, {result.written} written" if result.outcome == "ok" else result.reason
        self.stdout.write(f"{result.account_id}  {result.outcome:8}{said}")
