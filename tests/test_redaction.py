"""What has the form of a secret goes; what a message is about stays."""

import time

import pytest

from federation.redaction import REDACTED, without_random, without_secrets

KEY = "aB3/dE6+gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6kL"
COOKIE = "k3J9xQ2mZ7pL4tR8vB1nC6wY5sD0fGhA"


@pytest.mark.parametrize("secret", [KEY, COOKIE, KEY[:30], f"rlg_rt_{COOKIE}{COOKIE[:11]}", "A1b" * 100])
def test_a_long_mixed_run_goes_out_of_a_message(secret):
    assert without_random(f"cannot read '{secret}' here") == f"cannot read '{REDACTED}' here"


@pytest.mark.parametrize(
    "text",
    [
        "User: arn:aws:sts::111122223333:assumed-role/ReadOnly/alice-k3J9xQ2mZ7pL4tR8vB is not authorized",
        "arn:aws:iam::111122223333:saml-provider/Rolegate-2026-EuropeanCompanies",
        "request 00000000-0000-0000-0000-000000000000 of account 111122223333",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "django.db.utils.OperationalError at portal/middleware.py",
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    ],
)
def test_what_a_message_is_about_stays(text):
    assert without_random(text) == text


@pytest.mark.parametrize("end", ["", "\n-----END PRIVATE KEY-----\n"])
def test_a_private_key_goes_also_where_it_was_cut_short(end):
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB" + end
    assert without_secrets(f"key: {pem}") == f"key: {REDACTED}" + ("\n" if end else "")


def test_data_loses_only_what_has_the_form_of_our_secrets():
    thumbprint = "kid NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert without_secrets(thumbprint) == thumbprint
    assert without_secrets("x ASIATESTONLY00000001 y") == f"x {REDACTED} y"


def test_no_text_makes_it_slow():
    begun = time.process_time()
    for part in (
        "a",
        "eyJ",
        "eyJ_",
        "eyJaaaaaaaaaa.",
        "-----BEGIN A PRIVATE KEY-----",
        "arn:aws:",
        "arn:aws:iam::1:",
        "aB3-",
    ):
        without_random(part * (200_000 // len(part)))
    assert time.process_time() - begun < 5


def test_a_code_in_which_chance_has_put_no_digit_goes_too():
    """It happened: a session key of letters alone, quoted by a KeyError."""
    assert without_random("KeyError: 'XPwjpnUMSRKHkClFnvmnzCfqNTFKRKhS'") == f"KeyError: '{REDACTED}'"
    assert without_random("MultipleObjectsReturned: twice") == "MultipleObjectsReturned: twice"
