"""`exec` and `serve`: programs that run with a role, for as long as they run.

The child of `exec` is handed the address and the secret of a local credential server, not credentials: so an SDK in it
gets new ones before the old ones end. For programs that read nothing but variables there is `--env`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

from rolegate import credentials, files, terminal
from rolegate.commands import client_of, wanted_of
from rolegate.errors import OK, Failure, LocalFiles, Usage, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import Callable
    from typing import Any

    from rolegate.client import Client
    from rolegate.local import LocalServer

# What would lead an SDK in the child to another identity than the one that was asked for.
_OTHERS = (
    *credentials.UNSET, "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CREDENTIAL_FILE",
)  # fmt: skip
_SOURCES = (
    "aws_access_key_id",
    "credential_process",
    "role_arn",
    "sso_",
    "web_identity_token_file",
    "credential_source",
    "source_profile",
    "login_session",
)
NOT_FOUND, NOT_EXECUTABLE = 127, 126


def _again(client: Client, wanted: credentials.Wanted) -> Callable[[], dict[str, Any]]:
    """What a server calls for each request: a connection of its own, the time of its own, and no browser tabs."""
    from rolegate.client import Client as Fresh

    def obtain() -> dict[str, Any]:
        own = Fresh(
            client.settings, client.gateway, ca_bundle=client.web.ca_bundle, since=time.time(), may_sign_in=False
        )
        try:
            return credentials.obtain(own, wanted)
        finally:
            own.web.close()

    return obtain


def execute(options: argparse.Namespace) -> int:
    """`rolegate exec ROLE -- COMMAND`: the program's exit status."""
    from rolegate.local import LocalServer

    if not options.program:
        raise Usage("Say what to run, after two dashes: rolegate exec ACCOUNT/ROLE -- aws s3 ls")
    path = shutil.which(options.program[0])
    if path is None:
        exists = os.path.exists(options.program[0])
        terminal.complain(
            f"rolegate: {plain(options.program[0])} {'cannot be executed' if exists else 'was not found'}.", style="red"
        )
        return NOT_EXECUTABLE if exists else NOT_FOUND
    client = client_of(options)
    wanted = wanted_of(client, options, options.role)
    document = credentials.obtain(client, wanted)
    region = options.region or wanted.role.region
    environment = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    environment |= {"ROLEGATE_ROLE": wanted.role.arn, "ROLEGATE_ACCOUNT": wanted.role.account}
    if region and (options.region or not {"AWS_REGION", "AWS_DEFAULT_REGION"} & environment.keys()):
        environment |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if options.env:
        environment |= credentials.environment(document)
        client.web.close()
        if not files.WINDOWS:
            os.execve(path, options.program, environment)
        return _supervise(path, options.program, environment, None)
    with _OwnConfig(environment):
        server = LocalServer(_again(client, wanted), wanted.role.name)
        return _supervise(path, options.program, {**environment, **server.variables}, server)


class _OwnConfig:
    """Keeps the person's [default] profile from the child: SDKs would take its identity before the local server's.

    Only where it has one; then the child reads a copy of the file without those lines, for as long as it runs.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.copies: list[str] = []

    def __enter__(self) -> None:
        _remove_orphans()
        for variable, default in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
            path = os.path.expanduser(self.environment.get(variable) or os.path.join("~", ".aws", default))
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    lines = file.readlines()
            except OSError:
                continue
            kept, inside = [], False
            for line in lines:
                if line.lstrip().startswith("["):
                    inside = line.strip().strip("[]").replace("profile ", "").strip("\"' ") == "default"
                if not (inside and line.strip().startswith(_SOURCES)):
                    kept.append(line)
            if kept != lines:
                copy = os.path.join(files.cache_folder(), "exec", f"{os.getpid()}-{default}")
                files.write_private(copy, "".join(kept).encode("utf-8", "surrogateescape"))
                self.copies.append(copy)
                self.environment[variable] = copy

    def __exit__(self, *_: object) -> None:
        for copy in self.copies:
            files.remove(copy)


def _remove_orphans() -> None:
    """Removes the copies of whoever was killed before it could: they hold the person's other keys."""
    folder = os.path.join(files.cache_folder(), "exec")
    for name in files.names_in(folder):
        pid = name.partition("-")[0]
        if sys.platform != "win32" and pid.isdigit():  # there, os.kill ends the process whatever the signal
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                files.remove(os.path.join(folder, name))
            except (OSError, OverflowError):
                continue


if sys.platform == "win32":

    def _supervise(path: str, program: list[str], environment: dict[str, str], server: LocalServer | None) -> int:
        """Runs the program, passes signals on to it, and ends as it ends."""
        import subprocess

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console sends Ctrl-C to both
        child = subprocess.Popen(program, executable=path, env=environment)  # noqa: S603  the person's own program
        if server:
            server.begin()
        return child.wait()

else:

    def _supervise(path: str, program: list[str], environment: dict[str, str], server: LocalServer | None) -> int:
        """Runs the program, passes signals on to it, and ends as it ends."""
        import subprocess

        watched = {
            signal.SIGINT,
            signal.SIGQUIT,
            signal.SIGTERM,
            signal.SIGHUP,
            signal.SIGUSR1,
            signal.SIGUSR2,
            signal.SIGWINCH,
            signal.SIGCHLD,
        }
        for number in (signal.SIGCHLD, signal.SIGWINCH):
            signal.signal(number, lambda *_: None)  # a blocked signal that is ignored by default may never come to wait
        before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        try:
            child = subprocess.Popen(  # noqa: S603
                program, executable=path, env=environment,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509  no thread runs yet
            )  # fmt: skip
        except OSError as error:
            terminal.complain(f"rolegate: {plain(program[0])} cannot be executed: {error.strerror}.", style="red")
            return NOT_EXECUTABLE
        if server:
            server.begin()
        status = _wait(child, watched)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if status < 0:
            if -status in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGPIPE}:
                _end_by(-status)
            return 128 - status
        return status

    def _wait(child: subprocess.Popen[bytes], watched: set[signal.Signals]) -> int:
        while True:
            status = child.poll()
            if status is not None:
                return status
            number, typed = _next(watched)
            if number != signal.SIGCHLD and not typed:
                # What was typed at the terminal has reached the child already: twice would be "at once" to many programs.
                child.send_signal(number)

    def _next(watched: set[signal.Signals]) -> tuple[int, bool]:
        """The next signal, and whether the terminal sent it to the whole group. SIGCHLD too when for a while none came."""
        if sys.platform == "darwin":  # no sigtimedwait there
            number = signal.sigwait(watched)
            return number, number in {signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH} and sys.stdin.isatty()
        came = signal.sigtimedwait(watched, 1)
        if came is None:
            return signal.SIGCHLD, False
        return came.si_signo, came.si_pid == 0  # the kernel, for the terminal, has no process

    def _end_by(number: int) -> None:
        """Ends as the child was ended, so that a shell's loop stops for us as it would for it."""
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def serve(options: argparse.Namespace) -> int:
    """`rolegate serve ROLE`, until Ctrl-C."""
    from rolegate.local import LocalServer

    client = client_of(options)
    wanted = wanted_of(client, options, options.role)
    credentials.obtain(client, wanted)
    try:
        server = LocalServer(_again(client, wanted), wanted.role.name, port=options.port, imds=options.imds)
    except (OSError, OverflowError) as error:
        raise Failure(
            f"Port {options.port} cannot be had ({getattr(error, 'strerror', None) or 'no such port'}). Choose another: --port 9911"
        ) from error
    variables = server.imds_variables if options.imds else server.variables
    path = os.path.abspath(options.env_file) if options.env_file else ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if path:
            _write_env_file(path, variables)
            terminal.say(f"Written to {path}. For a container: docker run --network host --env-file {path} …")
        else:
            line = {"fish": "set -gx {} '{}'", "powershell": "$Env:{} = '{}'"}.get(
                options.format or "env", "export {}={}"
            )
            print("\n".join(line.format(*pair) for pair in variables.items()), flush=True)
        if options.imds:
            terminal.say(
                "Every program of this machine can have these credentials, other people's too. Prefer the form without --imds.",
                style="yellow",
            )
        terminal.say(
            f"Serving {wanted.role.account}/{wanted.role.name} on 127.0.0.1:{server.port} until Ctrl-C.", style="green"
        )
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        terminal.say("Ended.")
    finally:
        server.server_close()
        if path:
            files.remove(path)
    return OK


def _write_env_file(path: str, variables: dict[str, str]) -> None:
    files.remove(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise LocalFiles(f"{path} cannot be written: {error.strerror}. Name another file: --env-file FILE") from error
    with os.fdopen(handle, "w") as file:
        file.write("".join(f"{name}={value}\n" for name, value in variables.items()))
