"""What a gateway does when it starts: makes the signing keys that are missing, and publishes ROLEGATE_CONFIG.

Any number of processes may do it at once, and every start does it again: what is done already stays as it is.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings

from federation.audit.events import Origin
from federation.errors import ConfigurationError, RolegateError
from federation.flows.apply_mapping import apply
from federation.flows.publish_mapping import Published
from federation.flows.rotate_keys import ensure_keys
from federation.models.mapping import MappingRevision
from federation.models.secrets import in_clear

log = structlog.get_logger(__name__)
AUTHOR = "gateway:config"
_ORIGIN = Origin(request_id="start", address="", user_agent="start")


def first_start(*, now: datetime) -> None:
    """Make the keys and publish the configured document.

    A faulty document stops the start of a gateway that has none in force; otherwise the last good one stays, and the log
    says so at level `critical`. Raises DocumentError and ConfigurationError then, and whatever the database raises.
    """
    ensure_keys(actor="gateway:start", origin=_ORIGIN, now=now)
    try:
        published = publish_configured(now=now)
    except RolegateError as error:
        if not MappingRevision.objects.exists():
            raise
        log.critical("config_not_published", code=error.code, reason=error.reason, detail=str(error)[:2000])
        return
    if published is not None and published.changed:
        log.info("config_published", revision=published.number)


def publish_configured(*, now: datetime) -> Published | None:
    """Publish the file that ROLEGATE_CONFIG names, unless it is what was last published from there; None then.

    A file that has not changed since does not undo what was published otherwise in between: a restart is no roll-back.
    Raises ConfigurationError (config_unreadable), DocumentError, SecretNotSealable.
    """
    path = settings.ROLEGATE_CONFIG
    if not path:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("config_unreadable", detail=f"{path}: {error.__class__.__name__}") from error
    if is_published(text):
        return None
    comment = f"ROLEGATE_CONFIG: {path}"[:1000]
    return apply(text, author=AUTHOR, comment=comment, origin=_ORIGIN, now=now).published


def is_published(text: str) -> bool:
    """Whether ROLEGATE_CONFIG, which says `text`, leaves nothing to publish: the last document from there, or one that somebody
    published after it, is this text.
    """
    last = MappingRevision.objects.filter(author=AUTHOR).order_by("-number").first()
    since = MappingRevision.objects.filter(number__gte=last.number if last else 0)
    return any(text in {revision.text, in_clear(revision.text)} for revision in since.order_by("-number").iterator())
