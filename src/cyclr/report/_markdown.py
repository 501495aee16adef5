"""From sections to Markdown, for a README."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cyclr._page.blocks import Block, Facts, Section, Sentences, Table, clean
from cyclr._page.registry import describe

# Characters of markup: emphasis, code, links, tags, entities, cells; at the beginning of a line also lists, headings.
_MARKUP = re.compile(r"[\\`*<>|&~]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])")
_BEGIN = re.compile(r"^(?=[#+=-])|^(\d+)(?=[.)](?:\s|$))")


def markdown(*things: object, level: int = 2) -> str:
    """Tables and sentences on studies, curves, plans and schedules as Markdown, without figures.

    Text from records is escaped. Details (the settings, every run) are only on the HTML page.

    Args:
        things: As in `page`.
        level: Level of the highest heading.

    Returns:
        The Markdown, ending with a line break.

    Raises:
        TypeError: If one of them cannot be shown.
        ValueError: If a record contradicts itself.

    >>> from cyclr import Bounds, plan
    >>> print(markdown(plan(Bounds(0.001, 0.01), steps=500)).splitlines()[0])
    ## Plan for 500 steps
    """
    return "\n".join(_section(describe(thing), level) for thing in things)


def _section(section: Section, level: int) -> str:
    lines = [f"{'#' * level} {text(section.title)}"]
    for part in section.parts:
        if part.brief:
            lines += ["", f"{'#' * (level + 1)} {text(part.heading)}"]
            for block in part.blocks:
                lines += ["", *found] if (found := list(_block(block))) else []
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterable[str]:
    match block:
        case Sentences(items=(only,), first=True):
            return [line(only)]
        case Sentences():
            return [f"- {line(item)}" for item in block.items]
        case Facts():
            return [f"- {line(name)}: {text(value)}" for name, value in block.pairs]
        case Table(folded=False):
            right = len(block.columns) - block.words
            rows = (block.columns, *block.rows)
            head, *body = (f"| {' | '.join(map(text, row))} |" for row in rows)
            return [line(block.caption), "", head, f"|{'---|' * block.words}{'---:|' * right}", *body]
    return []


def text(value: str) -> str:
    """`value` without line breaks, escaped for use inside a line of Markdown."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(clean(value).split()))


def line(value: str) -> str:
    """The same for the beginning of a line."""
    return _BEGIN.sub(r"\1\\", text(value))
