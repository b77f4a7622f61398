"""Credentials of a role: from the cache while they have more than 15 minutes left, else new ones; and how they are written.

They rest in 0600 files of the cache (hours of life, no renewal in them; a keyring asked at every start of an SDK would cost
more than the start itself). botocore asks again from 15 minutes before the end, so nothing shorter is served while new
credentials can be had; when they cannot, what is still valid is served, and stderr says so.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from datetime import datetime, timezone

from rolegate import fast, files, terminal
from rolegate.client import note_failure, raise_failure
from rolegate.errors import AwsFailed, NotAGateway, NotSignedIn, Unreachable, Usage, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rolegate.client import Client
    from rolegate.roles import Role

MARGIN_SECONDS = 900
LONGEST_SECONDS = 43_200
READ_ONLY = "read-only"
FORMATS = ("process", "json", "env", "fish", "powershell", "file")
_FIELDS = {
    "AccessKeyId": r"[A-Z0-9]{16,128}",
    "SecretAccessKey": r"[A-Za-z0-9/+=]{1,200}",
    "SessionToken": r"[A-Za-z0-9/+=_.-]{1,20000}",
}
_PROFILE = re.compile(r"[A-Za-z0-9_.@:/+=,-]{1,128}")


class Wanted:
    """What is asked for: which role, narrowed or not, for how long (seconds, None: as the mapping says).

    `chosen`: the person was asked which of several roles they mean.
    """

    def __init__(
        self, role: Role, *, read_only: bool = False, duration: int | None = None, chosen: bool = False
    ) -> None:
        self.role = role
        self.read_only = read_only
        self.duration = duration
        self.chosen = chosen

    @property
    def key(self) -> str:
        """The name of its cache file. Whose credentials: of the folder's one sign-in; another person's empties the folder."""
        path = self.role.arn.split(":role/", 1)[1]
        partition = "" if self.role.partition == "aws" else f"{self.role.partition}-"
        options = ",read-only" * self.read_only + (f",{self.duration}" if self.duration else "")
        return f"{partition}{self.role.account_id}-{files.escaped(path)}{options}"

    def options(self) -> list[str]:
        """As the command line says it."""
        return ["--read-only"] * self.read_only + (["--duration", str(self.duration)] if self.duration else [])


def path_of(client: Client, wanted: Wanted) -> str:
    """The cache file."""
    return os.path.join(client.gateway.cache, wanted.key)


def obtain(client: Client, wanted: Wanted, *, held: int = -1, quiet: bool = False) -> dict[str, Any]:
    """The document of credential_process. `held`: the cache file's lock, if it is held already.

    Raises NotSignedIn, Refused, Unreachable, AwsFailed, NotAGateway, LocalFiles.
    """
    path = path_of(client, wanted)
    files.read_private(path)  # refuses with a sentence what others can read
    if held < 0:
        found = _parsed(fast.fresh(path))
        if found:
            return found
    marker = path + ".failed"
    with files.Lock(path + ".lock", held):
        found = _parsed(fast.fresh(path)) or _since(path, client.since)
        if found:
            return found
        try:
            raise_failure(marker, client.since)
            return _fetch(client, wanted, path)
        except (Unreachable, NotSignedIn, AwsFailed) as error:
            note_failure(marker, error)
            left, found = _still_valid(path)
            if not found:
                raise
            if not quiet:
                terminal.complain(
                    f"{error.sentence}\nUsing credentials that end in {max(1, round(left / 60))} min.", style="yellow"
                )
            return found


def _fetch(client: Client, wanted: Wanted, path: str) -> dict[str, Any]:
    body: dict[str, object] = {"role_arn": wanted.role.arn}
    if wanted.duration:
        body["duration"] = wanted.duration
    if wanted.read_only:
        body["policy"] = READ_ONLY
    answer = client.ask(lambda token: client.web.post_json("/api/v1/credentials", body, token=token))
    document, ends = _checked(answer.document(), wanted.role)
    now = time.time()
    ends -= client.web.skew  # by this machine's clock, which is the one that asks next time
    if not 60 < ends - now < LONGEST_SECONDS + 3600:
        raise NotAGateway(
            "The gateway's credentials end in the past, or far in the future. Check this machine's clock; else tell your administrators."
        )
    if client.web.clock_warning:
        terminal.say(client.web.clock_warning, style="yellow")
    if wanted.duration and ends - now < wanted.duration - 60:
        terminal.say(shortened(wanted.duration, ends - now), style="yellow")
    head = b"rolegate-1 %d %d\n" % (now, ends - MARGIN_SECONDS)
    login = client.session.login
    with client.gateway.lock():
        # Signed out, or somebody else's by now: then they are for this process alone.
        if client.session.read().login == login:
            files.write_private(path, head + json.dumps(document).encode() + b"\n")
    return document


def shortened(asked: int, given: float) -> str:
    """A sentence for somebody who gets less time than they asked for: AWS would refuse, the gateway gives what there can be."""
    return f"You asked for {spoken(asked)}; the role allows {spoken(given)}."


def spoken(seconds: float) -> str:
    """A duration as people say it: "1 h 30 min"."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours))


def _checked(document: dict[str, Any], role: Role) -> tuple[dict[str, Any], float]:
    """Only what belongs there, in the form that it has: it goes into shells and files. And its end, seconds since 1970."""
    made: dict[str, Any] = {"Version": 1}
    for name, form in _FIELDS.items():
        value = document.get(name)
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise NotAGateway(f"The gateway's credentials have no proper {name}. Tell your administrators.")
        made[name] = value
    try:
        moment = datetime.fromisoformat(str(document.get("Expiration")).replace("Z", "+00:00"))
        ends = moment.timestamp()
        made["Expiration"] = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise NotAGateway("The gateway's credentials do not say when they end. Tell your administrators.") from None
    if document.get("AccountId", role.account_id) != role.account_id:
        raise NotAGateway(
            "The gateway's credentials are of another account than was asked for. Tell your administrators."
        )
    made["AccountId"] = role.account_id
    return made, ends


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body) if body else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "SecretAccessKey" in found else None


def _kept(path: str) -> tuple[int, float, dict[str, Any] | None]:
    """When they came, how many seconds they have left, and the document."""
    head, _, body = fast.read(path).partition(b"\n")
    words = head.split()
    if len(words) != 3 or words[0] != b"rolegate-1":
        return 0, 0.0, None
    return int(words[1]), int(words[2]) + MARGIN_SECONDS - time.time(), _parsed(body)


def _since(path: str, moment: float) -> dict[str, Any] | None:
    """What somebody else fetched while we waited, however short it was asked for: it is as new as ours would be."""
    came, left, found = _kept(path)
    return found if came >= int(moment) and left > 60 else None


def _still_valid(path: str) -> tuple[float, dict[str, Any] | None]:
    _, left, found = _kept(path)
    return (left, found) if left > 30 else (0.0, None)


# --- Written down -------------------------------------------------------------------------------------


def environment(document: dict[str, Any], region: str = "") -> dict[str, str]:
    """The variables that AWS's SDKs read."""
    made = {
        "AWS_ACCESS_KEY_ID": document["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": document["SecretAccessKey"],
        "AWS_SESSION_TOKEN": document["SessionToken"], "AWS_CREDENTIAL_EXPIRATION": document["Expiration"],
        "AWS_ACCOUNT_ID": document["AccountId"],
    }  # fmt: skip
    if region:
        made |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    return made


def rendered(document: dict[str, Any], form: str, *, region: str = "", profile: str = "rolegate") -> str:
    """The credentials as text in one of FORMATS. Raises Usage for a profile's name that no file can hold."""
    if form == "process":
        return json.dumps(document) + "\n"
    if form == "json":
        return json.dumps(document, indent=2) + "\n"
    if form == "file":
        if not _PROFILE.fullmatch(profile):
            raise Usage(f"{plain(profile)} cannot be a profile's name. Letters, digits and _.@:/+=,- can.")
        lines = [
            f"[{profile}]", f"# expires {document['Expiration']}", f"aws_access_key_id = {document['AccessKeyId']}",
            f"aws_secret_access_key = {document['SecretAccessKey']}", f"aws_session_token = {document['SessionToken']}",
        ]  # fmt: skip
        return "\n".join([*lines, *([f"region = {region}"] if region else [])]) + "\n"
    # Values hold letters, digits and /+=_.:- alone (checked as they came); quoted all the same.
    line = {"env": "export {}={}\n", "fish": "set -gx {} {}\n", "powershell": "$Env:{} = {}\n"}[form]
    quote = shlex.quote if form == "env" else "'{}'".format
    return "".join(line.format(name, quote(value)) for name, value in environment(document, region).items())


UNSET = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ACCOUNT_ID",
)


def unset(form: str) -> str:
    """Lines that take the variables out of a shell again."""
    line = {"fish": "set -e {}\n", "powershell": "Remove-Item Env:{} -ErrorAction SilentlyContinue\n"}.get(
        form, "unset {}\n"
    )
    return "".join(line.format(name) for name in UNSET)
