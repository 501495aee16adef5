"""The blocks that a page is made of. Each renderer knows one way to show each block, and all text in them is data."""

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
        first: Whether they are what a reader should see first.
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
        caption: What it shows, and how to read it.
        columns: The heading of each column.
        rows: A cell for each column; the first cell is the row's heading.
        words: How many columns, from the left, hold words; the others hold numbers.
        folded: Whether it is a long list that few readers need: HTML folds it, terminal and Markdown leave it out.
        short: Shorter headings for the terminal, whose lines are 80 characters.
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
        range: From and to; None fits the data.
        zero: Whether zero is shown, where the range fits the data.
        percent: Whether the values are fractions, to be labelled in percent.
        ticks: Names for the values 0, 1, 2, … in place of numbers.
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
        x: Increasing.
        y: A value for each x.
        name: For the legend; "" for none.
        colour: A place in `figures.COLOURS`; None is a thin grey line, one of many that are alike.
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
        x: Where.
        y: Where.
        name: For the legend.
        colour: A place in `figures.COLOURS`; None is grey.
        symbol: "circle", "hollow" or "diamond".
        labels: A name for each point.
        low: Where an interval around each x begins.
        high: Where it ends.
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
        at: Its x.
        name: For the legend; "" for none.
        colour: A place in `figures.COLOURS`; None is dark and solid.
        interval: Shaded from and to.
        letter: Stands for it in the terminal.
    """

    at: float
    name: str = ""
    colour: int | None = None
    interval: tuple[float, float] | None = None
    letter: str = "|"


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """What a figure shows, as plain data that Plotly, matplotlib and the terminal each draw.

    Args:
        key: A name by which a test or a program finds the figure, such as "range-test/loss".
        caption: What it shows.
        x: The horizontal axis.
        y: The vertical axis.
        lines: The lines.
        points: Single points.
        marks: Vertical lines.
        code: Source text that is shown with it.
        height: In pixels, where that can be chosen.
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

    @property
    def main(self) -> Line | None:
        """The one line in colour, where there is just one: what a chart of characters can show."""
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


Block = Sentences | Facts | Table | Figures


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and the blocks below it.

    Args:
        heading: The heading.
        blocks: What stands below it.
        brief: Whether it is shown everywhere; what is not is for the HTML page only.
    """

    heading: str
    blocks: tuple[Block, ...]
    brief: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """All about one study, curve, plan or schedule.

    Args:
        title: Its title.
        parts: Its parts, in order.
    """

    title: str
    parts: tuple[Part, ...]


def clean(text: str) -> str:
    """`text` with a space for each character that does not print, except line breaks.

    Such characters could turn the direction of what follows, or break the encoding of the page.
    """
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
