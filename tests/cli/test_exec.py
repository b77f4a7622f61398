"""exec: the child has the role and nobody else, signals reach it, its end is ours, and its credentials are renewed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop
from tests.cli.town import Town

_WHO = """
import boto3, sys
print(boto3.client("sts", region_name="us-east-1", endpoint_url=sys.argv[1]).get_caller_identity()["Arn"])
"""


def _boto3(laptop: Laptop, stage: Town, *options: str) -> str:
    # For this run alone: the machine is that of every test here.
    ours = ":".join([laptop.environment["PYTHONPATH"], *(path for path in sys.path if "site-packages" in path)])
    child = [sys.executable, "-c", _WHO, stage.aws.url]
    done = laptop.run("exec", "shop-prod/ReadOnly", *options, "--", *child, PYTHONPATH=ours)
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--env"]])
def test_boto3_in_the_child(stage: Town, alice: Laptop, options: list[str]) -> None:
    assert ":assumed-role/ReadOnly/" in _boto3(alice, stage, *options)


def test_the_persons_own_default_profile_does_not_come_first(stage: Town, alice: Laptop) -> None:
    """botocore asks the default profile before the container endpoint: the child would silently be somebody else."""
    config = Path(alice.environment["AWS_CONFIG_FILE"])
    config.write_text("[default]\nregion = eu-west-1\ncredential_process = /bin/false\n[profile mine]\nregion = x\n")
    Path(alice.environment["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s\n"
    )
    try:
        assert ":assumed-role/ReadOnly/" in _boto3(alice, stage)
        done = alice.run(
            "exec",
            "shop-prod/ReadOnly",
            "--",
            "sh",
            "-c",
            "cat $AWS_CONFIG_FILE; env",
            AWS_PROFILE="mine",
            AWS_ACCESS_KEY_ID="AKIA",
        )
        assert "region = eu-west-1" in done.stdout
        assert "/bin/false" not in done.stdout
        assert "AWS_PROFILE" not in done.stdout
        assert "AKIA" not in done.stdout
        assert not list((alice.folder / "cache/rolegate/exec").iterdir())
    finally:
        config.unlink()
        Path(alice.environment["AWS_SHARED_CREDENTIALS_FILE"]).unlink()


def test_copies_of_whoever_was_killed_go_with_the_next_start(double: GatewayDouble, laptop: Laptop) -> None:
    """They hold the person's other keys; and whoever is still running keeps theirs."""
    double.sign_in(laptop)
    Path(laptop.environment["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[default]\naws_access_key_id = AKIA\n[x]\na = b\n"
    )
    killed = laptop.start("exec", ROLE, "--", "sh", "-c", "echo ready; exec sleep 30")
    running = laptop.start("exec", ROLE, "--", "sh", "-c", "echo ready; exec sleep 30")
    for process in (killed, running):
        assert process.stdout is not None
        process.stdout.readline()
    (child,) = _children(killed.pid)
    killed.kill()
    os.kill(int(child), signal.SIGKILL)
    killed.communicate(timeout=60)
    laptop.run("exec", ROLE, "--", "true")
    left = [path.name for path in (laptop.folder / "cache/rolegate/exec").iterdir()]
    assert left == [f"{running.pid}-credentials"]
    running.terminate()
    running.communicate(timeout=60)


def test_the_exit_status_is_the_childs(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    laptop.run("exec", ROLE, "--", "sh", "-c", "exit 7", status=7)
    laptop.run("exec", ROLE, "--", "sh", "-c", "kill -TERM $$", status=-signal.SIGTERM)
    laptop.run("exec", ROLE, "--", "sh", "-c", "kill -SEGV $$", status=128 + signal.SIGSEGV)
    laptop.run("exec", ROLE, "--", "no-such-program", status=127)
    assert "two dashes" in laptop.run("exec", ROLE, status=2).stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_child_once(double: GatewayDouble, laptop: Laptop, number: signal.Signals) -> None:
    double.sign_in(laptop)
    name = number.name.removeprefix("SIG")
    # It waits for the first as long as that takes, and a second longer for another.
    count = "[ -z $seen ] || i=$((i+1))"
    script = (
        f"trap 'echo got; seen=1' {name}; echo ready; i=0; while [ $i -lt 20 ]; do sleep 0.05; {count}; done; exit 5"
    )
    process = laptop.start("exec", ROLE, "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert out == "got\n"
    assert process.returncode == 5


def test_a_long_child_gets_new_credentials(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    double.lifetime = 902.0  # so that they have 15 minutes left within two seconds
    ask = 'curl -s -H "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"; echo'
    script = f"{ask}; sleep 2.5; {ask}"
    first, second = map(json.loads, laptop.run("exec", ROLE, "--", "sh", "-c", script).stdout.splitlines())
    assert first["AccessKeyId"] != second["AccessKeyId"]
    assert set(first) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId"}


def test_nothing_secret_is_in_arguments_or_in_our_own_environment(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    process = laptop.start("exec", ROLE, "--", "sh", "-c", "echo ready; exec sleep 30")
    assert process.stdout is not None
    process.stdout.readline()
    seen = b""
    for path in (Path(f"/proc/{process.pid}"), *(Path(f"/proc/{pid}") for pid in _children(process.pid))):
        seen += (path / "cmdline").read_bytes()
    seen += Path(f"/proc/{process.pid}/environ").read_bytes()
    process.terminate()
    process.communicate(timeout=30)
    for secret in (b"rlg_", b"secretOfTheDouble", b"tokenOfTheDouble", b"AUTHORIZATION_TOKEN"):
        assert secret not in seen


def _children(pid: int) -> list[str]:
    return subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_childs_first_request_waits_for_nothing(double: GatewayDouble, laptop: Laptop) -> None:
    """exec has fetched before the child runs: the local server answers from the cache."""
    double.sign_in(laptop)
    laptop.run("exec", ROLE, "--", "true")
    asked = double.asked["/api/v1/credentials"]
    began = time.monotonic()
    laptop.run(
        "exec",
        ROLE,
        "--",
        "sh",
        "-c",
        'curl -fs -H "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"',
    )
    assert time.monotonic() - began < 5
    assert double.asked["/api/v1/credentials"] == asked
