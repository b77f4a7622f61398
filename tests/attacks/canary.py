"""Canaries: values that are secret, planted as they come into being, and looked for wherever nothing secret may be.

`Aviary` plants (and finds a value in every form in which text travels). `Watch` listens: to each log record before and after
redaction, to exceptions, to what is printed, to the repr of every dataclass that is made, and to every answer.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib
import io
import json
import logging
import pkgutil
import re
import secrets
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import structlog
from django.conf import settings
from django.core import signals
from django.db import connection

import federation
import portal
from config.logs import logging_config
from federation.audit import export
from federation.errors import RolegateError
from portal.sessions import SessionStore
from tests.portal.conftest import Browser

PIECE = 48
"""Characters of a long secret that are looked for by themselves: the half of an assertion is no less a leak."""


def forms(value: str) -> set[str]:
    """`value` as a URL, a page, JSON, Python, Base64 (in the three ways it can fall) and hexadecimal digits would hold it."""
    raw = value.encode()
    made = {
        value,
        quote(value, safe=""),
        quote_plus(value),
        html.escape(value),
        json.dumps(value)[1:-1],
        repr(value)[1:-1],
    }
    made.add(raw.hex())
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = coded[(0, 2, 3)[shift] : len(coded) - (0 if (len(raw) + shift) % 3 == 0 else 1)]
        made |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form for form in made if len(form) >= 12}


class Aviary:
    """The canaries by kind."""

    def __init__(self) -> None:
        self.values: dict[str, set[str]] = defaultdict(set)
        self._needles: dict[str, set[str]] = defaultdict(set)

    def plant(self, kind: str, value: str) -> str:
        """Remember a secret, whole and in pieces; gives it back."""
        if value and value not in self.values[kind]:
            assert len(value) >= 12, f"too short to be told from chance: {kind}"
            self.values[kind].add(value)
            pieces = (
                {value}
                if len(value) < 3 * PIECE
                else {value[at : at + PIECE] for at in range(PIECE, len(value) - PIECE, PIECE)}
            )
            for piece in pieces:
                self._needles[kind] |= forms(piece)
        return value

    def plant_saml(self, kind: str, posted: str) -> str:
        """A SAML message in Base64: its signatures, decoded and where they lie in the Base64; the rest any message may have."""
        self._needles["any SAML message"] |= {base64.b64encode(b"<samlp:Response ").decode()[:-2]}
        xml = base64.b64decode(posted + "=" * (-len(posted) % 4)) if re.fullmatch(r"[A-Za-z0-9+/]+=*", posted) else b""
        for found in re.finditer(rb"SignatureValue>([A-Za-z0-9+/=\s]{80,})</", xml):
            self.plant(kind, found[1].decode())
            start, end = (-(-edge * 4 // 3) for edge in found.span(1))
            self.plant(kind, posted[start + 4 : end - 4])
        return posted

    def plant_key(self, kind: str, pem: str) -> None:
        """A private key: the lines of its PEM behind the modulus, which is public, and its secret numbers in all forms."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        lines = pem.strip().splitlines()[1:-1]
        for line in lines[len(lines) // 2 :] if len(lines) > 6 else lines[:1]:
            self.plant(kind, line)
        numbers = load_pem_private_key(pem.encode(), password=None).private_numbers()
        for name in ("d", "p", "q", "private_value"):
            number = getattr(numbers, name, None)
            if number is not None:
                self.plant(kind, str(number))
                raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
                self._needles[kind] |= {raw.hex(), f"{number:x}"[8:]}
                for shift in range(3):
                    coded = base64.b64encode(b"\0" * shift + raw).decode()[4:-6]
                    self._needles[kind] |= {coded, coded.replace("+", "-").replace("/", "_")}

    def found(self, text: str | bytes, *, but: frozenset[str] | set[str] = frozenset()) -> set[str]:
        """The kinds of secret that are in `text`, without those in `but`."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace") + text.hex()
        return {
            kind
            for kind, needles in self._needles.items()
            if kind not in but and any(needle in text for needle in needles)
        }


# What may hold what: (method, path, status, header or "body") -> the kinds that it is there to carry.
CARRIES = [
    ("POST", r"/saml/\w+/acs", 303, "Location", {"sign-in code"}),
    ("GET", r"/signin/\w+/complete", 200, "body", {"sign-in code"}),
    ("POST", r"/oauth/authorize", 302, "Location", {"authorization code"}),
    ("POST", r"/oauth/token", 200, "body", {"access or refresh token"}),
    ("POST", r"/oauth/device_authorization", 200, "body", {"device code"}),
    ("POST", r"/api/v1/credentials", 200, "body", {"AWS secret key", "AWS session token"}),
    ("POST", r"/roles/\d+/[\w/]+/credentials", 200, "body", {"AWS secret key", "AWS session token"}),
    ("POST", r"/api/v1/console", 200, "body", {"SigninToken"}),
    ("POST", r"/roles/\d+/[\w/]+/console", 302, "Location", {"SigninToken"}),
    ("POST", r"/roles/\d+/[\w/]+/console", 200, "body", {"assertion toward AWS", "any SAML message"}),
]


class Watch:
    """Listens from `__enter__` on; `check` asserts that nobody heard a canary."""

    def __init__(self, aviary: Aviary, monkeypatch) -> None:
        self.aviary, self._monkeypatch = aviary, monkeypatch
        self.raw: list[str] = []
        self.reprs: list[str] = []
        self.errors: list[str] = []
        self.answers: list[tuple[str, str, int, dict[str, str], bytes]] = []
        self.carried: set[str] = set()
        self._stream = io.StringIO()
        self._quoting: list[str] = []

    # --- listening ---

    def __enter__(self) -> Watch:
        self._listen_to_logs()
        self._listen_to_reprs()
        signals.got_request_exception.connect(self._on_exception)
        return self

    def __exit__(self, *_: object) -> None:
        signals.got_request_exception.disconnect(self._on_exception)
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
        root.setLevel(self._level)
        structlog.get_config()["processors"].remove(self._before_redaction)

    def _listen_to_logs(self) -> None:
        """As ROLEGATE_LOG_LEVEL=DEBUG sets it up; and each record before redaction too."""
        raw, rendered = logging.Handler(1), logging.StreamHandler(self._stream)
        raw.emit = self._on_record  # type: ignore[method-assign]
        configured = structlog.get_config()
        at_debug = logging_config("DEBUG")
        structlog.configure(**configured)  # loggers that are bound already keep these processors
        options = dict(settings.LOGGING["formatters"]["json"])
        rendered.setFormatter(options.pop("()")(**options))
        self._handlers = [raw, rendered]
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(at_debug["root"]["level"])
        for handler in self._handlers:
            root.addHandler(handler)
        for name, logger in at_debug["loggers"].items():
            held = logging.getLogger(name)
            self._monkeypatch.setattr(held, "level", logging.getLevelName(logger["level"]))
        root.manager._clear_cache()
        structlog.get_config()["processors"].insert(0, self._before_redaction)

    def _on_record(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, dict):
            return  # structlog's: heard before redaction
        self.raw.append(f"{record.name} {record.msg} {record.args} {record.getMessage()}")
        self.raw.append(
            repr({k: v for k, v in record.__dict__.items() if k not in {"exc_info", "request", "response", "args"}})
        )
        if record.exc_info:
            self.raw.append("".join(traceback.format_exception(*record.exc_info)))

    def _before_redaction(self, _logger: object, _method: str, event: dict[str, object]) -> dict[str, object]:
        self.raw.append(repr(dict(event)))
        if isinstance(event.get("exc_info"), BaseException):
            self.raw.append("".join(traceback.format_exception(event["exc_info"])))
        return event

    def _listen_to_reprs(self) -> None:
        """A repr ends up in a log, a debugger's page or an error tracker: every object of ours is asked for its own."""
        for package in (federation, portal):
            for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
                if ".migrations" not in module.name:
                    importlib.import_module(module.name)
        kinds = [
            thing
            for name, module in list(sys.modules.items())
            if name.startswith(("federation.", "portal."))
            for thing in vars(module).values()
            if isinstance(thing, type) and thing.__module__ == name
        ]
        for kind in kinds:
            ours = dataclasses.is_dataclass(kind) or issubclass(kind, RolegateError)
            if ours and "__init__" in vars(kind):
                self._wrap(kind)

    def _wrap(self, kind: type) -> None:
        made = kind.__init__

        def init(this, *args, **kwargs):
            made(this, *args, **kwargs)
            self.reprs.append(repr(this))
            if isinstance(this, RolegateError):
                self.reprs.append(repr(this.__dict__))

        self._monkeypatch.setattr(kind, "__init__", init)

    def _on_exception(self, sender, **_: object) -> None:
        """What Django would hand to an error tracker: the exceptions themselves."""
        error = sys.exception()
        while error is not None:
            self.errors.append(repr(error))
            error = error.__cause__ or error.__context__

    def on_answer(self, request, answer) -> None:
        """Called by the browser for each answer."""
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        self.answers.append(
            (request["REQUEST_METHOD"], request["PATH_INFO"], answer.status_code, dict(answer.items()), body)
        )

    # --- judging ---

    def quoting(self, *kinds: str) -> None:
        """An exception of the test's own will quote these: what is raw (before redaction) is then not judged for them."""
        self._quoting += kinds

    @property
    def log(self) -> str:
        """The log as the operator has it."""
        return self._stream.getvalue()

    def check(self, capfd=None) -> None:
        """Nobody heard a canary; raises AssertionError with where and what."""
        found = self.aviary.found
        heard: list[tuple[str, set[str], str]] = []

        def judge(where: str, text: str | bytes, but: set[str] = frozenset()) -> None:
            kinds = found(text, but=but)
            if kinds:
                heard.append((where, kinds, str(text)[:3000]))

        def judge_all(where: str, texts: Iterable[str], but: set[str] | frozenset[str] = frozenset()) -> None:
            """Each by itself where there is something in all of them together, which is seven times quicker to know."""
            different = list(dict.fromkeys(texts))
            if found("\n".join(different), but=but):
                for text in different:
                    judge(where, text, but)

        quoted = set(self._quoting)
        for where, texts, but in (
            ("log", self.log.splitlines(), frozenset()),
            ("log before redaction", self.raw, quoted),
            ("exception", self.errors, quoted),
            ("repr", self.reprs, quoted),
        ):
            judge_all(where, texts, but)
        for method, path, status, headers, body in self.answers:
            allowed = [
                entry for entry in CARRIES if entry[0] == method and re.fullmatch(entry[1], path) and entry[2] == status
            ]
            for place, text in (*headers.items(), ("body", body)):
                may = set().union(*(entry[4] for entry in allowed if entry[3] == place))
                self.carried |= found(text) & may
                judge(f"{method} {path} {status} {place}", text, may)
        rows: dict[str, list[str]] = defaultdict(list)
        for table, row in stored():
            rows[table].append(row)
        for table, texts in rows.items():
            judge_all(f"table {table}", texts)
        judge_all("audit export", export.lines())
        if capfd is not None:
            out, err = capfd.readouterr()
            judge("standard output", out)
            judge("standard error", err)
        assert not heard, "\n".join(
            f"{where}: {', '.join(sorted(kinds))}\n    {text[:400]}" for where, kinds, text in heard[:12]
        )


def stored():
    """Every row of every table as text, binary and JSON columns too; what sessions hold also as their reader reads it."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                yield (
                    table,
                    " ".join(
                        bytes(value).decode("utf-8", "replace") + bytes(value).hex()
                        if isinstance(value, bytes | memoryview)
                        else str(value)
                        for value in row
                    ),
                )
                if "session_data" in names:
                    yield table, repr(SessionStore().decode(row[names.index("session_data")]))


class Watched(Browser):
    """A browser whose answers are all heard, and which gets a 500 as an answer."""

    def __init__(self, watch: Watch, **more) -> None:
        super().__init__(raise_request_exception=False, **more)
        self._watch = watch

    def request(self, **request):
        answer = super().request(**request)
        self._watch.on_answer(request, answer)
        return answer


# Whose random values are which secret: (module, function) -> kind.
MAKERS = {
    ("federation.flows.client_tokens", "_issue"): "access or refresh token",
    ("federation.flows.pair_cli", "issue_code"): "authorization code",
    ("federation.flows.pair_cli", "begin_device"): "device code",
    ("federation.flows.sign_in", "_receive_saml"): "sign-in code",
    ("portal.views.sign_in", "begin"): "binding cookie",
}


def plant_what_is_made(aviary: Aviary, monkeypatch) -> None:
    """Every random secret becomes a canary at the moment it is made, also where it never leaves."""
    token_urlsafe = secrets.token_urlsafe

    def recorded(size=None):
        made = token_urlsafe(size)
        frame = sys._getframe(1)
        kind = MAKERS.get((frame.f_globals["__name__"], frame.f_code.co_name))
        return aviary.plant(kind, made) if kind else made

    monkeypatch.setattr(secrets, "token_urlsafe", recorded)

    from portal import sessions

    random_string = sessions.get_random_string
    monkeypatch.setattr(
        sessions, "get_random_string", lambda length: aviary.plant("session cookie", random_string(length))
    )
