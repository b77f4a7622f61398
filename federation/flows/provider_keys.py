"""Which of a SAML provider's certificates signs: while its key rolls, that says when the old one can go."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, IntegrityError, transaction

from federation.models.providers import ProviderKeyUse

log = structlog.get_logger(__name__)
NOTED_EVERY = timedelta(minutes=5)
_noted: dict[tuple[str, str], datetime] = {}
_lock = threading.Lock()


def note_use(provider: str, fingerprint: str, *, now: datetime) -> None:
    """Note that a certificate has signed a sign-in: at nine o'clock one write in five minutes and process, not one a person.

    The sign-in is done by then: nothing that goes wrong here undoes it.
    """
    key = (provider, fingerprint)
    with _lock:
        before = _noted.get(key)
        if before is not None and timedelta() <= now - before < NOTED_EVERY:
            return
        _noted[key] = now
    row = ProviderKeyUse.objects.filter(provider=provider, fingerprint=fingerprint)
    try:
        with transaction.atomic():
            if not row.filter(last_at__lt=now - NOTED_EVERY).update(last_at=now) and not row.exists():
                ProviderKeyUse.objects.create(provider=provider, fingerprint=fingerprint, last_at=now)
    except IntegrityError:
        pass  # another process was quicker
    except DatabaseError as error:
        log.warning("key_use_not_noted", provider=provider, error=error.__class__.__name__)
