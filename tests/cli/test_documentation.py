"""docs/cli.md says what the helper does: no command, option, exit status or variable is missing there, and none is made up."""

from __future__ import annotations

import argparse
import re

from tests.cli.laptop import PACKAGE, ROOT

TEXT = (ROOT / "docs/cli.md").read_text()
SOURCE = "\n".join(path.read_text() for path in sorted((PACKAGE / "rolegate").glob("*.py")))


def _commands() -> dict[str, argparse.ArgumentParser]:
    from rolegate.app import _parser

    (found,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def _table(heading: str) -> list[list[str]]:
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_command() -> None:
    told = {re.match(r"`([a-z]+)", row[0])[1] for row in _table("Commands")}  # type: ignore[index]
    assert told == set(_commands())


def test_every_option() -> None:
    real = {
        text
        for parser in _commands().values()
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for text in action.option_strings
        if text.startswith("--")
    }
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    of_others = {"--network", "--profile"}  # docker's, and the AWS CLI's
    assert told - real - of_others == set()
    assert real - told == {"--help"}


def test_every_exit_status() -> None:
    from rolegate import errors

    real = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    told = {int(number) for row in _table("Exit status") for number in row[0].split(",")}
    assert told == real | {126, 127}


def test_every_variable() -> None:
    read = set(re.findall(r"""environ(?:\.get\(|\[)["'](ROLEGATE_[A-Z_]+)""", SOURCE))
    told = {row[0].strip("`") for row in _table("Variables") if row[0].startswith("`ROLEGATE")}
    assert told == read


def test_the_help_tells_the_exit_statuses() -> None:
    from rolegate import errors
    from rolegate.app import _EPILOG

    for name, value in vars(errors).items():
        if name.isupper() and isinstance(value, int) and name != "INTERRUPTED":
            assert f"{value} " in _EPILOG, name
