"""The demo's directory against the real gateway: everybody is pushed once, and the broken export waits for a person."""

from __future__ import annotations

import pytest

from demo.cast import CAST
from demo.company import directory as pushing
from demo.company.directory import CompanyDirectory
from demo.company.people import everybody
from tests.live import Gateway, mapping_document

PEOPLE = everybody()
LOST = {actor.email for actor in PEOPLE.values() if actor.department in pushing.LOST}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("directory"))
    try:
        gateway.start()
        provider = {"slug": "corp", "oidc": {"issuer": "http://127.0.0.1:9/oidc", "client_id": "rolegate"}}
        entry = {"slug": "corp", "provider": "corp", "scim": {}, "subject": "externalId", "groups": "add"}
        gateway.apply({**mapping_document([provider]), "directories": [entry]})
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def directory(gateway):
    token = gateway.manage("tokens", "create", "directory", "--scope", "scim:corp").strip()
    directory = CompanyDirectory(gateway.url, token, PEOPLE)
    yield directory
    directory.stop()


def inactive(gateway):
    return {name for (name,) in gateway.rows("SELECT user_name FROM federation_directoryuser WHERE NOT active")}


def test_nobody_of_the_cast_is_in_what_the_export_lost():
    assert LOST
    assert not {actor.email for actor in CAST.values()} & LOST
    assert len(LOST) > len(PEOPLE) / 5  # what the brake holds


def test_everybody_is_pushed_once_and_the_broken_export_waits_until_it_is_accepted(gateway, directory):
    groups = {group for actor in PEOPLE.values() if not actor.overage for group in actor.groups}
    assert directory.push() == len(PEOPLE) + len(groups)
    told = dict(gateway.rows("SELECT external_id, user_name FROM federation_directoryuser"))
    assert told == {actor.subject: actor.email for actor in PEOPLE.values()}
    inside = gateway.rows(
        "SELECT g.display_name, u.user_name FROM federation_membership m JOIN federation_directorygroup g ON g.id = m.group_id "
        "JOIN federation_directoryuser u ON u.id = m.user_id"
    )
    assert set(inside) == {
        (group, actor.email) for actor in PEOPLE.values() if not actor.overage for group in actor.groups
    }
    assert directory.push() == 0
    assert directory.send_broken_export() is False
    held = gateway.manage("held")
    assert "bulk:corp  corp: many people or groups at once" in held
    assert f"{len(LOST)} of {len(PEOPLE)} would go (too_many_removed)" in held
    assert held.count("would go") == 1
    assert inactive(gateway) == set()

    gateway.manage("held", "accept", "bulk:corp")
    assert directory.send_broken_export() is True
    assert inactive(gateway) == LOST
    assert directory.push() == 0  # nobody is made a second time, and nobody is there any more whom it could disable
    assert gateway.manage("held").strip() == "Nothing waits."
