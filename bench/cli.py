"""The command line helper, whole processes, beside the bare interpreter and `aws --version` in one run.

    python -m bench.cli [ROUNDS]

Everything is started by posix_spawn with its output thrown away, in turns, so that a busy machine burdens all alike; the
figure is the lower quartile. The gateway of the cold part is a double on loopback that answers after a while, so that its
own time is known. Installed by pip (a current one) into an environment of its own, and as the .pyz: run by its name, as the
portal's line installs it, and as `python rolegate.pyz` by that environment's interpreter, so that what other packages of
this machine add to the start of every Python is in neither the figure nor the floor.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cli.double import GatewayDouble
from tests.cli.laptop import PACKAGE, ROOT, Laptop

ROLE = "arn:aws:iam::111122223333:role/ReadOnly"
SERVER_SECONDS = 0.3


def _once(command: list[str], environment: dict[str, str]) -> float:
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return taken


def _together(commands: dict[str, list[str]], environment: dict[str, str], rounds: int) -> dict[str, float]:
    """Milliseconds of each, the lower quartile of `rounds`, all in turns."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(_once(command, environment) * 1000)
    return {name: statistics.quantiles(values, n=4)[0] for name, values in taken.items()}


def _installed(folder: Path) -> tuple[str, str]:
    """The python and the console script of a new environment with a current pip."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--upgrade", "pip"], check=False)
    subprocess.run([python, "-m", "pip", "install", "-q", str(PACKAGE)], check=True)
    return python, str(environment / "bin" / "rolegate")


def _size(folder: Path) -> tuple[int, int]:
    """KB of what the wheel installs, and of the bytecode that pip makes of it."""
    files = [path for place in folder.glob("rolegate*") for path in place.rglob("*") if path.is_file()]
    code = sum(path.stat().st_size for path in files if path.suffix == ".pyc")
    return (sum(path.stat().st_size for path in files) - code) // 1000, code // 1000


def _fifty(laptop: Laptop, command: list[str], count: int) -> float:
    began = time.perf_counter()
    running = [subprocess.Popen(command, env=laptop.environment, stdout=subprocess.DEVNULL) for _ in range(count)]
    for process in running:
        if process.wait():
            raise RuntimeError(f"{command} failed")
    return (time.perf_counter() - began) * 1000


def _line(name: str, value: float, floor: float, most: float) -> bool:
    ratio = value / floor
    print(f"{name:44} {value:8.1f} ms   {ratio:5.2f} of the floor, at most {most}")
    return ratio <= most


def main(rounds: int = 60) -> int:
    """Run it; exit status 1 where a figure is above what is allowed."""
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, script = _installed(folder)
        pyz = folder / "rolegate.pyz"
        subprocess.run([python, "build_backend.py", str(pyz)], cwd=PACKAGE, check=True, stdout=subprocess.DEVNULL)
        pyz.chmod(0o755)
        laptop = Laptop(folder / "laptop")
        laptop.environment["PATH"] = f"{Path(os.path.realpath(python)).parent}:{laptop.environment['PATH']}"
        laptop.environment.pop("PYTHONPATH")
        laptop.environment.pop("ROLEGATE_DEBUG")
        double = GatewayDouble().start()
        double.roles = [
            double.role(f"account-{number:03}", f"{111122223333 + number}", f"Role{role}")
            for number in range(200)
            for role in range(10)
        ]
        double.sign_in(laptop)
        asked = [script, "credentials", "--role", ROLE]
        for command in (
            asked,
            [script, "configure"],
            [script, "roles"],
            [str(pyz), "credentials", "--role", ROLE],
        ):
            subprocess.run(
                command, env=laptop.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        config = Path(laptop.environment["AWS_CONFIG_FILE"]).read_text()
        process = next(line for line in config.splitlines() if line.startswith("credential_process"))
        profile = shlex.split(process.split(" = ", 1)[1])
        subprocess.run(profile, env=laptop.environment, check=True, stdout=subprocess.DEVNULL)

        print(f"cached credentials, whole processes, {rounds} rounds in turns, Python {sys.version.split()[0]}")
        aws = "/usr/bin/aws" if Path("/usr/bin/aws").exists() else ""
        commands = {
            "floor": [profile[0], "-I", "-S", "-c", "pass"], "profile": profile,
            "floor of the environment": [python, "-c", "pass"], "script": asked,
            "pyz": [str(pyz), "credentials", "--role", ROLE],
            "pyz by python": [python, str(pyz), "credentials", "--role", ROLE],
        }  # fmt: skip
        found = _together(commands, laptop.environment, rounds)
        print(f"{'floor: python3 -I -S -c pass':44} {found['floor']:8.1f} ms")
        good &= _line("the form that configure writes", found["profile"], found["floor"], 1.15)
        print(f"{'floor: python -c pass, of the environment':44} {found['floor of the environment']:8.1f} ms")
        good &= _line("the installed command", found["script"], found["floor of the environment"], 1.15)
        good &= _line("the .pyz", found["pyz"], found["floor"], 2.3)
        good &= _line("python and the .pyz", found["pyz by python"], found["floor"], 2.3)
        if aws:
            version = _together({"aws": [aws, "--version"]}, {"PATH": os.environ["PATH"]}, 5)["aws"]
            slowest = max(found[name] for name in ("profile", "script", "pyz", "pyz by python"))
            print(
                f"{'peer: aws --version':44} {version:8.1f} ms   {version / slowest:5.1f} times the slowest of these, at least 20"
            )
            good &= version >= 20 * slowest
        whole = _together({"roles": [script, "roles"], "configure": [script, "configure"]}, laptop.environment, 10)
        for name, most in (("roles", 60), ("configure", 300)):
            print(f"{name + ' with 2,000 roles':44} {whole[name]:8.1f} ms   at most {most}")
            good &= whole[name] <= most

        print(f"cold, a gateway on loopback that takes {SERVER_SECONDS * 1000:.0f} ms for each of its two answers")
        double.delay = SERVER_SECONDS
        ones, many = [], []
        for count, into in ((1, ones), (50, many)) * 4:
            for path in laptop.cached("1*"):
                path.unlink()
            double.sign_in(laptop, access=False)
            into.append(_fifty(laptop, profile, count))
        one, fifty = min(ones), min(many)
        starts = min(_fifty(laptop, commands["floor"], 50) for _ in range(4))
        print(
            f"{'one':44} {one:8.1f} ms   {one - 2000 * SERVER_SECONDS:5.0f} above the gateway's own time, at most 120"
        )
        print(
            f"{'fifty at once':44} {fifty:8.1f} ms   {fifty / one:5.2f} of one, at most 1.5 (fifty bare interpreters alone: {starts:.0f} ms)"
        )
        good &= one - 2000 * SERVER_SECONDS <= 120 and fifty <= 1.5 * one
        (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
        size, code = _size(packages)
        print(f"{'installed':44} {size:8} KB   at most 300 (and {code} KB of bytecode that pip makes of it)")
        good &= size <= 300
        double.stop()
    print("all within what is allowed" if good else "NOT all within what is allowed")
    return 0 if good else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(*(int(argument) for argument in sys.argv[1:2])))
