"""mod_auth_openidc reads our JWKS and verifies what we mint: a third reading of RFC 7517 and 7519 beside ours and the demo's."""

from __future__ import annotations

from collections.abc import Iterator

import jwt
import pytest
import requests

from tests.live import Stage
from tests.peers.apache import VerifyingApache

pytestmark = pytest.mark.peer

_MINT = """
from datetime import UTC, datetime, timedelta
from federation.issuer.token import TokenRequest, mint_token
from federation.models import current
from django.conf import settings
signer = current.signer("token", "{algorithm}")
request = TokenRequest(settings.ROLEGATE_ISSUER_URL, "{audience}", "person:alice", source_identity="alice", tags={{"Team": "shop"}})
print("TOKEN", mint_token(request, signer, now=datetime.now(UTC) - timedelta(minutes={age})).token)
"""


def _mint(stage: Stage, *, algorithm: str = "RS256", audience: str = "sts.amazonaws.com", age: int = 0) -> str:
    """A token signed with the running gateway's own key, as it would mint for STS."""
    printed = stage.gateway.manage("shell", "-c", _MINT.format(algorithm=algorithm, audience=audience, age=age))
    return next(line.split(" ", 1)[1] for line in printed.splitlines() if line.startswith("TOKEN "))


@pytest.fixture(scope="module")
def apache(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VerifyingApache]:
    """Apache that knows nothing of us but the address of our JWKS."""
    server = VerifyingApache(
        tmp_path_factory.mktemp("apache"), jwks_uri=f"{stage.gateway.issuer}/jwks.json", audience="sts.amazonaws.com"
    )
    try:
        yield server.start()
    finally:
        server.stop()


def _ask(apache: VerifyingApache, token: str) -> requests.Response:
    return requests.get(f"{apache.url}/protected/", headers={"Authorization": f"Bearer {token}"}, timeout=20)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_minted_token_is_accepted(stage: Stage, apache: VerifyingApache, algorithm: str) -> None:
    token = _mint(stage, algorithm=algorithm)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    answer = _ask(apache, token)
    assert answer.status_code == 200, apache.log[-2000:]
    assert answer.headers["X-Verified-Subject"] == "person:alice"


def test_a_tampered_token_is_refused(stage: Stage, apache: VerifyingApache) -> None:
    head, body, signature = _mint(stage).split(".")
    other = _mint(stage).split(".")[1]
    assert _ask(apache, f"{head}.{other}.{signature}").status_code == 401
    assert "signature" in apache.log
    assert _ask(apache, f"{head}.{body}.{signature}").status_code == 200


def test_an_old_token_is_refused(stage: Stage, apache: VerifyingApache) -> None:
    assert _ask(apache, _mint(stage, age=10)).status_code == 401
    assert "JWT expired" in apache.log


def test_a_token_for_somebody_else_is_refused(stage: Stage, apache: VerifyingApache) -> None:
    assert _ask(apache, _mint(stage, audience="https://another.example.com")).status_code == 401
