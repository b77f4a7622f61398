"""What the commands share: who acts, and errors as sentences."""

from __future__ import annotations

import getpass
import json
import secrets
import socket
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import InterfaceError, OperationalError

from federation import checks
from federation.audit.events import Origin
from federation.errors import RolegateError
from federation.flows.apply_mapping import Applied
from federation.mapping.impact_text import as_text
from federation.mapping.reading import DocumentError


def moment(text: str | None) -> datetime | None:
    """A moment as people write it: a day (its end, UTC), or day and time (UTC unless it says otherwise). Raises CommandError."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text} is no moment: write 2026-05-03 or 2026-05-03T14:00Z.") from error
    if len(text) <= len("2026-05-03"):
        at += timedelta(days=1, microseconds=-1)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def faults_as_text(error: DocumentError, name: str) -> str:
    """Every fault of a document with its file, line and path."""
    places = ((f"{name}:{fault.line}", fault.path, fault.message) for fault in error.faults)
    lines = "\n".join("  " + ": ".join(filter(None, place)) for place in places)
    return f"The document has {len(error.faults)} fault(s); nothing was changed.\n{lines}"


def tell_applied(out: OutputWrapper, applied: Applied, *, dry_run: bool, as_json: bool) -> None:
    """Difference, impact, and which revision is in force now."""
    result = applied.published
    if as_json:
        told = None if applied.preview is None else applied.preview.as_dict()
        why = [] if applied.preview is None else list(applied.preview.second_person)
        plain = {"revision": result.number, "changed": result.changed, "dry_run": dry_run, "impact": told, "second_person": why}  # fmt: skip
        out.write(json.dumps(plain, ensure_ascii=False))
        return
    if not result.changed:
        out.write(f"Revision {result.number} is already exactly this document: nothing to do.")
        return
    if result.diff:
        out.write(result.diff)
    if applied.preview is not None:
        shown = applied.preview
        out.write(as_text(shown.impact, shown.second_person, never_signed_in=shown.never_signed_in))
    else:
        out.write(
            "The revision before it cannot be read by this version: who gains and who loses by this is not known."
        )
    if dry_run:
        out.write(
            f"Dry run: revision {result.number} stays in force; applying would make revision {result.number + 1}."
        )
    else:
        out.write(f"Revision {result.number} is in force.")


class Shown(OutputWrapper):
    r"""What a command says: to a terminal without anything that is no text. To a file or a program, as it is.

    Attack: a directory's group is called "\x1b]52;…", and the operator who looks at what it would take away has a command of its
    owner in their clipboard.
    """

    def write(  # type: ignore[override]  # as Django's own
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        """Django's, but for control and format characters."""
        super().write(_plain(str(msg)) if self.isatty() else msg, style_func, ending)


def _plain(text: str) -> str:
    if all(line.isprintable() for line in text.split("\n")):
        return text
    unseen = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if c not in "\n\t" and unicodedata.category(c) in unseen else c for c in text
    )


class GatewayCommand(BaseCommand):
    """A command that turns our errors, and those of a database that is away or full, into a sentence and exit status 1, without a
    traceback.
    """

    requires_system_checks = [checks.OURS]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        styled = self.stderr.style_func
        out: Any = self.stdout._out
        err: Any = self.stderr._out
        self.stdout, self.stderr = Shown(out), Shown(err)
        self.stderr.style_func = styled

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run; raises CommandError with the error's code, reason and sentence."""
        try:
            return super().execute(*args, **options)
        except RolegateError as error:
            raise CommandError(
                f"{error.public_sentence} [{error.code}: {error.reason}] {error.detail}".strip()
            ) from error
        except (InterfaceError, OperationalError) as error:
            said = str(error).partition("\n")[0].rstrip(".")  # further lines may quote rows
            raise CommandError(f"The database cannot be used: {said}. What was not confirmed is not done.") from error

    @property
    def actor(self) -> str:
        """The operating system's user and host, for the audit log."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = "unknown"
        return f"command:{user}@{socket.gethostname()}"

    @property
    def origin(self) -> Origin:
        """A request id of its own for each run."""
        return Origin(request_id=secrets.token_hex(8), address="", user_agent="manage.py")
