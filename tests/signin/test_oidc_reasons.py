"""Every reason for refusing is raised somewhere, and asserted somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from federation.signin.oidc_reasons import Reason, refused

ROOT = Path(__file__).resolve().parents[2]
CODE = "".join((ROOT / f"federation/signin/{name}.py").read_text() for name in ("oidc", "oidc_claims", "jwks"))
TESTS = "".join(path.read_text() for path in ROOT.glob("tests/*/test_oidc*.py") if path != Path(__file__).resolve())


@pytest.mark.parametrize("reason", list(Reason))
def test_reason(reason):
    assert re.search(rf"\bReason\.{reason.name}\b", CODE)
    assert f'"{reason.value}"' in TESTS
    assert reason.value == reason.name.lower()
    assert refused(reason).reason == reason.value


def test_nothing_is_refused_for_a_reason_that_is_not_listed():
    assert "OidcRefused(" in CODE
    assert re.findall(r"OidcRefused\((?!Reason\.)", re.sub(r"Raises.*|``.*", "", CODE)) == []
