"""The pairing with a gateway: its tokens, their renewal, their end.

`session.json` holds the access token (minutes), and the refresh token where no keyring does. Everything that changes it
happens under the gateway's lock, so that fifty processes renew once. A refresh token's second use ends the pairing (the
gateway takes it for stolen), so one that was sent must be replaced by what came back, whatever happens to this process:
where there is fork, a child of its own does it and is out of reach of whoever kills its parent.
"""

from __future__ import annotations

import json
import os
import sys
import time

from rolegate import files, keyring
from rolegate.errors import KINDS, Failure, LocalFiles, NotAGateway, NotSignedIn, plain
from rolegate.settings import forget_questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rolegate.settings import Gateway
    from rolegate.web import Answer, Web

CLIENT_ID = "rolegate-cli"
# An access token with less than this left is renewed first: it must outlive the request that it goes with.
SPARE_SECONDS = 20
_FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # macOS's own libraries do not stand a fork without an exec


class Session:
    """What is kept of one gateway's pairing. `login`: a random id, another one after each sign-in."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.path = os.path.join(gateway.state, "session.json")
        self.content: dict[str, Any] = {}

    def read(self) -> Session:
        """Reads the file anew. Raises LocalFiles when others could read it."""
        raw = files.read_private(self.path)
        try:
            found = json.loads(raw) if raw else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise LocalFiles(f"{self.path} is broken. Sign in again: rolegate login {self.gateway.url}")
        self.content = found
        return self

    def _write(self) -> None:
        files.write_private(self.path, json.dumps(self.content).encode(), sync=True)

    @property
    def login(self) -> str:
        """The id of the sign-in, "" where there is none."""
        return str(self.content.get("login", ""))

    @property
    def store(self) -> str:
        """Which keyring has the refresh token."""
        return str(self.content.get("store", keyring.FILE))

    @property
    def person(self) -> dict[str, Any]:
        """What the gateway said about the person at sign-in: name, email, provider, id."""
        found = self.content.get("person")
        return found if isinstance(found, dict) else {}

    def moment(self, name: str) -> float:
        """One of the session's moments ("access_until", "refresh_until", "pairing_until"), seconds since 1970; 0 where unknown."""
        found = self.content.get(name)
        return float(found) if isinstance(found, (int, float)) else 0.0

    def access(self) -> str:
        """The access token if it is still good, else ""."""
        good = self.moment("access_until") - SPARE_SECONDS > time.time() >= self.moment("access_from") - 60
        return str(self.content.get("access", "")) if good else ""

    # --- Under the gateway's lock -------------------------------------------------------------------

    def begin(self, tokens: dict[str, Any], person: dict[str, Any], *, store: str) -> str:
        """A new sign-in, in place of any older one. Returns a note for the person, or "".

        What the older one had cached goes: it may have been somebody else.
        """
        before = self.person
        self.content = {"login": os.urandom(12).hex(), "person": person, "signed_in": time.time(), "store": store}
        ends = person.get("pairing_ends")
        if isinstance(ends, str):
            from datetime import datetime

            try:
                self.content["pairing_until"] = datetime.fromisoformat(ends.replace("Z", "+00:00")).timestamp()
            except ValueError:
                pass  # then it is not shown
        note = self._keep(tokens)
        if before.get("id") != person.get("id"):
            clear_caches(self.gateway)
        return note

    def _keep(self, tokens: dict[str, Any]) -> str:
        """Writes the tokens down; where the keyring fails, into the file: the older ones are spent by now."""
        note = ""
        try:
            self._take(tokens)
        except keyring.KeyringAway as error:
            note = f"The system keyring cannot be used ({error}): the sign-in is kept in a file that only you can read."
            self.content["store"] = keyring.FILE
            self._take(tokens)
        self._write()
        return note

    def _take(self, tokens: dict[str, Any]) -> None:
        now = time.time()
        access, refresh, lifetime = tokens.get("access_token"), tokens.get("refresh_token"), tokens.get("expires_in")
        if (
            not (isinstance(access, str) and isinstance(refresh, str) and isinstance(lifetime, (int, float)))
            or not access.isascii()
            or not access.isprintable()
        ):
            raise NotAGateway(
                "The gateway's answer holds no tokens. Install the helper that belongs to it, from its page /cli/."
            )
        kept = keyring.put(self.store, self.gateway.url, refresh)
        self.content |= {"access": access, "access_from": now, "access_until": now + lifetime, "refresh": kept}
        idle = tokens.get("refresh_token_expires_in")
        self.content["refresh_until"] = now + idle if isinstance(idle, (int, float)) else None

    def refresh_token(self) -> str:
        """Raises NotSignedIn where there is none, LocalFiles where the keyring keeps it to itself."""
        if not self.login:
            raise NotSignedIn(f"You are not signed in to {self.gateway.url}. Run: rolegate login {self.gateway.url}")
        try:
            token = keyring.get(self.store, self.gateway.url, str(self.content.get("refresh", "")))
        except (keyring.KeyringAway, ValueError) as error:
            raise keyring.lost(self.gateway.url, str(error)) from None
        if not token:
            raise NotSignedIn(
                f"Your sign-in to {self.gateway.url} is gone from the keyring. Run: rolegate login {self.gateway.url}"
            )
        return token

    def renew(self, web: Web) -> None:
        """New tokens for the refresh token, kept before anything else happens. Raises NotSignedIn when the pairing has ended."""
        token = self.refresh_token()
        until = self.moment("refresh_until")
        if until and until + 60 < time.time():
            raise self._ended()
        threading = sys.modules.get("threading")  # loaded by whoever has threads, and not for this question
        if _FORKS and (threading is None or threading.active_count() == 1):
            web.prepare()
            _in_a_child(lambda: self._renew(web, token))
            self.read()
        else:
            with _Undisturbed():
                self._renew(web, token)

    def _renew(self, web: Web, token: str) -> None:
        answer = web.post_form(
            "/oauth/token", {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": token}
        )
        if answer.status != 200:
            if oauth_error(answer) == "invalid_grant":
                raise self._ended()
            raise NotSignedIn(f"{oauth_sentence(answer)} Run: rolegate login {self.gateway.url}")
        self._keep(answer.document())

    def _ended(self) -> NotSignedIn:
        return NotSignedIn(
            f"Your sign-in to {self.gateway.url} has ended. Run: rolegate login {self.gateway.url}",
            code="invalid_grant",
        )

    def end(self) -> None:
        """Forgets the sign-in and everything that was cached under it."""
        if self.login and self.store != keyring.FILE:
            try:
                keyring.remove(self.store, self.gateway.url)
            except keyring.KeyringAway:
                pass  # revoked at the gateway all the same; and there may have been nothing
        files.remove(self.path)
        self.content = {}
        clear_caches(self.gateway)


def clear_caches(gateway: Gateway) -> None:
    """Removes the gateway's role list and credentials, and every note of what was asked."""
    files.clear(gateway.cache)
    forget_questions()


def oauth_error(answer: Answer) -> str:
    """The error code of RFC 6749 section 5.2."""
    return plain(answer.document().get("error", ""), 60)


def oauth_sentence(answer: Answer) -> str:
    """What the gateway says about it."""
    document = answer.document()
    return plain(document.get("error_description") or document.get("error") or "The gateway refused.")


class _Undisturbed:
    """Ctrl-C and a request to end wait until the `with` is over. Only in the main thread: elsewhere no signal arrives."""

    def __enter__(self) -> None:
        import signal
        import threading

        self._came: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, lambda number, _frame: self._came.append(number))

    def __exit__(self, *_: object) -> None:
        import signal

        for number, handler in self._before.items():
            signal.signal(number, handler)
        for number in self._came:
            signal.raise_signal(number)


def _in_a_child(work: Any) -> None:
    """Does `work` in a process of a session of its own: neither Ctrl-C nor kill -9 for us ends it half way.

    It holds our locks too until it is done. Raises what the work raised.
    """
    if sys.platform == "win32":
        raise AssertionError
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            os.close(reading)
            try:
                work()
                told = b"{}"
            except Failure as error:
                told = json.dumps(
                    {"kind": type(error).__name__, "sentence": error.sentence, "code": error.code}
                ).encode()
            except BaseException as error:  # nothing may escape: the parent's code must not run twice
                told = json.dumps(
                    {"kind": "Failure", "sentence": f"The sign-in could not be renewed ({type(error).__name__})."}
                ).encode()
            os.write(writing, told)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    said = json.loads(told or b'{"kind": "Failure", "sentence": "The sign-in could not be renewed. Try again."}')
    if said:
        raise KINDS.get(said["kind"], Failure)(said["sentence"], code=said.get("code", ""))
