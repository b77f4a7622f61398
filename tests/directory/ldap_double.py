"""A DOUBLE of an LDAP server, for what slapd will not do: Active Directory's ranges and ids, and answers that are broken.

It speaks just enough BER (X.690) to be asked; it checks no password and evaluates no filter: `(…=group)` finds groups, any
other filter finds people.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

PAGED = b"1.2.840.113556.1.4.319"


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + content


def number(value: int, tag: int = 0x02) -> bytes:
    return tlv(tag, value.to_bytes(max(1, (value.bit_length() + 8) // 8), "big"))


def text(value: str | bytes) -> bytes:
    return tlv(0x04, value.encode() if isinstance(value, str) else value)


def parts_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        tag, size, start = content[0], content[1], 2
        if size & 0x80:
            many = size & 0x7F
            size, start = int.from_bytes(content[2 : 2 + many], "big"), 2 + many
        yield tag, content[start : start + size]
        content = content[start + size :]


@dataclass
class Entry:
    dn: str
    values: dict[str, list[str | bytes]]


@dataclass
class Double:
    """`page`: entries in a page. `span`: values in a range. `trouble`: what is broken about the answers."""

    people: list[Entry] = field(default_factory=list)
    groups: list[Entry] = field(default_factory=list)
    page: int = 2
    span: int = 0
    trouble: str = ""
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    port: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def answer(self, message: bytes) -> Iterator[bytes]:
        (_, whole), *_ = parts_of(message)
        (_, message_id), (operation, request), *rest = parts_of(whole)
        ident = int.from_bytes(message_id, "big")
        if operation == 0x60:
            yield self._message(ident, self._result(0x61, 0))
        elif operation == 0x63:
            yield from self._search(ident, list(parts_of(request)), rest[0][1] if rest else b"")

    def _message(self, ident: int, operation: bytes, controls: bytes = b"") -> bytes:
        return tlv(0x30, number(ident), operation, controls)

    def _result(self, tag: int, code: int, said: str = "") -> bytes:
        return tlv(tag, number(code, 0x0A), text(""), text(said))

    def _search(self, ident: int, request: list[tuple[int, bytes]], controls: bytes) -> Iterator[bytes]:
        base, attributes = request[0][1].decode(), [name.decode() for _, name in parts_of(request[7][1])]
        self.asked.append((base, tuple(attributes)))
        of_groups = b"group" in request[6][1]
        entries = self.groups if of_groups else self.people
        if request[1][1] == b"\x00":  # only the base itself
            entries, cookie = [entry for entry in (*self.people, *self.groups) if entry.dn == base], b""
        else:
            begin = int(self._cookie(controls) or b"0")
            entries, cookie = entries[begin : begin + self.page], str(begin + self.page).encode()
            if begin + self.page >= len(self.groups if of_groups else self.people):
                cookie = b""
        code = {"refers": 10, "size limit": 4, "time limit": 3, "busy": 51, "admin limit": 11}.get(self.trouble, 0)
        if self.trouble == "garbage":
            yield tlv(0x30, b"HTTP/1.1 400 Bad Request")
            return
        if self.trouble == "boast":  # one message that is as long as it says
            yield bytes([0x30, 0x84]) + (200_000_000).to_bytes(4, "big")
        if self.trouble in ("boast", "bomb"):
            filler = Entry("CN=filler,DC=x", {"uid": ["x" * 1_000_000]})
            for _ in range(200):
                yield self._message(ident, tlv(0x64, text(filler.dn), tlv(0x30, *self._attributes(filler, ["uid"]))))
            return
        for entry in entries:
            yield self._message(ident, tlv(0x64, text(entry.dn), tlv(0x30, *self._attributes(entry, attributes))))
        if self.trouble == "silent":
            self.hung_up.wait(20)
            return
        if self.trouble == "endless":
            cookie = b"0"
        again = tlv(0xA0, tlv(0x30, text(PAGED), text(tlv(0x30, number(0), text(cookie)))))
        yield self._message(ident, self._result(0x65, code, self.trouble), again)

    def _cookie(self, controls: bytes) -> bytes:
        for _, control in parts_of(controls):
            (_, oid), *others = parts_of(control)
            if oid == PAGED:
                (_, value), *_ = parts_of(others[-1][1])
                return list(parts_of(value))[1][1]
        return b""

    def _attributes(self, entry: Entry, wanted: list[str]) -> Iterator[bytes]:
        for asked in wanted:
            name, _, option = asked.partition(";range=")
            values = entry.values.get(name)
            if values is None:
                continue
            begin = int(option.partition("-")[0] or 0)
            if self.span and (option or len(values) > self.span):
                end = min(begin + self.span, len(values))
                if self.trouble == "stuck range" and begin:
                    begin, end = 0, self.span
                last = "*" if end == len(values) else str(end - 1)
                if not option:
                    yield self._attribute(name, [])  # as Active Directory does, beside the range
                yield self._attribute(f"{name};range={begin}-{last}", values[begin:end])
            else:
                yield self._attribute(name, values)

    def _attribute(self, name: str, values: list[str | bytes]) -> bytes:
        return tlv(0x30, text(name), tlv(0x31, *(text(value) for value in values)))


@contextlib.contextmanager
def serving(double: Double) -> Iterator[Double]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while message := self.request.recv(65536):
                    for part in double.answer(message):
                        if double.trouble == "drips":
                            for byte in part:
                                self.request.sendall(bytes([byte]))
                                time.sleep(0.01)
                        elif double.trouble == "cut" and part[0] == 0x30 and b"groups" in part:
                            self.request.sendall(part[: len(part) // 2])
                            return
                        else:
                            self.request.sendall(part)
            double.hung_up.set()

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    double.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield double
    finally:
        double.hung_up.set()
        server.shutdown()
        server.server_close()
