"""What the page of one's own activity says behind "refused" and "failed": a sentence for every reason that can stand there."""

import ast
import re

import pytest
from django.conf import settings
from django.utils import translation

from federation.errors import AwsError
from portal.own_reasons import _EXACT, _OTHER, own_reason

# What using a role, asking for one and deciding on a request go through.
_ON_THE_WAY = (
    "flows/access.py", "flows/latest_word.py", "flows/approvals.py", "flows/issue_credentials.py", "flows/open_console.py",
    "flows/device_exclusion.py", "flows/request_access.py", "flows/decide_requests.py", "aws/sts.py", "aws/console.py",
    "aws/policy.py", "models/current.py", "mapping/engine.py",
)  # fmt: skip
# No refusal; and a fault of the installation, which only its administrators can find, by the request id.
_ELSEWHERE = {"rule_allows", "no_active_key", "mapping_unreadable"}


def _raised():
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


def test_every_reason_that_may_stand_in_ones_own_activity_has_words():
    known = set(_raised()) | {code for code in _codes(AwsError) if code.startswith("sts_")}
    assert len(known) > 60
    assert {reason for reason in known if own_reason(reason) == str(_OTHER)} - _ELSEWHERE == set()


def test_no_words_are_for_a_reason_that_nobody_gives():
    code = "".join(path.read_text(encoding="utf-8") for path in (settings.BASE_DIR / "federation").rglob("*.py"))
    made = {f"already_{state}" for state in ("withdrawn", "expired", "active", "ended", "refused")}
    assert [
        one
        for one in _EXACT
        if f'"{one}"' not in code
        and f'"{one}:' not in code
        and f'"{one.removesuffix("_rate")}"' not in code
        and one not in made
    ] == []


def test_what_stands_behind_a_colon_does_not_count():
    assert (
        own_reason("not_requestable:no_matching_rule") == own_reason("no_matching_rule") != own_reason("never_heard_of")
    )


@pytest.mark.parametrize("language", ["de", "ja"])
def test_the_words_are_in_the_readers_language(language):
    english = {reason: own_reason(reason) for reason in (*_EXACT, "sts_error", "policy_not_json", "never_heard_of")}
    with translation.override(language):
        assert [reason for reason, words in english.items() if own_reason(reason) == words] == []
