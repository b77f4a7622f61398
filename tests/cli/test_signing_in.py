"""login, logout, status: with the browser, with a code, and what is kept of it."""

from __future__ import annotations

import json
import re
import stat
import time

import pytest

from tests.cli.laptop import Laptop
from tests.cli.town import Town
from tests.live import Visitor


def _sign_in_at(stage: Town, visitor: Visitor, who: str = "alice", password: str = "wonderland") -> None:
    page = visitor.get(f"{stage.url}/signin/corp-oidc/?next=/")
    visitor.submit(page, page.form("login", "password"), login=who, password=password)


def test_with_the_browser(stage: Town, laptop: Laptop) -> None:
    done = laptop.run("login", stage.url)
    assert done.stdout == ""  # stdout is for programs
    assert "Signed in to" in done.stderr
    assert "alice@example.com" in done.stderr
    (tab,) = laptop.tabs
    assert "code_challenge_method=S256" in tab
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A" in tab
    path = laptop.session_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert laptop.run("status").stdout.startswith(stage.url)
    assert stage.gateway.audit("client.paired")[-1]["data"]["grant"] == "authorization_code"


def test_with_a_code(stage: Town, laptop: Laptop) -> None:
    """Where there is no browser: over SSH, here."""
    del laptop.environment["BROWSER"]
    process = laptop.start("login", stage.url, SSH_CONNECTION="192.0.2.7 1 192.0.2.8 22")
    assert process.stderr is not None
    said = ""
    while not (code := re.search(r"Type  ([A-Z]{4}-[A-Z]{4})", said)):
        said += process.stderr.readline()
    assert "no browser here (ssh)" in said
    assert f"Open  {stage.url}/device/" in said
    visitor = Visitor()
    _sign_in_at(stage, visitor)
    page = visitor.get(f"{stage.url}/device/")
    page = visitor.submit(page, page.form("user_code"), user_code=code[1])
    visitor.submit(page, page.form("decision"), decision="allow")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert stage.gateway.audit("client.paired")[-1]["data"]["grant"] == "device_code"
    assert laptop.credentials("shop-prod/ReadOnly")["AccountId"] == "111122223333"
    refused = laptop.run("credentials", "--role", "shop-staging/ReadOnly", status=4)
    assert refused.stdout == ""
    assert "rolegate login --browser" in refused.stderr
    assert "pairing_too_weak" in refused.stderr
    assert "pairing_too_weak" in laptop.run("console", "shop-staging/ReadOnly", "--print", status=4).stderr
    # Remembered for such places, and for such places alone.
    known = json.loads((laptop.folder / "config/rolegate/gateways.json").read_text())
    assert known["gateways"][stage.url]["sign_in"] == {"ssh": "device"}


def test_denied_at_the_browser(stage: Town, new_laptop) -> None:
    laptop = new_laptop("alice", decision="deny")
    done = laptop.run("login", stage.url, status=4)
    assert "You chose not to pair this command line" in done.stderr
    assert laptop.run("status", status=3).returncode == 3


def test_logout_revokes_at_the_gateway(stage: Town, laptop: Laptop) -> None:
    laptop.run("login", stage.url)
    laptop.credentials("shop-prod/ReadOnly")
    kept = json.loads(laptop.session_file().read_text())
    before = len(stage.gateway.audit("client.revoked"))
    assert "Signed out" in laptop.run("logout").stderr
    assert len(stage.gateway.audit("client.revoked")) == before + 1
    assert not list((laptop.folder / "state/rolegate").glob("*/session.json"))
    assert [path.name for path in laptop.cached() if path.suffix != ".lock"] == []
    # And what was kept is worth nothing any more.
    laptop.run("login", stage.url)
    path = laptop.session_file()
    path.write_text(json.dumps({**kept, "access_until": time.time() - 1}))
    done = laptop.run("credentials", "--role", "shop-prod/ReadOnly", status=3, ROLEGATE_LOGIN="never")
    assert "rolegate login" in done.stderr


def test_another_person_finds_nothing_of_the_first(stage: Town, laptop: Laptop, new_laptop) -> None:
    laptop.run("login", stage.url)
    laptop.credentials("shop-prod/ReadOnly")
    laptop.environment["BROWSER"] = new_laptop("bob").environment["BROWSER"]
    laptop.run("login", stage.url)
    assert [path.name for path in laptop.cached("[0-9]*") if path.suffix != ".lock"] == []
    done = laptop.run("credentials", "--role", "arn:aws:iam::111122223333:role/ReadOnly", status=4)
    assert "access_denied" in done.stderr


def test_nobody_has_signed_in(laptop: Laptop) -> None:
    for command in (["roles"], ["credentials", "--role", "x/y"], ["status"]):
        assert "rolegate login https://" in laptop.run(*command, status=3).stderr


@pytest.mark.parametrize(
    "address", ["http://gate.example.com", "ftp://gate.example.com", "https://user@gate.example.com", "x y"]
)
def test_an_address_that_would_not_be_safe(laptop: Laptop, address: str) -> None:
    laptop.run("login", address, status=2)


def test_a_session_that_others_can_read_is_refused(stage: Town, laptop: Laptop) -> None:
    laptop.run("login", stage.url)
    path = laptop.session_file()
    path.chmod(0o644)
    assert "Others can read" in laptop.run("roles", status=8).stderr
    path.chmod(0o600)
    path.parent.chmod(0o755)
    assert "Others can enter" in laptop.run("roles", status=8).stderr
