"""The system's keyring: a real GNOME keyring behind a real secret-tool, in a session bus of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.double import GatewayDouble
from tests.cli.laptop import Laptop
from tests.cli.town import Town


def _in_a_session(laptop: Laptop, script: str) -> subprocess.CompletedProcess[str]:
    for name, package in (
        ("dbus-run-session", "dbus"),
        ("gnome-keyring-daemon", "gnome-keyring"),
        ("secret-tool", "libsecret-tools"),
    ):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed: apt-get install {package}")
    whole = f"printf unlocked | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1\n{script}"
    return subprocess.run(
        ["dbus-run-session", "--", "sh", "-euc", whole],
        env=laptop.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_the_refresh_token_rests_in_the_secret_service(stage: Town, laptop: Laptop) -> None:
    helper = " ".join(laptop.command())
    done = _in_a_session(
        laptop,
        f"{helper} login {stage.url}\nsecret-tool lookup service rolegate gateway {stage.url}; echo\n"
        f"python3 -c \"import json,glob; p=glob.glob('{laptop.folder}/state/rolegate/*/session.json')[0]; d=json.load(open(p)); d['access_until']=0; json.dump(d, open(p,'w'))\"\n"
        f"{helper} credentials --role shop-prod/ReadOnly\n{helper} logout\nsecret-tool lookup service rolegate gateway {stage.url} || echo gone\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    token, document, gone = [line for line in done.stdout.splitlines() if line]
    assert token.startswith("rlg_rt_")
    assert json.loads(document)["AccountId"] == "111122223333"
    assert gone == "gone"
    assert "Kept in the system keyring" in done.stderr
    for path in laptop.folder.rglob("*.json"):
        assert token not in path.read_text()


def test_without_a_keyring_the_person_is_told(stage: Town, laptop: Laptop) -> None:
    """A secret-tool that fails: the sign-in must not be lost by it, its token is the only one."""
    tool = laptop.folder / "bin" / "secret-tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n# A DOUBLE of secret-tool, which always fails.\nexit 1\n")
    tool.chmod(0o755)
    done = laptop.run(
        "login",
        stage.url,
        PATH=f"{tool.parent}:{laptop.environment['PATH']}",
        DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere",
    )
    assert "cannot be used (secret-tool ended with 1)" in done.stderr
    assert json.loads(laptop.session_file().read_text())["refresh"].startswith("rlg_rt_")


def test_macos_keychain_gets_the_secret_by_standard_input(
    double: GatewayDouble, laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rolegate import keyring

    tool = laptop.folder / "security"
    tool.write_text(
        f'#!/bin/sh\n# A DOUBLE of macOS\'s security: notes its arguments, keeps what -i reads.\necho "$@" >> {laptop.folder}/arguments\n'
        f'if [ "$1" = -i ]; then cat > {laptop.folder}/line; else sed -n \'s/.* -w "\\(.*\\)"/\\1/p\' {laptop.folder}/line; fi\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{laptop.folder}:{os.environ['PATH']}")
    assert keyring.put(keyring.KEYCHAIN, double.url, "rlg_rt_secret") == ""
    assert keyring.get(keyring.KEYCHAIN, double.url, "") == "rlg_rt_secret"
    assert "rlg_rt_secret" not in (laptop.folder / "arguments").read_text()
    with pytest.raises(keyring.KeyringAway):
        keyring.put(keyring.KEYCHAIN, double.url, 'x" -w "injected')


def test_a_qr_code_is_read_by_others(tmp_path: Path) -> None:
    """zbar reads what our encoder draws, in every version of the code that it knows."""
    from rolegate import qr

    if shutil.which("zbarimg") is None:
        pytest.skip("zbarimg is not installed: apt-get install zbar-tools")
    for text in (
        "http://localhost:8000/device/",
        "https://gate.example.com/device/",
        "x",
        *("u" * length for length in (40, 70, 100, 130, 150, 190, 230)),
    ):
        modules = qr.modules(text)
        size = len(modules) + 8
        rows = [
            bytes(
                0 if 4 <= x < size - 4 and 4 <= y < size - 4 and modules[y - 4][x - 4] else 255
                for x in range(size)
                for _ in range(5)
            )
            for y in range(size)
        ]
        image = tmp_path / "code.pgm"
        image.write_bytes(b"P5 %d %d 255\n" % (size * 5, size * 5) + b"".join(row * 5 for row in rows))
        done = subprocess.run(["zbarimg", "-q", "--raw", str(image)], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == text
    with pytest.raises(ValueError, match="too long"):
        qr.modules("v" * 231)
    assert {len(line) for line in qr.drawn("https://gate.example.com/device/", colour=False)} == {29}
