"""Every command of the image and of the compose file, run outside a container: as it is written, on a copy of what is copied."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.docker.recipe import ROOT, compose, exec_form, of
from tests.processes import Process, free_port

BIN = Path(sys.executable).parent
POSTGRES = "postgres://postgres@127.0.0.1:5432/test"
REDIS = "redis://127.0.0.1:6379/11"


def here(words):
    """The command with this environment's programs in place of the image's."""
    program = BIN / words[0]
    return [str(program) if program.exists() else words[0], *words[1:]]


@pytest.fixture(scope="module")
def services():
    """A database of its own on PostgreSQL, and a Redis; skipped aloud where one of them is not there."""
    import redis

    name = f"rolegate_docker_{secrets.token_hex(4)}"
    try:
        redis.Redis.from_url(REDIS, socket_connect_timeout=2).ping()
        with psycopg.connect(POSTGRES, autocommit=True, connect_timeout=3) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
    except (redis.RedisError, psycopg.OperationalError) as error:
        pytest.skip(f"needs PostgreSQL and Redis on loopback: {error}")
    yield {"DATABASE_URL": f"postgres://postgres@127.0.0.1:5432/{name}", "REDIS_URL": REDIS}
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    redis.Redis.from_url(REDIS).flushdb()


@pytest.fixture(scope="module")
def image(tmp_path_factory, services):
    """What the image's /app holds after the build: the COPY lines, then the RUN lines of the first stage."""
    app = tmp_path_factory.mktemp("image") / "app"
    app.mkdir()
    for text in of("COPY", 1):
        source, target = text.split()
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, app / source)
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp")}
    for text in of("RUN", 1):
        if "python -m venv" in text:
            continue  # the environment that runs these tests is one
        command = text.replace("/venv/bin/", f"{shlex.quote(str(BIN))}/")
        if "pip install" in command:
            command = command.replace("pip install", "pip install --dry-run --quiet")
        done = subprocess.run(
            ["sh", "-c", command], cwd=app, env=clean, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stderr[-3000:]}"
    return app


@pytest.fixture(scope="module")
def environment(services):
    """The container's environment: what the image sets, and what compose and .env hand in."""
    return {
        "PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings.production", "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1", "ROLEGATE_URL": "https://gate.example.com", "ROLEGATE_SECRET_KEY": secrets.token_urlsafe(48),
        "ROLEGATE_TRUSTED_PROXIES": "127.0.0.1/32", **services,
    }  # fmt: skip


@pytest.fixture(scope="module")
def migrated(image, environment):
    """After the `migrate` service has ended well, and an administrator has applied a mapping from standard input."""
    done = subprocess.run(
        here(compose()["services"]["migrate"]["command"]), cwd=image, env=environment, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        here(["python", "manage.py", "apply", "-"]), cwd=image, env=environment, input="version: 1\n",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Revision 1 is in force." in done.stdout, done.stderr
    return image


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_web_command_serves_and_its_health_check_knows(migrated, environment, tmp_path):
    before = files(migrated)
    port = str(free_port())
    command = [port if word == "8000" else word for word in exec_form(of("CMD", 2)[0])]
    check = [word.replace(":8000", f":{port}") for word in exec_form(of("HEALTHCHECK", 2)[0])]

    def healthy():
        return (
            subprocess.run(
                here(check), cwd=migrated, env=environment, capture_output=True, timeout=30, check=False
            ).returncode
            == 0
        )

    assert not healthy()
    web = Process(here(command), log=tmp_path / "web.log", environment=environment, folder=migrated)
    web.start(ready=f"http://127.0.0.1:{port}/healthz")
    try:
        assert healthy()
    finally:
        web.stop()
    assert files(migrated) == before  # the root file system is read-only in the container


def test_the_worker_command_works_and_its_health_check_knows(migrated, environment, tmp_path):
    before = files(migrated)
    service = compose()["services"]["worker"]
    check = here(service["healthcheck"]["test"][1:])

    def healthy():
        return (
            subprocess.run(
                check, cwd=migrated, env=environment, capture_output=True, timeout=60, check=False
            ).returncode
            == 0
        )

    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            here(service["command"]), cwd=migrated, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 40
            while not (ready := healthy()) and time.monotonic() < deadline:
                time.sleep(0.5)
            assert ready, (tmp_path / "worker.log").read_text()[-3000:]
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0
    assert files(migrated) == before


def test_the_beat_command_keeps_its_schedule_in_memory_only(migrated, environment, tmp_path):
    before = files(migrated)
    schedule = tmp_path / "schedule"
    words = compose()["services"]["beat"]["command"]
    assert "/tmp/beat-schedule" in words
    command = [str(schedule) if word == "/tmp/beat-schedule" else word for word in words]
    with (tmp_path / "beat.log").open("wb") as log:
        beat = subprocess.Popen(here(command), cwd=migrated, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 30
            while (
                not (kept := list(tmp_path.glob("schedule*"))) and beat.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.2)
            assert kept, (tmp_path / "beat.log").read_text()[-3000:]
        finally:
            beat.send_signal(signal.SIGTERM)
            beat.wait(timeout=30)
    assert files(migrated) == before
