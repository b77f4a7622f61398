"""Small charts as SVG, made by hand and rendered on the server. Pure: numbers in, places out.

No style attribute and no script (the Content-Security-Policy allows neither): colours come from classes and currentColor, so
that one drawing serves both themes. The drawing is stretched to the room that it has; the words of its axes are text of the page
beside it, so that they are as large on a telephone as on a wall. Each chart has a title, and its numbers stand below it as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 160
_EDGE: Final = 1  # half of a line across
_WORDS: Final = 6  # below the columns, where there is room for them
_STEPS: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Bar:
    """One piece of a column. Places in the drawing's own units; `series`: the number of its series; `title`: for pointer and reader."""

    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across at a round number, and that number."""

    y: float
    label: int


@dataclass(frozen=True, slots=True)
class Label:
    """What stands under a column: a word, or "". `spare`: goes where the room is short."""

    text: str
    spare: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of stacked columns. `ticks`: from the ground up, equally far apart, the last at the top. `labels`: one a column.
    `table`: a row a column, its label and the values of each series.
    """

    width: int
    height: int
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    series: tuple[str, ...]
    table: tuple[tuple[str, tuple[int, ...]], ...]
    total: int


def columns(
    rows: Sequence[tuple[str, Sequence[int]]], series: Sequence[str], *, written: Callable[[int], str] = str
) -> Chart:
    """Stacked columns: each row is a column, its label and one value (not negative) for each series, the lowest first.

    `written`: a number as the reader's language writes it. Raises ValueError where a row has not one value for each series.
    """
    if any(len(values) != len(series) or min(values, default=0) < 0 for _, values in rows):
        raise ValueError("each row needs one value, not below zero, for each series")
    highest = max((sum(values) for _, values in rows), default=0)
    step = round_step(highest)
    top = max(step, -(-highest // step) * step)
    inner = HEIGHT - 2 * _EDGE
    slot = WIDTH / max(1, len(rows))
    bars: list[Bar] = []
    for number, (label, values) in enumerate(rows):
        y = float(HEIGHT - _EDGE)
        for which, value in enumerate(values):
            if value:
                height = max(1.0, value / top * inner)
                y -= height
                title = f"{label}: {written(value)} {series[which]}"
                x = (number + 0.1) * slot
                bars.append(Bar(round(x, 1), round(y, 1), round(slot * 0.8, 1), round(height, 1), which, title))
    ticks = tuple(Tick(round(HEIGHT - _EDGE - number / top * inner, 1), number) for number in range(0, top + 1, step))
    every = max(1, len(rows) // _WORDS)
    labels = tuple(
        Label("" if number % every else label, spare=number % (2 * every) > 0) for number, (label, _) in enumerate(rows)
    )
    table = tuple((label, tuple(values)) for label, values in rows)
    return Chart(
        WIDTH, HEIGHT, tuple(bars), ticks, labels, tuple(series), table, sum(sum(values) for _, values in rows)
    )


def round_step(highest: int) -> int:
    """The distance of the lines across: 1, 2 or 5 times a power of ten, so that at most five lines are needed."""
    scale = 1
    while True:
        for step in _STEPS:
            if highest <= step * scale * 4:
                return step * scale
        scale *= 10
