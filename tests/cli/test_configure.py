"""configure: our block of ~/.aws/config, and every other byte as it was."""

from __future__ import annotations

import configparser
import json
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.double import ACCOUNT, GatewayDouble
from tests.cli.laptop import Laptop

OWN = b"# mine \xe9\xff\r\n[default]\r\nregion=eu-west-1\r\n\r\n[profile x]\r\n  s3 =\r\n    addressing_style = path\r\n[profile y]\r\noutput = json"


@pytest.fixture
def signed_in(double: GatewayDouble, laptop: Laptop) -> Laptop:
    double.roles = [
        double.role("shop-prod", ACCOUNT, "ReadOnly"),
        double.role("shop-dev", "222233334444", "Developer", "development"),
        double.role("shop-dev", "333344445555", "Developer", "development"),
    ]
    double.sign_in(laptop)
    return laptop


def _config(laptop: Laptop) -> Path:
    return Path(laptop.environment["AWS_CONFIG_FILE"])


def _profiles(laptop: Laptop) -> list[str]:
    parser = configparser.RawConfigParser(
        default_section="none"
    )  # strict, as botocore's is: a doubled section is an error
    parser.read(_config(laptop), encoding="latin-1")
    return [name.removeprefix("profile ") for name in parser.sections()]


def test_profiles_of_every_role(signed_in: Laptop) -> None:
    done = signed_in.run("configure")
    assert "3 profiles written" in done.stderr
    assert _profiles(signed_in) == [
        "shop-dev-Developer-222233334444",
        "shop-dev-Developer-333344445555",
        "shop-prod-ReadOnly",
    ]
    assert stat.S_IMODE(_config(signed_in).stat().st_mode) == 0o600


def test_everything_else_stays_byte_for_byte(signed_in: Laptop) -> None:
    path = _config(signed_in)
    path.write_bytes(OWN)
    path.chmod(0o644)
    signed_in.run("configure")
    first = path.read_bytes()
    assert first.startswith(OWN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.with_name(path.name + ".rolegate-backup").read_bytes() == OWN
    signed_in.run("configure")
    assert path.read_bytes() == first
    # What is written behind our block stays too.
    path.write_bytes(first + b"[profile later]\nregion = x\n")
    signed_in.run("configure", "prod", "--prune")
    assert path.read_bytes().startswith(OWN)
    assert path.read_bytes().endswith(b"[profile later]\nregion = x\n")
    signed_in.run("configure", "--remove")
    assert path.read_bytes() == OWN + b"\r\n\r\n[profile later]\nregion = x\n"


def test_the_profile_works_through_the_fast_form(double: GatewayDouble, signed_in: Laptop) -> None:
    signed_in.run("configure")
    parser = configparser.RawConfigParser()
    parser.read(_config(signed_in))
    command = shlex.split(parser["profile shop-prod-ReadOnly"]["credential_process"])
    assert command[1:3] == ["-I", "-S"]
    bare = {
        name: value for name, value in signed_in.environment.items() if name not in {"PYTHONPATH", "ROLEGATE_DEBUG"}
    }
    answers = [
        subprocess.run(command, env=bare, capture_output=True, text=True, check=True, timeout=60) for _ in range(3)
    ]
    assert len({answer.stdout for answer in answers}) == 1
    assert json.loads(answers[0].stdout)["AccountId"] == ACCOUNT
    assert double.asked["/api/v1/credentials"] == 1
    # On a hit nothing is needed but the cache: not even the helper, nor any variable.
    hit = subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=60)
    assert hit.stdout == answers[0].stdout


def test_dry_run_shows_and_writes_nothing(signed_in: Laptop) -> None:
    path = _config(signed_in)
    path.write_bytes(OWN)
    done = signed_in.run("configure", "--dry-run")
    assert "+[profile shop-prod-ReadOnly]" in done.stdout
    assert path.read_bytes() == OWN
    assert not (signed_in.folder / "data").exists()


def test_some_roles_only_and_names_of_ones_own(signed_in: Laptop) -> None:
    signed_in.run("configure", "prod", "--template", "{environment}.{account}/{role}")
    assert _profiles(signed_in) == ["production.shop-prod/ReadOnly"]
    signed_in.run("configure", "dev", "--template", "{account_id}-{role}")
    # The template is remembered; what was made for other roles stays.
    assert len(_profiles(signed_in)) == 3
    signed_in.run("configure")
    assert _profiles(signed_in) == ["111122223333-ReadOnly", "222233334444-Developer", "333344445555-Developer"]
    signed_in.run("configure", "--template", "{nonsense}", status=2)
    signed_in.run("configure", "--template", "default", status=2)


def test_prune_takes_away_what_is_gone(double: GatewayDouble, signed_in: Laptop) -> None:
    signed_in.run("configure")
    double.roles = double.roles[:1]
    signed_in.run("configure")
    assert len(_profiles(signed_in)) == 3
    assert "2 removed" in signed_in.run("configure", "--prune").stderr
    assert _profiles(signed_in) == ["shop-prod-ReadOnly"]


def test_a_profile_of_the_persons_own_is_not_doubled(signed_in: Laptop) -> None:
    _config(signed_in).write_text("[profile shop-prod-ReadOnly]\nregion = mine\n")
    done = signed_in.run("configure")
    assert "the file has a profile of that name already" in done.stderr
    assert _profiles(signed_in).count("shop-prod-ReadOnly") == 1


def test_names_of_the_gateway_cannot_write_into_the_file(double: GatewayDouble, signed_in: Laptop) -> None:
    double.roles = [double.role("a]\n[default]\ncredential_process = evil\n#", ACCOUNT, "ReadOnly")]
    double.roles[0]["region"] = "x\ncredential_process = evil"
    signed_in.run("configure")
    text = _config(signed_in).read_text()
    assert not [
        line for line in text.splitlines() if line.startswith("credential_process = evil") or line == "[default]"
    ]
    assert len(_profiles(signed_in)) == 1


def test_broken_markers_are_refused(signed_in: Laptop) -> None:
    signed_in.run("configure")
    path = _config(signed_in)
    broken = b"\n".join(path.read_bytes().splitlines()[:-1])
    path.write_bytes(broken)
    assert "markers" in signed_in.run("configure", status=8).stderr
    assert path.read_bytes() == broken


def test_a_link_stays_a_link(signed_in: Laptop) -> None:
    real = signed_in.folder / "dotfiles-config"
    real.write_text("[default]\n")
    _config(signed_in).symlink_to(real)
    signed_in.run("configure")
    assert _config(signed_in).is_symlink()
    assert "shop-prod-ReadOnly" in real.read_text()


def test_a_folder_with_a_space(double: GatewayDouble, new_laptop) -> None:
    laptop = new_laptop("Alice Liddell")
    double.sign_in(laptop)
    laptop.run("configure")
    parser = configparser.RawConfigParser()
    parser.read(_config(laptop))
    command = parser["profile shop-prod-ReadOnly"]["credential_process"]
    assert '"' in command
    done = subprocess.run(
        shlex.split(command), env=laptop.environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["AccountId"] == ACCOUNT
