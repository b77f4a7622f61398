"""A real slapd for the tests of this folder; each test finds it furnished and empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.slapd import BASE, READER, READER_PASSWORD, Authority, Slapd


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def running_slapd(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd") / "server", authority).start().furnish()
    yield server
    server.stop()


@pytest.fixture
def slapd(running_slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> Slapd:
    running_slapd.empty()
    monkeypatch.setenv("TEST_LDAP_PASSWORD", READER_PASSWORD)
    return running_slapd


@pytest.fixture
def entry(slapd: Slapd):
    """The entry of `directories` that reads this server, as YAML's flow style has it; more keys are LDAP's."""

    def make(**more) -> str:
        keys = {
            "url": slapd.tls_url, "base_dn": f"'{BASE}'", "bind_dn": f"'{READER}'", "password": '"${TEST_LDAP_PASSWORD}"',
            "ca_certificate": repr(slapd.authority.pem).replace("'", '"'), **more,
        }  # fmt: skip
        return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"

    return make
