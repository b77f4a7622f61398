"""The import contracts of pyproject.toml speak of every module there is: a new one cannot slip past a door."""

import pkgutil
import tomllib
from pathlib import Path

import pytest

import federation
import federation.signin
import portal

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}


def modules(package):
    return {f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)}


@pytest.mark.parametrize(
    ("name", "doors", "split"),
    [
        ("python3-saml has one door", {"federation.signin.saml"}, [federation.signin]),
        (
            "authlib has two doors: its client in signin.oidc, its server in portal.oauth",
            {"federation.signin.oidc", "portal.oauth"},
            [federation.signin, portal],
        ),
        ("boto3 has one door: federation.aws", {"federation.aws"}, []),
    ],
)
def test_a_vendor_library_has_no_door_but_these(name, doors, split):
    """`split`: packages in which a door stands, so that their other modules are listed one by one."""
    wanted = (modules(federation) | {"portal", "config"}) - {"federation.migrations"}
    for package in split:
        wanted = (wanted - {package.__name__}) | modules(package)
    assert set(CONTRACTS[name]["source_modules"]) == wanted - doors
