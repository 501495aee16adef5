"""Where things are printed: results on stdout, progress and errors on stderr.

Markup and emoji are off: what a user's task is called is text, never an instruction to the terminal.
"""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cyclr._failure import one_line

# A rule below the header, one space between columns.
_RULE = box.SIMPLE_HEAD
_ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_PICTURES = (".png", ".pdf", ".svg")
PLAIN_WIDTH = 100  # of a line where there is no terminal to ask


@cache
def stdout() -> Console:
    """For results."""
    return _console(stderr=False)


@cache
def stderr() -> Console:
    """For progress and errors."""
    return _console(stderr=True)


def help_console() -> Console:
    """For help, whose text is ours and may hold markup."""
    return Console(width=_width(terminal=sys.stdout.isatty()))


def fancy(console: Console) -> bool:
    """Whether it shows more than ASCII: a terminal whose encoding can."""
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.lower().startswith("utf")


def say(text: str = "", style: str = "") -> None:
    """A line of results, in ASCII where the reader may know no more."""
    stdout().print(Text(plain(text), style=style))


def listed(sentences: Iterable[str]) -> None:
    """A list of sentences, one below the other; what does not fit a line goes on below its first word."""
    for sentence in sentences:
        lines = textwrap.fill(
            one_line(plain(sentence)), stdout().width, initial_indent="- ", subsequent_indent="  ",
            break_on_hyphens=False,
        )  # fmt: skip
        stdout().print(Text(lines), soft_wrap=True)


def note(text: str) -> None:
    """A line about what is going on."""
    stderr().print(Text(text), soft_wrap=True)


def error(text: str) -> None:
    """The one line about what is wrong."""
    line = Text.assemble(("cyclr: ", "bold red"), one_line(text))
    stderr().print(line, soft_wrap=True)


def heading(text: str) -> None:
    """A title above what follows."""
    say()
    say(text, "bold")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """A table; all but the first `left` columns are numbers."""
    out = stdout()
    made = Table(
        box=_RULE if fancy(out) else _ASCII_RULE,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for index, column in enumerate(columns):
        made.add_column(Text(plain(column)), justify="left" if index < left else "right")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    out.print(made)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, one a line; a long value is left for the terminal to break, so it can be copied."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        line = Text.assemble((f"{name:<{width}}  ", "bold"), plain(value))
        stdout().print(line, soft_wrap=True)


def document(value: Any) -> None:
    """The one JSON document of `--json`; numbers that JSON lacks are null."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def check_target(path: Path | None, *, picture: bool = False) -> None:
    """That `path` can be written, said before the work and not after it.

    Raises:
        ValueError: If its folder does not exist, or it is no kind of picture.
        ImportError: If pictures need a library that is not installed.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise ValueError(f"{path}: no folder {path.parent}; make it first")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if picture:
        from cyclr.plot import figure

        figure()
        if path.suffix.lower() not in _PICTURES:
            raise ValueError(f"{path}: a picture must end in {', '.join(_PICTURES)}")


def plain(text: str) -> str:
    """`text`, in ASCII where the reader may know no more."""
    if fancy(stdout()):
        return text
    for fine, coarse in (("±", "+/-"), ("–", "-"), ("…", "..."), ("×", "x")):
        text = text.replace(fine, coarse)
    return text


def number(value: float) -> str:
    """A rate or a loss, as short as it is still telling."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_width(terminal=stream.isatty()))


def _width(*, terminal: bool) -> int | None:
    """None lets rich ask the terminal."""
    return None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
