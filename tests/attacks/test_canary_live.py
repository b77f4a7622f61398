"""The same of the gateway as it runs: its process at ROLEGATE_LOG_LEVEL=DEBUG, its output and its database as they lie on disk."""

from __future__ import annotations

import html
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import requests

from demo.cast import CAST
from demo.idp.oidc_views import OidcClient
from demo.idp.server import CorporateIdp
from tests.attacks.canary import Aviary
from tests.live import CLIENT_SECRET, READ_ONLY_OIDC, READ_ONLY_SAML, TIMEOUT, Api, Stage, Visitor

SECRET = CLIENT_SECRET + "-Zq8+/w4"
NOBODY = "arn:aws:iam::111122223333:role/Nobody"


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Gateway, identity provider with both protocols, local AWS."""
    stage = Stage(tmp_path_factory.mktemp("canary"), {"ROLEGATE_LOG_LEVEL": "DEBUG", "TEST_CLIENT_SECRET": SECRET})
    url = stage.gateway.url
    client = OidcClient("rolegate", SECRET, (f"{url}/oidc/code/callback",), (f"{url}/signout/done",), "")
    idp = CorporateIdp(0, [f"{url}/saml/corp/metadata"], [client])
    try:
        idp.start()
        stage.start()
        claims = {"groups": "memberOf", "email": "mail", "name": "displayName", "subject": "NameID"}
        stage.connect({"slug": "corp", "saml": {"metadata_url": idp.metadata_url}, "claims": claims})
        secret = {"client_id": "rolegate", "client_secret": "${TEST_CLIENT_SECRET}"}
        stage.connect({"slug": "code", "oidc": {"issuer": idp.issuer, **secret}})
        stage.connect({"slug": "literal", "oidc": {"issuer": idp.issuer, "client_id": "x", "client_secret": SECRET}})
        yield stage
    finally:
        stage.stop()
        idp.stop()


def sign_in(aviary: Aviary, town: Stage, slug: str) -> Visitor:
    """By the provider's own form; plants the response or code that the browser carries, and the cookies that it gets."""
    visitor = Visitor()
    page = visitor.get(f"{town.gateway.url}/signin/{slug}/")
    alice = CAST["alice"]
    form = next(
        form
        for form in page.soup.find_all("form")
        if form.find("input", attrs={"name": "request"}) or "signin" in (form.get("action") or "")
    )
    page = visitor.submit(page, form, login=alice.login, password=alice.password)
    field = page.soup.find("input", attrs={"name": "SAMLResponse"})
    if field is not None:
        aviary.plant_saml("SAML response", html.unescape(field["value"]))
        page = visitor.submit(page, page.form("SAMLResponse"))
    for url in visitor.trail:
        for code in parse_qs(urlsplit(url).query).get("code", []):
            aviary.plant("one-use code", code)
    for name in ("rolegate_session", "rolegate_signin"):
        aviary.plant("cookie", visitor.http.cookies[name])
    assert page.status == 200, page.text
    assert page.soup.find("form", action=re.compile("console")), page.text
    return visitor


def database_of(town: Stage) -> bytes:
    """Everything that is stored, as bytes: the file with its log, or every row of every table."""
    url = town.gateway.environment["DATABASE_URL"]
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as reader:
            reader.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchone()  # whoever is last to leave takes the log away
            return b"".join(part.read_bytes() for part in path.parent.glob(path.name + "*"))
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return b"\n".join(
            str(row[0]).encode()
            for (table,) in tables
            for row in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
        )


def test_a_day_at_the_gateway(town):
    aviary, gateway = Aviary(), town.gateway
    aviary.plant("secret key", gateway.environment["ROLEGATE_SECRET_KEY"])
    aviary.plant("client secret", SECRET)
    for slug in ("corp", "code"):
        visitor = sign_in(aviary, town, slug)
        tokens = visitor.pair_for_tokens(gateway)
        for name in ("access_token", "refresh_token"):
            aviary.plant("token", tokens[name])
        api = Api(gateway, tokens["access_token"])
        for role in (READ_ONLY_SAML, READ_ONLY_OIDC):
            given = api.credentials(role)
            aviary.plant("AWS secret key", given["SecretAccessKey"])
            aviary.plant("AWS session token", given["SessionToken"])
            opened = api.post("/console", {"role_arn": role})
            assert opened.status_code == 200, opened.text
            aviary.plant("SigninToken", parse_qs(urlsplit(opened.json()["url"]).query)["SigninToken"][0])
        assert api.post("/credentials", {"role_arn": NOBODY}).status_code == 403
        page = visitor.get(f"{gateway.url}/roles/111122223333/ReadOnly/credentials")
        issued = visitor.submit(page, page.form(action="/credentials"))
        for found in re.findall(r"aws_(?:secret_access_key|session_token) = (\S+)", issued.soup.get_text()):
            aviary.plant("AWS secret key", found)
        fresh = {"grant_type": "refresh_token", "client_id": "rolegate-cli", "refresh_token": tokens["refresh_token"]}
        for _ in range(2):
            requests.post(f"{gateway.url}/oauth/token", data=fresh, timeout=TIMEOUT)
        assert (
            requests.get(
                f"{gateway.url}/api/v1/me",
                headers={"Authorization": f"Bearer {tokens['access_token']}"},
                timeout=TIMEOUT,
            ).status_code
            == 401
        )
        requests.post(f"{gateway.url}/saml/corp/acs", data={"SAMLResponse": "x" * 100}, timeout=TIMEOUT)
        requests.get(
            f"{gateway.url}/oidc/code/callback", params={"code": tokens["access_token"], "state": "x"}, timeout=TIMEOUT
        )
    assert len(aviary.values) == 9, aviary.values.keys()
    for place, text in {
        "log": gateway.log,
        "database": database_of(town),
        "audit export": gateway.manage("audit", "export"),
        "mapping": gateway.manage("export"),
    }.items():
        assert aviary.found(text) == set(), place
    assert '"reason": "state_unknown"' in gateway.log  # the log was listening
