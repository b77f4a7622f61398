"""A DOUBLE of the gateway, which checks nothing: for what the real one never does, being slow, dead, wrong, or a liar.

It counts what it is asked. `answers` replaces its answer to a path: a status and a document, raw bytes, or a function
that is handed the request's handler.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ReadOnly"


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that do not trust us break off."""


class GatewayDouble:
    """Serves on a loopback port. `lifetime`: seconds of the credentials it makes up; `clock`: how wrong its Date is.

    `tls`: over https. `host`: 127.0.0.1 or ::1; `name`: what its address says instead, where others lead there.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", name: str = "") -> None:
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Any] = {}
        self.lifetime = 3600.0
        self.clock = 0.0
        self.delay = 0.0
        self.access_seconds = 900
        self.refresh_tokens = {"rlg_rt_first"}
        self.spent: list[str] = []
        self.reused: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.forms: list[dict[str, str]] = []
        self.roles = [self.role("shop-prod", ACCOUNT, "ReadOnly")]
        self._lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                double.answer(self)

            do_POST = do_GET

            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + double.clock)

            def log_message(self, *_: object) -> None:
                pass

        server = type("_Server", (_Server,), {"address_family": socket.AF_INET6 if ":" in host else socket.AF_INET})
        self._server = server((host, 0), Handler)
        self.port = self._server.server_address[1]
        if tls is not None:
            # Shaken hands in the thread of the connection: a client that does not come on holds nobody up.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        shown = name or f"{f'[{host}]' if ':' in host else host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{shown}"

    @staticmethod
    def role(account: str, account_id: str, name: str, environment: str = "production") -> dict[str, Any]:
        arn = f"arn:aws:iam::{account_id}:role/{name}"
        role = {
            "arn": arn,
            "name": name,
            "max_duration": 3600,
            "console_duration": None,
            "needs_approval": False,
            "rules": ["r"],
        }
        return {
            "account_id": account_id,
            "name": account,
            "partition": "aws",
            "environment": environment,
            "tags": {},
            "roles": [role],
        }

    def start(self) -> GatewayDouble:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            self.asked[path] += 1
        if self.delay:
            time.sleep(self.delay)
        made = self.answers.get(path)
        if callable(made):
            made = made(handler)
            if made is None:
                return
        if made is None:
            made = self._usual(path, body, handler)
        if isinstance(made, bytes):
            handler.wfile.write(made)
            handler.close_connection = True
            return
        status, document, *headers = made
        content = b"" if status == 304 else json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers[0].items() if headers else ():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _usual(self, path: str, body: bytes, handler: BaseHTTPRequestHandler) -> Any:
        if path == "/.well-known/oauth-authorization-server":
            names = ("authorize", "token", "device_authorization", "revoke")
            keys = ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "revocation_endpoint")
            return 200, {
                "issuer": self.url,
                **{key: f"{self.url}/oauth/{name}" for key, name in zip(keys, names, strict=True)},
            }
        if path == "/oauth/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return self._token(form)
        if path == "/oauth/revoke":
            return 200, {}
        if path == "/api/v1/me":
            return 200, {
                "id": "1",
                "name": "Alice",
                "email": "alice@example.com",
                "provider": "corp",
                "subject": "alice",
            }
        if path == "/api/v1/roles":
            etag = f'"{len(self.roles)}"'
            if handler.headers.get("If-None-Match") == etag:
                return 304, {}, {"ETag": etag}
            return 200, {"accounts": self.roles, "total": len(self.roles)}, {"ETag": etag}
        if path == "/api/v1/credentials":
            asked = json.loads(body)
            self.bodies.append(asked)
            return 200, self.document(asked["role_arn"], asked.get("duration") or self.lifetime)
        return 404, {"code": "not_found", "detail": "There is no such operation.", "request_id": "double"}

    def document(self, arn: str = ROLE, lifetime: float = 3600) -> dict[str, Any]:
        number = sum(self.asked.values())
        return {"Version": 1, "AccessKeyId": f"ASIADOUBLE{number:010d}", "SecretAccessKey": "secretOfTheDouble" + secrets.token_hex(8),
                "SessionToken": "tokenOfTheDouble" + "x" * 400, "Expiration": stamp(lifetime + self.clock), "AccountId": arn.split(":")[4]}  # fmt: skip

    def _token(self, form: dict[str, str]) -> Any:
        with self._lock:
            self.forms.append(form)
            token = form.get("refresh_token", "")
            if form.get("grant_type") == "refresh_token" and token not in self.refresh_tokens:
                if token in self.spent:
                    self.reused.append(token)
                return 400, {"error": "invalid_grant", "error_description": "This token is not valid."}
            self.refresh_tokens.discard(token)
            self.spent.append(token)
            made = f"rlg_rt_{secrets.token_hex(16)}"
            self.refresh_tokens.add(made)
        return 200, {"access_token": f"rlg_at_{secrets.token_hex(16)}", "token_type": "Bearer", "expires_in": self.access_seconds,
                     "refresh_token": made, "scope": "roles"}  # fmt: skip

    def sign_in(self, laptop: Any, *, access: bool = True) -> None:
        """Leaves on the laptop what a sign-in leaves there, with or without an access token that is still good."""
        from rolegate.files import escaped

        name = escaped(self.url.split("://", 1)[1])
        state = laptop.folder / "state" / "rolegate" / name
        config = laptop.folder / "config" / "rolegate"
        for folder in (state, config):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        token = f"rlg_rt_{secrets.token_hex(16)}"
        self.refresh_tokens.add(token)
        now = time.time()
        session = {"login": secrets.token_hex(8), "person": {"id": "1", "name": "Alice"}, "signed_in": now, "store": "file", "refresh": token,
                   "access": "rlg_at_of_the_double", "access_from": now, "access_until": now + (900 if access else -1)}  # fmt: skip
        for path, content in (
            (state / "session.json", session),
            (config / "gateways.json", {"default": self.url, "gateways": {self.url: {}}}),
        ):
            path.write_text(json.dumps(content))
            path.chmod(0o600)


Answer = Callable[[BaseHTTPRequestHandler], Any]
