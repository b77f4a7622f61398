"""Several gateways on one machine: which one is meant, and that none reads what is another's."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.double import ACCOUNT, GatewayDouble
from tests.cli.laptop import Laptop


@pytest.fixture
def other() -> Iterator[GatewayDouble]:
    """Another DOUBLE, with a role of its own."""
    double = GatewayDouble().start()
    double.roles = [double.role("mine-prod", "222233334444", "ReadOnly")]
    yield double
    double.stop()


@pytest.fixture
def both(double: GatewayDouble, other: GatewayDouble, laptop: Laptop) -> Laptop:
    """Signed in to both; the first is the default."""
    opener = laptop.folder / "opener"
    opener.write_text(
        "#!/usr/bin/env python3\nimport sys, urllib.request, urllib.parse as p\nq = p.parse_qs(p.urlsplit(sys.argv[1]).query)\n"
        'urllib.request.urlopen(q["redirect_uri"][0] + "?" + p.urlencode({"code": "c", "state": q["state"][0]}))\n'
    )
    opener.chmod(0o755)
    laptop.environment["BROWSER"] = str(opener)
    for gateway in (other, double):
        laptop.run("login", gateway.url)
    return laptop


def test_the_one_signed_in_to_last_and_the_one_named(double: GatewayDouble, other: GatewayDouble, both: Laptop) -> None:
    assert both.credentials("ReadOnly")["AccountId"] == ACCOUNT
    for named in (["--gateway", other.url], ["--gateway", f":{other.port}"]):
        assert both.credentials("ReadOnly", *named)["AccountId"] == "222233334444"
    assert both.credentials("ReadOnly", ROLEGATE_GATEWAY=other.url)["AccountId"] == "222233334444"
    assert both.credentials("ReadOnly")["AccountId"] == ACCOUNT
    assert "Several gateways match" in both.run("roles", "--gateway", "127.0.0.1", status=2).stderr


def test_no_token_goes_to_the_wrong_one(double: GatewayDouble, other: GatewayDouble, both: Laptop) -> None:
    sent: dict[str, set[str]] = {"double": set(), "other": set()}
    for name, gateway in (("double", double), ("other", other)):

        def note(handler, name=name, gateway=gateway):
            sent[name].add(handler.headers["Authorization"])
            return gateway._usual("/api/v1/roles", b"", handler)

        gateway.answers["/api/v1/roles"] = note
    both.run("roles", "--refresh")
    both.run("roles", "--refresh", "--gateway", other.url)
    assert len(sent["double"]) == len(sent["other"]) == 1
    assert sent["double"] != sent["other"]


def test_status_and_logout(double: GatewayDouble, other: GatewayDouble, both: Laptop) -> None:
    listed = json.loads(both.run("status", "--json").stdout)["gateways"]
    assert {(one["gateway"], one["default"], one["signed_in"]) for one in listed} == {
        (double.url, True, True),
        (other.url, False, True),
    }
    both.run("logout", "--gateway", other.url)
    assert other.asked["/oauth/revoke"] == 1
    assert double.asked["/oauth/revoke"] == 0
    assert both.credentials("ReadOnly")["AccountId"] == ACCOUNT
    both.run("logout", "--all")
    assert double.asked["/oauth/revoke"] == 1


def test_each_has_its_block_of_profiles(double: GatewayDouble, other: GatewayDouble, both: Laptop) -> None:
    both.run("configure")
    both.run("configure", "--gateway", other.url)
    parser = configparser.RawConfigParser()
    parser.read(both.environment["AWS_CONFIG_FILE"])
    lines = {name: parser[name]["credential_process"] for name in parser.sections()}
    assert f"--gateway {double.url} " in lines["profile shop-prod-ReadOnly"]
    assert f"--gateway {other.url} " in lines["profile mine-prod-ReadOnly"]
    # A name that both would give belongs to whoever was first.
    other.roles.append(other.role("shop-prod", "222233334444", "ReadOnly"))
    said = both.run("configure", "--gateway", other.url, "--prune").stderr
    assert "shop-prod-ReadOnly: the file has a profile of that name already" in said
    both.run("configure", "--remove")
    text = Path(both.environment["AWS_CONFIG_FILE"]).read_text()
    assert double.url not in text
    assert "mine-prod" in text
