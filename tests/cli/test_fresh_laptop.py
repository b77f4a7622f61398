"""From a machine that has nothing to a listing of S3, with a real browser: the line of the portal's page, login, configure, aws."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.laptop import ROOT, Laptop
from tests.cli.town import Town
from tests.live import Visitor
from tests.processes import need_program


def _chromium(laptop: Laptop, decision: str = "Allow") -> str:
    """A program for BROWSER, which is Chromium with a profile of its own on this machine."""
    need_program("chromium", "chromium")
    opener = laptop.folder / "chromium"
    opener.write_text(
        f"#!/bin/sh\ncd {ROOT} && exec env -u PYTHONPATH HOME={laptop.folder} {sys.executable} -m tests.cli.real_browser alice '{decision}' "
        f'{laptop.folder}/profile {laptop.folder}/visit.json "$1" 2>>{laptop.folder}/browser.log\n'
    )
    opener.chmod(0o755)
    return str(opener)


def _visit(laptop: Laptop) -> dict[str, object]:
    path = laptop.folder / "visit.json"
    deadline = time.monotonic() + 20
    while not path.exists():  # the helper goes on while the browser still shows its page
        assert time.monotonic() < deadline, (laptop.folder / "browser.log").read_text()
        time.sleep(0.05)
    return dict(json.loads(path.read_text()))


def _line(stage: Town) -> str:
    """The first line that /cli/ shows to somebody on Linux."""
    visitor = Visitor()
    visitor.http.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64)"
    page = visitor.get(f"{stage.url}/signin/corp-oidc/?next=/cli/")
    page = visitor.submit(page, page.form("login", "password"), login="alice", password="wonderland")
    found = page.soup.find(id="install-best")
    assert found is not None, page.text
    return found.get_text()


def test_one_line_installs_it_and_three_more_list_a_bucket(stage: Town, tmp_path: Path) -> None:
    if not Path("/usr/bin/aws").exists():
        pytest.skip("the AWS CLI is not installed: apt-get install awscli")
    laptop = Laptop(tmp_path / "alice")
    home = laptop.folder
    # Nothing of ours, and nothing that says where things are: a laptop as it comes.
    environment = {
        "PATH": f"{home}/.local/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8",
        "BROWSER": _chromium(laptop), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["sh", "-ec", line], env=environment, cwd=home, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done

    shell(_line(stage))
    assert "Signed in to" in shell(f"rolegate login {stage.url}").stderr
    visit = _visit(laptop)
    assert "You are signed in" in str(visit["text"])
    assert visit["faults"] == []
    assert "shop-prod-ReadOnly" in shell("rolegate configure").stderr
    listing = f"aws --profile shop-prod-ReadOnly --endpoint-url {stage.aws.url} s3 ls"
    assert "shop-prod-orders" in shell(listing).stdout
    # The profile does not need the helper's file for as long as the credentials last.
    (home / ".local/bin/rolegate").unlink()
    assert "shop-prod-orders" in shell(listing).stdout


@pytest.mark.parametrize("decision", ["Allow", "Deny"])
def test_a_real_browser_comes_back_over_ipv6(stage: Town, laptop: Laptop, decision: str) -> None:
    """A machine without 127.0.0.1. The consent page's policy has to name the scheme for [::1]; Chromium judges."""
    laptop.prelude = "login.ADDRESSES = login.ADDRESSES[1:]"
    laptop.environment["BROWSER"] = _chromium(laptop, decision)
    done = laptop.run("login", stage.url, status=0 if decision == "Allow" else 4)
    visit = _visit(laptop)
    assert str(visit["url"]).startswith("http://[::1]:")
    assert visit["faults"] == []
    assert ("Signed in to" in done.stderr) == (decision == "Allow")


def test_the_console_opens_in_a_real_browser(stage: Town, alice: Laptop) -> None:
    done = alice.run("console", "shop-prod/ReadOnly", "--destination", "s3", BROWSER=_chromium(alice, ""))
    assert "is open in your browser" in done.stderr
    visit = _visit(alice)
    assert str(visit["url"]).startswith(stage.aws.url)
    assert "console.aws.amazon.com/s3/home" in str(visit["text"])
    assert "ReadOnly" in str(visit["text"])
