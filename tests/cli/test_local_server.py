"""serve: the container endpoint and IMDSv2, and who gets nothing from them."""

from __future__ import annotations

import http.client
import json
import re
import signal
import stat
import time
from collections.abc import Iterator

import pytest

from tests.cli.double import ROLE, GatewayDouble
from tests.cli.laptop import Laptop


def _ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}", **(headers or {})})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.fixture
def serving(double: GatewayDouble, laptop: Laptop) -> Iterator[tuple[int, str]]:
    """The port and token of `rolegate serve`."""
    double.sign_in(laptop)
    process = laptop.start("serve", ROLE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    address, token = (line.strip().split("=", 1)[1] for line in lines)
    yield int(re.findall(r":(\d+)/", address)[0]), token
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_with_the_token(serving: tuple[int, str]) -> None:
    port, token = serving
    status, body = _ask(port, "GET", "/credentials", {"Authorization": token})
    assert status == 200
    assert set(json.loads(body)) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId"}
    assert _ask(port, "GET", "/credentials", {"Authorization": token}, host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "[::1]:{port}",
        "localhost:1",
    ],
)
def test_another_host_is_refused(serving: tuple[int, str], host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now points to 127.0.0.1 sends its own name."""
    port, token = serving
    status, body = _ask(port, "GET", "/credentials", {"Authorization": token}, host=host.format(port=port))
    assert status == 403
    assert b"AccessKeyId" not in body


@pytest.mark.parametrize("token", ["", "wrong", "Bearer {token}", "{token} ", "{token}x"])
def test_without_the_token(serving: tuple[int, str], token: str) -> None:
    port, right = serving
    given = token.format(token=right)
    status, body = _ask(port, "GET", "/credentials", {"Authorization": given} if given else {})
    assert status == 401
    assert b"AccessKeyId" not in body


def test_the_metadata_form_is_not_there_unasked(serving: tuple[int, str]) -> None:
    port, _ = serving
    assert _ask(port, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})[0] == 404
    assert _ask(port, "GET", "/latest/meta-data/iam/security-credentials/")[0] == 404


def test_imds(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    process = laptop.start("serve", ROLE, "--imds")
    assert process.stdout is not None
    port = int(re.findall(r":(\d+)/", process.stdout.readline())[0])
    base = "/latest/meta-data/iam/security-credentials/"
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    assert _ask(port, "GET", base)[0] == 401
    assert _ask(port, "PUT", "/latest/api/token")[0] == 400
    assert _ask(port, "PUT", "/latest/api/token", {**ttl, "X-Forwarded-For": "192.0.2.1"})[0] == 404
    assert _ask(port, "PUT", "/latest/api/token", ttl, host="evil.example")[0] == 403
    for odd in ("0", "21601", "0000019999999999999", "\xb2", "-1", "1.5", " "):
        assert _ask(port, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": odd})[0] == 400
    status, token = _ask(port, "PUT", "/latest/api/token", ttl)
    assert status == 200
    header = {"X-aws-ec2-metadata-token": token.decode()}
    assert _ask(port, "GET", base, header) == (200, b"ReadOnly")
    status, body = _ask(port, "GET", base + "ReadOnly", header)
    assert json.loads(body)["Code"] == "Success"
    assert _ask(port, "GET", base + "Other", header)[0] == 404
    process.terminate()
    process.communicate(timeout=60)


def test_an_env_file_for_containers_is_private_and_goes_at_the_end(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    process = laptop.start("serve", ROLE, "--env-file", "role.env")
    assert process.stderr is not None
    assert "docker run --network host" in process.stderr.readline()
    path = laptop.folder / "role.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line.split("=")[0] for line in path.read_text().splitlines()] == [
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    ]
    process.stderr.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert not path.exists()


def test_an_env_file_that_cannot_be(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    assert "Name another file" in laptop.run("serve", ROLE, "--env-file", "missing/role.env", status=8).stderr


def test_what_the_gateway_refuses_is_no_success(double: GatewayDouble, laptop: Laptop) -> None:
    double.sign_in(laptop)
    double.lifetime = 900.5
    process = laptop.start("serve", ROLE)
    assert process.stdout is not None
    assert process.stderr is not None
    address, token = (process.stdout.readline().strip().split("=", 1)[1] for _ in range(2))
    port = int(re.findall(r":(\d+)/", address)[0])
    time.sleep(2)  # until then the first ones are as new as any
    double.answers["/api/v1/credentials"] = (
        403,
        {"code": "access_denied", "detail": "You do not have this role.", "request_id": "r"},
    )
    status, body = _ask(port, "GET", "/credentials", {"Authorization": token})
    assert status == 403
    assert json.loads(body)["code"] == "Refused"
    process.terminate()
    assert token not in process.communicate(timeout=60)[1]
