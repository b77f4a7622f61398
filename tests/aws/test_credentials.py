"""Credentials for other programs: each format is read back by the program it is for."""

from __future__ import annotations

import configparser
import io
import json
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from federation.aws.credentials import (
    FORMATS,
    FormatUnknown,
    ProfileInvalid,
    process_document,
    quote_fish,
    quote_posix,
    quote_powershell,
    render,
)
from tests.aws.scripted import SECRET_KEY, SESSION_TOKEN, credentials

HOSTILE = "a'b\"c$(touch pwned)`id`\\n\\'; echo \u2019x\u2019 # !history {1..3} *"
WANTED = {
    "AWS_ACCESS_KEY_ID": "ASIATESTKEY000000001",
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
    "AWS_CREDENTIAL_EXPIRATION": "2026-03-04T13:30:15Z",
    "AWS_ACCOUNT_ID": "111122223333",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


def test_process_document():
    assert process_document(credentials(), "111122223333") == {
        "Version": 1,
        "AccessKeyId": "ASIATESTKEY000000001",
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": SESSION_TOKEN,
        "Expiration": "2026-03-04T13:30:15Z",
        "AccountId": "111122223333",
    }
    assert "AccountId" not in process_document(credentials())
    assert json.loads(render(credentials(), "json", account_id="111122223333")) == process_document(
        credentials(), "111122223333"
    )


def test_expiration_is_utc_whatever_zone_it_came_in():
    moment = datetime(2026, 3, 4, 15, 30, 15, 500, tzinfo=timezone(timedelta(hours=2)))
    assert process_document(credentials(expiration=moment))["Expiration"] == "2026-03-04T13:30:15Z"


def environment_after(program: list[str], script: str, folder) -> dict[str, str]:
    run = subprocess.run(
        [*program, script],
        capture_output=True,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder)},
        timeout=30,
        check=True,
    )
    return dict(line.split("=", 1) for line in run.stdout.decode().split("\0") if "=" in line)


@pytest.mark.parametrize("secret", [SECRET_KEY, HOSTILE])
def test_bash_reads_the_bash_format(tmp_path, secret):
    script = (
        render(credentials(secret_access_key=secret), "bash", account_id="111122223333", region="eu-west-1") + "env -0"
    )
    found = environment_after(["bash", "-c"], script, tmp_path)
    assert {k: found[k] for k in WANTED} == WANTED | {"AWS_SECRET_ACCESS_KEY": secret}
    assert not list(tmp_path.iterdir())  # nothing was run


def test_sh_reads_the_bash_format_too(tmp_path):
    found = environment_after(["sh", "-c"], render(credentials(secret_access_key=HOSTILE), "bash") + "env -0", tmp_path)
    assert found["AWS_SECRET_ACCESS_KEY"] == HOSTILE


@pytest.mark.parametrize(
    ("shell", "program", "fmt"),
    [("fish", ["fish", "-c"], "fish"), ("pwsh", ["pwsh", "-NoProfile", "-Command"], "powershell")],
)
def test_other_shells_where_they_are_installed(tmp_path, shell, program, fmt):
    text = render(credentials(secret_access_key=HOSTILE), fmt)
    # What the shells' own grammars say, where the shell itself is not at hand to be asked.
    literal = {"fish": quote_fish(HOSTILE), "powershell": quote_powershell(HOSTILE)}[fmt]
    assert literal in text
    if shutil.which(shell):
        found = environment_after(program, text + ("env -0" if shell == "fish" else "\n& env -0"), tmp_path)
        assert found["AWS_SECRET_ACCESS_KEY"] == HOSTILE


def test_quoting():
    assert quote_posix("a'b") == "'a'\\''b'"
    assert quote_fish("a'b\\c") == "'a\\'b\\\\c'"
    assert quote_powershell("a'b\u2019c\u201bd$e`f") == "'a''b\u2019\u2019c\u201b\u201bd$e`f'"


def test_the_profile_section_is_read_by_configparser():
    parser = configparser.RawConfigParser()
    parser.read_file(io.StringIO(render(credentials(), "file", profile="shop-prod", region="eu-west-1")))
    assert parser.sections() == ["shop-prod"]
    assert dict(parser["shop-prod"]) == {
        "aws_access_key_id": "ASIATESTKEY000000001",
        "aws_secret_access_key": SECRET_KEY,
        "aws_session_token": SESSION_TOKEN,
        "region": "eu-west-1",
    }
    assert "region" not in render(credentials(), "file")


@pytest.mark.parametrize("profile", ["", "a]\n[default", "a\nb", "a b", "é", "a]", "x" * 129])
def test_a_profile_name_cannot_begin_another_section(profile):
    with pytest.raises(ProfileInvalid) as refused:
        render(credentials(), "file", profile=profile)
    assert refused.value.reason == "profile_malformed"


def test_an_unknown_format_is_refused():
    with pytest.raises(FormatUnknown) as refused:
        render(credentials(), "cmd.exe")
    assert refused.value.reason == "format_unknown"
    assert set(FORMATS) == {"json", "bash", "fish", "powershell", "file"}
