"""The image and the compose file: linted, locked down, and naming only what exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.recipe import COMPOSE, DOCKERFILE, ROOT, compose, instructions, of

OURS = ("web", "worker", "beat", "migrate")


def test_hadolint_has_nothing_to_say():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_the_image_runs_as_nobody_in_particular():
    last = max(one.stage for one in instructions())
    assert of("USER", last) == ["10001:10001"]
    assert of("RUN", last) == ["useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin rolegate"]


def test_what_is_copied_exists_and_is_let_in():
    """.dockerignore lets in what is named and nothing else: no .git, no var/, no .env can get into a layer."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    copied = {text.split()[0] for text in of("COPY", 1)}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_of_the_python_that_the_suite_runs_on():
    images = [text.split()[0] for text in of("FROM")]
    assert set(images) == {
        f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"
    } or sys.version_info[:2] != (3, 11)
    assert len(set(images)) == 1


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_locked_down(name):
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert "ports" not in service
    assert "privileged" not in service


def test_only_the_proxy_is_reachable():
    services = compose()["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert compose()["networks"]["inside"]["internal"] is True
    assert services["database"]["networks"] == ["inside"]
    assert services["redis"]["networks"] == ["inside"]


def test_the_proxy_is_the_one_that_is_believed():
    services = compose()["services"]
    address = services["proxy"]["networks"]["inside"]["ipv4_address"]
    for name in OURS:
        assert services[name]["environment"]["ROLEGATE_TRUSTED_PROXIES"] == f"{address}/32"


def test_no_client_can_write_the_proxys_headers_in_another_spelling():
    """WSGI knows X-Forwarded-For and X_Forwarded_For by one name, and the later one wins: an address of the client's choice."""
    block = (ROOT / "docker" / "Caddyfile").read_text()
    assert "\n\trequest_header -*_*\n\treverse_proxy" in block


def test_no_secret_has_a_default():
    """Every secret is asked for by name: a forgotten one stops `docker compose up`."""
    asked = set(re.findall(r"\$\{([A-Z_]+):\?see docker/example.env\}", COMPOSE.read_text()))
    assert asked == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "ROLEGATE_HOST"}
    assert not re.search(r"\$\{[A-Z_]+(?::?-|\})", COMPOSE.read_text())
    example = dict(
        line.split("=", 1)
        for line in (ROOT / "docker/example.env").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    assert asked <= example.keys()
    assert not any(value for name, value in example.items() if name.endswith(("KEY", "PASSWORD")))


def test_images_of_others_have_a_version():
    for name, service in compose()["services"].items():
        if name not in OURS:
            assert re.fullmatch(r"[a-z]+:\d+(\.\d+)?-alpine", service["image"])


def test_the_migration_comes_before_everything_that_serves():
    services = compose()["services"]
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert set(services["migrate"]["depends_on"]) == {"database", "redis"}
