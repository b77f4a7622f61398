"""What the commands share: who acts, and errors as sentences."""

from __future__ import annotations

import getpass
import secrets
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from federation.audit.events import Origin
from federation.errors import RolegateError


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


class GatewayCommand(BaseCommand):
    """A command that turns our errors into a sentence and exit status 1, without a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run; raises CommandError with the error's code, reason and sentence."""
        try:
            return super().execute(*args, **options)
        except RolegateError as error:
            raise CommandError(
                f"{error.public_sentence} [{error.code}: {error.reason}] {error.detail}".strip()
            ) from error

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
