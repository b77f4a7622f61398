"""Servers on a loopback address: what `login`, `console` and the local credential server have in common, and who is asking them."""

from __future__ import annotations

import http.server
import os
import socketserver
import sys

from rolegate.browser import is_wsl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class LoopbackServer(http.server.ThreadingHTTPServer):
    """Serves in threads that end with the process, on a port that nobody else can have at the same time."""

    daemon_threads = True
    allow_reuse_address = False  # on Windows, it would let another program take the port over

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of a name for the address, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that breaks off is no news, and a traceback would hold secrets."""


def is_of_this_person(client: Any, server: Any) -> bool:
    """Whether the connection between these two addresses is held open by a process of our own, or of root, who needs no trick.

    Other people of the machine can read the address that a browser was sent to (`ps`), and be quicker. Only Linux says whose
    a connection is (/proc/net/tcp); elsewhere True. Of one that was closed already it does not say: then the answer is no,
    a browser waits for its page. On WSL, what carries the browser of Windows to us is root's, or not seen at all.
    """
    if sys.platform != "linux":
        return True
    path, end = ("/proc/net/tcp6", _END_6) if ":" in client[0] else ("/proc/net/tcp", _END_4)
    wanted = [f"{end}:{client[1]:04X}", f"{end}:{server[1]:04X}"]
    try:
        with open(path) as file:
            lines = [line.split() for line in file]
    except OSError:
        return True
    for cells in lines:
        if len(cells) > 7 and cells[1:3] == wanted:
            return cells[3] == _ESTABLISHED and cells[7] in {str(os.getuid()), "0"}
    return is_wsl()


_ESTABLISHED = "01"
# 127.0.0.1 and ::1 as the kernel writes them: words of 32 bits, each in the machine's order of bytes.
_END_4 = f"{int.from_bytes(bytes([127, 0, 0, 1]), sys.byteorder):08X}"
_END_6 = "0" * 24 + f"{int.from_bytes(bytes([0, 0, 0, 1]), sys.byteorder):08X}"
