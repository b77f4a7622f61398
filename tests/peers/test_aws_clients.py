"""What Alice is handed works in the AWS CLI v2 and boto3: variables, a credentials file, and credential_process."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

import demo.__main__ as demo_main
from tests.live import OIDC_ACCOUNT, READ_ONLY_OIDC, READ_ONLY_SAML, ROOT, SAML_ACCOUNT, Api, Stage, Visitor
from tests.peers.oidc_provider import OidcProvider
from tests.processes import need_program

pytestmark = pytest.mark.peer
DEMO_AWS = f"http://127.0.0.1:{demo_main.AWS_PORT}"


@pytest.fixture(scope="module")
def token(stage: Stage, op_rs256: OidcProvider) -> str:
    """Alice's bearer token for the API."""
    alice = Visitor()
    alice.sign_in(stage.gateway, "op-rs256")
    return alice.pair(stage.gateway)


@pytest.fixture(scope="module")
def aws_cli() -> str:
    """The AWS CLI v2: Debian's, also where an older one stands before it on the path."""
    path = "/usr/bin/aws" if Path("/usr/bin/aws").exists() else need_program("aws", "awscli")
    version = subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    ).stdout
    if not version.startswith("aws-cli/2"):
        pytest.skip(f"the AWS CLI v2 is not installed (found {version.strip()}): apt-get install awscli")
    return path


def _run(aws_cli: str, folder: Path, stage: Stage, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The CLI with no configuration but what is given."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        **variables,
    }
    arguments = [aws_cli, "--endpoint-url", stage.aws.url, "--output", "json", *command]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _variables(document: dict[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": document["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": document["SecretAccessKey"],
        "AWS_SESSION_TOKEN": document["SessionToken"],
    }


@pytest.mark.parametrize(
    ("role_arn", "account", "bucket"),
    [(READ_ONLY_SAML, SAML_ACCOUNT, "shop-prod-orders"), (READ_ONLY_OIDC, OIDC_ACCOUNT, "shop-staging-orders")],
    ids=["saml-account", "oidc-account"],
)
def test_the_cli_works_with_the_credentials(
    stage: Stage, token: str, aws_cli: str, tmp_path: Path, role_arn: str, account: str, bucket: str
) -> None:
    variables = _variables(Api(stage.gateway, token).credentials(role_arn))

    done = _run(aws_cli, tmp_path, stage, "sts", "get-caller-identity", **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == account
    assert ":assumed-role/ReadOnly/" in json.loads(done.stdout)["Arn"]

    done = _run(aws_cli, tmp_path, stage, "s3", "ls", **variables)
    assert done.returncode == 0, done.stderr
    assert bucket in done.stdout


def test_credential_process_by_a_script_of_five_lines(stage: Stage, token: str, aws_cli: str, tmp_path: Path) -> None:
    """The API's answer is the credential_process document as it stands: curl alone is a helper."""
    curl = need_program("curl", "curl")
    script = tmp_path / "rolegate-credentials"
    (tmp_path / "header").write_text(f"Authorization: Bearer {token}\n")
    script.write_text(
        "#!/bin/sh\n"
        f"exec {curl} --silent --show-error --fail-with-body -H @{tmp_path}/header -H 'Content-Type: application/json' \\\n"
        f'  --data \'{{"role_arn": "\'"$1"\'"}}\' {stage.gateway.url}/api/v1/credentials\n'
    )
    script.chmod(0o700)
    (tmp_path / "config").write_text(
        f"[profile shop]\ncredential_process = {script} {READ_ONLY_SAML}\nregion = us-east-1\n"
    )

    done = _run(aws_cli, tmp_path, stage, "sts", "get-caller-identity", AWS_PROFILE="shop")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == SAML_ACCOUNT

    boto = _boto3_session(tmp_path, "shop")
    assert boto.client("sts", endpoint_url=stage.aws.url).get_caller_identity()["Account"] == SAML_ACCOUNT
    frozen = boto.get_credentials()
    assert frozen is not None
    assert frozen.method == "custom-process"


def _boto3_session(folder: Path, profile: str) -> boto3.session.Session:
    core = botocore.session.Session(profile=profile)
    core.set_config_variable("config_file", str(folder / "config"))
    core.set_config_variable("credentials_file", str(folder / "credentials"))
    return boto3.session.Session(botocore_session=core)


def test_boto3_lists_and_reads_a_bucket(stage: Stage, token: str) -> None:
    document = Api(stage.gateway, token).credentials(READ_ONLY_SAML)
    assert document["Version"] == 1
    client = boto3.session.Session().client(
        "s3",
        region_name="us-east-1",
        endpoint_url=stage.aws.url,
        aws_access_key_id=document["AccessKeyId"],
        aws_secret_access_key=document["SecretAccessKey"],
        aws_session_token=document["SessionToken"],
    )
    # Among others: moto keeps one state for the process, so what other tests made in this account is listed too.
    assert "shop-prod-orders" in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    assert client.get_object(Bucket="shop-prod-orders", Key="orders.csv")["Body"].read() == b"id\n1\n"


def test_a_changed_session_token_is_worth_nothing(stage: Stage, token: str) -> None:
    """The local AWS really checks: without this the tests above would pass with any keys."""
    document = Api(stage.gateway, token).credentials(READ_ONLY_SAML)
    client = boto3.session.Session().client(
        "sts",
        region_name="us-east-1",
        endpoint_url=stage.aws.url,
        aws_access_key_id=document["AccessKeyId"],
        aws_secret_access_key=document["SecretAccessKey"],
        aws_session_token=document["SessionToken"] + "x",
    )
    with pytest.raises(ClientError) as refused:
        client.get_caller_identity()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_portals_blocks_can_be_pasted(stage: Stage, op_rs256: OidcProvider, aws_cli: str, tmp_path: Path) -> None:
    """What the credentials page shows, used as it says: a section of the credentials file, and lines for bash."""
    alice = Visitor()
    alice.sign_in(stage.gateway, "op-rs256")
    page = alice.get(f"{stage.gateway.url}/roles/111122223333/ReadOnly/credentials")
    page = alice.submit(page, page.form("duration"))
    assert "no-store" in page.answer.headers["Cache-Control"]
    blocks = {name: page.soup.find(id=f"text-{name}").get_text() for name in ("bash", "file", "json")}

    (tmp_path / "credentials").write_text(blocks["file"])
    done = _run(aws_cli, tmp_path, stage, "sts", "get-caller-identity", AWS_PROFILE=f"{SAML_ACCOUNT}-ReadOnly")
    assert done.returncode == 0, done.stderr + str(blocks["file"].splitlines()[:1])

    (tmp_path / "credentials").unlink()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    said = []
    for command in _promised():
        script = f"{blocks['bash']}\n{command.replace(DEMO_AWS, stage.aws.url).replace('aws', aws_cli, 1)}"
        done = subprocess.run(
            ["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        said.append(done.stdout)
    assert json.loads(said[0])["Account"] == json.loads(said[1])["Account"] == SAML_ACCOUNT
    assert "shop-prod-orders" in said[2]
    assert json.loads(blocks["json"])["Version"] == 1


def _promised() -> list[str]:
    """The AWS CLI's commands as README and the demo's banner tell a newcomer to type them, who has configured nothing.

    Not those with a profile, which the helper has written: tests/cli types them.
    """
    bare = r"aws (?!.*--profile)"
    readme = re.findall(rf"`({bare}[^`]+)`", (ROOT / "README.md").read_text())
    banner = re.findall(rf"^ +({bare}.+)$", demo_main.banner(), re.MULTILINE)
    assert [len(readme), len(banner)] == [1, 2]
    return readme + banner
