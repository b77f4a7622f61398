"""The console's pages: one person for each right, in a mapping that gives each right to one group."""

from __future__ import annotations

import pytest

from federation.mapping.capabilities import RIGHTS
from tests import cast

RIGHT_NAMES = tuple(RIGHTS)
STAFF = f"""\
staff:
  - {{role: owner, groups: [cloud-platform]}}
  - {{role: mapper, groups: [mappers]}}
  - {{role: account-owner, groups: [staging-owners], accounts: {{ids: ["{cast.STAGING}"]}}}}
  - {{role: approver, groups: [sre-leads]}}
  - {{role: auditor, groups: ["audit-*"]}}
"""
DOCUMENT = cast.DOCUMENT.replace("staff:\n  - {role: owner, groups: [cloud-platform]}\n", STAFF)
GROUP_OF = {
    "owner": "cloud-platform",
    "mapper": "mappers",
    "account-owner": "staging-owners",
    "approver": "sre-leads",
    "auditor": "audit-team",
}
NAME_OF = {"owner": "carol", "mapper": "mike", "account-owner": "olga", "approver": "anna", "auditor": "dora"}


@pytest.fixture
def console(publish, gateway_keys, signed_in, clock):
    """A browser in which somebody with this right has just signed in."""
    publish(DOCUMENT, at=clock.now)

    def as_(right, *more, **details):
        groups = tuple(GROUP_OF[name] for name in (right, *more)) if right else ("engineering",)
        return signed_in(cast.identity(NAME_OF.get(right, "alice"), groups=groups, **details))

    return as_


@pytest.fixture
def owner(console):
    return console("owner")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """No worker runs here: whoever asks for one is told so at once."""
    monkeypatch.setattr("federation.flows.background._SECONDS_TO_ANSWER", 0.02)
    monkeypatch.setattr("federation.flows.background._SECONDS_TO_CONNECT", 0.2)
