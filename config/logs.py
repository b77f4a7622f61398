"""Logging: one JSON object a line, with the request id, and nothing secret.

Redaction is the second fence: the first is that no code passes a secret to a logger (the canary tests prove both).
"""

from __future__ import annotations

import logging
import re
import traceback
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import structlog

from federation.redaction import REDACTED, without_random, without_secrets

_SECRET_KEYS = re.compile(
    r"(secret|password|token|assertion|samlresponse|authorization|cookie|private|code_verifier|sessionkey)",
    re.IGNORECASE,
)
_DATABASE_DETAIL = re.compile(
    r"^(DETAIL|CONTEXT):.*?(?=\n\n(?:The above|During handling)|\Z)", re.MULTILINE | re.DOTALL
)
_PLAIN = (date, timedelta, uuid.UUID, Path)


def redact(value: Any, key: str = "") -> Any:
    """`value` with anything that looks secret replaced, by the name of its key or by its own form.

    Objects are named, not shown: a request's repr has its query in it, and there the provider's code.
    """
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, key) for item in value]
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if key and key not in {"event", "code", "reason"} and _SECRET_KEYS.search(key):
            return REDACTED
        # access key ids (ASIA…) are kept only where they are named: for joining with CloudTrail
        return value if key == "access_key_id" else without_secrets(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, _PLAIN) else f"<{type(value).__name__}>"


def traceback_text(exc_info: Any) -> str:
    """A traceback as the log may hold it: never a local variable, and of the messages nothing that could be a secret.

    The messages are those of whatever broke, and libraries quote what they could not read. So every long run of mixed
    letters and digits goes, whatever it is; and what PostgreSQL says under DETAIL, which is the row.
    """
    text = "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    lines = _DATABASE_DETAIL.sub(r"\1: [left out]", text).split("\n")
    return "\n".join(line if line.startswith('  File "') else without_random(line) for line in lines)


def _redact_event(_logger: Any, _method: str, event: Any) -> Any:
    return {key: value if key.startswith("_") else redact(value, key) for key, value in event.items()}


def _add_extra(_logger: Any, _method: str, event: Any) -> Any:
    """What a standard-library call gave as `extra`: `log.warning(…, extra={"region": …})`. Plain values only."""
    given = event["_record"].__dict__
    known = logging.LogRecord("", 0, "", 0, "", (), None).__dict__
    for key in given.keys() - known.keys() - event.keys():
        if not key.startswith("_") and (given[key] is None or isinstance(given[key], str | int | float)):
            event[key] = given[key]
    return event


def logging_config(level: str) -> dict[str, Any]:
    """A Django LOGGING dictionary; standard-library and structlog records take the same road.

    DEBUG is for our own code: at that level libraries write down what they work on. signxml does so with each assertion,
    botocore with each answer, Django's templates with the credentials on the page.
    """
    others = "INFO" if level == "DEBUG" else level
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.ExceptionRenderer(traceback_text),
        _redact_event,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [_add_extra, *shared],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": others},
        "loggers": {
            **{name: {"level": level} for name in ("config", "federation", "portal")},
            "django": {"handlers": [], "level": others, "propagate": True},
            # Django logs every 4xx at WARNING with the path; ours are logged once, by portal.middleware, with their reason.
            "django.request": {"handlers": [], "level": "ERROR", "propagate": True},
            # Any stranger can cause these (a forged Host, too many fields), and Django adds a traceback: portal.views.errors
            # writes one line for each.
            "django.security": {"handlers": [], "level": "CRITICAL", "propagate": True},
            "botocore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            "requests": {"level": "WARNING"},
        },
    }
