"""A rolling upgrade: the next version's migration runs under the version that serves, then both serve; nobody is turned away."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo.cast import CAST
from tests.faults.conftest import Town
from tests.faults.servers import wait_until
from tests.faults.test_database_restarts import under_load
from tests.live import READ_ONLY_OIDC, READ_ONLY_SAML, ROOT, Api, Gateway, Visitor, caller_identity

_COLUMN = 'models.CharField(max_length=50, db_default="", default="")'
# A column on each table that a sign-in writes, which the next version fills and this one knows nothing of.
TABLES = {"person": "people.py", "portalsession": "sessions.py", "signinstate": "sessions.py"}
# One table a migration: until its transaction ends, whoever wants that table waits.
MIGRATIONS = {
    **{
        f"999{number}_of_tomorrow": f'AddField("{table}", "of_tomorrow", {_COLUMN})'
        for number, table in enumerate(TABLES)
    },
    "9999_of_tomorrow": 'CreateModel("Tomorrow", [("id", models.BigAutoField(primary_key=True))])',
}
_MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("federation", "{after}")]
    operations = [migrations.{operation}]
"""


def next_version(folder: Path) -> Path:
    """This version's code with a few migrations more, and models to match."""
    for name in ("config", "federation", "portal", "cli"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", folder)
    migrations = folder / "federation" / "migrations"
    after = max(path.stem for path in migrations.glob("[0-9]*.py"))
    for name, operation in MIGRATIONS.items():
        (migrations / f"{name}.py").write_text(_MIGRATION.format(after=after, operation=operation))
        after = name
    for module in set(TABLES.values()):
        path = folder / "federation" / "models" / module
        text = path.read_text()
        first = "    created_at = models.DateTimeField("
        assert text.count(first) == list(TABLES.values()).count(module)
        path.write_text(text.replace(first, f"    of_tomorrow = {_COLUMN}\n{first}"))
    return folder


@pytest.fixture
def tomorrow(town: Town, tmp_path: Path) -> Iterator[Gateway]:
    """The next version, serving beside this one out of the same database: not migrated yet."""
    environment = {**town.stage.gateway.environment}
    gateway = Gateway(tmp_path / "gateway", environment, code=next_version(tmp_path / "code"))
    gateway.environment = environment
    try:
        yield gateway.serve()
    finally:
        gateway.stop()
        columns = [f"ALTER TABLE federation_{table} DROP COLUMN IF EXISTS of_tomorrow" for table in TABLES]
        forget = "DELETE FROM django_migrations WHERE name LIKE '%_of_tomorrow'"
        town.cluster.execute(*columns, "DROP TABLE IF EXISTS federation_tomorrow", forget)


@contextlib.contextmanager
def people_signing_in(town: Town) -> Iterator[list[tuple[int, str]]]:
    """One after the other without a pause; the pages that they ended on."""
    pages: list[tuple[int, str]] = []
    ending = threading.Event()

    def come() -> None:
        while not ending.is_set():
            page = town.try_to_sign_in(Visitor())
            pages.append((page.status, page.url))

    thread = threading.Thread(target=come)
    thread.start()
    try:
        wait_until(lambda: len(pages) >= 3, "people sign in before the upgrade")
        yield pages
    finally:
        ending.set()
        thread.join()


def ready(gateway: Gateway) -> requests.Response:
    return requests.get(f"{gateway.url}/readyz", timeout=10)


def test_nobody_notices(town: Town, tomorrow: Gateway) -> None:
    today = town.stage.gateway
    alice = town.sign_in()
    token = alice.pair(today)
    early = ready(tomorrow)
    assert (early.status_code, early.json()["reasons"]) == (
        503,
        ["migrations_pending"],
    )  # no balancer sends anybody there

    with under_load(today, token) as load, people_signing_in(town) as pages:
        signed_in = len(pages)
        tomorrow.manage("migrate", "-v", "0")
        wait_until(lambda: ready(tomorrow).status_code == 200, "the next version is ready")
        assert ready(today).status_code == 200
        given = len(load.given())
        wait_until(
            lambda: len(load.given()) >= given + 15 and len(pages) >= signed_in + 5, "both go on after the migration"
        )
    assert (load.broken, load.refused()) == ([], [])
    assert set(pages) == {(200, f"{today.url}/")}

    # What one of them made is good at the other: a session, a pairing, and a sign-in that goes out by one and comes back to the other.
    assert "My roles" in alice.get(f"{tomorrow.url}/").text
    for gateway in (today, tomorrow):
        for role in (READ_ONLY_SAML, READ_ONLY_OIDC):
            document = Api(gateway, token).credentials(role)
            assert ":assumed-role/ReadOnly/" in caller_identity(town.stage.aws, document)
    page = Visitor().sign_in(tomorrow, "corp", user="alice", password=CAST["alice"].password)
    assert (page.status, page.url) == (200, f"{today.url}/")
    for gateway in (today, tomorrow):
        assert "intact" in gateway.manage("audit", "verify")


def test_a_column_that_rows_cannot_do_without_would_turn_everybody_away(town: Town) -> None:
    """Why tests/models/test_migrations.py wants a default in the database: Django's own default is not there."""
    town.sign_in()
    try:
        town.cluster.execute(
            "ALTER TABLE federation_signinstate ADD COLUMN of_tomorrow varchar(50) NOT NULL DEFAULT ''",
            "ALTER TABLE federation_signinstate ALTER COLUMN of_tomorrow DROP DEFAULT",
        )
        assert town.try_to_sign_in(Visitor()).status == 500
    finally:
        town.cluster.execute("ALTER TABLE federation_signinstate DROP COLUMN of_tomorrow")
    town.sign_in()
