"""AWS's own clients with the helper behind them: the AWS CLI v1 and v2, boto3, and the SDK for JavaScript."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.session
import pytest

from tests.cli.laptop import ROOT, Laptop
from tests.cli.town import Town
from tests.processes import need_program

pytestmark = pytest.mark.peer

PROFILE = "shop-prod-ReadOnly"
_SCRIPT = """
import { %(provider)s as provider } from "@aws-sdk/credential-providers";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";
const client = new STSClient({ endpoint: process.env.STS, region: "us-east-1", credentials: provider(%(options)s) });
console.log((await client.send(new GetCallerIdentityCommand({}))).Arn);
"""


@pytest.fixture
def configured(alice: Laptop) -> Iterator[Laptop]:
    """Alice's machine with a profile of each role, and none of ours in the environment of the clients."""
    alice.run("configure")
    yield alice
    Path(alice.environment["AWS_CONFIG_FILE"]).unlink()


def _client_environment(laptop: Laptop, **more: str) -> dict[str, str]:
    ours = ("PYTHONPATH", "ROLEGATE_DEBUG")
    return {
        **{name: value for name, value in laptop.environment.items() if name not in ours},
        "AWS_DEFAULT_REGION": "us-east-1",
        **more,
    }


def _aws(version: str) -> str:
    """The AWS CLI of this version: v2 is Debian's, v1 is in the environment that .ci/run makes of tests/peers/awscli.txt."""
    candidates = ["/usr/bin/aws"] if version == "2" else [str(ROOT / "var/awscli/bin/aws"), "/usr/local/bin/aws"]
    for path in candidates:
        if Path(path).exists():
            done = subprocess.run(
                [path, "--version"], capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]}
            )
            if (done.stdout or done.stderr).startswith(f"aws-cli/{version}"):
                return path
    pytest.skip(f"the AWS CLI v{version} is not installed: .ci/run installs it")


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_aws_cli_by_profile_and_by_exec(stage: Town, configured: Laptop, version: str) -> None:
    aws = _aws(version)
    question = [aws, "--endpoint-url", stage.aws.url, "--output", "json", "s3", "ls"]
    done = subprocess.run(
        [*question, "--profile", PROFILE],
        env=_client_environment(configured),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "shop-prod-orders" in done.stdout
    done = configured.run(
        "exec", "shop-prod/ReadOnly", "--", *question, PYTHONPATH=configured.environment["PYTHONPATH"]
    )
    assert "shop-prod-orders" in done.stdout


def test_boto3_by_profile(stage: Town, configured: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, configured.environment[name])
    core = botocore.session.Session(profile=PROFILE)
    core.set_config_variable("config_file", configured.environment["AWS_CONFIG_FILE"])
    client = boto3.session.Session(botocore_session=core).client(
        "sts", endpoint_url=stage.aws.url, region_name="us-east-1"
    )
    assert ":assumed-role/ReadOnly/" in client.get_caller_identity()["Arn"]
    assert core.get_credentials().method == "custom-process"


def test_boto3_by_the_metadata_form(stage: Town, alice: Laptop) -> None:
    """A tool that knows nothing but the metadata service of an instance (IMDSv2)."""
    process = alice.start("serve", "shop-prod/ReadOnly", "--imds")
    assert process.stdout is not None
    lines = [process.stdout.readline().removeprefix("export ").strip() for _ in range(2)]
    script = (
        "import boto3, sys; session = boto3.session.Session(); print(session.get_credentials().method);"
        "print(session.client('sts', endpoint_url=sys.argv[1], region_name='us-east-1').get_caller_identity()['Arn'])"
    )
    environment = {**_client_environment(alice), **dict(line.split("=", 1) for line in lines)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, stage.aws.url], env=environment, capture_output=True, text=True, check=False, timeout=60
        )  # fmt: skip
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    method, arn = done.stdout.split()
    assert method == "iam-role"
    assert ":assumed-role/ReadOnly/" in arn


def _javascript(laptop: Laptop, stage: Town, provider: str, options: dict[str, str]) -> list[str]:
    modules = ROOT / "tests/peers/node_modules"
    if not (modules / "@aws-sdk/credential-providers").exists():
        pytest.skip("the AWS SDK for JavaScript is not installed: npm ci in tests/peers")
    script = laptop.folder / "who.mjs"
    script.write_text(_SCRIPT % {"provider": provider, "options": json.dumps(options)})
    if not (laptop.folder / "node_modules").exists():
        (laptop.folder / "node_modules").symlink_to(modules)
    return [need_program("node", "nodejs"), str(script)]


def test_javascript_by_profile(stage: Town, configured: Laptop) -> None:
    command = _javascript(configured, stage, "fromProcess", {"profile": PROFILE})
    done = subprocess.run(
        command,
        env=_client_environment(configured, STS=stage.aws.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert ":assumed-role/ReadOnly/" in done.stdout


@pytest.mark.parametrize("provider", ["fromHttp", "fromContainerMetadata", "fromNodeProviderChain"])
def test_javascript_by_the_container_endpoint(stage: Town, configured: Laptop, provider: str) -> None:
    command = _javascript(configured, stage, provider, {})
    done = configured.run("exec", "shop-staging/ReadOnly", "--", *command, STS=stage.aws.url)
    assert ":assumed-role/ReadOnly/" in done.stdout
    assert "444455556666" in done.stdout
