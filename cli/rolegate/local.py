"""The local credential server: what `exec` gives its child, and `serve` to anything on this machine that reads it.

Two forms: the container credentials endpoint (a secret in the Authorization header) and, with `imds`, the instance
metadata service of version 2 (a token by PUT first). It listens on loopback alone, answers only to names of loopback (a
page in a browser that has its name point here, DNS rebinding, sends its own name), and never writes down what it serves.
"""

from __future__ import annotations

import hmac
import http.server
import json
import re
import secrets
import sys
import threading
import time

from rolegate import terminal
from rolegate.errors import Failure, NotSignedIn, Refused, Unreachable
from rolegate.loopback import LoopbackServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PATH = "/credentials"
_IMDS = "/latest/meta-data/iam/security-credentials/"
_IMDS_TOKEN = "/latest/api/token"
_LONGEST = 21_600  # seconds of an IMDSv2 token (EC2 user guide, "Use IMDSv2")


class LocalServer(LoopbackServer):
    """`obtain` gives the document of credential_process; it is called in threads. `token`: the secret of the container form."""

    allow_reuse_address = sys.platform != "win32"  # on Windows, it would let another program take the port over

    def __init__(self, obtain: Callable[[], dict[str, Any]], role: str, *, port: int = 0, imds: bool = False) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.obtain = obtain
        self.role = role
        self.imds = imds
        self.token = secrets.token_urlsafe(32)
        self.port = self.server_address[1]
        self.hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        self._tokens: dict[str, float] = {}

    @property
    def variables(self) -> dict[str, str]:
        """What a program's environment must hold to use it."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self.port}{PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token,
        }

    @property
    def imds_variables(self) -> dict[str, str]:
        """The same for the metadata form."""
        return {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self.port}/",
            "AWS_EC2_METADATA_DISABLED": "false",
        }

    def begin(self) -> None:
        """Serves from now on, beside whatever this process does."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def new_token(self, seconds: int) -> str:
        """An IMDSv2 token."""
        now = time.monotonic()
        self._tokens = {token: until for token, until in self._tokens.items() if until > now}
        made = secrets.token_urlsafe(32)
        self._tokens[made] = now + seconds
        return made

    def knows(self, token: str) -> bool:
        """Whether this IMDSv2 token is still good."""
        return any(
            hmac.compare_digest(known.encode(), token.encode()) and until > time.monotonic()
            for known, until in list(self._tokens.items())
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    server: LocalServer
    server_version = "rolegate"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 15

    def do_GET(self) -> None:
        if not self._right_host():
            return
        server = self.server
        if self.path == PATH:
            # Compared as bytes: a header may hold anything.
            if not hmac.compare_digest(
                self.headers.get("Authorization", "").encode("utf-8", "replace"), server.token.encode()
            ):
                self._refuse(401, "Unauthorized", "The Authorization header does not hold this server's token.")
                return
            self._credentials(container=True)
        elif server.imds and self.path.startswith(_IMDS):
            if not server.knows(self.headers.get("X-aws-ec2-metadata-token", "")):
                self._refuse(401, "Unauthorized", "An IMDSv2 token is wanted: PUT /latest/api/token first.")
            elif self.path == _IMDS:
                self._answer(200, server.role.encode(), "text/plain")
            elif self.path == _IMDS + server.role:
                self._credentials(container=False)
            else:
                self._refuse(404, "NotFound", "There is no such role here.")
        else:
            self._refuse(404, "NotFound", "There is no such thing here.")

    def do_PUT(self) -> None:
        if not self._right_host():
            return
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        # As EC2 does it: a request that came through a proxy is not of this machine.
        if not self.server.imds or self.path != _IMDS_TOKEN or "X-Forwarded-For" in self.headers:
            self._refuse(404, "NotFound", "There is no such thing here.")
        # ASCII alone: int() cannot read every digit that there is, and what is longer than six of them is too long anyway.
        elif not re.fullmatch("[0-9]{1,6}", seconds) or not 1 <= int(seconds) <= _LONGEST:
            self._refuse(400, "BadRequest", f"X-aws-ec2-metadata-token-ttl-seconds must be 1 to {_LONGEST}.")
        else:
            self._answer(
                200,
                self.server.new_token(int(seconds)).encode(),
                "text/plain",
                {"X-aws-ec2-metadata-token-ttl-seconds": seconds},
            )

    def _right_host(self) -> bool:
        if self.headers.get("Host", "") in self.server.hosts:
            return True
        self._refuse(403, "Forbidden", "This server answers to 127.0.0.1 and localhost alone.")
        return False

    def _credentials(self, *, container: bool) -> None:
        try:
            document = self.server.obtain()
        except Failure as failure:
            terminal.complain(f"rolegate: {failure.sentence}", style="red")
            status = {NotSignedIn: 401, Refused: 403, Unreachable: 503}.get(type(failure), 502)
            self._refuse(status, type(failure).__name__, failure.sentence)
            return
        made = {
            "AccessKeyId": document["AccessKeyId"],
            "SecretAccessKey": document["SecretAccessKey"],
            "Token": document["SessionToken"],
            "Expiration": document["Expiration"],
        }
        if container:
            made["AccountId"] = document["AccountId"]
        else:
            made |= {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
        self._answer(200, json.dumps(made).encode(), "application/json")

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.close_connection = True
        self._answer(status, json.dumps({"code": code, "message": message}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
