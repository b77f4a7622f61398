"""The log's own fence: what comes in as a secret does not go out, whichever way it comes; what is useful does."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime

import pytest
import structlog
from django.conf import settings
from django.db import IntegrityError
from django.test import RequestFactory

from config.logs import logging_config, redact
from federation.redaction import REDACTED
from tests.cast import NOW

SECRET = "aB3/dE6+gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6kL"  # as AWS writes them: 40 characters
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----"


@pytest.fixture
def logged():
    """Call a function with a structlog and a standard-library logger; returns what the log's one line says."""
    lines = []
    handler = logging.Handler()
    options = dict(settings.LOGGING["formatters"]["json"])
    handler.setFormatter(options.pop("()")(**options))
    handler.emit = lambda record: lines.append(handler.format(record))
    root = logging.getLogger()
    root.addHandler(handler)

    def do(call):
        lines.clear()
        call(structlog.get_logger("federation.test"), logging.getLogger("federation.test"))
        (line,) = lines
        return json.loads(line)

    yield do
    root.removeHandler(handler)


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize("secret", [JWT, PEM, "rlg_at_" + "a" * 43, "ASIATESTONLY00000001", "A" * 200])
def test_what_looks_secret_goes_out_of_any_value(secret):
    for value in (secret, f"before {secret} after", [secret], {"detail": secret}, secret.encode(), {secret}):
        assert secret not in repr(redact(value))
    assert redact(f"before {JWT} after") == f"before {REDACTED} after"


@pytest.mark.parametrize("key", ["client_secret", "SessionToken", "SAMLResponse", "Authorization", "session_cookie"])
def test_what_is_called_secret_is_not_shown(key):
    assert redact({key: "x"}) == {key: REDACTED}


def test_what_is_needed_stays():
    moment, number = datetime(2026, 3, 2, tzinfo=UTC), uuid.UUID(int=7)
    plain = {
        "event": "token_refused",
        "code": "invalid_token",
        "access_key_id": "ASIATESTONLY00000001",
        "path": "/",
        "n": 1,
    }
    assert redact(plain) == plain
    assert redact({"at": moment, "id": number}) == {"at": str(moment), "id": str(number)}


def test_an_object_is_named_and_not_shown():
    request = RequestFactory().get("/oidc/entra/callback", {"code": "the-providers-code"})
    assert redact({"request": request}) == {"request": "<WSGIRequest>"}


def test_the_extra_of_a_standard_call_is_in_the_line(logged):
    line = logged(lambda _, log: log.warning("sts_attempt_failed", extra={"region": "eu-west-1", "token": "x"}))
    assert (line["event"], line["region"], line["token"]) == ("sts_attempt_failed", "eu-west-1", REDACTED)
    assert line["level"] == "warning"


def test_djangos_request_is_not_in_the_line(logged):
    request = RequestFactory().get("/oidc/entra/callback", {"code": "the-providers-code"})
    line = logged(lambda _, log: log.error("Internal Server Error", extra={"status_code": 500, "request": request}))
    assert line["status_code"] == 500
    assert "the-providers-code" not in json.dumps(line)


@pytest.mark.parametrize("secret", [SECRET, SECRET.replace("/", "_").replace("+", "-"), JWT, PEM])
def test_a_message_that_quotes_a_secret_loses_it_and_keeps_the_rest(logged, secret):
    error = raised(ValueError(f"cannot read {secret!r} of arn:aws:iam::111122223333:role/ReadOnly"))
    for call in (
        lambda log, _: log.error("failed", exc_info=error),
        lambda _, log: log.error("failed", exc_info=error),
    ):
        said = logged(call)["exception"]
        assert secret not in said
        assert SECRET[8:20] not in said
        assert said.endswith("of arn:aws:iam::111122223333:role/ReadOnly")
        assert "test_logs.py" in said
        assert "in raised" in said


def test_so_do_the_messages_of_its_causes(logged):
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise RuntimeError("in the middle") from cause
    except RuntimeError as caught:
        error = caught
    said = logged(lambda log, _: log.error("failed", exc_info=error))["exception"]
    assert SECRET not in said
    assert "KeyError: '[redacted]'" in said
    assert said.endswith("RuntimeError: in the middle")


def test_a_row_that_the_database_quotes_is_left_out(logged):
    cause = IntegrityError(
        'null value in column "at" violates not-null constraint\nDETAIL:  Failing row contains (7, Alice\n\nBob).\nmore'
    )
    try:
        raise RuntimeError("then") from cause
    except RuntimeError as caught:
        error = caught
    said = logged(lambda log, _: log.error("failed", exc_info=error))["exception"]
    assert "null value in column" in said
    assert "DETAIL: [left out]\n\nThe above exception was the direct cause" in said
    assert said.endswith("RuntimeError: then")
    assert "Alice" not in said
    assert "Bob" not in said


def test_no_local_variable_is_in_a_traceback(logged):
    def breaks(credentials):
        raise RuntimeError(len(credentials))

    try:
        breaks("TEST-ONLY-{}".format("local-value"))
    except RuntimeError as caught:
        error = caught
    assert "TEST-ONLY-local-value" not in logged(lambda _, log: log.error("failed", exc_info=error))["exception"]


def test_the_line_says_when(logged):
    line = logged(lambda log, _: log.warning("x", now=NOW))
    assert line["timestamp"].endswith("Z")
    assert line["logger"] == "federation.test"


def test_debug_is_for_our_own_code():
    configured = structlog.get_config()
    made = logging_config("DEBUG")
    structlog.configure(**configured)
    levels = {name: logger["level"] for name, logger in made["loggers"].items()}
    assert made["root"]["level"] == "INFO"
    assert {name for name, level in levels.items() if level == "DEBUG"} == {"config", "federation", "portal"}
