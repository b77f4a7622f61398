"""What the overview says behind a reason of the log: something in words for every reason that a sign-in or a use can have."""

import ast
import re

import pytest
from django.conf import settings
from django.utils import translation

from config.demo_history import days
from federation.errors import AwsError
from federation.signin.oidc_reasons import Reason as OidcReason
from federation.signin.reasons import Reason as SamlReason
from portal.staff.provider_words import REASONS as OF_PROVIDERS
from portal.staff.reason_words import WORDS

# What a sign-in, credentials and a console go through, and what each raises with a reason of its own.
_ON_THE_WAY = (
    "flows/sign_in.py", "flows/access.py", "flows/latest_word.py", "flows/approvals.py", "flows/issue_credentials.py",
    "flows/device_exclusion.py", "flows/clock.py", "flows/provider_documents.py", "signin/oidc.py", "signin/jwks.py",
    "aws/sts.py", "aws/console.py", "aws/policy.py", "models/current.py", "mapping/engine.py",
)  # fmt: skip
# Faults of this installation, which the doctor tells of before anybody meets them; a mapping's own words; no refusal at all.
_ELSEWHERE = {
    "token_endpoint_auth_method_unsupported", "rule_allows", "console_duration_out_of_range",
}  # fmt: skip


def _raised():
    """Every literal reason of these files."""
    for name in _ON_THE_WAY:
        for node in ast.walk(ast.parse((settings.BASE_DIR / "federation" / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                reason = node.args[0].value
                if (
                    called[:1].isupper()
                    and isinstance(reason, str)
                    and re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", reason)
                ):
                    yield reason


def _codes(error):
    yield error.code
    for further in error.__subclasses__():
        yield from _codes(further)


def test_every_reason_of_a_sign_in_or_a_use_has_words():
    known = {reason.value for reason in (*SamlReason, *OidcReason)} | set(_raised())
    known |= {code for code in _codes(AwsError) if code.startswith("sts_")}  # its reason where nothing else is said
    known |= {reason for reason, *_ in (*days._REFUSALS, *days._DENIALS)}
    assert len(known) > 180
    assert known - WORDS.keys() - _ELSEWHERE == set()


def test_no_words_are_for_a_reason_that_nobody_gives():
    sources = [path for name in ("federation", "portal") for path in (settings.BASE_DIR / name).rglob("*.py")]
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in sources
        if path.name not in {"provider_words.py", "reason_words.py"}
    )
    assert [
        one
        for one in WORDS
        if one not in OF_PROVIDERS and f'"{one}"' not in code and f"{one.removesuffix('_rate')}" not in code
    ] == []


@pytest.mark.parametrize("language", ["de", "ja"])
@pytest.mark.parametrize("reason", ["code_expired", "claims_too_old", "sts_throttled", "duplicate_id", "expired"])
def test_the_words_are_in_the_readers_language(reason, language):
    english = str(WORDS[reason])
    with translation.override(language):
        assert str(WORDS[reason]) != english
