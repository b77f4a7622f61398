"""SCRIPTED DOUBLES of STS and of the console's federation endpoint: real HTTP on loopback, answers written by the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from federation.aws.sts import Credentials

SECRET_KEY = "TEST/secret+key/that-opens-nothing000000"
SESSION_TOKEN = "TESTsessionTokenThatOpensNothing//////////" * 5
EXPIRES = "2026-03-04T13:30:15Z"


@dataclass(frozen=True)
class Reply:
    status: int
    body: str
    content_type: str = "text/xml"
    delay: float = 0.0
    clock: float = 0.0  # by how many seconds the double's clock, which the Date header tells, is ahead of ours


def granted(
    operation: str = "AssumeRoleWithSAML",
    *,
    secret: str = SECRET_KEY,
    expires: str = EXPIRES,
    size: str = "<PackedPolicySize>6</PackedPolicySize>",
) -> Reply:
    return Reply(
        200,
        f"""<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>
<Credentials><AccessKeyId>ASIATESTKEY000000001</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>{expires}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/ReadOnly/alice@example.com</Arn><AssumedRoleId>AROATEST:alice@example.com</AssumedRoleId></AssumedRoleUser>
{size}</{operation}Result><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></{operation}Response>""",
    )


def refused(code: str, message: str = "No.", status: int = 400) -> Reply:
    return Reply(
        status,
        f"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>""",
    )


@dataclass
class Call:
    """One request as the double received it."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str]


@dataclass
class Scripted:
    """Answers in the order of `script`; the last one for ever. `calls` is what came in."""

    script: list[Reply | Callable[[Call], Reply]]
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, call: Call) -> Reply:
        with self.lock:
            self.calls.append(call)
            reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return reply(call) if callable(reply) else reply


@contextmanager
def serving(*script: Reply | Callable[[Call], Reply]) -> Iterator[Scripted]:
    double = Scripted(list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            reply = double.answer(
                Call(
                    self.path,
                    {k.lower(): v for k, v in self.headers.items()},
                    dict(parse_qsl(body, keep_blank_values=True)),
                )
            )
            self.ahead = reply.clock
            time.sleep(reply.delay)
            content = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                pass  # the client gave up waiting: that is what some tests are about

        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() + self.ahead)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()


def credentials(**changes) -> Credentials:
    values = {
        "access_key_id": "ASIATESTKEY000000001",
        "secret_access_key": SECRET_KEY,
        "session_token": SESSION_TOKEN,
        "expiration": datetime(2026, 3, 4, 13, 30, 15, tzinfo=UTC),
        "assumed_role_arn": "arn:aws:sts::111122223333:assumed-role/ReadOnly/alice@example.com",
    }
    return Credentials(**values | changes)


class Clock:
    """A CLOCK THAT STANDS STILL: it moves by what is slept, and by `step` each time it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step, self.slept = 0.0, step, []

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
