"""System checks of our own, each with an id (docs/settings.md lists them).

All have the tag OURS: the commands ask for these alone. Django's checks of the URLs would load every page, form and
operation of the API, and take longer than most commands do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.core.checks import Warning as CheckWarning

OURS: Final = "rolegate"


@register(OURS, Tags.security)
def issuer_url(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """AWS takes an issuer only as https without port, query or more than 255 characters (IAM CreateOpenIDConnectProvider)."""
    issuer = str(settings.ROLEGATE_ISSUER_URL)
    parts = urlsplit(issuer)
    found: list[CheckMessage] = []
    if len(issuer) > 255:
        found.append(
            Error(
                "ROLEGATE_ISSUER_URL has more than 255 characters.", hint="AWS takes 255 at most.", id="rolegate.E001"
            )
        )
    if parts.scheme != "https" or parts.port is not None:
        found.append(
            CheckWarning(
                "AWS itself cannot use this ROLEGATE_ISSUER_URL: it wants https and no port.",
                hint="Right for a local AWS in demo and tests; in production publish the documents on a static https host.",
                id="rolegate.W001",
            )
        )
    return found


@register(OURS, Tags.security)
def serializers(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Pickle would let whoever reaches the broker run code in a worker."""
    if list(settings.CELERY_ACCEPT_CONTENT) != ["json"]:
        return [
            Error(
                "CELERY_ACCEPT_CONTENT must be ['json'].", hint="Pickle runs code out of messages.", id="rolegate.E002"
            )
        ]
    return []


@register(OURS, Tags.security)
def sessions(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Sessions must be in the database: revocation and the fall of Redis depend on it."""
    if settings.SESSION_ENGINE != "portal.sessions":
        return [
            Error(
                "SESSION_ENGINE must be portal.sessions.",
                hint="Other stores cannot be revoked by person.",
                id="rolegate.E003",
            )
        ]
    return []


@register(OURS)
def mapping_file(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """ROLEGATE_CONFIG, where it is set, must be a readable file."""
    path = settings.ROLEGATE_CONFIG
    if path and not Path(path).is_file():
        return [
            Error(
                "ROLEGATE_CONFIG does not name a file.",
                hint="Give the path of a mapping document, or unset it.",
                id="rolegate.E004",
            )
        ]
    return []


@register(OURS, Tags.security)
def demo_mode(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Demo settings must never serve anything but loopback."""
    host = urlsplit(settings.ROLEGATE_URL).hostname
    if settings.ROLEGATE_DEMO and host not in {"localhost", "127.0.0.1", "::1"}:
        return [
            Error(
                "The demo settings are for localhost only.", hint="Use config.settings.production.", id="rolegate.E005"
            )
        ]
    return []


@register(OURS, Tags.staticfiles)
def static_files(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Without `collectstatic` the pages still work, with uncompressed files out of the packages."""
    if (Path(settings.STATIC_ROOT) / "staticfiles.json").is_file():
        return []
    return [
        Info(
            "The static files are not collected: they are served out of the packages, uncompressed.",
            hint="Run manage.py collectstatic --noinput.",
            id="rolegate.I001",
        )
    ]
