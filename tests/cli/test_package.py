"""What is handed out: the standard library alone, Python 3.9, one file or a wheel, and small."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from portal import cli_package
from tests.cli.double import ACCOUNT, ROLE, GatewayDouble
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


def test_the_one_file_answers_from_the_cache_by_itself(double: GatewayDouble, tmp_path: Path):
    """By its name and by `python`; the second time without a word to anybody, and without the package in it."""
    laptop = Laptop(tmp_path / "alice")
    laptop.environment.pop("PYTHONPATH")
    double.sign_in(laptop)
    program = tmp_path / "rolegate"
    program.write_bytes(cli_package.pyz().content)
    program.chmod(0o755)
    command = [str(program), "credentials", "--role", ROLE]
    answers = []
    for prefix in ([], [], [lowest_python()]):
        done = subprocess.run([*prefix, *command], env=laptop.environment, capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    assert len(set(answers)) == 1
    assert json.loads(answers[0])["AccountId"] == ACCOUNT
    assert double.asked["/api/v1/credentials"] == 1
    with zipfile.ZipFile(program) as archive:
        first = archive.read("__main__.py")
    with zipfile.ZipFile(tmp_path / "first.pyz", "w") as archive:
        archive.writestr("__main__.py", first)
    alone = [lowest_python(), str(tmp_path / "first.pyz"), *command[1:]]
    done = subprocess.run(alone, env=laptop.environment, capture_output=True, text=True, check=True)
    assert done.stdout == answers[0]


def test_the_one_file_runs_nothing_of_other_packages(tmp_path: Path):
    """A .pth or a usercustomize that prints would stand before what an SDK reads; and PYTHONPATH may be anybody's."""
    laptop = Laptop(tmp_path / "alice")
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("usercustomize", "sitecustomize", "argparse"):
        (evil / f"{name}.py").write_text("print('of somebody else')\n")
    program = tmp_path / "rolegate"
    program.write_bytes(cli_package.pyz().content)
    program.chmod(0o755)
    done = subprocess.run(
        [str(program), "--version"],
        env={**laptop.environment, "PYTHONPATH": str(evil)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("rolegate ")
    without = {**laptop.environment, "PATH": str(tmp_path / "nothing")}
    done = subprocess.run([str(program)], env=without, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (127, "")
    assert "Python 3.9 or newer is needed" in done.stderr


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
