"""What is handed out: the standard library alone, Python 3.9, one file or a wheel, and small."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from portal import cli_package
from tests.cli.laptop import PACKAGE, Laptop, lowest_python

SOURCES = sorted((PACKAGE / "rolegate").glob("*.py"))


def test_nothing_but_the_standard_library_is_imported():
    names = set()
    for path in [*SOURCES, PACKAGE / "build_backend.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"rolegate"}


def test_the_grammar_is_of_python_3_9():
    for path in SOURCES:
        ast.parse(path.read_text(), feature_version=(3, 9))
    done = subprocess.run(
        [lowest_python(), "-m", "compileall", "-q", "-f", str(PACKAGE / "rolegate")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_one_file_runs_and_imports_whatever_it_needs(tmp_path: Path):
    laptop = Laptop(tmp_path / "alice")
    laptop.environment.pop("PYTHONPATH")
    (tmp_path / "rolegate").write_bytes(cli_package.pyz().content)
    (tmp_path / "rolegate").chmod(0o755)
    for command in (["--version"], ["--help"], ["completion", "bash"]):
        done = subprocess.run(
            [lowest_python(), str(tmp_path / "rolegate"), *command],
            env=laptop.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout
    first = subprocess.run([str(tmp_path / "rolegate"), "--version"], capture_output=True, text=True, check=True).stdout
    assert first.startswith(f"rolegate {cli_package.version()} ")


def test_the_wheel_installs_without_an_index(tmp_path: Path):
    """By the pip of a new environment, and from the checkout as from the wheel."""
    subprocess.run([lowest_python(), "-m", "venv", str(tmp_path / "v")], check=True)
    wheel = tmp_path / cli_package.wheel().name
    wheel.write_bytes(cli_package.wheel().content)
    pip = [str(tmp_path / "v/bin/python"), "-m", "pip", "install", "-q", "--no-index", "--disable-pip-version-check"]
    for source in (f"rolegate @ file://{wheel}#sha256={cli_package.wheel().sha256}", str(PACKAGE)):
        subprocess.run([*pip, "--force-reinstall", source], check=True, cwd=tmp_path)
        assert subprocess.run(
            [str(tmp_path / "v/bin/rolegate"), "--version"], capture_output=True, check=True
        ).stdout.startswith(b"rolegate ")
    done = subprocess.run(
        [*pip, "--force-reinstall", f"rolegate @ file://{wheel}#sha256={'0' * 64}"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode != 0


def test_it_is_small():
    with zipfile.ZipFile(BytesIO(cli_package.wheel().content)) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 300_000


def test_help_fits_a_screen(tmp_path: Path):
    laptop = Laptop(tmp_path / "alice")
    assert len(laptop.run("--help").stdout.splitlines()) <= 40
    for command in (
        "login",
        "logout",
        "status",
        "roles",
        "credentials",
        "env",
        "exec",
        "console",
        "configure",
        "serve",
        "completion",
    ):
        text = laptop.run(command, "--help", COLUMNS="100").stdout
        assert len(text.splitlines()) <= 40, command


def test_what_cannot_be_understood(tmp_path: Path):
    laptop = Laptop(tmp_path / "alice")
    assert "rolegate --help" in laptop.run("nonsense", status=2).stderr
    assert laptop.run("roles", "--nonsense", status=2).stdout == ""
