"""Printing: results on stdout, progress and errors on stderr.

Markup and emoji are off: text from the user, such as a task's name, must not be interpreted.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cyclr._cli import _chart
from cyclr._failure import one_line
from cyclr._page.blocks import Block, Facts, Figure, Figures, Section, Sentences, Table

# A rule below the header, one space between columns.
_RULE = box.SIMPLE_HEAD
_ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_IMAGES = (".png", ".pdf", ".svg")
PLAIN_WIDTH = 100  # of a line if there is no terminal
_WIDEST_CHART = 120


@cache
def stdout() -> Console:
    """For results."""
    return _console(stderr=False)


@cache
def stderr() -> Console:
    """For progress and errors."""
    return _console(stderr=True)


def help_console() -> Console:
    """For help, which may contain markup."""
    return Console(width=_width(terminal=sys.stdout.isatty()))


def fancy(console: Console) -> bool:
    """Whether it is a terminal whose encoding shows more than ASCII."""
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")


def say(text: str = "", style: str = "") -> None:
    """Print a line of results, in ASCII if the output cannot show more."""
    stdout().print(Text(plain(text), style=style))


def listed(sentences: Iterable[str]) -> None:
    """Print a list of sentences, one per line, with a hanging indent."""
    for sentence in sentences:
        lines = textwrap.fill(
            one_line(plain(sentence)), stdout().width, initial_indent="- ", subsequent_indent="  ",
            break_on_hyphens=False,
        )  # fmt: skip
        stdout().print(Text(lines), soft_wrap=True)


def note(text: str) -> None:
    """Print a progress message."""
    stderr().print(Text(text), soft_wrap=True)


def error(text: str) -> None:
    """Print a one-line error message."""
    line = Text.assemble(("cyclr: ", "bold red"), one_line(text))
    stderr().print(line, soft_wrap=True)


def heading(text: str) -> None:
    """Print a section title."""
    say()
    say(text, "bold")


def show(section: Section, *, title: str | None = None) -> None:
    """Print the description of an object: its short blocks, and the figures that a chart of characters can show.

    Args:
        section: From `describe`.
        title: Replaces the section's title.
    """
    heading(section.title if title is None else title)
    for part in section.parts:
        if part.brief:
            heading(part.heading)
            for block in part.blocks:
                _block(block)


def _block(block: Block) -> None:
    match block:
        case Sentences():
            listed(block.items)
        case Facts():
            _facts(block)
        case Table(folded=False):
            _table(block)
        case Figures(small=False):
            for figure in block.items:
                _figure(figure)


def _figure(figure: Figure) -> None:
    out = stdout()
    if chart := _chart.lines(figure, width=min(out.width, _WIDEST_CHART) - 1, fine=fancy(out)):
        letters = ", ".join(f"{mark.letter}: {mark.name}" for mark in figure.marks if mark.name)
        say(f"{figure.caption} {letters}".rstrip(), "dim")
        for line in chart:
            say(line)


def _table(table: Table) -> None:
    out = stdout()
    made = RichTable(
        box=_RULE if fancy(out) else _ASCII_RULE,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for index, column in enumerate(table.short or table.columns):
        made.add_column(Text(plain(column)), justify="left" if index < table.words else "right")
    for row in table.rows:
        made.add_row(*(Text(plain(one_line(cell))) for cell in row))
    out.print(made)
    say(table.caption, "dim")


def _facts(facts: Facts) -> None:
    """One name and value per line; a long value is wrapped by the terminal, so that it can be copied."""
    width = max(len(name) for name, _ in facts.pairs)
    for name, value in facts.pairs:
        line = Text.assemble((f"{name:<{width}}  ", "bold"), plain(one_line(value)))
        stdout().print(line, soft_wrap=True)


def document(value: Any) -> None:
    """Print the JSON document of `--json`; NaN and infinity become null."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def check_target(path: Path | None, *, image: bool = False) -> None:
    """Check before any work that `path` can be written.

    Raises:
        ValueError: If its folder does not exist, or its extension is not that of an image.
        ImportError: If matplotlib is needed for an image and not installed.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise ValueError(f"{path}: folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if image:
        from cyclr.plot import figure

        figure()
        if path.suffix.lower() not in _IMAGES:
            raise ValueError(f"{path}: an image file must end in {', '.join(_IMAGES)}")


def check_ours(path: Path) -> None:
    """Check that a page of a default name may be written: there is none, or its header says that cyclr made it.

    Raises:
        ValueError: If there is another file.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        if b'<meta name="generator" content="cyclr ' not in file.read(1000):
            raise ValueError(
                f"{path} exists and was not made by cyclr; pass --out with another file, or with this one to "
                "overwrite it"
            )


def plain(text: str) -> str:
    """`text`, in ASCII if the output cannot show more."""
    if fancy(stdout()):
        return text
    for fine, coarse in (("±", "+/-"), ("–", "-"), ("…", "..."), ("×", "x")):
        text = text.replace(fine, coarse)
    return text


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_width(terminal=stream.isatty()))


def _width(*, terminal: bool) -> int | None:
    """Width in characters; None lets rich ask the terminal."""
    return None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
