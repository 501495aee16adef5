"""The words of an object as HTML for a notebook: no script, no style, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from cyclr._page.blocks import Block, Facts, Sentences, Table, clean
from cyclr._page.registry import describe


def words(thing: object) -> str:
    """The sentences, facts and tables of an object.

    >>> from cyclr import Linear
    >>> words(Linear(0.1, 0, steps=100)).startswith("<p><b>Schedule</b></p>")
    True
    """
    section = describe(thing)
    blocks = (block for part in section.parts if part.brief for block in part.blocks)
    return f"<p><b>{_text(section.title)}</b></p>" + "".join(piece for block in blocks for piece in _block(block))


def _block(block: Block) -> Iterable[str]:
    match block:
        case Sentences():
            yield "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in block.items) + "</ul>"
        case Facts():
            rows = (f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in block.pairs)
            yield f"<table>{''.join(rows)}</table>"
        case Table(folded=False):
            head = "".join(f"<th>{_text(column)}</th>" for column in block.columns)
            rows = (f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
            yield f"<p>{_text(block.caption)}</p><table><tr>{head}</tr>{''.join(rows)}</table>"


def _text(value: str) -> str:
    return escape(clean(value))
