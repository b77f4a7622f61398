"""What the tests of pairing share: the cast, a moment, PKCE, and the way through the browser."""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from django.test import Client

from federation.audit.events import Origin
from federation.flows import pair_cli
from federation.models.audit import AuditEvent
from federation.models.people import Person

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
ORIGIN = Origin("test-request", "192.0.2.7", "rolegate/0.1 (alice-laptop)")
REDIRECT = "http://127.0.0.1:49152/callback"
VERIFIER = "test-verifier-that-is-public-and-protects-nothing"
CLIENT = "rolegate-cli"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def challenge(verifier: str = VERIFIER) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def person(subject: str = "alice", **fields) -> Person:
    values = {
        "provider": "corp",
        "subject": subject,
        "session_name": f"{subject}-{uuid.uuid4().hex[:8]}",
        "name": subject.title(),
        "email": f"{subject}@example.com",
        "groups": ["engineering"],
        "claims_at": datetime.now(UTC),
    }
    return Person.objects.create(**{**values, **fields})


def code_for(who: Person, *, now: datetime = NOW, redirect_uri: str = REDIRECT, scope: str = "") -> str:
    return pair_cli.issue_code(
        who.pk,
        client_id=CLIENT,
        redirect_uri=redirect_uri,
        code_challenge=challenge(),
        scope=scope,
        origin=ORIGIN,
        now=now,
    )


def redeem(code: str, /, *, now: datetime = NOW, **changes) -> pair_cli.Tokens:
    values = {"client_id": CLIENT, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, "origin": ORIGIN, "now": now}
    return pair_cli.redeem_code(code, **{**values, **changes})


def paired(who: Person, *, now: datetime = NOW, scope: str = "") -> pair_cli.Tokens:
    return redeem(code_for(who, now=now, scope=scope), now=now)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def events(kind: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind=kind).order_by("seq"))


# --- Over HTTP --------------------------------------------------------------------------------------


def authorization_request(**changes) -> dict[str, str]:
    values = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": REDIRECT,
        "state": "the-state",
        "code_challenge": challenge(),
        "code_challenge_method": "S256",
    }
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def answer_of(response) -> dict[str, str]:
    """The parameters of an authorization response, which must go to the loopback address."""
    assert response.status_code == 302, response.content
    assert response["Location"].startswith(REDIRECT + "?"), response["Location"]
    return {name: values[0] for name, values in parse_qs(urlsplit(response["Location"]).query).items()}


def redeem_over_http(client: Client, code: str, /, **changes):
    values = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    return client.post(
        "/oauth/token", {name: value for name, value in {**values, **changes}.items() if value is not None}
    )


def pair_over_http(client: Client, who: Person) -> dict:
    """The whole way: consent in the browser, then the token request. Returns the token response."""
    client.force_login(who)
    allowed = client.post("/oauth/authorize", {**authorization_request(), "decision": "allow"})
    return redeem_over_http(Client(), answer_of(allowed)["code"]).json()
