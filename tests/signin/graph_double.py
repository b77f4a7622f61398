"""A DOUBLE of Microsoft Graph over real HTTP: pages, throttles, and answers by half."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ALICE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def group(number: int, **more: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.group",
        "id": f"00000000-0000-4000-8000-{number:012}",
        "securityEnabled": True,
        "onPremisesSamAccountName": f"group-{number}",
        **more,
    }


def name(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


@dataclass
class Double:
    """`answers`: what comes instead of the next pages: (status, headers, body as bytes or JSON)."""

    groups: list[dict[str, Any]] = field(default_factory=list)
    page: int = 100
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    next_link: str = ""
    hang_up: bool = False
    url: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(path)
        if self.answers:
            return self.answers.pop(0)
        if parts.path != f"/v1.0/users/{ALICE}/transitiveMemberOf/microsoft.graph.group":
            return 404, {}, {"error": {"code": "Request_ResourceNotFound"}}
        query = parse_qs(parts.query)
        begin = int(query.get("$skiptoken", ["0"])[0])
        wanted = {"@odata.type", *query["$select"][0].split(",")}
        listed = [
            {key: value for key, value in one.items() if key in wanted}
            for one in self.groups[begin : begin + self.page]
        ]
        body: dict[str, Any] = {"@odata.context": "x", "value": listed}
        if begin + self.page < len(self.groups):
            again = f"{self.url}{parts.path}?$select={query['$select'][0]}&$top=999&$skiptoken={begin + self.page}"
            body["@odata.nextLink"] = self.next_link or again
        return 200, {}, body


@contextlib.contextmanager
def serving(double: Double) -> Iterator[Double]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            double.asked.append(self.path)
            double.tokens.append(self.headers.get("Authorization", ""))
            status, headers, body = double.answer(self.path)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(raw) + 50 * double.hang_up))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
