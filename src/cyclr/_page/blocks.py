"""What a page is made of. The template knows one way to show each part, and all text in them is data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Sentences:
    """A list of sentences.

    Args:
        items: One each.
        first: Whether they are what a reader should see first.
    """

    kind: ClassVar[str] = "sentences"
    items: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are."""

    kind: ClassVar[str] = "facts"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        caption: What it shows, and how to read it.
        columns: The head of each column.
        rows: A cell for each column; the first is the row's head.
        words: How many columns, from the left, hold words; the others hold numbers.
        folded: Whether it opens on a click: a long list, or what few readers need.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Args:
        plot: Plotly's data and layout as JSON, safe inside a script; None where there is nothing to draw.
        caption: What it shows.
        code: Source text to be shown with it.
        height: In pixels.
    """

    plot: str | None
    caption: str
    code: str = ""
    height: int = 420


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures, one below the other, or small ones side by side."""

    kind: ClassVar[str] = "figures"
    items: tuple[Figure, ...]
    small: bool = False


Block = Sentences | Facts | Table | Figures


@dataclass(frozen=True, slots=True)
class Section:
    """All about one study, curve or plan.

    Args:
        title: Of the section.
        parts: A heading and what stands below it, each.
    """

    title: str
    parts: tuple[tuple[str, tuple[Block, ...]], ...]


def clean(text: str) -> str:
    """`text` with a space for each character that does not print, but for line breaks.

    Those could turn the direction of what follows, or break the encoding of the page.
    """
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def number(value: float) -> str:
    """A rate or a loss, as short as it is still telling."""
    return "not a number" if math.isnan(value) else f"{value:.4g}"


def count(value: int, noun: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"
