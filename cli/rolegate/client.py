"""The gateway as the commands use it: with a good token, signed in anew where that may be done, and honest about waiting."""

from __future__ import annotations

import json
import os
import time

from rolegate import browser, files, keyring, terminal
from rolegate.errors import KINDS, Failure, LocalFiles, NotSignedIn, Usage
from rolegate.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rolegate.settings import Gateway, Settings
    from rolegate.web import Answer, Web

# A sign-in that is gone is brought back by renewing; one that the gateway finds too old, only by the person.
_RENEWABLE = frozenset({"invalid_token", "not_signed_in"})


class Client:
    """One gateway, one command. `since`: when the command began (seconds since 1970).

    `may_sign_in`: whether a command that needs a sign-in may start one by itself.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        *,
        ca_bundle: str | None = None,
        since: float = 0.0,
        may_sign_in: bool = True,
    ) -> None:
        self.settings = settings
        self.gateway = gateway
        self.ca_bundle = ca_bundle
        self._web: Web | None = None
        self.session = Session(gateway)
        self.since = since or time.time()
        self.may_sign_in = may_sign_in

    @property
    def web(self) -> Web:
        """The connection. Loaded when it is needed: HTTP takes longer to load than a role list to show."""
        if self._web is None:
            from rolegate.web import Web

            self._web = Web(self.gateway, self.ca_bundle)
        return self._web

    # --- With a token -----------------------------------------------------------------------------

    def ask(self, request: Callable[[str], Answer]) -> Answer:
        """`request` with a good access token; once more with another where the gateway does not take it.

        Raises what the request raises, and NotSignedIn.
        """
        token = self.token()
        try:
            return request(token)
        except NotSignedIn as error:
            if error.code in _RENEWABLE:
                return request(self.token(bad=token))
            if not self._can_sign_in():
                raise NotSignedIn(f"{error.sentence} Run: rolegate login {self.gateway.url}", code=error.code) from None
            with self.gateway.lock():
                self._sign_in_again()
            return request(self.session.access())

    def token(self, *, bad: str = "") -> str:
        """An access token that is not `bad`. Raises NotSignedIn, Unreachable, LocalFiles."""
        access = self.session.read().access()
        if access and access != bad:
            return access
        with self.gateway.lock():
            access = self.session.read().access()
            if access and access != bad:
                return access  # somebody else has renewed it while we waited
            try:
                self.session.renew(self.web)
            except NotSignedIn:
                if not self._can_sign_in():
                    raise
                self._sign_in_again()
        return self.session.access()

    def _can_sign_in(self) -> bool:
        """By itself, a command opens a browser, or shows a code to somebody who sits there; nothing else."""
        if not self.may_sign_in or os.environ.get("ROLEGATE_LOGIN") == "never":
            return False
        return self.way(None) == "browser" or terminal.can_ask()

    def _sign_in_again(self) -> None:
        # Whoever waited while another process tried and failed does not open the next tab.
        raise_failure(os.path.join(self.gateway.state, "sign-in.failed"), self.since)
        self.sign_in(None, None)

    # --- Signing in -------------------------------------------------------------------------------

    def way(self, forced: str | None) -> str:
        """Either "browser" or "device": forced, set, remembered for such a place, or what the place allows."""
        chosen = forced or os.environ.get("ROLEGATE_LOGIN", "")
        if chosen in {"browser", "device"}:
            return chosen
        if chosen not in {"", "never"}:
            raise Usage("ROLEGATE_LOGIN must be browser, device or never.")
        place = browser.situation()
        remembered = self.gateway.known.get("sign_in", {})
        if isinstance(remembered, dict) and remembered.get(place) in {"browser", "device"}:
            return str(remembered[place])
        return "device" if place in browser.WITHOUT else "browser"

    def sign_in(self, forced: str | None, store: str | None) -> str:
        """Signs in, under the gateway's lock, and remembers the way that worked here. Returns a note for the person, or ""."""
        from rolegate import login

        way, place = self.way(forced), browser.situation()
        if not forced and way == "device" and place in browser.WITHOUT:
            terminal.say(f"There is no browser here ({place}): signing in with a code. --browser forces the other way.")
        marker = os.path.join(self.gateway.state, "sign-in.failed")
        try:
            tokens, person = login.sign_in(self.web, way)
            note = self.session.begin(
                tokens,
                person,
                store=store or os.environ.get("ROLEGATE_STORE") or self.gateway.known.get("store") or keyring.likely(),
            )
        except (Failure, KeyboardInterrupt) as error:
            note_failure(
                marker,
                error if isinstance(error, Failure) else NotSignedIn("The sign-in was broken off. Run: rolegate login"),
            )
            raise
        files.remove(marker)
        remembered = dict(self.gateway.known.get("sign_in", {}))
        remembered[place] = way
        self.settings.remember(
            self.gateway, sign_in=remembered, store=store or self.gateway.known.get("store"),
            ca_bundle=os.path.abspath(os.path.expanduser(self.web.ca_bundle)) if self.web.ca_bundle else None,
        )  # fmt: skip
        return note


# --- What happened while we waited ----------------------------------------------------------------------


def note_failure(marker: str, error: Failure) -> None:
    """Leaves the failure to those who wait for the lock that we hold."""
    said: dict[str, Any] = {
        "at": time.time(),
        "kind": type(error).__name__,
        "sentence": error.sentence,
        "code": error.code,
    }
    try:
        files.write_private(marker, json.dumps(said).encode())
    except LocalFiles:
        pass  # then the others find out for themselves


def raise_failure(marker: str, since: float) -> None:
    """Raises the failure that is noted there, if it is younger than `since`: it happened to us too, as we waited."""
    raw = files.read_private(marker)
    if not raw:
        return
    try:
        said = json.loads(raw)
        younger = said["at"] >= since
        kind, sentence, code = KINDS.get(said["kind"], Failure), str(said["sentence"]), str(said["code"])
    except (ValueError, KeyError, TypeError):
        return
    if younger:
        raise kind(sentence, code=code)
