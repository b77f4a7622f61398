"""TEST DOUBLE: an OpenID provider over real HTTP on 127.0.0.1, and a forge for tokens. Never for production.

`TestProvider` checks what a real one checks (client authentication, redirect URI, PKCE S256, one-use codes) and
counts every request. Tokens come from PyJWT and cryptography, not from the libraries that are under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation import net
from federation.mapping.rules import ClaimMap, IdentityProvider, OidcProvider
from federation.signin.oidc import AuthorizationRequest, ProviderDocuments, begin, complete
from federation.signin.protocol import Verified

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CLIENT_ID = "rolegate"
CLIENT_SECRET = "test-only: 100% +secret/é"
REDIRECT_URI = "https://rolegate.example.com/oidc/corp/callback"
ALICE = {"sub": "alice-7", "name": "Alice", "email": "alice@example.com", "groups": ["engineering", "everyone"]}


@cache
def private_key(name: str) -> Any:
    """A key of the name's kind (rsa, rsa1024, p256, p384, p521, or with a suffix: rsa-new), made once a session."""
    kind = name.partition("-")[0]
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "k256": ec.SECP256K1}
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "rsa1024" else 2048)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk(name: str, **members: Any) -> dict[str, Any]:
    """The public JWK of `name`, kid and all; a member given as None is left out."""
    numbers = private_key(name).public_key().public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        size = (numbers.n.bit_length() + 7) // 8
        public = {"kty": "RSA", "n": b64(numbers.n.to_bytes(size, "big")), "e": "AQAB"}
    else:
        size = (numbers.curve.key_size + 7) // 8
        crv = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "secp256k1"}
        x, y = (b64(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        public = {"kty": "EC", "crv": crv[numbers.curve.name], "x": x, "y": y}
    given = {**public, "kid": name, "use": "sig", **members}
    return {member: value for member, value in given.items() if value is not None}


def sign(
    header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, *, key: str = "rsa", alg: str = ""
) -> str:
    """A compact JWS over exactly these bytes, whatever they say; `alg`: how to sign, the header's own if not given."""
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    text = f"{b64(head)}.{b64(body)}"
    method = alg or json.loads(head)["alg"]
    if method == "none":
        return text + "."
    if method.startswith("HS"):
        pem = private_key(key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return f"{text}.{b64(hmac.digest(pem, text.encode(), 'sha' + method[2:]))}"
    return f"{text}.{b64(jwt.get_algorithm_by_name(method).sign(text.encode(), private_key(key)))}"


def half_hash(value: str, alg: str = "RS256") -> str:
    digest = hashlib.new("sha" + alg[2:], value.encode()).digest()
    return b64(digest[: len(digest) // 2])


@dataclass
class TestProvider:
    """The provider's state; a test changes what it wants to be otherwise before it signs in.

    `claims`: of the person. `discovery`, `id_token`, `callback`, `tokens`: members to change (None removes).
    `forge`: (header, claims) -> token, instead of an honest signature. `statuses`: path -> HTTP status to fail with.
    """

    __test__ = False
    issuer: str = ""
    now: datetime = NOW
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk("rsa")])
    key: str = "rsa"
    alg: str = "RS256"
    claims: dict[str, Any] = field(default_factory=lambda: dict(ALICE))
    discovery: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | bytes | None = None
    forge: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    auth_method: str = "client_secret_basic"
    calls: Counter[str] = field(default_factory=Counter)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    scopes_asked: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        given = {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token",
            "jwks_uri": self.issuer + "/jwks",
            "userinfo_endpoint": None if self.userinfo is None else self.issuer + "/userinfo",
            "end_session_endpoint": self.issuer + "/logout?from=app",
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "ES384", "ES512", "HS256", "none"],
            "code_challenge_methods_supported": ["S256", "plain"],
            **self.discovery,
        }
        return {name: value for name, value in given.items() if value is not None}

    def token_claims(self, *, nonce: str = "", access_token: str = "") -> dict[str, Any]:
        instant = int(self.now.timestamp())
        given = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": instant,
            "exp": instant + 300,
            "auth_time": instant - 60,
            "nonce": nonce,
            "at_hash": half_hash(access_token, self.alg),
            "sid": "session-1",
            **self.claims,
            **self.id_token,
        }
        return {name: value for name, value in given.items() if value is not None}

    def mint(self, claims: dict[str, Any]) -> str:
        header = {"alg": self.alg, "kid": self.key, "typ": "JWT", **self.header}
        header = {name: value for name, value in header.items() if value is not None}
        return self.forge(header, claims) if self.forge else sign(header, claims, key=self.key)

    def logout_token(self, **changes: Any) -> str:
        instant = int(self.now.timestamp())
        given = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": instant,
            "exp": instant + 120,
            "jti": "logout-1",
            "sub": "alice-7",
            "sid": "session-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changes,
        }
        claims = {name: value for name, value in given.items() if value is not None}
        return TestProvider.mint(replace(self, header={"typ": "logout+jwt", **self.header}), claims)

    # --- the endpoints ---

    def authorize(self, query: dict[str, str]) -> str:
        """The URL to which the browser is sent back."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["redirect_uri"] == REDIRECT_URI
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.issuer, **self.callback}
        return f"{REDIRECT_URI}?{urlencode({name: value for name, value in back.items() if value is not None})}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        if not self._authenticated(form, authorization):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") == "client_credentials":
            self.scopes_asked.append(form.get("scope", ""))
            return 200, {
                "access_token": f"application-{len(self.scopes_asked)}",
                "token_type": "Bearer",
                "expires_in": 3599,
            }
        request = self.codes.pop(form.get("code", ""), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            request is None
            or form.get("grant_type") != "authorization_code"
            or request["redirect_uri"] != form.get("redirect_uri")
            or request["code_challenge"] != challenge
        ):
            return 400, {"error": "invalid_grant"}
        access_token = "test-only-" + secrets.token_urlsafe(8)
        id_token = self.mint(self.token_claims(nonce=request["nonce"], access_token=access_token))
        given = {"id_token": id_token, "access_token": access_token, "token_type": "Bearer", **self.tokens}
        return 200, {name: value for name, value in given.items() if value is not None}

    def _authenticated(self, form: dict[str, str], authorization: str) -> bool:
        if self.auth_method == "client_secret_basic":
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            return (unquote_plus(pair[0]), unquote_plus(pair[2])) == (CLIENT_ID, CLIENT_SECRET)
        posted = (form.get("client_id"), form.get("client_secret"))
        return not authorization and posted == (CLIENT_ID, CLIENT_SECRET if "post" in self.auth_method else None)


def _handler(provider: TestProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet, or Nagle's algorithm costs 40 ms an answer

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.calls[path] += 1
            query = dict(parse_qsl(urlsplit(self.path).query, strict_parsing=bool(urlsplit(self.path).query)))
            if path in provider.statuses or path in provider.bodies:
                self._send(provider.statuses.get(path, 200), provider.bodies.get(path, b"{}"))
            elif path == "/.well-known/openid-configuration":
                self._send(200, provider.document())
            elif path == "/jwks":
                self._send(200, {"keys": provider.keys})
            elif path == "/authorize":
                self._send(302, b"", location=provider.authorize(query))
            elif path == "/userinfo" and self.headers["Authorization"].startswith("Bearer test-only-"):
                self._send(200, provider.userinfo or {})
            else:
                self._send(404, b"")

        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            provider.calls[path] += 1
            form = {
                name: values[0]
                for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
            }
            if path in provider.statuses or path in provider.bodies:
                self._send(provider.statuses.get(path, 200), provider.bodies.get(path, b"{}"))
            else:
                self._send(*provider.redeem(form, self.headers.get("Authorization", "")))

        def _send(self, status: int, body: Mapping[str, Any] | bytes, *, location: str = "") -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def running() -> Iterator[TestProvider]:
    """A provider that listens for as long as the block lasts."""
    provider = TestProvider()
    server = _Server(("127.0.0.1", 0), _handler(provider))
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configured(issuer: str, *, claims: ClaimMap | None = None, enabled: bool = True, **client: Any) -> IdentityProvider:
    """The gateway's own row for the provider."""
    oidc = OidcProvider(issuer=issuer, client_id=CLIENT_ID, **client)
    return IdentityProvider(
        slug="corp", name="Example Corp", saml=None, oidc=oidc, claims=claims or ClaimMap(), enabled=enabled
    )


class Recorder:
    """Passes calls on to the real `federation.net.request`, and remembers (method, URL) of each."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, method: str, url: str, **options: Any) -> net.Answer:
        self.calls.append((method, url))
        return net.request(method, url, **options)

    def paths(self) -> list[str]:
        return [urlsplit(url).path for _, url in self.calls]


class Journey:
    """One browser's sign-in at `provider`, step by step."""

    def __init__(self, provider: TestProvider, **configuration: Any) -> None:
        self.provider = provider
        self.outbound = Recorder()
        self.documents = ProviderDocuments(self.outbound)
        self.row = configured(provider.issuer, **configuration)
        self.secret = CLIENT_SECRET

    def begin(self) -> AuthorizationRequest:
        return begin(self.row, self.documents, redirect_uri=REDIRECT_URI, now=self.provider.now)

    def visit(self, request: AuthorizationRequest) -> dict[str, str]:
        """What the browser brings to the callback."""
        answer = requests.get(request.url, allow_redirects=False, timeout=5)
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))

    def complete(self, request: AuthorizationRequest, params: Mapping[str, str], **changes: Any) -> Verified:
        given = {
            "client_secret": self.secret,
            "redirect_uri": REDIRECT_URI,
            "params": params,
            "state": request.state,
            "nonce": request.nonce,
            "code_verifier": request.code_verifier,
            "now": self.provider.now,
            **changes,
        }
        return complete(self.row, self.documents, **given)

    def sign_in(self, **changes: Any) -> Verified:
        request = self.begin()
        return self.complete(request, self.visit(request), **changes)
