"""`python -m demo`: the gateway, a corporate identity provider and a local AWS on this machine. DEMO ONLY.

`--check` starts everything, signs in once by SAML and once by OpenID Connect, prints OK and ends.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from demo import check, estate
from demo.aws.server import LocalAws
from demo.cast import CAST
from demo.company import accounts, furnish, past
from demo.company.directory import CompanyDirectory
from demo.company.people import HEADCOUNT, PASSWORD, everybody
from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp
from demo.processes import Child, DemoFailed, run, wait_for
from demo.serving import PortInUse, reserve

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "demo"
GATEWAY_PORT, IDP_PORT, AWS_PORT = 8000, 8001, 8002
GATEWAY = f"http://localhost:{GATEWAY_PORT}"
ISSUER = f"{GATEWAY}/issuer"
# What a shell may hold for another gateway or a real AWS account must not leak into the demo.
FOREIGN_PREFIXES = ("ROLEGATE_", "AWS_", "DJANGO_")
FOREIGN = frozenset({"DATABASE_URL", "REDIS_URL"})
WATCH_SECONDS = 0.5
DIRECTORY_TOKEN = "directory_token"  # the file's name


def kept_secret(name: str) -> str:
    """A random secret that a second start finds again; readable by its owner alone."""
    path = VAR / name
    if not path.exists():
        keep(name, secrets.token_urlsafe(48))
    return path.read_text().strip()


def keep(name: str, text: str) -> None:
    """Write a file of the demo's that its owner alone can read; a reader sees the old one whole, or the new one."""
    fresh = VAR / f"{name}.new"
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(VAR / name)


def environment(idp_secret: str, aws: LocalAws) -> dict[str, str]:
    """What the gateway's processes see. What of it is the demo's own is kept, for `manage.py` in another shell to find."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN
    }
    ours = {
        "ROLEGATE_URL": GATEWAY,
        "ROLEGATE_ISSUER_URL": ISSUER,
        "ROLEGATE_SECRET_KEY": kept_secret("secret_key"),
        "ROLEGATE_SIGNIN_ENDPOINT_URL": aws.federation_url,
        "ROLEGATE_SAML_ENDPOINT_URL": f"{aws.url}/saml",
        "ROLEGATE_ORGANIZATION_ROLE": furnish.READER_OF_ORGANIZATION,
        "DEMO_OIDC_SECRET": idp_secret,
        "AWS_ENDPOINT_URL_STS": aws.url,
        "AWS_ENDPOINT_URL_IAM": aws.url,
        "AWS_ENDPOINT_URL_ORGANIZATIONS": aws.url,
    }
    keep("environment.json", json.dumps(ours, indent=1))
    return {**own, **ours, "DJANGO_SETTINGS_MODULE": "config.settings.demo", "PYTHONUNBUFFERED": "1"}


def clear_environment() -> None:
    """Forget, in this process and its children, what the shell holds for other gateways, a real AWS account and proxies."""
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN:
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1"


def check_gateway_port() -> None:
    """Raises PortInUse. Both addresses of localhost count: a browser may try ::1 first."""
    reserve(GATEWAY_PORT).close()
    try:
        socket.create_connection(("::1", GATEWAY_PORT), timeout=1).close()
    except OSError:
        return
    raise PortInUse(GATEWAY_PORT)


def identity_provider(secret: str) -> CorporateIdp:
    client = OidcClient(
        "rolegate",
        secret,
        (f"{GATEWAY}/oidc/corp-oidc/callback",),
        (f"{GATEWAY}/signin/", f"{GATEWAY}/signout/done", f"{GATEWAY}/"),
        f"{GATEWAY}/oidc/corp-oidc/backchannel-logout",
    )
    return CorporateIdp(
        IDP_PORT, [f"{GATEWAY}/saml/corp/metadata"], [client], key_folder=VAR / "idp", people=everybody()
    )


def seed_history(manage: list[str], env: dict[str, str]) -> dict[str, str]:
    """Ninety days into a gateway that is new. Returns role ARN -> when it was last used. Raises DemoFailed.

    A gateway that was used before is left as it is; what its first start told of the roles is told again.
    """
    document, told = VAR / "company.json", VAR / "last_used.json"
    if not told.exists():
        document.write_text(json.dumps(past.history()))
        said = run("Writing ninety days of history", [*manage, "seed_history", str(document)], env, fine=(0, 3))
        if said.startswith("{"):
            seeded = json.loads(said)
            keep(DIRECTORY_TOKEN, seeded["directory_token"])
            told.write_text(json.dumps(seeded["last_used"]))
        else:
            told.write_text("{}")
            print("  This gateway was used before there was a history: delete var/demo to have one.")
    return dict(json.loads(told.read_text()))


def company_directory(manage: list[str], env: dict[str, str]) -> CompanyDirectory:
    """The company's directory, with the token that came with the history, or a new one where there is none. Raises DemoFailed."""
    path = VAR / DIRECTORY_TOKEN
    if not path.exists():
        create = [*manage, "tokens", "create", f"directory-{secrets.token_hex(3)}", "--scope", "scim:corp"]
        keep(DIRECTORY_TOKEN, run("Making the directory's token", create, env))
    return CompanyDirectory(GATEWAY, path.read_text().strip(), everybody())


def read_catalogue(manage: list[str], env: dict[str, str]) -> None:
    """The gateway reads the organization and its accounts. One account has no reader role, as somewhere it always is."""
    print("Reading the accounts' roles ...")
    said = run("Reading the catalogue", [*manage, "refresh", "catalogue"], env, fine=(0, 1))
    living = sum(1 for account in accounts.accounts() if account.state == "ACTIVE")
    # The organization counts as one more; a demo that was killed a minute ago may hold the lease: the worker reads them then.
    if f"{living + 1} read, {living} in order" not in said:
        print(said)


def start(undo: list[Callable[[], None]]) -> tuple[list[Child], dict[str, str]]:
    """Start everything; what to call to end it goes onto `undo` as it comes. Raises PortInUse or DemoFailed.

    Returns the gateway's processes, and what they see as their environment.
    """
    VAR.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_gateway_port()
    secret = kept_secret("oidc_client_secret")
    idp = identity_provider(secret)
    undo.append(idp.stop)
    idp.start()
    aws = LocalAws(AWS_PORT)
    undo.append(aws.stop)
    aws.start()
    env = environment(secret, aws)
    manage = [sys.executable, "manage.py"]
    print("Preparing the database ...")
    run("Migrating the database", [*manage, "migrate", "--verbosity", "0"], env)
    last_used = seed_history(manage, env)
    run("Collecting the static files", [*manage, "collectstatic", "--noinput", "--verbosity", "0"], env)
    run("Applying demo/mapping.yaml", [*manage, "apply", "demo/mapping.yaml", "--comment", "make demo"], env)
    programs = Path(sys.executable).parent
    print("Starting the gateway ...")
    gateway = Child(
        "The gateway",
        [str(programs / "granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(GATEWAY_PORT), "--blocking-threads", "2",
         "--no-access-log", "config.wsgi:application"],
        env, VAR / "gateway.log",
    )  # fmt: skip
    undo.append(gateway.stop)
    wait_for(f"{GATEWAY}/readyz", gateway)
    estate.furnish(aws, ISSUER)
    furnish.furnish(aws, ISSUER, last_used, datetime.now(UTC))
    read_catalogue(manage, env)
    directory = company_directory(manage, env)
    undo.append(directory.stop)
    directory.push()
    directory.start()
    run("Working out who has which role", [*manage, "refresh", "entitlements"], env)
    run("Examining the roles' trust policies", [*manage, "refresh", "findings"], env)
    worker = Child(
        "The Celery worker",
        [str(programs / "celery"), "-A", "config.celery", "worker", "-B", "--concurrency", "1", "--loglevel", "INFO",
         "--schedule", str(VAR / "celerybeat-schedule")],
        env, VAR / "worker.log",
    )  # fmt: skip
    undo.append(worker.stop)
    return [gateway, worker], env


def send(task: str, env: dict[str, str]) -> None:
    """Put a task into the worker's queue, as beat does. Raises DemoFailed."""
    celery = str(Path(sys.executable).parent / "celery")
    run(f"Sending {task}", [celery, "-A", "config.celery", "call", f"federation.tasks.{task}"], env)


def banner() -> str:
    """Where to click, whom to sign in as, what to type."""
    aws = f"http://127.0.0.1:{AWS_PORT}"
    people = "\n".join(f"    {actor.login:7} {actor.password:11} {actor.shows}" for actor in CAST.values())
    line = "=" * 78
    return f"""
{line}
  ROLEGATE DEMO. The company, its people and this AWS are made up.

  Open   {GATEWAY}
  and sign in as    name    password
{people}
  and the other {HEADCOUNT - len(CAST)} people of the company, whose password is {PASSWORD}: the provider's
  sign-in page lists and finds them.

  The administrators' side is {GATEWAY}/staff/: carol and judy see and
  do everything, heidi the mapping, ivan the shop's accounts, frank approvals,
  grace looks at all of it and changes nothing.

  The identity provider is http://127.0.0.1:{IDP_PORT}, the local AWS {aws}.
  The issuer is {ISSUER}: plain http, on loopback, in this demo
  ALONE. AWS itself takes nothing but https.

  With the credentials that a role's panel gives you, in a shell:
    aws --region us-east-1 --endpoint-url {aws} sts get-caller-identity
    aws --region us-east-1 --endpoint-url {aws} s3 ls

  Or with the command line helper, which {GATEWAY}/cli/ installs:
    rolegate login {GATEWAY}
    rolegate configure
    aws --endpoint-url {aws} --profile shop-prod-ReadOnly s3 ls

  The company's directory pushes people and groups by SCIM. This morning it
  wants to disable three departments at once: that waits for Carol, under
  Held answers, with what it would mean.

  A role that you make in an account's IAM (as Carol, called shop-something,
  in shop-dev) is Alice's within two minutes: the worker reads the accounts.

  Who may what is in demo/mapping.yaml. Logs and data are in var/demo.
  Every command of manage.py works beside this demo, in another shell:
    DJANGO_SETTINGS_MODULE=config.settings.demo .venv/bin/python manage.py doctor
  Ctrl-C ends everything.
{line}
"""


def main() -> int:
    """The exit status: 0 after Ctrl-C or a good check, 1 when something did not work."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="The gateway with a demo identity provider and a local AWS."
    )
    parser.add_argument(
        "--check", action="store_true", help="start, sign in by SAML and by OpenID Connect, print OK and end"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    clear_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: KeyboardInterrupt, from here on
    undo: list[Callable[[], None]] = []
    try:
        children, env = start(undo)
        if options.check:
            aws_url = f"http://127.0.0.1:{AWS_PORT}"
            check.check(GATEWAY, aws_url)
            check.check_catalogue(GATEWAY, aws_url, lambda: send("refresh_catalogue", env))
            for child in children:
                child.check()
            print("OK")
            return 0
        print(banner(), flush=True)
        while True:
            time.sleep(WATCH_SECONDS)
            for child in children:
                child.check()
    except KeyboardInterrupt:
        print("\nEnding ...")
    except (PortInUse, DemoFailed) as error:
        print(f"The demo cannot run: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must leave no process behind
        for stop in reversed(undo):
            stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
