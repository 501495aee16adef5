"""Descriptions of objects, printed: their sentences, facts, tables and charts.

Apart from `_console`, because NumPy is needed for it and not for `cyclr --help`.
"""

from __future__ import annotations

from rich import box
from rich.cells import cell_len
from rich.table import Table as RichTable
from rich.text import Text

from cyclr._cli import _chart, _console
from cyclr._failure import one_line
from cyclr._page.blocks import Block, Facts, Figure, Figures, Section, Sentences, Table

# A rule below the header, one space between columns.
_RULE = box.SIMPLE_HEAD
_ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_WIDEST_CHART = 120
_GAP = 2  # characters between two columns: the rule's and the padding


def show(section: Section, *, title: str | None = None) -> None:
    """Print the description of an object: its short blocks, and the figures that a chart of characters can show.

    Args:
        section: From `describe`.
        title: Replaces the section's title.
    """
    _console.heading(section.title if title is None else title)
    for part in section.parts:
        if part.brief:
            _console.heading(part.heading)
            for block in part.blocks:
                _block(block)


def _block(block: Block) -> None:
    match block:
        case Sentences():
            _console.listed(block.items)
        case Facts():
            _facts(block)
        case Table(folded=False):
            _table(block)
        case Figures(small=False):
            for figure in block.items:
                _figure(figure)


def _figure(figure: Figure) -> None:
    out = _console.stdout()
    if chart := _chart.lines(figure, width=min(out.width, _WIDEST_CHART) - 1, fine=_console.fancy(out)):
        letters = ", ".join(f"{mark.letter}: {mark.name}" for mark in figure.marks if mark.name)
        _console.say(f"{figure.caption} {letters}".rstrip(), "dim")
        for line in chart:
            _console.say(line)


def _table(table: Table) -> None:
    """The rows side by side; one below the other where not even the longest words have room."""
    out = _console.stdout()
    headings = [_console.plain(column) for column in table.short or table.columns]
    rows = [[_console.plain(one_line(cell)) for cell in row] for row in table.rows]
    widths = _widths([headings, *rows], out.width)
    if widths is None:
        for row in rows:
            _facts(Facts(tuple(pair for pair in zip(map(_console.plain, table.columns), row, strict=True) if pair[1])))
            _console.say()
    else:
        made = RichTable(
            box=_RULE if _console.fancy(out) else _ASCII_RULE,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style="bold",
        )
        for index, (heading, width) in enumerate(zip(headings, widths, strict=True)):
            made.add_column(Text(heading), justify="left" if index < table.words else "right", width=width)
        for row in rows:
            made.add_row(*map(Text, row))
        out.print(made)
    _console.say(table.caption, "dim")


def _widths(rows: list[list[str]], room: int) -> list[int] | None:
    """Widths of the columns that cut no word, with what is left where most is wanted; None if there is no room."""
    columns = list(zip(*rows, strict=True))
    wanted = [max(map(cell_len, column)) for column in columns]
    widths = [max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    left = room - sum(widths) - _GAP * (len(widths) - 1)
    if left < 0:
        return None
    for _ in range(min(left, sum(wanted) - sum(widths))):
        narrowest = max(range(len(widths)), key=lambda index: wanted[index] - widths[index])
        widths[narrowest] += 1
    return widths


def _facts(facts: Facts) -> None:
    """One name and value per line; a long value is wrapped by the terminal, so that it can be copied."""
    width = max(len(name) for name, _ in facts.pairs)
    for name, value in facts.pairs:
        line = Text.assemble((f"{name:<{width}}  ", "bold"), _console.plain(one_line(value)))
        _console.stdout().print(line, soft_wrap=True)
