"""The commands that sign in, list and hand out. Each takes the parsed command line and returns the exit status."""

from __future__ import annotations

import json
import os
import sys
import time

from rolegate import __version__, files, keyring, terminal
from rolegate.client import Client
from rolegate.errors import NO_SUCH_ROLE, NOT_SIGNED_IN, OK, Failure, Usage, plain
from rolegate.session import CLIENT_ID, Session, clear_caches
from rolegate.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from rolegate.credentials import Wanted


def client_of(options: argparse.Namespace, *, may_sign_in: bool = True) -> Client:
    """The gateway that is meant, with what the command line says about reaching it."""
    settings = Settings()
    return Client(
        settings,
        settings.gateway(options.gateway),
        ca_bundle=options.ca_bundle,
        since=options.since,
        may_sign_in=may_sign_in,
    )


def wanted_of(client: Client, options: argparse.Namespace, role: str) -> Wanted:
    """The role and how it is narrowed."""
    from rolegate.credentials import Wanted
    from rolegate.roles import Roles

    listed = Roles(client)
    return Wanted(listed.find(role), read_only=options.read_only, duration=options.duration, chosen=listed.asked)


def clock(moment: float) -> str:
    """A moment as people say it: the time of day, with the day where it is not today."""
    when = time.localtime(moment)
    return time.strftime("%H:%M" if when[:3] == time.localtime()[:3] else "%a %d %b %H:%M", when)


def login(options: argparse.Namespace) -> int:
    """`rolegate login [URL]`."""
    settings = Settings()
    gateway = settings.gateway(options.url or options.gateway)
    client = Client(settings, gateway, ca_bundle=options.ca_bundle, since=options.since)
    store = {None: None, "file": keyring.FILE, "keyring": keyring.likely()}[options.store]
    if options.store == "keyring" and store == keyring.FILE:
        raise Usage(
            "No system keyring was found here (secret-tool and a session bus are wanted). Leave --store out to keep the sign-in in a file."
        )
    with gateway.lock():
        old = client.session.read()
        old_store, old_tokens = old.store, dict(old.content)
        note = client.sign_in(options.way, store)
        _revoke_older(client, old_store, old_tokens)
    settings.remember(gateway, default=True)
    session = client.session
    terminal.say(f"Signed in to {gateway.url} as {who(session)}.", style="green")
    terminal.say(f"Kept in {keyring.NAMES.get(session.store, session.store)}; {until(session)}.")
    if note:
        terminal.say(note, style="yellow")
    if "sign_in" in gateway.known and options.way:
        terminal.say(f"Next time here: with {'a code' if options.way == 'device' else 'the browser'} again.")
    terminal.say("Next: rolegate roles, or rolegate configure for a profile of each role.")
    return OK


def _revoke_older(client: Client, store: str, older: dict[str, Any]) -> None:
    """Ends the pairing that this sign-in replaces, so that the portal's list does not fill up. Its tokens are of no use any more."""
    token = older.get("access")
    if older.get("login") and store == keyring.FILE:
        token = older.get("refresh") or token
    if isinstance(token, str) and token:
        try:
            client.web.post_form("/oauth/revoke", {"client_id": CLIENT_ID, "token": token})
        except Failure:
            pass  # it ends by itself


def who(session: Session) -> str:
    """The person's name and address, as the gateway said at sign-in."""
    person = session.person
    name, email = (
        plain(person.get("name") or person.get("subject") or "somebody", 80),
        plain(person.get("email") or "", 120),
    )
    return f"{name} <{email}>" if email else name


def until(session: Session) -> str:
    """How long the sign-in lasts."""
    ends, idle = session.moment("pairing_until"), session.moment("refresh_until")
    parts = []
    if ends:
        parts.append(f"it ends {clock(ends)}")
    if idle and (not ends or idle < ends - 60):
        parts.append(f"or {clock(idle)} if it is not used" if ends else f"it ends {clock(idle)} if it is not used")
    return ", ".join(parts) or "the gateway says when it ends"


def logout(options: argparse.Namespace) -> int:
    """`rolegate logout`: forgets here whatever the gateway answers, and says if it could not be told."""
    settings = Settings()
    gateways = settings.all() if options.all else [settings.gateway(options.gateway)]
    status = OK
    for gateway in gateways:
        client = Client(settings, gateway, ca_bundle=options.ca_bundle, may_sign_in=False)
        with gateway.lock():
            session = client.session.read()
            if not session.login:
                terminal.say(f"You were not signed in to {gateway.url}.")
                clear_caches(gateway)
                continue
            token = str(session.content.get("access", ""))
            try:
                token = session.refresh_token()
            except Failure:
                pass  # the access token does as well while it lives
            session.end()
            try:
                client.web.post_form("/oauth/revoke", {"client_id": CLIENT_ID, "token": token})
            except Failure as failure:
                terminal.complain(
                    f"Signed out here, but the gateway could not be told: {failure.sentence} End the pairing at {gateway.url}/cli/",
                    style="yellow",
                )
                status = failure.status
            else:
                terminal.say(f"Signed out of {gateway.url}. Credentials that were handed out work until they expire.")
    return status


def status(options: argparse.Namespace) -> int:
    """`rolegate status`: from files alone, no network."""
    settings = Settings()
    gateways = [settings.gateway(options.gateway)] if options.gateway else settings.all()
    default = settings.content.get("default")
    found = [_status_of(gateway, default=gateway.url == default) for gateway in gateways]
    if options.json:
        print(json.dumps({"version": __version__, "gateways": found}, indent=2))
    elif not found:
        terminal.complain("No gateway is known here yet. Sign in first: rolegate login https://YOUR-GATEWAY")
    for number, one in enumerate([] if options.json else found):
        print(
            ("\n" if number else "")
            + terminal.painted(one["gateway"], "bold", sys.stdout)
            + (" (default)" if one["default"] and len(found) > 1 else "")
        )
        if one["signed_in"]:
            print(f"  signed in as  {one['person']}, since {clock(one['since'])}")
            print(f"  until         {one['until']}")
            print(f"  kept in       {keyring.NAMES.get(one['store'], one['store'])}")
        else:
            print(f"  not signed in: rolegate login {one['gateway']}")
        print(f"  role list     {one['roles']}")
        for cached in one["credentials"]:
            left = cached["ends"] - time.time()
            print(f"  credentials   {cached['role']}, {'until ' + clock(cached['ends']) if left > 0 else 'expired'}")
        print(f"  cache         {one['cache']}")
    wanted = [one for one in found if one["default"]] or found
    return OK if wanted and all(one["signed_in"] for one in wanted) else NOT_SIGNED_IN


def _status_of(gateway: Any, *, default: bool) -> dict[str, Any]:
    from rolegate import fast

    session = Session(gateway).read()
    over = session.moment("refresh_until") or session.moment("pairing_until")
    signed_in = bool(session.login) and not (over and over < time.time())
    held = []
    for name in files.names_in(gateway.cache):
        words = fast.read(os.path.join(gateway.cache, name)).partition(b"\n")[0].split()
        if len(words) == 3 and words[0] == b"rolegate-1":
            held.append({"role": name, "ends": int(words[2]) + 900})
    path = os.path.join(gateway.cache, "roles.json")
    try:
        age = max(0, round((time.time() - os.stat(path).st_mtime) / 60))
        said = f"{age} min old"
    except OSError:
        said = "not fetched yet"
    return {
        "gateway": gateway.url, "default": default, "signed_in": signed_in, "person": who(session) if session.login else None,
        "since": session.moment("signed_in"), "until": until(session) if signed_in else None,
        "ends": session.moment("pairing_until") or None, "idle_ends": session.moment("refresh_until") or None,
        "store": session.store if session.login else None, "roles": said, "credentials": held, "cache": gateway.cache,
    }  # fmt: skip


def roles(options: argparse.Namespace) -> int:
    """`rolegate roles [WORDS]`."""
    from rolegate.roles import Roles, label, matching

    client = client_of(options)
    listed = Roles(client)
    everything = listed.all(refresh=options.refresh)
    found = [role for _, role in matching(everything, options.words)] if options.words else everything
    if listed.note:
        terminal.complain(listed.note, style="yellow")
    if options.json:
        rows = [{**role._asdict(), "name": role.name, "label": label(role)} for role in found]
        json.dump(rows, sys.stdout, indent=2)
        print()
        return OK
    if found:
        print(terminal.table(
            ("ACCOUNT", "ACCOUNT ID", "ENVIRONMENT", "ROLE", "NOTE"),
            [(role.account, role.account_id, role.environment, role.name, "needs approval" if role.approval else "") for role in found],
            styles=[terminal.environment_style(role.environment) for role in found], column=2,
        ))  # fmt: skip
    elif options.words:
        terminal.complain(
            f"None of your {len(everything)} roles matches {plain(' '.join(options.words))}. See them all: rolegate roles"
        )
    else:
        terminal.complain(f"You have no roles. See {client.gateway.url}, or ask your administrators.")
    return OK if found else NO_SUCH_ROLE


def credentials(options: argparse.Namespace) -> int:
    """`rolegate credentials --role ROLE`."""
    from rolegate import fast
    from rolegate.credentials import obtain, path_of, rendered

    role = options.role or options.positional
    if not role or (options.role and options.positional):
        raise Usage("Say which role: rolegate credentials --role ACCOUNT/ROLE")
    client = client_of(options)
    wanted = wanted_of(client, options, role)
    document = obtain(client, wanted, held=options.held)
    profile = options.profile_name or f"{wanted.role.account}-{wanted.role.name}".replace(" ", "-")
    sys.stdout.write(rendered(document, options.format, region=wanted.role.region, profile=profile))
    sys.stdout.flush()
    if options.format == "process" and not wanted.chosen:
        # From now on `fast` answers these very words; not where the person was asked which role they mean.
        note, said = fast.note_of(options.arguments, dict(os.environ))
        line = said + b"\n" + path_of(client, wanted).encode()
        if fast.read(note) != line:
            files.write_private(note, line, locked=False)
    return OK


def env(options: argparse.Namespace) -> int:
    """`rolegate env ROLE`."""
    from rolegate.credentials import obtain, rendered, unset

    form = options.format or shell()
    if options.unset:
        sys.stdout.write(unset(form))
        return OK
    if not options.role:
        raise Usage("Say which role: rolegate env ACCOUNT/ROLE")
    if sys.stdout.isatty():
        line = {"fish": "rolegate env {} | source", "powershell": "rolegate env {} | Invoke-Expression"}.get(
            form, 'eval "$(rolegate env {})"'
        )
        raise Usage(
            f"This would show a secret on your screen. Run: {line.format(options.role)}; to see it all the same: rolegate credentials --role {options.role} --format {form}"
        )
    client = client_of(options)
    wanted = wanted_of(client, options, options.role)
    sys.stdout.write(rendered(obtain(client, wanted), form, region=wanted.role.region))
    return OK


def shell() -> str:
    """The format for the shell that we are in, by what it puts into the environment."""
    if os.environ.get("FISH_VERSION") or os.environ.get("SHELL", "").endswith("/fish"):
        return "fish"
    if files.WINDOWS or (
        os.environ.get("PSModulePath")  # noqa: SIM112  its own spelling
        and not os.environ.get("SHELL")
    ):
        return "powershell"
    return "env"
