"""The real gateway, run as a process as an operator would, and a visitor to it that speaks plain HTTP.

`Gateway`: granian with `config.settings.development`, a database of its own (PostgreSQL where DATABASE_URL names one,
else an SQLite file), migrated and given a mapping document through `manage.py`. `Visitor`: a `requests` session that
follows redirects and submits the forms it is shown, as a browser without scripts does.

A visitor is also a program of its own (tests/cli/visitor_browser.py), started for each sign-in: what it does not need (moto,
boto3, PostgreSQL's client) is two thirds of the start, and imported where it is used.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit
from uuid import UUID

import requests
import yaml
from bs4 import BeautifulSoup, Tag

from tests.processes import Process, free_port

if TYPE_CHECKING:
    from demo.aws.server import LocalAws

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 60
CLIENT_SECRET = "a-test-client-secret-that-is-public"
AUDIT_COLUMNS = ("seq", "kind", "outcome", "actor", "reason", "request_id", "address", "data")
CLI_REDIRECT = "http://127.0.0.1:49152/callback"

SAML_ACCOUNT = "111122223333"
OIDC_ACCOUNT = "444455556666"
READ_ONLY_SAML = f"arn:aws:iam::{SAML_ACCOUNT}:role/ReadOnly"
READ_ONLY_OIDC = f"arn:aws:iam::{OIDC_ACCOUNT}:role/ReadOnly"


def mapping_document(providers: list[dict[str, Any]]) -> dict[str, Any]:
    """Two accounts, one trusting us by SAML and one by OpenID Connect; engineering may read both, contractors nothing."""
    return {
        "version": 1,
        "identity_providers": providers,
        "accounts": [
            {"id": SAML_ACCOUNT, "name": "shop-prod", "federation": "saml", "provider": "rolegate", "region": "us-east-1",
             "tags": {"environment": "production", "team": "shop"}},
            {"id": OIDC_ACCOUNT, "name": "shop-staging", "federation": "oidc", "region": "us-east-1",
             "tags": {"environment": "staging", "team": "shop"}},
        ],
        "mapping": [
            {"name": "engineers-read", "when": {"groups": ["engineering"]},
             "allow": {"roles": ["ReadOnly"], "accounts": {"tags": {"team": "shop"}}},
             "session": {"duration": "1h", "tags": {"Team": "shop"}}},
            {"name": "no-contractors", "when": {"groups": ["contractors"]}, "deny": {"accounts": {"names": ["*"]}}},
        ],
    }  # fmt: skip


def _stamp_of_static_files() -> str:
    """What the collected files were made of: this checkout's, at these times."""
    files = sorted((ROOT / "portal" / "static").rglob("*"))
    times = "".join(f"{file} {file.stat().st_mtime_ns}\n" for file in files)
    there = (ROOT / "staticfiles" / "staticfiles.json").exists()
    return f"{hashlib.sha256(times.encode()).hexdigest()} {there}"


def migrate_sqlite(path: Path, migrate: Callable[[], object], *, code: Path = ROOT) -> None:
    """Make `path` a migrated database: by `migrate`, or as a copy of one that it has made before, out of the same migrations.

    `code`: whose migrations, if not this checkout's.
    """
    migrations = sorted((code / "federation" / "migrations").glob("*.py"))
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in (*migrations, ROOT / "requirements.txt")))
    migrated = Path(sys.prefix) / f".migrated-{stamp.hexdigest()[:16]}.sqlite3"
    with (Path(sys.prefix) / ".migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not migrated.exists():
            migrate()
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(migrated)) as target:
                source.backup(target)  # with what is still in the write-ahead log
            return
    shutil.copyfile(migrated, path)


class Gateway:
    """One gateway process on a free port. `environment` adds to its environment, or overrides it: also the database.

    `code`: where its own code is, if not in this checkout.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, *, code: Path = ROOT) -> None:
        self.folder, self.code = folder, code
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.issuer = f"{self.url}/issuer"
        given = (environment or {}).get("DATABASE_URL", "")
        self._database, self._server_url = (given, "") if given else self._make_database()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ROLEGATE_", "COV_CORE_", "REDIS_", "AWS_"))
        }
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "config.settings.development",
            "ROLEGATE_URL": self.url,
            "ROLEGATE_SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_URL": self._database,
            **(environment or {}),
        }
        self._process: Process | None = None
        self.workers = 1
        self.threads = 4
        self.programs = Path(sys.executable).parent  # where granian is: the environment that serves

    def _make_database(self) -> tuple[str, str]:
        server = os.environ.get("DATABASE_URL", "")
        if not server.startswith("postgres"):
            return f"sqlite:///{self.folder / 'gateway.sqlite3'}", ""
        import psycopg

        name = f"rolegate_live_{secrets.token_hex(6)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return urlsplit(server)._replace(path=f"/{name}").geturl(), server

    def manage(self, *arguments: str) -> str:
        """`manage.py` with these arguments; returns what it printed. Raises RuntimeError with its errors."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.code,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout

    def apply(self, document: Mapping[str, Any]) -> None:
        """Publish a mapping document."""
        path = self.folder / "mapping.yaml"
        path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
        self.manage("apply", str(path))

    def start(self) -> Gateway:
        """Migrate, collect the static files, serve."""
        with (Path(sys.prefix) / ".collectstatic.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # test workers share the checkout's staticfiles/
            lock.seek(0)
            if lock.read() != (stamp := _stamp_of_static_files()):
                self.manage("collectstatic", "--noinput", "-v", "0")
                lock.truncate(0)
                lock.write(stamp)
        self._migrate()
        return self.serve()

    def serve(self) -> Gateway:
        """Serve what is there, be the database migrated or not."""
        granian = str(self.programs / "granian")
        self._process = Process(
            [granian, "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers),
             "--blocking-threads", str(self.threads), "--no-ws", "config.wsgi:application"],
            log=self.folder / "gateway.log", environment=self.environment, folder=self.code,
        ).start(ready=f"{self.url}/healthz")  # fmt: skip
        return self

    def _migrate(self) -> None:
        """`manage.py migrate`; for SQLite as `migrate_sqlite` does it."""
        if self._server_url or not self._database.startswith("sqlite:///"):
            self.manage("migrate", "-v", "0")
            return
        migrate_sqlite(
            Path(self._database.removeprefix("sqlite:///")), lambda: self.manage("migrate", "-v", "0"), code=self.code
        )

    @property
    def pid(self) -> int:
        """The process that watches over the workers. Raises AssertionError before `start`."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process and drop its database."""
        if self._process:
            self._process.stop()
        if self._server_url:
            import psycopg

            name = urlsplit(self._database).path.lstrip("/")
            with psycopg.connect(self._server_url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @property
    def log(self) -> str:
        """Everything the process printed."""
        return (self.folder / "gateway.log").read_text(errors="replace")

    def audit(self, kind: str = "") -> list[dict[str, Any]]:
        """The audit log's events, oldest first, of one kind where one is given. Out of the table: `manage.py` takes seconds to start."""
        rows = self.rows(f"SELECT {', '.join(AUDIT_COLUMNS)} FROM federation_auditevent ORDER BY seq")
        events = [dict(zip(AUDIT_COLUMNS, row, strict=True)) for row in rows]
        for event in events:
            if isinstance(event["data"], str):  # SQLite has no JSON of its own
                event["data"] = json.loads(event["data"])
        return [event for event in events if not kind or event["kind"] == kind]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in the gateway's database, as the database gives it."""
        if self._database.startswith("postgres"):
            import psycopg

            with psycopg.connect(self._database) as connection:
                return connection.execute(query).fetchall()  # type: ignore[arg-type]
        with closing(sqlite3.connect(self._database.removeprefix("sqlite:///"), timeout=TIMEOUT)) as connection:
            return connection.execute(query).fetchall()

    def actors(self) -> dict[str, str]:
        """The audit log's name for each person -> what people call them. A refusal names them by their id."""
        people = self.rows("SELECT id, provider, session_name, name FROM federation_person")
        return {
            actor: name
            for number, provider, session_name, name in people
            for actor in (f"{provider}:{session_name}", str(UUID(str(number))))
        }

    def saml_metadata(self) -> bytes:
        """What the account's owner uploads to IAM."""
        answer = requests.get(f"{self.issuer}/saml/metadata.xml", timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content

    def sp_metadata(self, slug: str) -> bytes:
        """What the corporate identity provider's administrator is given."""
        answer = requests.get(f"{self.url}/saml/{slug}/metadata", timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content


class Stage:
    """A gateway and a local AWS whose two accounts trust it, each by its own protocol. Identity providers are added as they come.

    `environment` is the gateway's, as in `Gateway`.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        from demo.aws.server import LocalAws

        self.folder = folder
        self.aws = LocalAws()
        self.gateway = Gateway(
            folder / "gateway",
            {
                "AWS_ENDPOINT_URL_STS": self.aws.url,
                "ROLEGATE_SIGNIN_ENDPOINT_URL": self.aws.federation_url,
                "TEST_CLIENT_SECRET": CLIENT_SECRET,
                **(environment or {}),
            },
        )
        self._providers: dict[str, dict[str, Any]] = {}

    def start(self) -> Stage:
        """Start both, and do in both accounts what their owners would: register the gateway, make the role, fill a bucket."""
        self.aws.start()
        gateway = self.gateway.start()
        gateway.apply(mapping_document(list(self._providers.values())))
        saml_arn = self.aws.register_saml_provider(SAML_ACCOUNT, "rolegate", gateway.saml_metadata())
        oidc_arn = self.aws.register_oidc_provider(OIDC_ACCOUNT, gateway.issuer, ["sts.amazonaws.com"])
        recipients = ["https://signin.aws.amazon.com/saml", "https://us-east-1.signin.aws.amazon.com/saml"]
        issuer = gateway.issuer.split("://", 1)[1]
        saml_trust = _trust_policy(saml_arn, "sts:AssumeRoleWithSAML", {"SAML:aud": recipients})
        oidc_trust = _trust_policy(oidc_arn, "sts:AssumeRoleWithWebIdentity", {f"{issuer}:aud": "sts.amazonaws.com"})
        assert self.aws.create_role(SAML_ACCOUNT, "ReadOnly", saml_trust) == READ_ONLY_SAML
        assert self.aws.create_role(OIDC_ACCOUNT, "ReadOnly", oidc_trust) == READ_ONLY_OIDC
        self.aws.create_bucket(SAML_ACCOUNT, "shop-prod-orders", files={"orders.csv": b"id\n1\n"})
        self.aws.create_bucket(OIDC_ACCOUNT, "shop-staging-orders")
        return self

    def connect(self, provider: dict[str, Any]) -> None:
        """Publish the mapping document with this identity provider in it too."""
        self._providers[provider["slug"]] = provider
        self.gateway.apply(mapping_document(list(self._providers.values())))

    def stop(self) -> None:
        self.gateway.stop()
        self.aws.stop()


def _trust_policy(principal: str, action: str, condition: dict[str, Any]) -> dict[str, Any]:
    """The trust policy of a role, as the gateway's documentation tells account owners to write it."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": principal},
        "Action": [action, "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": {"StringEquals": condition},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


class Page:
    """An HTML answer, as a person sees it."""

    def __init__(self, answer: requests.Response) -> None:
        self.answer = answer
        self.url = answer.url
        self.status = answer.status_code
        self.soup = BeautifulSoup(answer.text, "html.parser")

    @property
    def text(self) -> str:
        return " ".join(self.soup.get_text(" ").split())

    def form(self, *fields: str, action: str = "") -> Tag:
        """The one form that has all these fields and whose action holds `action`. Raises AssertionError with the page's text.

        A page may have the same form twice, as a recent role and in its place in the list: that is one.
        """
        found = [
            form
            for form in self.soup.find_all("form")
            if action in (form.get("action") or "")
            and all(form.find(["input", "select", "button", "textarea"], attrs={"name": name}) for name in fields)
        ]
        assert len({form.get("action") for form in found}) == 1, (
            f"{len(found)} forms with {fields} {action!r} at {self.url} ({self.status}): {self.text[:1500]}"
        )
        return found[0]

    @property
    def problem(self) -> tuple[str, str]:
        """(error code, request id) that the gateway's error page shows."""
        facts = {term.get_text(strip=True): term.find_next("dd") for term in self.soup.find_all("dt")}
        assert "Error code" in facts, f"no error page at {self.url} ({self.status}): {self.text[:800]}"
        request_id = self.soup.find(id="request-id")
        return facts["Error code"].get_text(strip=True), request_id.get_text(strip=True) if request_id else ""


class Visitor:
    """Somebody with a browser: cookies, redirects, forms, and pages that refresh to another address."""

    def __init__(self) -> None:
        self.http = requests.Session()
        self.http.headers["User-Agent"] = "test visitor"
        self.trail: list[str] = []

    def get(self, url: str) -> Page:
        """Open a page."""
        return self._arrive(self.http.get(url, timeout=TIMEOUT))

    def _arrive(self, answer: requests.Response) -> Page:
        self.trail += [hop.url for hop in answer.history] + [answer.url]
        page = Page(answer)
        refresh = page.soup.find("meta", attrs={"http-equiv": "refresh"})
        if refresh is not None:
            target = str(refresh["content"]).split("url=", 1)[1].strip()
            return self.get(urljoin(answer.url, target))
        return page

    def submit(self, page: Page, form: Tag, follow: bool = True, **values: str) -> Page:
        """Submit a form with its own hidden values, these values, and the Origin that a browser sends with it."""
        data: dict[str, str] = {}
        for field in form.find_all("input"):
            if field.get("name") and (field.get("type") or "text") not in {"submit", "button"}:
                data[field["name"]] = field.get("value") or ""
        data |= values
        parts = urlsplit(page.url)
        headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Referer": page.url}
        url = urljoin(page.url, form.get("action") or page.url)
        if (form.get("method") or "get").lower() == "get":
            answer = self.http.get(url, params=data, timeout=TIMEOUT, allow_redirects=follow)
        else:
            answer = self.http.post(url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=follow)
        return self._arrive(answer) if follow else Page(answer)

    def sign_in(
        self, gateway: Gateway, slug: str, *, user: str = "alice", password: str = "wonderland", next_path: str = "/"
    ) -> Page:
        """From the gateway through the identity provider's own form, and back; whatever page that ends on."""
        page = self.get(f"{gateway.url}/signin/{slug}/?{urlencode({'next': next_path})}")
        for name in ("username", "login"):
            if page.soup.find("input", attrs={"name": name}):
                page = self.submit(page, page.form(name, "password"), **{name: user, "password": password})
                break
        while page.soup.find("input", attrs={"name": "SAMLResponse"}):
            page = self.submit(page, page.form("SAMLResponse"))
        return page

    def pair(self, gateway: Gateway) -> str:
        """An access token for the API, got as the command line gets it."""
        return str(self.pair_for_tokens(gateway)["access_token"])

    def pair_for_tokens(self, gateway: Gateway) -> dict[str, Any]:
        """The token endpoint's answer to a pairing: authorization code, PKCE, a person's Allow."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        state = secrets.token_urlsafe(8)
        query = {
            "response_type": "code", "client_id": "rolegate-cli", "redirect_uri": CLI_REDIRECT, "state": state,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        page = self.get(f"{gateway.url}/oauth/authorize?{urlencode(query)}")
        answer = self.submit(page, page.form("decision"), follow=False, decision="allow").answer
        assert answer.status_code in {302, 303}, Page(answer).text[:800]
        location = answer.headers["Location"]
        assert location.startswith(CLI_REDIRECT), location
        back = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert back.get("state") == state, back
        token = requests.post(
            f"{gateway.url}/oauth/token",
            data={"grant_type": "authorization_code", "code": back["code"], "redirect_uri": CLI_REDIRECT,
                  "client_id": "rolegate-cli", "code_verifier": verifier},
            timeout=TIMEOUT,
        )  # fmt: skip
        assert token.status_code == 200, token.text
        return dict(token.json())


class Api:
    """The JSON API with one bearer token."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self._base = f"{gateway.url}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str, **params: str) -> requests.Response:
        return requests.get(f"{self._base}{path}", params=params, headers=self._headers, timeout=TIMEOUT)

    def post(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        return requests.post(f"{self._base}{path}", json=dict(body), headers=self._headers, timeout=TIMEOUT)

    def credentials(self, role_arn: str, **more: Any) -> dict[str, Any]:
        """The credential_process document for a role; asserts that it was given."""
        answer = self.post("/credentials", {"role_arn": role_arn, **more})
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store", answer.headers
        return dict(answer.json())


def caller_identity(aws: LocalAws, document: Mapping[str, Any]) -> str:
    """The ARN that AWS says these credentials belong to: the proof that they work."""
    import boto3

    client = boto3.session.Session().client(
        "sts",
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=document["AccessKeyId"],
        aws_secret_access_key=document["SecretAccessKey"],
        aws_session_token=document["SessionToken"],
    )
    return str(client.get_caller_identity()["Arn"])
