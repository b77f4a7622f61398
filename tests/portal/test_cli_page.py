"""The command line page: the pairings a person has, and ending them."""

import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from datetime import timedelta

import pytest
from django.conf import settings

from federation.models import TokenFamily
from portal import cli_package
from tests import cast
from tests.portal.conftest import Browser, soup, text_of
from tests.processes import need_program


@pytest.fixture
def paired(clock):
    def do(person, label="curl/8 on \u202elaptop <b>"):
        return TokenFamily.objects.create(
            person=person, client_id="rolegate-cli", label=label, scope="roles credentials", address="192.0.2.9",
            session_epoch=person.session_epoch, created=clock.now, last_used=clock.now, expires=clock.now + timedelta(days=7),
        )  # fmt: skip

    return do


def test_nothing_paired(publish, signed_in):
    publish()
    assert "No program is paired with you" in text_of(signed_in().get("/cli/"))


def test_a_pairing_is_listed_and_ended(publish, signed_in, paired):
    publish()
    browser = signed_in()
    family = paired(browser.person)
    page = browser.get("/cli/")
    row = soup(page).select_one("tbody tr").get_text(" ")
    assert "Rolegate command line" in row
    assert "192.0.2.9" in row
    assert "curl/8 on  U+202E laptop <b>" in row
    answer = browser.submit(page, f"/cli/{family.pk}/revoke", follow=True)
    assert "The pairing has ended" in text_of(answer)
    family.refresh_from_db()
    assert (family.revoked_reason, family.revoked_at is not None) == ("by_person", True)


def test_nobody_ends_another_persons_pairing(publish, signed_in, paired):
    publish()
    alice, bob = signed_in(), signed_in(cast.bob())
    family = paired(bob.person)
    token = soup(alice.get("/signout/")).find("input", attrs={"name": "csrfmiddlewaretoken"})["value"]
    for wanted in (family.pk, uuid.uuid4()):
        answer = alice.post(f"/cli/{wanted}/revoke", {"csrfmiddlewaretoken": token})
        assert answer.status_code == 404
    family.refresh_from_db()
    assert family.revoked_at is None


def test_ending_needs_the_forms_token(publish, signed_in, paired):
    publish()
    browser = signed_in()
    assert browser.post(f"/cli/{paired(browser.person).pk}/revoke", {}).status_code == 403


@pytest.mark.parametrize(
    ("agent", "platform", "begins"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64)",
            "Linux and WSL",
            "sh -c 'mkdir -p ~/.local/bin && cd ~/.local/bin && curl -fsS http://",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
            "macOS",
            "sh -c 'mkdir -p ~/.local/bin && cd ~/.local/bin && curl -fsS http://",
        ),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Windows", 'mkdir -Force "$env:LOCALAPPDATA'),
    ],
)
def test_the_line_for_this_machine_comes_first(publish, signed_in, agent, platform, begins):
    publish()
    page = soup(signed_in().get("/cli/", headers={"user-agent": agent}))
    assert platform in page.find(id="install").get_text()
    assert page.find(id="install-best").get_text().startswith(begins)
    names = [tag["id"] for tag in page.find_all("pre")]
    assert len(names) == len(set(names)) == 11


def test_what_is_served_is_what_is_shown(publish, signed_in):
    publish()
    page = text_of(signed_in().get("/cli/"))
    for package in (cli_package.pyz(), cli_package.wheel()):
        answer = Browser().get(f"/cli/{package.name}")
        assert hashlib.sha256(answer.content).hexdigest() in page
        assert answer["Cache-Control"] == "public, max-age=300"
        assert Browser().get(f"/cli/{package.name}", headers={"if-none-match": answer["ETag"]}).status_code == 304
    assert Browser().get("/cli/other-0.1.0-py3-none-any.whl").status_code == 404


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_the_line_installs_what_is_shown_and_nothing_else(publish, signed_in, tmp_path, shell):
    """Also over an older one, which may be run already: a file with another digest must not take its place."""
    publish()
    line = soup(signed_in().get("/cli/")).find(id="install-best").get_text()
    served = tmp_path / "served"
    line = line.replace(f"{settings.ROLEGATE_URL}/cli/rolegate.pyz", served.as_uri())
    command = [need_program(shell, shell), "-c", line]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    target = tmp_path / ".local/bin/rolegate"
    served.write_bytes(cli_package.pyz().content)
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=tmp_path)
    said = subprocess.run([target, "--version"], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.startswith(f"rolegate {cli_package.version()} ")
    served.write_bytes(b"#!/bin/sh\necho of somebody else\n")
    assert subprocess.run(command, env=environment, check=False, capture_output=True, cwd=tmp_path).returncode
    assert target.read_bytes() == cli_package.pyz().content
    assert not os.access(tmp_path / ".local/bin/rolegate.new", os.X_OK)


def test_the_same_source_gives_the_same_bytes(tmp_path):
    """Built again, in another folder and at another time: somebody else can check what the gateway hands out."""
    folder = tmp_path / "cli"
    shutil.copytree(settings.BASE_DIR / "cli", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        os.utime(path, (1, 1))
    subprocess.run([sys.executable, "build_backend.py", "out.pyz"], cwd=folder, check=True, capture_output=True)
    assert (folder / "out.pyz").read_bytes() == cli_package.pyz().content
