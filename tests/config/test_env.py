"""The environment's readers: every fault at once, by name, and never a value."""

import os
import re
import runpy
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

import demo.__main__ as demo_main
from config.env import Environment, parse_duration

ROOT = Path(__file__).resolve().parents[2]
GOOD_SECRET = "test-only-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2


def test_all_faults_are_reported_at_once_by_name():
    env = Environment({"ROLEGATE_URL": "ftp://x", "ROLEGATE_SECRET_KEY": "short", "ROLEGATE_CLAIMS_MAX_AGE": "forever"})
    env.url("ROLEGATE_URL", https_only=True, required=True)
    env.secret("ROLEGATE_SECRET_KEY")
    env.duration("ROLEGATE_CLAIMS_MAX_AGE", "12h", least="5m", most="24h")
    env.database("DATABASE_URL", required=True)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.finish()
    text = str(caught.value)
    assert "4 fault(s)" in text
    for name in ("ROLEGATE_URL", "ROLEGATE_SECRET_KEY", "ROLEGATE_CLAIMS_MAX_AGE", "DATABASE_URL"):
        assert name in text
    assert "short" not in text
    assert "ftp://x" not in text


def test_a_misspelt_setting_is_a_fault():
    env = Environment({"ROLEGATE_SECRT_KEY": "x"})
    with pytest.raises(ImproperlyConfigured, match="ROLEGATE_SECRT_KEY is not a setting"):
        env.finish()


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43200), ("90m", 5400), ("1h30m", 5400), ("45s", 45)])
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "12", "h", "1d", "-1h", "1.5h", "1h 30m"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match=r".*"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("url", "https_only", "good"),
    [
        ("https://gate.example.com", True, True),
        ("https://gate.example.com/", True, True),
        ("http://gate.example.com", True, False),
        ("http://gate.example.com", False, False),
        ("http://localhost:8000", False, True),
        ("http://127.0.0.1:8000", False, True),
        ("http://localhost.evil.example", False, False),
        ("https://user:pw@gate.example.com", True, False),
        ("https://gate.example.com?x=1", True, False),
        ("https://gate.example.com:notaport", True, False),
    ],
)
def test_urls(url, https_only, good):
    env = Environment({"ROLEGATE_URL": url})
    env.url("ROLEGATE_URL", https_only=https_only)
    assert (env.faults == []) is good


@pytest.mark.parametrize(
    ("url", "good"), [("https://gate.example.com/", True), ("https://gate.example.com/base", False)]
)
def test_the_gateways_own_address_has_no_path(url, good):
    """Its paths are fixed, and its cookies are for the whole host."""
    env = Environment({"ROLEGATE_URL": url})
    env.url("ROLEGATE_URL", https_only=True, bare=True)
    assert (env.faults == []) is good
    assert good or "without a path" in env.faults[0]


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("", True), ("redis://localhost:6379/0", True), ("rediss://:pw@redis.example.com:6380/1", True),
        ("redis+socket:///run/redis.sock", True), ("sentinel://one:26379;sentinel://two:26379", True), ("localhost:6379", False), ("nonsense", False),
        ("http://redis:6379", False), ("redis://", False), ("redis://host:port/0", False), ("amqp://rabbit", False),
    ],
)  # fmt: skip
def test_brokers(url, good):
    env = Environment({"REDIS_URL": url})
    assert env.broker("REDIS_URL", "redis://default") == (url or "redis://default" if good else "redis://default")
    assert (env.faults == []) is good


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (GOOD_SECRET, 1),
        (f"{GOOD_SECRET}, {GOOD_SECRET[::-1]},", 2),
        ("short", None),
        (f"{GOOD_SECRET},x", None),
        ("a" * 60, None),
    ],
)
def test_retired_secrets_are_as_long_as_the_one_in_use(text, count):
    env = Environment({"ROLEGATE_SECRET_KEY_FALLBACKS": text})
    found = env.secrets("ROLEGATE_SECRET_KEY_FALLBACKS")
    assert len(found) == (count or 0)
    assert len(env.faults) == (count is None)
    assert "short" not in "".join(env.faults)


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("postgres://rolegate:p%40ss@db:5432/gate", "config.postgresql", "gate"),
        ("postgresql:///gate", "config.postgresql", "gate"),
        ("sqlite:////var/lib/gate.sqlite3", "django.db.backends.sqlite3", "/var/lib/gate.sqlite3"),
    ],
)
def test_databases(url, engine, name):
    entry = Environment({"DATABASE_URL": url}).database("DATABASE_URL")
    assert entry["ENGINE"] == engine
    assert entry["NAME"] == name


@pytest.mark.parametrize("url", ["mysql://x/y", "postgres://host/", "sqlite://", "nonsense"])
def test_what_is_no_database(url):
    env = Environment({"DATABASE_URL": url})
    env.database("DATABASE_URL")
    assert len(env.faults) == 1


def test_libpqs_own_parameters_are_passed_on_and_ours_give_way():
    url = "postgres://rolegate@db/gate?sslmode=verify-full&sslrootcert=%2Fetc%2Fssl%2Fdb.pem&connect_timeout=9&options="
    options = Environment({"DATABASE_URL": url}).database("DATABASE_URL")["OPTIONS"]
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", "/etc/ssl/db.pem")
    assert (options["connect_timeout"], options["options"]) == ("9", "")
    assert options["tcp_user_timeout"] == 10_000


@pytest.mark.parametrize("query", ["sslmod=verify-full", "sslmode", "passfile=/etc/shadow", "host=elsewhere"])
def test_a_misspelt_parameter_is_a_fault_and_no_connection_in_clear(query):
    env = Environment({"DATABASE_URL": f"postgres://rolegate@db/gate?{query}"})
    env.database("DATABASE_URL")
    assert len(env.faults) == 1


def test_connections_are_kept_and_looked_at_before_use_and_nothing_waits_for_ever():
    entry = Environment({"DATABASE_URL": "postgres://rolegate@db/gate"}).database("DATABASE_URL")
    assert (entry["CONN_MAX_AGE"], entry["CONN_HEALTH_CHECKS"]) == (60, True)
    assert entry["OPTIONS"]["connect_timeout"] == 3
    assert "lock_timeout=5s" in entry["OPTIONS"]["options"]
    assert "idle_in_transaction_session_timeout=30s" in entry["OPTIONS"]["options"]


def test_sqlite_takes_its_write_lock_at_the_start():
    entry = Environment({"DATABASE_URL": "sqlite:////x/y"}).database("DATABASE_URL")
    assert entry["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code.split()],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_without_an_environment_names_everything_that_is_missing():
    result = run("manage.py check", DJANGO_SETTINGS_MODULE="config.settings.production")
    assert result.returncode != 0
    for name in ("ROLEGATE_URL", "ROLEGATE_SECRET_KEY", "DATABASE_URL"):
        assert f"{name} is not set" in result.stderr


def test_production_passes_djangos_deployment_checks():
    result = run(
        "manage.py check --deploy --fail-level WARNING",
        DJANGO_SETTINGS_MODULE="config.settings.production",
        ROLEGATE_URL="https://gate.example.com",
        ROLEGATE_SECRET_KEY=GOOD_SECRET,
        DATABASE_URL="postgres://nobody@127.0.0.1/none",
    )
    assert result.returncode == 0, result.stderr
    # Collected or not, the static files are served: that hint is the only one there may be.
    assert set(re.findall(r"\(([a-z_]+\.[A-Z]\d{3})\)", result.stdout + result.stderr)) <= {"rolegate.I001"}


def test_an_issuer_that_aws_cannot_use_is_warned_of():
    result = run(
        "manage.py check --deploy",
        DJANGO_SETTINGS_MODULE="config.settings.production",
        ROLEGATE_URL="https://gate.example.com:8443",
        ROLEGATE_SECRET_KEY=GOOD_SECRET,
        DATABASE_URL="postgres://nobody@127.0.0.1/none",
    )
    assert "rolegate.W001" in result.stderr


def test_a_command_says_what_is_wrong_with_the_environment_and_nothing_else():
    result = run("manage.py check", DJANGO_SETTINGS_MODULE="config.settings.production")
    assert result.returncode == 1
    assert result.stderr.startswith("The environment has ")
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("manage.py check --traceback", DJANGO_SETTINGS_MODULE="config.settings.production").stderr


def test_the_demos_commands_find_what_the_demo_gives_its_own_processes(monkeypatch, tmp_path):
    """`manage.py` beside a running demo needs the settings module alone; what a shell sets itself counts all the same."""
    monkeypatch.setattr("config.settings.base.BASE_DIR", tmp_path)
    monkeypatch.setattr("demo.__main__.VAR", tmp_path / "var" / "demo")
    for name in ("ROLEGATE_SECRET_KEY", "ROLEGATE_URL", "ROLEGATE_ISSUER_URL", "DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:9")
    demo = ROOT / "config" / "settings" / "demo.py"
    with pytest.raises(ImproperlyConfigured, match="ROLEGATE_SECRET_KEY is not set"):
        runpy.run_path(str(demo))
    (tmp_path / "var" / "demo").mkdir(parents=True, exist_ok=True)
    aws = SimpleNamespace(url="http://127.0.0.1:8002", federation_url="http://127.0.0.1:8002/federation")
    given = demo_main.environment("the client's secret", aws)
    assert (tmp_path / "var" / "demo" / "environment.json").stat().st_mode & 0o777 == 0o600
    with monkeypatch.context() as shell:
        for name in given.keys() - os.environ.keys():
            shell.setenv(name, "")  # so that what the settings set is taken back afterwards
            shell.delenv(name)
        read = runpy.run_path(str(demo))
        assert read["SECRET_KEY"] == given["ROLEGATE_SECRET_KEY"]
        assert read["ROLEGATE_ORGANIZATION_ROLE"] == given["ROLEGATE_ORGANIZATION_ROLE"]
        assert os.environ["DEMO_OIDC_SECRET"] == "the client's secret"
        assert os.environ["AWS_ENDPOINT_URL_STS"] == aws.url
        assert os.environ["AWS_ENDPOINT_URL_IAM"] == "http://127.0.0.1:9"
        for name in ("DEMO_OIDC_SECRET", "AWS_ENDPOINT_URL_STS"):
            shell.delenv(name)
        shell.setenv("ROLEGATE_SECRET_KEY", GOOD_SECRET)
        assert runpy.run_path(str(demo))["SECRET_KEY"] == GOOD_SECRET
        assert not {"DEMO_OIDC_SECRET", "AWS_ENDPOINT_URL_STS"} & os.environ.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtps://u:p%40ss@mail.example.com", ("mail.example.com", 465, "u", "p@ss", True, False)),
        ("smtp://mail.example.com:2525", ("mail.example.com", 2525, "", "", False, True)),
        ("smtp://localhost:1025", ("localhost", 1025, "", "", False, False)),
    ],
)
def test_a_mail_server_is_never_spoken_to_in_clear_but_on_loopback(text, expected):
    found = Environment({"M": text}).mail_server("M")
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "EMAIL_USE_SSL", "EMAIL_USE_TLS")
    assert tuple(found[name] for name in names) == expected


@pytest.mark.parametrize("text", ["mail.example.com", "http://mail.example.com", "smtp://", "smtp://h/x", "smtp://h:x"])
def test_what_is_no_mail_server_is_a_fault(text):
    environment = Environment({"M": text})
    assert environment.mail_server("M") == {}
    assert environment.faults


def test_a_sender_is_an_address():
    environment = Environment({"A": "Rolegate <a@b>", "B": "a@b.example"})
    assert environment.address("A", "x@y") == "x@y"
    assert environment.address("B", "x@y") == "a@b.example"
    assert len(environment.faults) == 1


@pytest.mark.parametrize(("https_only", "allowed"), [(True, False), (False, True)])
def test_plain_http_to_providers_on_loopback_is_for_development_alone(https_only, allowed):
    from config.settings.base import read_environment

    given = {
        "ROLEGATE_URL": "https://gate.example.com",
        "ROLEGATE_SECRET_KEY": GOOD_SECRET,
        "DATABASE_URL": "sqlite:////tmp/x",
    }
    settings = read_environment(Environment(given), https_only=https_only)
    assert settings["ROLEGATE_PLAIN_LOOPBACK"] is allowed
