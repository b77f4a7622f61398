"""Reads and checks the environment: every fault at once, each with the variable's name and what it wants.

The only place that reads `os.environ`. A settings module builds one `Environment`, asks for what it needs, and
calls `finish()`, which raises `ImproperlyConfigured` listing all that is wrong. Values are never echoed: they may
be secrets.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

_DURATION = re.compile(r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MIN_SECRET_CHARACTERS = 50

# No request waits for ever. A server that vanished without a word (a fail-over, a firewall) is given up after 10 s; a lock
# that somebody holds (every event takes the audit head's) after 5; and a gateway process that vanished inside a
# transaction holds its own for at most 30 s. Source: libpq, "Parameter Key Words"; PostgreSQL, "Client Connection Defaults".
_LIBPQ_DEFAULTS = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s",
}
_LIBPQ_PARAMETERS = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "target_session_attrs",
     "application_name", *_LIBPQ_DEFAULTS}
)  # fmt: skip


def parse_duration(text: str) -> timedelta:
    """`"12h"`, `"90m"`, `"1h30m"` or `"45s"` as a timedelta. Raises ValueError."""
    match = _DURATION.match(text)
    if not text or match is None:
        raise ValueError(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _is_secret(text: str) -> bool:
    return len(text) >= MIN_SECRET_CHARACTERS and len(set(text)) >= 10


class Environment:
    """Typed reads of environment variables that collect their faults."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values
        self.faults: list[str] = []
        self.known: set[str] = set()

    def _read(
        self, name: str, want: str, convert: Callable[[str], T], default: T | None, *, required: bool
    ) -> T | None:
        self.known.add(name)
        text = self._values.get(name, "").strip()
        if not text:
            if required:
                self.faults.append(f"{name} is not set: it wants {want}.")
            return default
        try:
            return convert(text)
        except (ValueError, KeyError):
            self.faults.append(f"{name} is not valid: it wants {want}.")
            return default

    def text(self, name: str, default: str = "", *, want: str = "a text", required: bool = False) -> str:
        """A text, stripped."""
        return self._read(name, want, str, default, required=required) or ""

    def secrets(self, name: str) -> tuple[str, ...]:
        """A comma-separated list of secrets, each as long as one that is in use must be; empty where it is not set."""

        def convert(text: str) -> tuple[str, ...]:
            parts = tuple(part.strip() for part in text.split(",") if part.strip())
            if not all(_is_secret(part) for part in parts):
                raise ValueError
            return parts

        want = f"comma-separated secrets that were ROLEGATE_SECRET_KEY, each of at least {MIN_SECRET_CHARACTERS} characters"
        return self._read(name, want, convert, (), required=False) or ()

    def broker(self, name: str, default: str = "") -> str:
        """A Redis address that Celery can use."""

        def convert(text: str) -> str:
            for one in text.split(";"):  # several sentinels
                parts = urlsplit(one)
                place = parts.path if parts.scheme == "redis+socket" else parts.hostname
                if parts.scheme not in {"redis", "rediss", "redis+socket", "sentinel"} or not place:
                    raise ValueError
                _ = parts.port
            return text

        return (
            self._read(name, "redis://host:port/database or rediss:// over TLS", convert, default, required=False) or ""
        )

    def secret(self, name: str, default: str = "") -> str:
        """A secret of at least 50 characters; no default outside demo and test."""

        def convert(text: str) -> str:
            if not _is_secret(text):
                raise ValueError
            return text

        want = f"at least {MIN_SECRET_CHARACTERS} random characters (python3 -c 'import secrets; print(secrets.token_urlsafe(48))')"
        return self._read(name, want, convert, default, required=not default) or ""

    def duration(self, name: str, default: str, *, least: str, most: str) -> timedelta:
        """A duration such as 12h or 30m, within bounds."""

        def convert(text: str) -> timedelta:
            value = parse_duration(text)
            if not parse_duration(least) <= value <= parse_duration(most):
                raise ValueError
            return value

        want = f"a duration between {least} and {most}, such as {default}"
        return self._read(name, want, convert, parse_duration(default), required=False) or parse_duration(default)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """A whole number within bounds."""

        def convert(text: str) -> int:
            value = int(text)
            if not least <= value <= most:
                raise ValueError
            return value

        value = self._read(name, f"a whole number between {least} and {most}", convert, default, required=False)
        return default if value is None else value

    def url(self, name: str, default: str = "", *, https_only: bool, required: bool = False, bare: bool = False) -> str:
        """An origin or URL without trailing slash, query or user info; plain http only on loopback, and only if allowed.

        `bare`: without a path.
        """

        def convert(text: str) -> str:
            parts = urlsplit(text)
            if (
                parts.scheme not in {"https", "http"}
                or not parts.hostname
                or parts.query
                or parts.fragment
                or parts.username
                or (bare and parts.path.strip("/"))
            ):
                raise ValueError
            if parts.scheme == "http" and (https_only or parts.hostname not in _LOOPBACK):
                raise ValueError
            _ = parts.port
            return text.rstrip("/")

        want = ("an https:// URL" if https_only else "an https:// URL, or http:// on localhost") + (
            " without a path" if bare else ""
        )
        return self._read(name, want, convert, default, required=required) or ""

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of `choices`."""

        def convert(text: str) -> str:
            if text not in choices:
                raise ValueError
            return text

        return self._read(name, "one of " + ", ".join(choices), convert, default, required=False) or default

    def networks(self, name: str) -> tuple[str, ...]:
        """A comma-separated list of networks or addresses: one that cannot be read is a fault now, not at each request."""

        def convert(text: str) -> tuple[str, ...]:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return tuple(str(ipaddress.ip_network(part, strict=False)) for part in parts)

        return self._read(name, "comma-separated networks, such as 10.0.0.0/8", convert, (), required=False) or ()

    def role_patterns(self, name: str) -> tuple[str, ...]:
        """A comma-separated list of WHERE/ROLE with `*`: one without a slash, which would match nothing, is a fault now."""

        def convert(text: str) -> tuple[str, ...]:
            parts = tuple(part.strip() for part in text.split(",") if part.strip())
            if not all(all(part.partition("/")[::2]) for part in parts):
                raise ValueError
            return parts

        return self._read(name, "comma-separated WHERE/ROLE, such as production/*", convert, (), required=False) or ()

    def mail_server(self, name: str) -> dict[str, Any]:
        """`smtps://user:password@host:port` (TLS from the start) or `smtp://…` (STARTTLS, never without it but on loopback) as
        Django's EMAIL_ settings; {} where it is not set.
        """

        def convert(text: str) -> dict[str, Any]:
            parts = urlsplit(text)
            if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or parts.path.strip("/") or parts.query:
                raise ValueError
            tls = parts.scheme == "smtps"
            return {
                "EMAIL_HOST": parts.hostname,
                "EMAIL_PORT": parts.port or (465 if tls else 587),
                "EMAIL_HOST_USER": unquote(parts.username or ""),
                "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
                "EMAIL_USE_SSL": tls,
                "EMAIL_USE_TLS": not tls and parts.hostname not in _LOOPBACK,
            }

        want = "smtps://user:password@host:465, or smtp://user:password@host:587 with STARTTLS"
        return self._read(name, want, convert, {}, required=False) or {}

    def address(self, name: str, default: str) -> str:
        """An e-mail address."""

        def convert(text: str) -> str:
            if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", text):
                raise ValueError
            return text

        return self._read(name, "an e-mail address", convert, default, required=False) or default

    def role_arn(self, name: str) -> str:
        """The ARN of an IAM role; "" where it is not set."""

        def convert(text: str) -> str:
            if not re.fullmatch(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", text, re.ASCII):
                raise ValueError
            return text

        return self._read(name, "the ARN of an IAM role", convert, "", required=False) or ""

    def database(self, name: str, default: str = "", *, required: bool = False) -> dict[str, Any]:
        """`postgres://user:password@host:port/name` or `sqlite:///path` as a Django DATABASES entry.

        libpq's own parameters may follow a PostgreSQL URL (`?sslmode=verify-full&sslrootcert=…`); others are a fault.
        """

        def convert(text: str) -> dict[str, Any]:
            parts = urlsplit(text)
            if parts.scheme in {"postgres", "postgresql"}:
                database = unquote(parts.path.lstrip("/"))
                # A misspelt sslmode that is ignored would be a connection in clear.
                given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
                if not database or parts.fragment or not given.keys() <= _LIBPQ_PARAMETERS:
                    raise ValueError
                return {
                    "ENGINE": "config.postgresql",
                    "NAME": database,
                    "USER": unquote(parts.username or ""),
                    "PASSWORD": unquote(parts.password or ""),
                    "HOST": parts.hostname or "",
                    "PORT": str(parts.port or ""),
                    "CONN_MAX_AGE": 60,
                    "CONN_HEALTH_CHECKS": True,
                    "OPTIONS": {**_LIBPQ_DEFAULTS, **given},
                }
            if parts.scheme == "sqlite":
                path = unquote(text.removeprefix("sqlite:///"))
                if not path or path == text:
                    raise ValueError
                return {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": path,
                    "OPTIONS": {
                        # IMMEDIATE: a transaction that reads and then writes (audit chain, one-use ids) takes its
                        # write lock at the start, so that two of them wait for each other instead of failing.
                        "transaction_mode": "IMMEDIATE",
                        "timeout": 20,
                        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
                    },
                }
            raise ValueError

        want = (
            "postgres://user:password@host:port/name (with libpq's sslmode and the like behind a ?) or sqlite:///path"
        )
        fallback = convert(default) if default else {}
        return self._read(name, want, convert, fallback, required=required) or fallback

    def finish(self) -> None:
        """Raise ImproperlyConfigured naming every fault, or return."""
        unknown = sorted(
            key
            for key in self._values
            if key.startswith("ROLEGATE_") and key not in self.known and not key.startswith("ROLEGATE_TEST_")
        )
        self.faults += [
            f"{key} is not a setting of Rolegate: check its spelling in docs/settings.md." for key in unknown
        ]
        if self.faults:
            lines = "\n".join(f"  - {fault}" for fault in self.faults)
            raise ImproperlyConfigured(f"The environment has {len(self.faults)} fault(s):\n{lines}")
