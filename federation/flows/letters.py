"""E-mail that must not get lost: written with what it tells of, sent by a worker, tried again until a day has passed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import DatabaseError
from django.db.models import F
from django.utils import translation

from federation.models.requests import Letter
from federation.said import translated

log = structlog.get_logger(__name__)
_WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=8))
_GIVE_UP = timedelta(days=1)
_AT_ONCE = 100


def write(to: Iterable[str], *, subject: str, body: str, now: datetime) -> int:
    """One letter to each address, inside the caller's transaction. Returns how many; none where no mail server is set.

    `subject`: a sentence, `body`: as `body` gives it.

    An address that is none is left out: a claim of somebody's provider must not hold up the letters to the others.
    """
    if not settings.ROLEGATE_EMAIL_FROM:
        return 0
    letters = [
        Letter(to=address, subject=one_line(in_our_language(subject))[:200], body=body, created_at=now, next_try_at=now)
        for address in dict.fromkeys(to)
        if _is_address(address)
    ]
    Letter.objects.bulk_create(letters)
    return len(letters)


def in_our_language(text: str) -> str:
    """A sentence in the language of letters: whoever gets one may never have told us theirs."""
    with translation.override(settings.ROLEGATE_LETTER_LANGUAGE):
        return translated(text, translation.gettext)


def body(text: str, path: str) -> str:
    """The text in the language of letters, and the page of ours to look at; no line has characters that are not seen."""
    told = in_our_language(text)
    lines = "\n".join(one_line(line) if line.strip() else "" for line in told.split("\n"))
    return f"{lines}\n\n{settings.ROLEGATE_URL}{path}\n"


def one_line(text: str) -> str:
    """`text` without line breaks and characters that are not seen: in a name they would begin a header of their own, or turn
    what stands beside them.
    """
    kept = [
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in text if unicodedata.category(c) != "Cf"
    ]
    return " ".join("".join(kept).split())


def any_due(*, now: datetime) -> bool:
    """Whether a letter waits to be sent. One indexed query."""
    return Letter.objects.filter(next_try_at__lte=now).exists()


def send_due(*, now: datetime) -> int:
    """Send what is due; returns how many were sent. Two workers at once send each letter once.

    A worker that dies between sending and writing it down sends that letter a second time: better than none.
    """
    sent = 0
    for letter in Letter.objects.filter(next_try_at__lte=now).order_by("next_try_at")[:_AT_ONCE]:
        wait = _WAITS[min(letter.tries, len(_WAITS) - 1)]
        # Taken by whoever moves it on first.
        taken = Letter.objects.filter(pk=letter.pk, next_try_at=letter.next_try_at).update(
            next_try_at=now + wait, tries=F("tries") + 1
        )
        if not taken:
            continue
        try:
            EmailMessage(letter.subject, letter.body, settings.ROLEGATE_EMAIL_FROM, [letter.to]).send()
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001  whatever the server or the way to it did: the letter waits
            _failed(letter, error, now)
            continue
        Letter.objects.filter(pk=letter.pk).update(sent_at=now, next_try_at=None, last_error="")
        sent += 1
    return sent


def _failed(letter: Letter, error: Exception, now: datetime) -> None:
    said = f"{error.__class__.__name__}: {error}"[:255]
    log.warning("letter_not_sent", letter=letter.pk, tries=letter.tries + 1, detail=said)
    if now - letter.created_at > _GIVE_UP:
        Letter.objects.filter(pk=letter.pk).update(gave_up_at=now, next_try_at=None, last_error=said)
        log.error("letter_given_up", letter=letter.pk)
    else:
        Letter.objects.filter(pk=letter.pk).update(last_error=said)


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return len(text) <= 320
