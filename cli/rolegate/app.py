"""The command line: what can be said, who answers it, and the exit status. Every error is one sentence on stderr."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from rolegate import __version__, terminal
from rolegate.errors import INTERRUPTED, OK, UNEXPECTED, Failure, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    _Commands = argparse._SubParsersAction["_Parser"]

_EPILOG = """\
examples:
  rolegate login https://gate.example.com     sign in, once a day
  rolegate configure                          a profile for every role: aws --profile shop-prod-ReadOnly …
  rolegate roles prod read                    find a role by a few letters
  rolegate exec shop-prod/ReadOnly -- aws s3 ls
  eval "$(rolegate env shop-prod/ReadOnly)"
  rolegate console shop-prod/ReadOnly --destination s3

rolegate COMMAND --help says more. Exit status: 0 done, 2 usage, 3 not signed in, 4 refused, 5 gateway
unreachable, 6 no such role, 7 AWS failed, 8 local files, 1 anything else; exec: the program's own.
"""


# Where a command is not a function of its own name in `commands`: only what is needed is loaded.
_COMMANDS = {
    "exec": ("running", "execute"), "serve": ("running", "serve"), "console": ("console", "console"),
    "configure": ("awsconfig", "configure"), "completion": ("completion", "completion"),
}  # fmt: skip


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse makes one for each option, and asks shutil, which loads every compressor there is."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal.width() - 2)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(f"{message[:1].upper()}{message[1:]}. See: {self.prog} --help")


def duration(text: str) -> int:
    """Seconds of "3600", "90m", "8h", "1h30m"; 15 minutes to 12 hours, as AWS has it. Raises ArgumentTypeError."""
    total, digits = 0, ""
    for letter in text:
        if letter in "hms" and digits:
            total += int(digits) * {"h": 3600, "m": 60, "s": 1}[letter]
            digits = ""
        elif letter in "0123456789":
            digits += letter
        else:
            raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 3600, 90m or 8h")
    total += int(digits or 0)
    if not 900 <= total <= 43_200:
        raise argparse.ArgumentTypeError("a session lasts between 15m and 12h")
    return total


def _command(commands: _Commands, name: str, text: str, example: str = "") -> _Parser:
    made: _Parser = commands.add_parser(
        name, help=text, description=text[:1].upper() + text[1:] + ".", epilog=f"example: {example}" if example else None,
        formatter_class=_Help, allow_abbrev=False,
    )  # fmt: skip
    # SUPPRESS: an option that stands before the command is not overwritten by its absence after it.
    made.add_argument(
        "--gateway",
        metavar="URL",
        default=argparse.SUPPRESS,
        help="the gateway, or a part of its name (ROLEGATE_GATEWAY)",
    )
    made.add_argument(
        "--ca-bundle",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="certificates to trust besides the system's (ROLEGATE_CA_BUNDLE)",
    )
    made.add_argument("--quiet", "-q", action="store_true", default=argparse.SUPPRESS, help="only errors on stderr")
    made.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="a traceback where something is not as foreseen"
    )
    return made


def _narrowing(made: _Parser) -> None:
    made.add_argument(
        "--read-only", action="store_true", help="a session that can change nothing, whatever the role can"
    )
    made.add_argument(
        "--duration", type=duration, metavar="TIME", help="how long, such as 90m or 8h; at most what the role allows"
    )


def _role(made: _Parser) -> None:
    made.add_argument("role", metavar="ROLE", help="ACCOUNT/ROLE, a role's ARN, or words that only one role has")
    _narrowing(made)


def _of_login(commands: _Commands) -> None:
    made = _command(commands, "login", "sign in to a gateway", "rolegate login https://gate.example.com")
    made.add_argument(
        "url", nargs="?", metavar="URL", help="the gateway's address; without it the one signed in to last"
    )
    way = made.add_mutually_exclusive_group()
    way.add_argument(
        "--browser", dest="way", action="store_const", const="browser", help="with the browser of this machine"
    )
    way.add_argument(
        "--device",
        dest="way",
        action="store_const",
        const="device",
        help="with a code that you type in a browser elsewhere",
    )
    made.add_argument(
        "--store", choices=("keyring", "file"), help="where the sign-in rests; the system's keyring where there is one"
    )


def _of_logout(commands: _Commands) -> None:
    made = _command(commands, "logout", "end the sign-in, here and at the gateway")
    made.add_argument("--all", action="store_true", help="of every gateway")


def _of_status(commands: _Commands) -> None:
    made = _command(commands, "status", "who you are, until when, and what is cached")
    made.add_argument("--json", action="store_true", help="as JSON")


def _of_roles(commands: _Commands) -> None:
    made = _command(commands, "roles", "the roles that you can use", "rolegate roles prod read")
    made.add_argument("words", nargs="*", metavar="WORDS", help="only roles in which each of these is found")
    made.add_argument("--json", action="store_true", help="as JSON")
    made.add_argument("--refresh", action="store_true", help="ask the gateway now")


def _of_credentials(commands: _Commands) -> None:
    made = _command(
        commands,
        "credentials",
        "credentials of a role, as an AWS SDK reads them from credential_process",
        "rolegate credentials --role shop-prod/ReadOnly",
    )
    made.add_argument("positional", nargs="?", metavar="ROLE", help=argparse.SUPPRESS)
    made.add_argument("--role", metavar="ROLE", help="ACCOUNT/ROLE, a role's ARN, or words that only one role has")
    made.add_argument(
        "--format",
        choices=("process", "json", "env", "fish", "powershell", "file"),
        default="process",
        help="process (the default), json, lines for a shell, or a section of a credentials file",
    )
    made.add_argument("--profile-name", metavar="NAME", help="the section's name with --format file")
    _narrowing(made)


def _of_env(commands: _Commands) -> None:
    made = _command(
        commands, "env", "lines that put credentials into your shell", 'eval "$(rolegate env shop-prod/ReadOnly)"'
    )
    made.add_argument(
        "role", nargs="?", metavar="ROLE", help="ACCOUNT/ROLE, a role's ARN, or words that only one role has"
    )
    made.add_argument(
        "--format", choices=("env", "fish", "powershell"), help="for which shell; else the one you are in"
    )
    made.add_argument("--unset", action="store_true", help="lines that take them out again")
    _narrowing(made)


def _of_exec(commands: _Commands) -> None:
    made = _command(commands, "exec", "run a program with a role", "rolegate exec shop-prod/ReadOnly -- aws s3 ls")
    made.usage = "rolegate exec [options] ROLE -- PROGRAM …"
    _role(made)
    made.add_argument(
        "--env",
        action="store_true",
        help="credentials as variables, for programs that know nothing else; they are not renewed",
    )
    made.add_argument(
        "--region", metavar="REGION", help="AWS_REGION of the program; else the account's, unless you have set one"
    )


def _of_console(commands: _Commands) -> None:
    made = _command(
        commands, "console", "the AWS console in your browser", "rolegate console shop-prod/ReadOnly --destination s3"
    )
    _role(made)
    made.add_argument("--destination", metavar="PAGE", help="a service's short name, such as s3, or a page's URL")
    made.add_argument("--print", action="store_true", help="print the sign-in address, a secret, instead of opening it")


def _of_configure(commands: _Commands) -> None:
    made = _command(
        commands,
        "configure",
        "profiles of your roles in ~/.aws/config",
        "rolegate configure prod --template '{account}-{role}' --dry-run",
    )
    made.add_argument("words", nargs="*", metavar="WORDS", help="only roles in which each of these is found")
    made.add_argument(
        "--template",
        metavar="NAME",
        help="how profiles are called: {account}, {account_id}, {role}, {environment}, {partition}",
    )
    made.add_argument("--region", metavar="REGION", help="the region of every profile; else the account's")
    made.add_argument("--dry-run", action="store_true", help="show the difference, write nothing")
    made.add_argument("--prune", action="store_true", help="remove profiles of roles that you do not have any more")
    made.add_argument("--remove", action="store_true", help="remove all that this command has written")
    _narrowing(made)


def _of_serve(commands: _Commands) -> None:
    made = _command(
        commands,
        "serve",
        "a role's credentials for tools of this machine, over a local address",
        "rolegate serve shop-prod/ReadOnly --env-file role.env",
    )
    _role(made)
    made.add_argument(
        "--port", type=int, default=0, metavar="PORT", help="the port on 127.0.0.1; else one that is free"
    )
    made.add_argument(
        "--imds",
        action="store_true",
        help="as the metadata service of an instance (IMDSv2), for tools that know nothing else",
    )
    made.add_argument(
        "--format", choices=("env", "fish", "powershell"), help="for which shell the variables are printed"
    )
    made.add_argument(
        "--env-file",
        metavar="FILE",
        help="write the variables there, as docker run --env-file reads them, and remove it at the end",
    )


def _of_completion(commands: _Commands) -> None:
    made = _command(
        commands,
        "completion",
        "lines that let your shell complete commands and roles",
        'eval "$(rolegate completion bash)"',
    )
    made.add_argument("shell", choices=("bash", "zsh", "fish", "powershell"))


# In the order of --help.
_OPTIONS = {
    "login": _of_login,
    "logout": _of_logout,
    "status": _of_status,
    "roles": _of_roles,
    "credentials": _of_credentials,
    "env": _of_env,
    "exec": _of_exec,
    "console": _of_console,
    "configure": _of_configure,
    "serve": _of_serve,
    "completion": _of_completion,
}


def _parser(only: str = "") -> _Parser:
    """Every command's parser, or the one of `only`: to make all of them takes longer than to load the module that does."""
    made = _Parser(
        prog="rolegate", description="Short-lived AWS credentials with your company sign-in.", epilog=_EPILOG,
        formatter_class=_Help, allow_abbrev=False,
    )  # fmt: skip
    made.add_argument(
        "--version", action="version", version=f"rolegate {__version__} (Python {sys.version.split()[0]})"
    )
    for name in ("--gateway", "--ca-bundle"):
        made.add_argument(name, metavar="URL" if name == "--gateway" else "FILE", default=None, help=argparse.SUPPRESS)
    for name in ("--quiet", "--debug"):
        made.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    commands = made.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser, prog="rolegate")

    for name, add in _OPTIONS.items():
        if only in {"", name}:
            add(commands)
    return made


def run(arguments: Sequence[str], *, held: int = -1, since: float = 0.0) -> int:
    """One command. `held`: a lock that `fast` holds already; `since`: when the process began. Returns the exit status."""
    debug = "--debug" in arguments or bool(os.environ.get("ROLEGATE_DEBUG"))
    try:
        return _run(list(arguments), held, since or time.time())
    except Failure as failure:
        terminal.complain(f"rolegate: {failure.sentence}", style="red")
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone (| head). Python would complain once more as it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except Exception as error:
        if debug:
            raise
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place else "?"
        terminal.complain(
            f"rolegate: something unforeseen happened ({type(error).__name__} at {where}, version {__version__}). Run it again with --debug and tell your administrators.",
            style="red",
        )
        return UNEXPECTED


def _run(arguments: list[str], held: int, since: float) -> int:
    if arguments[:1] in (["__complete"], ["__complete_next"]):
        from rolegate import completion

        return completion.answer([*arguments[1:], *[""] * (arguments[0] == "__complete_next")], _parser())
    program: list[str] = []
    if "--" in arguments:  # what comes after is the child's, whatever it looks like
        place = arguments.index("--")
        arguments, program = arguments[:place], arguments[place + 1 :]
    parser = _parser(arguments[0] if arguments and arguments[0] in _OPTIONS else "")
    if not arguments:
        parser.print_help()
        return OK
    options = parser.parse_args(arguments)
    terminal.quiet = options.quiet
    if options.command is None:
        raise Usage("Say what to do. See: rolegate --help")
    options.program, options.held, options.since, options.arguments = program, held, since, arguments
    module, name = _COMMANDS.get(options.command, ("commands", options.command))
    command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(f"rolegate.{module}"), name)
    return command(options)
