"""The blocks of a page. Each renderer shows each type of block in one way; all text in them is treated as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sentences:
    """A list of sentences.

    Args:
        items: One sentence each.
        first: Whether they should be shown most prominently.
    """

    kind: ClassVar[str] = "sentences"
    items: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values.

    Args:
        pairs: Name and value.
    """

    kind: ClassVar[str] = "facts"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        key: A name by which a test or a program finds the table, such as "study/ends".
        caption: What it shows and how to read it.
        columns: The heading of each column.
        rows: One cell per column; the first cell is the row's heading.
        words: Number of columns, from the left, that hold words; the others hold numbers.
        folded: Whether it holds details that few readers need: HTML folds it, terminal and Markdown leave it out.
        short: Shorter headings for a terminal of 80 characters.
    """

    kind: ClassVar[str] = "table"
    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    folded: bool = False
    short: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a figure.

    Args:
        name: Its title.
        scale: "linear" or "log".
        range: Lower and upper limit; None fits the data.
        zero: Whether to include zero if the range fits the data.
        percent: Whether the values are fractions, labelled in percent.
        ticks: Names for the values 0, 1, 2, … instead of numbers.
    """

    name: str
    scale: str = "linear"
    range: tuple[float, float] | None = None
    zero: bool = False
    percent: bool = False
    ticks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line through points; NaN is a gap.

    Args:
        x: Increasing positions.
        y: A value for each x.
        name: Name in the legend; "" for none.
        colour: An index of `figures.COLOURS`; None is a thin grey line, one of many of a kind.
        low: The lower edge of a band around the line.
        high: The upper edge of that band.
    """

    x: Array
    y: Array
    name: str = ""
    colour: int | None = 0
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Single points.

    Args:
        x: Horizontal positions.
        y: Vertical positions.
        name: Name in the legend.
        colour: An index of `figures.COLOURS`; None is grey.
        symbol: "circle", "hollow" or "diamond".
        labels: A name for each point.
        low: Lower end of an interval around each x.
        high: Upper end of that interval.
    """

    x: Array
    y: Array
    name: str
    colour: int | None = 0
    symbol: str = "circle"
    labels: tuple[str, ...] = ()
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line across the figure.

    Args:
        at: Its x position.
        name: Name in the legend; "" for none.
        colour: An index of `figures.COLOURS`; None is dark and solid.
        interval: Limits of a shaded interval.
        letter: Its symbol in the terminal.
    """

    at: float
    name: str = ""
    colour: int | None = None
    interval: tuple[float, float] | None = None
    letter: str = "|"


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A figure as plain data, which Plotly, matplotlib and the terminal can draw.

    Args:
        key: A name by which a test or a program finds the figure, such as "range-test/loss".
        caption: What it shows.
        x: The horizontal axis.
        y: The vertical axis.
        lines: The lines.
        points: Single points.
        marks: Vertical lines.
        code: Source text shown with it.
        height: Height in pixels, where supported.
        below: Another figure with the same horizontal axis, below this one; only HTML shows it.
    """

    key: str
    caption: str
    x: Axis
    y: Axis
    lines: tuple[Line, ...] = ()
    points: tuple[Points, ...] = ()
    marks: tuple[Mark, ...] = ()
    code: str = ""
    height: int = 420
    below: Figure | None = None

    @property
    def main(self) -> Line | None:
        """The only coloured line, if there is exactly one: the line that a chart of characters shows."""
        coloured = [line for line in self.lines if line.colour is not None]
        return coloured[0] if len(coloured) == 1 else None


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures, one below the other, or small ones side by side.

    Args:
        items: The figures.
        small: Whether they stand side by side; a terminal leaves them out.
    """

    kind: ClassVar[str] = "figures"
    items: tuple[Figure, ...]
    small: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Designer:
    """Controls that change a schedule, which is drawn and written as text and code at once; only HTML shows them.

    Args:
        key: A name by which a test or a program finds it.
        caption: What it is, in words.
        figure: Where the bounds are dragged: a range test, or an empty figure with the rates as its horizontal axis.
        base_lr: The lower bound to begin with.
        max_lr: The upper bound to begin with.
        steps: The budget to begin with.
        epoch: Steps in an epoch, if known.
        policies: The names of the policies to choose from.
        policy: The one to begin with.
        cycles: The number of cycles to begin with.
        plan: The rate of a plan at each step, drawn for comparison.
    """

    kind: ClassVar[str] = "designer"
    key: str
    caption: str
    figure: Figure
    base_lr: float
    max_lr: float
    steps: int
    epoch: int | None
    policies: tuple[str, ...]
    policy: str = "auto"
    cycles: int = 1
    plan: Line | None = None


Block = Sentences | Facts | Table | Figures | Designer


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and the blocks below it.

    Args:
        heading: The heading.
        blocks: The blocks below it.
        brief: Whether it is shown everywhere; otherwise only on the HTML page.
    """

    heading: str
    blocks: tuple[Block, ...]
    brief: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """The description of one study, curve, plan or schedule.

    Args:
        title: Its title.
        parts: Its parts, in order.
    """

    title: str
    parts: tuple[Part, ...]


def clean(text: str) -> str:
    """`text` with a space for each non-printing character, except line breaks.

    Such characters could change the direction of the following text, or break the encoding of the page.
    """
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
