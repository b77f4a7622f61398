"""HTTP/1.1 on one connection (RFC 9112), as much of it as a gateway and a proxy need.

The standard library's client loads a parser of e-mail with it, for a third of a cold start. Everything that comes in is
bounded, in bytes and by one deadline for the whole answer: a peer that sends a byte now and then keeps every clock of a
socket waiting. Nothing of what was sent or received is in any error's text.
"""

from __future__ import annotations

import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

LINE_BYTES = 65_536
HEADER_LINES = 128
_INTERIM = 8  # answers 1xx before the answer


class Broken(Exception):
    """What came is no answer of HTTP, or ends before its end."""


class TooLarge(Exception):
    """The answer is longer than the caller will have."""


class TunnelRefused(Exception):
    """The proxy does not let us through; `status` is its answer's."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection:
    """One connection, by TCP or TLS. `closes`: whether the last answer was its end."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        """Connects, to each address that the name has for at most `seconds`. Raises OSError."""
        # As bytes: for text, Python loads the tables of international names first, for any name.
        name = host.encode() if host.isascii() else host
        self._socket: socket.socket = socket.create_connection((name, port), seconds)  # type: ignore[arg-type]
        self._buffer = bytearray()
        self._until = 0.0
        self.closes = False

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def tunnel(self, authority: str, headers: Mapping[str, str], *, seconds: float) -> None:
        """Has a proxy connect us to `authority` (host:port; RFC 9110 section 9.3.6). Raises TunnelRefused, Broken, OSError."""
        self._until = time.monotonic() + seconds
        self._send(f"CONNECT {authority} HTTP/1.1", {"Host": authority, **headers}, b"")
        status, _, _ = self._head()
        if status // 100 != 2:
            raise TunnelRefused(status)
        self._buffer.clear()  # nobody speaks before us: what a proxy has put here is not of TLS

    def secure(self, context: ssl.SSLContext, host: str, *, seconds: float) -> None:
        """Goes on by TLS, with whoever proves to be `host`. Raises ssl.SSLError, OSError."""
        self._socket.settimeout(seconds)
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, seconds: float, most: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and the body, of at most `most` bytes, within `seconds`.

        Raises Broken, TooLarge, OSError.
        """
        self._until = time.monotonic() + seconds
        self._send(f"{method} {target} HTTP/1.1", headers, body)
        for _ in range(_INTERIM):
            status, version, found = self._head()
            if status == 101:
                break
            if status >= 200:
                words = found.get("connection", "").lower().replace(",", " ").split()
                self.closes = "close" in words or (version == b"HTTP/1.0" and "keep-alive" not in words)
                return status, found, self._body(status, found, most)
        raise Broken

    # --- Bytes ------------------------------------------------------------------------------------

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _send(self, line: str, headers: Mapping[str, str], body: bytes) -> None:
        lines = [line, *(f"{name}: {value}" for name, value in headers.items())]
        # A line break in a value would be a header, or a request, of its own.
        if any(not text.isprintable() for text in lines):
            raise Broken
        self._socket.settimeout(self._left())
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def _more(self) -> bool:
        self._socket.settimeout(self._left())
        data = self._socket.recv(LINE_BYTES)
        self._buffer += data
        return bool(data)

    def _line(self) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > LINE_BYTES or not self._more():
                raise Broken
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r")

    def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            if not self._more():
                raise Broken
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    # --- An answer --------------------------------------------------------------------------------

    def _head(self) -> tuple[int, bytes, dict[str, str]]:
        words = self._line().split(None, 2)
        if len(words) < 2 or words[0] not in {b"HTTP/1.1", b"HTTP/1.0"} or len(words[1]) != 3 or not words[1].isdigit():
            raise Broken
        found: dict[str, str] = {}
        for _ in range(HEADER_LINES):
            line = self._line()
            if not line:
                return int(words[1]), words[0], found
            name, colon, value = line.partition(b":")
            if not name or not colon or name != name.strip():
                raise Broken  # also a line that goes on with the one before
            key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
            if key in found and key in {"content-length", "transfer-encoding"}:
                raise Broken  # two lengths: two readers would see two answers
            found[key] = text
        raise Broken

    def _body(self, status: int, headers: Mapping[str, str], most: int) -> bytes:
        if status in {204, 304}:
            return b""
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise Broken
            return self._chunks(most)
        if length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 15:
                raise Broken
            if int(length) > most:
                raise TooLarge
            return self._read(int(length))
        self.closes = True
        while self._more():
            if len(self._buffer) > most:
                raise TooLarge
        return bytes(self._buffer)

    def _chunks(self, most: int) -> bytes:
        """RFC 9112 section 7.1."""
        made = bytearray()
        while True:
            size = self._line().partition(b";")[0].strip()
            if not size or len(size) > 8 or size.strip(b"0123456789abcdefABCDEF"):
                raise Broken
            length = int(size, 16)
            if len(made) + length > most:
                raise TooLarge
            if not length:
                for _ in range(HEADER_LINES):
                    if not self._line():
                        return bytes(made)
                raise Broken
            made += self._read(length)
            if self._line():
                raise Broken
