"""What the checks on an ID token cost: ours against bare joserfc, in one run, as a ratio.

    python -m bench.tokens

One token: RS256, RSA-2048, 50 groups. Bare: `joserfc.jwt.decode` with the right key in hand, plus its own claims
registry. Ours: `verify_id_token`, keys looked up in the cache by kid. Rounds alternate, the medians are compared.
Exits 1 above the target ratio of 1.5.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from federation.mapping.rules import ClaimMap, IdentityProvider, OidcProvider
from federation.net import Answer
from federation.signin.oidc import ProviderDocuments, verify_id_token

TARGET = 1.5
ROUNDS, CALLS = 60, 50
ISSUER, CLIENT_ID, NONCE = "https://login.example.com/t/v2.0", "rolegate", "n-0S6_WzA2Mj"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def main() -> int:
    private = RSAKey.generate_key(2048, parameters={"kid": "bench", "use": "sig", "alg": "RS256"})
    public = RSAKey.import_key(private.as_dict(private=False))
    instant = int(NOW.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "sub": "alice-7",
        "iat": instant,
        "exp": instant + 300,
        "auth_time": instant,
        "nonce": NONCE,
        "name": "Alice",
        "email": "alice@example.com",
        "groups": [f"aws-team-{number:02d}-engineers" for number in range(50)],
    }
    token = jwt.encode({"alg": "RS256", "kid": "bench"}, claims, private)
    documents = ProviderDocuments(provider(public))
    row = IdentityProvider("corp", "Example Corp", None, OidcProvider(ISSUER, CLIENT_ID), ClaimMap())
    registry = jwt.JWTClaimsRegistry(
        now=instant,
        leeway=60,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": CLIENT_ID},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        nonce={"essential": True, "value": NONCE},
    )

    def bare() -> None:
        registry.validate(jwt.decode(token, public, algorithms=["RS256"]).claims)

    def ours() -> None:
        verify_id_token(row, documents, token, nonce=NONCE, access_token="", code="", now=NOW)

    ratio_of, micros = [], {"bare": [], "ours": []}  # type: ignore[var-annotated]
    timed(bare), timed(ours)
    for _ in range(ROUNDS):
        first, second = timed(bare), timed(ours)
        micros["bare"].append(first)
        micros["ours"].append(second)
        ratio_of.append(second / first)
    ratio = statistics.median(ratio_of)
    for name, values in micros.items():
        print(f"{name:5} {statistics.median(values):8.1f} µs")
    print(f"ratio {ratio:8.2f}    target <= {TARGET}    token {len(token)} bytes")
    return 0 if ratio <= TARGET else 1


def timed(function: Callable[[], None]) -> float:
    """Microseconds a call."""
    started = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - started) / CALLS * 1e6


def provider(key: RSAKey) -> Any:
    """The provider's documents without a network."""
    document = {"issuer": ISSUER} | {
        name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }

    def request(method: str, url: str, **_: Any) -> Answer:
        body = {"keys": [key.as_dict(private=False)]} if url.endswith("jwks_uri") else document
        return Answer(200, {}, json.dumps(body).encode())

    return request


if __name__ == "__main__":
    sys.exit(main())
