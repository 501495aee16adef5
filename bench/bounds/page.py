"""The tables of docs/bounds.md: each stands between two comments that name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"


def put(tables: Mapping[str, Iterable[str]]) -> None:
    """Replace the lines of these tables; one that the page does not have is left out."""
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in tables.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        if start in text:
            before, rest = text.split(start)
            text = before + "\n".join([start, "", *lines, "", end]) + rest.split(end)[1]
    PAGE.write_text(text, encoding="utf-8")
