"""credentials: what an SDK is handed, what is kept, and when it is served."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import time
from pathlib import Path

import botocore.session
import pytest

from tests.cli.double import ROLE, GatewayDouble, stamp
from tests.cli.laptop import Laptop
from tests.cli.town import Town
from tests.live import caller_identity


def _age(laptop: Laptop, *, left: float) -> None:
    """Makes the cached credentials so old that they have this many seconds left."""
    (path,) = [path for path in laptop.cached("[0-9]*") if "." not in path.name]
    _, _, body = path.read_bytes().partition(b"\n")
    now = time.time()
    path.write_bytes(b"rolegate-1 %d %d\n" % (now - 1800, now + left - 900) + body)


def test_they_work_at_aws(stage: Town, alice: Laptop) -> None:
    document = alice.credentials("shop-prod/ReadOnly")
    assert document["Version"] == 1
    assert document["AccountId"] == "111122223333"
    assert ":assumed-role/ReadOnly/" in caller_identity(stage.aws, document)
    (path,) = [path for path in alice.cached("[0-9]*") if path.suffix != ".lock"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


_LINES = {"env": r"export (\w+)=(.*)", "fish": r"set -gx (\w+) '(.*)'", "powershell": r"\$Env:(\w+) = '(.*)'"}
_NAMES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "SessionToken": "AWS_SESSION_TOKEN",
}


@pytest.mark.parametrize("form", ["env", "fish", "powershell"])
def test_the_lines_of_each_shell_hold_the_same(alice: Laptop, form: str) -> None:
    document = alice.credentials("shop-prod/ReadOnly")
    lines = alice.run("credentials", "--role", "shop-prod/ReadOnly", "--format", form).stdout.splitlines()
    found = {}
    for line in lines:
        match = re.fullmatch(_LINES[form], line)
        assert match is not None, line.split("=")[0]
        found[match[1]] = shlex.split(match[2])[0] if form == "env" else match[2]
    assert {name: found[variable] for name, variable in _NAMES.items()} == {name: document[name] for name in _NAMES}
    assert found["AWS_CREDENTIAL_EXPIRATION"] == document["Expiration"]
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "us-east-1"


def test_the_document_and_the_file_hold_the_same(alice: Laptop, tmp_path: Path) -> None:
    document = alice.credentials("shop-prod/ReadOnly")
    asked = ("credentials", "--role", "shop-prod/ReadOnly", "--format")
    assert json.loads(alice.run(*asked, "json").stdout) == document
    path = tmp_path / "credentials"
    path.write_text(alice.run(*asked, "file", "--profile-name", "now").stdout)
    core = botocore.session.Session(profile="now")
    core.set_config_variable("credentials_file", str(path))
    core.set_config_variable("config_file", str(tmp_path / "none"))
    frozen = core.get_credentials().get_frozen_credentials()
    assert tuple(frozen)[:3] == tuple(document[name] for name in _NAMES)
    assert "cannot be a profile's name" in alice.run(*asked, "file", "--profile-name", "a]b", status=2).stderr


def test_env_can_be_evaluated(alice: Laptop) -> None:
    document = alice.credentials("shop-prod/ReadOnly")
    text = alice.run("env", "shop-prod/ReadOnly").stdout
    done = subprocess.run(
        ["bash", "-euc", f"{text}\nprintenv AWS_SESSION_TOKEN"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == document["SessionToken"]
    text = alice.run("env", "shop-prod/ReadOnly", SHELL="/usr/bin/fish").stdout
    done = subprocess.run(
        ["fish", "-c", f"{text}\nprintenv AWS_SESSION_TOKEN"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == document["SessionToken"]


def test_read_only_and_duration_are_asked_for_and_kept_apart(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    plain = laptop.credentials(ROLE)
    narrow = laptop.credentials(ROLE, "--read-only", "--duration", "90m")
    assert plain["AccessKeyId"] != narrow["AccessKeyId"]
    assert double.bodies[-1] == {"role_arn": ROLE, "policy": "read-only", "duration": 5400}
    assert laptop.credentials(ROLE) == plain
    laptop.run("credentials", "--role", ROLE, "--duration", "5m", status=2)


def test_a_hit_asks_nobody_and_waits_for_no_lock(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    first = laptop.credentials(ROLE)
    asked = sum(double.asked.values())
    import fcntl

    locks = [
        path.open("r+")
        for path in [*laptop.cached("*.lock"), laptop.session_file().with_name("session.lock")]
        if path.exists()
    ]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert laptop.credentials(ROLE) == first
    assert laptop.credentials(ROLE, "--quiet") == first  # not noted yet: the long way
    assert sum(double.asked.values()) == asked
    assert len(locks) > 1
    for lock in locks:
        lock.close()


def test_none_are_served_with_fifteen_minutes_left(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    first = laptop.credentials(ROLE)
    _age(laptop, left=905)
    assert laptop.credentials(ROLE) == first
    _age(laptop, left=899)
    assert laptop.credentials(ROLE) != first


def test_what_is_still_valid_is_served_when_the_gateway_is_away(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    first = laptop.credentials(ROLE)
    double.stop()
    _age(laptop, left=600)
    done = laptop.run("credentials", "--role", ROLE)
    assert json.loads(done.stdout) == first
    assert "Nothing answers" in done.stderr
    assert "end in 10 min" in done.stderr
    _age(laptop, left=5)
    assert "Nothing answers" in laptop.run("credentials", "--role", ROLE, status=5).stderr


def test_a_refusal_is_not_papered_over_by_the_cache(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    laptop.credentials(ROLE)
    _age(laptop, left=600)
    double.answers["/api/v1/credentials"] = (
        403,
        {"code": "access_denied", "detail": "You do not have this role.", "request_id": "r1"},
    )
    done = laptop.run("credentials", "--role", ROLE, status=4)
    assert done.stdout == ""
    assert "request id r1" in done.stderr


def test_an_expired_access_token_is_renewed_once_for_fifty_processes(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop, access=False)
    double.delay = 0.2
    processes = [laptop.start("credentials", "--role", ROLE) for _ in range(50)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 50
    assert len(answers) == 1
    assert double.asked["/oauth/token"] == 1
    assert double.asked["/api/v1/credentials"] == 1
    assert double.reused == []


def test_fifty_processes_without_a_sign_in_open_one_tab(stage: Town, laptop: Laptop) -> None:
    laptop.run("login", stage.url)
    laptop.session_file().unlink()
    opened = len(laptop.tabs)
    processes = [laptop.start("credentials", "--role", "arn:aws:iam::111122223333:role/ReadOnly") for _ in range(50)]
    answers = {process.communicate(timeout=60) for process in processes}
    assert {process.returncode for process in processes} == {0}, answers
    assert len({out for out, _ in answers}) == 1
    assert len(laptop.tabs) == opened + 1


def test_who_waited_for_a_failure_does_not_repeat_it(double: GatewayDouble, laptop: Laptop) -> None:
    """Else fifty processes would wait for a dead gateway one after the other."""
    double.sign_in(laptop)
    double.delay = 4.0  # as long as six processes may take to start on a busy machine
    double.answers["/api/v1/credentials"] = (
        502,
        {"code": "sts_unreachable", "detail": "AWS cannot be reached.", "request_id": "r"},
    )
    processes = [laptop.start("credentials", "--role", ROLE) for _ in range(6)]
    for process in processes:
        assert process.communicate(timeout=60)[0] == ""
        assert process.returncode == 7
    assert double.asked["/api/v1/credentials"] == 1


def test_the_clocks_differ(double: GatewayDouble, laptop: Laptop) -> None:
    """This machine is ten minutes behind: credentials of an hour are served for 35 minutes of its own."""
    double.sign_in(laptop)
    double.clock = 600
    done = laptop.run("credentials", "--role", ROLE)
    assert "clock is 10 min behind" in done.stderr
    (path,) = [path for path in laptop.cached("[0-9]*") if "." not in path.name]
    until = int(path.read_bytes().split(None, 3)[2])
    assert abs(until - (time.time() + 3600 - 900)) < 10
    assert json.loads(done.stdout)["Expiration"] > stamp(3600 + 500)


def test_credentials_that_others_can_read_are_refused(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    laptop.credentials(ROLE)
    (path,) = [path for path in laptop.cached("[0-9]*") if "." not in path.name]
    path.chmod(0o640)
    done = laptop.run("credentials", "--role", ROLE, status=8)
    assert done.stdout == ""
    assert "Others can read" in done.stderr


def test_what_is_shorter_than_was_asked_for_is_said(stage: Town, alice: Laptop) -> None:
    """AWS would refuse; the gateway gives what there can be, and nobody wonders why their session has ended."""
    done = alice.run("credentials", "--role", "shop-prod/ReadOnly", "--duration", "12h")
    assert "You asked for 12 h; the role allows 1 h." in done.stderr
    assert alice.run("credentials", "--role", "shop-prod/ReadOnly", "--duration", "60m").stderr == ""
    assert alice.run("credentials", "--role", "shop-prod/ReadOnly", "--duration", "2h", "--quiet").stderr == ""
