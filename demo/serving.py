"""Runs a WSGI application on a loopback port, in a thread of this process."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

LOOPBACK = "127.0.0.1"


class PortInUse(OSError):
    """Another program listens on the port that was asked for. The text is a sentence for the person who started us."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(
            f"Port {port} on {LOOPBACK} is in use by another program: stop it, or wait until it has ended, and start again."
        )


class QuietHandler(WSGIRequestHandler):
    """Logs no request: query strings here carry SAML responses, codes and sign-in tokens."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return None


def reserve(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes any free one. Raises PortInUse."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port) from error
        raise
    return listener


class ThreadedServer:
    """A WSGI application behind a bound socket. The port is known, and taken, from the moment this object exists."""

    def __init__(self, port: int = 0, handler: type[WSGIRequestHandler] = QuietHandler) -> None:
        self._listener = reserve(port)
        self._handler = handler
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    def start(self, app: Any) -> None:
        """Serve until `stop`."""
        self._server = make_server(
            LOOPBACK, self.port, app, threaded=True, request_handler=self._handler, fd=self._listener.fileno()
        )
        self._listener.close()  # werkzeug duplicated the descriptor
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"demo-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port; harmless when it never started."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None
        self._listener.close()
