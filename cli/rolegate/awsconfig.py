"""`rolegate configure`: profiles in ~/.aws/config, between markers of ours; every other byte of the file stays as it is.

Works on bytes, so that line ends, encodings and a missing last newline survive. What profiles call is `fast.py`: a copy of
it and three lines that start it are written into the data folder, because an interpreter that looks for nothing (-I -S)
starts twice as fast as one that does.
"""

from __future__ import annotations

import os
import re
import sys

from rolegate import files, terminal
from rolegate.credentials import Wanted
from rolegate.errors import NO_SUCH_ROLE, OK, LocalFiles, Usage, plain
from rolegate.roles import Roles, matching

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from rolegate.client import Client
    from rolegate.roles import Role

TEMPLATE = "{account}-{role}"
FIELDS = ("account", "account_id", "role", "environment", "partition")
_SECTION = re.compile(rb"[ \t]*\[[ \t]*(?:profile[ \t]+)?[\"']?([^\]\"']+?)[\"']?[ \t]*\]")
_ROLE = re.compile(rb"--role (\S+)((?: --read-only| --duration [0-9]+)*)")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.@:/+=,-]+")


def config_path() -> str:
    """The file that AWS's SDKs read, behind any symbolic link: dotfiles are often links, and must stay so."""
    return os.path.realpath(
        os.path.expanduser(os.environ.get("AWS_CONFIG_FILE") or os.path.join("~", ".aws", "config"))
    )


class ConfigFile:
    """The file's content: before our block, the profiles in it, after it."""

    def __init__(self, path: str, url: str) -> None:
        self.path = path
        self.begin = f"# >>> rolegate {url} >>>".encode()
        self.end = f"# <<< rolegate {url} <<<".encode()
        try:
            with open(path, "rb") as file:
                self.content = file.read()
        except FileNotFoundError:
            self.content = b""
        except OSError as error:
            raise LocalFiles(f"{path} cannot be read: {error.strerror}.") from error
        self.newline = b"\r\n" if b"\r\n" in self.content else b"\n"
        lines = self.content.splitlines(keepends=True)
        begins = [place for place, line in enumerate(lines) if line.startswith(self.begin)]
        ends = [place for place, line in enumerate(lines) if line.startswith(self.end)]
        if len(begins) > 1 or len(begins) != len(ends) or (begins and begins[0] > ends[0]):
            raise LocalFiles(
                f"The markers in {path} are broken: there must be one line {self.begin.decode()!r}, and after it one {self.end.decode()!r}. Correct or remove them."
            )
        if begins:
            self.before, self.after = b"".join(lines[: begins[0]]), b"".join(lines[ends[0] + 1 :])
            inside = lines[begins[0] + 1 : ends[0]]
        else:
            self.before, self.after, inside = self.content, b"", []
        self.profiles: dict[bytes, list[bytes]] = {}
        name = b""
        for line in inside:
            match = _SECTION.match(line)
            if match:
                name = match[1]
                self.profiles[name] = []
            elif name and line.strip():
                self.profiles[name].append(line.strip())

    @property
    def foreign(self) -> set[bytes]:
        """The names of profiles that are not in our block: the person's own."""
        text = self.before + b"\n" + self.after
        return {match[1] for line in text.splitlines() if (match := _SECTION.match(line))}

    def with_profiles(self, profiles: dict[bytes, list[bytes]]) -> bytes:
        """The whole file with these profiles in our block; without the block where there are none."""
        if not profiles:
            return self.before + self.after
        lines = [self.begin + b' Made by "rolegate configure", which replaces what is between these lines.']
        for name in sorted(profiles):
            lines += [b"[profile " + name + b"]", *profiles[name], b""]
        lines[-1:] = [self.end]
        before = self.before
        if before and not before.endswith((b"\n", b"\r")):
            before += self.newline
        if before and self.before is self.content and not before.endswith(self.newline * 2):
            before += self.newline
        return before + self.newline.join(lines) + self.newline + self.after

    def write(self, content: bytes) -> str:
        """Replaces the file, and keeps the one before beside it; returns that one's path, "" where there was none."""
        backup = f"{self.path}.rolegate-backup" if self.content else ""
        new = f"{self.path}.rolegate-new"
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            mode = os.stat(self.path).st_mode & 0o777 if os.path.exists(self.path) else 0o600
            for path, data in ((backup, self.content), (new, content)):
                if path:
                    with open(
                        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), mode), "wb"
                    ) as file:
                        file.write(data)
                    os.chmod(path, mode)
            files.replace(new, self.path)
        except OSError as error:
            raise LocalFiles(f"{self.path} cannot be written: {error.strerror}. Nothing was changed.") from error
        return backup


# --- What profiles call -------------------------------------------------------------------------------


def _library() -> str:
    """Where the package is: a folder of packages, or the .pyz."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _script() -> tuple[str, str, bytes, bytes]:
    """The script's path, the module's path, and what belongs into each."""
    folder = files.data_folder()
    loader = globals()["__loader__"]
    module = loader.get_data(os.path.join(os.path.dirname(os.path.abspath(__file__)), "fast.py"))
    start = (
        "# Made by `rolegate configure`: profiles in ~/.aws/config call it. The next run makes it anew.\n"
        f"import sys\n\nsys.path.insert(0, {folder!r})\nfrom rolegate_fast import configured\n\n"
        f"sys.exit(configured({files.cache_folder() + os.sep!r}, {_library()!r}, sys.argv[1:]))\n"
    )
    return os.path.join(folder, "credentials.py"), os.path.join(folder, "rolegate_fast.py"), start.encode(), module


def write_script() -> None:
    """Writes the two files where they are not as they should be."""
    script, module_path, start, module = _script()
    files.make_folder(os.path.dirname(script))
    for path, content in ((module_path, module), (script, start)):
        if files.read_private(path) != content:
            files.write_private(path, content)


def _word(text: str) -> str:
    """One word of a credential_process line. There is no shell, but some SDKs use one: nothing that it would read."""
    if re.search(r"[\"'$`%!\r\n]", text):
        raise LocalFiles(
            f"The path {plain(text)} has characters that a profile cannot hold. Install the helper elsewhere, or set XDG_DATA_HOME."
        )
    return f'"{text}"' if " " in text else text


# --- The command --------------------------------------------------------------------------------------


def profile_name(template: str, role: Role) -> str:
    """The template filled in, and whatever an AWS configuration file cannot hold replaced. Raises Usage."""
    values = {
        "account": role.account,
        "account_id": role.account_id,
        "role": role.name,
        "environment": role.environment or "none",
        "partition": role.partition,
    }
    try:
        made = template.format_map(values)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise Usage(
            f"The template {plain(template)} is not right. These can be in it: {', '.join('{' + name + '}' for name in FIELDS)}."
        ) from error
    return _NOT_IN_A_NAME.sub("-", made).strip("-")[:128]


def named(template: str, roles: Iterable[Role]) -> dict[str, Role]:
    """Each role under a name of its own: where two would have the same one, both get their account's id too."""
    groups: dict[str, list[Role]] = {}
    for role in roles:
        groups.setdefault(profile_name(template, role), []).append(role)
    made: dict[str, Role] = {}
    for name, same in groups.items():
        for role in same:
            own = name if len(same) == 1 else f"{name}-{role.account_id}"
            if own in made or name.lower() in {"", "default"}:
                raise Usage(
                    f"The template gives {plain(role.arn)} no name of its own ({plain(own) or 'an empty one'}). Put {{account}} and {{role}} into it: --template '{TEMPLATE}'"
                )
            made[own] = role
    return made


def _lines(client: Client, wanted: Wanted, process: str, region: str) -> list[bytes]:
    key = f"{client.gateway.id}{os.sep}{wanted.key}"
    words = [process, _word(key), "--gateway", client.gateway.url, "--role", wanted.role.arn, *wanted.options()]
    lines = [f"credential_process = {' '.join(words)}"]
    if region or wanted.role.region:
        lines.append(f"region = {region or wanted.role.region}")
    return [line.encode() for line in lines]


def configure(options: argparse.Namespace) -> int:
    """`rolegate configure [WORDS]`."""
    from rolegate.commands import client_of

    client = client_of(options)
    template = options.template or client.gateway.known.get("template") or TEMPLATE
    listed = Roles(client)
    everything = [] if options.remove else listed.all(refresh=True)
    if listed.note:
        terminal.complain(listed.note, style="yellow")
    chosen = [role for _, role in matching(everything, options.words)] if options.words else everything
    chosen = [role for role in chosen if not role.approval]
    if not chosen and not options.remove and not options.prune:
        terminal.complain("No role was found to make a profile of. See them all: rolegate roles")
        return NO_SUCH_ROLE
    process = f"{_word(sys.executable)} -I -S {_word(_script()[0])}"
    with files.Lock(os.path.join(files.config_folder(), "configure.lock")):
        file = ConfigFile(config_path(), client.gateway.url)
        made: dict[bytes, list[bytes]] = {}
        foreign = file.foreign
        for name, role in named(template, chosen).items():
            if name.encode() in foreign:
                terminal.complain(
                    f"{name}: the file has a profile of that name already, which stays. Choose other names with --template.",
                    style="yellow",
                )
                continue
            wanted = Wanted(role, read_only=options.read_only, duration=options.duration)
            made[name.encode()] = _lines(client, wanted, process, options.region or "")
        kept = (
            {} if options.remove else _kept(file, made, {role.arn.encode() for role in everything}, prune=options.prune)
        )
        content = file.with_profiles({**kept, **made})
        gone = len([name for name in file.profiles if name not in kept and name not in made])
        if options.dry_run:
            _show(file, content)
            return OK
        if not options.remove:
            write_script()
            files.make_folder(client.gateway.cache)
        backup = file.write(content) if content != file.content else ""
    if options.template:
        client.settings.remember(client.gateway, template=template)
    if content == file.content:
        terminal.say(f"{_shown(file.path)} is as it should be: {len(made)} profiles.")
        return OK
    removed = f", {gone} removed" if gone else ""
    terminal.say(
        f"{_shown(file.path)}: {len(made)} profiles written{removed}.{f' The file as it was: {_shown(backup)}' if backup else ''}",
        style="green",
    )
    if made:
        terminal.say(f"Try: aws --profile {min(made).decode()} sts get-caller-identity")
    return OK


def _shown(path: str) -> str:
    """A path as people write it."""
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if path.startswith(home + os.sep) else path


def _kept(
    file: ConfigFile, made: dict[bytes, list[bytes]], known: set[bytes], *, prune: bool
) -> dict[bytes, list[bytes]]:
    """The profiles of our block that this run did not make, and that stay: not those of a role that got another name now."""
    renamed = {match.groups() for lines in made.values() for line in lines if (match := _ROLE.search(line))}
    kept = {}
    for name, lines in file.profiles.items():
        match = next((found for line in lines if (found := _ROLE.search(line))), None)
        if name in made or (match and match.groups() in renamed) or (prune and not (match and match[1] in known)):
            continue
        kept[name] = lines
    return kept


def _show(file: ConfigFile, content: bytes) -> None:
    import difflib

    def lines(raw: bytes) -> list[str]:
        return [plain(line, 2000) for line in raw.decode(errors="replace").splitlines()]

    colour = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(
        lines(file.content), lines(content), file.path, f"{file.path} (after)", lineterm=""
    ):
        print(terminal.painted(line, colour.get(line[:1], ""), sys.stdout))
    if content == file.content:
        terminal.say("Nothing would change.")
