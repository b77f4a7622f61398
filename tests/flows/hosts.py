"""TEST DOUBLE: hosts of identity providers' documents on loopback, over real HTTP."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class MetadataHost:
    """A provider's metadata: what it answers, and how often it was asked."""

    def __init__(self, body: bytes) -> None:
        self.status, self.body, self.asked = 200, body, 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked += 1
                self.send_response(host.status)
                self.end_headers()
                self.wfile.write(host.body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metadata"


@contextlib.contextmanager
def metadata_host(body: bytes) -> Iterator[MetadataHost]:
    """One that listens for as long as the block lasts."""
    host = MetadataHost(body)
    threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
