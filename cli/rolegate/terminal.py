"""What people see: messages on stderr, tables, colours only where they are wanted, and a choice among several."""

from __future__ import annotations

import os
import sys

from rolegate.errors import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
# An account's environment, as people call it, to the colour that warns of it.
_ENVIRONMENTS = (
    ("prod", "red"),
    ("stag", "yellow"),
    ("pre", "yellow"),
    ("test", "cyan"),
    ("dev", "green"),
    ("sandbox", "green"),
)
quiet = False


def has_colour(stream: TextIO) -> bool:
    """NO_COLOR (no-color.org) and dumb terminals have none; CLICOLOR_FORCE gives it to a pipe."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, style: str, stream: TextIO) -> str:
    """`text` in a style ("bold", "red" …), or as it is."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and has_colour(stream) else text


def say(text: str, *, style: str = "") -> None:
    """A message to the person: on stderr, because stdout is somebody's input. Nothing with --quiet."""
    if not quiet:
        complain(text, style=style)


def complain(text: str, *, style: str = "") -> None:
    """As `say`, also with --quiet: what went wrong."""
    try:
        print(painted(text, style, sys.stderr), file=sys.stderr, flush=True)
    except (OSError, UnicodeEncodeError):
        pass  # nobody reads it; credentials are handed out all the same


def environment_style(environment: str) -> str:
    """The colour of an account's environment, "" for one that is not known."""
    return next((style for start, style in _ENVIRONMENTS if environment.lower().startswith(start)), "")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Sequence[str] = (), column: int = -1) -> str:
    """Columns as wide as what is in them. `styles`: one a row, for the cell of `column`."""
    widths = [max(len(head), max((len(row[place]) for row in rows), default=0)) for place, head in enumerate(heads)]
    colour = has_colour(sys.stdout)
    last = len(heads) - 1
    lines = ["  ".join(head.ljust(width) for head, width in zip(heads, widths)).rstrip()]
    if colour:
        lines[0] = f"\x1b[2m{lines[0]}\x1b[0m"
    for number, row in enumerate(rows):
        cells = [cell if place == last else cell.ljust(widths[place]) for place, cell in enumerate(row)]
        if colour and styles and styles[number]:
            cells[column] = f"\x1b[{_STYLES[styles[number]]}m{cells[column]}\x1b[0m"
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def width() -> int:
    """The columns of the terminal; 80 where there is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and 0 < int(columns) < 10_000:
        return int(columns)
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                return os.get_terminal_size(stream.fileno()).columns or 80
        except (OSError, ValueError):
            continue
    return 80


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def choose(question: str, options: Sequence[str]) -> int | None:
    """The number of the option that the person picks, by its number or by words in it; None when they leave it."""
    shown = list(range(len(options)))
    while True:
        for place in shown[:30]:
            complain(f"  {painted(str(place + 1).rjust(3), 'bold', sys.stderr)}  {options[place]}")
        if len(shown) > 30:
            complain(f"       … and {len(shown) - 30} more: type a word to narrow them down")
        complain(f"{question} [number, words, or nothing to leave it] ")
        typed = sys.stdin.readline().strip()
        if not typed:
            return None
        if typed.isdigit() and 1 <= int(typed) <= len(options):
            return int(typed) - 1
        words = typed.lower().split()
        found = [place for place, option in enumerate(options) if all(word in option.lower() for word in words)]
        if len(found) == 1:
            return found[0]
        if not found:
            complain(f"Nothing matches {plain(typed)}.")
        shown = found or list(range(len(options)))
