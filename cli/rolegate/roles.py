"""The roles that the person can use: the list and its cache, and finding one by a few letters of its name."""

from __future__ import annotations

import json
import os
import re
import time
from collections import namedtuple

from rolegate import files, terminal
from rolegate.errors import NoSuchRole, NotAGateway, NotSignedIn, Unreachable, plain
from rolegate.settings import forget_questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from rolegate.client import Client

# A list younger than this is shown as it is; an older one is asked about with its ETag.
FRESH_SECONDS = 300
# It goes into shells and files: `rolegate env` is read by eval.
_REGION = re.compile(r"[a-z0-9-]{0,40}")
_ARN = re.compile(r"arn:aws[a-z-]{0,20}:iam::([0-9]{12}):role/([A-Za-z0-9_+=,.@/-]{1,577})")

Role = namedtuple(
    "Role", "arn account_id account environment name partition region max_duration console_duration approval"
)


def parse_arn(text: str) -> Role | None:
    """A role that is known by its ARN alone, None where the text is none."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    return Role(text, match[1], match[1], "", match[2].rsplit("/", 1)[-1], text.split(":")[1], "", 0, 0, False)


def label(role: Role) -> str:
    """How a role is called here, and can be typed: account/role."""
    return f"{role.account}/{role.name}"


class Roles:
    """The list, from the cache or the gateway. `at`: when the gateway last said so; `note`: a sentence about its age, or "".

    `asked`: whether the person was asked which of several they mean.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.path = os.path.join(client.gateway.cache, "roles.json")
        self.at = 0.0
        self.etag = ""
        self.note = ""
        self.asked = False
        self._roles: list[Role] | None = None

    def all(self, *, refresh: bool = False, offline: bool = False) -> list[Role]:
        """Every role, by account and name. `offline`: whatever the cache has.

        Raises what asking raises, unless an older list is there and the gateway cannot be reached: `note` says so then.
        """
        if self._roles is None:
            self._read()
        young = 0 <= time.time() - self.at < FRESH_SECONDS
        if self._roles is not None and (offline or (young and not refresh)):
            return self._roles
        if offline:
            return []
        with files.Lock(self.path + ".lock"):
            if not refresh:
                self._read()  # somebody else may have asked while we waited
                if self._roles is not None and 0 <= time.time() - self.at < FRESH_SECONDS:
                    return self._roles
            try:
                self._fetch()
            except (Unreachable, NotSignedIn) as error:
                if self._roles is None:
                    raise
                minutes = max(1, round((time.time() - self.at) / 60))
                self.note = f"This list is {minutes} min old: {error.sentence}"
        return self._roles or []

    def _read(self) -> None:
        raw = files.read_private(self.path)
        if not raw:
            return
        try:
            kept = json.loads(raw)
            if kept["form"] != len(Role._fields) or kept["login"] != self.client.session.read().login:
                return  # of another version of the helper, or of another sign-in
            self.at, self.etag = float(kept["at"]), str(kept["etag"])
            self._roles = [Role(*row) for row in kept["roles"]]
        except (ValueError, KeyError, TypeError):
            self._roles = None  # broken: it is only a cache

    def _fetch(self) -> None:
        web, etag = self.client.web, self.etag if self._roles is not None else ""
        answer = self.client.ask(lambda token: web.get("/api/v1/roles", token=token, etag=etag))
        changed = answer.status != 304
        if changed:
            self._roles = sorted(
                _rows(answer.document()), key=lambda role: (role.account.lower(), role.account_id, role.name.lower())
            )
            etag = answer.headers.get("etag", "")
            self.etag = etag if etag.isascii() and etag.isprintable() else ""
        self.at = time.time()
        kept = {
            "form": len(Role._fields),
            "login": self.client.session.login,
            "at": self.at,
            "etag": self.etag,
            "roles": self._roles,
        }
        files.write_private(self.path, json.dumps(kept).encode())
        if changed:
            forget_questions()

    def find(self, wanted: str) -> Role:
        """The one role that is meant: an ARN, account/role, a role's name, or words that are in one role only.

        Several: asks the person where there is one. Raises NoSuchRole with the candidates.
        """
        known = parse_arn(wanted)
        if known is not None:
            return next((role for role in self.all(offline=True) if role.arn == wanted), known)
        roles = self.all()
        found = candidates(roles, wanted)
        if not found and time.time() - self.at > 2:
            found = candidates(self.all(refresh=True), wanted)  # access that was given a minute ago
        if len(found) == 1 and found[0][0] < _GUESS:
            return found[0][1]
        if not found:
            near = ", ".join(label(role) for role in roles[:3])
            raise NoSuchRole(
                f"You have no role that matches {plain(wanted)}. {f'You have {len(roles)}, such as {near}: see rolegate roles.' if roles else 'You have none at all: see the portal, or ask your administrators.'}"
            )
        options = [role for _, role in found]
        if terminal.can_ask():
            self.asked = True
            chosen = terminal.choose("Which role?", [_line(role) for role in options])
            if chosen is None:
                raise NoSuchRole("No role was chosen.")
            return options[chosen]
        shown = "".join(f"\n  {label(role)}  {role.arn}" for role in options[:12])
        more = f"\n  and {len(options) - 12} more" if len(options) > 12 else ""
        if len(options) == 1:
            raise NoSuchRole(f"No role is called {plain(wanted)}. Did you mean:{shown}")
        raise NoSuchRole(
            f"{plain(wanted)} could be any of {len(options)} roles. Name one as ACCOUNT/ROLE or by its ARN:{shown}{more}"
        )


def _line(role: Role) -> str:
    return f"{label(role)}  {role.account_id}  {role.environment}".rstrip()


def _rows(document: dict[str, Any]) -> Iterable[Role]:
    """The gateway's document as rows. Raises NotAGateway. What it calls things is cleaned: names go to terminals and files."""
    try:
        for account in document["accounts"]:
            for role in account["roles"]:
                arn = str(role["arn"])
                match = _ARN.fullmatch(arn)
                if match is None or match[1] != account["account_id"]:
                    raise NotAGateway(
                        "The gateway lists a role whose ARN is none, or of another account. Tell your administrators."
                    )
                yield Role(
                    arn, match[1], plain(account.get("name") or match[1], 100), plain(account.get("environment") or "", 40),
                    plain(role["name"], 600), arn.split(":")[1], _region(account.get("region")),
                    int(role.get("max_duration") or 0), int(role.get("console_duration") or 0), bool(role.get("needs_approval")),
                )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAGateway(
            "The gateway's list of roles is not in a form that this helper knows. Install the helper that belongs to it, from its page /cli/."
        ) from error


def _region(said: object) -> str:
    """The account's region, "" for what can be none."""
    return said if isinstance(said, str) and _REGION.fullmatch(said) else ""


# --- Matching -----------------------------------------------------------------------------------------

_GUESS = 8  # from here on a match is only a guess: shown, never taken


def _scattered(word: str, text: str) -> bool:
    """Whether the letters of `word` are in `text` in this order."""
    place = 0
    for letter in word:
        place = text.find(letter, place) + 1
        if not place:
            return False
    return True


def _rank(word: str, role: Role) -> int | None:
    account, name = role.account.lower(), role.name.lower()
    if word in (name, account, role.account_id, f"{account}/{name}", f"{role.account_id}/{name}"):
        return 0
    if name.startswith(word) or account.startswith(word):
        return 1
    whole = f"{account}/{name}"
    if word in whole or word in role.account_id or word in role.environment.lower():
        return 2
    return _GUESS if _scattered(word, whole) else None


def candidates(roles: Sequence[Role], wanted: str) -> list[tuple[int, Role]]:
    """The roles that `wanted` may mean, best first, with how far each is from what was typed.

    An exact account/role, or a role's exact name, leaves everything else out.
    """
    text = wanted.strip().lower()
    if "/" in text or ":" in text:
        account, _, name = text.replace(":", "/", 1).partition("/")
        exact = [
            role for role in roles if role.name.lower() == name and account in (role.account.lower(), role.account_id)
        ]
        if exact:
            return [(0, role) for role in exact]
    exact = [role for role in roles if role.name.lower() == text]
    return [(0, role) for role in exact] if exact else matching(roles, text.split())


def matching(roles: Sequence[Role], words: Sequence[str]) -> list[tuple[int, Role]]:
    """The roles in which every word is found, best first; scattered letters count only where nothing else is found."""
    found = []
    for role in roles:
        total = 0
        for word in words:
            rank = _rank(word.lower(), role)
            if rank is None:
                break
            total += rank
        else:
            found.append((total, role))
    if any(rank < _GUESS for rank, _ in found):
        found = [(rank, role) for rank, role in found if rank < _GUESS]
    return sorted(found, key=lambda pair: pair[0])
