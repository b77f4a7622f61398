"""Refusals in the audit log: the one way in which a flow writes down that it said no, or that it could not.

Each in a transaction of its own: of what was refused nothing is left, but its event is. Call it outside the transaction that
failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction

from federation.audit.events import Kind, Origin
from federation.audit.record import record
from federation.errors import AwsError, RolegateError
from federation.flows import rate_limits


@contextmanager
def recorded(kind: Kind, *, actor: str, origin: Origin, now: datetime, **about: Any) -> Iterator[None]:
    """Record the RolegateError that ends the block, and let it go on. `about`: what the event says of what was asked for."""
    try:
        yield
    except RolegateError as error:
        record_refusal(kind, error, actor=actor, origin=origin, now=now, **about)
        raise


def record_refusal(
    kind: Kind, error: RolegateError, *, actor: str, origin: Origin, now: datetime, **about: Any
) -> None:
    """Record a refusal (`failed` where it is a fault of ours or of others) with its precise reason and AWS's own code.

    Of a flood that a limit refuses, one event a window.
    """
    if not rate_limits.is_worth_an_event(error):
        return
    if isinstance(error, AwsError):
        about["aws_code"] = error.aws_code
    with transaction.atomic():
        record(
            kind,
            actor=actor,
            outcome="failed" if error.status >= 500 else "refused",
            origin=origin,
            now=now,
            reason=error.reason,
            code=error.code,
            **about,
        )
