"""The entry points as a server loads them: keys are there at the first start, before anybody has run a command."""

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import cast
from tests.live import migrate_sqlite

ROOT = Path(__file__).resolve().parents[2]
# What a server does: it imports the module, and calls the application.
SERVE = """
import io, json, sys, time
from config.{entry} import application
from django.test import Client
print(json.dumps({{"loaded": True}}), flush=True)
for _ in range(200):
    answer = Client().get("/readyz", headers={{"host": "localhost"}})
    if answer.status_code == 200:
        break
    time.sleep(0.1)
jwks = Client().get("/issuer/jwks.json", headers={{"host": "localhost"}})
signin = Client().get("/signin/", headers={{"host": "localhost"}})
print(json.dumps({{"ready": answer.json(), "keys": len(jwks.json()["keys"]), "corp": "Example Corp" in signin.content.decode()}}))
"""


@pytest.fixture
def environment(tmp_path):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ROLEGATE_", "REDIS_"))}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "config.settings.development",
        "ROLEGATE_URL": "http://localhost:8000",
        "ROLEGATE_SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.sqlite3'}",
        "TEST_OIDC_SECRET": "public",
    }


def manage(environment, *arguments):
    subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True, capture_output=True
    )


def migrated(environment, tmp_path):
    migrate_sqlite(tmp_path / "gateway.sqlite3", lambda: manage(environment, "migrate", "-v", "0"))


def serve(environment, entry="wsgi"):
    return subprocess.Popen(
        [sys.executable, "-c", SERVE.format(entry=entry)], cwd=ROOT, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("entry", ["wsgi", "asgi"])
def test_a_migrated_gateway_serves_its_keys_and_its_configured_mapping(environment, tmp_path, entry):
    (tmp_path / "mapping.yaml").write_text(cast.DOCUMENT)
    environment["ROLEGATE_CONFIG"] = str(tmp_path / "mapping.yaml")
    migrated(environment, tmp_path)
    out, err = serve(environment, entry).communicate(timeout=60)
    assert json.loads(out.splitlines()[-1]) == {"ready": {"status": "ok"}, "keys": 2, "corp": True}, err[-2000:]


def test_a_gateway_that_starts_before_its_database_is_migrated_catches_up(environment, tmp_path):
    process = serve(environment)
    assert json.loads(process.stdout.readline()) == {"loaded": True}
    with sqlite3.connect(tmp_path / "gateway.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    manage(environment, "migrate", "-v", "0")
    begun = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert json.loads(out.splitlines()[-1])["keys"] == 2, err[-2000:]
    assert time.monotonic() - begun < 15
    assert "first_start_waits_for_the_database" in err


def test_a_faulty_mapping_stops_a_gateway_that_has_none_with_path_and_line(environment, tmp_path):
    (tmp_path / "mapping.yaml").write_text("version: 1\nmappings: []\n")
    environment["ROLEGATE_CONFIG"] = str(tmp_path / "mapping.yaml")
    migrated(environment, tmp_path)
    process = serve(environment)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "line 2: mappings" in err


# As manage.py does, and then says which of these were loaded.
COMMAND = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "tokens", "list"])
print(sorted({"portal.urls", "portal.api.views", "ninja"} & sys.modules.keys()))
"""


def test_a_command_loads_no_page_and_still_looks_at_its_settings(environment, tmp_path):
    migrated(environment, tmp_path)
    command = [sys.executable, "-c", COMMAND]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    environment["ROLEGATE_CONFIG"] = str(tmp_path / "nowhere.yaml")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "rolegate.E004" in done.stderr


def test_a_worker_loads_no_page(environment):
    loaded = "print(sorted({'portal.urls', 'portal.api.views', 'ninja'} & sys.modules.keys()))"
    code = f"import sys; from config.celery import app; app.loader.import_default_modules(); print(len(app.tasks)); {loaded}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    tasks, found = done.stdout.splitlines()
    assert (int(tasks) > 10, found) == (True, "[]")
